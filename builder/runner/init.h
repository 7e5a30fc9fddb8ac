/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process 1 of the step's process namespace. It mounts what the step sees, makes the image its
 * root, and waits for those whose parents have gone; when it dies, so does everybody.
 */
#ifndef RUNNER_INIT_H
#define RUNNER_INIT_H

#include <sys/types.h>

#include "runner/command.h"
#include "runner/outcome.h"
#include "runner/policy.h"
#include "runner/task.h"

struct init {
    pid_t pid;
    int mounts; /* its mount namespace */
};

/* Starts it; when this returns, its mounts are there. */
int init_start(struct init *init, const struct task *task, const struct command *command,
               const struct policy *policy, struct outcome *outcome);

/* Ends it and all processes of its namespace. The caller has waited for its own other children
 * there, or will wait here for ever. */
void init_stop(struct init *init);

#endif
