/* SPDX-License-Identifier: Apache-2.0 */
/* What a step says: read from a FIFO by a thread of its own, kept in a log, shown to who asked. */
#ifndef STEP_TRANSCRIPT_H
#define STEP_TRANSCRIPT_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"
#include "ui/ui.h"

enum {
    TRANSCRIPT_LOG_MAX = 64 << 20,  /* bytes of a log; what comes after is only counted */
    TRANSCRIPT_LINE_MAX = 64 << 10, /* bytes of a line; a longer one becomes several */
};

struct transcript;

/* Makes the FIFO at PATH and reads it from now on. */
int transcript_new(const char *path, struct ui *ui, struct transcript **ret, struct error *err);
void transcript_free(struct transcript *transcript);
SCOPE_DEFINE(transcript, transcript_free)

/* What comes from now on is that of NAME, and goes into the file LOG, escaped. */
int transcript_begin(struct transcript *transcript, const char *name, const char *log,
                     struct error *err);

/*
 * Everything the writer has written by now is read: the log is complete. The last lines, escaped,
 * are appended to TAIL.
 */
int transcript_end(struct transcript *transcript, struct buf *tail, struct error *err);

#endif
