/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/plan.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "disk/fat.h"

#define MIB (1ULL << 20)

/* Every partition begins on a boundary that suits flash, RAID and Azure's page blobs alike. */
#define ALIGNMENT MIB

/* The backup partition table: 32 sectors of entries and the header. */
#define BACKUP_BYTES (33ULL * SECTOR_SIZE)

/* FAT counts its sectors in 32 bits. */
#define FAT_SIZE_MAX ((uint64_t)UINT32_MAX * SECTOR_SIZE)

/* What mkfs refuses to go below; ext4: what leaves room for a journal. */
static const struct limits {
    uint64_t min_bytes, max_bytes;
    size_t label_max;
} limits[] = {
    [FS_NONE] = {MIB, UINT64_MAX, 0},
    [FS_EXT4] = {16 * MIB, UINT64_MAX, 16},
    [FS_XFS] = {300 * MIB, UINT64_MAX, 12},
    [FS_BTRFS] = {128 * MIB, UINT64_MAX, 16},
    [FS_VFAT] = {FAT_SIZE_MIN, FAT_SIZE_MAX, 11},
};

/* UEFI 2.10, 5.3.3; GRUB manual, "BIOS installation"; the Discoverable Partitions Specification. */
static struct uuid type_uuid(enum partition_type type, enum architecture architecture)
{
    static const char *const texts[] = {
        [PART_BIOS_BOOT] = "21686148-6449-6e6f-744e-656564454649",
        [PART_ESP] = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        [PART_DATA] = "0fc63daf-8483-4772-8e79-3d69d8477de4",
    };
    static const char *const roots[] = {
        [ARCH_X86_64] = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        [ARCH_AARCH64] = "b921b045-1df0-41c3-af44-4c6f280d3fae",
    };
    struct uuid uuid = {0};
    bool parsed = uuid_parse(type == PART_ROOT ? roots[architecture] : texts[type], &uuid);

    assert(parsed);
    (void)parsed;
    return uuid;
}

static struct uuid named_uuid(const struct profile *profile, const char *kind,
                              const struct plan_partition *partition)
{
    SCOPED_FREE char *name = xprintf("%s/%s", kind, partition->spec->name);

    return uuid_from(profile->seed, name);
}

static void set_label(struct plan_partition *partition)
{
    const struct profile_partition *spec = partition->spec;
    size_t length = strnlen(spec->name, limits[spec->filesystem].label_max);

    for (size_t i = 0; i < length; i++) {
        char c = spec->name[i];

        partition->fs_label[i] =
            (char)(spec->filesystem == FS_VFAT ? toupper((unsigned char)c) : c);
    }
}

/* Everything it is called. Names, never content: a UUID that changes changes every checksum. */
static void identify(const struct profile *profile, struct plan_partition *partition)
{
    enum filesystem filesystem = partition->spec->filesystem;
    struct uuid volume = named_uuid(profile, "volume", partition);

    partition->type = type_uuid(partition->spec->type, profile->architecture);
    partition->uuid = named_uuid(profile, "partition", partition);
    partition->fs_uuid = named_uuid(profile, "filesystem", partition);
    partition->hash_seed = named_uuid(profile, "hash-seed", partition);
    for (size_t i = 0; i < 4; i++) {
        partition->volume_id = partition->volume_id << 8 | volume.bytes[i];
    }
    if (partition->volume_id == 0) {
        partition->volume_id = 1; /* 0 reads as "none" */
    }
    if (filesystem == FS_VFAT) {
        (void)snprintf(partition->fs_id, sizeof(partition->fs_id), "%04X-%04X",
                       partition->volume_id >> 16, partition->volume_id & 0xffff);
    } else if (filesystem != FS_NONE) {
        (void)uuid_text(&partition->fs_uuid, partition->fs_id);
    }
    set_label(partition);
}

static int check_size(const struct profile *profile, const struct plan_partition *partition,
                      struct error *err)
{
    const struct profile_partition *spec = partition->spec;
    const struct limits *limit = &limits[spec->filesystem];
    char is[TEXT_SIZE_MAX], must_be[TEXT_SIZE_MAX];
    bool large = partition->size_bytes > limit->max_bytes;

    if (!large && partition->size_bytes >= limit->min_bytes) {
        return 0;
    }
    (void)text_size(large ? limit->max_bytes : limit->min_bytes, must_be);
    return profile_fail(
        profile, spec->size_mark.line != 0 ? spec->size_mark : spec->mark, err,
        "partition '%s': %s %s; %s %s %s", spec->name, text_size(partition->size_bytes, is),
        spec->size_bytes == 0 ? "are left for it" : "is its size",
        spec->filesystem == FS_NONE ? "a partition" : filesystem_name(spec->filesystem),
        large ? "takes at most" : "needs at least", must_be);
}

