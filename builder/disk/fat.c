/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/fat.h"

#include <assert.h>
#include <search.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "disk/fat_internal.h"

enum {
    ENTRIES_MAX = 65536, /* of a directory, 2 MiB */
    ZERO_BLOCK = 4096,   /* zeros of this size and alignment are not written */
};

/* --- clusters ---------------------------------------------------------------------------- */

int fat_allocate(struct fat *fat, const char *path, uint64_t bytes, uint32_t *ret_first,
                 struct error *err)
{
    uint64_t count = (bytes + fat_cluster_bytes(fat) - 1) / fat_cluster_bytes(fat);
    char need[TEXT_SIZE_MAX], left[TEXT_SIZE_MAX];

    if (count > fat_free_clusters(fat)) {
        return fail(err, FAIL_ERROR, "partition '%s': full: '%s' needs %s, %s are left", fat->name,
                    path, text_size(count * fat_cluster_bytes(fat), need),
                    text_size((uint64_t)fat_free_clusters(fat) * fat_cluster_bytes(fat), left));
    }
    grow(&fat->runs, fat->run_count, &fat->run_space, sizeof(*fat->runs));
    fat->runs[fat->run_count++] =
        (struct fat_run){fat->next_cluster, (uint32_t)count, FAT_CHAIN_END};
    *ret_first = fat->next_cluster;
    fat->next_cluster += (uint32_t)count;
    return 0;
}

/* --- data --------------------------------------------------------------------------------- */

int fat_put(const struct fat *fat, const void *data, size_t size, uint64_t offset,
            struct error *err)
{
    if (file_pwrite(fat->fd, data, size, offset, "FAT", err) < 0) {
        return fail_while(err, "partition '%s'", fat->name);
    }
    return 0;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Leaves out blocks of zeros: the disk reads as zeros there, and stays sparse. */
static int put_sparse(const struct fat *fat, const uint8_t *data, size_t size, uint64_t offset,
                      struct error *err)
{
    size_t begin = 0, end = 0;

    while (end < size) {
        size_t step = ZERO_BLOCK - (offset + end) % ZERO_BLOCK;

        step = step < size - end ? step : size - end;
        if (is_zero(data + end, step)) {
            if (fat_put(fat, data + begin, end - begin, offset + begin, err) < 0) {
                return -1;
            }
            begin = end + step;
        }
        end += step;
    }
    return fat_put(fat, data + begin, end - begin, offset + begin, err);
}

/* --- names and nodes --------------------------------------------------------------------- */

int fat_compare_parents(const struct fat_node *a, const struct fat_node *b)
{
    uintptr_t x = (uintptr_t)a->parent, y = (uintptr_t)b->parent;

    return (x > y) - (x < y);
}

static int compare_names(const void *a, const void *b)
{
    const struct fat_node *x = a, *y = b;
    int order = fat_compare_parents(x, y);

    return order != 0 ? order : fat_name_compare(&x->name, &y->name);
}

static void keep_node(struct fat *fat, struct fat_node *node)
{
    grow(&fat->nodes, fat->node_count, &fat->node_space, sizeof(struct fat_node *));
    fat->nodes[fat->node_count++] = node;
}

static struct fat_node *new_node(struct fat_node *parent, const char *path, int64_t mtime)
{
    struct fat_node *node = xcalloc(1, sizeof(*node));

    node->parent = parent;
    node->path = xstrdup(path);
    node->mtime = mtime;
    return node;
}

static void append_child(struct fat_node *parent, struct fat_node *node)
{
    *(parent->last != NULL ? &parent->last->next : &parent->first) = node;
    parent->last = node;
}

static void free_node(struct fat_node *node)
{
    if (node != NULL) {
        free(node->name.units);
        free(node->path);
        free(node);
    }
}
SCOPE_DEFINE(fat_node, free_node)

static int fail_path(const struct fat *fat, const char *path, const char *why, struct error *err)
{
    return fail(err, FAIL_ERROR, "partition '%s': '%s': %s", fat->name, path, why);
}

/* Follows PATH down to its last component; NULL when that has no directory to be in. */
static struct fat_node *find_parent(const struct fat *fat, const char *path, const char **ret_last)
{
    struct fat_node *parent = fat->nodes[0];
    const char *slash;

    for (; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        struct fat_node wanted = {.parent = parent};
        struct fat_node *const *found = NULL;

        if (fat_name_parse(path, (size_t)(slash - path), &wanted.name) == NULL) {
            found = tfind(&wanted, &fat->by_name, compare_names);
            free(wanted.name.units);
        }
        if (found == NULL || !(*found)->directory) {
            return NULL;
        }
        parent = *found;
    }
    *ret_last = path;
    return parent;
}

static int fail_known(const struct fat *fat, const char *path, const char *other, struct error *err)
{
    if (strcmp(other, path) == 0) {
        return fail_path(fat, path, "it is there already", err);
    }
    return fail(err, FAIL_ERROR,
                "partition '%s': '%s' and '%s' differ in case only, which FAT cannot hold",
                fat->name, other, path);
}

/* Makes NODE known in its directory; takes it, also on failure. */
static int enter(struct fat *fat, struct fat_node *node, struct error *err)
{
    uint32_t entries = 1 + fat_long_entries(&node->name);
    SCOPED(free_nodep) struct fat_node *owned = node;
    struct fat_node *parent = node->parent, **known;

    if (parent->entry_count + entries > ENTRIES_MAX) {
        return fail_path(fat, node->path, "its directory has 65536 entries, which is all it holds",
                         err);
    }
    known = tsearch(node, &fat->by_name, compare_names);
    if (known == NULL) {
        abort(); /* out of memory, as everywhere */
    }
    if (*known != node) {
        return fail_known(fat, node->path, (*known)->path, err);
    }
    parent->entry_count += entries;
    append_child(parent, node);
    keep_node(fat, TAKE(owned));
    return 0;
}

static int end_file(struct fat *fat, struct error *err)
{
    const struct fat_node *file = fat->current;

    fat->current = NULL;
    if (file != NULL && fat->current_done != file->size_bytes) {
        return fail(err, FAIL_ERROR, "partition '%s': '%s': %u bytes came of %u", fat->name,
                    file->path, fat->current_done, file->size_bytes);
    }
    return 0;
}

static int add(struct fat *fat, const char *path, int64_t mtime, struct fat_node **ret,
               struct error *err)
{
    const char *last = path, *wrong;
    struct fat_node *parent, *node;
    struct fat_name name;

