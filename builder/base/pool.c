/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/stop.h"

/* Enough in the ring that a slow item does not hold up the other threads. */
enum { SLOTS_PER_THREAD = 4, CPUS_MAX = 32 };

struct slot {
    void *item;
    bool worked; /* also when that failed: then ERR is filled */
    struct error err;
};

/* Items are numbered: taken <= started <= filled <= taken + slot_count. */
struct run {
    const struct pool *pool;
    pthread_mutex_t lock; /* all that follows, but not what is in an item */
    pthread_cond_t ready; /* an item to work on, or ENDED */
    pthread_cond_t worked;
    struct slot *slots;
    size_t slot_count;
    uint64_t filled, started, taken; /* only the caller's thread changes the first and the last */
    bool ended;                      /* no thread begins another item */
};

struct thread {
    struct run *run;
    unsigned number;
    pthread_t id;
};

unsigned pool_cpus(void)
{
    cpu_set_t set;
    long count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);

    return count < 1 ? 1 : count > CPUS_MAX ? CPUS_MAX : (unsigned)count;
}

static struct slot *slot_of(struct run *run, uint64_t number)
{
    return &run->slots[number % run->slot_count];
}

/* Called and left with the lock held; there is an item to start. */
static void work_one(struct run *run, unsigned thread)
{
    struct slot *slot = slot_of(run, run->started++);

    pthread_mutex_unlock(&run->lock);
    (void)run->pool->work(run->pool->data, thread, slot->item, &slot->err);
    pthread_mutex_lock(&run->lock);
    slot->worked = true;
    pthread_cond_signal(&run->worked);
}

static void *work_on(void *data)
{
    const struct thread *thread = data;
    struct run *run = thread->run;

    pthread_mutex_lock(&run->lock);
    while (!run->ended) {
        if (run->started < run->filled) {
            work_one(run, thread->number);
        } else {
            pthread_cond_wait(&run->ready, &run->lock);
        }
    }
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* The lock is held; it is let go for the caller's function. 1, 0 at the end of items, or -1. */
static int fill_one(struct run *run, struct error *err)
{
    struct slot *slot = slot_of(run, run->filled);
    int result;

    slot->worked = false;
    pthread_mutex_unlock(&run->lock);
    result = run->pool->fill(run->pool->data, slot->item, err);
    pthread_mutex_lock(&run->lock);
    if (result > 0) {
        run->filled++;
        pthread_cond_signal(&run->ready);
    }
    return result;
}

static int take_one(struct run *run, struct error *err)
{
    struct slot *slot = slot_of(run, run->taken);
    int result;

    if (slot->err.kind != FAIL_NONE) {
        *err = slot->err;
        return -1;
    }
    pthread_mutex_unlock(&run->lock);
    result = run->pool->take(run->pool->data, slot->item, err);
    pthread_mutex_lock(&run->lock);
    run->taken++;
    return result;
}

/* What the caller's thread does, with the lock held. */
static int conduct(struct run *run, struct error *err)
{
    bool more = true;
    int result = 0;

    while (result >= 0 && (more || run->taken < run->filled) && (result = stop_check(err)) == 0) {
        if (run->taken < run->filled && slot_of(run, run->taken)->worked) {
            result = take_one(run, err);
        } else if (more && run->filled - run->taken < run->slot_count) {
            result = fill_one(run, err);
            more = result > 0;
        } else if (run->started < run->filled) {
            work_one(run, 0);
        } else {
            pthread_cond_wait(&run->worked, &run->lock);
        }
    }
    return result < 0 ? -1 : 0;
}

/* Where the system gives fewer threads than wanted there are fewer. */
static int run_threads(struct run *run, unsigned count, struct error *err)
{
    SCOPED_FREE struct thread *threads = xcalloc(count, sizeof(*threads));
    unsigned started = 1;
    int result;

    for (; started < count; started++) {
        struct thread *thread = &threads[started];

        *thread = (struct thread){.run = run, .number = started};
        if (pthread_create(&thread->id, NULL, work_on, thread) != 0) {
            break;
        }
    }
    pthread_mutex_lock(&run->lock);
    result = conduct(run, err);
    run->ended = true;
    pthread_cond_broadcast(&run->ready);
    pthread_mutex_unlock(&run->lock);
    for (unsigned i = 1; i < started; i++) {
        (void)pthread_join(threads[i].id, NULL);
    }
    return result;
}

int pool_run(const struct pool *pool, struct error *err)
{
    struct run run = {
        .pool = pool,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ready = PTHREAD_COND_INITIALIZER,
        .worked = PTHREAD_COND_INITIALIZER,
    };
    unsigned count = pool->threads != 0 ? pool->threads : pool_cpus();
    int result;

    run.slot_count = (size_t)count * SLOTS_PER_THREAD;
    run.slots = xcalloc(run.slot_count, sizeof(*run.slots));
    for (size_t i = 0; i < run.slot_count; i++) {
        run.slots[i].item = xmalloc(pool->item_bytes);
    }
    result = run_threads(&run, count, err);
    for (size_t i = 0; i < run.slot_count; i++) {
        free(run.slots[i].item);
    }
    free(run.slots);
    return result;
}
