/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine fills the file systems that are not FAT. It gets the data of the files streamed, layer
 * by layer; everything else it takes from the tree.
 */
#ifndef DISK_ENGINE_H
#define DISK_ENGINE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/fail.h"
#include "disk/disk.h"
#include "layer/tree.h"

struct engine; /* an engine's own state */

struct engine_ops {
    const char *name; /* as in the profile */

    /* The disk has its partition table; ext4 file systems are made and empty. */
    int (*begin)(const struct disk *disk, struct engine **ret, struct error *err);

    /* A file with data, at all its names but with hard links left for finish; then its bytes. */
    int (*file)(struct engine *engine, const struct inode *inode, struct error *err);
    int (*bytes)(struct engine *engine, const void *data, size_t size, struct error *err);

    /* All else: empty files, links, devices, directories. CORE gets what boot->core_command
     * printed. */
    int (*finish)(struct engine *engine, struct buf *core, struct error *err);

    char *(*describe)(const struct engine *engine); /* a new string, after begin */
    void (*free)(struct engine *engine);            /* at any time; NULL is fine */
};

extern const struct engine_ops engine_guestfs;

#endif
