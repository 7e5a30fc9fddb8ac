/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share; nobody else includes this. */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "store/record.h"
#include "store/store.h"

struct store {
    char *path;
    char *dirs[STORE_KINDS];
};

#define ENTRY_NAME                                                                                 \
    "entry"              /* of an entry: its record, and by its modification time its last use     \
                          */
#define BOOT_NAME "boot" /* of an entry: the boot since which its bytes are known to be right */

/* Room for a record of all blocks of a disk of several TiB. */
enum { ENTRY_LIMIT = 256 << 20 };

/* True for kinds whose entries are directories, false for those of small pieces. */
bool store_has_entries(enum store_kind kind);

/* Of this boot of the system, a new string; NULL: not known. */
char *store_boot_id(void);

/* Now, finer than the kernel stamps files: it tells which of two was used later. */
struct timespec store_now(void);

/* True for the names that entries have. Others are not the store's, to show or to remove. */
bool store_is_key(const char *name);

/* Removes what killed processes left, and digests not asked for in a month. */
int store_sweep(const struct store *store, struct error *err);

/* A file that begins with a digest over its kind, key (hex) and content. */
int blob_write(const char *path, enum store_kind kind, const char *key, const void *data,
               size_t size, struct error *err);

/* Reads and checks one, relative to DIR. The open file is handed over where RET_FD is not NULL. */
int blob_read(int dir, const char *name, enum store_kind kind, const char *key, size_t limit,
              struct buf *ret, int *ret_fd, struct error *err);

/* True when ERR says that something is not what was stored, not that it could not be looked at. */
bool store_is_damage(const struct error *err);

/*
 * As store_find, by hex key and without marking it as used; -1 with *RET_DAMAGED when it is damaged
 * (ERR says how), and then it is removed unless it is in use.
 */
int entry_open(const struct store *store, enum store_kind kind, const char *key, bool verify,
               struct store_found **ret, bool *ret_damaged, struct error *err);

/* Removes an entry: 1; 0: somebody is using it. */
int entry_remove(const struct store *store, enum store_kind kind, const char *key,
                 struct error *err);

/* What a file takes on the disk, in bytes, never nothing. */
uint64_t store_allocated(const struct stat *st);

/* The same of the files in the directory PATH. */
uint64_t store_allocated_in(const char *path);

#endif
