/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers and bytes in a row, little-endian: how state is kept in files that only kiln reads. What
 * is read back may have been tampered with, so every step is checked against what is left:
 *
 *     struct unpack in = {.at = data, .end = data + size};
 *     uint32_t count = unpack_count(&in, 4);
 *     ...
 *     return in.bad ? fail(err, ...) : 0;
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

void pack_u8(struct buf *buf, uint8_t value);
void pack_u16(struct buf *buf, uint16_t value);
void pack_u32(struct buf *buf, uint32_t value);
void pack_u64(struct buf *buf, uint64_t value);

/* The size as a u32 (it must fit), then the bytes. */
void pack_bytes(struct buf *buf, const void *data, size_t size);

/* What is left to read. Once BAD it stays so, and everything reads as 0 or empty. */
struct unpack {
    const uint8_t *at, *end; /* borrowed */
    bool bad;                /* more was asked for than there was */
};

uint8_t unpack_u8(struct unpack *in);
uint16_t unpack_u16(struct unpack *in);
uint32_t unpack_u32(struct unpack *in);
uint64_t unpack_u64(struct unpack *in);

/* What pack_bytes wrote: borrowed from the input. False, with NULL and 0, when IN is bad. */
bool unpack_bytes(struct unpack *in, const void **ret, size_t *ret_size);

/*
 * The u32 count of items that follow, each of ITEM_MIN bytes (not 0) at least. One for which not
 * enough is left is bad and 0, so whoever allocates for it needs no more than in proportion to the
 * input.
 */
uint32_t unpack_count(struct unpack *in, size_t item_min);

#endif
