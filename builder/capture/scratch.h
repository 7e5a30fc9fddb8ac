/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ext4 file system that somebody else has written to, and may have meant to: kiln made it
 * (disk/volume.h), so it must still be what kiln makes, and every number it holds is checked before
 * it is used. Nothing is ever written. Errors say what is wrong, not where the file system came
 * from.
 */
#ifndef CAPTURE_SCRATCH_H
#define CAPTURE_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include <ext2fs/ext2fs.h>

#include "base/fail.h"
#include "base/scope.h"
#include "disk/extents.h"
#include "disk/volume.h"

struct scratch;

/* An inode: its fields, and the room for extended attributes behind them. */
struct scratch_inode {
    struct ext2_inode_large fields;
    uint8_t area[VOLUME_INODE - sizeof(struct ext2_inode_large)];
};
_Static_assert(sizeof(struct scratch_inode) == VOLUME_INODE, "an inode as it lies on the disk");

/* SIZE_BYTES of FD (borrowed) from OFFSET_BYTES on. */
int scratch_open(int fd, uint64_t offset_bytes, uint64_t size_bytes, struct scratch **ret,
                 struct error *err);
void scratch_free(struct scratch *scratch);
SCOPE_DEFINE(scratch, scratch_free)

/* Inode numbers go from 1 to this. */
uint32_t scratch_inodes(const struct scratch *scratch);

/* Inode NUMBER, which must be in use; its checksum is right, what it says may still be nonsense. */
int scratch_inode(struct scratch *scratch, uint32_t number, struct scratch_inode *ret,
                  struct error *err);

/*
 * The blocks of inode NUMBER in order, those that touch in one piece: a new array. BLOCK 0 is
 * reserved and never written: it reads as zeros. What lies between the pieces is a hole.
 */
int scratch_pieces(struct scratch *scratch, uint32_t number, struct scratch_inode *inode,
                   struct piece **ret, size_t *ret_count, struct error *err);

/* Reads one block: VOLUME_BLOCK bytes. */
int scratch_block(struct scratch *scratch, uint64_t block, void *ret, struct error *err);

/* Hands the first SIZE bytes of a file to TAKE, without its holes; may be interrupted. */
typedef int (*scratch_take)(void *data, const void *bytes, size_t size, uint64_t offset,
                            struct error *err);
int scratch_data(struct scratch *scratch, const struct piece *pieces, size_t count, uint64_t size,
                 scratch_take take, void *data, struct error *err);

/*
 * Looks at the superblock alone: an error when the file system was not unmounted, the kernel found
 * something wrong with it, or it is none of kiln's.
 */
int scratch_check(int fd, uint64_t offset_bytes, uint64_t size_bytes, struct error *err);

#endif
