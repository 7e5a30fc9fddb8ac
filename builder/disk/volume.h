/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ext4 file system that kiln writes itself, without mounting anything: libext2fs lays it out
 * and keeps bitmaps, group descriptors and superblock; inodes, directories, extents and data are
 * written by whoever knows where he put them (Documentation/filesystems/ext4 in Linux describes
 * all of it). Nothing depends on the clock, the locale, mke2fs.conf or the machine: the same calls
 * give the same bytes.
 */
#ifndef DISK_VOLUME_H
#define DISK_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"
#include "disk/plan.h"
#include "disk/space.h"

enum {
    VOLUME_BLOCK = 4096,
    VOLUME_INODE = 256, /* bytes of an inode */
    VOLUME_ROOT = 2,    /* numbers of inodes */
    VOLUME_LOST = 11,
    VOLUME_LOST_BLOCKS = 4,
};

struct volume;

/*
 * Lays a file system out in PARTITION of the file DISK, which is sparse and reads as zeros there.
 * INODES: 0 for mke2fs's ratio. The journal, the superblock and its copies are written; the copies
 * stay as they are, so that an image and its successor differ in fewer places (e2fsck repairs from
 * them all the same, tested).
 */
int volume_new(const char *disk, const struct plan_partition *partition, uint32_t inodes,
               struct volume **ret, struct error *err);
void volume_free(struct volume *volume);
SCOPE_DEFINE(volume, volume_free)

const struct plan_partition *volume_partition(const struct volume *volume);

/* The free blocks, borrowed. */
struct space *volume_space(struct volume *volume);

/* The blocks of lost+found: taken already. */
const struct run *volume_lost(const struct volume *volume);

/* The lowest free inode number, 0 when there is none; one to be free again, at once. */
uint32_t volume_take_inode(struct volume *volume);
void volume_give_inode(struct volume *volume, uint32_t number);

/* Takes NUMBER, false when it is not free. */
bool volume_claim_inode(struct volume *volume, uint32_t number);
uint32_t volume_inodes(const struct volume *volume);

/* The disk's offsets, bytes, of a block and of an inode. */
uint64_t volume_block_offset(const struct volume *volume, uint64_t block);
uint64_t volume_inode_offset(const struct volume *volume, uint32_t number);

/* What checksums of an inode's own blocks begin with: crc32c over UUID, number and generation 0. */
uint32_t volume_inode_seed(const struct volume *volume, uint32_t number);
uint32_t volume_checksum(uint32_t seed, const void *data, size_t size);

/* Half MD4 of a name in a directory, as every machine is to compute it. */
void volume_hash_name(const struct volume *volume, const char *name, size_t length,
                      uint32_t *ret_hash, uint32_t *ret_minor);

/* The checksum of a block of extended attributes goes into it; hash of one attribute in it. */
void volume_seal_attributes(const struct volume *volume, uint64_t block, uint8_t *data);

/* Says that inode NUMBER is used, for bitmap and group; once each, before volume_finish. */
void volume_count_inode(struct volume *volume, uint32_t number, bool directory);

/*
 * Writes what libext2fs keeps; every inode from 11 on and everything they point to is written by
 * then. EPOCH is the time of making. TOUCHED is told the disk's bytes that were written.
 */
typedef void (*volume_touched)(void *data, uint64_t offset_bytes, uint64_t size_bytes);
int volume_finish(struct volume *volume, int64_t epoch, volume_touched touched, void *data,
                  struct error *err);

#endif
