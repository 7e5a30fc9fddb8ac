/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in a tar: is a file one (names tell after a few members), and where in it do its members
 * lie. Member data is skipped over by seeking; nothing is unpacked.
 */
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "layer/stream.h"

#define BLOCK_BYTES (32u << 10) /* per read: the members that matter are large */
#define MEMBERS_LIMIT 100000
/* members looked at in a compressed file; each costs decompressing the one before */
#define PEEK 8
#define PEEK_BYTES (16 << 20)

static void free_archive(struct archive **archive)
{
    (void)archive_read_free(*archive);
}

static bool is_hex64(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isxdigit((unsigned char)text[i])) {
            return false;
        }
    }
    return length == 64;
}

/* A path below the directory of one layer, or of one digest algorithm. */
static enum image_shape shape_below(const char *path, const char *slash)
{
    const char *rest = slash + 1;

    if (text_starts(path, "blobs/")) {
        const char *name = strchr(rest, '/');

        return rest[0] == '\0'                        ? SHAPE_OPEN
               : name == NULL || name[1] == '\0'      ? SHAPE_OPEN
               : is_hex64(name + 1, strlen(name + 1)) ? SHAPE_IMAGE
                                                      : SHAPE_OTHER;
    }
    if (!is_hex64(path, (size_t)(slash - path))) {
        return SHAPE_OTHER;
    }
    return rest[0] == '\0' ? SHAPE_OPEN : SHAPE_IMAGE;
}

enum image_shape image_shape(const char *path)
{
    const char *slash, *dot;

    while (text_starts(path, "./")) {
        path += 2;
    }
    slash = strchr(path, '/');
    if (slash != NULL) {
        return shape_below(path, slash);
    }
    dot = strchr(path, '.');
    if (strcmp(path, "oci-layout") == 0 ||
        (dot != NULL && is_hex64(path, (size_t)(dot - path)) &&
         (strcmp(dot, ".json") == 0 || strcmp(dot, ".tar") == 0))) {
        return SHAPE_IMAGE;
    }
    return SHAPE_OPEN;
}

static int start(const char *label, struct archive **ret, struct error *err)
{
    SCOPED(free_archive) struct archive *archive = archive_read_new();

    if (archive == NULL) {
        return fail(err, FAIL_ERROR, "%s: libarchive does not start", label);
    }
    if (enable_archive(archive, archive_read_support_format_tar, label, err) < 0) {
        return -1;
    }
    *ret = TAKE(archive);
    return 0;
}

int scan_packed_image(int fd, const char *label, bool *ret, struct error *err)
{
    SCOPED(free_archive) struct archive *archive = NULL;
    struct archive_entry *entry;
    enum image_shape shape = SHAPE_OPEN;

    /* xz and bzip2 take long for what is almost never there: images come plain, gzip or zstd. */
    if (start(label, &archive, err) < 0 ||
        enable_archive(archive, archive_read_support_filter_gzip, label, err) < 0 ||
        enable_archive(archive, archive_read_support_filter_zstd, label, err) < 0) {
        return -1;
    }
    if (lseek(fd, 0, SEEK_SET) < 0) {
        return fail_os(err, "%s: seek", label);
    }
    /* What is wrong with the file is said when it is read. */
    if (archive_read_open_fd(archive, fd, BLOCK_BYTES) == ARCHIVE_OK &&
        archive_filter_count(archive) == 2) {
        for (unsigned i = 0; i < PEEK && shape == SHAPE_OPEN; i++) {
            if (archive_read_next_header(archive, &entry) < ARCHIVE_WARN ||
                archive_entry_pathname(entry) == NULL) {
                break;
            }
            shape = image_shape(archive_entry_pathname(entry));
            if (archive_entry_size(entry) > PEEK_BYTES) {
                break;
            }
        }
    }
    *ret = shape == SHAPE_IMAGE;
    return 0;
}

int scan_index(int fd, const char *label, int (*visit)(void *data, const struct member *member),
               void *data, struct error *err)
{
    SCOPED(free_archive) struct archive *archive = NULL;
    struct archive_entry *entry;
    int result = ARCHIVE_OK;

    if (start(label, &archive, err) < 0) {
        return -1;
    }
    if (lseek(fd, 0, SEEK_SET) < 0) {
        return fail_os(err, "%s: seek", label);
    }
    if (archive_read_open_fd(archive, fd, BLOCK_BYTES) != ARCHIVE_OK) {
        return 0;
    }
    for (unsigned i = 0; i < MEMBERS_LIMIT; i++) {
        struct member member;

        result = archive_read_next_header(archive, &entry);
        if (result < ARCHIVE_WARN || result == ARCHIVE_EOF ||
            archive_entry_pathname(entry) == NULL) {
            return 0;
        }
        member.path = archive_entry_pathname(entry);
        member.target = archive_entry_hardlink(entry);
        member.hard = member.target != NULL;
        if (!member.hard) {
            member.target = archive_entry_symlink(entry);
        }
        member.file = member.target == NULL && archive_entry_filetype(entry) == AE_IFREG &&
                      archive_entry_sparse_count(entry) == 0;
        member.offset = (uint64_t)archive_filter_bytes(archive, 0);
        member.size = (uint64_t)archive_entry_size(entry);
        if (visit(data, &member) != 0) {
            return 0;
        }
    }
    return 0;
}
