/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a profile, bottom to top: each gets the content that was captured when it ran, or
 * runs. All that run share one launch of the appliance; where all are found none is started.
 */
#ifndef STEP_STEPS_H
#define STEP_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"
#include "layer/stack.h"
#include "lock/lock.h"
#include "profile/profile.h"
#include "store/store.h"
#include "ui/ui.h"

struct steps_options {
    const struct profile *profile;
    struct stack *stack;       /* opened; nothing was read */
    const struct lock *lock;   /* what the layers must be; NULL: whatever they are */
    const struct lock *recall; /* with LOOK: says what steps gave, by key; NULL: nobody does */
    int64_t epoch;
    struct store *store;     /* NULL: none */
    bool verify;             /* read all of what the store has before it is used */
    const char *temporary;   /* an existing directory for disks and logs */
    const char *logs;        /* a directory that is made for what steps say; NULL: nowhere */
    const char *layers_from; /* a directory with captured layers; NULL: none */
    const char *save_layers; /* one to save them in; NULL: none */
    bool refresh;            /* run them all again */
    bool look;               /* run none, only find out which would */
    bool shell;              /* a shell where one fails; there is a terminal */
    struct ui *ui;
};

struct steps;

/* True when PROFILE has any. */
bool steps_needed(const struct profile *profile);

/*
 * Gives every step of the stack its content, and every other layer its digest. *RET holds what
 * that lies in, and must stay as long as the stack. A layer that is not what the lock says is
 * FAIL_MISMATCH, a step that fails FAIL_ERROR; nothing is left then but what earlier steps gave.
 */
int steps_resolve(const struct steps_options *options, struct steps **ret, struct error *err);
void steps_free(struct steps *steps);
SCOPE_DEFINE(steps, steps_free)

/* The first step that was not found and did not run, by its layer's index; else their number. */
size_t steps_pending(const struct steps *steps);

#endif
