/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/body.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/stop.h"

/* What servers compute unless they are told otherwise: taken while the body is sent. */
static const char usual[] = "sha512";

struct body {
    const struct reader *bundle;
    uint64_t size, position;
    char digest[HASH_NAMED_HEX_MAX]; /* by USUAL; empty: not all was read */
    struct hash *hash;               /* by USUAL, of what was read */

    struct reader_file file; /* any format but raw */
    int fd;
    struct hash *sha256;

    uint8_t *block; /* raw: the one that is being handed out */
};

void body_free(struct body *body)
{
    if (body == NULL) {
        return;
    }
    if (body->fd >= 0) {
        (void)close(body->fd);
    }
    hash_free(body->hash);
    hash_free(body->sha256);
    free(body->file.path);
    free(body->block);
    free(body);
}

static int open_file(struct body *body, const char *name, struct error *err)
{
    if (reader_file(body->bundle, name, &body->file, err) < 0 ||
        file_open_regular(body->file.path, &body->fd, &body->size, err) < 0) {
        return -1;
    }
    if (body->size != body->file.size_bytes || body->size == 0) {
        return fail(err, FAIL_MISMATCH, "'%s' is not as large as its manifest says",
                    body->file.path);
    }
    (void)posix_fadvise(body->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    body->sha256 = hash_new();
    return 0;
}

int body_open(const struct reader *bundle, const char *name, struct body **ret, struct error *err)
{
    SCOPED(body_freep) struct body *body = xcalloc(1, sizeof(*body));

    body->bundle = bundle;
    body->fd = -1;
    body->hash = hash_new_named(usual);
    if (strcmp(name, "disk.raw") == 0) {
        body->size = bundle->size_bytes;
        body->block = xmalloc(BLOCK_SIZE);
    } else if (open_file(body, name, err) < 0) {
        return -1;
    }
    *ret = TAKE(body);
    return 0;
}

uint64_t body_size(const struct body *body)
{
    return body->size;
}

bool body_is_read(const struct body *body)
{
    return body->position == body->size;
}

static int begin(void *context, struct error *err)
{
    struct body *body = context;

    (void)err;
    body->position = 0;
    body->digest[0] = '\0';
    hash_free(body->hash);
    body->hash = hash_new_named(usual);
    if (body->sha256 != NULL) {
        hash_free(body->sha256);
        body->sha256 = hash_new();
    }
    return 0;
}

static int read_block(struct body *body, void *buffer, size_t size, size_t *ret, struct error *err)
{
    size_t at = (size_t)(body->position % BLOCK_SIZE);

    if (at == 0 && reader_block(body->bundle, body->position / BLOCK_SIZE, body->block, err) < 0) {
        return -1;
    }
    *ret = size < BLOCK_SIZE - at ? size : BLOCK_SIZE - at;
    memcpy(buffer, body->block + at, *ret);
    return 0;
}

static int check_end(struct body *body, struct error *err)
{
    uint8_t digest[HASH_SIZE];
    char has[HASH_HEX_MAX], wanted[HASH_HEX_MAX];

    hash_end(body->sha256, digest);
    if (memcmp(digest, body->file.sha256, HASH_SIZE) == 0) {
        return 0;
    }
    (void)fail(err, FAIL_MISMATCH, "'%s' has SHA-256 %s, and its manifest says %s", body->file.path,
               hash_hex(digest, has), hash_hex(body->file.sha256, wanted));
    return fail_hint(err, "it was changed after it was built: build the bundle again");
}

static int read_file(struct body *body, void *buffer, size_t size, size_t *ret, struct error *err)
{
    uint64_t left = body->size - body->position;

    *ret = size < left ? size : (size_t)left;
    if (file_pread(body->fd, buffer, *ret, body->position, body->file.path, err) < 0) {
        return -1;
    }
    hash_add(body->sha256, buffer, *ret);
    return *ret == left ? check_end(body, err) : 0;
}

static int next(void *context, void *buffer, size_t size, size_t *ret, struct error *err)
{
    struct body *body = context;
    int rc = body->block != NULL ? read_block(body, buffer, size, ret, err)
                                 : read_file(body, buffer, size, ret, err);

    if (rc < 0) {
        return -1;
    }
    hash_add(body->hash, buffer, *ret);
    body->position += *ret;
    if (body->position == body->size) {
        (void)hash_end_hex(body->hash, body->digest);
    }
    return 0;
}

struct http_body body_stream(struct body *body)
{
    return (struct http_body){.size = body->size, .read = next, .rewind = begin, .context = body};
}

/* Reads it all, with the same checks as when it is sent. */
static int read_all(struct body *body, struct hash *other, struct error *err)
{
    SCOPED_FREE uint8_t *buffer = xmalloc(BLOCK_SIZE);

    (void)begin(body, err);
    while (!body_is_read(body)) {
        size_t size;

        if (stop_check(err) < 0 || next(body, buffer, BLOCK_SIZE, &size, err) < 0) {
            return -1;
        }
        if (other != NULL) {
            hash_add(other, buffer, size);
        }
    }
    return 0;
}

int body_digest(struct body *body, const char *algorithm, char ret[HASH_NAMED_HEX_MAX],
                struct error *err)
{
    SCOPED(hash_freep) struct hash *other = NULL;

    if (strcmp(algorithm, usual) == 0) {
        if (body->digest[0] == '\0' && read_all(body, NULL, err) < 0) {
            return -1;
        }
        memcpy(ret, body->digest, HASH_NAMED_HEX_MAX);
        return 0;
    }
    other = hash_new_named(algorithm);
    if (other == NULL) {
        return fail(err, FAIL_ERROR, "a digest by '%s', which kiln cannot compute", algorithm);
    }
    if (read_all(body, other, err) < 0) {
        return -1;
    }
    (void)hash_end_hex(other, ret);
    return 0;
}
