/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step changes and nobody wants to keep: a list of patterns, and what is left out always.
 * A pattern is an absolute path in which '*' stands for any bytes of one name and '?' for one byte.
 * It leaves out what it names and all below; if it ends in '/', only what is below.
 */
#ifndef CAPTURE_NOISE_H
#define CAPTURE_NOISE_H

#include <stdbool.h>
#include <stddef.h>

/* The list of a step that has none of its own, ended by NULL. */
extern const char *const noise_standard[];

/* What the patterns mean below one directory. */
struct noise {
    const char **rests; /* of patterns that led here; borrowed text */
    size_t count;
    bool all; /* everything below is left out */
};

/* For the root: COUNT PATTERNS (borrowed), NULL for the standard list, and those of always. */
void noise_begin(const char *const *patterns, size_t count, struct noise *ret);

/*
 * True when NAME in the directory of ABOVE is left out, with all below it; else RET is for what is
 * below. RET may be NULL for what is no directory.
 */
bool noise_enter(const struct noise *above, const char *name, struct noise *ret);

/* Also the cleaner for SCOPED(noise_done). */
void noise_done(struct noise *noise);

#endif
