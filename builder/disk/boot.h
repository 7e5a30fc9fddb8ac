/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a disk start: GRUB out of the image's own packages. UEFI boot loaders (signed shim
 * and GRUB where the image has them) are only copied to the ESP; for BIOS the image's own
 * grub-mkimage makes a core image in the appliance, which is embedded here, on the host.
 */
#ifndef DISK_BOOT_H
#define DISK_BOOT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/fail.h"
#include "disk/plan.h"
#include "layer/stack.h"
#include "profile/profile.h"

struct boot {
    bool bios, uefi, secure; /* what the disk starts under; secure: by a signed shim */
    char *kernel, *initrd;   /* paths in the image without a leading slash, or NULL */
    char
        *core_command; /* for sh in the image: writes the core image in base64; NULL without BIOS */
    struct buf boot_image; /* GRUB's boot.img; empty without BIOS */
};

/* Files whose content boot_prepare wants kept (a stack_keeps). */
bool boot_keeps(const char *path);

/*
 * Finds kernel and boot loaders in the tree and adds what the disk needs on top of it: mount
 * points, fstab (unless a layer brought one with entries), grub.cfg, GRUB's modules, the files of
 * the ESP. A profile with firmware must have a kernel and GRUB for each: an error otherwise, with
 * what to install. A mount point must not lie behind a symlink, where nobody would find it.
 */
int boot_prepare(const struct profile *profile, const struct plan *plan, struct stack *stack,
                 struct boot **ret, struct error *err);
void boot_free(struct boot *boot);
SCOPE_DEFINE(boot, boot_free)

/* "GRUB from the image, BIOS and UEFI (signed shim)", for the manifest; a new string. */
char *boot_describe(const struct boot *boot);

/*
 * Embeds GRUB for BIOS into FD: boot.img in sector 0, the core image in the bios-boot partition
 * (GRUB manual, "BIOS installation"; offsets from include/grub/i386/pc/boot.h).
 */
int boot_embed(int fd, const struct plan *plan, const struct boot *boot, const struct buf *core,
               const char *name, struct error *err);

#endif
