/* SPDX-License-Identifier: Apache-2.0 */
/* A shell at the point of failure, for the user at the host's terminal. */
#ifndef RUNNER_SHELL_H
#define RUNNER_SHELL_H

#include <stdint.h>

#include "runner/init.h"

/* Runs the image's /bin/sh on a new terminal, carries it to and from the host, and returns when
 * either end closes. What goes wrong is nobody's failure: the step's stands. */
void shell_run(const struct init *init, uint64_t epoch_s);

#endif
