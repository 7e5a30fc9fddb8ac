/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.index: the digests of base/blocks.h as a text file. */
#ifndef BUNDLE_BLOCKS_H
#define BUNDLE_BLOCKS_H

#include <stdint.h>

#include "base/blocks.h"
#include "base/fail.h"

/*
 * Hashes what KNOWN does not know of DISK (a path; KNOWN is complete then; NULL: nothing is known)
 * and writes the index to INDEX, a text file: "kiln-blocks 1 BLOCKSIZE DISKSIZE", then a line of 64
 * hex digits for each block.
 */
int blocks_write(const char *disk, struct blocks *known, const char *index,
                 blocks_progress progress, void *data, uint8_t ret_digest[HASH_SIZE],
                 struct error *err);

#endif
