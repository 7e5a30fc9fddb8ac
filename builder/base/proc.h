/* SPDX-License-Identifier: Apache-2.0 */
/* Other programs: an argv and never a shell, the end of stderr in the error, no signal missed. */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"

struct proc {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up by proc_find */
    const char *const *env;  /* NAME=VALUE set on top of the environment; NULL for none */
    struct buf *output;      /* collects stdout; NULL sends it to /dev/null */
    size_t output_max;       /* what comes after so many bytes is dropped; 0: nothing is */
    int input;               /* becomes stdin, borrowed; 0 for /dev/null */
    uint64_t memory_max;     /* bytes of address space; 0 for no limit */
    unsigned timeout_ms;     /* 0 for none */
};

/*
 * The path of an executable: PROGRAM itself when it has a slash, else from PATH, /usr/sbin or /sbin
 * (which an ordinary user's PATH does not name); NULL when there is none. The caller frees it.
 */
char *proc_find(const char *program);

/*
 * Runs PROC to its end. Signals other than SIGKILL reach it unblocked; it is killed when the user
 * interrupts kiln, when its time is up, or when kiln dies. A status other than 0 is an error that
 * ends with the last lines of its stderr; a program that is not there is FAIL_MISSING.
 */
int proc_run(const struct proc *proc, struct error *err);

#endif
