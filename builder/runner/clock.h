/* SPDX-License-Identifier: Apache-2.0 */
/* The step's wall clock, and the monotonic one that its limits go by. */
#ifndef RUNNER_CLOCK_H
#define RUNNER_CLOCK_H

#include <stdint.h>

#include "runner/outcome.h"

/* Starts the wall clock at EPOCH_S and returns when files get a later time than EPOCH_S and no
 * nanoseconds: so the host can tell what was touched since from what it wrote itself. */
int clock_start(uint64_t epoch_s, struct outcome *outcome);

/* Monotonic milliseconds. */
int64_t clock_ms(void);

void clock_pause(int ms);

#endif
