/* SPDX-License-Identifier: Apache-2.0 */
/* What the step sees besides the image's own files. */
#ifndef RUNNER_MOUNTS_H
#define RUNNER_MOUNTS_H

#include "runner/outcome.h"
#include "runner/points.h"
#include "runner/task.h"

/* Makes the mount points that the image, whose root directory is ROOT, does not have. */
int mounts_prepare(const struct task *task, int root, struct points *points,
                   struct outcome *outcome);

/* Mounts /proc, /sys, /dev and /run (with /run/kiln), and the step's own mounts read-only. For the
 * process 1 of the step, in its own mount namespace. */
int mounts_make(const struct task *task, int root, struct outcome *outcome);

/* Mounts the file or directory SOURCE read-only at TARGET inside ROOT, and closes SOURCE; a SOURCE
 * of -1 fails with errno. */
int mounts_bind(int source, int root, const char *target, struct outcome *outcome);

#endif
