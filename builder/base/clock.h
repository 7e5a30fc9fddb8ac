/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that nobody sets: for how long something took, or may take. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since some moment before kiln began. */
int64_t monotonic_ms(void);

#endif
