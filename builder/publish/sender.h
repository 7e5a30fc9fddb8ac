/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends the blocks of a disk by several threads at once: reads and verifies a block, puts it,
 * journals it. How many threads go at once adapts (additive increase, halved when throttled), so
 * that neither a thin line nor a busy server sees more than it can take.
 */
#ifndef PUBLISH_SENDER_H
#define PUBLISH_SENDER_H

#include "publish/cloud.h"

struct sender {
    struct publication *pub;
    struct http *http;      /* whose throttled replies count; NULL: nobody's */
    const uint64_t *blocks; /* ascending; those that the journal has are left out */
    size_t count;
    unsigned start, max; /* threads at once */
    /* Sends one block of BLOCK_SIZE bytes. Any thread. */
    int (*put)(void *data, uint64_t block, const void *bytes, const uint8_t digest[HASH_SIZE],
               struct error *err);
    void *data;
};

/* Returns when all are up, or at the first error when no put is under way any more. */
int sender_run(const struct sender *sender, struct error *err);

#endif
