/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries out of a tar or cpio archive. The stream (stream.h) decompresses, libarchive's formats
 * parse what it yields, and everything they say is checked here once more.
 */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "layer/acl.h"
#include "layer/peek.h"
#include "layer/stream.h"

#define SIZE_LIMIT (16ULL << 40)
#define XATTR_LIMIT (64u << 10) /* what Linux takes as one value */
#define XATTR_NAME_LIMIT 255
#define TARGET_LIMIT 4095
/* Each run of a file with holes is remembered until the image is written. */
#define RUNS_LIMIT 65536
/* Bytes of one member before its data: libarchive gathers a cpio name of up to 4 GiB in memory. */
#define HEADER_LIMIT (16u << 20)
#define MARKER 512 /* zeros that end a tar; two such blocks should, one does for all readers */

struct archive_reader {
    struct layer_reader reader;
    struct stream *stream;
    struct archive *archive;
    struct error failed; /* what the stream met */
    /*
     * libarchive translates names of pax headers from UTF-8 to the locale, and in a UTF-8 locale
     * it even composes accents. In the C locale what is not ASCII "cannot be converted", which is
     * said in a warning, and comes through as it is.
     */
    locale_t locale;
    bool ended;
    bool in_header;
    uint64_t header_from; /* uncompressed bytes read before it */

    struct archive_entry *entry; /* borrowed from ARCHIVE, NULL before the first */
    uint64_t size, expected;     /* of the entry's data: with and without holes */
    uint64_t given, next_offset;
    unsigned runs; /* of data, between holes */
    bool has_data, drained;
    uint64_t entry_end; /* uncompressed offset */

    struct peek peek;  /* at the current member */
    const char *block; /* what PASS handed over last */
    size_t block_size;

    struct xattr *xattrs; /* names and values owned */
    size_t xattr_count, xattr_space;
};

static const char *label_of(const struct archive_reader *reader)
{
    return stream_label(reader->stream);
}

static void peek_block(struct archive_reader *reader)
{
    peek_feed(&reader->peek, reader->block, reader->block_size,
              stream_produced(reader->stream) - reader->block_size);
}

static la_ssize_t pass(struct archive *archive, void *data, const void **ret)
{
    struct archive_reader *reader = data;
    size_t size;
    int more;

    if (reader->failed.kind != FAIL_NONE) {
        return -1;
    }
    if (reader->in_header && stream_produced(reader->stream) - reader->header_from > HEADER_LIMIT) {
        archive_set_error(archive, -1, "header");
        return fail(&reader->failed, FAIL_ERROR, "%s: a header of more than %u MiB",
                    label_of(reader), HEADER_LIMIT >> 20);
    }
    more = stream_read(reader->stream, ret, &size, &reader->failed);
    if (more < 0) {
        archive_set_error(archive, -1, "stream");
        return -1;
    }
    reader->block = more == 0 ? NULL : *ret;
    reader->block_size = more == 0 ? 0 : size;
    peek_block(reader);
    return (la_ssize_t)reader->block_size;
}

/* PATH, unless NULL, is where it happened. */
static int fail_reader(struct archive_reader *reader, const char *path, struct error *err)
{
    SCOPED_FREE char *label = NULL;
    const char *text;

    if (reader->failed.kind != FAIL_NONE) {
        *err = reader->failed;
        return -1;
    }
    text = archive_error_string(reader->archive);
    if (text != NULL && strstr(text, "nrecognized archive format") != NULL) {
        fail(err, FAIL_ERROR, "%s: not a tar or cpio archive", label_of(reader));
        return fail_hint(err, "a layer is a tar or cpio archive (gzip, xz, zstd, lz4 or bzip2 "
                              "compressed), an OCI layout or a docker-save archive");
    }
    label = path == NULL ? xstrdup(label_of(reader)) : xprintf("%s: '%s'", label_of(reader), path);
    return fail_archive(label, reader->archive, err);
}

static void forget_xattrs(struct archive_reader *reader)
{
    for (size_t i = 0; i < reader->xattr_count; i++) {
        free(reader->xattrs[i].name);
        free(reader->xattrs[i].value);
    }
    reader->xattr_count = 0;
}

