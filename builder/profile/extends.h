/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile and what it extends, as one tree. Maps merge, key by key; lists are joined, the
 * parent's items first; of two texts the profile's own counts. Every value keeps its place in its
 * file.
 */
#ifndef PROFILE_EXTENDS_H
#define PROFILE_EXTENDS_H

#include <stddef.h>

#include "profile/problem.h"
#include "profile/profile.h"
#include "profile/yaml.h"

/*
 * Reads TEXT, the file at the profile's path, and all that it extends, whose paths PROFILE gets. -1
 * when that leaves no tree to look at. The limits of yaml.h are for all files together.
 */
int extends_read(struct profile *profile, const char *text, size_t size, struct yaml_tree **ret,
                 struct problems *problems);

#endif
