/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/pax.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "layer/acl.h"

#define BLOCK 512
#define GATHER (64u << 10) /* headers and small files reach the sink in pieces of this size */

/* POSIX.1-2017, pax, "ustar Interchange Format". */
struct ustar {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char uname[32];
    char gname[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char unused[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a tar header is one block");

#define OCTAL_7 07777777u      /* what fits a field of 8 bytes */
#define OCTAL_11 077777777777u /* what fits a field of 12 bytes */

/* Of a sparse member: zeros that nobody hands in, then data that somebody does. */
struct segment {
    uint64_t zeros;
    uint64_t data;
};

struct pax {
    pax_sink sink;
    void *data;
    struct buf gathered;
    struct buf records; /* of the member being started */
    struct buf map;     /* of a sparse member */
    struct segment *segments;
    size_t segment_count, segment_space, segment_at;
    uint64_t remaining; /* bytes of data the current member still takes */
    unsigned padding;   /* after them */
};

struct pax *pax_new(pax_sink sink, void *data)
{
    struct pax *pax = xcalloc(1, sizeof(*pax));

    pax->sink = sink;
    pax->data = data;
    return pax;
}

void pax_free(struct pax *pax)
{
    if (pax != NULL) {
        buf_done(&pax->gathered);
        buf_done(&pax->records);
        buf_done(&pax->map);
        free(pax->segments);
        free(pax);
    }
}

static int flush(struct pax *pax, struct error *err)
{
    if (pax->gathered.size != 0 &&
        pax->sink(pax->data, pax->gathered.data, pax->gathered.size, err) < 0) {
        return -1;
    }
    buf_clear(&pax->gathered);
    return 0;
}

static int put(struct pax *pax, const void *data, size_t size, struct error *err)
{
    if (pax->gathered.size + size > GATHER && flush(pax, err) < 0) {
        return -1;
    }
    if (size >= GATHER) {
        return pax->sink(pax->data, data, size, err);
    }
    buf_add(&pax->gathered, data, size);
    return 0;
}

static int put_zeros(struct pax *pax, uint64_t size, struct error *err)
{
    static const char zeros[2 * BLOCK];

    while (size != 0) {
        size_t step = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);

        if (put(pax, zeros, step, err) < 0) {
            return -1;
        }
        size -= step;
    }
    return 0;
}

static unsigned padding_of(uint64_t size)
{
    return (unsigned)(-size % BLOCK);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts the whole record, itself included. */
static void record(struct buf *buf, const char *key, const void *value, size_t size)
{
    size_t rest = 1 + strlen(key) + 1 + size + 1;
    size_t length = rest + 1;

    for (;;) {
        size_t digits = (size_t)snprintf(NULL, 0, "%zu", length);

        if (rest + digits == length) {
            break;
        }
        length = rest + digits;
    }
    buf_printf(buf, "%zu %s=", length, key);
    buf_add(buf, value, size);
    buf_putc(buf, '\n');
}

static void record_text(struct buf *buf, const char *key, const char *value)
{
    record(buf, key, value, strlen(value));
}

static void record_number(struct buf *buf, const char *key, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    record_text(buf, key, text);
}

static void octal(char *field, size_t size, uint64_t value)
{
    field[size - 1] = '\0';
    for (size_t i = size - 1; i-- > 0; value >>= 3) {
        field[i] = (char)('0' + (value & 7));
    }
}

/* A value for an octal field, or a record when it does not fit. */
static void number(struct pax *pax, char *field, size_t size, const char *key, uint64_t value)
{
    if (value > (size == 8 ? OCTAL_7 : OCTAL_11)) {
        record_number(&pax->records, key, value);
        value = 0;
    }
    octal(field, size, value);
}

static void put_time(struct pax *pax, struct ustar *header, const struct entry *entry)
{
    int64_t seconds = entry->mtime;
    uint32_t ns = entry->mtime_ns;
    bool fits = seconds >= 0 && seconds <= (int64_t)OCTAL_11;

    octal(header->mtime, sizeof(header->mtime), fits ? (uint64_t)seconds : 0);
    if (!fits || ns != 0) {
        struct buf text = {0};
        bool negative = seconds < 0;

        /* A record counts its fraction away from zero, struct timespec upwards. */
        if (negative && ns != 0) {
            seconds += 1;
            ns = 1000000000 - ns;
        }
        buf_printf(&text, "%s%llu", negative ? "-" : "",
                   (unsigned long long)(negative ? 0 - (uint64_t)seconds : (uint64_t)seconds));
        if (ns != 0) {
            buf_printf(&text, ".%09u", ns);
            while (text.data[text.size - 1] == '0') {
                text.data[--text.size] = '\0';
            }
        }
        record(&pax->records, "mtime", text.data, text.size);
        buf_done(&text);
    }
}

/* The last component of PATH, after DIR: a name for members whose real one is in a record. */
static void synthetic(char *name, size_t size, const char *dir, const char *path)
{
    size_t length = strlen(path);
    size_t start;

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    for (start = length; start > 0 && path[start - 1] != '/'; start--) {
    }
    memset(name, 0, size);
    (void)snprintf(name, size, "%s/%.*s", dir, (int)(length - start), path + start);
}

static void put_path(struct pax *pax, struct ustar *header, const char *path)
{
    size_t length = strlen(path);

    if (length <= sizeof(header->name)) {
        memcpy(header->name, path, length);
        return;
    }
    for (size_t i = 1; i <= sizeof(header->prefix) && i + 1 < length; i++) {
        if (path[i] == '/' && path[i - 1] != '/' && length - i - 1 <= sizeof(header->name)) {
            memcpy(header->prefix, path, i);
            memcpy(header->name, path + i + 1, length - i - 1);
            return;
        }
    }
    record_text(&pax->records, "path", path);
    memcpy(header->name, path, sizeof(header->name));
}

static void put_link(struct pax *pax, struct ustar *header, const char *target)
{
    size_t length = strlen(target);

    if (length > sizeof(header->link)) {
        record_text(&pax->records, "linkpath", target);
        length = sizeof(header->link);
    }
    memcpy(header->link, target, length);
}

/* Keys cannot hold '='; GNU tar writes it, and the '%' that this needs, in hex. */
static void put_xattr(struct pax *pax, const struct xattr *xattr)
{
    struct buf key = {0};

    buf_puts(&key, "SCHILY.xattr.");
    for (const char *s = xattr->name; *s != '\0'; s++) {
        if (*s == '=' || *s == '%') {
            buf_printf(&key, "%%%02X", (unsigned)*s);
        } else {
            buf_putc(&key, *s);
        }
    }
    record(&pax->records, key.data, xattr->value, xattr->size);
    buf_done(&key);
}

static int put_xattrs(struct pax *pax, const struct entry *entry, struct error *err)
{
    for (size_t i = 0; i < entry->xattr_count; i++) {
        const struct xattr *xattr = &entry->xattrs[i];
        const char *key = strcmp(xattr->name, ACL_ACCESS) == 0    ? "SCHILY.acl.access"
                          : strcmp(xattr->name, ACL_DEFAULT) == 0 ? "SCHILY.acl.default"
                                                                  : NULL;

        if (key == NULL) {
            put_xattr(pax, xattr);
        } else {
            struct buf text = {0};

            if (acl_check(xattr->value, xattr->size, err) < 0) {
                return fail_while(err, "'%s'", entry->path);
            }
            acl_text(xattr->value, xattr->size, &text);
            record(&pax->records, key, text.data, text.size);
            buf_done(&text);
        }
    }
    return 0;
}

static int check_extents(const struct entry *entry, const struct extent *extents, size_t count,
                         struct error *err)
{
    uint64_t end = 0;

    for (size_t i = 0; i < count; i++) {
        if (extents[i].offset < end ||
            __builtin_add_overflow(extents[i].offset, extents[i].size, &end) || end > entry->size) {
            return fail(err, FAIL_ERROR, "'%s': extents that do not fit the file", entry->path);
        }
    }
    return 0;
}

static void add_segment(struct pax *pax, uint64_t zeros, uint64_t data)
{
    grow(&pax->segments, pax->segment_count, &pax->segment_space, sizeof(*pax->segments));
    pax->segments[pax->segment_count++] = (struct segment){zeros, data};
}

/*
 * The runs of a sparse member. GNU tar starts every run on a block of the archive and others do
 * not, so that only runs of whole blocks mean the same to all (the end of the file may cut the
 * last one): extents grow to that by zeros, and those that then touch become one.
 */
static size_t build_runs(struct pax *pax, const struct entry *entry, const struct extent *extents,
                         size_t count, struct extent *runs)
{
    uint64_t filled = 0; /* end of what the segments hold */
    size_t made = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t start = extents[i].offset - extents[i].offset % BLOCK;
        uint64_t end = extents[i].offset + extents[i].size;
        uint64_t zeros;

        if (extents[i].size == 0) {
            continue;
        }
        if (made != 0 && start <= runs[made - 1].offset + runs[made - 1].size) {
            zeros = extents[i].offset - filled;
        } else {
            zeros = extents[i].offset - start;
            if (made != 0) {
                zeros += runs[made - 1].offset + runs[made - 1].size - filled;
            }
            runs[made++].offset = start;
        }
        add_segment(pax, zeros, extents[i].size);
        filled = end;
        end += padding_of(end);
        end = end > entry->size ? entry->size : end;
        runs[made - 1].size = end - runs[made - 1].offset;
    }
    if (made != 0) {
        add_segment(pax, runs[made - 1].offset + runs[made - 1].size - filled, 0);
    }
    return made;
}

/*
 * The map of GNU's sparse format 1.0 (its manual, "Storing Sparse Files") into pax->map; the bytes
 * that are handed in, and those that the member then has.
 */
static int build_map(struct pax *pax, const struct entry *entry, const struct extent *extents,
                     size_t count, uint64_t *ret_data, uint64_t *ret_stored, struct error *err)
{
    SCOPED_FREE struct extent *runs = xcalloc(count, sizeof(*runs));
    uint64_t end = 0, data = 0, stored = 0;
    bool tail;

    if (check_extents(entry, extents, count, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        data += extents[i].size;
    }
    count = build_runs(pax, entry, extents, count, runs);
    end = count == 0 ? 0 : runs[count - 1].offset + runs[count - 1].size;
    /* A hole at the end shows as an empty run there: readers take the size from the last run. */
    tail = end < entry->size || count == 0;
    buf_printf(&pax->map, "%zu\n", count + tail);
    for (size_t i = 0; i < count; i++) {
        stored += runs[i].size;
        buf_printf(&pax->map, "%llu\n%llu\n", (unsigned long long)runs[i].offset,
                   (unsigned long long)runs[i].size);
    }
    if (tail) {
        buf_printf(&pax->map, "%llu\n0\n", (unsigned long long)entry->size);
    }
    while (pax->map.size % BLOCK != 0) {
        buf_putc(&pax->map, '\0');
    }
    *ret_data = data;
    *ret_stored = stored;
    return 0;
}

static void finish_header(struct ustar *header, char type)
{
    unsigned sum = 0;

    header->type = type;
    memcpy(header->magic, "ustar", 6);
    memcpy(header->version, "00", 2);
    memset(header->checksum, ' ', sizeof(header->checksum));
    for (size_t i = 0; i < sizeof(*header); i++) {
        sum += ((const unsigned char *)header)[i];
    }
    (void)snprintf(header->checksum, 7, "%06o", sum);
}

static int put_records(struct pax *pax, const char *path, struct error *err)
{
    struct ustar header = {0};

    if (pax->records.size == 0) {
        return 0;
    }
    synthetic(header.name, sizeof(header.name), "PaxHeaders.0", path);
    octal(header.mode, sizeof(header.mode), 0644);
    octal(header.uid, sizeof(header.uid), 0);
    octal(header.gid, sizeof(header.gid), 0);
    octal(header.size, sizeof(header.size), pax->records.size);
    octal(header.mtime, sizeof(header.mtime), 0);
    finish_header(&header, 'x');
    if (put(pax, &header, sizeof(header), err) < 0 ||
        put(pax, pax->records.data, pax->records.size, err) < 0) {
        return -1;
    }
    return put_zeros(pax, padding_of(pax->records.size), err);
}

static int put_device(struct ustar *header, const struct entry *entry, struct error *err)
{
    if (entry->major > OCTAL_7 || entry->minor > OCTAL_7) {
        return fail(err, FAIL_ERROR, "'%s': device numbers %u:%u do not fit a tar header",
                    entry->path, entry->major, entry->minor);
    }
    octal(header->major, sizeof(header->major), entry->major);
    octal(header->minor, sizeof(header->minor), entry->minor);
    return 0;
}

/* Everything of the header but the path and the size. */
static int put_attributes(struct pax *pax, struct ustar *header, const struct entry *entry,
                          struct error *err)
{
    octal(header->mode, sizeof(header->mode), entry->mode & 07777);
    number(pax, header->uid, sizeof(header->uid), "uid", entry->uid);
    number(pax, header->gid, sizeof(header->gid), "gid", entry->gid);
    put_time(pax, header, entry);
    if (entry->type == ENTRY_SYMLINK || entry->type == ENTRY_HARDLINK) {
        put_link(pax, header, entry->target);
    }
    if ((entry->type == ENTRY_CHARACTER || entry->type == ENTRY_BLOCK) &&
        put_device(header, entry, err) < 0) {
        return -1;
    }
    return put_xattrs(pax, entry, err);
}

static int check_finished(const struct pax *pax, struct error *err)
{
    if (pax->remaining != 0) {
        return fail(err, FAIL_ERROR, "a member has %llu bytes less than its header says",
                    (unsigned long long)pax->remaining);
    }
    return 0;
}

int pax_entry(struct pax *pax, const struct entry *entry, const struct extent *extents,
              size_t extent_count, struct error *err)
{
    static const char types[] = {
        [ENTRY_FILE] = '0',     [ENTRY_DIRECTORY] = '5', [ENTRY_SYMLINK] = '2',
        [ENTRY_HARDLINK] = '1', [ENTRY_CHARACTER] = '3', [ENTRY_BLOCK] = '4',
        [ENTRY_FIFO] = '6',
    };
    struct ustar header = {0};
    bool file = entry->type == ENTRY_FILE;
    bool sparse = file && extents != NULL;
    uint64_t data = file ? entry->size : 0, stored = data;

    if (check_finished(pax, err) < 0) {
        return -1;
    }
    buf_clear(&pax->records);
    buf_clear(&pax->map);
    pax->segment_count = pax->segment_at = 0;
    if (sparse) {
        if (build_map(pax, entry, extents, extent_count, &data, &stored, err) < 0) {
            return -1;
        }
        record_text(&pax->records, "GNU.sparse.major", "1");
        record_text(&pax->records, "GNU.sparse.minor", "0");
        record_text(&pax->records, "GNU.sparse.name", entry->path);
        record_number(&pax->records, "GNU.sparse.realsize", entry->size);
        synthetic(header.name, sizeof(header.name), "GNUSparseFile.0", entry->path);
    } else {
        put_path(pax, &header, entry->path);
    }
    number(pax, header.size, sizeof(header.size), "size", pax->map.size + stored);
    if (put_attributes(pax, &header, entry, err) < 0 || put_records(pax, entry->path, err) < 0) {
        return -1;
    }
    finish_header(&header, types[entry->type]);
    pax->remaining = data;
    pax->padding = padding_of(stored);
    if (put(pax, &header, sizeof(header), err) < 0) {
        return -1;
    }
    return put(pax, pax->map.data, pax->map.size, err);
}

/* Data of a sparse member, between the zeros that fill its runs. */
static int put_segments(struct pax *pax, const char *data, size_t size, struct error *err)
{
    while (pax->segment_at < pax->segment_count) {
        struct segment *segment = &pax->segments[pax->segment_at];
        size_t step = segment->data < size ? (size_t)segment->data : size;

        if (put_zeros(pax, segment->zeros, err) < 0 || put(pax, data, step, err) < 0) {
            return -1;
        }
        segment->zeros = 0;
        segment->data -= step;
        data += step;
        size -= step;
        if (segment->data != 0) {
            break;
        }
        pax->segment_at++;
        if (size == 0 && pax->remaining != 0) {
            break;
        }
    }
    return 0;
}

int pax_data(struct pax *pax, const void *data, size_t size, struct error *err)
{
    if (size > pax->remaining) {
        return fail(err, FAIL_ERROR, "a member has more bytes than its header says");
    }
    if (size == 0) {
        return 0;
    }
    pax->remaining -= size;
    if ((pax->segment_count == 0 ? put(pax, data, size, err) : put_segments(pax, data, size, err)) <
        0) {
        return -1;
    }
    return pax->remaining == 0 ? put_zeros(pax, pax->padding, err) : 0;
}

int pax_end(struct pax *pax, struct error *err)
{
    if (check_finished(pax, err) < 0 || put_zeros(pax, (size_t)2 * BLOCK, err) < 0) {
        return -1;
    }
    return flush(pax, err);
}