/* Places PARTITION at *AT and moves *AT behind it. */
static int place(const struct profile *profile, struct plan_partition *partition, uint64_t *at,
                 struct error *err)
{
    const struct profile_partition *spec = partition->spec;
    uint64_t end = profile->disk_size_bytes - BACKUP_BYTES;
    char size[TEXT_SIZE_MAX], over[TEXT_SIZE_MAX], disk[TEXT_SIZE_MAX];

    partition->offset_bytes = *at;
    partition->size_bytes = spec->size_bytes;
    if (spec->size_bytes == 0) {
        uint64_t last = end / ALIGNMENT * ALIGNMENT;

        partition->size_bytes = last > *at ? last - *at : 0;
    } else if (*at + spec->size_bytes > end) {
        return profile_fail(profile, spec->size_mark.line != 0 ? spec->size_mark : spec->mark, err,
                            "partition '%s' does not fit: its %s end %s behind the last usable "
                            "byte of a disk of %s",
                            spec->name, text_size(spec->size_bytes, size),
                            text_size(*at + spec->size_bytes - end, over),
                            text_size(profile->disk_size_bytes, disk));
    }
    if (check_size(profile, partition, err) < 0) {
        return -1;
    }
    *at += (partition->size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return 0;
}

int plan_make(const struct profile *profile, struct plan **ret, struct error *err)
{
    SCOPED(plan_freep) struct plan *plan = xcalloc(1, sizeof(*plan));
    uint64_t at = ALIGNMENT;

    assert(profile->disk_size_bytes >= 2 * ALIGNMENT);
    plan->size_bytes = profile->disk_size_bytes;
    plan->disk_uuid = uuid_from(profile->seed, "disk");
    plan->partition_count = profile->partition_count;
    plan->partitions = xcalloc(plan->partition_count, sizeof(*plan->partitions));
    for (size_t i = 0; i < plan->partition_count; i++) {
        struct plan_partition *partition = &plan->partitions[i];

        partition->spec = &profile->partitions[i];
        partition->number = (unsigned)i + 1;
        identify(profile, partition);
        if (place(profile, partition, &at, err) < 0) {
            return -1;
        }
    }
    *ret = TAKE(plan);
    return 0;
}

void plan_free(struct plan *plan)
{
    if (plan != NULL) {
        free(plan->partitions);
        free(plan);
    }
}

const struct plan_partition *plan_find(const struct plan *plan, enum partition_type type)
{
    for (size_t i = 0; i < plan->partition_count; i++) {
        if (plan->partitions[i].spec->type == type) {
            return &plan->partitions[i];
        }
    }
    return NULL;
}

/* The length of MOUNT when PATH is it or below it, else 0; "/" is above all. */
static size_t match(const char *mount, const char *path)
{
    size_t length = strlen(mount);

    if (strcmp(mount, "/") == 0) {
        return 1;
    }
    return strncmp(path, mount, length) == 0 && (path[length] == '/' || path[length] == '\0')
               ? length
               : 0;
}

const struct plan_partition *plan_mount(const struct plan *plan, const char *path)
{
    const struct plan_partition *best = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < plan->partition_count; i++) {
        const char *mount = plan->partitions[i].spec->mount;
        size_t length = mount != NULL ? match(mount, path) : 0;

        if (length > longest) {
            longest = length;
            best = &plan->partitions[i];
        }
    }
    return best;
}

static int by_mount(const void *a, const void *b)
{
    const struct plan_partition *x = *(const struct plan_partition *const *)a;
    const struct plan_partition *y = *(const struct plan_partition *const *)b;

    return strcmp(x->spec->mount, y->spec->mount);
}

size_t plan_by_mount(const struct plan *plan, const struct plan_partition ***ret)
{
    const struct plan_partition **parts = xcalloc(plan->partition_count, sizeof(*parts));
    size_t count = 0;

    for (size_t i = 0; i < plan->partition_count; i++) {
        if (plan->partitions[i].spec->mount != NULL) {
            parts[count++] = &plan->partitions[i];
        }
    }
    qsort(parts, count, sizeof(*parts), by_mount);
    *ret = parts;
    return count;
}

void plan_gpt_guid(const struct uuid *uuid, uint8_t out[16])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

    for (size_t i = 0; i < sizeof(order); i++) {
        out[i] = uuid->bytes[order[i]];
    }
}
