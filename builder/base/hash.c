/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/stop.h"

struct hash {
    EVP_MD_CTX *context;
    EVP_MD *kind; /* fetched once: the implicit fetch costs more than a small file */
};

/* OpenSSL fails here only without memory or without its default provider. */
static void must(int ok)
{
    if (ok != 1) {
        (void)fputs("kiln: OpenSSL cannot compute digests\n", stderr);
        abort();
    }
}

static struct hash *new_of(const char *kind)
{
    struct hash *hash = xcalloc(1, sizeof(*hash));

    hash->context = EVP_MD_CTX_new();
    hash->kind = EVP_MD_fetch(NULL, kind, NULL);
    must(hash->context != NULL && hash->kind != NULL);
    must(EVP_DigestInit_ex2(hash->context, hash->kind, NULL));
    return hash;
}

struct hash *hash_new(void)
{
    return new_of("SHA256");
}

struct hash *hash_new_named(const char *algorithm)
{
    static const struct {
        const char *name, *kind;
    } known[] = {
        {"sha256", "SHA256"},       {"sha384", "SHA384"},       {"sha512", "SHA512"},
        {"sha3_256", "SHA3-256"},   {"sha3_384", "SHA3-384"},   {"sha3_512", "SHA3-512"},
        {"blake2b", "BLAKE2B-512"}, {"blake2s", "BLAKE2S-256"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, algorithm) == 0) {
            return new_of(known[i].kind);
        }
    }
    return NULL;
}

void hash_free(struct hash *hash)
{
    if (hash != NULL) {
        EVP_MD_CTX_free(hash->context);
        EVP_MD_free(hash->kind);
        free(hash);
    }
}

void hash_add(struct hash *hash, const void *data, size_t size)
{
    must(EVP_DigestUpdate(hash->context, data, size));
}

int hash_zeros(struct hash *hash, uint64_t size, struct error *err)
{
    static const uint8_t zeros[64 << 10];

    while (size != 0) {
        size_t piece = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);

        if (stop_check(err) < 0) {
            return -1;
        }
        hash_add(hash, zeros, piece);
        size -= piece;
    }
    return 0;
}

void hash_end(struct hash *hash, uint8_t ret_digest[HASH_SIZE])
{
    must(EVP_DigestFinal_ex(hash->context, ret_digest, NULL));
    must(EVP_DigestInit_ex2(hash->context, hash->kind, NULL));
}

void hash_bytes(const void *data, size_t size, uint8_t ret_digest[HASH_SIZE])
{
    must(EVP_Digest(data, size, ret_digest, NULL, EVP_sha256(), NULL));
}

static const char *hex_of(const uint8_t *digest, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
    return out;
}

const char *hash_hex(const uint8_t digest[HASH_SIZE], char out[HASH_HEX_MAX])
{
    return hex_of(digest, HASH_SIZE, out);
}

const char *hash_end_hex(struct hash *hash, char out[HASH_NAMED_HEX_MAX])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    must(EVP_DigestFinal_ex(hash->context, digest, &size));
    must(EVP_DigestInit_ex2(hash->context, hash->kind, NULL));
    return hex_of(digest, size, out);
}

/* Writes RET only when all of it is hex. */
static bool parse_hex(const char *text, uint8_t *ret, size_t size)
{
    for (size_t i = 0; i < 2 * size; i++) {
        if (!isxdigit((unsigned char)text[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

        ret[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

bool hash_parse(const char *text, uint8_t ret_digest[HASH_SIZE])
{
    return strlen(text) == 2 * HASH_SIZE && parse_hex(text, ret_digest, HASH_SIZE);
}

static struct uuid uuid_v5(const struct uuid *space, const char *name)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct uuid uuid;

    must(context != NULL);
    must(EVP_DigestInit_ex2(context, EVP_sha1(), NULL));
    must(EVP_DigestUpdate(context, space->bytes, sizeof(space->bytes)));
    must(EVP_DigestUpdate(context, name, strlen(name)));
    must(EVP_DigestFinal_ex(context, digest, NULL));
    EVP_MD_CTX_free(context);
    memcpy(uuid.bytes, digest, sizeof(uuid.bytes));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x50);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

struct uuid uuid_from(const char *seed, const char *name)
{
    /* A random number, fixed once; changing it changes every disk. */
    static const struct uuid space = {{0x6b, 0x69, 0x6c, 0x6e, 0x5a, 0x3e, 0x4c, 0x1d, 0x9b, 0x07,
                                       0xd2, 0x41, 0x8f, 0x66, 0x0e, 0xb3}};
    struct uuid seeded = uuid_v5(&space, seed);

    return uuid_v5(&seeded, name);
}

const char *uuid_text(const struct uuid *uuid, char out[UUID_TEXT_MAX])
{
    const uint8_t *b = uuid->bytes;

    (void)snprintf(out, UUID_TEXT_MAX,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    return out;
}

bool uuid_parse(const char *text, struct uuid *ret)
{
    char hex[33];
    size_t n = 0;

    if (strlen(text) != UUID_TEXT_MAX - 1) {
        return false;
    }
    for (size_t i = 0; i < UUID_TEXT_MAX - 1; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return false;
            }
        } else {
            hex[n++] = text[i];
        }
    }
    hex[n] = '\0';
    return parse_hex(hex, ret->bytes, sizeof(ret->bytes));
}