static void archive_reader_free(struct layer_reader *base)
{
    struct archive_reader *reader = (struct archive_reader *)base;

    (void)archive_read_free(reader->archive);
    stream_free(reader->stream);
    if (reader->locale != (locale_t)0) {
        freelocale(reader->locale);
    }
    forget_xattrs(reader);
    free(reader->xattrs);
    free(reader);
}

/* --- extended attributes -------------------------------------------------------------------- */

/* GNU tar writes '=' and '%' in names as hex; a name that looks so was one of its. Returns OUT. */
static char *decode_name(const char *name)
{
    char *out = xstrdup(name), *to = out;

    while (*name != '\0') {
        if (text_starts(name, "%3D") || text_starts(name, "%25")) {
            *to++ = name[1] == '3' ? '=' : '%';
            name += 3;
        } else {
            *to++ = *name++;
        }
    }
    *to = '\0';
    return out;
}

static bool has_namespace(const char *name)
{
    static const char *const spaces[] = {"user.", "security.", "trusted.", "system."};

    for (size_t i = 0; i < COUNT(spaces); i++) {
        if (text_starts(name, spaces[i]) && name[strlen(spaces[i])] != '\0') {
            return true;
        }
    }
    return false;
}

static int add_xattr(struct archive_reader *reader, const char *path, char *name, const void *value,
                     size_t size, struct error *err)
{
    SCOPED_FREE char *owned = name;

    if (!has_namespace(owned) || strlen(owned) > XATTR_NAME_LIMIT) {
        return fail(err, FAIL_ERROR, "%s: '%s': '%s' is no name of an extended attribute",
                    label_of(reader), path, owned);
    }
    if (size > XATTR_LIMIT) {
        return fail(err, FAIL_ERROR,
                    "%s: '%s': extended attribute '%s' has %zu bytes, Linux takes "
                    "%u",
                    label_of(reader), path, owned, size, XATTR_LIMIT);
    }
    for (size_t i = 0; i < reader->xattr_count; i++) {
        const struct xattr *other = &reader->xattrs[i];

        if (strcmp(other->name, owned) == 0) {
            /* bsdtar writes each twice, in two dialects. */
            if (other->size == size && memcmp(other->value, value, size) == 0) {
                return 0;
            }
            return fail(err, FAIL_ERROR, "%s: '%s': extended attribute '%s' comes twice",
                        label_of(reader), path, owned);
        }
    }
    grow(&reader->xattrs, reader->xattr_count, &reader->xattr_space, sizeof(*reader->xattrs));
    reader->xattrs[reader->xattr_count++] =
        (struct xattr){TAKE(owned), xmemdup(size == 0 ? "" : value, size), size};
    return 0;
}

static int add_acl(struct archive_reader *reader, const char *path, int type, const char *name,
                   struct error *err)
{
    SCOPED(buf_done) struct buf value = {0};

    if (acl_from_archive(reader->entry, type, &value, err) < 0) {
        return fail_while(err, "%s: '%s'", label_of(reader), path);
    }
    return value.size == 0 ? 0
                           : add_xattr(reader, path, xstrdup(name), value.data, value.size, err);
}

/* ACLs may have come as text or as the kernel's bytes; here they are bytes, and fit the file. */
static int check_acls(struct archive_reader *reader, struct entry *entry, struct error *err)
{
    for (size_t i = 0; i < reader->xattr_count; i++) {
        const struct xattr *xattr = &reader->xattrs[i];
        bool access = strcmp(xattr->name, ACL_ACCESS) == 0;

        if (!access && strcmp(xattr->name, ACL_DEFAULT) != 0) {
            continue;
        }
        if (acl_check(xattr->value, xattr->size, err) < 0) {
            return fail_while(err, "%s: '%s'", label_of(reader), entry->path);
        }
        if (entry->type == ENTRY_SYMLINK || (!access && entry->type != ENTRY_DIRECTORY)) {
            return fail(err, FAIL_ERROR, "%s: '%s': Linux keeps no such ACL with this type of file",
                        label_of(reader), entry->path);
        }
        if (access) {
            entry->mode = acl_mode(xattr->value, xattr->size, entry->mode);
        }
    }
    return 0;
}

