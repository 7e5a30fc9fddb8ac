/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a process of the image in the step's namespaces. */
#ifndef RUNNER_PROCESS_H
#define RUNNER_PROCESS_H

#include <sys/types.h>

#include "runner/outcome.h"

struct process {
    char *const *argv;
    const char *const *environment;
    int mounts;   /* the step's mount namespace */
    int group;    /* of group_make, or -1: no limits */
    int output;   /* stdout and stderr, or -1 */
    int terminal; /* the controlling terminal, stdin, stdout and stderr, or -1 */
};

/* Returns its pid once it executes its program. Else returns -1: with errno in *RET_EXEC when it
 * was executing that failed, with 0 there and OUTCOME filled otherwise. */
pid_t process_start(const struct process *process, int *ret_exec, struct outcome *outcome);

#endif
