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

enum { COMPRESSIONS = COMPRESSION_ZSTD + 1 };

/*
 * What the result for SIZE bytes needs at most; both libraries' bounds are below. Data that does
 * not shrink grows a little.
 */
#define COMPRESS_ROOM(size) ((size) + (size) / 8 + (size) / 64 + 64)

/* A last, empty block of deflate: see compressor_run. */
#define DEFLATE_END "\x03\x00"
enum { DEFLATE_END_SIZE = 2 };

struct compressor;

/* For one thread; the caller frees it. */
struct compressor *compressor_new(enum compression compression);
void compressor_free(struct compressor *compressor);
SCOPE_DEFINE(compressor, compressor_free)

/*
 * Compresses SIZE bytes, some at least, into RET, which has COMPRESS_ROOM(SIZE); the size of the
 * result.
 *
 * From zstd it is one frame without a checksum. From zlib it is raw deflate without distances over
 * 4096: whole blocks that fill whole bytes, none of them marked as the last. So one such piece with
 * DEFLATE_END behind it is a stream, and so are many that follow each other.
 */
size_t compressor_run(struct compressor *compressor, const void *data, size_t size, void *ret);

/* What is used, since the bytes follow it: "zlib 1.2.13, level 4". The caller frees it. */
char *compressor_name(enum compression compression);

#endif
