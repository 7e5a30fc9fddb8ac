/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The free blocks of one ext4 file system, handed out by a rule that is a function of what was
 * asked for and given back, in order, and of nothing else: data from a cursor that only moves
 * forward (so that files which arrive one after another lie one after another) and starts again
 * from the front when it has come to the end; metadata from a zone of its own, lowest first, so
 * that a directory that grows does not lie among a later layer's data. Either takes from the
 * other's when its own is used up.
 */
#ifndef DISK_SPACE_H
#define DISK_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"

/* Blocks that lie one after another. */
struct run {
    uint64_t block;
    uint64_t count;
};

enum space_use { SPACE_DATA, SPACE_METADATA };

struct space;

/* Metadata's zone is ZONE, within which only what space_free adds is free. */
struct space *space_new(struct run zone);
void space_free(struct space *space);
SCOPE_DEFINE(space, space_free)

/* Adds free blocks, at the beginning; rising. */
void space_add(struct space *space, struct run run);

/* Takes 1 to WANTED (not 0) blocks; false when there is none. */
bool space_take(struct space *space, enum space_use use, uint64_t wanted, struct run *ret);

/* Takes exactly RUN, false unless all of it is free: for a state that is read back. */
bool space_claim(struct space *space, const struct run *runs, size_t count);

/* Gives RUN back; it is not handed out again before space_settle. */
void space_give(struct space *space, struct run run);

/* The runs given back since the last space_settle, sorted and merged; borrowed until then. */
const struct run *space_given(struct space *space, size_t *ret_count);
void space_settle(struct space *space);

/* Where data goes next; saved and restored with a state. */
uint64_t space_cursor(const struct space *space);
void space_set_cursor(struct space *space, uint64_t block);

uint64_t space_free_blocks(const struct space *space);

/* The free runs, sorted; those given back since space_settle are not among them. Borrowed. */
const struct run *space_runs(struct space *space, size_t *ret_count);

#endif
