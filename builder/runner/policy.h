/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /usr/sbin/policy-rc.d: Debian's maintainer scripts ask it before they start a service, and during
 * a step it says no. (invoke-rc.d(8), /usr/share/doc/init-system-helpers/README.policy-rc.d.gz)
 */
#ifndef RUNNER_POLICY_H
#define RUNNER_POLICY_H

#include <stdbool.h>
#include <sys/types.h>

#include "runner/outcome.h"

struct policy {
    int directory; /* -1: the image has no /usr/sbin */
    bool made;     /* the image has no policy of its own */
    ino_t inode;
};

/* Makes the file, where the image, whose root is ROOT, has a place and none of its own. */
int policy_make(struct policy *policy, int root, struct outcome *outcome);

/* Covers the image's own with ours; for the step's mount namespace, after mounts_make. */
int policy_cover(const struct policy *policy, int root, struct outcome *outcome);

/* Removes the file that was made, unless the step has replaced it. */
void policy_remove(struct policy *policy);

#endif
