/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty ext4 file system, made on the host by mke2fs inside a partition of the disk file. The
 * feature list is ours, not the host's mke2fs.conf, and every identifier comes from the plan.
 */
#ifndef DISK_EXT4_H
#define DISK_EXT4_H

#include <stdint.h>

#include "base/fail.h"
#include "disk/plan.h"

/* Bytes of a file system for one inode of it. */
unsigned ext4_inode_ratio(uint64_t size_bytes);

/* INODES 0: a ratio by size. EPOCH is the file system's creation time. */
int ext4_make(const char *disk, const struct plan_partition *partition, uint32_t inodes,
              int64_t epoch, struct error *err);

/* Bytes of the largest file: 2^32 - 1 blocks. */
#define EXT4_FILE_MAX (UINT32_MAX * 4096ULL)

/* What is free in it, read from its superblock: blocks of EXT4_BLOCK bytes, and inodes. */
enum { EXT4_BLOCK = 4096 };
int ext4_free_space(int fd, const struct plan_partition *partition, uint64_t *ret_blocks,
                    uint64_t *ret_inodes, struct error *err);

#endif
