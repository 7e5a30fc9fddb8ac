/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/check.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "profile/grammar.h"
#include "profile/packages.h"
#include "profile/target.h"

static const uint64_t MIB = 1 << 20;

/*
 * FAT32 has at least 65525 clusters (Microsoft's FAT specification, 3.5); with the smallest ones,
 * of 512 bytes, both tables and the alignment that is 34 MiB.
 */
static const uint64_t VFAT_MIN = 34 << 20;
static const uint64_t DISK_MAX = 64ULL << 40; /* the largest volume that a cloud offers */
static const uint64_t MEMORY_STANDARD = 1 << 30, MEMORY_MIN = 64 << 20, MEMORY_MAX = 64ULL << 30;

enum {
    PARTITIONS_MAX = 128, /* entries of an ordinary GPT */
    SCRIPT_MAX = 1 << 20, /* bytes */
    MOUNTS_MAX = 64,      /* of a step */
    TIMEOUT_STANDARD_S = 30 * 60,
    TIMEOUT_MAX_S = 24 * 60 * 60,
};

/* The place of KEY's value in MAP, or of MAP where it has no such key. */
static struct mark mark_in(const struct node *map, const char *key)
{
    const struct node *node = node_find(map, key);

    return node != NULL ? node->mark : map->mark;
}

/* --- layers ---------------------------------------------------------------------------------- */

static bool has_file(const char *directory, const char *name)
{
    SCOPED_FREE char *path = file_join(directory, name);

    return file_exists(path);
}

/* What is wrong with the script file at PATH, or NULL. */
static const char *check_script_file(const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode)) {
        return "not a file";
    }
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0) {
        return strerror(errno);
    }
    if (st->st_size > SCRIPT_MAX) {
        return "larger than 1MiB (give the script its data with 'mount')";
    }
    return st->st_size == 0 ? "an empty file" : NULL;
}

/* What is wrong with the archive at PATH, or NULL. */
static const char *check_archive(const char *path, const struct stat *st)
{
    bool directory = S_ISDIR(st->st_mode);

    if (!directory && !S_ISREG(st->st_mode)) {
        return "not a file";
    }
    if (faccessat(AT_FDCWD, path, directory ? R_OK | X_OK : R_OK, AT_EACCESS) < 0) {
        return strerror(errno);
    }
    if (directory && !has_file(path, "oci-layout") && !has_file(path, "manifest.json")) {
        return "a directory that is no OCI image (a plain one goes under 'directory')";
    }
    return NULL;
}

static const char *check_directory(const char *path, const struct stat *st)
{
    if (!S_ISDIR(st->st_mode)) {
        return "not a directory";
    }
    return faccessat(AT_FDCWD, path, R_OK | X_OK, AT_EACCESS) < 0 ? strerror(errno) : NULL;
}

/* Whether what PATH names can be read; the message says KEY and the path as written, NAME. */
static void check_source(const char *key, const char *name, const char *path, struct mark mark,
                         struct problems *problems)
{
    bool archive = strcmp(key, "archive") == 0, script = strcmp(key, "run") == 0;
    const char *wrong, *hint = "";
    struct stat st;

    if (stat(path, &st) < 0) {
        wrong = errno != ENOENT     ? strerror(errno)
                : archive || script ? "no such file"
                                    : "no such directory";
        hint = script ? " (a script written here is a block scalar, after 'run: |')" : "";
    } else {
        wrong = script    ? check_script_file(path, &st)
                : archive ? check_archive(path, &st)
                          : check_directory(path, &st);
        hint = strcmp(key, "directory") == 0 && !S_ISDIR(st.st_mode)
                   ? " (a file goes under 'archive')"
                   : "";
    }
    if (wrong != NULL) {
        problem_add(problems, mark, "%s %s: %s%s", key, QUOTE(name, strlen(name)), wrong, hint);
    }
}

static const char *file_of(const struct profile *profile, struct mark mark)
{
    return mark.file != NULL ? mark.file : profile->path;
}

/* True when PATH is TO or below it. */
static bool is_below(const char *path, const char *to)
{
    size_t length = strlen(to);

    return strcmp(to, "/") == 0 ||
           (strncmp(path, to, length) == 0 && (path[length] == '\0' || path[length] == '/'));
}

