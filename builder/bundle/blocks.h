/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks.index: the SHA-256 of every 512 KiB block of the disk (the last one as if padded with
 * zeros), and the disk digest, the SHA-256 over those digests in order (32 bytes each).
 */
#ifndef BUNDLE_BLOCKS_H
#define BUNDLE_BLOCKS_H

#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"

#define BLOCK_SIZE (512U << 10)

/* Told how far it is, bytes of the disk; may be NULL. */
typedef void (*blocks_progress)(void *data, uint64_t done_bytes);

/*
 * Hashes DISK (a path; holes are not read) on all cores and writes the index to INDEX, a text file:
 * "kiln-blocks 1 BLOCKSIZE DISKSIZE", then a line of 64 hex digits for each block.
 */
int blocks_write(const char *disk, const char *index, blocks_progress progress, void *data,
                 uint8_t ret_digest[HASH_SIZE], struct error *err);

#endif
