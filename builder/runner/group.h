/* SPDX-License-Identifier: Apache-2.0 */
/* The control group of the step's processes: how many they may be, who is left, and their end. */
#ifndef RUNNER_GROUP_H
#define RUNNER_GROUP_H

#include <stdbool.h>
#include <stddef.h>

#include "runner/outcome.h"

/* Makes the group. Returns a descriptor; a process that writes "0" to it is in the group, and so
 * is what it starts. */
int group_make(struct outcome *outcome);

/* Kills all processes of the group, even while they fork, and waits for their end. */
int group_kill(struct outcome *outcome);

bool group_is_empty(void);

/* The names of its processes, with blanks between, as printable ASCII; as many as fit. */
void group_names(char *names, size_t size);

void group_remove(void);

#endif
