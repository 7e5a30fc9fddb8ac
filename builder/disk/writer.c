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
    PIECE = 1 << 20, /* bytes; a piece lies within one such stretch of the disk */
    PIECES = 10,     /* at most under way */
};

/* What the current file gets, in order, for its digest. */
struct step {
    enum { STEP_BYTES, STEP_HOLE, STEP_END } what;
    uint32_t from;   /* bytes: where they begin in the piece */
    uint64_t size;   /* bytes and holes */
    uint8_t *digest; /* end: where it goes */
};

struct piece_of_work {
    uint8_t *bytes; /* PIECE of them */
    uint64_t offset;
    uint32_t size;
    struct step *steps;
    size_t step_count, step_space;
    unsigned left;                 /* lanes that are not done with it */
    struct piece_of_work *next[2]; /* in the queue of each lane */
};

/* One thread and its queue. Pieces go through a lane in order. */
struct lane {
    struct writer *writer;
    pthread_t thread;
    bool running;
    struct piece_of_work *first, *last;
    int (*work)(struct writer *writer, struct piece_of_work *piece, struct hash *hash,
                struct error *err);
};

enum { LANE_WRITE, LANE_FILES, LANES };

struct writer {
    int fd;
    const char *name;
    struct blocks *blocks;
    struct piece_of_work *current;
    struct lane lanes[LANES];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece_of_work *idle; /* linked by next[0] */
    unsigned made, busy;
    bool closing, failed;
    struct error error;
};

/* --- the lanes --------------------------------------------------------------------------- */

/*
 * Blocks of which the piece has only a part are unknown: others write the rest, or nobody. In this
 * lane, so that of two pieces for one block the later one has the last word.
 */
static void forget_edges(struct writer *writer, const struct piece_of_work *piece)
{
    uint64_t end = piece->offset + piece->size;

    if (piece->size != 0 && piece->offset % BLOCK_SIZE != 0) {
        blocks_forget(writer->blocks, piece->offset, 1);
    }
    if (piece->size != 0 && end % BLOCK_SIZE != 0) {
        blocks_forget(writer->blocks, end - 1, 1);
    }
}

/* Whole blocks are digested now. */
static int write_piece(struct writer *writer, struct piece_of_work *piece, struct hash *hash,
                       struct error *err)
{
    uint64_t end = piece->offset + piece->size;
    uint64_t block = (piece->offset + BLOCK_SIZE - 1) / BLOCK_SIZE;
    uint8_t digest[HASH_SIZE];

    forget_edges(writer, piece);
    if (piece->size != 0 &&
        file_pwrite(writer->fd, piece->bytes, piece->size, piece->offset, writer->name, err) < 0) {
        return -1;
    }
    for (; (block + 1) * BLOCK_SIZE <= end; block++) {
        hash_add(hash, piece->bytes + (block * BLOCK_SIZE - piece->offset), BLOCK_SIZE);
        hash_end(hash, digest);
        blocks_set(writer->blocks, block, digest);
    }
    return 0;
}

