/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one line the runner says to kiln. It always has a value; a failure, once said, stays, and
 * takes the place of how the step ended: a disk that could not be tidied up is of no use.
 */
#ifndef RUNNER_OUTCOME_H
#define RUNNER_OUTCOME_H

#include <stdbool.h>

struct outcome {
    bool failed;
    char line[600];
};

/* Says how the step ended ("exit 0"), unless a failure was said already. */
void outcome_set(struct outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says "failed TEXT", unless an earlier failure was, and returns -1. Foreign control characters
 * become '?'. */
int outcome_fail(struct outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As outcome_fail, with ": " and the text of errno appended. */
int outcome_fail_os(struct outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
