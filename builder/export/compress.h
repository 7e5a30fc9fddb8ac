/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compressors of a disk's clusters: each piece by itself, and the same bytes for the same piece
 * on every machine with the same version of the library. (That is why it is zlib and not ISA-L,
 * which is six times as fast: ISA-L chooses its matches by what the CPU can do.)
 */
#ifndef EXPORT_COMPRESS_H
#define EXPORT_COMPRESS_H

#include <stddef.h>

#include "base/scope.h"
#include "profile/profile.h"

struct compressor;

/* For one thread; the caller frees it. */
struct compressor *compressor_new(enum compression compression);
void compressor_free(struct compressor *compressor);
SCOPE_DEFINE(compressor, compressor_free)

/*
 * Compresses SIZE bytes into at most ROOM: the size of the result, or 0 when it does not fit. From
 * zlib it is raw deflate without distances over 4096, from zstd one frame without a checksum.
 */
size_t compressor_run(struct compressor *compressor, const void *data, size_t size, void *ret,
                      size_t room);

/* What is used, since the bytes follow it: "zlib 1.2.13, level 1". The caller frees it. */
char *compressor_name(enum compression compression);

#endif
