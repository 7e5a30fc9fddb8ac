/* SPDX-License-Identifier: Apache-2.0 */
/* What a step's content depends on, as one digest: the name of that content in store and lock. */
#ifndef STEP_KEY_H
#define STEP_KEY_H

#include "base/fail.h"
#include "base/hash.h"
#include "layer/stack.h"
#include "profile/profile.h"
#include "store/store.h"

/*
 * The key of PROFILE's layer INDEX, a step: epoch, architecture, the layers below it, whose digests
 * are known, what it is given, its memory, and what is left out of it. Neither the time it may take
 * nor the appliance's kernel is in it. STORE may be NULL.
 */
int step_key(const struct profile *profile, const struct stack *stack, size_t index, int64_t epoch,
             const struct store *store, uint8_t ret[HASH_SIZE], struct error *err);

#endif
