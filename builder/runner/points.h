/* SPDX-License-Identifier: Apache-2.0 */
/* Mount points the image does not have: made for the step, and no trace of them afterwards. */
#ifndef RUNNER_POINTS_H
#define RUNNER_POINTS_H

#include <stddef.h>

#include "runner/outcome.h"

struct point;

/* Starts out as zeros. */
struct points {
    struct point *made;
    size_t count;
};

/* Makes what is missing of the directory PATH inside ROOT and remembers it in POINTS; with NULL,
 * what is made there goes away by itself. */
int points_make(struct points *points, int root, const char *path, struct outcome *outcome);

/* Removes what was made, where it is still empty. */
void points_remove(struct points *points);

#endif
