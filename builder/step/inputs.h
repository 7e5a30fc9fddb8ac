/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What steps get besides the image, on a disk of its own that they cannot write: the runner at /,
 * and below /steps/NUMBER of each step its kind, its script or packages, and what it mounts.
 */
#ifndef STEP_INPUTS_H
#define STEP_INPUTS_H

#include "base/fail.h"
#include "base/hash.h"
#include "profile/profile.h"
#include "step/drive.h"
#include "store/store.h"
#include "ui/ui.h"

/* What a run step's script is called inside, which it can see. */
const char *inputs_script_name(const struct profile_layer *spec);

/*
 * The digest of what the step SPEC is given: script, packages, mounts. STORE, which may be NULL,
 * remembers digests of packages.
 */
int inputs_digest(const struct profile_layer *spec, const struct store *store,
                  uint8_t ret[HASH_SIZE], struct error *err);

/*
 * Writes the inputs of the steps of PROFILE from layer FIRST on to a new drive at PATH; a step's
 * number is its layer's, from 1.
 */
int inputs_write(const struct profile *profile, size_t first, const char *path,
                 const char *temporary, struct ui *ui, struct drive **ret, struct error *err);

#endif
