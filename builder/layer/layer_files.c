/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files written in the profile itself, in the order of their paths. What kiln gives a step is one
 * of these layers too; its files may have their content in files of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/stop.h"
#include "layer/layer_internal.h"

#define STEP (256u << 10)

struct files_reader {
    struct layer_reader reader;
    const struct profile_file **sorted;
    size_t at;
    struct buf path;
    bool data_left, ended;
    int source; /* open for the file at hand when that has one, else -1 */
    uint64_t left;
    char *buffer;
    uint64_t position;
    struct normal *normal;
};

static void files_reader_free(struct layer_reader *base)
{
    struct files_reader *reader = (struct files_reader *)base;

    free(reader->sorted);
    buf_done(&reader->path);
    normal_free(reader->normal);
    scope_fd(&reader->source);
    free(reader->buffer);
    free(reader);
}

static int compare_paths(const void *left, const void *right)
{
    return strcmp((*(const struct profile_file *const *)left)->path,
                  (*(const struct profile_file *const *)right)->path);
}

/* The path without its leading slash; of a file to remove, that of its whiteout. */
static void set_path(struct files_reader *reader, const struct profile_file *file)
{
    const char *path = file->path;

    while (*path == '/') {
        path++;
    }
    buf_clear(&reader->path);
    if (!file->remove) {
        buf_puts(&reader->path, path[0] == '\0' ? "." : path);
    } else {
        const char *slash = strrchr(path, '/');
        const char *name = slash == NULL ? path : slash + 1;

        buf_add(&reader->path, path, (size_t)(name - path));
        buf_printf(&reader->path, WHITEOUT "%s", name);
    }
}

static void describe(const struct profile_file *file, struct entry *entry)
{
    if (file->directory) {
        entry->type = ENTRY_DIRECTORY;
        entry->mode = 0755;
    } else if (file->symlink != NULL) {
        entry->type = ENTRY_SYMLINK;
        entry->mode = 0777;
        entry->target = file->symlink;
    } else {
        entry->type = ENTRY_FILE;
        entry->mode = 0644;
        entry->size = file->remove ? 0 : file->content_size;
    }
    if (file->attributes.has_mode) {
        entry->mode = file->attributes.mode;
    }
    if (file->attributes.has_owner) {
        entry->uid = file->attributes.uid;
        entry->gid = file->attributes.gid;
    }
}

/* A piece of the host's file: 1, or 0 at its end. */
static int read_source(struct files_reader *reader, size_t *ret_size, struct error *err)
{
    const char *name = reader->reader.layer->spec->name;
    const char *path = reader->sorted[reader->at - 1]->source;
    ssize_t got;

    do {
        got = read(reader->source, reader->buffer, STEP);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return fail_os(err, "layer '%s': read '%s'", name, path);
    }
    if ((uint64_t)got > reader->left || (got == 0 && reader->left != 0)) {
        return fail(err, FAIL_MISMATCH, "layer '%s': '%s': changed while it was being read", name,
                    path);
    }
    *ret_size = (size_t)got;
    return got != 0;
}

static int next_piece(struct files_reader *reader, const void **ret_data, size_t *ret_size,
                      uint64_t *ret_offset, struct error *err)
{
    const struct profile_file *file = reader->sorted[reader->at - 1];

    if (file->source != NULL) {
        *ret_data = reader->buffer;
        *ret_offset = file->content_size - reader->left;
        return read_source(reader, ret_size, err);
    }
    *ret_data = file->content;
    *ret_size = file->content_size;
    *ret_offset = 0;
    return reader->left != 0;
}

