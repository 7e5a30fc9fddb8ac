/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SHA-256 of every 512 KiB block of a sparse disk file (the last one as if padded with zeros),
 * some of which may be known before the file is read: a copy of a disk whose digests are known
 * needs only its changed blocks hashed. The disk digest is the SHA-256 over the digests in order.
 *
 *     blocks = blocks_new(size);
 *     blocks_set(blocks, 7, digest);                 known from elsewhere
 *     blocks_forget(blocks, offset, written);        but then written to
 *     blocks_complete(blocks, fd, "disk.raw", …);    hashes the others
 */
#ifndef BASE_BLOCKS_H
#define BASE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"

#define BLOCK_SIZE (512U << 10)

struct blocks;

/* Told how far it is, bytes of the disk; may be NULL. */
typedef void (*blocks_progress)(void *data, uint64_t done_bytes);

/* Of a disk of SIZE_BYTES, none of them known. */
struct blocks *blocks_new(uint64_t size_bytes);
void blocks_free(struct blocks *blocks);
SCOPE_DEFINE(blocks, blocks_free)

uint64_t blocks_count(const struct blocks *blocks);

/*
 * BLOCK's digest is known from now on. Several threads may call this and blocks_forget at once as
 * long as no two of them mean the same block; only blocks_forget may meet itself there (two writes
 * that share a block). Who sets a block that another thread may be forgetting has to put the two in
 * order himself, and so has who reads, completes or frees while others still write.
 */
void blocks_set(struct blocks *blocks, uint64_t block, const uint8_t digest[HASH_SIZE]);

/* These bytes changed: the blocks they are in are unknown. Threads: see blocks_set. */
void blocks_forget(struct blocks *blocks, uint64_t offset_bytes, uint64_t size_bytes);

bool blocks_known(const struct blocks *blocks, uint64_t block);

/* Of a known block. Borrowed. */
const uint8_t *blocks_digest(const struct blocks *blocks, uint64_t block);

/*
 * Hashes the blocks of FD (called NAME in messages) that are not known, on all cores; holes and
 * known blocks are not read. The file must have the size the blocks were made for. After a failure
 * those that were hashed are known.
 */
int blocks_complete(struct blocks *blocks, int fd, const char *name, blocks_progress progress,
                    void *data, struct error *err);

/* All digests in order, HASH_SIZE bytes each. Every block must be known. Borrowed. */
const uint8_t *blocks_all(const struct blocks *blocks);

/* The disk digest. Every block must be known. */
void blocks_total(const struct blocks *blocks, uint8_t ret[HASH_SIZE]);

#endif
