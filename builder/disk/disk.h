/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a tree on a disk file by a plan. Partition table, boot sectors and FAT file systems are
 * written here, on the host, for every engine; an engine writes the other file systems.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include "base/buf.h"
#include "base/fail.h"
#include "disk/boot.h"
#include "disk/plan.h"
#include "layer/stack.h"
#include "profile/profile.h"
#include "ui/ui.h"

/* Everything that a disk is made of; borrowed by whoever gets it. */
struct disk {
    const struct profile *profile;
    const struct plan *plan;
    struct stack *stack; /* scanned, with boot's files added, settled */
    const struct boot *boot;
    int64_t epoch;
    const char *path;      /* of the file to write; must not exist */
    const char *temporary; /* directory for the engine */
    struct ui *ui;
};

/*
 * The partition NODE lives on (never NULL: the root is one); its path, as node_path gives it, is
 * appended to PATH. A mount point is the root of what is mounted there.
 */
const struct plan_partition *disk_home(const struct plan *plan, const struct node *node,
                                       struct buf *path);

/* True for what lies below a FAT mount point; the mount point itself is the parent's as well. */
bool disk_is_vfat(const struct plan *plan, const struct node *node);

/*
 * Refuses, by layer and path, what no engine could put on the file systems of the plan: a symlink,
 * device, xattr or foreign owner on FAT, a hard link from one file system to another, xattrs and
 * times a file system cannot keep; and more bytes than a partition has. No I/O.
 */
int disk_check(const struct disk *disk, struct error *err);

/*
 * Writes the disk. *RET_DETAIL (a new string) says what the engine was: "libguestfs 1.48.6, …".
 * On failure the file may be there, unfinished: its directory is the caller's to remove.
 */
int disk_write(const struct disk *disk, char **ret_detail, struct error *err);

#endif
