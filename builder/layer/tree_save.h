/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree as bytes, between two parts, and back: the fold continued on what was loaded gives exactly
 * what it would have given on what was saved, down to what a watch hears and in which order. Nobody
 * but kiln reads the bytes, but they lie in a cache where somebody may have tampered with them:
 * whatever loads is a tree that a fold could have made.
 */
#ifndef LAYER_TREE_SAVE_H
#define LAYER_TREE_SAVE_H

#include "base/fail.h"
#include "base/pack.h"
#include "layer/tree.h"

/*
 * Appends TREE to OUT, the same bytes for the same fold. It is saved between parts and before
 * tree_settle: inode->first and the watch are not kept.
 */
void tree_save(const struct tree *tree, struct buf *out);

/*
 * Reads what tree_save wrote from IN, which moves behind it; *RET is the caller's and may grow to
 * LIMITS (NULL for the defaults), which it keeps already. Needs memory in proportion to the input.
 */
int tree_load(struct unpack *in, const struct tree_limits *limits, struct tree **ret,
              struct error *err);

/*
 * The layer and part that tree_begin named last, also before TREE was saved. Nothing in a loaded
 * tree comes from later ones, and the next part to begin must be one.
 */
void tree_position(const struct tree *tree, unsigned *ret_layer, unsigned *ret_part);

#endif
