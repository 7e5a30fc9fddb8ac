/* SPDX-License-Identifier: Apache-2.0 */
#include "http/rate.h"

#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/stop.h"
#include "http/http_internal.h"

/* What may go out at once, after a pause as well as in one piece. */
enum { BURST_MS = 250 };

struct rate {
    uint64_t per_second;
    pthread_mutex_t lock;
    double free_ms; /* when all that was taken so far is paid for, of monotonic_ms */
};

struct rate *rate_new(uint64_t bytes_per_second)
{
    struct rate *rate = xcalloc(1, sizeof(*rate));

    rate->per_second = bytes_per_second != 0 ? bytes_per_second : 1;
    pthread_mutex_init(&rate->lock, NULL);
    return rate;
}

void rate_free(struct rate *rate)
{
    if (rate != NULL) {
        pthread_mutex_destroy(&rate->lock);
        free(rate);
    }
}

uint64_t rate_piece(const struct rate *rate)
{
    uint64_t piece = rate == NULL ? UINT64_MAX : rate->per_second / (1000 / BURST_MS);

    return piece != 0 ? piece : 1;
}

void rate_take(struct rate *rate, uint64_t bytes)
{
    double now = (double)monotonic_ms(), wait;

    if (rate == NULL) {
        return;
    }
    pthread_mutex_lock(&rate->lock);
    if (rate->free_ms < now - BURST_MS) {
        rate->free_ms = now - BURST_MS;
    }
    rate->free_ms += (double)bytes * 1000 / (double)rate->per_second;
    wait = rate->free_ms - now;
    pthread_mutex_unlock(&rate->lock);
    if (wait > 0) {
        stop_sleep(wait < 1e12 ? (uint64_t)wait : (uint64_t)1e12);
    }
}
