/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/blocks.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"
#include "base/stop.h"

/* Blocks that a thread takes at a time: one read of 2 MiB. */
enum { CHUNK = 4, THREADS_MAX = 4 };

struct digest {
    uint8_t bytes[HASH_SIZE];
};

/* What the threads share. Chunks are handed out in the order of the disk. */
struct work {
    int fd;
    const char *name;
    uint64_t size_bytes;
    uint64_t count;         /* of blocks */
    bool *has_data;         /* of each block */
    struct digest *digests; /* of each block */
    struct digest zero;     /* of a block of zeros */
    atomic_uint_fast64_t next, done;
    atomic_bool failed;
    blocks_progress progress; /* called by the first thread */
    void *data;
};

struct worker {
    struct work *work;
    bool first;
    pthread_t thread;
    struct error err;
};

/* Says which blocks have data; asks once for each run of it. */
static int map_data(struct work *work, struct error *err)
{
    uint64_t at = 0, offset, size;

    for (;;) {
        int found = file_next_data(work->fd, at, &offset, &size, work->name, err);

        if (found <= 0) {
            return found;
        }
        for (uint64_t i = offset / BLOCK_SIZE; i < work->count && i * BLOCK_SIZE < offset + size;
             i++) {
            work->has_data[i] = true;
            at = (i + 1) * BLOCK_SIZE;
        }
    }
}

/* Reads and hashes blocks FIRST to END, all of which have data. */
static int hash_run(struct work *work, struct hash *hash, char *buffer, uint64_t first,
                    uint64_t end, struct error *err)
{
    uint64_t offset = first * BLOCK_SIZE, size = (end - first) * BLOCK_SIZE;
    uint64_t there = work->size_bytes - offset < size ? work->size_bytes - offset : size;

    if (file_pread(work->fd, buffer, there, offset, work->name, err) < 0) {
        return -1;
    }
    memset(buffer + there, 0, size - there);
    for (uint64_t i = first; i < end; i++) {
        hash_add(hash, buffer + (i - first) * BLOCK_SIZE, BLOCK_SIZE);
        hash_end(hash, work->digests[i].bytes);
    }
    return 0;
}

static int hash_chunk(struct work *work, struct hash *hash, char *buffer, uint64_t first,
                      struct error *err)
{
    uint64_t end = work->count - first < CHUNK ? work->count : first + CHUNK;

    while (first < end) {
        uint64_t run = first;

        while (run < end && work->has_data[run]) {
            run++;
        }
        if (run == first) {
            work->digests[first++] = work->zero;
            continue;
        }
        if (hash_run(work, hash, buffer, first, run, err) < 0) {
            return -1;
        }
        first = run;
    }
    return 0;
}

static void *work_on(void *data)
{
    struct worker *worker = data;
    struct work *work = worker->work;
    SCOPED(hash_freep) struct hash *hash = hash_new();
    SCOPED_FREE char *buffer = xmalloc((size_t)CHUNK * BLOCK_SIZE);

    while (!atomic_load(&work->failed)) {
        uint64_t first = atomic_fetch_add(&work->next, CHUNK);

        if (first >= work->count) {
            break;
        }
        if (stop_check(&worker->err) < 0 ||
            hash_chunk(work, hash, buffer, first, &worker->err) < 0) {
            atomic_store(&work->failed, true);
            break;
        }
        (void)atomic_fetch_add(&work->done, CHUNK);
        if (worker->first && work->progress != NULL) {
            uint64_t bytes = atomic_load(&work->done) * BLOCK_SIZE;

            work->progress(work->data, bytes < work->size_bytes ? bytes : work->size_bytes);
        }
    }
    return NULL;
}

/* Without enough threads there are fewer: the first is this one. */
static int hash_all(struct work *work, struct error *err)
{
    SCOPED_FREE struct worker *workers = xcalloc(THREADS_MAX, sizeof(*workers));
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    long wanted = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : cpus;
    int count = 1;
    int result = 0;

    workers[0] = (struct worker){.work = work, .first = true};
    for (; count < wanted; count++) {
        workers[count].work = work;
        if (pthread_create(&workers[count].thread, NULL, work_on, &workers[count]) != 0) {
            break;
        }
    }
    (void)work_on(&workers[0]);
    for (int i = 1; i < count; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    for (int i = 0; i < count && result == 0; i++) {
        if (workers[i].err.kind != FAIL_NONE) {
            *err = workers[i].err;
            result = -1;
        }
    }
    return result;
}

static int write_index(const struct work *work, const char *path, struct error *err)
{
    SCOPED_FILE FILE *file = fopen(path, "we");
    char hex[HASH_HEX_MAX];
    bool ok;

    if (file == NULL) {
        return fail_os(err, "create '%s'", path);
    }
    ok = fprintf(file, "kiln-blocks 1 %u %llu\n", BLOCK_SIZE,
                 (unsigned long long)work->size_bytes) > 0;
    for (uint64_t i = 0; ok && i < work->count; i++) {
        ok = fprintf(file, "%s\n", hash_hex(work->digests[i].bytes, hex)) > 0;
    }
    if (!ok || fclose(TAKE(file)) != 0) {
        return fail_os(err, "write '%s'", path);
    }
    return 0;
}

static int open_disk(const char *disk, int *ret_fd, uint64_t *ret_size, struct error *err)
{
    SCOPED_FD int fd = open(disk, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        return fail_os(err, "open '%s'", disk);
    }
    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", disk);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, FAIL_ERROR, "'%s' is not a regular file", disk);
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void hash_zero_block(struct digest *ret)
{
    SCOPED_FREE char *zeros = xcalloc(1, BLOCK_SIZE);

    hash_bytes(zeros, BLOCK_SIZE, ret->bytes);
}

int blocks_write(const char *disk, const char *index, blocks_progress progress, void *data,
                 uint8_t ret_digest[HASH_SIZE], struct error *err)
{
    struct work work = {.name = disk, .progress = progress, .data = data};
    SCOPED_FD int fd = -1;
    SCOPED_FREE struct digest *digests = NULL;
    SCOPED_FREE bool *has_data = NULL;

    if (open_disk(disk, &fd, &work.size_bytes, err) < 0) {
        return -1;
    }
    work.fd = fd;
    work.count = work.size_bytes / BLOCK_SIZE + (work.size_bytes % BLOCK_SIZE != 0);
    digests = xcalloc(work.count, sizeof(*digests));
    has_data = xcalloc(work.count, sizeof(*has_data));
    work.digests = digests;
    work.has_data = has_data;
    hash_zero_block(&work.zero);
    if (map_data(&work, err) < 0 || hash_all(&work, err) < 0 ||
        write_index(&work, index, err) < 0) {
        return -1;
    }
    if (progress != NULL) {
        progress(data, work.size_bytes);
    }
    hash_bytes(digests, work.count * sizeof(*digests), ret_digest);
    return 0;
}