static int compare_xattrs(const void *left, const void *right)
{
    return strcmp(((const struct xattr *)left)->name, ((const struct xattr *)right)->name);
}

static int read_xattrs(struct archive_reader *reader, struct entry *entry, struct error *err)
{
    struct archive_entry *from = reader->entry;
    int left = archive_entry_xattr_reset(from);
    const char *name;
    const void *value;
    size_t size;

    if ((archive_entry_acl_types(from) & ARCHIVE_ENTRY_ACL_TYPE_NFS4) != 0) {
        fail(err, FAIL_ERROR, "%s: '%s': an NFSv4 ACL, which no file system of an image keeps",
             label_of(reader), entry->path);
        return fail_hint(err, "pack it without ACLs (bsdtar --no-acls)");
    }
    while (left-- > 0 && archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
        if (add_xattr(reader, entry->path, decode_name(name), value, size, err) < 0) {
            return -1;
        }
    }
    if (add_acl(reader, entry->path, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, ACL_ACCESS, err) < 0 ||
        add_acl(reader, entry->path, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, ACL_DEFAULT, err) < 0 ||
        check_acls(reader, entry, err) < 0) {
        return -1;
    }
    if (reader->xattr_count > 1) {
        qsort(reader->xattrs, reader->xattr_count, sizeof(*reader->xattrs), compare_xattrs);
    }
    entry->xattrs = reader->xattrs;
    entry->xattr_count = reader->xattr_count;
    return 0;
}

/* --- the entry itself ----------------------------------------------------------------------- */

static int read_type(struct archive_reader *reader, struct entry *entry, struct error *err)
{
    struct archive_entry *from = reader->entry;

    entry->target = archive_entry_hardlink(from);
    if (entry->target != NULL && archive_entry_filetype(from) != AE_IFDIR) {
        entry->type = ENTRY_HARDLINK;
        return 0;
    }
    entry->target = NULL;
    switch (archive_entry_filetype(from)) {
    case AE_IFREG:
        entry->type = ENTRY_FILE;
        return 0;
    case AE_IFDIR:
        entry->type = ENTRY_DIRECTORY;
        return 0;
    case AE_IFLNK:
        entry->type = ENTRY_SYMLINK;
        entry->target = archive_entry_symlink(from);
        return 0;
    case AE_IFCHR:
        entry->type = ENTRY_CHARACTER;
        return 0;
    case AE_IFBLK:
        entry->type = ENTRY_BLOCK;
        return 0;
    case AE_IFIFO:
        entry->type = ENTRY_FIFO;
        return 0;
    case AE_IFSOCK:
        fail(err, FAIL_ERROR, "%s: '%s': a socket cannot be kept in an image", label_of(reader),
             entry->path);
        return fail_hint(err, "pack it again without its sockets");
    default:
        return fail(err, FAIL_ERROR, "%s: '%s': unknown type of entry", label_of(reader),
                    entry->path);
    }
}

static int check_names(struct archive_reader *reader, const struct entry *entry, struct error *err)
{
    if (entry->path == NULL || entry->path[0] == '\0') {
        return fail(err, FAIL_ERROR, "%s: an entry has no name", label_of(reader));
    }
    if (strlen(entry->path) > NAME_LIMIT) {
        return fail(err, FAIL_ERROR, "%s: '%.64s…': a path of %zu bytes", label_of(reader),
                    entry->path, strlen(entry->path));
    }
    return 0;
}

