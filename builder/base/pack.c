/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pack.h"

#include <assert.h>

/* --- out --------------------------------------------------------------------------------- */

static void pack_number(struct buf *buf, uint64_t value, size_t size)
{
    char *end = buf_reserve(buf, size);

    for (size_t i = 0; i < size; i++) {
        end[i] = (char)(value >> 8 * i);
    }
    end[size] = '\0';
    buf->size += size;
}

void pack_u8(struct buf *buf, uint8_t value)
{
    pack_number(buf, value, sizeof(value));
}

void pack_u16(struct buf *buf, uint16_t value)
{
    pack_number(buf, value, sizeof(value));
}

void pack_u32(struct buf *buf, uint32_t value)
{
    pack_number(buf, value, sizeof(value));
}

void pack_u64(struct buf *buf, uint64_t value)
{
    pack_number(buf, value, sizeof(value));
}

void pack_bytes(struct buf *buf, const void *data, size_t size)
{
    assert(size <= UINT32_MAX);
    pack_u32(buf, (uint32_t)size);
    buf_add(buf, data, size);
}

/* --- in ---------------------------------------------------------------------------------- */

static size_t left(const struct unpack *in)
{
    return (size_t)(in->end - in->at);
}

/* The next SIZE bytes, NULL when there are fewer. */
static const uint8_t *take(struct unpack *in, size_t size)
{
    const uint8_t *at = in->at;

    if (in->bad || size > left(in)) {
        in->bad = true;
        return NULL;
    }
    in->at += size;
    return at;
}

static uint64_t unpack_number(struct unpack *in, size_t size)
{
    const uint8_t *at = take(in, size);
    uint64_t value = 0;

    for (size_t i = 0; at != NULL && i < size; i++) {
        value |= (uint64_t)at[i] << 8 * i;
    }
    return value;
}

uint8_t unpack_u8(struct unpack *in)
{
    return (uint8_t)unpack_number(in, sizeof(uint8_t));
}

uint16_t unpack_u16(struct unpack *in)
{
    return (uint16_t)unpack_number(in, sizeof(uint16_t));
}

uint32_t unpack_u32(struct unpack *in)
{
    return (uint32_t)unpack_number(in, sizeof(uint32_t));
}

uint64_t unpack_u64(struct unpack *in)
{
    return unpack_number(in, sizeof(uint64_t));
}

bool unpack_bytes(struct unpack *in, const void **ret, size_t *ret_size)
{
    size_t size = unpack_u32(in);

    *ret = take(in, size);
    *ret_size = in->bad ? 0 : size;
    return !in->bad;
}

uint32_t unpack_count(struct unpack *in, size_t item_min)
{
    uint32_t count = unpack_u32(in);

    assert(item_min != 0);
    if (in->bad || count > left(in) / item_min) {
        in->bad = true;
        return 0;
    }
    return count;
}
