/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"

enum {
    CHUNK = BLOCK_SIZE, /* bytes; small enough to stay in a core's cache from digest to write */
    CHUNKS = 20,        /* at most under way */
    STEPS_MAX = 4096,   /* of a chunk: then it is handed over though there is room */
};

/* What the current file gets, in order, for its digest. */
struct step {
    enum { STEP_BYTES, STEP_HOLE, STEP_END } what;
    uint32_t from;   /* bytes: where they begin in the chunk */
    uint64_t size;   /* bytes and holes */
    uint8_t *digest; /* end: where it goes */
};

/* Bytes that lie one after another within one block of the disk. */
struct chunk {
    struct chunk *next;
    uint8_t *bytes; /* CHUNK of them */
    uint64_t offset;
    uint32_t size;
    bool digested; /* it is a whole block, and this is its digest */
    uint8_t digest[HASH_SIZE];
    struct step *steps;
    size_t step_count, step_space;
};

struct writer {
    int fd;
    const char *name;
    struct blocks *blocks;
    struct chunk *current;
    struct hash *hash; /* for whoever calls */

    pthread_t thread;
    bool running;
    struct hash *block_hash, *file_hash; /* for the thread */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct chunk *first, *last; /* what the thread is to do, in order */
    struct chunk *idle;
    unsigned made, busy;
    bool closing, failed;
    struct error error;
};

/* --- the thread -------------------------------------------------------------------------- */

static void digest_block(struct hash *hash, struct chunk *chunk)
{
    if (chunk->size == BLOCK_SIZE) {
        hash_add(hash, chunk->bytes, BLOCK_SIZE);
        hash_end(hash, chunk->digest);
        chunk->digested = true;
    }
}

/*
 * A block of which the chunk has only a part is unknown: others write the rest, or nobody. Here, so
 * that of two chunks for one block the later one has the last word.
 */
static int write_bytes(struct writer *writer, struct chunk *chunk, struct error *err)
{
    if (chunk->size == 0) {
        return 0;
    }
    if (!chunk->digested) {
        digest_block(writer->block_hash, chunk);
    }
    if (chunk->digested) {
        blocks_set(writer->blocks, chunk->offset / BLOCK_SIZE, chunk->digest);
    } else {
        blocks_forget(writer->blocks, chunk->offset, chunk->size);
    }
    return file_pwrite(writer->fd, chunk->bytes, chunk->size, chunk->offset, writer->name, err);
}

