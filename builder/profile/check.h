/* SPDX-License-Identifier: Apache-2.0 */
/* What no single field can tell: whether a decoded profile makes sense as a whole. */
#ifndef PROFILE_CHECK_H
#define PROFILE_CHECK_H

#include "profile/problem.h"
#include "profile/profile.h"
#include "profile/yaml.h"

/*
 * Completes and checks the layers that decoded well: what kind each is, where its source lies and
 * whether it can be read.
 */
void check_layers(struct profile *profile, const struct node *root, struct problems *problems);

/* Checks the disk, if all of it decoded well. FIRMWARE holds its default already. */
void check_disk(const struct profile *profile, const struct node *root, struct problems *problems);

/* Checks the targets that decoded well against the disk. FIRMWARE holds its default already. */
void check_targets(const struct profile *profile, const struct node *root,
                   struct problems *problems);

#endif
