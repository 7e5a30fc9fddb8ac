/* SPDX-License-Identifier: Apache-2.0 */
/* The scratch disk: rewritten by the host before each step and read by it afterwards. */
#ifndef RUNNER_SCRATCH_H
#define RUNNER_SCRATCH_H

#include "runner/outcome.h"

/* Where it is mounted, relative to the inputs' root. */
#define SCRATCH_MOUNT "image"

/* Forgets what the kernel remembers of DEVICE, a whole disk, reads its partition table and mounts
 * its first partition. */
int scratch_mount(const char *device, struct outcome *outcome);

/* Unmounts it and returns when nobody has it any more and all of it is on the disk. */
int scratch_unmount(const char *device, struct outcome *outcome);

#endif
