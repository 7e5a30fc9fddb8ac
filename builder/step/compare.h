/* SPDX-License-Identifier: Apache-2.0 */
/* Two captured layers that should be the same: which paths differ. */
#ifndef STEP_COMPARE_H
#define STEP_COMPARE_H

#include "base/buf.h"
#include "base/fail.h"
#include "step/captured.h"

/*
 * Appends "/etc/a, /var/b and 3 more" to RET: the paths whose entries differ between the captured
 * layers A and B, or that only one of them has.
 */
int compare_captured(const struct captured *a, const struct captured *b, struct buf *ret,
                     struct error *err);

#endif