static void check_sets(const struct profile_layer *layer, const struct node *node,
                       struct problems *problems)
{
    for (size_t i = 0; i < layer->set_count; i++) {
        const struct profile_set *set = &layer->sets[i];

        if (!is_below(set->path, layer->to)) {
            problem_add(problems, set->mark, "set: PATH %s: the directory goes to %s (%s)",
                        QUOTE(set->path, strlen(set->path)), QUOTE(layer->to, strlen(layer->to)),
                        PLACE(problems, mark_in(node, "to")));
        }
    }
}

static void complete_files(struct profile_layer *layer, struct problems *problems)
{
    for (size_t i = 0; i < layer->file_count; i++) {
        struct profile_file *file = &layer->files[i];

        if (strcmp(file->path, "/") == 0 && !file->directory) {
            problem_add(problems, file->mark, "files: '/' can only be a directory");
        }
        if (!file->attributes.has_mode) {
            file->attributes.mode = file->directory ? 0755 : file->symlink != NULL ? 0777 : 0644;
        }
    }
}

/* --- steps ----------------------------------------------------------------------------------- */

static int compare_mounts(const void *a, const void *b)
{
    const struct profile_mount *x = a, *y = b;
    int order = strcmp(x->target, y->target);

    return order != 0                     ? order
           : x->mark.line != y->mark.line ? (x->mark.line < y->mark.line ? -1 : 1)
                                          : (x->mark.column < y->mark.column ? -1 : 1);
}

/* The first of the mounts before the one at INDEX that has its target or one above it, or NULL. */
static const struct profile_mount *find_above(const struct profile_layer *layer, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (is_below(layer->mounts[index].target, layer->mounts[i].target)) {
            return &layer->mounts[i];
        }
    }
    return NULL;
}

/* Sorted by target, what is below another comes after it. */
static void check_mounts(const struct profile *profile, struct profile_layer *layer,
                         const struct node *node, struct problems *problems)
{
    if (layer->mount_count > MOUNTS_MAX) {
        problem_add(problems, mark_in(node, "mount"), "mount: more than %d directories",
                    MOUNTS_MAX);
        return;
    }
    for (size_t i = 0; i < layer->mount_count; i++) {
        struct profile_mount *mount = &layer->mounts[i];

        mount->path = file_beside(file_of(profile, mount->mark), mount->name);
        check_source("mount", mount->name, mount->path, mount->mark, problems);
    }
    if (layer->mount_count != 0) {
        qsort(layer->mounts, layer->mount_count, sizeof(*layer->mounts), compare_mounts);
    }
    for (size_t i = 1; i < layer->mount_count; i++) {
        const struct profile_mount *mount = &layer->mounts[i], *other = find_above(layer, i);

        if (other != NULL) {
            problem_add(problems, mount->mark, "mount: %s is %s %s (%s)",
                        QUOTE(mount->target, strlen(mount->target)),
                        strcmp(mount->target, other->target) == 0 ? "also the place of"
                                                                  : "below the place of",
                        QUOTE(other->name, strlen(other->name)), PLACE(problems, other->mark));
        }
    }
}

static void check_limits(struct profile_layer *layer, const struct node *node,
                         struct problems *problems)
{
    if (node_find(node, "timeout") == NULL) {
        layer->timeout_s = TIMEOUT_STANDARD_S;
    } else if (layer->timeout_s > TIMEOUT_MAX_S) {
        problem_add(problems, mark_in(node, "timeout"), "timeout: more than 24h");
    }
    if (node_find(node, "memory") == NULL) {
        layer->memory_bytes = MEMORY_STANDARD;
    } else if (layer->memory_bytes < MEMORY_MIN) {
        problem_add(problems, mark_in(node, "memory"), "memory: less than 64MiB");
    } else if (layer->memory_bytes > MEMORY_MAX) {
        problem_add(problems, mark_in(node, "memory"), "memory: more than 64GiB");
    }
}

/* What tells layers apart that have no path: there may be several of WHAT. */
static char *place_name(const char *what, struct mark mark)
{
    return mark.file == NULL ? xprintf("%s:%u", what, mark.line)
                             : xprintf("%s:%s:%u", what, mark.file, mark.line);
}

/* A text of several lines is the script, one of a single line its path. */
static void check_script(const struct profile *profile, struct profile_layer *layer,
                         const struct node *source, struct problems *problems)
{
    if (strchr(layer->script, '\n') != NULL) {
        layer->name = place_name("run", layer->mark);
        if (layer->script_size > SCRIPT_MAX) {
            problem_add(problems, source->mark, "run: more than 1MiB of text");
        }
        return;
    }
    layer->name = TAKE(layer->script);
    layer->script_size = 0;
    layer->path = file_beside(file_of(profile, layer->mark), layer->name);
    check_source("run", layer->name, layer->path, source->mark, problems);
}

