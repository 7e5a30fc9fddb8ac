/* SPDX-License-Identifier: Apache-2.0 */
/* The tree that says where a file's blocks are (Documentation/filesystems/ext4/ifork.rst). */
#ifndef DISK_EXTENTS_H
#define DISK_EXTENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "disk/volume.h"

/* Blocks of a file that lie one after another, in the file and on the disk. */
struct piece {
    uint64_t logical;
    uint64_t block;
    uint64_t count;
};

enum { EXTENTS_ROOT = 60, EXTENT_MAX = 32768 /* blocks */ };

/* Extents that PIECES take: a long piece takes several. */
size_t extents_count(const struct piece *pieces, size_t count);

/* Blocks of the tree for so many extents: 0 while they fit into the inode. */
size_t extents_blocks(size_t extents);

/* Where a block of the tree goes: 4096 bytes. */
typedef int (*extents_sink)(void *data, uint64_t block, const uint8_t *bytes, struct error *err);

/*
 * Makes ROOT, what stands in inode NUMBER, and hands the tree's blocks to SINK; BLOCKS are
 * extents_blocks() numbers of blocks for them.
 */
int extents_write(const struct volume *volume, uint32_t number, const struct piece *pieces,
                  size_t count, const uint64_t *blocks, extents_sink sink, void *data,
                  uint8_t root[EXTENTS_ROOT], struct error *err);

#endif
