/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a profile or a lock, collected so that one run shows it all: yaml.c, decode.c
 * and check.c add problems and go on, profile.c and lock.c turn them into one error at the end.
 */
#ifndef PROFILE_PROBLEM_H
#define PROFILE_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/fail.h"
#include "profile/profile.h"

enum {
    PROBLEMS_SHOWN = 20,
    PROBLEMS_KEPT = 256, /* to be put in order; what comes after is only counted */
};

struct problem {
    struct mark mark;
    size_t number; /* the order in which they were found, among those of one place */
    char *message;
};

/* Begins as {.path = …, .noun = …}. */
struct problems {
    const char *path; /* borrowed: the file, for the messages; a mark may name another */
    const char *noun; /* borrowed: what the file is, "profile" or "lock" */
    struct problem *items;
    size_t kept, space;
    size_t count; /* of all that were added */
};

void problems_done(struct problems *problems);

/* True when a further problem would only be counted: no need to look for a good hint. */
bool problems_full(const struct problems *problems);

/* Adds one. The message may hold foreign text: what could fake a line is escaped. */
void problem_add(struct problems *problems, struct mark mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts all of them into ERR, in the order of each file; 0 when there are none. */
int problems_fail(struct problems *problems, struct error *err);

/* "FILE:LINE:COLUMN", for a problem that names a second place. Returns OUT. */
#define PLACE_MAX 128
const char *place(char out[PLACE_MAX], const struct problems *problems, struct mark mark);
#define PLACE(problems, mark) place((char[PLACE_MAX]){0}, (problems), (mark))

/* 'TEXT', escaped, and cut short when it is long. Returns OUT. */
#define QUOTE_MAX 176
const char *quote(char out[QUOTE_MAX], const char *text, size_t size);
#define QUOTE(text, size) quote((char[QUOTE_MAX]){0}, (text), (size))

#endif
