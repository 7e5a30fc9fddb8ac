/* SPDX-License-Identifier: Apache-2.0 */
/* A limit of bytes a second over all connections of a publish (--limit-rate). */
#ifndef HTTP_RATE_H
#define HTTP_RATE_H

#include <stdint.h>

#include "base/scope.h"

struct rate;

struct rate *rate_new(uint64_t bytes_per_second);
void rate_free(struct rate *rate);
SCOPE_DEFINE(rate, rate_free)

/* A quarter of a second's worth of bytes, which may go out at once: no thread should ask for more
 * in one piece. At least one. NULL: without limit. */
uint64_t rate_piece(const struct rate *rate);

/* Waits until BYTES more may go out. From any thread; returns early when the user interrupts. NULL:
 * at once. */
void rate_take(struct rate *rate, uint64_t bytes);

#endif
