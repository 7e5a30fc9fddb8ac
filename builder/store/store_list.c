/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the store: listed, verified, removed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/store_internal.h"

/* The size of what is kept as one piece; a core image is a few hundred KiB. */
enum { PIECE_LIMIT = 256 << 20 };

/* ---- listing ---- */

static void read_group(const char *path, struct store_item *item)
{
    SCOPED_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    SCOPED(buf_done) struct buf data = {0};
    struct error ignored = {0};
    struct record record;

    if (dir >= 0 &&
        blob_read(dir, ENTRY_NAME, item->kind, item->key, ENTRY_LIMIT, &data, NULL, &ignored) ==
            0 &&
        record_unpack(data.data, data.size, &record)) {
        item->group = record.group[0] != '\0' ? TAKE(record.group) : NULL;
        record_done(&record);
    }
}

/* False: it is gone. One that is damaged was last used when it was changed. */
static bool read_item(const char *path, struct store_item *item)
{
    SCOPED_FREE char *entry = file_join(path, ENTRY_NAME);
    struct stat st, marked;

    if (lstat(path, &st) < 0) {
        return false;
    }
    item->used = st.st_mtim;
    item->size_bytes = store_allocated(&st);
    if (store_has_entries(item->kind)) {
        item->size_bytes = store_allocated_in(path);
        item->used = lstat(entry, &marked) == 0 ? marked.st_mtim : st.st_mtim;
        read_group(path, item);
    }
    return true;
}

static int list_kind(const struct store *store, enum store_kind kind, struct store_items *ret,
                     struct error *err)
{
    SCOPED_DIR DIR *dir = opendir(store->dirs[kind]);
    struct dirent *entry;

    if (dir == NULL) {
        return fail_os(err, "open directory '%s'", store->dirs[kind]);
    }
    while ((entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *path = file_join(store->dirs[kind], entry->d_name);
        struct store_item item = {.kind = kind};

        if (store_is_key(entry->d_name)) {
            memcpy(item.key, entry->d_name, sizeof(item.key));
            if (read_item(path, &item)) {
                grow(&ret->items, ret->count, &ret->space, sizeof(*ret->items));
                ret->items[ret->count++] = item;
            }
        }
    }
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct store_item *one = a, *other = b;

    return one->kind != other->kind ? (one->kind < other->kind ? -1 : 1)
                                    : strcmp(one->key, other->key);
}

int store_list(const struct store *store, struct store_items *ret, struct error *err)
{
    for (int kind = 0; kind < STORE_KINDS; kind++) {
        if (list_kind(store, (enum store_kind)kind, ret, err) < 0) {
            store_items_done(ret);
            return -1;
        }
    }
    if (ret->count != 0) {
        qsort(ret->items, ret->count, sizeof(*ret->items), by_key);
    }
    return 0;
}

void store_items_done(struct store_items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->items[i].group);
    }
    free(items->items);
    *items = (struct store_items){0};
}

/* ---- verifying ---- */

static int remove_item(const struct store *store, const struct store_item *item, struct error *err)
{
    SCOPED_FREE char *path = file_join(store->dirs[item->kind], item->key);

    if (store_has_entries(item->kind)) {
        return entry_remove(store, item->kind, item->key, err);
    }
    return file_remove_tree(path, err) < 0 ? -1 : 1;
}

static int verify_piece(const struct store *store, const struct store_item *item, bool *ret_damaged,
                        struct error *err)
{
    SCOPED_FREE char *path = file_join(store->dirs[item->kind], item->key);
    SCOPED(buf_done) struct buf data = {0};
    struct error ignored = {0};

    if (blob_read(AT_FDCWD, path, item->kind, item->key, PIECE_LIMIT, &data, NULL, err) == 0) {
        return 1;
    }
    if (err->os == ENOENT) {
        fail_clear(err);
        return 1;
    }
    *ret_damaged = store_is_damage(err);
    if (*ret_damaged) {
        (void)remove_item(store, item, &ignored);
    }
    return -1;
}

int store_verify(const struct store *store, const struct store_item *item, char **ret_problem,
                 struct error *err)
{
    SCOPED(store_releasep) struct store_found *found = NULL;
    bool damaged = false;
    int result = store_has_entries(item->kind)
                     ? entry_open(store, item->kind, item->key, true, &found, &damaged, err)
                     : verify_piece(store, item, &damaged, err);

    if (result >= 0) {
        return 1;
    }
    if (!damaged) {
        return -1;
    }
    *ret_problem = xstrdup(err->message);
    fail_clear(err);
    return 0;
}

/* ---- removing ---- */

static int by_use(const void *a, const void *b)
{
    const struct store_item *one = a, *other = b;

    if (one->used.tv_sec != other->used.tv_sec) {
        return one->used.tv_sec < other->used.tv_sec ? -1 : 1;
    }
    if (one->used.tv_nsec != other->used.tv_nsec) {
        return one->used.tv_nsec < other->used.tv_nsec ? -1 : 1;
    }
    return by_key(a, b);
}

/* How many states of the group of item I were used after it. Those without a record have none. */
static unsigned count_newer(const struct store_items *items, size_t i)
{
    unsigned count = 0;

    for (size_t k = i + 1; k < items->count; k++) {
        count += items->items[k].group != NULL && items->items[i].group != NULL &&
                 strcmp(items->items[k].group, items->items[i].group) == 0;
    }
    return count;
}

static bool is_above(const struct store_items *items, size_t i, uint64_t total_bytes,
                     const struct store_limits *limits)
{
    return total_bytes > limits->max_bytes || (items->items[i].kind == STORE_STATES &&
                                               count_newer(items, i) >= limits->states_per_group);
}

int store_collect(const struct store *store, const struct store_limits *limits,
                  struct store_removed *ret, struct error *err)
{
    SCOPED(store_items_done) struct store_items items = {0};
    uint64_t total = 0;
    int result;

    *ret = (struct store_removed){0};
    if (store_list(store, &items, err) < 0) {
        return fail_while(err, "tidy the store");
    }
    result = store_sweep(store, err);
    if (items.count != 0) {
        qsort(items.items, items.count, sizeof(*items.items), by_use);
    }
    for (size_t i = 0; i < items.count; i++) {
        total += items.items[i].size_bytes;
    }
    for (size_t i = 0; i < items.count; i++) {
        const struct store_item *item = &items.items[i];
        struct error later = {0};
        int removed;

        if (!is_above(&items, i, total, limits)) {
            continue;
        }
        removed = remove_item(store, item, result == 0 ? err : &later);
        result = removed < 0 ? -1 : result;
        ret->busy += removed == 0;
        ret->count += removed > 0;
        ret->size_bytes += removed > 0 ? item->size_bytes : 0;
        total -= removed > 0 ? item->size_bytes : 0;
    }
    return result < 0 ? fail_while(err, "tidy the store") : 0;
}
