/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/pace.h"

#include <stdbool.h>

enum {
    PAUSE_MS = 1000, /* between two halvings, at least */
    SLOWER = 3,      /* times the quickest: a round that took longer than this found no more room */
};

void pace_init(struct pace *pace, unsigned start, unsigned max, uint64_t throttled)
{
    max = max != 0 ? max : 1;
    start = start != 0 ? start : 1;
    *pace = (struct pace){.limit = start < max ? start : max, .max = max, .throttled = throttled};
}

static void halve(struct pace *pace, uint64_t now_ms, uint64_t duration_ms)
{
    uint64_t pause_ms = duration_ms > PAUSE_MS ? duration_ms : PAUSE_MS;

    if (pace->halved_ms == 0 || now_ms - pace->halved_ms >= pause_ms) {
        pace->limit = pace->limit > 1 ? pace->limit / 2 : 1;
        pace->halved_ms = now_ms;
    }
}

static void begin_round(struct pace *pace)
{
    pace->successes = 0;
    pace->round_ms = 0;
}

void pace_done(struct pace *pace, uint64_t throttled, uint64_t now_ms, uint64_t duration_ms)
{
    if (throttled != pace->throttled) {
        pace->throttled = throttled;
        begin_round(pace);
        halve(pace, now_ms, duration_ms);
        return;
    }
    duration_ms = duration_ms != 0 ? duration_ms : 1; /* the clock's least */
    pace->best_ms = pace->best_ms == 0 || duration_ms < pace->best_ms ? duration_ms : pace->best_ms;
    pace->round_ms += duration_ms;
    pace->successes++;
    if (pace->successes >= pace->limit) {
        bool room = pace->round_ms <= SLOWER * pace->best_ms * pace->successes;

        pace->limit += room && pace->limit < pace->max ? 1 : 0;
        begin_round(pace);
    }
}
