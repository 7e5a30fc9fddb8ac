/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes as ext4 keeps them, back into what layers have: disk/attributes.h reversed.
 */
#ifndef CAPTURE_XATTRS_H
#define CAPTURE_XATTRS_H

#include <stddef.h>

#include "base/fail.h"
#include "capture/scratch.h"
#include "layer/entry.h"

/* Those of INODE, sorted by name: a new array whose members are new, for xattrs_free. */
int xattrs_read(struct scratch *scratch, const struct scratch_inode *inode, struct xattr **ret,
                size_t *ret_count, struct error *err);
void xattrs_free(struct xattr *xattrs, size_t count);

#endif
