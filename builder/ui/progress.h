/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a progress line says: pure text, no terminal and no clock. For ui.c, and for tests.
 */
#ifndef UI_PROGRESS_H
#define UI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Where a phase stands. The strings are foreign: whatever is made of them comes out escaped. */
struct progress {
    const char *phase;
    const char *item; /* NULL: none */
    uint64_t done_bytes;
    uint64_t total_bytes; /* 0: not known */
    uint64_t elapsed_ms;
};

/*
 * Appends "writing disk: base.tar.zst  12 MiB of 40 MiB (30%)  6 MiB/s  0:05 left", at most WIDTH
 * columns of it (0: as long as it gets). The item gives way first, then the end of the line.
 */
void progress_line(struct buf *buf, const struct progress *progress, unsigned width);

/* Appends what stays of a finished phase: "writing disk: 40 MiB in 6.1 s, 6.6 MiB/s". */
void progress_done(struct buf *buf, const struct progress *progress);

/*
 * How many bytes of TEXT (escaped before, UTF-8) fit into WIDTH columns, whole characters only;
 * *RET_COLUMNS is what they take.
 */
size_t progress_fit(const char *text, size_t size, unsigned width, unsigned *ret_columns);

#endif