static int files_data(struct layer_reader *base, const void **ret_data, size_t *ret_size,
                      uint64_t *ret_offset, struct error *err)
{
    struct files_reader *reader = (struct files_reader *)base;
    int more = 0;

    if (reader->data_left) {
        more = next_piece(reader, ret_data, ret_size, ret_offset, err);
    }
    if (more <= 0) {
        reader->data_left = false;
        return more;
    }
    if (normal_data(reader->normal, *ret_data, *ret_size, err) < 0 || stop_check(err) < 0) {
        return -1;
    }
    reader->position += *ret_size;
    reader->left -= *ret_size;
    return 1;
}

static int drain(struct layer_reader *base, struct error *err)
{
    const void *data = NULL;
    size_t size = 0;
    uint64_t offset;
    int more;

    while ((more = files_data(base, &data, &size, &offset, err)) > 0) {
    }
    return more;
}

static int open_source(struct files_reader *reader, const struct profile_file *file,
                       struct error *err)
{
    SCOPED_FREE char *what = xprintf("layer '%s'", reader->reader.layer->spec->name);
    uint64_t size;

    scope_fd(&reader->source);
    reader->source = -1;
    if (layer_open_file(what, AT_FDCWD, file->source, &reader->source, &size, err) < 0) {
        return -1;
    }
    if (size != file->content_size) {
        return fail(err, FAIL_MISMATCH, "%s: '%s': changed while it was being read", what,
                    file->source);
    }
    return 0;
}

static int files_next(struct layer_reader *base, struct entry *ret, struct error *err)
{
    struct files_reader *reader = (struct files_reader *)base;
    const struct profile_file *file;
    struct entry entry = {0};

    if (reader->ended) {
        return 0;
    }
    if (drain(base, err) < 0) {
        return -1;
    }
    if (reader->at == base->layer->spec->file_count) {
        reader->ended = true;
        return normal_end(reader->normal, base->layer, err);
    }
    file = reader->sorted[reader->at++];
    set_path(reader, file);
    entry.path = reader->path.data;
    describe(file, &entry);
    reader->data_left = entry.type == ENTRY_FILE && entry.size != 0;
    reader->left = entry.size;
    if (file->source != NULL && open_source(reader, file, err) < 0) {
        return -1;
    }
    if (normal_entry(reader->normal, &entry, err) < 0) {
        return fail_while(err, "layer '%s'", base->layer->spec->name);
    }
    *ret = entry;
    return 1;
}

static uint64_t files_position(const struct layer_reader *base)
{
    return ((const struct files_reader *)base)->position;
}

static const struct reader_ops files_reader_ops = {
    .next = files_next,
    .data = files_data,
    .position = files_position,
    .free = files_reader_free,
};

static int open_part(struct layer *layer, unsigned part, struct layer_reader **ret,
                     struct error *err)
{
    struct files_reader *reader = xcalloc(1, sizeof(*reader));
    const struct profile_layer *spec = layer->spec;

    (void)part;
    (void)err;
    reader->reader = (struct layer_reader){&files_reader_ops, layer};
    reader->normal = normal_new();
    reader->source = -1;
    reader->buffer = xmalloc(STEP);
    reader->sorted = xcalloc(spec->file_count, sizeof(const struct profile_file *));
    for (size_t i = 0; i < spec->file_count; i++) {
        reader->sorted[i] = &spec->files[i];
    }
    if (spec->file_count > 1) {
        qsort(reader->sorted, spec->file_count, sizeof(const struct profile_file *), compare_paths);
    }
    *ret = &reader->reader;
    return 0;
}

static void free_layer(struct layer *layer)
{
    free(layer);
}

static const struct layer_ops files_ops = {
    .format = "files",
    .rules = RULES_MERGE,
    .untimed = true,
    .digest = DIGEST_BY_LISTING,
    .open_part = open_part,
    .free = free_layer,
};

int layer_new_files(const struct profile_layer *spec, struct layer **ret, struct error *err)
{
    struct layer *layer = xcalloc(1, sizeof(*layer));

    (void)err;
    *layer = (struct layer){.ops = &files_ops, .spec = spec, .parts = 1};
    *ret = layer;
    return 0;
}
