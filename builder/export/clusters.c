/* SPDX-License-Identifier: Apache-2.0 */
#include "export/clusters.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/pool.h"
#include "base/stop.h"

/* Where a cluster is not of zeros, its first page says so nearly always. */
enum { PAGE = 4096 };

static bool is_zero(const char *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* --- where there is data ------------------------------------------------------------------- */

static int read_size(int fd, const char *name, uint64_t *ret, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", name);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, FAIL_ERROR, "'%s' is not a regular file", name);
    }
    *ret = (uint64_t)st.st_size;
    return 0;
}

int clusters_check(const struct clusters *clusters, struct error *err)
{
    uint64_t now = 0;

    if (read_size(clusters->fd, clusters->name, &now, err) < 0) {
        return -1;
    }
    return now == clusters->size_bytes
               ? 0
               : fail(err, FAIL_ERROR, "read '%s': its size has changed", clusters->name);
}

/* The bytes of cluster NUMBER that are on the disk. */
static size_t size_of(const struct clusters *clusters, uint64_t number)
{
    uint64_t left = clusters->size_bytes - number * CLUSTER;

    return left < CLUSTER ? (size_t)left : CLUSTER;
}

/* 1 when cluster NUMBER has data, 0 when it is of zeros, -1 on error. */
static int look_at(const struct clusters *clusters, uint64_t number, char *buffer,
                   struct error *err)
{
    size_t size = size_of(clusters, number), done = 0;

    while (done < size) {
        size_t part = done != 0 ? size - done : size < PAGE ? size : PAGE;

        if (file_pread(clusters->fd, buffer, part, number * CLUSTER + done, clusters->name, err) <
            0) {
            return -1;
        }
        if (!is_zero(buffer, part)) {
            return 1;
        }
        done += part;
    }
    return 0;
}

static void add_cluster(struct clusters *clusters, uint64_t number)
{
    struct cluster_run *last =
        clusters->run_count != 0 ? &clusters->runs[clusters->run_count - 1] : NULL;

    clusters->data_count++;
    if (last != NULL && last->first + last->count == number) {
        last->count++;
        return;
    }
    grow(&clusters->runs, clusters->run_count, &clusters->run_space, sizeof(*clusters->runs));
    clusters->runs[clusters->run_count++] = (struct cluster_run){number, 1};
}

static int look(struct clusters *clusters, struct error *err)
{
    SCOPED_FREE char *buffer = xmalloc(CLUSTER);
    uint64_t next = 0, offset, size;
    int found;

    while ((found = file_next_data(clusters->fd, next * CLUSTER, &offset, &size, clusters->name,
                                   err)) > 0) {
        uint64_t end = (offset + size + CLUSTER - 1) / CLUSTER;

        for (next = offset / CLUSTER; next < end; next++) {
            int has_data = stop_check(err) < 0 ? -1 : look_at(clusters, next, buffer, err);

            if (has_data < 0) {
                return -1;
            }
            if (has_data > 0) {
                add_cluster(clusters, next);
            }
        }
    }
    return found;
}

int clusters_find(const char *raw, struct clusters **ret, struct error *err)
{
    SCOPED(clusters_freep) struct clusters *clusters = xcalloc(1, sizeof(*clusters));

    clusters->name = xstrdup(raw);
    clusters->fd = open(raw, O_RDONLY | O_CLOEXEC);
    if (clusters->fd < 0) {
        return fail_os(err, "open '%s'", raw);
    }
    if (read_size(clusters->fd, raw, &clusters->size_bytes, err) < 0 || look(clusters, err) < 0) {
        return -1;
    }
    *ret = TAKE(clusters);
    return 0;
}

void clusters_free(struct clusters *clusters)
{
    if (clusters == NULL) {
        return;
    }
    scope_fd(&clusters->fd);
    free(clusters->name);
    free(clusters->runs);
    free(clusters);
}

/* --- what becomes of them ------------------------------------------------------------------ */

struct item {
    struct cluster cluster;
    char plain[CLUSTER];
    char packed[COMPRESSIONS][COMPRESS_ROOM(CLUSTER)];
};

struct work {
    const struct clusters *clusters;
    const struct clusters_use *use;
    struct compressor **compressors; /* COMPRESSIONS for each thread; NULL: not asked for */
    size_t run;                      /* the next cluster: it is in this one, */
    uint64_t within;                 /* so many behind its first */
};

static int fill(void *data, void *item_, struct error *err)
{
    struct work *work = data;
    struct item *item = item_;
    const struct cluster_run *run;

    (void)err;
    if (work->run == work->clusters->run_count) {
        return 0;
    }
    run = &work->clusters->runs[work->run];
    item->cluster.number = run->first + work->within++;
    if (work->within == run->count) {
        work->run++;
        work->within = 0;
    }
    return 1;
}

static int pack(void *data, unsigned thread, void *item_, struct error *err)
{
    const struct work *work = data;
    struct item *item = item_;
    struct cluster *cluster = &item->cluster;
    size_t size = size_of(work->clusters, cluster->number);

    if (file_pread(work->clusters->fd, item->plain, size, cluster->number * CLUSTER,
                   work->clusters->name, err) < 0) {
        return -1;
    }
    memset(item->plain + size, 0, CLUSTER - size);
    cluster->plain = item->plain;
    for (size_t i = 0; i < COMPRESSIONS; i++) {
        struct compressor *compressor = work->compressors[thread * COMPRESSIONS + i];

        cluster->packed[i] = item->packed[i];
        cluster->packed_size[i] =
            compressor != NULL ? compressor_run(compressor, item->plain, CLUSTER, item->packed[i])
                               : 0;
    }
    return 0;
}

static int take(void *data, void *item_, struct error *err)
{
    const struct work *work = data;
    const struct item *item = item_;

    return work->use->take(work->use->data, &item->cluster, err);
}

int clusters_run(const struct clusters *clusters, const struct clusters_use *use, struct error *err)
{
    struct work work = {.clusters = clusters, .use = use};
    struct pool pool = {
        .threads = use->threads != 0 ? use->threads : pool_cpus(),
        .item_bytes = sizeof(struct item),
        .data = &work,
        .fill = fill,
        .work = pack,
        .take = take,
    };
    size_t count = (size_t)pool.threads * COMPRESSIONS;
    int result;

    work.compressors = xcalloc(count, sizeof(struct compressor *));
    for (size_t i = 0; i < count; i++) {
        enum compression compression = (enum compression)(i % COMPRESSIONS);

        work.compressors[i] = use->compress[compression] ? compressor_new(compression) : NULL;
    }
    result = pool_run(&pool, err);
    for (size_t i = 0; i < count; i++) {
        compressor_free(work.compressors[i]);
    }
    free(work.compressors);
    return result;
}
