/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is recorded of the files of a layer or state, as bytes: lines of text, then the digests of
 * blocks.
 *
 *     kiln-state 1
 *     group GROUP
 *     plain NAME SIZE MTIME NS CTIME NS INODE SHA256
 *     disk NAME SIZE MTIME NS CTIME NS INODE
 *     (an empty line, then 32 bytes for each block of each disk)
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/hash.h"

enum { RECORD_NAME_MAX = 64, RECORD_GROUP_MAX = 4096, RECORD_FILES_MAX = 16 };

/*
 * What tells a file from any other and from itself before a write. The change time is in it because
 * a program can set the modification time back; the device is not, because its number may be
 * another one after each boot.
 */
struct record_identity {
    uint64_t size_bytes, inode;
    int64_t mtime_s, ctime_s;
    uint32_t mtime_ns, ctime_ns;
};

struct record_file {
    char name[RECORD_NAME_MAX];
    struct record_identity identity;
    uint8_t *blocks; /* digests of a disk's blocks (HASH_SIZE bytes each); NULL: a plain file */
    uint8_t digest[HASH_SIZE]; /* of a plain file */
};

struct record {
    char *group;
    struct record_file files[RECORD_FILES_MAX];
    size_t count;
};

/* True for [a-z][a-z0-9._-]*, shorter than RECORD_NAME_MAX. */
bool record_is_name(const char *name);

/* True for one line, at most RECORD_GROUP_MAX bytes. */
bool record_is_group(const char *group);

void record_identify(const struct stat *st, struct record_identity *ret);
bool record_same(const struct record_identity *a, const struct record_identity *b);

/* Of a disk: how many digests FILE has. */
uint64_t record_blocks(const struct record_file *file);

void record_pack(const struct record *record, struct buf *ret);

/* False, and RET empty, unless DATA is exactly what record_pack makes of some record. */
bool record_unpack(const char *data, size_t size, struct record *ret);

void record_done(struct record *record);

#endif
