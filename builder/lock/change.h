/* SPDX-License-Identifier: Apache-2.0 */
/* What changed between two locks, for 'kiln lock' to say and people to judge. */
#ifndef LOCK_CHANGE_H
#define LOCK_CHANGE_H

#include "base/fail.h"
#include "lock/lock.h"
#include "ui/ui.h"

struct change {
    const char *what;   /* "disk_format", "seed", "epoch" or "layer" */
    const char *change; /* "added", "removed", "moved", "changed" */
    const struct lock_layer *before,
        *after;                         /* of a layer; borrowed, NULL: it was or is not there */
    size_t before_number, after_number; /* from 1, bottom first; 0: not there */
    char *text; /* for people: "archive 'a.tar' changed: sha256:abcd… → sha256:1234…" */
};

struct changes {
    struct change *items;
    size_t count, space;
};

/*
 * Adds what makes NOW of BEFORE, which may be NULL. A layer is the same one when format and name
 * are; of several that share these, one with the same digest goes first.
 */
void changes_find(const struct lock *before, const struct lock *now, struct changes *changes);
void changes_done(struct changes *changes);

/*
 * Says what changed, a line or JSON object for each, and saves NOW unless nothing did. With CHECK
 * it writes nothing, and any change is FAIL_MISMATCH.
 */
int lock_update(const struct lock *before, const struct lock *now, bool check, struct ui *ui,
                struct error *err);

#endif
