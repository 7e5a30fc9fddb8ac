/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory compressed data wants its reader to keep. */
#ifndef LAYER_WINDOW_H
#define LAYER_WINDOW_H

#include <stddef.h>
#include <stdint.h>

/* The most that is granted, bytes: what the zstd program takes without --long. */
#define WINDOW_MAX (128ULL << 20)

/* The first bytes of a file that window_of looks at. */
enum { WINDOW_BYTES = 64 };

/*
 * The window in bytes that the first frame or block of zstd, xz or lzma data asks for; 0 for
 * anything else, and for gzip, bzip2 and lz4, whose windows are small by definition. START holds
 * WINDOW_BYTES, zeros after the end of a shorter file.
 */
uint64_t window_of(const uint8_t start[WINDOW_BYTES]);

#endif
