/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/scope.h"
#include "disk/fat_internal.h"

enum {
    ATTRIBUTE_LABEL = 0x08,
    ATTRIBUTE_DIRECTORY = 0x10,
    ATTRIBUTE_ARCHIVE = 0x20,
    ATTRIBUTE_LONG = 0x0f,
};

static int compare_short_names(const void *a, const void *b)
{
    const struct fat_node *x = a, *y = b;
    int order = fat_compare_parents(x, y);

    return order != 0 ? order : memcmp(x->short_name, y->short_name, FAT_SHORT_SIZE);
}

static void take_short_name(struct fat *fat, struct fat_node *node)
{
    unsigned try = 0;

    do {
        if (node->name.is_short) {
            fat_name_short(&node->name, node->short_name);
            assert(try == 0); /* two of them would differ in case only */
        } else {
            fat_name_alias(&node->name, try + 1, node->short_name);
        }
        try++;
    } while (tfind(node, &fat->by_short_name, compare_short_names) != NULL);
    if (tsearch(node, &fat->by_short_name, compare_short_names) == NULL) {
        abort(); /* out of memory, as everywhere */
    }
}

/* Names that are 8.3 ones take theirs first, so that no alias stands in the way of a later one. */
static void take_short_names(struct fat *fat)
{
    for (size_t i = 1; i < fat->node_count; i++) {
        if (fat->nodes[i]->name.is_short) {
            take_short_name(fat, fat->nodes[i]);
        }
    }
    for (size_t i = 1; i < fat->node_count; i++) {
        if (!fat->nodes[i]->name.is_short) {
            take_short_name(fat, fat->nodes[i]);
        }
    }
}

/* FAT knows 1980 to 2107, in steps of two seconds. */
static void stamp(uint8_t *entry, int64_t mtime)
{
    time_t seconds = mtime < 315532800 ? 315532800 : mtime > 4354819199 ? 4354819199 : mtime;
    struct tm tm = {0};
    uint32_t date, time;

    (void)gmtime_r(&seconds, &tm);
    date = (uint32_t)((tm.tm_year - 80) << 9 | (tm.tm_mon + 1) << 5 | tm.tm_mday);
    time = (uint32_t)(tm.tm_hour << 11 | tm.tm_min << 5 | tm.tm_sec / 2);
    entry[13] = (uint8_t)(tm.tm_sec % 2 * 100); /* hundredths, of the creation only */
    put16(entry + 14, time);
    put16(entry + 16, date);
    put16(entry + 18, date);
    put16(entry + 22, time);
    put16(entry + 24, date);
}

static uint8_t *add_short_entry(uint8_t *at, const void *name, uint8_t attributes, int64_t mtime,
                                uint32_t cluster, uint32_t size)
{
    memcpy(at, name, FAT_SHORT_SIZE);
    at[11] = attributes;
    stamp(at, mtime);
    put16(at + 20, cluster >> 16);
    put16(at + 26, cluster & 0xffff);
    put32(at + 28, size);
    return at + FAT_ENTRY_SIZE;
}

uint32_t fat_long_entries(const struct fat_name *name)
{
    return name->is_plain ? 0 : (uint32_t)(name->count + FAT_LONG_UNITS - 1) / FAT_LONG_UNITS;
}

static uint8_t *add_long_entries(uint8_t *at, const struct fat_node *node)
{
    static const uint8_t places[FAT_LONG_UNITS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    const struct fat_name *name = &node->name;
    uint32_t count = fat_long_entries(name);

    for (uint32_t left = count; left > 0; left--, at += FAT_ENTRY_SIZE) {
        at[0] = (uint8_t)(left | (left == count ? 0x40 : 0)); /* they stand last one first */
        at[11] = ATTRIBUTE_LONG;
        at[13] = fat_name_checksum(node->short_name);
        for (size_t i = 0; i < FAT_LONG_UNITS; i++) {
            size_t unit = (size_t)(left - 1) * FAT_LONG_UNITS + i;

            put16(at + places[i], unit < name->count    ? name->units[unit]
                                  : unit == name->count ? 0
                                                        : 0xffff);
        }
    }
    return at;
}

static uint8_t *add_first_entries(const struct fat *fat, uint8_t *at,
                                  const struct fat_node *directory)
{
    const struct fat_node *parent = directory->parent;

    if (parent == NULL) {
        /* The label has no time of its own. */
        return fat->has_label ? add_short_entry(at, fat->label, ATTRIBUTE_LABEL, 0, 0, 0) : at;
    }
    at = add_short_entry(at, ".          ", ATTRIBUTE_DIRECTORY, directory->mtime,
                         directory->first_cluster, 0);
    return add_short_entry(at, "..         ", ATTRIBUTE_DIRECTORY, directory->mtime,
                           parent->parent == NULL ? 0 : parent->first_cluster, 0);
}

static int put_directory(const struct fat *fat, const struct fat_node *directory, struct error *err)
{
    size_t size = (size_t)directory->entry_count * FAT_ENTRY_SIZE;
    size_t first = fat_cluster_bytes(fat) < size ? fat_cluster_bytes(fat) : size;
    SCOPED_FREE uint8_t *entries = xcalloc(1, size);
    uint8_t *at = add_first_entries(fat, entries, directory);

    for (const struct fat_node *node = directory->first; node != NULL; node = node->next) {
        if (!node->name.is_plain) {
            at = add_long_entries(at, node);
        }
        at = add_short_entry(at, node->short_name,
                             node->directory ? ATTRIBUTE_DIRECTORY : ATTRIBUTE_ARCHIVE, node->mtime,
                             node->first_cluster, node->size_bytes);
    }
    assert(at == entries + size);
    if (directory->parent != NULL || fat->more_root == 0) {
        return fat_put(fat, entries, size, fat_cluster_offset(fat, directory->first_cluster), err);
    }
    if (fat_put(fat, entries, first, fat_cluster_offset(fat, FAT_ROOT), err) < 0) {
        return -1;
    }
    return fat_put(fat, entries + first, size - first, fat_cluster_offset(fat, fat->more_root),
                   err);
}

static int allocate_directory(struct fat *fat, struct fat_node *directory, struct error *err)
{
    uint64_t bytes = (uint64_t)directory->entry_count * FAT_ENTRY_SIZE;

    if (directory->parent != NULL) {
        return fat_allocate(fat, directory->path, bytes, &directory->first_cluster, err);
    }
    if (bytes <= fat_cluster_bytes(fat)) {
        return 0;
    }
    if (fat_allocate(fat, "/", bytes - fat_cluster_bytes(fat), &fat->more_root, err) < 0) {
        return -1;
    }
    fat->runs[0].next = fat->more_root;
    return 0;
}

int fat_put_directories(struct fat *fat, struct error *err)
{
    take_short_names(fat);
    for (size_t i = 0; i < fat->node_count; i++) {
        if (fat->nodes[i]->directory && allocate_directory(fat, fat->nodes[i], err) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < fat->node_count; i++) {
        if (fat->nodes[i]->directory && put_directory(fat, fat->nodes[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}
