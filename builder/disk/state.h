/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of an eager engine: the disk and the tree as they are after a number of layers, kept in
 * the store under the digests of those layers and everything else that shaped them. A build starts
 * from the longest such prefix of its own layers. It makes the build faster and nothing else: what
 * is not there, or not whole, is built again, and what cannot be saved is mentioned.
 */
#ifndef DISK_STATE_H
#define DISK_STATE_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"
#include "disk/disk.h"
#include "disk/engine.h"

struct state;

/* For one build, which reads DISK's layers; DISK->store is there. */
struct state *state_new(const struct disk *disk, const struct engine_ops *ops);
void state_free(struct state *state);
SCOPE_DEFINE(state, state_free)

/*
 * Looks for a state to start from: 1, and the stack goes on after it; *RET_ENGINE holds what engine
 * load wants. 0: there is none.
 */
int state_find(struct state *state, struct buf *ret_engine, struct error *err);

/*
 * Puts the data of the state found into the disk file, on which the engine has begun (what it wrote
 * is in the state as well, and written to a file with much data not on the disk yet it takes long:
 * libext2fs waits for all of it). disk->blocks knows its digests then.
 */
int state_copy(struct state *state, struct error *err);

/*
 * The state found is of no use, as ERR says, which is emptied: it is removed, unless there was just
 * no room for it, and so is the disk file; nothing is read. -1 only when the build must end.
 */
int state_reject(struct state *state, struct error *err);

/* Layer INDEX is settled on the disk: saves the state where one is worth it. */
int state_layer(struct state *state, const struct engine *engine, size_t index, struct error *err);

#endif
