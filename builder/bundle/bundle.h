/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory a build leaves. It is filled beside its final place under a name of its own and
 * renamed at the end, whole or not at all.
 */
#ifndef BUNDLE_BUNDLE_H
#define BUNDLE_BUNDLE_H

#include <stdbool.h>

#include "base/fail.h"
#include "base/scope.h"

struct bundle;

/*
 * Starts the bundle that will be PATH: removes what killed builds of the same PATH left (those
 * whose lock is free), then makes "PATH.partial-XXXXXX", and PATH's parents where they are missing.
 * PATH may exist only with FORCE, and then only as a bundle (it has a manifest.json of kiln's) or
 * an empty directory. Names that begin with a dot are taken inside the unfinished bundle.
 */
int bundle_begin(const char *path, bool force, struct bundle **ret, struct error *err);

/* NAME inside the unfinished bundle: a new string. */
char *bundle_file(const struct bundle *bundle, const char *name);

/* A directory for temporary files, inside the unfinished bundle, gone from the finished one.
 * Borrowed. */
const char *bundle_temporary(const struct bundle *bundle);

/* What publishing leaves in a bundle, the only thing that changes in one: publish/NAME.journal. */
#define BUNDLE_JOURNALS "publish"
#define BUNDLE_JOURNAL ".journal"

/*
 * Puts the bundle in its place, the old one (with FORCE) away, but for its journals: without them
 * what an unfinished publish left in a cloud could not be removed. SYNC waits for the disk first.
 */
int bundle_commit(struct bundle *bundle, bool sync, struct error *err);

/* Removes an uncommitted bundle; NULL is fine. */
void bundle_free(struct bundle *bundle);
SCOPE_DEFINE(bundle, bundle_free)

#endif
