/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine fills the file systems that are not FAT. It gets the data of the files streamed, layer
 * by layer; everything else it takes from the tree.
 */
#ifndef DISK_ENGINE_H
#define DISK_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/pack.h"
#include "disk/core.h"
#include "disk/disk.h"
#include "layer/tree.h"

struct engine; /* an engine's own state */

struct engine_ops {
    bool eager;

    /*
     * The disk has its partition table. An engine that is EAGER begins before the layers are read
     * and gets the data while they are, the others when all is known: for them ext4 file systems
     * are made and empty.
     */
    int (*begin)(const struct disk *disk, struct engine **ret, struct error *err);

    /*
     * A file with data (for an eager engine also one without), then its bytes, in order, holes left
     * out. 0 from FILE: it is not for this engine; else 1.
     */
    int (*file)(struct engine *engine, struct inode *inode, struct error *err);
    int (*bytes)(struct engine *engine, const void *data, size_t size, uint64_t offset,
                 struct error *err);

    /* Eager engines: the file is over, and the engine sees to its digest; a layer is over. */
    int (*file_end)(struct engine *engine, struct error *err);
    int (*layer_end)(struct engine *engine, struct error *err);

    /* Eager engines: the state after a layer as bytes, beside the disk file; LOAD after begin, with
     * the tree of the same moment. */
    void (*save)(const struct engine *engine, struct buf *out);
    int (*load)(struct engine *engine, struct unpack *in, struct error *err);

    /* All else: empty files, links, devices, directories. CORE is filled with what
     * boot->core_command prints, unless it is there; an engine without an appliance does not. */
    int (*finish)(struct engine *engine, struct core *core, struct error *err);

    char *(*describe)(const struct engine *engine); /* a new string, after begin */
    void (*free)(struct engine *engine);            /* at any time; NULL is fine */
};

extern const struct engine_ops engine_native;
extern const struct engine_ops engine_guestfs;

#endif
