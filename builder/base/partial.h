/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unfinished directories: "NAME.partial-XXXXXX" beside the place they will be renamed to. Their
 * maker holds the lock inside, so that what a killed one left is known by its lock being free.
 *
 *     mkdtemp("DIR/NAME.partial-XXXXXX"); partial_lock(…); fill it; rename(…);
 */
#ifndef BASE_PARTIAL_H
#define BASE_PARTIAL_H

#include <stdbool.h>

#include "base/fail.h"

#define PARTIAL_TEMPLATE ".partial-XXXXXX" /* for mkdtemp */
#define PARTIAL_LOCK ".lock"               /* its name inside */

/* flock of kind OPERATION, again after a signal: 0, or -1 with errno. */
int partial_flock(int fd, int operation);

/* Makes the lock of DIR and takes it, for as long as *RET_FD is open. */
int partial_lock(const char *dir, int *ret_fd, struct error *err);

/* True when NAME is that of something unfinished that would be called OF; NULL: anything. */
bool partial_is_name(const char *name, const char *of);

/*
 * Removes what killed processes of this user left of OF (NULL: of anything) in PARENT. One that
 * cannot be listed has nothing of ours to be seen.
 */
int partial_sweep(const char *parent, const char *of, struct error *err);

#endif
