/* SPDX-License-Identifier: Apache-2.0 */
/* What a step says: read from a FIFO by a thread of its own, kept in a log, shown to who asked. */
#ifndef STEP_OUTPUT_H
#define STEP_OUTPUT_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"
#include "ui/ui.h"

enum {
    OUTPUT_LOG_MAX = 64 << 20,  /* bytes of a log; what comes after is only counted */
    OUTPUT_LINE_MAX = 64 << 10, /* bytes of a line; a longer one becomes several */
};

struct output;

/* Makes the FIFO at PATH and reads it from now on. */
int output_new(const char *path, struct ui *ui, struct output **ret, struct error *err);
void output_free(struct output *output);
SCOPE_DEFINE(output, output_free)

/* What comes from now on is that of NAME, and goes into the file LOG, escaped. */
int output_begin(struct output *output, const char *name, const char *log, struct error *err);

/*
 * Everything the writer has written by now is read: the log is complete. The last lines, escaped,
 * are appended to TAIL.
 */
int output_end(struct output *output, struct buf *tail, struct error *err);

#endif