static int check_target(struct archive_reader *reader, const struct entry *entry, struct error *err)
{
    size_t length;

    if (entry->type != ENTRY_SYMLINK && entry->type != ENTRY_HARDLINK) {
        return 0;
    }
    length = entry->target == NULL ? 0 : strlen(entry->target);
    if (length == 0) {
        return fail(err, FAIL_ERROR, "%s: '%s': a link to nothing", label_of(reader), entry->path);
    }
    if (length > (entry->type == ENTRY_SYMLINK ? TARGET_LIMIT : NAME_LIMIT)) {
        return fail(err, FAIL_ERROR, "%s: '%s': a link target of %zu bytes", label_of(reader),
                    entry->path, length);
    }
    return 0;
}

/* GNU tar, star and others write -1.5 for what timespec calls -2 + 0.5; libarchive adds them up. */
static void read_time(struct archive_reader *reader, struct entry *entry)
{
    struct archive_entry *from = reader->entry;

    if (archive_entry_mtime_is_set(from)) {
        entry->mtime = archive_entry_mtime(from);
        entry->mtime_ns = (uint32_t)archive_entry_mtime_nsec(from);
        if (entry->mtime_ns != 0 && (entry->mtime < 0 || peek_just_before_1970(&reader->peek)) &&
            archive_format(reader->archive) == ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE) {
            entry->mtime -= 1;
            entry->mtime_ns = 1000000000 - entry->mtime_ns;
        }
    }
}

static int read_owner(struct archive_reader *reader, struct entry *entry, struct error *err)
{
    int64_t uid = archive_entry_uid(reader->entry), gid = archive_entry_gid(reader->entry);

    /* -1 means "leave it" to chown(2): nobody can own a file as that. */
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX) {
        return fail(err, FAIL_ERROR, "%s: '%s': owner %lld:%lld is out of range", label_of(reader),
                    entry->path, (long long)uid, (long long)gid);
    }
    entry->uid = (uint32_t)uid;
    entry->gid = (uint32_t)gid;
    return 0;
}

static int read_size(struct archive_reader *reader, struct entry *entry, struct error *err)
{
    struct archive_entry *from = reader->entry;
    int64_t size = archive_entry_size_is_set(from) ? archive_entry_size(from) : 0;
    la_int64_t offset, length;

    reader->has_data = entry->type == ENTRY_FILE || entry->type == ENTRY_HARDLINK;
    if (!reader->has_data) {
        return 0;
    }
    if (size < 0 || (uint64_t)size > SIZE_LIMIT) {
        return fail(err, FAIL_ERROR, "%s: '%s': a file of %lld bytes", label_of(reader),
                    entry->path, (long long)size);
    }
    entry->size = reader->size = reader->expected = (uint64_t)size;
    if (archive_entry_sparse_reset(from) > 0) {
        reader->expected = 0;
        while (archive_entry_sparse_next(from, &offset, &length) == ARCHIVE_OK) {
            if (__builtin_add_overflow(reader->expected, (uint64_t)length, &reader->expected)) {
                return fail(err, FAIL_ERROR, "%s: '%s': a sparse map that does not add up",
                            label_of(reader), entry->path);
            }
        }
    }
    return 0;
}

static int check_flags(struct archive_reader *reader, const struct entry *entry, struct error *err)
{
    const char *flags = archive_entry_fflags_text(reader->entry);

    if (flags != NULL && flags[0] != '\0') {
        fail(err, FAIL_ERROR, "%s: '%s': file flags '%s' cannot be kept", label_of(reader),
             entry->path, flags);
        return fail_hint(err, "pack it without them (bsdtar --no-fflags)");
    }
    return 0;
}

