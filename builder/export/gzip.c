/* SPDX-License-Identifier: Apache-2.0 */
#include "export/gzip.h"

#include <assert.h>
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "base/le.h"
#include "export/compress.h"

/* RFC 1952, 2.3: deflate, no flags, no time, no extra flags, made on an unknown system. */
static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};

int gzip_begin(struct gzip *gzip, int fd, const char *name, struct error *err)
{
    *gzip = (struct gzip){.fd = fd, .name = name};
    return file_write_all(fd, head, sizeof(head), name, err);
}

int gzip_put(struct gzip *gzip, const void *data, size_t size, const void *packed,
             size_t packed_size, struct error *err)
{
    assert(size <= UINT_MAX);
    gzip->crc = (uint32_t)crc32(gzip->crc, data, (uInt)size);
    gzip->size += (uint32_t)size;
    return file_write_all(gzip->fd, packed, packed_size, gzip->name, err);
}

int gzip_end(struct gzip *gzip, struct error *err)
{
    uint8_t tail[DEFLATE_END_SIZE + 8];

    memcpy(tail, DEFLATE_END, DEFLATE_END_SIZE);
    put32(tail + DEFLATE_END_SIZE, gzip->crc);
    put32(tail + DEFLATE_END_SIZE + 4, gzip->size);
    return file_write_all(gzip->fd, tail, sizeof(tail), gzip->name, err);
}
