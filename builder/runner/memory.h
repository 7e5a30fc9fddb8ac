/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step's memory. libguestfs starts its kernel with cgroup_disable=memory, so the limit is the
 * machine's: the runner takes what the step shall not have, and when the rest is used up the runner
 * ends the step, or the kernel kills one of its processes, the only ones it may. Files in tmpfs
 * count as well.
 */
#ifndef RUNNER_MEMORY_H
#define RUNNER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runner/outcome.h"

/* What the runner took, and how many processes the kernel had killed by then. */
struct memory {
    void *taken;
    size_t size_bytes;
    uint64_t kills;
};

/* Leaves BYTES for the step, and protects the runner and libguestfs's daemon. */
int memory_limit(struct memory *memory, uint64_t bytes, struct outcome *outcome);

/* Makes the calling process one that the kernel kills first; it cannot take that back. */
int memory_expose(void);

/* Is nothing left, or did the kernel have to kill somebody since memory_limit? */
bool memory_exceeded(const struct memory *memory);

/* Gives back what memory_limit took. */
void memory_release(struct memory *memory);

#endif