static int digest_files(struct writer *writer, const struct chunk *chunk, struct error *err)
{
    for (size_t i = 0; i < chunk->step_count; i++) {
        const struct step *step = &chunk->steps[i];

        if (step->what == STEP_BYTES) {
            hash_add(writer->file_hash, chunk->bytes + step->from, step->size);
        } else if (step->what == STEP_END) {
            hash_end(writer->file_hash, step->digest);
        } else if (hash_zeros(writer->file_hash, step->size, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The next chunk, NULL when there will be none. */
static struct chunk *take_chunk(struct writer *writer)
{
    struct chunk *chunk;

    pthread_mutex_lock(&writer->lock);
    while (writer->first == NULL && !writer->closing) {
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    chunk = writer->first;
    if (chunk != NULL) {
        writer->first = chunk->next;
    }
    pthread_mutex_unlock(&writer->lock);
    return chunk;
}

static void chunk_done(struct writer *writer, struct chunk *chunk, const struct error *err)
{
    pthread_mutex_lock(&writer->lock);
    if (err->kind != FAIL_NONE && !writer->failed) {
        writer->failed = true;
        writer->error = *err;
    }
    chunk->next = writer->idle;
    writer->idle = chunk;
    writer->busy--;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
}

static bool has_failed(struct writer *writer)
{
    bool failed;

    pthread_mutex_lock(&writer->lock);
    failed = writer->failed;
    pthread_mutex_unlock(&writer->lock);
    return failed;
}

static void *run(void *data)
{
    struct writer *writer = data;
    struct chunk *chunk;

    while ((chunk = take_chunk(writer)) != NULL) {
        struct error err = {0};

        if (!has_failed(writer) && digest_files(writer, chunk, &err) == 0) {
            (void)write_bytes(writer, chunk, &err);
        }
        chunk_done(writer, chunk, &err);
    }
    return NULL;
}

/* --- the front --------------------------------------------------------------------------- */

static int fail_earlier(struct writer *writer, struct error *err)
{
    if (!has_failed(writer)) {
        return 0;
    }
    *err = writer->error;
    return -1;
}

static struct chunk *idle_chunk(struct writer *writer)
{
    struct chunk *chunk;

    pthread_mutex_lock(&writer->lock);
    while (writer->idle == NULL && writer->made == CHUNKS) {
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    chunk = writer->idle;
    if (chunk != NULL) {
        writer->idle = chunk->next;
    } else {
        writer->made++;
    }
    writer->busy++;
    pthread_mutex_unlock(&writer->lock);
    if (chunk == NULL) {
        chunk = xcalloc(1, sizeof(*chunk));
        chunk->bytes = xmalloc(CHUNK);
    }
    chunk->size = 0;
    chunk->digested = false;
    chunk->step_count = 0;
    return chunk;
}

static bool is_behind(struct writer *writer)
{
    bool behind;

    pthread_mutex_lock(&writer->lock);
    behind = writer->busy > CHUNKS / 2;
    pthread_mutex_unlock(&writer->lock);
    return behind;
}

/* When the thread is behind, its blocks are digested here: both cores have work all the time. */
static void hand_over(struct writer *writer)
{
    struct chunk *chunk = TAKE(writer->current);

    if (chunk == NULL) {
        return;
    }
    if (is_behind(writer)) {
        digest_block(writer->hash, chunk);
    }
    pthread_mutex_lock(&writer->lock);
    chunk->next = NULL;
    if (writer->first == NULL) {
        writer->first = chunk;
    } else {
        writer->last->next = chunk;
    }
    writer->last = chunk;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
}

/* A chunk that takes bytes at OFFSET: the current one if they go on where it ends. */
static struct chunk *chunk_at(struct writer *writer, uint64_t offset)
{
    struct chunk *chunk = writer->current;

    if (chunk != NULL && chunk->size != 0 &&
        (chunk->offset + chunk->size != offset || offset % CHUNK == 0)) {
        hand_over(writer);
        chunk = NULL;
    }
    if (chunk == NULL) {
        chunk = writer->current = idle_chunk(writer);
    }
    if (chunk->size == 0) {
        chunk->offset = offset;
    }
    return chunk;
}

static void add_step(struct chunk *chunk, struct step step)
{
    grow(&chunk->steps, chunk->step_count, &chunk->step_space, sizeof(*chunk->steps));
    chunk->steps[chunk->step_count++] = step;
}

static int put(struct writer *writer, uint64_t offset, const uint8_t *data, size_t size, bool file,
               struct error *err)
{
    while (size != 0) {
        struct chunk *chunk = chunk_at(writer, offset);
        size_t room = CHUNK - (size_t)(offset % CHUNK), here = size < room ? size : room;

        memcpy(chunk->bytes + chunk->size, data, here);
        if (file) {
            add_step(chunk, (struct step){.what = STEP_BYTES, .from = chunk->size, .size = here});
        }
        chunk->size += (uint32_t)here;
        offset += here;
        data += here;
        size -= here;
    }
    return fail_earlier(writer, err);
}

int writer_put(struct writer *writer, uint64_t offset, const void *data, size_t size,
               struct error *err)
{
    return put(writer, offset, data, size, false, err);
}

int writer_put_file(struct writer *writer, uint64_t offset, const void *data, size_t size,
                    struct error *err)
{
    return put(writer, offset, data, size, true, err);
}

/* Any chunk will do for what has no bytes. */
static int step(struct writer *writer, struct step step, struct error *err)
{
    if (writer->current == NULL) {
        writer->current = idle_chunk(writer);
    }
    add_step(writer->current, step);
    if (writer->current->step_count >= STEPS_MAX) {
        hand_over(writer);
    }
    return fail_earlier(writer, err);
}

int writer_hole(struct writer *writer, uint64_t size, struct error *err)
{
    return size == 0 ? 0 : step(writer, (struct step){.what = STEP_HOLE, .size = size}, err);
}

int writer_end_file(struct writer *writer, uint8_t *ret_digest, struct error *err)
{
    return step(writer, (struct step){.what = STEP_END, .digest = ret_digest}, err);
}

int writer_flush(struct writer *writer, struct error *err)
{
    hand_over(writer);
    pthread_mutex_lock(&writer->lock);
    while (writer->busy != 0) {
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    return fail_earlier(writer, err);
}

struct writer *writer_new(int fd, const char *name, struct blocks *blocks)
{
    struct writer *writer = xcalloc(1, sizeof(*writer));

    writer->fd = fd;
    writer->name = name;
    writer->blocks = blocks;
    writer->hash = hash_new();
    writer->block_hash = hash_new();
    writer->file_hash = hash_new();
    (void)pthread_mutex_init(&writer->lock, NULL);
    (void)pthread_cond_init(&writer->changed, NULL);
    errno = pthread_create(&writer->thread, NULL, run, writer);
    writer->running = errno == 0;
    if (!writer->running) {
        int os = errno;

        writer_free(writer);
        errno = os;
        return NULL;
    }
    return writer;
}

/* What nobody flushed nobody wants. */
static void end_thread(struct writer *writer)
{
    struct error ignored = {0};

    pthread_mutex_lock(&writer->lock);
    writer->failed = true;
    pthread_mutex_unlock(&writer->lock);
    (void)writer_flush(writer, &ignored);
    pthread_mutex_lock(&writer->lock);
    writer->closing = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    (void)pthread_join(writer->thread, NULL);
}

void writer_free(struct writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->running) {
        end_thread(writer);
    }
    for (struct chunk *chunk = writer->idle, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk->bytes);
        free(chunk->steps);
        free(chunk);
    }
    hash_free(writer->hash);
    hash_free(writer->block_hash);
    hash_free(writer->file_hash);
    (void)pthread_cond_destroy(&writer->changed);
    (void)pthread_mutex_destroy(&writer->lock);
    free(writer);
}
