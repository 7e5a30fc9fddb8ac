/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A finished bundle, perhaps from elsewhere: nothing in it is believed before its digest was seen.
 * blocks.index must add up to the disk digest of the manifest, and every block and file that is
 * handed out is compared with it.
 */
#ifndef BUNDLE_READER_H
#define BUNDLE_READER_H

#include <jansson.h>

#include "base/blocks.h"
#include "base/fail.h"
#include "base/scope.h"
#include "profile/profile.h"
#include "profile/target.h"

struct reader {
    char *path; /* of the directory */
    json_t *manifest;
    uint64_t manifest_bytes;
    uint8_t manifest_digest[HASH_SIZE]; /* of the file, which SHA256SUMS agrees with */
    char *name, *version;               /* as strict as a profile's */
    enum architecture architecture;
    unsigned firmware;   /* bits */
    uint64_t size_bytes; /* of the disk, whole GiB */
    uint8_t disk_digest[HASH_SIZE];
    uint64_t block_count;
    uint8_t (*digests)[HASH_SIZE]; /* of each block */
    struct targets targets;        /* of targets.json; none when there is no such file */
    int raw;                       /* descriptor of disk.raw */
};

/* Reads and checks all but the contents of the disk. Errors name file, line and column. */
int reader_open(const char *path, struct reader **ret, struct error *err);
void reader_free(struct reader *reader);
SCOPE_DEFINE(reader, reader_free)

/*
 * Reads block INDEX into BUFFER of BLOCK_SIZE bytes, the last one padded with zeros, and compares
 * it: FAIL_MISMATCH with the block's place when the disk is not what blocks.index says. Any thread.
 */
int reader_block(const struct reader *reader, uint64_t index, void *buffer, struct error *err);

/* True when a digest is that of a block of zeros. */
bool block_is_zero(const uint8_t digest[HASH_SIZE]);

/* Reads a blocks.index alone: of a parent. The caller frees *RET_DIGESTS. */
int reader_index(const char *path, uint64_t *ret_size_bytes, uint8_t (**ret_digests)[HASH_SIZE],
                 uint64_t *ret_count, struct error *err);

/* A file of the bundle as the manifest has it, or the manifest itself. */
struct reader_file {
    char *path; /* the caller frees it */
    uint64_t size_bytes;
    uint8_t sha256[HASH_SIZE]; /* of disk.vhd: of what follows the disk */
};

/*
 * NAME ("disk.qcow2") with its size compared; an error with a hint when the bundle lacks it. Not
 * disk.raw, whose digests are those of its blocks.
 */
int reader_file(const struct reader *reader, const char *name, struct reader_file *ret,
                struct error *err);

/* True when the manifest has NAME. */
bool reader_has(const struct reader *reader, const char *name);

#endif
