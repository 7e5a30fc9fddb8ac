/* SPDX-License-Identifier: Apache-2.0 */
/* Where the files of an image are: in a directory, or in a tar that is indexed and not unpacked. */
#ifndef LAYER_CONTAINER_H
#define LAYER_CONTAINER_H

#include "layer/layer_internal.h"

struct place;

struct container {
    const char *label;    /* starts every message; borrowed */
    int dir;              /* of a directory, else -1 */
    int file;             /* of a tar, else -1 */
    uint64_t size;        /* of the tar */
    struct place *places; /* its members */
    size_t place_count, place_space;
    bool plain; /* a tar, but not of an image: it has no members */
};

/* Opens PATH into an empty CONTAINER, which is to be done with also when this fails. */
int container_open(struct container *container, const char *label, const char *path,
                   struct error *err);
void container_done(struct container *container);

bool container_has(const struct container *container, const char *path);

/* The bytes of member PATH: a descriptor for the caller and where in it they are. */
int container_find(const struct container *container, const char *path, int *ret_fd,
                   uint64_t *ret_offset, uint64_t *ret_size, struct error *err);

/* A whole member of at most LIMIT bytes, into an empty RET. */
int container_read(const struct container *container, const char *path, size_t limit,
                   struct buf *ret, struct error *err);

#endif
