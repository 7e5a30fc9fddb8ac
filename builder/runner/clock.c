/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/clock.h"

#include <errno.h>
#include <sys/time.h>
#include <time.h>

int64_t clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void clock_pause(int ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    (void)nanosleep(&pause, NULL);
}

int clock_start(uint64_t epoch_s, struct outcome *outcome)
{
    struct timeval start = {.tv_sec = (time_t)epoch_s};
    struct timespec now;

    if (settimeofday(&start, NULL) < 0) {
        /* Linux refuses a wall clock behind the monotonic one: an epoch in the first minutes
         * of 1970 is not reached exactly. */
        start.tv_sec = clock_ms() / 1000 + 1;
        if (errno != EINVAL || start.tv_sec < (time_t)epoch_s || settimeofday(&start, NULL) < 0) {
            return outcome_fail_os(outcome, "set the clock");
        }
    }
    do {
        clock_pause(1);
        (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec < start.tv_sec || (now.tv_sec == start.tv_sec && now.tv_nsec == 0));
    return 0;
}
