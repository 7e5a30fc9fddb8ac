/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The normal form of a source that is no archive: the tar that pax.c makes of its entries. It is
 * never kept, only counted and digested.
 */
#include <stdlib.h>

#include "layer/layer_internal.h"

struct normal {
    struct pax *pax;
    struct hash *hash;
    uint64_t size;
};

static int count(void *data, const void *bytes, size_t size, struct error *err)
{
    struct normal *normal = data;

    (void)err;
    hash_add(normal->hash, bytes, size);
    normal->size += size;
    return 0;
}

struct normal *normal_new(void)
{
    struct normal *normal = xcalloc(1, sizeof(*normal));

    normal->hash = hash_new();
    normal->pax = pax_new(count, normal);
    return normal;
}

void normal_free(struct normal *normal)
{
    if (normal != NULL) {
        pax_free(normal->pax);
        hash_free(normal->hash);
        free(normal);
    }
}

int normal_entry(struct normal *normal, const struct entry *entry, struct error *err)
{
    return pax_entry(normal->pax, entry, NULL, 0, err);
}

int normal_data(struct normal *normal, const void *data, size_t size, struct error *err)
{
    return pax_data(normal->pax, data, size, err);
}

int normal_end(struct normal *normal, struct layer *layer, struct error *err)
{
    uint8_t digest[HASH_SIZE];

    if (pax_end(normal->pax, err) < 0) {
        return -1;
    }
    hash_end(normal->hash, digest);
    return layer_settle(layer, digest, normal->size, err);
}
