/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publish engine: the targets of a bundle side by side, each with a journal of its own, so that
 * a failure of one costs no other anything and running it again does only what is missing.
 */
#ifndef PUBLISH_PUBLISH_H
#define PUBLISH_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "publish/cloud.h"
#include "ui/ui.h"

struct publish_options {
    const char *bundle;                /* its directory */
    const char *targets;               /* names, comma-separated; NULL: all that the bundle has */
    const char *parent;                /* another bundle; NULL: what was published last */
    bool full;                         /* everything is sent */
    uint64_t limit_rate;               /* bytes a second over all targets; 0: none */
    unsigned give_up_s;                /* how long nothing may succeed; 0: 300 */
    const struct cloud *const *clouds; /* by enum cloud_kind */
};

/* Publishes; FAIL_REMOTE when some targets failed, their own kind when all failed alike. */
int publish_run(const struct publish_options *options, struct ui *ui, struct error *err);

/* Shows what it would do, without network, credentials or anything written. */
int publish_plan(const struct publish_options *options, struct ui *ui, struct error *err);

/* Shows the bundle's journals. */
int publish_status(const struct publish_options *options, struct ui *ui, struct error *err);

/* Removes from the clouds what unfinished publishes left. */
int publish_abort(const struct publish_options *options, struct ui *ui, struct error *err);

#endif
