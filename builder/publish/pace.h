/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests go at once: one more after each round that went well, half as many when the
 * server says that it is too much. The answers of one crowd count once, for they were on their way
 * together. A round in which each took much longer than the quickest ever did went no better than
 * with fewer at once: where line, server or processor is full, more of them only wait and take
 * memory.
 */
#ifndef PUBLISH_PACE_H
#define PUBLISH_PACE_H

#include <stdint.h>

struct pace {
    unsigned limit, max;
    unsigned successes; /* of this round */
    uint64_t round_ms;  /* what they took together */
    uint64_t best_ms;   /* the quickest so far; 0: none yet */
    uint64_t throttled; /* as http_throttled said last */
    uint64_t halved_ms; /* when */
};

/* START is brought into 1 to MAX. */
void pace_init(struct pace *pace, unsigned start, unsigned max, uint64_t throttled);

/*
 * One request is through at NOW_MS, which took DURATION_MS; THROTTLED answers were counted so far.
 * What was asked before the limit was halved last says nothing new.
 */
void pace_done(struct pace *pace, uint64_t throttled, uint64_t now_ms, uint64_t duration_ms);

#endif
