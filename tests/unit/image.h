/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small images of engine native, made without layers on disk: entries are applied to the tree and
 * their data handed to the engine as stack_scan does; e2fsprogs, which know nothing of kiln, judge
 * them. Include it after tools.h.
 */
#ifndef TESTS_UNIT_IMAGE_H
#define TESTS_UNIT_IMAGE_H

#include "disk/disk.h"
#include "disk/engine.h"
#include "disk/native.h"

enum { EPOCH = 1700000000 };

struct image {
    struct profile *profile;
    struct plan *plan;
    struct stack stack;
    struct disk disk;
    struct engine *engine;
    unsigned part;
    uint64_t sequence;
    struct error err;
};

/* A disk of one ext4 file system, or of PARTITIONS (YAML). */
static inline void image_open(struct image *image, const char *path, const char *size,
                              const char *partitions)
{
    SCOPED_FREE char *yaml = xprintf(
        "name: t\narchitecture: x86_64\nlayers: [{files: {/x: {content: x}}}]\n"
        "disk: {size: %s, firmware: [], partitions: [%s]}\n",
        size,
        partitions != NULL ? partitions
                           : "{name: root, type: root, filesystem: ext4, size: rest, mount: /}");
    SCOPED_FD int fd = -1;

    memset(image, 0, sizeof(*image));
    if (profile_parse("t.yaml", yaml, strlen(yaml), &image->profile, &image->err) < 0 ||
        plan_make(image->profile, &image->plan, &image->err) < 0) {
        fail_msg("%s", image->err.message);
    }
    (void)unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)image->plan->size_bytes), 0);
    image->stack.tree = tree_new(NULL);
    image->disk = (struct disk){.profile = image->profile,
                                .plan = image->plan,
                                .engine = ENGINE_NATIVE,
                                .stack = &image->stack,
                                .epoch = EPOCH,
                                .blocks = blocks_new(image->plan->size_bytes),
                                .path = path,
                                .temporary = "."};
    tree_begin(image->stack.tree, 0, 0, "layer", RULES_MERGE, false);
}

static inline void image_begin(struct image *image)
{
    if (engine_native.begin(&image->disk, &image->engine, &image->err) < 0) {
        fail_msg("%s", image->err.message);
    }
}

static inline void image_new(struct image *image, const char *path, const char *size,
                             const char *partitions)
{
    image_open(image, path, size, partitions);
    image_begin(image);
}

static inline void image_done(struct image *image)
{
    engine_native.free(image->engine);
    tree_free(image->stack.tree);
    blocks_free(image->disk.blocks);
    plan_free(image->plan);
    profile_free(image->profile);
}

static inline struct volume *image_volume(const struct image *image)
{
    return image->engine->volumes[0];
}

/* Data of a file: it lies at OFFSET. */
struct data {
    uint64_t offset;
    const void *bytes;
    size_t size;
};

static inline int image_try(struct image *image, struct entry entry, const struct data *data,
                            size_t count)
{
    struct inode *inode = NULL;
    int taken;

    entry.mode = entry.mode != 0 ? entry.mode : entry.type == ENTRY_DIRECTORY ? 0755 : 0644;
    entry.mtime = entry.mtime != 0 ? entry.mtime : EPOCH;
    if (tree_apply(image->stack.tree, &entry, image->sequence++, &inode, &image->err) < 0) {
        return -1;
    }
    if (inode == NULL) {
        return 0;
    }
    taken = engine_native.file(image->engine, inode, &image->err);
    inode->data_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        inode->data_bytes += data[i].size;
        if (taken > 0 && engine_native.bytes(image->engine, data[i].bytes, data[i].size,
                                             data[i].offset, &image->err) < 0) {
            return -1;
        }
    }
    return taken > 0 ? engine_native.file_end(image->engine, &image->err) : taken;
}

static inline void image_add(struct image *image, struct entry entry, const struct data *data,
                             size_t count)
{
    if (image_try(image, entry, data, count) < 0) {
        fail_msg("%s: %s", entry.path, image->err.message);
    }
}

static inline void image_file(struct image *image, const char *path, const void *bytes, size_t size)
{
    const struct data data = {0, bytes, size};

    image_add(image, (struct entry){.path = path, .type = ENTRY_FILE, .size = size}, &data,
              size != 0);
}

static inline void image_directory(struct image *image, const char *path)
{
    image_add(image, (struct entry){.path = path, .type = ENTRY_DIRECTORY}, NULL, 0);
}

static inline void image_link(struct image *image, const char *path, const char *target)
{
    image_add(image, (struct entry){.path = path, .type = ENTRY_HARDLINK, .target = target}, NULL,
              0);
}

static inline void image_remove(struct image *image, const char *path)
{
    const char *base = strrchr(path, '/');
    size_t length = base != NULL ? (size_t)(base + 1 - path) : 0;
    SCOPED_FREE char *whiteout = xprintf("%.*s.wh.%s", (int)length, path, path + length);

    image_add(image, (struct entry){.path = whiteout, .type = ENTRY_FILE}, NULL, 0);
}

/* The layer is over; the next one begins. */
static inline void image_layer(struct image *image)
{
    if (engine_native.layer_end(image->engine, &image->err) < 0) {
        fail_msg("%s", image->err.message);
    }
    image->part++;
    image->sequence = 0;
    tree_begin(image->stack.tree, image->part, image->part, "layer", RULES_OCI, false);
}

static inline int image_try_finish(struct image *image)
{
    struct core core = {0};

    tree_settle(image->stack.tree, EPOCH);
    return disk_check(&image->disk, &image->err) < 0 ||
                   engine_native.finish(image->engine, &core, &image->err) < 0
               ? -1
               : 0;
}

/* The partition NUMBER of the disk as e2fsprogs take it; a new string. */
static inline char *image_part(const struct image *image, unsigned number)
{
    return xprintf("%s?offset=%llu", image->disk.path,
                   (unsigned long long)image->plan->partitions[number - 1].offset_bytes);
}

/* A message of e2fsck's beyond its headings fails the test. */
static inline void must_be_clean(const char *part)
{
    SCOPED_FREE char *text = RUN("e2fsck", "-f", "-n", part);
    char *rest = text;

    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0' && strncmp(line, "Pass ", 5) != 0 && strncmp(line, "e2fsck ", 7) != 0 &&
            strstr(line, " files (") == NULL) {
            fail_msg("e2fsck: %s", line);
        }
    }
}

/* Finishes it, and e2fsck finds nothing to say of any of its file systems. */
static inline void image_finish(struct image *image)
{
    if (image_try_finish(image) < 0) {
        fail_msg("%s", image->err.message);
    }
    for (unsigned number = 1; number <= image->plan->partition_count; number++) {
        SCOPED_FREE char *part = image_part(image, number);

        if (image->plan->partitions[number - 1].spec->filesystem == FS_EXT4) {
            must_be_clean(part);
        }
    }
}

/* What debugfs answers; a new string. */
static inline char *image_debugfs(const struct image *image, const char *command)
{
    SCOPED_FREE char *part = image_part(image, 1);

    return RUN("debugfs", "-R", command, part);
}

#endif
