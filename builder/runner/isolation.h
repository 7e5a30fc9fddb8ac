/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces the step lives in. */
#ifndef RUNNER_ISOLATION_H
#define RUNNER_ISOLATION_H

#include "runner/outcome.h"

/* Unshares mounts, network, IPC and host name, and the processes of every child from now on. */
int isolation_enter(struct outcome *outcome);

/* Makes the mount whose root directory is ROOT that of the caller's own mount namespace, on top of
 * everything else there. */
int isolation_set_root(int root, struct outcome *outcome);

#endif
