/* SPDX-License-Identifier: Apache-2.0 */
#include "step/runner.h"

/* RUNNER_PATH comes from the Makefile. */
__asm__(".section .rodata\n"
        "runner_begin:\n"
        ".incbin \"" RUNNER_PATH "\"\n"
        "runner_end:\n"
        ".previous\n");

extern const unsigned char runner_begin[], runner_end[];

const unsigned char *runner_image(size_t *ret_size)
{
    *ret_size = (size_t)(runner_end - runner_begin);
    return runner_begin;
}
