/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes and ACLs as ext4 keeps them (Documentation/filesystems/ext4/attributes.rst):
 * in the inode as far as there is room, the rest in a block of its own. disk_check has seen to it
 * that they fit.
 */
#ifndef DISK_ATTRIBUTES_H
#define DISK_ATTRIBUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/volume.h"
#include "layer/tree.h"

enum { ATTRIBUTES_INLINE = 96 }; /* bytes behind an inode's fields */

/* False when one has a name of no namespace, which only a state that was tampered with brings. */
bool attributes_are_possible(const struct inode *inode);

bool attributes_need_block(const struct inode *inode);

/* What stands in the inode: AREA is zeroed and filled. */
void attributes_put_inline(const struct inode *inode, uint8_t area[ATTRIBUTES_INLINE]);

/* The block of attributes, which is block BLOCK: BYTES is zeroed and filled. */
void attributes_put_block(const struct volume *volume, const struct inode *inode, uint64_t block,
                          uint8_t bytes[VOLUME_BLOCK]);

#endif
