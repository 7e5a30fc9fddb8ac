/* SPDX-License-Identifier: Apache-2.0 */
/* The program of builder/runner/, as bytes: static, for the machine that kiln was built for. */
#ifndef STEP_RUNNER_H
#define STEP_RUNNER_H

#include <stddef.h>

/* Returns the program, RET_SIZE bytes; it is static. */
const unsigned char *runner_image(size_t *ret_size);

#endif
