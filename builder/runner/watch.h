/* SPDX-License-Identifier: Apache-2.0 */
/* The step while it runs: its output, its time, its memory, its end. */
#ifndef RUNNER_WATCH_H
#define RUNNER_WATCH_H

#include <stdint.h>
#include <sys/types.h>

#include "runner/memory.h"
#include "runner/outcome.h"
#include "runner/relay.h"

struct watch {
    pid_t pid; /* the step's first process, a child of ours */
    int64_t deadline_ms;
    const struct memory *memory;
    struct relay *output;
};

/* Waits until the step has ended or must end, kills what there is of it, and says which. */
int watch_step(struct watch *watch, struct outcome *outcome);

#endif
