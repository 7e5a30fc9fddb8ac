/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on what somebody hostile has written, in a process that can do little harm if he takes it
 * over: no files but those it is given, no new ones, no processes, no signals, no network, and an
 * end to memory and time.
 *
 *     static int work(void *data, void *result, struct error *err) { … }
 *     confine_run(&(struct confine){.what = "reading its disk", .fds = &fd, .fd_count = 1,
 *                                   .work = work, .data = …, .result = &…, .result_size = …}, err);
 */
#ifndef CAPTURE_CONFINE_H
#define CAPTURE_CONFINE_H

#include <stddef.h>

#include "base/fail.h"

/* With AddressSanitizer there is neither a filter nor an end to memory: it needs more of both. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CONFINE_SANITIZED 1
#endif

/* Bytes that the work may take beyond what the process has already. */
#define CONFINE_MEMORY (1ULL << 30)

struct confine {
    const char *what; /* for messages: "reading its disk" */
    const int *fds;   /* to read from and write to; all others are closed */
    size_t fd_count;
    unsigned cpu_s;  /* at most so many seconds of computing, */
    unsigned wall_s; /* and so many of the clock: one that waits has no other end */
    int (*work)(void *data, void *result, struct error *err);
    void *data;
    void *result; /* what WORK fills there is here afterwards; worth what the process is */
    size_t result_size;
};

/*
 * Runs WORK, and ends it when the user interrupts. The system calls that are left are those of
 * reading, writing and memory: one of another kind, a crash, or the end of what it may take is an
 * error, as is what WORK fails with.
 */
int confine_run(const struct confine *confine, struct error *err);

#endif