static int digest_files(struct writer *writer, struct piece_of_work *piece, struct hash *hash,
                        struct error *err)
{
    (void)writer;
    for (size_t i = 0; i < piece->step_count; i++) {
        const struct step *step = &piece->steps[i];

        if (step->what == STEP_BYTES) {
            hash_add(hash, piece->bytes + step->from, step->size);
        } else if (step->what == STEP_END) {
            hash_end(hash, step->digest);
        } else if (hash_zeros(hash, step->size, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The next piece of LANE, NULL when there will be none. */
static struct piece_of_work *lane_take(struct writer *writer, struct lane *lane)
{
    size_t number = (size_t)(lane - writer->lanes);
    struct piece_of_work *piece;

    pthread_mutex_lock(&writer->lock);
    while (lane->first == NULL && !writer->closing) {
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    piece = lane->first;
    if (piece != NULL) {
        lane->first = piece->next[number];
    }
    pthread_mutex_unlock(&writer->lock);
    return piece;
}

static void lane_done(struct writer *writer, struct piece_of_work *piece, const struct error *err)
{
    pthread_mutex_lock(&writer->lock);
    if (err->kind != FAIL_NONE && !writer->failed) {
        writer->failed = true;
        writer->error = *err;
    }
    if (--piece->left == 0) {
        piece->next[0] = writer->idle;
        writer->idle = piece;
        writer->busy--;
    }
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

static void *run_lane(void *data)
{
    struct lane *lane = data;
    struct writer *writer = lane->writer;
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct piece_of_work *piece;

    while ((piece = lane_take(writer, lane)) != NULL) {
        struct error err = {0};

        if (!has_failed(writer)) {
            (void)lane->work(writer, piece, hash, &err);
        }
        lane_done(writer, piece, &err);
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

static struct piece_of_work *idle_piece(struct writer *writer)
{
    struct piece_of_work *piece;

    pthread_mutex_lock(&writer->lock);
    while (writer->idle == NULL && writer->made == PIECES) {
        pthread_cond_wait(&writer->changed, &writer->lock);
    }
    piece = writer->idle;
    if (piece != NULL) {
        writer->idle = piece->next[0];
    } else {
        writer->made++;
    }
    writer->busy++;
    pthread_mutex_unlock(&writer->lock);
    if (piece == NULL) {
        piece = xcalloc(1, sizeof(*piece));
        piece->bytes = xmalloc(PIECE);
    }
    piece->size = 0;
    piece->step_count = 0;
    return piece;
}

static void hand_over(struct writer *writer)
{
    struct piece_of_work *piece = TAKE(writer->current);

    if (piece == NULL) {
        return;
    }
    pthread_mutex_lock(&writer->lock);
    piece->left = LANES;
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &writer->lanes[i];

        piece->next[i] = NULL;
        if (lane->first == NULL) {
            lane->first = piece;
        } else {
            lane->last->next[i] = piece;
        }
        lane->last = piece;
    }
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
}

/* A piece that takes bytes at OFFSET: the current one if they go on where it ends. */
static struct piece_of_work *piece_at(struct writer *writer, uint64_t offset)
{
    struct piece_of_work *piece = writer->current;

    if (piece != NULL && piece->size != 0 &&
        (piece->offset + piece->size != offset || offset % PIECE == 0)) {
        hand_over(writer);
        piece = NULL;
    }
    if (piece == NULL) {
        piece = writer->current = idle_piece(writer);
    }
    if (piece->size == 0) {
        piece->offset = offset;
    }
    return piece;
}

static void add_step(struct piece_of_work *piece, struct step step)
{
    grow(&piece->steps, piece->step_count, &piece->step_space, sizeof(*piece->steps));
    piece->steps[piece->step_count++] = step;
}

static int put(struct writer *writer, uint64_t offset, const uint8_t *data, size_t size, bool file,
               struct error *err)
{
    while (size != 0) {
        struct piece_of_work *piece = piece_at(writer, offset);
        size_t room = PIECE - (size_t)(offset % PIECE), here = size < room ? size : room;

        memcpy(piece->bytes + piece->size, data, here);
        if (file) {
            add_step(piece, (struct step){.what = STEP_BYTES, .from = piece->size, .size = here});
        }
        piece->size += (uint32_t)here;
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

/* Any piece will do for what has no bytes; one full of steps is handed over all the same. */
static int step(struct writer *writer, struct step step, struct error *err)
{
    enum { STEPS_MAX = 4096 };

    if (writer->current == NULL) {
        writer->current = idle_piece(writer);
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
    (void)pthread_mutex_init(&writer->lock, NULL);
    (void)pthread_cond_init(&writer->changed, NULL);
    writer->lanes[LANE_WRITE].work = write_piece;
    writer->lanes[LANE_FILES].work = digest_files;
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &writer->lanes[i];

        int result;

        lane->writer = writer;
        result = pthread_create(&lane->thread, NULL, run_lane, lane);

        if (result != 0) {
            writer_free(writer);
            errno = result;
            return NULL;
        }
        lane->running = true;
    }
    return writer;
}

static void piece_free(struct piece_of_work *piece)
{
    if (piece != NULL) {
        free(piece->bytes);
        free(piece->steps);
        free(piece);
    }
}

void writer_free(struct writer *writer)
{
    struct error ignored = {0};

    if (writer == NULL) {
        return;
    }
    /* What nobody flushed nobody wants. */
    pthread_mutex_lock(&writer->lock);
    writer->failed = true;
    pthread_mutex_unlock(&writer->lock);
    if (writer->lanes[LANES - 1].running) {
        (void)writer_flush(writer, &ignored);
    }
    pthread_mutex_lock(&writer->lock);
    writer->closing = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    for (size_t i = 0; i < LANES; i++) {
        if (writer->lanes[i].running) {
            (void)pthread_join(writer->lanes[i].thread, NULL);
        }
    }
    while (writer->idle != NULL) {
        struct piece_of_work *piece = writer->idle;

        writer->idle = piece->next[0];
        piece_free(piece);
    }
    (void)pthread_cond_destroy(&writer->changed);
    (void)pthread_mutex_destroy(&writer->lock);
    free(writer);
}
