/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error object. It lives on the caller's stack, owns no memory and is passed as the last
 * argument; a function that fails fills it and returns -1. It is filled once, may gain context
 * while the stack unwinds, and is printed once, by main.c.
 *
 * Message grammar: lower case, "outer: inner: cause", foreign strings in single quotes, no full
 * stop. What to do about it goes into the hint. Text is escaped where it is printed, not here, and
 * a message is one line: a newline in it is foreign. The one exception is fail_lines.
 */
#ifndef BASE_FAIL_H
#define BASE_FAIL_H

#include <stdbool.h>

/* The value of a kind is the exit status it leads to. */
enum fail_kind {
    FAIL_NONE = 0,
    FAIL_ERROR = 1,     /* the work could not be done */
    FAIL_USAGE = 2,     /* the command line or the profile is wrong */
    FAIL_MISSING = 3,   /* a tool or the appliance is missing or unusable */
    FAIL_MISMATCH = 4,  /* a digest differs from the one pinned */
    FAIL_REMOTE = 5,    /* a server refused or failed */
    FAIL_STOPPED = 130, /* SIGINT or SIGTERM */
};

struct error {
    enum fail_kind kind;
    int os;     /* errno, 0 when the cause is not the system's */
    bool lines; /* the newlines of the message are kiln's own */
    char message[8192];
    char hint[1024];
};

/* Fills ERR (which must be empty) and returns -1. */
int fail(struct error *err, enum fail_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As fail, for a text of several lines whose foreign parts the caller has escaped already. */
int fail_lines(struct error *err, enum fail_kind kind, const char *text);

/* As fail(FAIL_ERROR), with ": " and the text of errno appended. */
int fail_os(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message of a filled ERR and returns -1. */
int fail_while(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sets the hint of a filled ERR, unless a deeper one is there already, and returns -1. */
int fail_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit status for a failure: never that of success, whatever ERR says. */
int fail_status(const struct error *err);

/* Empties ERR, for a caller that deals with the failure itself. */
void fail_clear(struct error *err);

#endif
