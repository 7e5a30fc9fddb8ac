/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/directory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/le.h"

enum {
    HEAD = 8,  /* of an entry, before its name */
    TAIL = 12, /* the checksum at the end of a block of entries */
    ROOM = VOLUME_BLOCK - TAIL,
    DOTS = 24, /* "." and "..": 12 bytes each */
    TYPE_DIRECTORY = 2,
    TYPE_TAIL = 0xde,

    /* The index (struct dx_root, dx_node): entries of a hash and a block, their first place taken
     * by limit and count; 8 bytes at the end for the checksum. */
    INDEX_ENTRY = 8,
    INDEX_TAIL = 8,
    ROOT_INDEX = 32, /* where the entries begin */
    NODE_INDEX = 8,
    ROOT_LIMIT = (VOLUME_BLOCK - ROOT_INDEX - INDEX_TAIL) / INDEX_ENTRY, /* 507 */
    NODE_LIMIT = (VOLUME_BLOCK - NODE_INDEX - INDEX_TAIL) / INDEX_ENTRY, /* 510 */
    HASH_HALF_MD4 = 1,

    /* Of a leaf is filled at first, so that names can be added: three quarters, as Linux's are
     * after a split. The longest name still fits above it. */
    LEAF_FILL = ROOM * 3 / 4,
};

uint8_t directory_type(enum entry_type type)
{
    static const uint8_t types[] = {
        [ENTRY_FILE] = 1,      [ENTRY_DIRECTORY] = TYPE_DIRECTORY,
        [ENTRY_CHARACTER] = 3, [ENTRY_BLOCK] = 4,
        [ENTRY_FIFO] = 5,      [ENTRY_SYMLINK] = 7,
    };

    return types[type];
}

size_t directory_entry_bytes(size_t length)
{
    return (HEAD + length + 3) & ~(size_t)3;
}

static size_t leaves_for(size_t bytes)
{
    return (bytes + LEAF_FILL - 1) / LEAF_FILL;
}

static size_t nodes_for(size_t leaves)
{
    return leaves <= ROOT_LIMIT ? 0 : (leaves + NODE_LIMIT - 1) / NODE_LIMIT;
}

size_t directory_blocks(size_t bytes)
{
    return bytes + DOTS <= ROOM ? 1 : 1 + nodes_for(leaves_for(bytes)) + leaves_for(bytes);
}

bool directory_is_possible(size_t blocks)
{
    return blocks <= (size_t)ROOT_LIMIT * NODE_LIMIT;
}

/* --- blocks of entries ------------------------------------------------------------------- */

/* The entry takes SIZE bytes, which is more than it needs for the last one of a block. */
static void put_entry(uint8_t *at, uint32_t number, const char *text, size_t length, uint8_t type,
                      size_t size)
{
    put32(at, number);
    put16(at + 4, (uint32_t)size);
    at[6] = (uint8_t)length;
    at[7] = type;
    memcpy(at + HEAD, text, length);
}

static void seal(uint8_t *block, uint32_t seed)
{
    uint8_t *tail = block + ROOM;

    put32(tail, 0);
    put16(tail + 4, TAIL);
    tail[6] = 0;
    tail[7] = TYPE_TAIL;
    put32(tail + 8, volume_checksum(seed, block, ROOM));
}

/* NAMES from AT on; the last one reaches to the end. An empty block is one unused entry. */
static void fill(uint8_t *block, size_t at, const struct name *names, size_t count, uint32_t seed)
{
    if (count == 0 && at == 0) {
        put16(block + 4, ROOM);
    }
    for (size_t i = 0; i < count; i++) {
        size_t size = directory_entry_bytes(names[i].length);

        assert(at + size <= ROOM);
        put_entry(block + at, names[i].number, names[i].text, names[i].length, names[i].type,
                  i + 1 < count ? size : ROOM - at);
        at += size;
    }
    seal(block, seed);
}

/* "." and "..", which reaches to LIMIT. */
static void put_dots(uint8_t *block, uint32_t number, uint32_t parent, size_t limit)
{
    put_entry(block, number, ".", 1, TYPE_DIRECTORY, DOTS / 2);
    put_entry(block + DOTS / 2, parent, "..", 2, TYPE_DIRECTORY, limit - DOTS / 2);
}

/* --- the index --------------------------------------------------------------------------- */

struct hashed {
    uint32_t hash, minor;
    struct name name;
};

static int by_hash(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;
    size_t shorter = x->name.length < y->name.length ? x->name.length : y->name.length;
    int order;

    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    if (x->minor != y->minor) {
        return x->minor < y->minor ? -1 : 1;
    }
    order = memcmp(x->name.text, y->name.text, shorter);
    return order != 0 ? order : (int)x->name.length - (int)y->name.length;
}

