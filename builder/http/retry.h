/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is sent again, and when no more. */
#ifndef HTTP_RETRY_H
#define HTTP_RETRY_H

#include <stdint.h>
#include <time.h>

#include "http/http.h"

/* What a server may make us wait at most. */
enum { RETRY_AFTER_MAX_MS = 120000 };

/* The pause after so many failures (1, 2, …): full jitter, RANDOM / 2^32 of 0.5 s doubled to 30 s.
 */
uint64_t retry_backoff_ms(unsigned failures, uint32_t random);

/* What a reply's Retry-After says, seconds or a date (by the server's clock if the reply tells it,
 * else NOW), capped; 0 when it says nothing. */
uint64_t retry_after_ms(const struct http_reply *reply, time_t now);

#endif
