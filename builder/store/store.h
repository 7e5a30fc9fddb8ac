/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content-addressed cache: $KILN_STORE, else $XDG_CACHE_HOME/kiln, else $HOME/.cache/kiln. It
 * makes builds faster and never other: what is damaged, altered or missing is "not there", and is
 * built again. A failure to save is for the caller to mention, not to fail by; nothing half-written
 * is ever found. Several processes may use it at once, and be killed at any moment.
 *
 *     cores/KEY      small pieces, by the digest of what they were made from
 *     digests/KEY    SHA-256 of files, by device, inode, size and times
 *     layers/KEY/    directories with what a step left
 *     states/KEY/    directories with a sparse disk
 *
 * A key is the SHA-256 of everything that could influence the content.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "base/blocks.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"

/* What is kept when a layer or state is added. */
#define STORE_MAX_BYTES (10ULL << 30)
enum { STORE_STATES_PER_GROUP = 2 };

enum store_kind { STORE_CORES, STORE_DIGESTS, STORE_LAYERS, STORE_STATES, STORE_KINDS };

struct store;

/* Opens it, made with mode 0700 where it is missing. One that is not this user's own is refused. */
int store_open(struct store **ret, struct error *err);
void store_free(struct store *store);
SCOPE_DEFINE(store, store_free)

/* Its directory. Borrowed. */
const char *store_path(const struct store *store);

/* "cores", "digests", "layers", "states". */
const char *store_kind_name(enum store_kind kind);

/* ---- small pieces: cores and digests ---- */

/*
 * Appends the content of KEY, at most LIMIT bytes, to the empty RET; false: it is not there. It is
 * checked against its digest; what does not hold is removed.
 */
bool store_get(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
               size_t limit, struct buf *ret);

/* Keeps SIZE bytes as KEY. */
int store_put(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
              const void *data, size_t size, struct error *err);

/* ---- digests of files ---- */

/* The SHA-256 of the file that has this ST, when it is remembered. */
bool store_digest_get(const struct store *store, const struct stat *st, uint8_t ret[HASH_SIZE]);

/*
 * Remembers the SHA-256 of FD, whose fstat was BEFORE, taken before its first byte was read, when
 * the clock, also before, said BEGAN_S (time(NULL)). 1: remembered; 0: not, because nothing could
 * tell a change that came right after.
 */
int store_digest_put(const struct store *store, int fd, const struct stat *before, int64_t began_s,
                     const uint8_t digest[HASH_SIZE], struct error *err);

/* ---- entries: layers and states ---- */

enum { STORE_FILES_MAX = 16 };

/* An entry that is being written. */
struct store_entry;

/*
 * Begins KEY. At most STORE_STATES_PER_GROUP states with the same GROUP (one line: whose they are)
 * are kept; layers have none (NULL). Removes what killed processes left, as far as it can be
 * removed.
 */
int store_begin(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
                const char *group, struct store_entry **ret, struct error *err);

/* The private directory to fill, with plain files only. Borrowed. */
const char *store_entry_path(const struct store_entry *entry);

struct store_file {
    const char *name;      /* [a-z0-9._-], the first a letter */
    struct blocks *blocks; /* of a sparse disk, as far as known, complete afterwards; else NULL */
};

/*
 * Puts the entry in its place; FILES is all that is in its directory, closed and written no more.
 * When another process was faster with the same key, its entry stays. One that is larger than the
 * limit is refused. Removes the least recently used entries and pieces above the limits, as far as
 * they can be removed.
 */
int store_commit(struct store_entry *entry, const struct store_file *files, size_t count,
                 struct error *err);

/* Removes an entry that is not committed. NULL is fine. */
void store_entry_free(struct store_entry *entry);
SCOPE_DEFINE(store_entry, store_entry_free)

/* An entry in use: it stays until released. */
struct store_found;

/*
 * Finds KEY: 1; 0: it is not there, or was altered and is removed; -1: it could not be looked at.
 * Size, times and inode of every file are compared with those recorded. With VERIFY, and the first
 * time after each boot, so are the bytes: a power cut may have taken them and kept the times.
 */
int store_find(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
               bool verify, struct store_found **ret, struct error *err);

/* Removes KEY unless it is in use: it was whole and yet of no use. */
void store_drop(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE]);

/* The file NAME opened for reading (borrowed: use pread), or -1 when the entry has none. */
int store_found_file(const struct store_found *found, const char *name, uint64_t *ret_size_bytes);

/* Its path, a new string that is good until released, or NULL. */
char *store_found_path(const struct store_found *found, const char *name);

/* The block digests NAME was stored with, or NULL when it had none. The caller's. */
struct blocks *store_found_blocks(const struct store_found *found, const char *name);

/* NULL is fine. */
void store_release(struct store_found *found);
SCOPE_DEFINE(store_found, store_release)

/* ---- what is in it ---- */

struct store_item {
    enum store_kind kind;
    char key[HASH_HEX_MAX];
    char *group;          /* of a state; NULL: none, or not to be read */
    uint64_t size_bytes;  /* allocated */
    struct timespec used; /* the last time */
};

struct store_items {
    struct store_item *items; /* by kind, then key */
    size_t count, space;
};

/* Lists it into RET, which must be empty. */
int store_list(const struct store *store, struct store_items *ret, struct error *err);
void store_items_done(struct store_items *items);

/*
 * Reads everything of ITEM and compares it with its digests: 1: whole; 0: damaged, and removed
 * unless it is in use, with the reason in RET_PROBLEM (a new string); -1: could not be looked at.
 * What is gone meanwhile is whole.
 */
int store_verify(const struct store *store, const struct store_item *item, char **ret_problem,
                 struct error *err);

struct store_limits {
    uint64_t max_bytes;
    unsigned states_per_group;
};

struct store_removed {
    size_t count, busy; /* entries; BUSY were in use */
    uint64_t size_bytes;
};

/*
 * Removes what killed processes left and, least recently used first, what is above LIMITS. What
 * cannot be removed is told of when all else is.
 */
int store_collect(const struct store *store, const struct store_limits *limits,
                  struct store_removed *ret, struct error *err);

#endif
