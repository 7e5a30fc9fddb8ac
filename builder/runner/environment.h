/* SPDX-License-Identifier: Apache-2.0 */
/* The step's environment; kiln(1) documents it, and it is part of what a step's key stands for. */
#ifndef RUNNER_ENVIRONMENT_H
#define RUNNER_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

struct environment {
    char epoch[48];
    const char *words[16]; /* ends with NULL */
};

/* INTERACTIVE: for the shell of --debug-shell. ENVIRONMENT must stay where it is. */
void environment_make(struct environment *environment, uint64_t epoch_s, bool interactive);

#endif
