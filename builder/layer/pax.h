/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes POSIX tar (pax interchange format), streaming and deterministic: what the appliance's GNU
 * tar reads back exactly, and what 'layer pack' and captured layers are. Extended headers appear
 * only where ustar cannot hold a value: long or large fields, sub-second times, xattrs
 * (SCHILY.xattr.*), ACLs (SCHILY.acl.*, numeric ids), holes (GNU.sparse 1.0).
 */
#ifndef LAYER_PAX_H
#define LAYER_PAX_H

#include "base/fail.h"
#include "base/scope.h"
#include "layer/entry.h"

struct pax;

/* A run of data in a sparse file, bytes. */
struct extent {
    uint64_t offset;
    uint64_t size;
};

/* Where the bytes go: 0, or -1 with ERR filled. */
typedef int (*pax_sink)(void *data, const void *bytes, size_t size, struct error *err);

struct pax *pax_new(pax_sink sink, void *data);
void pax_free(struct pax *pax);
SCOPE_DEFINE(pax, pax_free)

/*
 * Starts a member. ENTRY->path goes in as it is. For a file with holes EXTENTS lists its data in
 * order, else EXTENTS is NULL; then exactly the file's (or the extents') bytes follow by pax_data.
 * A hard link is only its name: it takes no data, whatever ENTRY->size says.
 */
int pax_entry(struct pax *pax, const struct entry *entry, const struct extent *extents,
              size_t extent_count, struct error *err);
int pax_data(struct pax *pax, const void *data, size_t size, struct error *err);

/* The end-of-archive blocks. */
int pax_end(struct pax *pax, struct error *err);

#endif
