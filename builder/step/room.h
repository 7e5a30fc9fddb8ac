/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The appliance in which steps run: one launch for all steps of a build. It has two drives, the
 * inputs (read-only, with the runner, a program of kiln's own) and the scratch disk, which the host
 * writes anew before each step and reads afterwards; only the runner ever mounts that.
 */
#ifndef STEP_ROOM_H
#define STEP_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"
#include "ui/ui.h"

struct room_options {
    const char *inputs, *scratch; /* raw disks */
    const char *temporary;        /* an existing directory */
    uint64_t memory_bytes;        /* the most that a step may have */
    bool shell;                   /* one where a step failed; there is a terminal */
    struct ui *ui;
};

struct room;

int room_open(const struct room_options *options, struct room **ret, struct error *err);

/* One step: what the runner is told of it. */
struct room_step {
    const char *name; /* for the user */
    unsigned number;  /* /steps/NUMBER on the inputs */
    int64_t epoch;    /* where the clock starts */
    unsigned timeout_s;
    uint64_t memory_bytes;
    const char *log; /* path of the file for its output */
};

/*
 * Runs a step. On success the scratch disk is unmounted and flushed. A step that fails is
 * FAIL_ERROR with its name, how it ended and its last lines; the room can be used for another one
 * unless the appliance is gone, in which case that fails too.
 */
int room_run(struct room *room, const struct room_step *step, struct error *err);

/* Shuts the appliance down and checks that it went well. */
int room_close(struct room *room, struct error *err);

/* Ends what still runs; NULL is fine. */
void room_free(struct room *room);
SCOPE_DEFINE(room, room_free)

/*
 * What the runner's line RESULT says of STEP, with TAIL, the escaped last lines of its output: 0
 * when the step succeeded. The line comes from where a hostile step has been.
 */
int room_judge(const struct room_step *step, const char *result, const char *tail,
               struct error *err);

#endif
