/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/sender.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/stop.h"
#include "publish/pace.h"

enum {
    BATCH_BLOCKS = 64, /* journaled at once */
    BATCH_MS = 2000,   /* or after so long */
    THREADS_MAX = 256,
};

struct crew {
    const struct sender *sender;
    uint64_t *blocks; /* that are still to be sent */
    size_t count;
    pthread_mutex_t lock;   /* all that follows */
    pthread_cond_t changed; /* a higher limit, or the end */
    struct pace pace;
    size_t next; /* of the blocks */
    bool failed;
    struct error *err; /* of the first that failed */
    uint64_t up[BATCH_BLOCKS];
    size_t up_count; /* sent, not yet in the journal */
    uint64_t journaled_ms;
};

struct worker {
    struct crew *crew;
    unsigned number; /* works while it is below the limit, so that memory follows the limit, too */
    pthread_t thread;
};

static uint64_t throttled(const struct crew *crew)
{
    return crew->sender->http != NULL ? http_throttled(crew->sender->http) : 0;
}

/* ---- with the lock held ---- */

static void set_failed(struct crew *crew, const struct error *err)
{
    if (!crew->failed) {
        crew->failed = true;
        *crew->err = *err;
    }
}

/* Waits for this worker's turn; false at the end. */
static bool take_block(struct crew *crew, unsigned number, uint64_t *ret)
{
    while (!crew->failed && crew->next < crew->count && number >= crew->pace.limit) {
        pthread_cond_wait(&crew->changed, &crew->lock);
    }
    if (crew->failed || crew->next == crew->count) {
        pthread_cond_broadcast(&crew->changed);
        return false;
    }
    *ret = crew->blocks[crew->next++];
    return true;
}

/* Takes what is to be journaled now, at most BATCH_BLOCKS, off the crew. */
static size_t take_batch(struct crew *crew, bool all, uint64_t ret[BATCH_BLOCKS])
{
    uint64_t now = monotonic_ms();
    size_t count = crew->up_count;

    if (!all && count < BATCH_BLOCKS && now - crew->journaled_ms < BATCH_MS) {
        return 0;
    }
    memcpy(ret, crew->up, count * sizeof(*ret));
    crew->up_count = 0;
    crew->journaled_ms = now;
    return count;
}

/* ---- a worker ---- */

static int send_block(const struct sender *sender, uint64_t block, void *buffer, struct error *err)
{
    const struct reader *bundle = sender->pub->bundle;

    if (stop_check(err) < 0) {
        return -1;
    }
    if (reader_block(bundle, block, buffer, err) < 0) {
        return -1; /* which says where */
    }
    if (sender->put(sender->data, block, buffer, bundle->digests[block], err) < 0) {
        return fail_while(err, "block %" PRIu64, block);
    }
    return 0;
}

/* Counts BLOCK as sent, and journals it with others when it is time. */
static int finish_block(struct crew *crew, uint64_t block, uint64_t start_ms, struct error *err)
{
    uint64_t batch[BATCH_BLOCKS], now = monotonic_ms(), answers = throttled(crew);
    unsigned limit;
    size_t count;

    pthread_mutex_lock(&crew->lock);
    limit = crew->pace.limit;
    pace_done(&crew->pace, answers, now, now - start_ms);
    if (crew->pace.limit > limit) {
        pthread_cond_broadcast(&crew->changed);
    }
    crew->up[crew->up_count++] = block;
    count = take_batch(crew, false, batch);
    pthread_mutex_unlock(&crew->lock);
    return count == 0 ? 0 : journal_add_blocks(crew->sender->pub->journal, batch, count, err);
}

static void *work(void *data)
{
    struct worker *worker = data;
    struct crew *crew = worker->crew;
    SCOPED_FREE void *buffer = NULL;
    uint64_t block = 0;

    for (;;) {
        struct error err = {0};
        uint64_t start = monotonic_ms();
        bool more;

        pthread_mutex_lock(&crew->lock);
        more = take_block(crew, worker->number, &block);
        pthread_mutex_unlock(&crew->lock);
        if (!more) {
            return NULL;
        }
        buffer = buffer != NULL ? buffer : xmalloc(BLOCK_SIZE);
        if (send_block(crew->sender, block, buffer, &err) < 0 ||
            finish_block(crew, block, start, &err) < 0) {
            pthread_mutex_lock(&crew->lock);
            set_failed(crew, &err);
            pthread_mutex_unlock(&crew->lock);
        }
    }
}

/* The caller's thread is the first one: it is there whatever the system has no room for. */
static void run_workers(struct crew *crew, unsigned count)
{
    struct worker *workers = xcalloc(count, sizeof(*workers));
    unsigned started = 1;

    for (unsigned i = 0; i < count; i++) {
        workers[i] = (struct worker){.crew = crew, .number = i};
    }
    while (started < count &&
           pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0) {
        started++;
    }
    (void)work(&workers[0]);
    while (started > 1) {
        (void)pthread_join(workers[--started].thread, NULL);
    }
    free(workers);
}

/* ---- interface ---- */

/* Those that the journal has not. It is asked once, for it may be busy with the disk. */
static void find_missing(struct crew *crew)
{
    const struct sender *sender = crew->sender;

    crew->blocks = xcalloc(sender->count, sizeof(*crew->blocks));
    for (size_t i = 0; i < sender->count; i++) {
        if (!journal_has_block(sender->pub->journal, sender->blocks[i])) {
            crew->blocks[crew->count++] = sender->blocks[i];
        }
    }
}

/* What was sent is known to the next run, however this one ends. */
static int journal_rest(struct crew *crew, struct error *err)
{
    struct error second = {0};
    uint64_t batch[BATCH_BLOCKS];
    size_t count = take_batch(crew, true, batch);

    if (count == 0) {
        return 0;
    }
    return journal_add_blocks(crew->sender->pub->journal, batch, count,
                              crew->failed ? &second : err);
}

static int send_missing(struct crew *crew, struct error *err)
{
    const struct sender *sender = crew->sender;
    unsigned threads = sender->max < THREADS_MAX ? sender->max : THREADS_MAX;
    int result;

    threads = crew->count < threads ? (unsigned)crew->count : threads;
    pace_init(&crew->pace, sender->start, threads, throttled(crew));
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    run_workers(crew, threads != 0 ? threads : 1);
    result = journal_rest(crew, err);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    return crew->failed ? -1 : result;
}

int sender_run(const struct sender *sender, struct error *err)
{
    struct crew crew = {.sender = sender, .err = err, .journaled_ms = monotonic_ms()};
    int result = 0;

    find_missing(&crew);
    publication_expect(sender->pub, crew.count * BLOCK_SIZE);
    if (crew.count != 0) {
        result = send_missing(&crew, err);
    }
    free(crew.blocks);
    return result;
}
