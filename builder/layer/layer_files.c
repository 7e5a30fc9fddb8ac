/* SPDX-License-Identifier: Apache-2.0 */
/* Files written in the profile itself, in the order of their paths. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "layer/layer_internal.h"

struct files_reader {
    struct reader reader;
    const struct profile_file **sorted;
    size_t at;
    struct buf path;
    bool data_left, ended;
    uint64_t position;
    struct normal *normal;
};

static void files_reader_free(struct reader *base)
{
    struct files_reader *reader = (struct files_reader *)base;

    free(reader->sorted);
    buf_done(&reader->path);
    normal_free(reader->normal);
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

static int files_data(struct reader *base, const void **ret_data, size_t *ret_size,
                      uint64_t *ret_offset, struct error *err)
{
    struct files_reader *reader = (struct files_reader *)base;
    const struct profile_file *file;

    if (!reader->data_left) {
        return 0;
    }
    reader->data_left = false;
    file = reader->sorted[reader->at - 1];
    if (normal_data(reader->normal, file->content, file->content_size, err) < 0) {
        return -1;
    }
    reader->position += file->content_size;
    *ret_data = file->content;
    *ret_size = file->content_size;
    *ret_offset = 0;
    return 1;
}

static int files_next(struct reader *base, struct entry *ret, struct error *err)
{
    struct files_reader *reader = (struct files_reader *)base;
    const struct profile_file *file;
    struct entry entry = {0};
    const void *data;
    size_t size;
    uint64_t offset;

    if (reader->ended) {
        return 0;
    }
    if (files_data(base, &data, &size, &offset, err) < 0) {
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
    if (normal_entry(reader->normal, &entry, err) < 0) {
        return fail_while(err, "layer '%s'", base->layer->spec->name);
    }
    *ret = entry;
    return 1;
}

static uint64_t files_position(const struct reader *base)
{
    return ((const struct files_reader *)base)->position;
}

static const struct reader_ops files_reader_ops = {
    .next = files_next,
    .data = files_data,
    .position = files_position,
    .free = files_reader_free,
};

static int open_part(struct layer *layer, unsigned part, struct reader **ret, struct error *err)
{
    struct files_reader *reader = xcalloc(1, sizeof(*reader));
    const struct profile_layer *spec = layer->spec;

    (void)part;
    (void)err;
    reader->reader = (struct reader){&files_reader_ops, layer};
    reader->normal = normal_new();
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
