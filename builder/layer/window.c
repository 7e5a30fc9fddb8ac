/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/window.h"

#include <string.h>

/* RFC 8878, 3.1.1.1 */
static uint64_t zstd_window(const uint8_t *bytes)
{
    static const unsigned dictionary[] = {0, 1, 2, 4};
    static const unsigned sizes[] = {1, 2, 4, 8};
    unsigned descriptor = bytes[4];
    uint64_t window = 0;

    if ((descriptor & 0x20) == 0) {
        uint64_t base = 1ULL << (10 + (bytes[5] >> 3));

        return base + base / 8 * (bytes[5] & 7);
    }
    for (unsigned i = sizes[descriptor >> 6]; i-- > 0;) {
        window = window << 8 | bytes[5 + dictionary[descriptor & 3] + i];
    }
    return window;
}

/* A number of the xz format, 7 bits a byte (section 1.2); moves *AT on. */
static uint64_t xz_number(const uint8_t *bytes, size_t *at)
{
    uint64_t number = 0;

    for (unsigned shift = 0; shift < 63 && *at < WINDOW_BYTES; shift += 7) {
        uint8_t byte = bytes[(*at)++];

        number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            break;
        }
    }
    return number;
}

/* The dictionary of LZMA2 (section 5.3.1) in the first block's header (section 3.1). */
static uint64_t xz_window(const uint8_t *bytes)
{
    enum { BLOCK = 12, LZMA2 = 0x21 };
    unsigned flags = bytes[BLOCK + 1];
    size_t at = BLOCK + 2;

    if ((flags & 0x40) != 0) {
        (void)xz_number(bytes, &at);
    }
    if ((flags & 0x80) != 0) {
        (void)xz_number(bytes, &at);
    }
    for (unsigned filter = 0; filter <= (flags & 3); filter++) {
        uint64_t id = xz_number(bytes, &at), size = xz_number(bytes, &at);

        if (size >= WINDOW_BYTES - at) {
            return 0;
        }
        if (id == LZMA2) {
            unsigned bits = bytes[at] & 0x3f;

            return bits >= 40 ? UINT32_MAX : (2ULL | (bits & 1)) << (bits / 2 + 11);
        }
        at += size;
    }
    return 0;
}

uint64_t window_of(const uint8_t start[WINDOW_BYTES])
{
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z', 0};

    if (memcmp(start, zstd, sizeof(zstd)) == 0) {
        return zstd_window(start);
    }
    if (memcmp(start, xz, sizeof(xz)) == 0) {
        return xz_window(start);
    }
    /* lzma: a byte of properties, then the dictionary's size, low byte first. */
    if (start[0] == 0x5d && start[1] == 0 && start[2] == 0) {
        return (uint64_t)start[3] << 16 | (uint64_t)start[4] << 24;
    }
    return 0;
}
