/* SPDX-License-Identifier: Apache-2.0 */
#include "base/copy.h"

#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"
#include "base/stop.h"

/*
 * Measured on ext4 in memory: reading and writing 1 MiB at a time is faster than copy_file_range,
 * which goes through a pipe, and than mapping either file. A second thread reads while the first
 * one writes (writes to one file exclude each other), so a third gains nothing.
 */
enum { CHUNK = 1 << 20 };

struct chunk {
    uint64_t offset, size;
};

struct work {
    int from, to;
    const char *name;
    struct chunk *chunks;
    size_t count, space;
    atomic_size_t next;
    atomic_bool failed;
};

struct worker {
    struct work *work;
    struct error err;
};

/* The data of FROM below SIZE_BYTES, in pieces that a thread takes at a time. */
static int find_chunks(struct work *work, uint64_t size_bytes, struct error *err)
{
    uint64_t at = 0, offset, size;
    int found;

    while (at < size_bytes &&
           (found = file_next_data(work->from, at, &offset, &size, work->name, err)) != 0) {
        if (found < 0) {
            return -1;
        }
        at = offset + size;
        for (; offset < at && offset < size_bytes; offset += CHUNK) {
            uint64_t end = at < size_bytes ? at : size_bytes;

            grow(&work->chunks, work->count, &work->space, sizeof(*work->chunks));
            work->chunks[work->count++] =
                (struct chunk){offset, end - offset < CHUNK ? end - offset : CHUNK};
        }
    }
    return 0;
}

static int copy_chunk(const struct work *work, const struct chunk *chunk, char *buffer,
                      struct error *err)
{
    if (stop_check(err) < 0 ||
        file_pread(work->from, buffer, chunk->size, chunk->offset, work->name, err) < 0) {
        return -1;
    }
    return file_pwrite(work->to, buffer, chunk->size, chunk->offset, work->name, err);
}

static void *work_on(void *data)
{
    struct worker *worker = data;
    struct work *work = worker->work;
    SCOPED_FREE char *buffer = xmalloc(CHUNK);

    while (!atomic_load(&work->failed)) {
        size_t i = atomic_fetch_add(&work->next, 1);

        if (i >= work->count) {
            break;
        }
        if (copy_chunk(work, &work->chunks[i], buffer, &worker->err) < 0) {
            atomic_store(&work->failed, true);
        }
    }
    return NULL;
}

/* Without a second thread this one does it all. */
static int copy_chunks(struct work *work, struct error *err)
{
    SCOPED_FREE struct worker *workers = xcalloc(2, sizeof(*workers));
    bool second;
    pthread_t thread;

    workers[0].work = workers[1].work = work;
    second = work->count > 1 && pthread_create(&thread, NULL, work_on, &workers[1]) == 0;
    (void)work_on(&workers[0]);
    if (second) {
        (void)pthread_join(thread, NULL);
    }
    for (int i = 0; i < 2; i++) {
        if (workers[i].err.kind != FAIL_NONE) {
            *err = workers[i].err;
            return -1;
        }
    }
    return 0;
}

int copy_sparse(int from, int to, uint64_t size_bytes, const char *name, struct error *err)
{
    struct work work = {.from = from, .to = to, .name = name};
    bool cloned = ioctl(to, FICLONE, from) == 0;
    int result = 0;

    /* Also cuts off what a clone has too much. */
    if (ftruncate(to, (off_t)size_bytes) < 0) {
        return fail_os(err, "set the size of the copy of '%s'", name);
    }
    if (!cloned) {
        result = find_chunks(&work, size_bytes, err) < 0 ? -1 : copy_chunks(&work, err);
    }
    free(work.chunks);
    return result < 0 ? fail_while(err, "copy '%s'", name) : 0;
}
