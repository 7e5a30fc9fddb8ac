/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the first blocks of a tar member as they lie in the stream, for what libarchive's
 * reader of pax headers passes over: global headers, and the sign of times like -0.5.
 */
#ifndef LAYER_PEEK_H
#define LAYER_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"

#define PEEK_SIZE 1024 /* an extended header and the first block of its records */

struct peek {
    uint64_t from; /* offset in the uncompressed stream */
    size_t have;
    char bytes[PEEK_SIZE];
};

/* A member starts at FROM. */
void peek_start(struct peek *peek, uint64_t from);

/* SIZE bytes of the stream from offset AT on; in order, gaps and overlaps do not matter. */
void peek_feed(struct peek *peek, const char *data, size_t size, uint64_t at);

/* Refuses a global header that says more than a comment, as git's archives have. */
int peek_check(const struct peek *peek, const char *label, struct error *err);

/* True when the member's own header gives a time from -1 (exclusive) to 0. */
bool peek_just_before_1970(const struct peek *peek);

#endif