/* Puts NAMES into the order of their hashes, which come in a new array. */
static uint32_t *sort_by_hash(const struct volume *volume, struct name *names, size_t count)
{
    SCOPED_FREE struct hashed *sorted = xcalloc(count, sizeof(*sorted));
    uint32_t *hashes = xcalloc(count, sizeof(*hashes));

    for (size_t i = 0; i < count; i++) {
        sorted[i].name = names[i];
        volume_hash_name(volume, names[i].text, names[i].length, &sorted[i].hash, &sorted[i].minor);
    }
    qsort(sorted, count, sizeof(*sorted), by_hash);
    for (size_t i = 0; i < count; i++) {
        names[i] = sorted[i].name;
        hashes[i] = sorted[i].hash;
    }
    return hashes;
}

/*
 * COUNT entries of the index from ENTRIES on: the first one's hash is understood, limit and count
 * stand in its place. Block numbers rise by one from FIRST.
 */
static void put_index(uint8_t *block, size_t entries, size_t limit, const uint32_t *hashes,
                      size_t count, size_t first, uint32_t seed)
{
    uint8_t *tail = block + entries + limit * INDEX_ENTRY;
    uint32_t sum;

    for (size_t i = 0; i < count; i++) {
        put32(block + entries + i * INDEX_ENTRY, hashes[i]);
        put32(block + entries + i * INDEX_ENTRY + 4, (uint32_t)(first + i));
    }
    put16(block + entries, (uint32_t)limit);
    put16(block + entries + 2, (uint32_t)count);
    /* ext4_dx_csum: up to the last entry, then the tail with a checksum of 0. */
    sum = volume_checksum(seed, block, entries + count * INDEX_ENTRY);
    put32(tail, 0);
    put32(tail + 4, 0);
    sum = volume_checksum(sum, tail, INDEX_TAIL);
    put32(tail + 4, sum);
}

/* Shares the names out evenly; STARTS are the hashes that the leaves begin with. */
static void put_leaves(uint8_t *blocks, size_t leaves, const struct name *names, size_t count,
                       const uint32_t *hashes, uint32_t seed, uint32_t *starts)
{
    size_t total = 0, done = 0, next = 0;

    for (size_t i = 0; i < count; i++) {
        total += directory_entry_bytes(names[i].length);
    }
    for (size_t leaf = 0; leaf < leaves; leaf++) {
        size_t first = next;

        /* Names with one hash in two leaves: the second says so by an odd one. */
        starts[leaf] = hashes[first] | (first > 0 && hashes[first] == hashes[first - 1]);
        while (next < count && (leaf + 1 == leaves || done * leaves < total * (leaf + 1))) {
            done += directory_entry_bytes(names[next++].length);
        }
        fill(blocks + leaf * VOLUME_BLOCK, 0, names + first, next - first, seed);
    }
}

static void build_indexed(const struct volume *volume, uint32_t number, uint32_t parent,
                          struct name *names, size_t count, uint8_t *blocks, size_t block_count)
{
    SCOPED_FREE uint32_t *hashes = sort_by_hash(volume, names, count);
    uint32_t seed = volume_inode_seed(volume, number);
    SCOPED_FREE uint32_t *starts = xcalloc(block_count, sizeof(*starts));
    size_t leaves = block_count - 1, nodes = 0;

    while (nodes < nodes_for(leaves - nodes)) {
        nodes++;
    }
    leaves -= nodes;
    put_leaves(blocks + (1 + nodes) * VOLUME_BLOCK, leaves, names, count, hashes, seed, starts);
    put_dots(blocks, number, parent, VOLUME_BLOCK);
    blocks[DOTS + 4] = HASH_HALF_MD4;
    blocks[DOTS + 5] = 8; /* length of this piece of information */
    blocks[DOTS + 6] = nodes != 0;
    if (nodes == 0) {
        put_index(blocks, ROOT_INDEX, ROOT_LIMIT, starts, leaves, 1, seed);
        return;
    }
    for (size_t node = 0; node < nodes; node++) {
        uint8_t *block = blocks + (1 + node) * VOLUME_BLOCK;
        size_t first = node * NODE_LIMIT, left = leaves - first;

        put16(block + 4, VOLUME_BLOCK); /* an entry that is unused hides the index */
        put_index(block, NODE_INDEX, NODE_LIMIT, starts + first,
                  left < NODE_LIMIT ? left : NODE_LIMIT, 1 + nodes + first, seed);
        starts[node] = starts[first];
    }
    put_index(blocks, ROOT_INDEX, ROOT_LIMIT, starts, nodes, 1, seed);
}

void directory_build(const struct volume *volume, uint32_t number, uint32_t parent,
                     struct name *names, size_t count, uint8_t *blocks, size_t block_count)
{
    if (block_count == 1) {
        put_dots(blocks, number, parent, count == 0 ? ROOM : DOTS);
        fill(blocks, DOTS, names, count, volume_inode_seed(volume, number));
        return;
    }
    build_indexed(volume, number, parent, names, count, blocks, block_count);
}

void directory_build_empty(const struct volume *volume, uint32_t number, uint32_t parent,
                           uint8_t *blocks, size_t block_count)
{
    uint32_t seed = volume_inode_seed(volume, number);

    put_dots(blocks, number, parent, ROOM);
    seal(blocks, seed);
    for (size_t i = 1; i < block_count; i++) {
        fill(blocks + i * VOLUME_BLOCK, 0, NULL, 0, seed);
    }
}
