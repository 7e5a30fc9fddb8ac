/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a FAT32 file system into a range of a file, streaming: directories and files are added
 * in any order, each file's data in order, everything else is written by fat_finish. The same calls
 * give the same bytes. Always FAT32, whatever the size (UEFI 2.10, 13.3; Microsoft's FAT
 * specification 1.03), one sector a cluster up to 260 MiB, long names (VFAT) where 8.3 does not do.
 */
#ifndef DISK_FAT_H
#define DISK_FAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"

struct fat;

/* The smallest file system that is FAT32 by its cluster count, bytes, rounded up to 1 MiB. */
#define FAT_SIZE_MIN (34ULL << 20)

/*
 * SIZE_BYTES at OFFSET_BYTES of FD, which reads as zeros there. LABEL: at most 11 characters. NAME
 * is the partition's, for messages.
 */
int fat_new(int fd, uint64_t offset_bytes, uint64_t size_bytes, uint32_t volume_id,
            const char *label, const char *name, struct fat **ret, struct error *err);
void fat_free(struct fat *fat);
SCOPE_DEFINE(fat, fat_free)

/*
 * PATH is relative ("EFI/BOOT/BOOTX64.EFI"), UTF-8; its directories must have been added. Names
 * that FAT cannot hold, and two that differ in case only, are errors. MTIME: seconds since 1970,
 * written as UTC; before 1980 becomes 1980. A file of 4 GiB or more is an error.
 */
int fat_directory(struct fat *fat, const char *path, int64_t mtime, struct error *err);
int fat_file(struct fat *fat, const char *path, int64_t mtime, uint64_t size, struct error *err);

/* Data of the file added last; together exactly its size. */
int fat_data(struct fat *fat, const void *data, size_t size, struct error *err);

/* Writes boot sectors, both FATs and the directories. */
int fat_finish(struct fat *fat, struct error *err);

#endif
