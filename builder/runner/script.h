/* SPDX-License-Identifier: Apache-2.0 */
/* The script of a run step. */
#ifndef RUNNER_SCRIPT_H
#define RUNNER_SCRIPT_H

#include "runner/command.h"

/* Finds the step's one script: executed as it is when it begins with "#!", else read by
 * /bin/sh -e. */
int script_load(struct command *command, const struct task *task, struct outcome *outcome);

/* Copies it into COMMAND_DIRECTORY. */
int script_place(const struct command *command, const struct task *task, int root,
                 struct outcome *outcome);

/* The interpreter that HEAD, the beginning of a script, names; "" without "#!". */
void script_interpreter(const char *head, char interpreter[PATH_MAX]);

#endif
