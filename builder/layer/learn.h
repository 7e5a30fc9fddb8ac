/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of files, remembered in the store so that a file is read once as long as it stays. */
#ifndef LAYER_LEARN_H
#define LAYER_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "layer/layer.h"
#include "store/store.h"

/* The SHA-256 and size of the file at PATH, when they are remembered. */
bool learn_before(const struct store *store, const char *path, uint8_t ret[HASH_SIZE],
                  uint64_t *ret_size);

/* The same by reading it now; they are remembered, unless STORE is NULL. */
int learn_now(const struct store *store, const char *path, uint8_t ret[HASH_SIZE],
              uint64_t *ret_size, struct error *err);

/* The one, or else the other; STORE may be NULL. */
int learn_file(const struct store *store, const char *path, uint8_t ret[HASH_SIZE],
               uint64_t *ret_size, struct error *err);

/* Finds out the digest of LAYER, for layer_digest, without unpacking it. */
int learn_layer(const struct store *store, struct layer *layer, struct error *err);

/* Finds out layer_newest of LAYER, whose digest is known, and remembers it. */
int learn_newest(const struct store *store, struct layer *layer, int64_t *ret, struct error *err);

#endif
