/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT and SIGTERM. They are blocked in every thread and taken by one that sets a flag and calls
 * whoever can end a blocking call early; the work then fails the ordinary way and cleans up. SIGHUP
 * is taken like them, and any of the three that was ignored at the start (nohup, a job in the
 * background of a script) stays so. SIGPIPE and SIGXFSZ are ignored: the write fails, and says why.
 */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"

/* Starts the thread; call once, before any other thread. */
void stop_init(void);

/* True after the first signal. */
bool stop_requested(void);

/* -1 and "interrupted" after the first signal, else 0: one line for a loop. */
int stop_check(struct error *err);

/* Sleeps so long, or until the first signal. From any thread. */
void stop_sleep(uint64_t ms);

/*
 * WAKE(DATA) is called from the signal thread at the first signal, at once if it has come already;
 * one slot, NULL empties it and returns only when no call is under way.
 */
void stop_wake(void (*wake)(void *data), void *data);

#endif
