/* SPDX-License-Identifier: Apache-2.0 */
/* What a step executes: its script, or the image's package manager. */
#ifndef RUNNER_COMMAND_H
#define RUNNER_COMMAND_H

#include <limits.h>
#include <stdbool.h>

#include "runner/outcome.h"
#include "runner/task.h"

struct command {
    char **argv;                /* allocated; argv[0] is a path of the image */
    bool packages;              /* the step's packages are wanted at COMMAND_PACKAGES */
    char script[NAME_MAX + 1];  /* its name, "" when there is none */
    char interpreter[PATH_MAX]; /* that of its first line, "" when there is none */
};

/* Where things are in the step. */
#define COMMAND_DIRECTORY "/run/kiln"
#define COMMAND_PACKAGES COMMAND_DIRECTORY "/packages"

/* Reads what TASK is, for the image whose root is ROOT. */
int command_load(struct command *command, const struct task *task, int root,
                 struct outcome *outcome);

/* Puts what it needs into COMMAND_DIRECTORY; for the step's mount namespace, after mounts_make. */
int command_place(const struct command *command, const struct task *task, int root,
                  struct outcome *outcome);

/* Says that executing it failed with errno OS. */
void command_failed(const struct command *command, int root, int os, struct outcome *outcome);

#endif
