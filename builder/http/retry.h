/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is sent again, and when no more. */
#ifndef HTTP_RETRY_H
#define HTTP_RETRY_H

#include <stdint.h>
#include <time.h>

#include "http/http.h"

/* What a server may make us wait at most. */
enum { RETRY_AFTER_MAX_MS = 120000 };

/* Most of a pause after so many failures (1, 2, …): 0.5 s doubled to 30 s. */
uint64_t retry_backoff_ms(unsigned failures);

/* What a reply's Retry-After says, seconds or a date (by the server's clock if the reply tells it,
 * else NOW), capped; 0 when it says nothing. */
uint64_t retry_after_ms(const struct http_reply *reply, time_t now);

struct retry {
    unsigned failures, tries;     /* TRIES 0: any number */
    int64_t since_ms, now_ms;     /* when something last went well, or first failed */
    uint64_t give_up_ms, told_ms; /* TOLD: by Retry-After; 0: it was not */
};

/*
 * How long to wait before the next attempt: RANDOM / 2^32 of the backoff (full jitter), at least as
 * told, at most until the time is up, so that one attempt is made then. -1: there is none.
 */
int64_t retry_pause_ms(const struct retry *retry, uint32_t random);

#endif
