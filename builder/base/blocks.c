/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blocks.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
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

_Static_assert(sizeof(struct digest) == HASH_SIZE, "blocks_all hands them out as bytes");

struct blocks {
    uint64_t size_bytes; /* of the disk */
    uint64_t count;
    atomic_bool *known;     /* of each block; atomic for two that forget the same one */
    struct digest *digests; /* of each block that is known */
};

/* What the threads share. Chunks are handed out in the order of the disk. */
struct work {
    struct blocks *blocks;
    int fd;
    const char *name;
    bool *has_data;     /* of each block */
    struct digest zero; /* of a block of zeros */
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

struct blocks *blocks_new(uint64_t size_bytes)
{
    struct blocks *blocks = xcalloc(1, sizeof(*blocks));

    blocks->size_bytes = size_bytes;
    blocks->count = size_bytes / BLOCK_SIZE + (size_bytes % BLOCK_SIZE != 0);
    blocks->known = xcalloc(blocks->count, sizeof(*blocks->known));
    blocks->digests = xcalloc(blocks->count, sizeof(*blocks->digests));
    return blocks;
}

void blocks_free(struct blocks *blocks)
{
    if (blocks != NULL) {
        free(blocks->known);
        free(blocks->digests);
        free(blocks);
    }
}

uint64_t blocks_count(const struct blocks *blocks)
{
    return blocks->count;
}

void blocks_set(struct blocks *blocks, uint64_t block, const uint8_t digest[HASH_SIZE])
{
    assert(block < blocks->count);
    memcpy(blocks->digests[block].bytes, digest, HASH_SIZE);
    atomic_store_explicit(&blocks->known[block], true, memory_order_relaxed);
}

void blocks_forget(struct blocks *blocks, uint64_t offset_bytes, uint64_t size_bytes)
{
    uint64_t end;

    assert(!__builtin_add_overflow(offset_bytes, size_bytes, &end) && end <= blocks->size_bytes);
    for (uint64_t i = offset_bytes / BLOCK_SIZE; size_bytes != 0 && i * BLOCK_SIZE < end; i++) {
        atomic_store_explicit(&blocks->known[i], false, memory_order_relaxed);
    }
}

bool blocks_known(const struct blocks *blocks, uint64_t block)
{
    assert(block < blocks->count);
    return atomic_load_explicit(&blocks->known[block], memory_order_relaxed);
}

const uint8_t *blocks_digest(const struct blocks *blocks, uint64_t block)
{
    assert(blocks_known(blocks, block));
    return blocks->digests[block].bytes;
}

/* Says which blocks have data; asks once for each run of it. */
static int map_data(struct work *work, struct error *err)
{
    uint64_t at = 0, offset, size;

    for (;;) {
        int found = file_next_data(work->fd, at, &offset, &size, work->name, err);

        if (found <= 0) {
            return found;
        }
        for (uint64_t i = offset / BLOCK_SIZE;
             i < work->blocks->count && i * BLOCK_SIZE < offset + size; i++) {
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
    uint64_t left = work->blocks->size_bytes - offset, there = left < size ? left : size;

    if (file_pread(work->fd, buffer, there, offset, work->name, err) < 0) {
        return -1;
    }
    memset(buffer + there, 0, size - there);
    for (uint64_t i = first; i < end; i++) {
        uint8_t digest[HASH_SIZE];

        hash_add(hash, buffer + (i - first) * BLOCK_SIZE, BLOCK_SIZE);
        hash_end(hash, digest);
        blocks_set(work->blocks, i, digest);
    }
    return 0;
}

static int hash_chunk(struct work *work, struct hash *hash, char *buffer, uint64_t first,
                      struct error *err)
{
    struct blocks *blocks = work->blocks;
    uint64_t end = blocks->count - first < CHUNK ? blocks->count : first + CHUNK;

    while (first < end) {
        uint64_t run = first;

        while (run < end && work->has_data[run] && !blocks_known(blocks, run)) {
            run++;
        }
        if (run == first) {
            if (!blocks_known(blocks, first)) {
                blocks_set(blocks, first, work->zero.bytes);
            }
            first++;
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

        if (first >= work->blocks->count) {
            break;
        }
        if (stop_check(&worker->err) < 0 ||
            hash_chunk(work, hash, buffer, first, &worker->err) < 0) {
            atomic_store(&work->failed, true);
            break;
        }
        (void)atomic_fetch_add(&work->done, CHUNK);
        if (worker->first && work->progress != NULL) {
            uint64_t bytes = atomic_load(&work->done) * BLOCK_SIZE, size = work->blocks->size_bytes;

            work->progress(work->data, bytes < size ? bytes : size);
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

static void hash_zero_block(struct digest *ret)
{
    SCOPED_FREE char *zeros = xcalloc(1, BLOCK_SIZE);

    hash_bytes(zeros, BLOCK_SIZE, ret->bytes);
}

static int check_size(const struct blocks *blocks, int fd, const char *name, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", name);
    }
    return (uint64_t)st.st_size == blocks->size_bytes
               ? 0
               : fail(err, FAIL_ERROR, "'%s' has %llu bytes instead of %llu", name,
                      (unsigned long long)st.st_size, (unsigned long long)blocks->size_bytes);
}

int blocks_complete(struct blocks *blocks, int fd, const char *name, blocks_progress progress,
                    void *data, struct error *err)
{
    SCOPED_FREE bool *has_data = xcalloc(blocks->count, sizeof(*has_data));
    struct work work = {
        .blocks = blocks,
        .fd = fd,
        .name = name,
        .has_data = has_data,
        .progress = progress,
        .data = data,
    };

    hash_zero_block(&work.zero);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (check_size(blocks, fd, name, err) < 0 || map_data(&work, err) < 0 ||
        hash_all(&work, err) < 0) {
        return -1;
    }
    if (progress != NULL) {
        progress(data, blocks->size_bytes);
    }
    return 0;
}

const uint8_t *blocks_all(const struct blocks *blocks)
{
    for (uint64_t i = 0; i < blocks->count; i++) {
        assert(blocks_known(blocks, i));
    }
    return (const uint8_t *)blocks->digests;
}

void blocks_total(const struct blocks *blocks, uint8_t ret[HASH_SIZE])
{
    hash_bytes(blocks_all(blocks), blocks->count * HASH_SIZE, ret);
}
