/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a tree on a disk file by a plan. Partition table, boot sectors and FAT file systems are
 * written here, on the host, for every engine; an engine writes the other file systems.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include "base/blocks.h"
#include "base/buf.h"
#include "base/fail.h"
#include "disk/boot.h"
#include "disk/plan.h"
#include "layer/stack.h"
#include "profile/profile.h"
#include "store/store.h"
#include "ui/ui.h"

/* Everything that a disk is made of; borrowed by whoever gets it. */
struct disk {
    const struct profile *profile;
    const struct plan *plan;
    enum engine_kind engine; /* never ENGINE_AUTO */
    struct stack *stack;     /* opened; by disk_end also scanned, boot's files added, settled */
    const struct boot *boot; /* by disk_end */
    int64_t epoch;           /* the same */
    struct blocks *blocks;   /* of the whole disk: told which digests are known */
    const char *path;        /* of the file to write; must not exist */
    bool reuse;              /* it does exist, others have it open, and it is written anew */
    const char *temporary;   /* directory for the engine */
    struct ui *ui;
    struct store *store; /* cached states and core images; NULL: none */
    bool use_states;     /* start from a cached state, and leave one */
    bool verify_cache;   /* read all of a state before it is used */
};

/*
 * The engine that PROFILE gets, and in *RET_REASON (static) why. One that is asked for and does not
 * know a file system of the profile is FAIL_USAGE.
 */
int disk_choose_engine(const struct profile *profile, enum engine_kind *ret,
                       const char **ret_reason, struct error *err);

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

/* A disk that is being written. */
struct writing;

/*
 * Makes the disk file with its partition table. Where the engine writes while layers are read,
 * disk_taker is for stack_scan; else it is NULL. DISK stays the caller's and is looked at again.
 */
int disk_begin(const struct disk *disk, struct writing **ret, struct error *err);
const struct stack_taker *disk_taker(const struct writing *writing);

/*
 * Writes all that is left to write. *RET_DETAIL (a new string) says what the engine was:
 * "libguestfs 1.48.6, …". On failure the file is there, unfinished: its directory is the caller's
 * to remove.
 */
int disk_end(struct writing *writing, char **ret_detail, struct error *err);

/* Before the stack goes; NULL is fine. */
void disk_free(struct writing *writing);
SCOPE_DEFINE(writing, disk_free)

#endif
