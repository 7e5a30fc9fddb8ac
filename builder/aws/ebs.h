/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EBS direct APIs: a snapshot written block by block, without bucket or instance
 * (https://docs.aws.amazon.com/ebs/latest/APIReference/).
 *
 *     ebs_start, ebs_put for each block, in any order and by many threads, ebs_complete
 *
 * When one fails, PROBLEM's code says what the service refused it with; it is empty when there was
 * no answer.
 */
#ifndef AWS_EBS_H
#define AWS_EBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/aws.h"
#include "aws/resource.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/hash.h"

enum {
    EBS_DESCRIPTION_MAX = 255,
    EBS_GIB_MAX = 65536,
    EBS_YOUNG_S = 120, /* for so long a new snapshot may not be known everywhere */
};

struct ebs_start {
    uint64_t size_gib;
    const char *description; /* at most EBS_DESCRIPTION_MAX bytes */
    const char *token;       /* the same one with the same values is the same snapshot */
    const char *parent;      /* a completed snapshot that this one is a change of; or NULL */
    unsigned timeout_min;    /* 10 to 4320: it is given up when no call comes for so long */
    struct aws_tags tags;
};

struct ebs_started {
    char id[AWS_ID_MAX];
    char status[33]; /* "pending", unless the token is an old one's */
};

/* The body of StartSnapshot: the same bytes for the same values. */
void ebs_start_body(const struct ebs_start *start, struct buf *ret);

/* Fails, too, when the service's blocks are not of BLOCK_SIZE. */
int ebs_start(const struct aws_service *ebs, const struct ebs_start *start, struct ebs_started *ret,
              struct aws_error *problem, struct error *err);

/* Writes a block of BLOCK_SIZE bytes over what was there. YOUNG: see EBS_YOUNG_S. */
int ebs_put(const struct aws_service *ebs, const char *id, uint64_t block, const void *bytes,
            const uint8_t digest[HASH_SIZE], bool young, struct aws_error *problem,
            struct error *err);

/* The checksum of a snapshot: over the digests of its COUNT written BLOCKS, which ascend. */
void ebs_linear(const uint8_t (*digests)[HASH_SIZE], const uint64_t *blocks, size_t count,
                uint8_t ret[HASH_SIZE]);

/* Seals it, COUNT written blocks with that checksum: it will be "completed" some time later. */
int ebs_complete(const struct aws_service *ebs, const char *id, size_t count,
                 const uint8_t linear[HASH_SIZE], bool young, struct aws_error *problem,
                 struct error *err);

#endif
