/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of an ext4 directory (Documentation/filesystems/ext4/directory.rst): one block of
 * entries in a row, or more with the hash index that Linux would make, because it never adds one
 * to a directory that has outgrown a block without.
 */
#ifndef DISK_DIRECTORY_H
#define DISK_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/volume.h"
#include "layer/entry.h"

/* One name. */
struct name {
    const char *text; /* borrowed */
    uint8_t length;
    uint8_t type; /* directory_type() */
    uint32_t number;
};

/* The type that stands beside a name (ext4_dir_entry_2). */
uint8_t directory_type(enum entry_type type);

/* Bytes that a name of LENGTH takes. */
size_t directory_entry_bytes(size_t length);

/*
 * Blocks for names that take BYTES, "." and ".." not counted. It follows from the sum alone, so it
 * is known before the inodes have numbers.
 */
size_t directory_blocks(size_t bytes);

/* False when so many blocks are more than the index of a directory can take. */
bool directory_is_possible(size_t blocks);

/*
 * Fills BLOCKS, directory_blocks() of them, zeroed, with directory NUMBER, child of PARENT. NAMES
 * are put into another order.
 */
void directory_build(const struct volume *volume, uint32_t number, uint32_t parent,
                     struct name *names, size_t count, uint8_t *blocks, size_t block_count);

/* An empty directory over more than one block, as lost+found is: it waits for what e2fsck finds. */
void directory_build_empty(const struct volume *volume, uint32_t number, uint32_t parent,
                           uint8_t *blocks, size_t block_count);

#endif
