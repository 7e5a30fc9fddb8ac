/* SPDX-License-Identifier: Apache-2.0 */
/* Digests by OpenSSL (which has the fast instructions), SHA-256 but where said otherwise, and
 * name-based UUIDs. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"

#define HASH_SIZE 32
#define HASH_HEX_MAX 65
#define UUID_TEXT_MAX 37

struct hash;

struct hash *hash_new(void);
void hash_free(struct hash *hash);
SCOPE_DEFINE(hash, hash_free)
void hash_add(struct hash *hash, const void *data, size_t size);

/* Adds SIZE zeros, which may be terabytes: -1 when the user has seen enough of it (base/stop.h). */
int hash_zeros(struct hash *hash, uint64_t size, struct error *err);

/* Writes the digest of everything added and starts anew. */
void hash_end(struct hash *hash, uint8_t ret_digest[HASH_SIZE]);

/*
 * By another algorithm, in the names of Python's hashlib ("sha512", "blake2b"); NULL when it is not
 * known here, or is too weak to be believed. It ends as text.
 */
struct hash *hash_new_named(const char *algorithm);
#define HASH_NAMED_HEX_MAX 129
const char *hash_end_hex(struct hash *hash, char out[HASH_NAMED_HEX_MAX]);

/* SHA-256 of one piece of memory. */
void hash_bytes(const void *data, size_t size, uint8_t ret_digest[HASH_SIZE]);

/* Lower-case hex. Returns OUT. */
const char *hash_hex(const uint8_t digest[HASH_SIZE], char out[HASH_HEX_MAX]);

/* 64 hex digits, either case. */
bool hash_parse(const char *text, uint8_t ret_digest[HASH_SIZE]);

struct uuid {
    uint8_t bytes[16]; /* as RFC 4122 writes them, most significant first */
};

/* UUIDv5 (RFC 4122, 4.3) of NAME under SEED, itself a name under a namespace of kiln's own. */
struct uuid uuid_from(const char *seed, const char *name);

/* Lower-case text, "xxxxxxxx-xxxx-…". Returns OUT. */
const char *uuid_text(const struct uuid *uuid, char out[UUID_TEXT_MAX]);

/* The reverse of uuid_text. */
bool uuid_parse(const char *text, struct uuid *ret);

#endif
