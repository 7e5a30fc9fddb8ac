/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian fields of structures on a disk, at any alignment. */
#ifndef BASE_LE_H
#define BASE_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void put16(uint8_t *at, uint32_t value)
{
    uint16_t little = htole16((uint16_t)value);

    memcpy(at, &little, sizeof(little));
}

static inline void put32(uint8_t *at, uint32_t value)
{
    uint32_t little = htole32(value);

    memcpy(at, &little, sizeof(little));
}

static inline void put64(uint8_t *at, uint64_t value)
{
    uint64_t little = htole64(value);

    memcpy(at, &little, sizeof(little));
}

static inline uint16_t get16(const uint8_t *at)
{
    uint16_t little;

    memcpy(&little, at, sizeof(little));
    return le16toh(little);
}

static inline uint32_t get32(const uint8_t *at)
{
    uint32_t little;

    memcpy(&little, at, sizeof(little));
    return le32toh(little);
}

#endif
