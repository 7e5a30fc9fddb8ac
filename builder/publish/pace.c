/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/pace.h"

enum { PAUSE_MS = 1000 }; /* between two halvings, at least */

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

void pace_done(struct pace *pace, uint64_t throttled, uint64_t now_ms, uint64_t duration_ms)
{
    if (throttled != pace->throttled) {
        pace->throttled = throttled;
        pace->successes = 0;
        halve(pace, now_ms, duration_ms);
        return;
    }
    pace->successes++;
    if (pace->successes >= pace->limit && pace->limit < pace->max) {
        pace->limit++;
        pace->successes = 0;
    }
}
