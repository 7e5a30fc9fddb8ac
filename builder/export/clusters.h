/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clusters of a disk that have data, in order, compressed on all threads: what formats are made
 * of that leave out zeros. Which clusters these are follows from what is in them alone: what the
 * file system calls data and what it calls a hole does not show.
 *
 *     clusters_find("disk.raw", &clusters, err)
 *     clusters_run(clusters, &(struct clusters_use){.compress = {[COMPRESSION_ZLIB] = true},
 *                                                   .take = put, .data = file}, err)
 */
#ifndef EXPORT_CLUSTERS_H
#define EXPORT_CLUSTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"
#include "export/compress.h"

#define CLUSTER 65536U /* bytes */

/* Neighbours: clusters FIRST to FIRST + COUNT - 1. */
struct cluster_run {
    uint64_t first, count;
};

/* Of one disk. */
struct clusters {
    int fd;     /* of the disk, for reading */
    char *name; /* its path */
    uint64_t size_bytes;
    struct cluster_run *runs; /* of clusters with data; never two that touch */
    size_t run_count, run_space;
    uint64_t data_count; /* clusters in all runs */
};

/* Opens RAW and looks where it has data. */
int clusters_find(const char *raw, struct clusters **ret, struct error *err);
void clusters_free(struct clusters *clusters);
SCOPE_DEFINE(clusters, clusters_free)

/* Fails when the disk has another size than it had: what was cut off looked like zeros. */
int clusters_check(const struct clusters *clusters, struct error *err);

/* One that has data. */
struct cluster {
    uint64_t number;
    const void *plain;                /* CLUSTER bytes; zeros behind the end of the disk */
    const void *packed[COMPRESSIONS]; /* see compressor_run; only what was asked for */
    size_t packed_size[COMPRESSIONS];
};

struct clusters_use {
    bool compress[COMPRESSIONS];
    unsigned threads; /* 0: as many as there are CPUs; what is taken does not depend on it */
    /* In the order of the disk, on the caller's thread. */
    int (*take)(void *data, const struct cluster *cluster, struct error *err);
    void *data;
};

/* Takes all of them. May be interrupted. */
int clusters_run(const struct clusters *clusters, const struct clusters_use *use,
                 struct error *err);

#endif
