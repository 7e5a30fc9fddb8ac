/* SPDX-License-Identifier: Apache-2.0 */
/* A file of one gzip member (RFC 1952) without a name or a time, from pieces of deflate. */
#ifndef EXPORT_GZIP_H
#define EXPORT_GZIP_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"

struct gzip {
    int fd;           /* the caller's */
    const char *name; /* for messages; the caller's */
    uint32_t crc;     /* of all that is in it */
    uint32_t size;    /* the low 32 bits of how much that is */
};

/* Begins the member in the empty file FD. Nothing is to be released. */
int gzip_begin(struct gzip *gzip, int fd, const char *name, struct error *err);

/* The next SIZE bytes, DATA, of which compressor_run made PACKED with zlib. */
int gzip_put(struct gzip *gzip, const void *data, size_t size, const void *packed,
             size_t packed_size, struct error *err);

int gzip_end(struct gzip *gzip, struct error *err);

#endif
