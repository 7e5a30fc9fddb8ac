/* SPDX-License-Identifier: Apache-2.0 */
/* What kiln asks for: the command line. */
#ifndef RUNNER_TASK_H
#define RUNNER_TASK_H

#include <stdbool.h>
#include <stdint.h>

struct task {
    const char *step;   /* the step's directory, relative to the inputs' root */
    const char *device; /* the scratch disk, whole */
    uint64_t epoch_s, timeout_s, memory_bytes;
    bool shell; /* open one when the step fails */
};

/* Reads STEP_DIR DEVICE EPOCH_S TIMEOUT_S MEMORY_BYTES shell|-, strictly; the strings are borrowed.
 * Returns -1 when ARGV is anything else. */
int task_parse(int argc, char **argv, struct task *ret_task);

#endif
