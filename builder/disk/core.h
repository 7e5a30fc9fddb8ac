/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GRUB's core image for BIOS: made by the image's own grub-mkimage, so that its version is that of
 * the modules. It is a program out of a layer and so runs in the appliance only.
 */
#ifndef DISK_CORE_H
#define DISK_CORE_H

#include "base/buf.h"
#include "base/fail.h"
#include "disk/disk.h"
#include "guest/guest.h"

struct core {
    struct buf image;     /* empty: not there yet */
    struct buf libraries; /* what grub-mkimage was linked with when it made it, a path a line */
};

void core_done(struct core *core);

/* Runs COMMAND (boot->core_command) in an appliance that has the image mounted. */
int core_run(struct guest *guest, const char *command, struct core *core, struct error *err);

/*
 * Finds the core image that the store has for this tree and command: made from the same
 * grub-mkimage, libraries and modules. It stays empty when there is none, or no store.
 */
void core_find(const struct disk *disk, struct core *core);

/* Keeps it for the next build; without a store, or where that fails, it is made again then. */
void core_keep(const struct disk *disk, const struct core *core);

/*
 * The core image of a disk that is written, into CORE, which is empty: in an appliance of its own,
 * with the disk read-only. Nothing to do without boot->core_command.
 */
int core_make(const struct disk *disk, struct core *core, struct error *err);

#endif