static int read_entry(struct archive_reader *reader, struct entry *ret, struct error *err)
{
    struct archive_entry *from = reader->entry;
    struct entry entry = {.path = archive_entry_pathname(from)};

    if (check_names(reader, &entry, err) < 0 || read_type(reader, &entry, err) < 0 ||
        check_target(reader, &entry, err) < 0 || read_owner(reader, &entry, err) < 0 ||
        read_size(reader, &entry, err) < 0 || check_flags(reader, &entry, err) < 0) {
        return -1;
    }
    entry.mode = archive_entry_mode(from) & 07777;
    read_time(reader, &entry);
    if (entry.type == ENTRY_CHARACTER || entry.type == ENTRY_BLOCK) {
        entry.major = (uint32_t)archive_entry_rdevmajor(from);
        entry.minor = (uint32_t)archive_entry_rdevminor(from);
    }
    if (read_xattrs(reader, &entry, err) < 0) {
        return -1;
    }
    *ret = entry;
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

static int check_piece(struct archive_reader *reader, uint64_t offset, size_t size,
                       struct error *err)
{
    uint64_t end;

    if (offset < reader->next_offset || __builtin_add_overflow(offset, size, &end) ||
        end > reader->size) {
        return fail(err, FAIL_ERROR, "%s: '%s': data outside the file", label_of(reader),
                    archive_entry_pathname(reader->entry));
    }
    if ((reader->given == 0 || offset != reader->next_offset) && ++reader->runs > RUNS_LIMIT) {
        fail(err, FAIL_ERROR, "%s: '%s': more than %d runs of data between holes", label_of(reader),
             archive_entry_pathname(reader->entry), RUNS_LIMIT);
        return fail_hint(err, "pack it without holes (tar without --sparse)");
    }
    reader->next_offset = end;
    reader->given += size;
    return 0;
}

static int data_ended(struct archive_reader *reader, struct error *err)
{
    reader->drained = true;
    reader->entry_end = (uint64_t)archive_filter_bytes(reader->archive, 0);
    /* A file that is one hole has no data at all, and need not have a map. */
    if (reader->has_data && reader->given != reader->expected && reader->given != 0) {
        return fail(err, FAIL_ERROR, "%s: '%s': %llu bytes of data where %llu were announced",
                    label_of(reader), archive_entry_pathname(reader->entry),
                    (unsigned long long)reader->given, (unsigned long long)reader->expected);
    }
    return 0;
}

static int archive_reader_data(struct layer_reader *base, const void **ret_data, size_t *ret_size,
                               uint64_t *ret_offset, struct error *err)
{
    struct archive_reader *reader = (struct archive_reader *)base;
    const void *data;
    size_t size;
    la_int64_t offset;

    if (reader->entry == NULL || reader->drained) {
        return 0;
    }
    do {
        int result = archive_read_data_block(reader->archive, &data, &size, &offset);

        if (result == ARCHIVE_EOF) {
            return data_ended(reader, err);
        }
        if (result != ARCHIVE_OK) {
            return fail_reader(reader, archive_entry_pathname(reader->entry), err);
        }
    } while (size == 0);
    if (check_piece(reader, (uint64_t)offset, size, err) < 0) {
        return -1;
    }
    *ret_data = data;
    *ret_size = size;
    *ret_offset = (uint64_t)offset;
    return 1;
}

static int drain(struct archive_reader *reader, struct error *err)
{
    const void *data;
    size_t size;
    uint64_t offset;
    int more;

    while ((more = archive_reader_data(&reader->reader, &data, &size, &offset, err)) == 1) {
    }
    return more;
}

/* The archive's end was met: it must have been marked, and nothing may follow it. */
static int end_of_archive(struct archive_reader *reader, struct error *err)
{
    uint64_t end = (uint64_t)archive_filter_bytes(reader->archive, 0);
    bool tar = (archive_format(reader->archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
    uint64_t marked = reader->entry_end;

    reader->ended = true;
    if (stream_finish(reader->stream, err) < 0) {
        return -1;
    }
    if (stream_last_data(reader->stream) > end) {
        fail(err, FAIL_ERROR, "%s: data after the end of the archive", label_of(reader));
        return fail_hint(err,
                         "if it is several archives in one file, make each a layer of its own");
    }
    if (stream_last_data(reader->stream) > marked) {
        marked = stream_last_data(reader->stream);
    }
    if (tar && end - marked < MARKER) {
        return fail(err, FAIL_ERROR, "%s: truncated: no end-of-archive marker", label_of(reader));
    }
    return 0;
}

/* Warnings are errors, but for names that are no text in the C locale: names are bytes. */
static int check_result(struct archive_reader *reader, int result, struct error *err)
{
    const char *text = archive_error_string(reader->archive);

    /* Some of what libarchive could not parse it mentions without a warning. */
    if ((result == ARCHIVE_OK && text == NULL) ||
        ((result == ARCHIVE_OK || result == ARCHIVE_WARN) && text != NULL &&
         strstr(text, "can't be converted from") != NULL)) {
        return 0;
    }
    return fail_reader(reader, reader->entry == NULL ? NULL : archive_entry_pathname(reader->entry),
                       err);
}

static int next_header(struct archive_reader *reader, struct error *err)
{
    locale_t before = uselocale(reader->locale);
    int result;

    peek_start(&reader->peek, reader->entry_end);
    peek_block(reader);
    archive_clear_error(reader->archive);
    reader->in_header = true;
    reader->header_from = stream_produced(reader->stream);
    result = archive_read_next_header(reader->archive, &reader->entry);
    reader->in_header = false;
    (void)uselocale(before);
    if (reader->failed.kind == FAIL_NONE && peek_check(&reader->peek, label_of(reader), err) < 0) {
        return -1;
    }
    if (result == ARCHIVE_EOF) {
        return end_of_archive(reader, err);
    }
    return check_result(reader, result, err) < 0 ? -1 : 1;
}

static int archive_reader_next(struct layer_reader *base, struct entry *ret, struct error *err)
{
    struct archive_reader *reader = (struct archive_reader *)base;
    int more;

    if (reader->ended) {
        return 0;
    }
    if (drain(reader, err) < 0) {
        return -1;
    }
    forget_xattrs(reader);
    more = next_header(reader, err);
    if (more <= 0) {
        return more;
    }
    reader->drained = false;
    reader->size = reader->expected = reader->given = reader->next_offset = 0;
    reader->runs = 0;
    return read_entry(reader, ret, err) < 0 ? -1 : 1;
}

static uint64_t archive_reader_position(const struct layer_reader *base)
{
    return stream_position(((const struct archive_reader *)base)->stream);
}

static const struct reader_ops archive_reader_ops = {
    .next = archive_reader_next,
    .data = archive_reader_data,
    .position = archive_reader_position,
    .free = archive_reader_free,
};

int archive_reader_open(struct layer *layer, const struct archive_input *input,
                        struct layer_reader **ret, struct error *err)
{
    struct archive_reader *opened = xcalloc(1, sizeof(*opened));
    SCOPED(layer_reader_freep) struct layer_reader *owner = &opened->reader;
    const char *label;

    opened->reader = (struct layer_reader){&archive_reader_ops, layer};
    if (stream_open(input, &opened->stream, err) < 0) {
        return -1;
    }
    label = label_of(opened);
    opened->archive = archive_read_new();
    opened->locale = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
    if (opened->archive == NULL || opened->locale == (locale_t)0) {
        return fail(err, FAIL_ERROR, "%s: libarchive does not start", label);
    }
    if (enable_archive(opened->archive, archive_read_support_format_tar, label, err) < 0 ||
        enable_archive(opened->archive, archive_read_support_format_cpio, label, err) < 0) {
        return -1;
    }
    if (archive_read_open2(opened->archive, opened, NULL, pass, NULL, NULL) != ARCHIVE_OK) {
        return fail_reader(opened, NULL, err);
    }
    *ret = TAKE(owner);
    return 0;
}

/* --- the layer -------------------------------------------------------------------------------- */

static int settle(void *data, const struct archive_sum *sum, struct error *err)
{
    return layer_settle(data, sum->digest, sum->size, err);
}

static int open_part(struct layer *layer, unsigned part, struct layer_reader **ret,
                     struct error *err)
{
    SCOPED_FREE char *label = xprintf("layer '%s'", layer->spec->name);
    struct archive_input input = {.finish = settle, .data = layer, .whole_file = true};

    (void)part;
    if (layer_open_file(label, AT_FDCWD, layer->spec->path, &input.fd, &input.size, err) < 0) {
        return -1;
    }
    layer->began_s = fstat(input.fd, &layer->identity) == 0 ? (int64_t)time(NULL) : 0;
    input.label = TAKE(label);
    return archive_reader_open(layer, &input, ret, err);
}

const char *layer_library(void)
{
    return archive_version_string();
}

static void free_layer(struct layer *layer)
{
    free(layer);
}

static const struct layer_ops archive_ops = {
    .format = "archive",
    .rules = RULES_MERGE,
    .untimed = false,
    .open_part = open_part,
    .free = free_layer,
};

/* What a file starts with that is not for us, and what to do about it. */
static int refuse_others(const char *label, const unsigned char *start, size_t size,
                         struct error *err)
{
    static const struct {
        const char *magic;
        unsigned length, offset;
        const char *what, *hint;
    } others[] = {
        {"PK\3\4", 4, 0, "a zip archive", "unpack it and pack it with tar"},
        {"PK\5\6", 4, 0, "a zip archive", "unpack it and pack it with tar"},
        {"PK\7\10", 4, 0, "a zip archive", "unpack it and pack it with tar"},
        {"7z\xbc\xaf\x27\x1c", 6, 0, "a 7z archive", "unpack it and pack it with tar"},
        {"Rar!\x1a\x07", 6, 0, "a rar archive", "unpack it and pack it with tar"},
        {"xar!", 4, 0, "a xar archive", "unpack it and pack it with tar"},
        {"MSCF", 4, 0, "a cab archive", "unpack it and pack it with tar"},
        {"CD001", 5, 32769, "an ISO 9660 image", "unpack it and pack it with tar"},
        {"\xed\xab\xee\xdb", 4, 0, "an rpm package", "make it a tar with rpm2archive"},
        {"!<arch>\n", 8, 0, "a deb package or ar archive",
         "take the tar out of it: dpkg-deb --fsys-tarfile"},
        {"hsqs", 4, 0, "a squashfs image", "make it a tar with sqfs2tar"},
        {"QFI\xfb", 4, 0, "a qcow2 disk", "make it a tar with virt-tar-out"},
        {"\x1f\x9d", 2, 0, "compressed with compress", "compress it with zstd or gzip instead"},
        {"LZIP", 4, 0, "compressed with lzip", "compress it with zstd or xz instead"},
        {"LRZI", 4, 0, "compressed with lrzip", "compress it with zstd or xz instead"},
        {"\x89LZO", 4, 0, "compressed with lzop", "compress it with zstd or lz4 instead"},
    };

    for (size_t i = 0; i < COUNT(others); i++) {
        if (size >= others[i].offset + others[i].length &&
            memcmp(start + others[i].offset, others[i].magic, others[i].length) == 0) {
            fail(err, FAIL_ERROR, "%s: it is %s, not a tar or cpio archive", label, others[i].what);
            return fail_hint(err, "%s", others[i].hint);
        }
    }
    return 0;
}

int layer_new_archive(const struct profile_layer *spec, struct layer **ret, struct error *err)
{
    SCOPED_FREE char *label = xprintf("layer '%s'", spec->name);
    SCOPED_FREE unsigned char *start = xmalloc(40u << 10);
    SCOPED_FD int fd = -1;
    struct layer *layer;
    uint64_t size;
    bool image = false;
    size_t seen;

    if (layer_open_file(label, AT_FDCWD, spec->path, &fd, &size, err) < 0) {
        return -1;
    }
    seen = size < (40u << 10) ? (size_t)size : 40u << 10;
    if (file_pread(fd, start, seen, 0, label, err) < 0 ||
        refuse_others(label, start, seen, err) < 0 ||
        scan_packed_image(fd, label, &image, err) < 0) {
        return -1;
    }
    if (image) {
        fail(err, FAIL_ERROR,
             "%s: it is a compressed image archive, whose parts cannot be reached "
             "without unpacking it",
             label);
        return fail_hint(err, "decompress it first (gzip -d, zstd -d): its layers stay compressed");
    }
    layer = xcalloc(1, sizeof(*layer));
    *layer = (struct layer){.ops = &archive_ops, .spec = spec, .parts = 1, .size_hint = size};
    *ret = layer;
    return 0;
}
