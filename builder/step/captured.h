/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The captured layers of steps, by key: in the store, and in directories that people carry from one
 * machine to another (KEY.tar.zst).
 */
#ifndef STEP_CAPTURED_H
#define STEP_CAPTURED_H

#include <stdbool.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "layer/layer.h"
#include "store/store.h"

/* A captured layer at hand. It stays as long as this is not released. */
struct captured {
    struct store_found *found; /* NULL: it is not from the store */
    char *path;                /* of the tar.zst */
    char *log;                 /* of what the step said; NULL when that did not come along */
    uint8_t digest[HASH_SIZE]; /* of the uncompressed tar */
    uint64_t size;
};

void captured_done(struct captured *captured);

/* From the store: 1, or 0 when it is not there; what cannot be looked at is not there either. */
int captured_find(const struct store *store, const uint8_t key[HASH_SIZE], bool verify,
                  struct captured *ret);

/* From DIRECTORY: 1, or 0 when it is not there. It is read for its digest. */
int captured_import(const char *directory, const uint8_t key[HASH_SIZE], struct captured *ret,
                    struct error *err);

/* Keeps CAPTURED in the store. */
int captured_keep(const struct store *store, const uint8_t key[HASH_SIZE],
                  const struct captured *captured, struct error *err);

/* Saves it as DIRECTORY/KEY.tar.zst, whole or not at all, in the place of what is there. */
int captured_export(const char *directory, const uint8_t key[HASH_SIZE],
                    const struct captured *captured, struct error *err);

/* Copies the file FROM to TO, which is new. */
int captured_copy(const char *from, const char *to, struct error *err);

#endif