/* --- all layers ------------------------------------------------------------------------------ */

/* The key that says what a layer is; exactly one is there. */
static const struct node *find_source(const struct node *node, enum layer_kind *ret_kind)
{
    static const char *const keys[] = {[LAYER_ARCHIVE] = "archive",
                                       [LAYER_DIRECTORY] = "directory",
                                       [LAYER_FILES] = "files",
                                       [LAYER_PACKAGES] = "packages",
                                       [LAYER_RUN] = "run"};
    const struct node *source = NULL;

    for (unsigned i = 0; source == NULL; i++) {
        assert(i < COUNT(keys));
        source = node_find(node, keys[i]);
        *ret_kind = (enum layer_kind)i;
    }
    return source;
}

static void check_layer(const struct profile *profile, struct profile_layer *layer,
                        const struct node *node, struct problems *problems)
{
    const struct node *source = find_source(node, &layer->kind);

    if (layer->to == NULL) {
        layer->to = xstrdup("/");
    }
    switch (layer->kind) {
    case LAYER_ARCHIVE:
    case LAYER_DIRECTORY:
        layer->path = file_beside(file_of(profile, layer->mark), layer->name);
        check_source(source->key, layer->name, layer->path, source->mark, problems);
        check_sets(layer, node, problems);
        break;
    case LAYER_FILES:
        layer->name = place_name("files", layer->mark);
        complete_files(layer, problems);
        break;
    case LAYER_PACKAGES:
        layer->name = place_name("packages", layer->mark);
        packages_find(layer, source, file_of(profile, layer->mark), problems);
        check_limits(layer, node, problems);
        break;
    case LAYER_RUN:
        check_script(profile, layer, source, problems);
        check_mounts(profile, layer, node, problems);
        check_limits(layer, node, problems);
        break;
    }
}

void check_layers(struct profile *profile, const struct node *root, struct problems *problems)
{
    const struct node *layers = node_find(root, "layers"), *node;
    size_t i = 0;

    if (profile->layer_count == 0) {
        return; /* reported, and perhaps no list at all */
    }
    for (node = layers->first; node != NULL; node = node->next, i++) {
        if (!node->bad) {
            check_layer(profile, &profile->layers[i], node, problems);
        }
    }
}

/* --- partitions ------------------------------------------------------------------------------ */

struct partitions {
    const struct profile *profile;
    const struct node *disk, *list;
    const struct node **nodes; /* one for each */
    struct problems *problems;
};

static void check_unique(const struct partitions *p, size_t i)
{
    const struct profile_partition *all = p->profile->partitions, *one = &all[i];
    bool name = false, mount = false, type = false;

    for (size_t k = 0; k < i; k++) {
        const char *first = PLACE(p->problems, all[k].mark);

        if (!name && strcmp(all[k].name, one->name) == 0) {
            name = true;
            problem_add(p->problems, mark_in(p->nodes[i], "name"),
                        "a second partition '%s' (the first at %s)", one->name,
                        PLACE(p->problems, mark_in(p->nodes[k], "name")));
        }
        if (!type && one->type != PART_DATA && all[k].type == one->type) {
            type = true;
            problem_add(p->problems, mark_in(p->nodes[i], "type"),
                        "a second partition of type '%s' (the first at %s)",
                        partition_type_name(one->type), first);
        } else if (!mount && one->mount != NULL && strcmp(one->mount, "/") != 0 &&
                   all[k].mount != NULL && strcmp(all[k].mount, one->mount) == 0) {
            mount = true;
            problem_add(p->problems, one->mount_mark, "partition '%s': '%s' is taken by '%s' (%s)",
                        one->name, one->mount, all[k].name, PLACE(p->problems, all[k].mount_mark));
        }
    }
}

static void check_filesystem(const struct partitions *p, size_t i)
{
    const struct profile_partition *one = &p->profile->partitions[i];
    bool root_fs =
        one->filesystem == FS_EXT4 || one->filesystem == FS_XFS || one->filesystem == FS_BTRFS;
    const char *wrong = NULL;

    if (one->type == PART_BIOS_BOOT && one->filesystem != FS_NONE) {
        wrong = "a bios-boot partition has no file system";
    } else if (one->type == PART_ESP && one->filesystem != FS_VFAT) {
        wrong = "an esp needs 'filesystem: vfat'";
    } else if (one->type == PART_ROOT && !root_fs) {
        wrong = "the root partition needs a 'filesystem' of ext4, xfs or btrfs";
    }
    if (wrong != NULL) {
        problem_add(p->problems, mark_in(p->nodes[i], "filesystem"), "partition '%s': %s",
                    one->name, wrong);
    }
}

