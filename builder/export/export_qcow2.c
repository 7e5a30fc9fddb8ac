/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/pool.h"
#include "base/scope.h"
#include "export/compress.h"
#include "export/qcow2.h"

/*
 * Clusters are read and compressed on all threads and written by one in the order of the disk, so
 * that their places in the file follow from their contents alone. What the file system calls data
 * and what it calls a hole does not show either: a cluster of zeros is left out in both cases.
 */

struct item {
    uint64_t cluster;
    uint64_t done_bytes; /* of data, this cluster's included */
    size_t size;         /* of what to write: 0 for a cluster of zeros, QCOW2_CLUSTER for PLAIN */
    char plain[QCOW2_CLUSTER];
    char packed[QCOW2_CLUSTER];
};

struct work {
    const struct export_job *job;
    int fd; /* of the raw disk */
    uint64_t size_bytes;
    struct compressor **compressors; /* one a thread */
    struct qcow2 image;
    uint64_t next;       /* offset on the disk: the next cluster */
    uint64_t run_end;    /* of the run of data it is in */
    uint64_t data_bytes; /* of all runs up to that end */
};

static int fill(void *data, void *item_, struct error *err)
{
    struct work *work = data;
    struct item *item = item_;
    uint64_t end;

    if (work->next >= work->run_end) {
        uint64_t offset, size;
        int found = file_next_data(work->fd, work->next, &offset, &size, work->job->raw, err);

        if (found <= 0) {
            return found;
        }
        work->next = offset - offset % QCOW2_CLUSTER;
        work->run_end = offset + size;
        work->data_bytes += size;
    }
    item->cluster = work->next / QCOW2_CLUSTER;
    work->next += QCOW2_CLUSTER;
    end = work->next < work->run_end ? work->next : work->run_end;
    item->done_bytes = work->data_bytes - (work->run_end - end);
    return 1;
}

static bool is_zero(const char *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static int pack(void *data, unsigned thread, void *item_, struct error *err)
{
    const struct work *work = data;
    struct item *item = item_;
    uint64_t offset = item->cluster * QCOW2_CLUSTER;
    uint64_t left = work->size_bytes - offset;
    size_t there = left < QCOW2_CLUSTER ? left : QCOW2_CLUSTER;

    if (file_pread(work->fd, item->plain, there, offset, work->job->raw, err) < 0) {
        return -1;
    }
    memset(item->plain + there, 0, QCOW2_CLUSTER - there);
    item->size = 0;
    if (!is_zero(item->plain, QCOW2_CLUSTER)) {
        size_t size = compressor_run(work->compressors[thread], item->plain, QCOW2_CLUSTER,
                                     item->packed, QCOW2_CLUSTER - 1);

        item->size = size != 0 ? size : QCOW2_CLUSTER;
    }
    return 0;
}

static int take(void *data, void *item_, struct error *err)
{
    struct work *work = data;
    const struct item *item = item_;

    if (item->size != 0 &&
        qcow2_put(&work->image, item->cluster,
                  item->size < QCOW2_CLUSTER ? item->packed : item->plain, item->size, err) < 0) {
        return -1;
    }
    if (work->job->progress != NULL) {
        work->job->progress(work->job->data, item->done_bytes);
    }
    return 0;
}

static int write_clusters(struct work *work, struct error *err)
{
    unsigned threads = work->job->threads != 0 ? work->job->threads : pool_cpus();
    struct pool pool = {
        .threads = threads,
        .item_bytes = sizeof(struct item),
        .data = work,
        .fill = fill,
        .work = pack,
        .take = take,
    };
    int result;

    work->compressors = xcalloc(threads, sizeof(struct compressor *));
    for (unsigned i = 0; i < threads; i++) {
        work->compressors[i] = compressor_new(work->job->profile->qcow2_compression);
    }
    result = pool_run(&pool, err);
    for (unsigned i = 0; i < threads; i++) {
        compressor_free(work->compressors[i]);
    }
    free(work->compressors);
    return result;
}

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

/* What is cut off a file while it is read would look like a hole. */
static int check_size(const struct work *work, struct error *err)
{
    uint64_t now = 0;

    if (read_size(work->fd, work->job->raw, &now, err) < 0) {
        return -1;
    }
    return now == work->size_bytes
               ? 0
               : fail(err, FAIL_ERROR, "read '%s': its size has changed", work->job->raw);
}

static int write_image(struct work *work, int fd, struct error *err)
{
    int result = 0;

    if (qcow2_begin(&work->image, fd, work->job->path, work->size_bytes,
                    work->job->profile->qcow2_compression, err) < 0 ||
        write_clusters(work, err) < 0 || check_size(work, err) < 0 ||
        qcow2_end(&work->image, err) < 0) {
        result = -1;
    }
    qcow2_done(&work->image);
    return result;
}

int export_qcow2(const struct export_job *job, struct error *err)
{
    SCOPED_FD int raw = open(job->raw, O_RDONLY | O_CLOEXEC);
    SCOPED_FD int fd = -1;
    struct work work = {.job = job, .fd = raw};

    if (raw < 0) {
        return fail_os(err, "open '%s'", job->raw);
    }
    if (read_size(raw, job->raw, &work.size_bytes, err) < 0) {
        return -1;
    }
    fd = open(job->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return fail_os(err, "create '%s'", job->path);
    }
    if (write_image(&work, fd, err) < 0) {
        return -1;
    }
    /* Where writing is put off (NFS, quotas) this is the one to tell. */
    return close(TAKE_FD(fd)) == 0 ? 0 : fail_os(err, "write '%s'", job->path);
}

char *export_qcow2_maker(const struct profile *profile)
{
    return compressor_name(profile->qcow2_compression);
}
