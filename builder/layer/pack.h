/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a layer archive of a directory: its normal form, the same bytes from every checkout. */
#ifndef LAYER_PACK_H
#define LAYER_PACK_H

#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"

/*
 * Packs DIR, with TO (a path in the image, NULL for "/") before every path and EPOCH as every time,
 * into OUT, whose ending says how: ".tar" or ".tar.zst". OUT appears whole or not at all; one that
 * exists is replaced. RET_DIGEST and RET_SIZE are those of the file, as a profile pins it.
 */
int pack_directory(const char *dir, const char *to, int64_t epoch, const char *out,
                   uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size, struct error *err);

#endif
