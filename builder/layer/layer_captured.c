/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps: layers that somebody captures while the program runs, and that are archives from then on.
 * The digest that counts is that of the uncompressed tar, which no version of zstd changes.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "layer/layer_internal.h"

struct captured {
    struct layer layer;
    bool has_key;
    uint8_t key[HASH_SIZE];
    char *path; /* NULL: not captured yet, or not at hand */
};

static int was_read(void *data, const struct archive_sum *sum, struct error *err)
{
    const struct layer *layer = data;
    SCOPED_FREE char *what = xprintf("layer '%s', uncompressed", layer->spec->name);

    if (memcmp(layer->digest, sum->content, HASH_SIZE) != 0) {
        return layer_mismatch(what, layer->digest, sum->content, err);
    }
    return sum->content_size == layer->digest_size
               ? 0
               : fail(err, FAIL_MISMATCH, "%s: has %llu bytes, not %llu", what,
                      (unsigned long long)sum->content_size,
                      (unsigned long long)layer->digest_size);
}

static int open_part(struct layer *layer, unsigned part, struct layer_reader **ret,
                     struct error *err)
{
    const struct captured *captured = (const struct captured *)layer;
    SCOPED_FREE char *label = xprintf("layer '%s'", layer->spec->name);
    struct archive_input input = {
        .finish = was_read, .data = layer, .whole_file = true, .hash_content = true};

    (void)part;
    if (captured->path == NULL) {
        return fail(err, FAIL_ERROR, "%s: is read before it was captured", label);
    }
    if (layer_open_file(label, AT_FDCWD, captured->path, &input.fd, &input.size, err) < 0) {
        return -1;
    }
    input.label = TAKE(label);
    return archive_reader_open(layer, &input, ret, err);
}

static void free_layer(struct layer *layer)
{
    free(((struct captured *)layer)->path);
    free(layer);
}

static const struct layer_ops packages_ops = {
    .format = "packages",
    .rules = RULES_OCI,
    .digest = DIGEST_CAPTURED,
    .open_part = open_part,
    .free = free_layer,
};

static const struct layer_ops run_ops = {
    .format = "run",
    .rules = RULES_OCI,
    .digest = DIGEST_CAPTURED,
    .open_part = open_part,
    .free = free_layer,
};

struct layer *layer_new_captured(const struct profile_layer *spec)
{
    struct captured *captured = xcalloc(1, sizeof(*captured));

    captured->layer = (struct layer){
        .ops = spec->kind == LAYER_PACKAGES ? &packages_ops : &run_ops, .spec = spec, .parts = 1};
    return &captured->layer;
}

void layer_capture(struct layer *layer, const uint8_t key[HASH_SIZE], const char *path,
                   const uint8_t *digest, uint64_t size)
{
    struct captured *captured = (struct captured *)layer;
    struct stat st;

    assert(layer_is_step(layer));
    free(captured->path);
    captured->path = path != NULL ? xstrdup(path) : NULL;
    captured->has_key = true;
    memcpy(captured->key, key, HASH_SIZE);
    layer->settled = digest != NULL;
    if (digest != NULL) {
        memcpy(layer->digest, digest, HASH_SIZE);
    }
    layer->digest_size = size;
    /* What is wrong with the file is said when it is read. */
    layer->size_hint = path != NULL && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

const uint8_t *layer_step_key(const struct layer *layer)
{
    const struct captured *captured = (const struct captured *)layer;

    return layer_is_step(layer) && captured->has_key ? captured->key : NULL;
}

static int was_measured(void *data, const struct archive_sum *sum, struct error *err)
{
    struct layer *layer = data;

    (void)err;
    memcpy(layer->digest, sum->content, HASH_SIZE);
    layer->digest_size = sum->content_size;
    return 0;
}

int layer_measure(const char *path, uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size,
                  struct error *err)
{
    const struct profile_layer spec = {.kind = LAYER_RUN, .name = (char *)path};
    struct layer layer = {.ops = &run_ops, .spec = &spec, .parts = 1};
    struct archive_input input = {.label = xprintf("layer '%s'", path),
                                  .finish = was_measured,
                                  .data = &layer,
                                  .whole_file = true,
                                  .hash_content = true};
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (layer_open_file(input.label, AT_FDCWD, path, &input.fd, &input.size, err) < 0) {
        free(input.label);
        return -1;
    }
    if (archive_reader_open(&layer, &input, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) > 0) {
    }
    layer_digest(&layer, ret_digest, ret_size);
    return more;
}
