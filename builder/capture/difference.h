/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes of a tree what is on an scratch, as members of a layer archive: applied to the tree
 * with RULES_OCI they give what the disk has, hard links and all, but for what is left out. The
 * order and the bytes follow from the tree and the disk's content alone, not from where things
 * lie.
 *
 * Files are not read that nobody can have touched: kiln gives every inode its mtime as ctime, a
 * kernel whose clock starts at the epoch another, and only root can make it the same again, who has
 * then hidden a change of his own from himself. A renamed inode has a new ctime, too; but what lies
 * below a directory that may have been renamed is read.
 */
#ifndef CAPTURE_DIFFERENCE_H
#define CAPTURE_DIFFERENCE_H

#include <stdint.h>

#include "base/fail.h"
#include "capture/scratch.h"
#include "capture/noise.h"
#include "capture/survey.h"
#include "layer/pax.h"
#include "layer/tree.h"

struct difference {
    uint64_t added, changed, removed; /* paths */
};

/*
 * SURVEY is of SCRATCH, with the same NOISE; TREE is settled for the same epoch. The archive is not
 * ended.
 */
int difference_write(struct scratch *scratch, struct survey *survey, const struct tree *tree,
                     const struct noise *noise, struct pax *pax, struct difference *ret,
                     struct error *err);

#endif
