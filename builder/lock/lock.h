/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock: everything an image is made from, by digest, in a file beside the profile ('web.lock' for
 * 'web.yaml') that people review and keep with it. It is read before any layer is; each layer is
 * compared with it once its digest is known:
 *
 *     lock_load(path, &lock, err)              NULL: there is none
 *     lock_check_profile(lock, profile, err)   nothing was read yet
 *     lock_check_step(lock, 0, …)              of a step, before it runs
 *     lock_check_layer(lock, 0, …)             layer after layer, or all at the end
 */
#ifndef LOCK_LOCK_H
#define LOCK_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "profile/profile.h"

/* The layout of disks; raised whenever the same inputs give other bytes than before. */
enum { DISK_FORMAT = 1 };

struct lock_layer {
    struct mark mark; /* line 0: not from a file */
    char *name;       /* profile_layer_label's */
    char *format;     /* "archive", "oci", "docker", "directory", "files", "packages", "run" */
    bool is_step;     /* the last two */
    bool pending;     /* a step that has to run first: neither key nor digest; in no file */
    uint8_t step[HASH_SIZE]; /* of a step: its key, of all that it is made from */
    struct mark step_mark;
    uint8_t sha256[HASH_SIZE]; /* of a step: of what was captured, as is the size */
    uint64_t size_bytes;
};

struct lock {
    char *path; /* as the messages name it */
    uint32_t disk_format;
    char *seed;
    int64_t epoch; /* seconds since 1970 */
    struct mark disk_format_mark, seed_mark, epoch_mark, layers_mark;
    struct lock_layer *layers; /* bottom first */
    size_t layer_count, layer_space;
};

/* The lock's path for a profile's: its ending .yaml or .yml replaced by .lock, else .lock added. */
char *lock_path(const char *profile);

/*
 * One without layers, for this kiln's DISK_FORMAT. All arguments are copied. STEP is the key of a
 * step, NULL for any other layer. SHA256 is NULL for a step that has to run first; a lock with one
 * is for comparing.
 */
struct lock *lock_new(const char *path, const char *seed, int64_t epoch);
void lock_add(struct lock *lock, const char *name, const char *format, const uint8_t *sha256,
              uint64_t size_bytes, const uint8_t *step);
void lock_free(struct lock *lock);
SCOPE_DEFINE(lock, lock_free)

/*
 * Reads a lock. Problems come as those of a profile do: FAIL_USAGE, "FILE:LINE:COLUMN: …", up to
 * 20; one with a disk_format that this kiln does not know yet is FAIL_MISMATCH.
 */
int lock_parse(const char *path, const char *yaml, size_t size, struct lock **ret,
               struct error *err);

/* The same from the file at PATH. RET is NULL when nothing is there, not even a dangling link. */
int lock_load(const char *path, struct lock **ret, struct error *err);

/* Adds the file's text to BUF: the same for the same lock, whatever its path. */
void lock_text(const struct lock *lock, struct buf *buf);

/* Writes it to its path, whole and for good or not at all; never through a symbolic link. */
int lock_save(const struct lock *lock, struct error *err);

/*
 * What can be told before any layer is read: disk_format, seed, an epoch of the profile's own, and
 * number, order, names and kinds of the layers. A difference is FAIL_MISMATCH.
 */
int lock_check_profile(const struct lock *lock, const struct profile *profile, struct error *err);

/*
 * The layer INDEX (from 0, bottom first), which was read or is in a cache. NAME is for the message,
 * FORMAT, SHA256 and SIZE_BYTES are layer_format's and layer_digest's.
 */
int lock_check_layer(const struct lock *lock, size_t index, const char *name, const char *format,
                     const uint8_t sha256[HASH_SIZE], uint64_t size_bytes, struct error *err);

/*
 * The step INDEX, which lock_check_profile found to be one, is to be made from what KEY is the
 * digest of. FAIL_MISMATCH when the lock has another key.
 */
int lock_check_step(const struct lock *lock, size_t index, const char *name,
                    const uint8_t key[HASH_SIZE], struct error *err);

/*
 * True when both have the same layers with times of their own (archives and images), in order.
 * Steps have none: nothing in them is younger than the epoch, which is where their clocks start.
 */
bool lock_same_archives(const struct lock *a, const struct lock *b);

#endif