    assert(!fat->finished);
    if (end_file(fat, err) < 0) {
        return -1;
    }
    parent = find_parent(fat, path, &last);
    if (parent == NULL) {
        return fail_path(fat, path, "there is no directory for it", err);
    }
    wrong = fat_name_parse(last, strlen(last), &name);
    if (wrong != NULL) {
        return fail_path(fat, path, wrong, err);
    }
    node = new_node(parent, path, mtime);
    node->name = name;
    if (enter(fat, node, err) < 0) {
        return -1;
    }
    *ret = node;
    return 0;
}

/* --- the interface ----------------------------------------------------------------------- */

int fat_new(int fd, uint64_t offset_bytes, uint64_t size_bytes, uint32_t volume_id,
            const char *label, const char *name, struct fat **ret, struct error *err)
{
    struct fat *fat;

    if (size_bytes < FAT_SIZE_MIN || size_bytes / FAT_SECTOR > UINT32_MAX) {
        return fail(err, FAIL_ERROR, "partition '%s': %llu bytes cannot be FAT32", name,
                    (unsigned long long)size_bytes);
    }
    fat = xcalloc(1, sizeof(*fat));
    fat->fd = fd;
    fat->offset_bytes = offset_bytes;
    fat->sectors = (uint32_t)(size_bytes / FAT_SECTOR);
    fat->volume_id = volume_id;
    fat->has_label = label[0] != '\0';
    memset(fat->label, ' ', sizeof(fat->label));
    memcpy(fat->label, label, strnlen(label, sizeof(fat->label)));
    fat->name = xstrdup(name);
    fat_lay_out(fat);
    assert(fat->cluster_count >= 65525);

    keep_node(fat, new_node(NULL, "/", 0));
    fat->nodes[0]->directory = true;
    fat->nodes[0]->entry_count = fat->has_label ? 1 : 0;
    fat->nodes[0]->first_cluster = FAT_ROOT;
    fat->next_cluster = FAT_ROOT + 1;
    grow(&fat->runs, 0, &fat->run_space, sizeof(*fat->runs));
    fat->runs[fat->run_count++] = (struct fat_run){FAT_ROOT, 1, FAT_CHAIN_END};
    *ret = fat;
    return 0;
}

/* For tdestroy: fat->nodes owns them. */
static void leave(void *node)
{
    (void)node;
}

void fat_free(struct fat *fat)
{
    if (fat == NULL) {
        return;
    }
    tdestroy(fat->by_name, leave);
    tdestroy(fat->by_short_name, leave);
    for (size_t i = 0; i < fat->node_count; i++) {
        free_node(fat->nodes[i]);
    }
    free(fat->nodes);
    free(fat->runs);
    free(fat->name);
    free(fat);
}

int fat_directory(struct fat *fat, const char *path, int64_t mtime, struct error *err)
{
    struct fat_node *node = NULL;

    if (add(fat, path, mtime, &node, err) < 0) {
        return -1;
    }
    assert(node != NULL);
    node->directory = true;
    node->entry_count = 2;
    return 0;
}

int fat_file(struct fat *fat, const char *path, int64_t mtime, uint64_t size, struct error *err)
{
    char text[TEXT_SIZE_MAX];
    struct fat_node *node = NULL;

    if (size > UINT32_MAX) {
        return fail(err, FAIL_ERROR,
                    "partition '%s': '%s' has %s; FAT holds files of less than 4 GiB", fat->name,
                    path, text_size(size, text));
    }
    if (add(fat, path, mtime, &node, err) < 0) {
        return -1;
    }
    assert(node != NULL);
    if (size != 0 && fat_allocate(fat, path, size, &node->first_cluster, err) < 0) {
        return -1;
    }
    node->size_bytes = (uint32_t)size;
    fat->current = node;
    fat->current_done = 0;
    return 0;
}

int fat_data(struct fat *fat, const void *data, size_t size, struct error *err)
{
    const struct fat_node *file = fat->current;

    assert(file != NULL);
    if (size > file->size_bytes - fat->current_done) {
        return fail_path(fat, file->path, "more bytes came than it has", err);
    }
    if (size != 0 &&
        put_sparse(fat, data, size,
                   fat_cluster_offset(fat, file->first_cluster) + fat->current_done, err) < 0) {
        return -1;
    }
    fat->current_done += (uint32_t)size;
    return 0;
}

int fat_finish(struct fat *fat, struct error *err)
{
    assert(!fat->finished);
    fat->finished = true;
    if (end_file(fat, err) < 0) {
        return -1;
    }
    if (fat_put_directories(fat, err) < 0 || fat_put_chains(fat, err) < 0) {
        return -1;
    }
    return fat_put_boot_sectors(fat, err);
}