static void check_mounted(const struct partitions *p, size_t i)
{
    const struct profile_partition *one = &p->profile->partitions[i];
    bool at_root = one->mount != NULL && strcmp(one->mount, "/") == 0;
    const char *wrong = NULL;

    if (one->type == PART_ROOT && !at_root) {
        wrong = "the root partition needs 'mount: /'";
    } else if (one->type != PART_ROOT && at_root) {
        wrong = "only a partition of type 'root' is mounted at '/'";
    } else if (one->type == PART_BIOS_BOOT && one->mount != NULL) {
        wrong = "a bios-boot partition cannot be mounted";
    } else if (one->type == PART_DATA && one->filesystem == FS_NONE && one->mount != NULL) {
        wrong = "without a 'filesystem' it cannot be mounted";
    } else if (one->type == PART_ESP && one->mount == NULL &&
               (p->profile->firmware & FIRMWARE_UEFI) != 0) {
        wrong = "firmware 'uefi' needs it mounted (like 'mount: /boot/efi')";
    }
    if (wrong != NULL) {
        problem_add(p->problems, mark_in(p->nodes[i], "mount"), "partition '%s': %s", one->name,
                    wrong);
    }
}

static void check_size(const struct partitions *p, size_t i)
{
    const struct profile_partition *one = &p->profile->partitions[i];
    char text[TEXT_SIZE_MAX];

    if (one->size_bytes == 0) {
        if (i + 1 != p->profile->partition_count) {
            problem_add(p->problems, one->size_mark,
                        "partition '%s': only the last partition can have the rest of the disk",
                        one->name);
        }
        return;
    }
    if (one->size_bytes % MIB != 0) {
        problem_add(p->problems, one->size_mark,
                    "partition '%s': %" PRIu64 " bytes are not whole "
                    "MiB",
                    one->name, one->size_bytes);
    } else if (one->type != PART_BIOS_BOOT && one->filesystem == FS_VFAT &&
               one->size_bytes < VFAT_MIN) {
        problem_add(p->problems, one->size_mark,
                    "partition '%s': %s is too small for FAT32 (34MiB at least)", one->name,
                    text_size(one->size_bytes, text));
    } else if (one->size_bytes > DISK_MAX) {
        problem_add(p->problems, one->size_mark, "partition '%s': more than 64TiB", one->name);
    }
}

static const struct profile_partition *find_type(const struct partitions *p,
                                                 enum partition_type type)
{
    for (size_t i = 0; i < p->profile->partition_count; i++) {
        if (p->profile->partitions[i].type == type) {
            return &p->profile->partitions[i];
        }
    }
    return NULL;
}

/* What must be there, and where. */
static void check_types(const struct partitions *p)
{
    const struct profile *profile = p->profile;
    const struct profile_partition *root = find_type(p, PART_ROOT),
                                   *last = &profile->partitions[profile->partition_count - 1];
    struct mark firmware =
        profile->firmware_mark.line != 0 ? profile->firmware_mark : p->list->mark;

    if (root == NULL) {
        problem_add(p->problems, p->list->mark, "no partition of type 'root'");
    } else if (last->type != PART_ROOT) {
        problem_add(p->problems, root->mark,
                    "the root partition must be the last, so that it can grow ('%s' at %s comes "
                    "after it)",
                    last->name, PLACE(p->problems, last->mark));
    }
    if ((profile->firmware & FIRMWARE_BIOS) != 0 && find_type(p, PART_BIOS_BOOT) == NULL) {
        problem_add(p->problems, firmware,
                    "firmware 'bios' needs a partition of type 'bios-boot' (add {name: bios, type: "
                    "bios-boot, size: 1MiB})");
    }
    if ((profile->firmware & FIRMWARE_UEFI) != 0 && find_type(p, PART_ESP) == NULL) {
        problem_add(p->problems, firmware,
                    "firmware 'uefi' needs a partition of type 'esp' (add {name: esp, type: esp, "
                    "filesystem: vfat, size: 64MiB, mount: /boot/efi})");
    }
    if (profile->inodes != 0 && root != NULL && root->filesystem != FS_EXT4 &&
        root->filesystem != FS_NONE) {
        problem_add(p->problems, mark_in(p->disk, "inodes"),
                    "'inodes' is for ext4; the root file system is %s",
                    filesystem_name(root->filesystem));
    }
}

