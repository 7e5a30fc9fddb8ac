/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a layer archive, plain or compressed, to an open file, and counts and digests it twice: as
 * the file is, and as the tar that is in it, which no version of zstd changes.
 *
 *     packer_new(fd, name, true, &packer, err);
 *     pax_entry(packer_pax(packer), …); …
 *     packer_end(packer, &packed, err);
 */
#ifndef LAYER_PACKER_H
#define LAYER_PACKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "layer/pax.h"

struct packer;

struct packed {
    uint8_t tar_digest[HASH_SIZE], file_digest[HASH_SIZE];
    uint64_t tar_size, file_size; /* bytes; the same without compression */
};

/* FD and NAME, for messages, are borrowed. COMPRESSED: one frame of zstd. */
int packer_new(int fd, const char *name, bool compressed, struct packer **ret, struct error *err);
void packer_free(struct packer *packer);
SCOPE_DEFINE(packer, packer_free)

/* Where the members go, borrowed. */
struct pax *packer_pax(struct packer *packer);

/* The end of the archive; everything has been handed to the file then. */
int packer_end(struct packer *packer, struct packed *ret, struct error *err);

#endif
