/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/extents.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/le.h"

enum {
    HEADER = 12,
    ENTRY = 12,
    MAGIC = 0xf30a,
    IN_ROOT = (EXTENTS_ROOT - HEADER) / ENTRY,  /* 4 */
    IN_BLOCK = (VOLUME_BLOCK - HEADER) / ENTRY, /* 340; four bytes are left for the checksum */
};

/* One level of the tree: what its nodes point to, and from which block of the file on. */
struct level {
    uint8_t *entries; /* as on the disk, ENTRY bytes each */
    size_t count;
};

size_t extents_count(const struct piece *pieces, size_t count)
{
    size_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += (size_t)((pieces[i].count + EXTENT_MAX - 1) / EXTENT_MAX);
    }
    return sum;
}

size_t extents_blocks(size_t extents)
{
    size_t sum = 0;

    while (extents > IN_ROOT) {
        extents = (extents + IN_BLOCK - 1) / IN_BLOCK;
        sum += extents;
    }
    return sum;
}

static void put_header(uint8_t *at, size_t count, size_t max, unsigned depth)
{
    put16(at, MAGIC);
    put16(at + 2, (uint32_t)count);
    put16(at + 4, (uint32_t)max);
    put16(at + 6, depth);
    put32(at + 8, 0);
}

static struct level make_leaves(const struct piece *pieces, size_t count)
{
    struct level level = {.count = extents_count(pieces, count)};
    uint8_t *at = level.entries = xcalloc(level.count, ENTRY);

    for (size_t i = 0; i < count; i++) {
        for (uint64_t done = 0; done < pieces[i].count; done += EXTENT_MAX, at += ENTRY) {
            uint64_t left = pieces[i].count - done, block = pieces[i].block + done;

            put32(at, (uint32_t)(pieces[i].logical + done));
            put16(at + 4, left < EXTENT_MAX ? (uint32_t)left : EXTENT_MAX);
            put16(at + 6, (uint32_t)(block >> 32));
            put32(at + 8, (uint32_t)block);
        }
    }
    return level;
}

/* Writes LEVEL out in blocks from *BLOCKS on, which moves; *RET is the level that points to them.
 */
static int fold_level(const struct level *level, unsigned depth, uint32_t seed,
                      const uint64_t **blocks, extents_sink sink, void *data, struct level *ret,
                      struct error *err)
{
    struct level above = {.count = (level->count + IN_BLOCK - 1) / IN_BLOCK};

    above.entries = xcalloc(above.count, ENTRY);
    for (size_t i = 0; i < above.count; i++) {
        size_t first = i * IN_BLOCK, left = level->count - first;
        size_t here = left < IN_BLOCK ? left : IN_BLOCK;
        const uint8_t *from = level->entries + first * ENTRY;
        uint64_t block = *(*blocks)++;
        uint8_t bytes[VOLUME_BLOCK] = {0};

        put_header(bytes, here, IN_BLOCK, depth);
        memcpy(bytes + HEADER, from, here * ENTRY);
        put32(bytes + HEADER + (size_t)IN_BLOCK * ENTRY,
              volume_checksum(seed, bytes, HEADER + (size_t)IN_BLOCK * ENTRY));
        memcpy(above.entries + i * ENTRY, from, 4); /* the first block it covers */
        put32(above.entries + i * ENTRY + 4, (uint32_t)block);
        put16(above.entries + i * ENTRY + 8, (uint32_t)(block >> 32));
        if (sink(data, block, bytes, err) < 0) {
            free(above.entries);
            return -1;
        }
    }
    *ret = above;
    return 0;
}

int extents_write(const struct volume *volume, uint32_t number, const struct piece *pieces,
                  size_t count, const uint64_t *blocks, extents_sink sink, void *data,
                  uint8_t root[EXTENTS_ROOT], struct error *err)
{
    struct level level = make_leaves(pieces, count);
    uint32_t seed = volume_inode_seed(volume, number);
    unsigned depth = 0;
    int result = 0;

    for (; level.count > IN_ROOT && result == 0; depth++) {
        struct level above = {0};

        result = fold_level(&level, depth, seed, &blocks, sink, data, &above, err);
        free(level.entries);
        level = above;
    }
    memset(root, 0, EXTENTS_ROOT);
    put_header(root, level.count, IN_ROOT, depth);
    if (result == 0) {
        memcpy(root + HEADER, level.entries, level.count * ENTRY);
    }
    free(level.entries);
    return result;
}
