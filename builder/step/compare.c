/* SPDX-License-Identifier: Apache-2.0 */
#include "step/compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/stop.h"
#include "layer/layer.h"

enum { SHOWN = 10 };

/* An entry, as far as it matters. */
struct item {
    char *path;
    uint8_t digest[HASH_SIZE]; /* over everything that it says, and its data */
};

struct items {
    struct item *list;
    size_t count, space;
};

static void items_done(struct items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->list[i].path);
    }
    free(items->list);
}

static void add_number(struct hash *hash, uint64_t number)
{
    hash_add(hash, &number, sizeof(number));
}

static void add_text(struct hash *hash, const char *text)
{
    hash_add(hash, text != NULL ? text : "", (text != NULL ? strlen(text) : 0) + 1);
}

static void add_entry(struct hash *hash, const struct entry *entry)
{
    add_number(hash, entry->type);
    add_number(hash, entry->mode);
    add_number(hash, entry->uid);
    add_number(hash, entry->gid);
    add_number(hash, (uint64_t)entry->mtime);
    add_number(hash, entry->mtime_ns);
    add_number(hash, entry->major);
    add_number(hash, entry->minor);
    add_number(hash, entry->size);
    add_text(hash, entry->target);
    for (size_t i = 0; i < entry->xattr_count; i++) {
        add_text(hash, entry->xattrs[i].name);
        add_number(hash, entry->xattrs[i].size);
        hash_add(hash, entry->xattrs[i].value, entry->xattrs[i].size);
    }
}

static int add_data(struct hash *hash, struct layer_reader *reader, struct error *err)
{
    const void *data;
    size_t size;
    uint64_t offset;
    int more;

    while ((more = layer_reader_data(reader, &data, &size, &offset, err)) > 0) {
        add_number(hash, offset);
        hash_add(hash, data, size);
        if (stop_check(err) < 0) {
            return -1;
        }
    }
    return more;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

static int list_items(const struct captured *captured, struct items *items, struct error *err)
{
    static const uint8_t no_key[HASH_SIZE];
    /* As a step: an archive's names may make an image of it. */
    const struct profile_layer spec = {.kind = LAYER_RUN, .name = captured->path};
    SCOPED(hash_freep) struct hash *hash = hash_new();
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (layer_open(&spec, ARCH_X86_64, &layer, err) < 0) {
        return -1;
    }
    layer_capture(layer, no_key, captured->path, captured->digest, captured->size);
    if (layer_reader_open(layer, 0, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) > 0) {
        struct item item = {.path = xstrdup(entry.path)};

        grow(&items->list, items->count, &items->space, sizeof(item));
        add_entry(hash, &entry);
        if (add_data(hash, reader, err) < 0) {
            free(item.path);
            return -1;
        }
        hash_end(hash, item.digest);
        items->list[items->count++] = item;
    }
    if (items->count != 0) {
        qsort(items->list, items->count, sizeof(struct item), by_path);
    }
    return more;
}

static void add_path(struct buf *ret, const char *path, size_t *count)
{
    if (*count < SHOWN) {
        buf_printf(ret, "%s/%s", *count == 0 ? "" : ", ",
                   strncmp(path, "./", 2) == 0 ? path + 2 : path);
    }
    ++*count;
}

int compare_captured(const struct captured *a, const struct captured *b, struct buf *ret,
                     struct error *err)
{
    SCOPED(items_done) struct items one = {0}, other = {0};
    size_t i = 0, k = 0, count = 0;

    if (list_items(a, &one, err) < 0 || list_items(b, &other, err) < 0) {
        return -1;
    }
    while (i < one.count || k < other.count) {
        int order = i == one.count     ? 1
                    : k == other.count ? -1
                                       : strcmp(one.list[i].path, other.list[k].path);

        if (order != 0 || memcmp(one.list[i].digest, other.list[k].digest, HASH_SIZE) != 0) {
            add_path(ret, order <= 0 ? one.list[i].path : other.list[k].path, &count);
        }
        i += order <= 0;
        k += order >= 0;
    }
    if (count > SHOWN) {
        buf_printf(ret, " and %zu more", count - SHOWN);
    }
    return 0;
}
