/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step left on its disk, as a layer: the difference between an ext4 file system that a
 * hostile program may have written and the tree of what was on it before. e2fsck looks at the file
 * system first, then a process of its own reads it that can do nothing else (capture/confine.h).
 */
#ifndef CAPTURE_CAPTURE_H
#define CAPTURE_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "layer/tree.h"

struct capture_job {
    const char *disk;                  /* path of a raw disk, not written meanwhile */
    uint64_t offset_bytes, size_bytes; /* of the ext4 file system in it */
    const struct tree *tree;           /* settled: what was on it before the step */
    int64_t epoch;                     /* no time in the layer is later */
    const char *const *leave_out;      /* patterns (capture/noise.h); NULL: the standard list */
    size_t leave_out_count;
    const char *step; /* its name, for messages */
    const char *out;  /* the file to write, .tar.zst; must not exist */
};

struct capture_result {
    uint8_t digest[HASH_SIZE];        /* of the uncompressed tar */
    uint64_t size;                    /* of the uncompressed tar, bytes */
    uint64_t added, changed, removed; /* paths */
};

/*
 * Writes the layer, for RULES_OCI: whole or not at all. The same tree and the same content of the
 * file system give the same tar. FAIL_MISSING when there is no e2fsck; may be interrupted. Other
 * threads may run meanwhile, as long as none of them keeps a lock of kiln's.
 */
int capture(const struct capture_job *job, struct capture_result *ret, struct error *err);

#endif