static void check_partitions(const struct profile *profile, const struct node *disk,
                             const struct node *list, struct problems *problems)
{
    SCOPED_FREE const struct node **nodes =
        xcalloc(profile->partition_count, sizeof(struct node *));
    const struct partitions p = {profile, disk, list, nodes, problems};
    size_t i = 0;

    if (profile->partition_count > PARTITIONS_MAX) {
        problem_add(problems, list->mark, "%zu partitions; a partition table holds %d",
                    profile->partition_count, PARTITIONS_MAX);
        return;
    }
    for (const struct node *node = list->first; node != NULL; node = node->next) {
        nodes[i++] = node;
    }
    for (i = 0; i < profile->partition_count; i++) {
        check_unique(&p, i);
        check_filesystem(&p, i);
        check_mounted(&p, i);
        check_size(&p, i);
    }
    check_types(&p);
}

/* --- the disk -------------------------------------------------------------------------------- */

static void check_firmware(const struct profile *profile, const struct node *disk,
                           struct problems *problems)
{
    const struct node *list = node_find(disk, "firmware"), *item;

    if (list == NULL || list->bad || profile->architecture != ARCH_AARCH64) {
        return;
    }
    for (item = list->first; item != NULL; item = item->next) {
        if (item->kind == NODE_SCALAR && strcmp(item->text, "bios") == 0) {
            problem_add(problems, item->mark,
                        "firmware 'bios' does not exist for aarch64, which starts by UEFI only "
                        "(architecture at %s)",
                        PLACE(problems, profile->architecture_mark));
        }
    }
}

/* The default formats have qcow2; a list may be without. */
static void check_compression(const struct profile *profile, const struct node *disk,
                              struct problems *problems)
{
    const struct node *compression = node_find(disk, "qcow2_compression");
    const struct node *formats = node_find(disk, "formats");

    if (compression != NULL && formats != NULL && !formats->bad && profile->formats != 0 &&
        (profile->formats & FORMAT_QCOW2) == 0) {
        problem_add(problems, compression->mark,
                    "'qcow2_compression' is for qcow2, which 'formats' does not list (at %s)",
                    PLACE(problems, formats->mark));
    }
}

void check_disk(const struct profile *profile, const struct node *root, struct problems *problems)
{
    const struct node *disk = node_find(root, "disk"), *firmware, *partitions;

    if (disk == NULL || disk->kind != NODE_MAP) {
        return;
    }
    if (profile->disk_size_bytes > DISK_MAX) {
        problem_add(problems, profile->disk_size_mark, "size: more than 64TiB");
    }
    check_compression(profile, disk, problems);
    check_firmware(profile, disk, problems);
    firmware = node_find(disk, "firmware");
    partitions = node_find(disk, "partitions");
    if (partitions != NULL && !partitions->bad && profile->partition_count != 0 &&
        (firmware == NULL || !firmware->bad)) {
        check_partitions(profile, disk, partitions, problems);
    }
}

/* --- targets --------------------------------------------------------------------------------- */

/* disk.raw is always there, and what is not listed is not made. */
static void check_takes(const struct profile *profile, const struct target *target,
                        struct problems *problems)
{
    unsigned missing = target_kinds[target->cloud]->takes(target) & ~profile->formats & ~FORMAT_RAW;

    for (const struct word *word = format_words; word->name != NULL; word++) {
        if (word->instead == NULL && (missing & word->value) != 0) {
            problem_add(problems, target->mark,
                        "target '%s' takes %s, which 'formats' does not list (add it at %s)",
                        target->name, word->name, PLACE(problems, profile->formats_mark));
        }
    }
}

void check_targets(const struct profile *profile, const struct node *root,
                   struct problems *problems)
{
    const struct node *node = node_find(root, "targets"), *disk = node_find(root, "disk");
    const struct node *firmware = disk != NULL ? node_find(disk, "firmware") : NULL;
    const struct node *formats = disk != NULL ? node_find(disk, "formats") : NULL;

    if (node == NULL || node->bad || profile->targets == NULL) {
        return;
    }
    for (size_t i = 0; i < profile->targets->count; i++) {
        const struct target *target = &profile->targets->items[i];
        const char *wrong = target_misfit(target, profile->firmware);

        if (wrong != NULL && (firmware == NULL || !firmware->bad)) {
            problem_add(problems, target->mark, "target '%s': %s", target->name, wrong);
        }
        if (formats != NULL && !formats->bad) {
            check_takes(profile, target, problems);
        }
    }
}
