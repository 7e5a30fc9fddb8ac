/* SPDX-License-Identifier: Apache-2.0 */
#include "export/sparse_tar.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

enum {
    BLOCK = 512,
    RECORD = 20 * BLOCK,
    IN_HEADER = 4, /* entries of the map */
    IN_EXTENSION = 21,
};

struct entry {
    char offset[12], size[12];
};

/* Numbers are octal digits and a NUL, or what put_number makes of large ones. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[8]; /* version included */
    char user[32], group[32], major[8], minor[8], atime[12], ctime[12], offset[12], longnames[4];
    char unused;
    struct entry map[IN_HEADER];
    char is_extended;
    char real_size[12];
    char padding[17];
};

struct extension {
    struct entry map[IN_EXTENSION];
    char is_extended;
    char padding[7];
};

_Static_assert(sizeof(struct header) == BLOCK && sizeof(struct extension) == BLOCK, "tar blocks");

/* Above 8 GiB as GNU tar does: a high bit, and the number in binary, big-endian. */
static void put_number(char field[12], uint64_t value)
{
    uint64_t big = htobe64(value);

    if (value < UINT64_C(1) << 33) {
        (void)snprintf(field, 12, "%011llo", (unsigned long long)value);
        return;
    }
    memset(field, 0, 12);
    field[0] = (char)0x80;
    memcpy(field + 4, &big, sizeof(big));
}

/* The header's own field counts as spaces. */
static void put_checksum(struct header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    unsigned sum = 0;

    memset(header->checksum, ' ', sizeof(header->checksum));
    for (size_t i = 0; i < sizeof(*header); i++) {
        sum += bytes[i];
    }
    (void)snprintf(header->checksum, 7, "%06o", sum & 0777777);
}

static void add_entry(struct buf *map, uint64_t offset, uint64_t size)
{
    struct entry entry;

    put_number(entry.offset, offset);
    put_number(entry.size, size);
    buf_add(map, &entry, sizeof(entry));
}

/*
 * The map, an entry for each run. A disk that ends in a hole gets an empty one there: that is how
 * GNU tar tells. Returns the bytes of all of them.
 */
static uint64_t make_map(const struct clusters *clusters, struct buf *map)
{
    uint64_t disk = clusters->size_bytes, end = 0, total = 0;

    for (size_t i = 0; i < clusters->run_count; i++) {
        uint64_t offset = clusters->runs[i].first * CLUSTER;

        end = offset + clusters->runs[i].count * CLUSTER;
        end = end < disk ? end : disk;
        add_entry(map, offset, end - offset);
        total += end - offset;
    }
    if (end < disk || clusters->run_count == 0) {
        add_entry(map, disk, 0);
    }
    return total;
}

/* Moves up to COUNT entries from MAP at *AT to RET; whether some are left. */
static char take_entries(const struct buf *map, size_t *at, struct entry *ret, size_t count)
{
    size_t left = map->size - *at, size = count * sizeof(struct entry);

    size = size < left ? size : left;
    memcpy(ret, map->data + *at, size);
    *at += size;
    return *at < map->size ? 1 : 0;
}

void sparse_tar_head(struct buf *buf, const char *name, const struct clusters *clusters)
{
    SCOPED(buf_done) struct buf map = {0};
    struct header header = {
        .mode = "0000644",
        .uid = "0000000",
        .gid = "0000000",
        .mtime = "00000000000",
        .type = 'S',
        .magic = "ustar  ", /* GNU's */
    };
    size_t at = 0;

    assert(strlen(name) < sizeof(header.name));
    memcpy(header.name, name, strlen(name));
    put_number(header.size, make_map(clusters, &map));
    put_number(header.real_size, clusters->size_bytes);
    header.is_extended = take_entries(&map, &at, header.map, IN_HEADER);
    put_checksum(&header);
    buf_add(buf, &header, sizeof(header));
    while (at < map.size) {
        struct extension extension = {0};

        extension.is_extended = take_entries(&map, &at, extension.map, IN_EXTENSION);
        buf_add(buf, &extension, sizeof(extension));
    }
}

uint64_t sparse_tar_padding(uint64_t size)
{
    uint64_t least = size + 2 * BLOCK; /* an archive ends with two blocks of zeros */

    return least + (RECORD - least % RECORD) % RECORD - size;
}
