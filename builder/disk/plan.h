/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything on the disk goes and what it is called: offsets, sizes, identifiers, from the
 * profile alone. Pure arithmetic, no I/O.
 */
#ifndef DISK_PLAN_H
#define DISK_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "profile/profile.h"

enum { SECTOR_SIZE = 512 };

struct plan_partition {
    const struct profile_partition *spec; /* borrowed from the profile */
    unsigned number;                      /* from 1, in disk order */
    uint64_t offset_bytes, size_bytes;    /* multiples of 1 MiB, but for the last one's end */
    struct uuid type;                     /* GPT partition type */
    struct uuid uuid;                     /* GPT unique partition GUID */
    struct uuid fs_uuid;                  /* ext4, xfs, btrfs */
    struct uuid hash_seed;                /* ext4 directories */
    uint32_t volume_id;                   /* vfat */
    char fs_id[UUID_TEXT_MAX];            /* as fstab and GRUB write it: a UUID, "1234-ABCD", "" */
    char fs_label[17];                    /* at most 11 upper-case for vfat, 12 for xfs, 16 else */
};

struct plan {
    uint64_t size_bytes; /* of the disk */
    struct uuid disk_uuid;
    struct plan_partition *partitions; /* in disk order */
    size_t partition_count;
};

/* Errors point into the profile: what does not fit, and by how much. */
int plan_make(const struct profile *profile, struct plan **ret, struct error *err);
void plan_free(struct plan *plan);
SCOPE_DEFINE(plan, plan_free)

/* The partition of a type, or NULL. */
const struct plan_partition *plan_find(const struct plan *plan, enum partition_type type);

/* The partition whose mount point holds the absolute PATH (the longest that matches), or NULL. */
const struct plan_partition *plan_mount(const struct plan *plan, const char *path);

/*
 * The partitions that are mounted, in the order of mounting: a file system comes after the one it
 * is mounted on. A new array, freed by the caller; returns how many.
 */
size_t plan_by_mount(const struct plan *plan, const struct plan_partition ***ret);

/* A UUID as GPT stores it: the first three fields little-endian (UEFI 2.10, appendix A). */
void plan_gpt_guid(const struct uuid *uuid, uint8_t out[16]);

#endif
