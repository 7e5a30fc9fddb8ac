/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items made in order, worked on by several threads at once, and taken in the order they were made:
 * what comes out does not depend on how many threads there are. Items wait in a ring of a few for
 * each thread, so memory does not follow their number.
 *
 * The caller's thread fills and takes, and works when neither can go on; the other threads only
 * work. So FILL and TAKE need no lock, and one thread alone goes the same way as many.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

#include "base/fail.h"

struct pool {
    unsigned threads;  /* the caller's counts; 0: pool_cpus() */
    size_t item_bytes; /* an item is that much memory; it is used again, and not cleared */
    void *data;        /* for the functions */

    /* The next item: 1 when there is one, 0 when there are no more, -1 on error. */
    int (*fill)(void *data, void *item, struct error *err);

    /*
     * On any thread, beside other items. THREAD is below the number of threads and belongs to one
     * of them: for whatever a thread needs of its own.
     */
    int (*work)(void *data, unsigned thread, void *item, struct error *err);

    /* In the order of fill. */
    int (*take)(void *data, void *item, struct error *err);
};

/* How many CPUs this process may run on, at most a bound that keeps rings small; 1 at least. */
unsigned pool_cpus(void);

/*
 * Runs until fill has no more and everything is taken. -1 when the user interrupts and at the first
 * error, that of work not before its item would be taken; so the error, too, does not depend on the
 * threads. No function is running any more when it returns.
 */
int pool_run(const struct pool *pool, struct error *err);

#endif
