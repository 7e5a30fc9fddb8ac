/* SPDX-License-Identifier: Apache-2.0 */
/* The package files that a layer's patterns name. */
#ifndef PROFILE_PACKAGES_H
#define PROFILE_PACKAGES_H

#include "profile/problem.h"
#include "profile/profile.h"
#include "profile/yaml.h"

enum { PACKAGES_MAX = 10000 }; /* of a layer */

/*
 * Fills the layer's packages from LIST, patterns of glob(7) that are relative to the file at PATH.
 * A directory stands for the packages directly in it.
 */
void packages_find(struct profile_layer *layer, const struct node *list, const char *path,
                   struct problems *problems);

#endif
