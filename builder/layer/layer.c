/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/stop.h"
#include "base/text.h"
#include "layer/layer_internal.h"

int layer_open(const struct profile_layer *spec, enum architecture architecture, struct layer **ret,
               struct error *err)
{
    int image;

    if (spec->kind == LAYER_DIRECTORY) {
        return layer_new_directory(spec, ret, err);
    }
    if (spec->kind == LAYER_FILES) {
        return layer_new_files(spec, ret, err);
    }
    if (profile_is_step(spec)) {
        *ret = layer_new_captured(spec);
        return 0;
    }
    image = layer_new_image(spec, architecture, ret, err);
    if (image != 0) {
        return image < 0 ? -1 : 0;
    }
    return layer_new_archive(spec, ret, err);
}

void layer_free(struct layer *layer)
{
    if (layer != NULL) {
        layer->ops->free(layer);
    }
}

const char *layer_name(const struct layer *layer)
{
    return layer->spec->name;
}

const char *layer_label(const struct layer *layer)
{
    return profile_layer_label(layer->spec);
}

const char *layer_format(const struct layer *layer)
{
    return layer->ops->format;
}

unsigned layer_parts(const struct layer *layer)
{
    return layer->parts;
}

enum layer_rules layer_rules(const struct layer *layer)
{
    return layer->ops->rules;
}

bool layer_untimed(const struct layer *layer)
{
    return layer->ops->untimed;
}

bool layer_is_step(const struct layer *layer)
{
    return profile_is_step(layer->spec);
}

bool layer_is_known(const struct layer *layer)
{
    return layer->settled || layer->ops->digest == DIGEST_KNOWN;
}

void layer_digest(const struct layer *layer, uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size)
{
    memcpy(ret_digest, layer->digest, HASH_SIZE);
    *ret_size = layer->digest_size;
}

/* What removes another file, and what names one once more, has a time that nobody sees. */
static bool brings_time(const struct entry *entry)
{
    return entry->type != ENTRY_HARDLINK && !text_starts(entry->path, WHITEOUT) &&
           strstr(entry->path, "/" WHITEOUT) == NULL;
}

/* Reads a part to its end, for what that says of the layer. Raises NEWEST to the times in it. */
static int read_part(struct layer *layer, unsigned part, int64_t *newest, struct error *err)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (layer_reader_open(layer, part, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) > 0) {
        int64_t time = entry_time_up(&entry);

        if (stop_check(err) < 0) {
            return -1;
        }
        if (brings_time(&entry) && time > *newest) {
            *newest = time;
        }
    }
    return more;
}

static int read_through(struct layer *layer, int64_t *newest, struct error *err)
{
    for (unsigned part = 0; part < layer->parts; part++) {
        if (read_part(layer, part, newest, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int layer_learn(struct layer *layer, struct error *err)
{
    int64_t newest = -1;

    if (layer->settled || layer->ops->digest == DIGEST_KNOWN) {
        return layer_settle(layer, layer->digest, layer->digest_size, err) < 0 ? -1 : 1;
    }
    if (layer->ops->digest != DIGEST_BY_LISTING) {
        return 0;
    }
    return read_through(layer, &newest, err) < 0 ? -1 : 1;
}

int layer_newest(struct layer *layer, int64_t *ret, struct error *err)
{
    int64_t newest = -1;

    if (!layer->ops->untimed && !layer_is_step(layer) && read_through(layer, &newest, err) < 0) {
        return -1;
    }
    *ret = newest;
    return 0;
}

int layer_assume(struct layer *layer, const uint8_t digest[HASH_SIZE], uint64_t size,
                 struct error *err)
{
    return layer_settle(layer, digest, size, err);
}

void layer_doubt(struct layer *layer)
{
    layer->settled = layer->settled && layer->ops->digest != DIGEST_BY_READING;
}

const char *layer_archive(const struct layer *layer)
{
    return layer->ops->digest == DIGEST_BY_READING ? layer->spec->path : NULL;
}

bool layer_identity(const struct layer *layer, struct stat *ret_stat, int64_t *ret_began_s)
{
    *ret_stat = layer->identity;
    *ret_began_s = layer->began_s;
    return layer->began_s != 0;
}

uint64_t layer_size_hint(const struct layer *layer)
{
    return layer->size_hint;
}

int layer_mismatch(const char *what, const uint8_t expected[HASH_SIZE],
                   const uint8_t found[HASH_SIZE], struct error *err)
{
    char a[HASH_HEX_MAX], b[HASH_HEX_MAX];

    return fail(err, FAIL_MISMATCH, "%s: its SHA-256 is %s, not %s", what, hash_hex(found, a),
                hash_hex(expected, b));
}

int layer_settle(struct layer *layer, const uint8_t digest[HASH_SIZE], uint64_t size,
                 struct error *err)
{
    const struct profile_layer *spec = layer->spec;

    if (layer->settled &&
        (layer->digest_size != size || memcmp(layer->digest, digest, HASH_SIZE) != 0)) {
        return fail(err, FAIL_MISMATCH, "layer '%s': changed while it was being read", spec->name);
    }
    if (spec->has_sha256 && memcmp(spec->sha256, digest, HASH_SIZE) != 0) {
        SCOPED_FREE char *what = xprintf("layer '%s'", spec->name);

        return layer_mismatch(what, spec->sha256, digest, err);
    }
    memcpy(layer->digest, digest, HASH_SIZE);
    layer->digest_size = size;
    layer->settled = true;
    return 0;
}

int layer_open_file(const char *what, int dir, const char *path, int *ret_fd, uint64_t *ret_size,
                    struct error *err)
{
    /* Without O_NONBLOCK a FIFO would keep us waiting before it can be refused. */
    SCOPED_FD int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return fail_os(err, "%s: open '%s'", what, path);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, FAIL_ERROR, "%s: '%s' is not a regular file", what, path);
    }
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int layer_reader_open(struct layer *layer, unsigned part, struct layer_reader **ret,
                      struct error *err)
{
    return layer->ops->open_part(layer, part, ret, err);
}

void layer_reader_free(struct layer_reader *reader)
{
    if (reader != NULL) {
        reader->ops->free(reader);
    }
}

int layer_reader_next(struct layer_reader *reader, struct entry *ret, struct error *err)
{
    return reader->ops->next(reader, ret, err);
}

int layer_reader_data(struct layer_reader *reader, const void **ret_data, size_t *ret_size,
                      uint64_t *ret_offset, struct error *err)
{
    return reader->ops->data(reader, ret_data, ret_size, ret_offset, err);
}

uint64_t layer_reader_position(const struct layer_reader *reader)
{
    return reader->ops->position(reader);
}
