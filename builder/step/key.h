/* SPDX-License-Identifier: Apache-2.0 */
/* What a step's content depends on, as one digest: the name of that content in store and lock. */
#ifndef STEP_KEY_H
#define STEP_KEY_H

#include "base/hash.h"
#include "layer/stack.h"
#include "profile/profile.h"

/*
 * The key of PROFILE's layer INDEX, a step: epoch, architecture, the layers below it, whose digests
 * are known, what it is given (INPUTS is inputs_digest's), its memory, and what is left out of it.
 * Neither the time it may take nor the appliance's kernel is in it.
 */
void step_key(const struct profile *profile, const struct stack *stack, size_t index, int64_t epoch,
              const uint8_t inputs[HASH_SIZE], uint8_t ret[HASH_SIZE]);

#endif
