/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last image that was published to a target, and the digests of its blocks: what the next one
 * is a change of. Kept under $XDG_STATE_HOME/kiln/published/NAME/TARGET (without it in
 * ~/.local/state), or taken from another
 * bundle (--parent), whose journal says what became of it. It is only a hint: whoever uses it asks
 * the cloud whether the object is there and carries its disk digest.
 */
#ifndef PUBLISH_PARENT_H
#define PUBLISH_PARENT_H

#include <jansson.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "bundle/reader.h"

struct parent {
    char *scope;    /* of the identity it was published as */
    json_t *result; /* the publication's result then: "snapshot", … */
    uint8_t disk_digest[HASH_SIZE];
    uint64_t size_bytes;
    uint8_t (*digests)[HASH_SIZE];
    uint64_t block_count;
};

/* The parent for SCOPE (NULL: any), *RET NULL when there is none or it is of another scope. */
int parent_load(const char *image, const char *target, const char *scope, struct parent **ret,
                struct error *err);

/* The parent out of another bundle: an error when that was never published there. */
int parent_from_bundle(const char *path, const char *target, const char *scope, struct parent **ret,
                       struct error *err);

/* Makes BUNDLE, published with RESULT, the next one's parent: whole or not at all. */
int parent_save(const struct reader *bundle, const char *target, const char *scope,
                const json_t *result, struct error *err);

void parent_free(struct parent *parent);
SCOPE_DEFINE(parent, parent_free)

/*
 * The blocks to send, ascending: those that differ from PARENT's, zeros included (they would show
 * the parent's data else), without one those that are not zero. The caller frees *RET.
 */
void parent_changes(const struct reader *bundle, const struct parent *parent, uint64_t **ret,
                    size_t *ret_count);

#endif
