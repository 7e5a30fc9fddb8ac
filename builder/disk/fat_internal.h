/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the FAT writer: fat.c has names, nodes and clusters, fat_directory.c what stands in
 * directories, fat_boot.c layout, boot sectors and FATs, fat_name.c the rules for names.
 */
#ifndef DISK_FAT_INTERNAL_H
#define DISK_FAT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/fail.h"
#include "base/le.h"
#include "disk/fat.h"
#include "disk/fat_name.h"

enum {
    FAT_SECTOR = 512,
    FAT_ENTRY_SIZE = 32,
    FAT_ROOT = 2, /* the first cluster there is; some firmware looks for the root nowhere else */
};

/* Ends a chain of clusters. */
#define FAT_CHAIN_END 0x0fffffffU

struct fat_node {
    struct fat_node *parent;
    struct fat_node *first, *last; /* children, in the order they came */
    struct fat_node *next;         /* sibling */
    char *path;                    /* for messages */
    struct fat_name name;
    uint8_t short_name[FAT_SHORT_SIZE];
    bool directory;
    int64_t mtime;
    uint32_t size_bytes;    /* of a file */
    uint32_t entry_count;   /* of a directory, with "." and ".." or the label */
    uint32_t first_cluster; /* 0 for an empty file */
};

/* Clusters in a row; the last one is followed by cluster NEXT or ends the chain. */
struct fat_run {
    uint32_t first, count, next;
};

struct fat {
    int fd;
    uint64_t offset_bytes;
    uint32_t sectors, fat_sectors, cluster_sectors, cluster_count;
    uint32_t volume_id;
    uint8_t label[FAT_SHORT_SIZE];
    bool has_label;
    char *name;

    struct fat_node **nodes; /* all of them, parents first; the first is the root */
    size_t node_count, node_space;
    void *by_name, *by_short_name; /* tsearch trees of nodes, by parent and name */
    struct fat_run *runs;          /* without gaps from FAT_ROOT on */
    size_t run_count, run_space;
    uint32_t next_cluster;
    uint32_t more_root; /* where the root goes on after its first cluster; 0: nowhere */

    struct fat_node *current; /* the file that data is for */
    uint32_t current_done;    /* bytes of it that have come */
    bool finished;
};

/* Chooses cluster and FAT size for fat->sectors. */
void fat_lay_out(struct fat *fat);

uint32_t fat_cluster_bytes(const struct fat *fat);
uint32_t fat_free_clusters(const struct fat *fat);

/* Where a cluster begins in the file that fat->fd is. */
uint64_t fat_cluster_offset(const struct fat *fat, uint32_t cluster);

/* Clusters in a row for BYTES of PATH, which is for the message. */
int fat_allocate(struct fat *fat, const char *path, uint64_t bytes, uint32_t *ret_first,
                 struct error *err);

/* Writes to fat->fd. */
int fat_put(const struct fat *fat, const void *data, size_t size, uint64_t offset,
            struct error *err);

/* Orders nodes of one directory beside one another; the order itself means nothing. */
int fat_compare_parents(const struct fat_node *a, const struct fat_node *b);

/* How many directory entries NAME takes beside its 8.3 one. */
uint32_t fat_long_entries(const struct fat_name *name);

/* Gives every node its 8.3 name, then allocates and writes all directories. */
int fat_put_directories(struct fat *fat, struct error *err);

/* Writes both FATs, the boot sectors and what goes with them. */
int fat_put_chains(const struct fat *fat, struct error *err);
int fat_put_boot_sectors(const struct fat *fat, struct error *err);

#endif
