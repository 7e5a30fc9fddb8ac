/* SPDX-License-Identifier: Apache-2.0 */
#include "step/drive.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/blocks.h"

struct drive {
    struct profile_partition root;
    struct profile profile; /* of a disk that has nothing but the root */
    struct plan *plan;
    char *path;
};

static int make_hole(const char *path, uint64_t size_bytes, struct error *err)
{
    SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    return fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0 ? fail_os(err, "create '%s'", path) : 0;
}

int drive_new(const char *path, const char *name, uint64_t size_bytes, uint32_t inodes,
              struct drive **ret, struct error *err)
{
    SCOPED(drive_freep) struct drive *drive = xcalloc(1, sizeof(*drive));

    drive->path = xstrdup(path);
    drive->root = (struct profile_partition){
        .name = (char *)"root", .type = PART_ROOT, .filesystem = FS_EXT4, .mount = (char *)"/"};
    drive->profile = (struct profile){.path = drive->path,
                                      .name = (char *)name,
                                      .seed = (char *)name,
                                      .disk_size_bytes = size_bytes,
                                      .inodes = inodes,
                                      .partitions = &drive->root,
                                      .partition_count = 1};
    if (plan_make(&drive->profile, &drive->plan, err) < 0 || make_hole(path, size_bytes, err) < 0) {
        return -1;
    }
    *ret = TAKE(drive);
    return 0;
}

void drive_free(struct drive *drive)
{
    if (drive != NULL) {
        plan_free(drive->plan);
        free(drive->path);
        free(drive);
    }
}

const struct plan_partition *drive_partition(const struct drive *drive)
{
    return &drive->plan->partitions[0];
}

const char *drive_path(const struct drive *drive)
{
    return drive->path;
}

static void show_progress(void *data, const char *layer, uint64_t done_bytes)
{
    ui_progress(data, layer, done_bytes);
}

int drive_write(struct drive *drive, struct stack *stack, int64_t epoch, const char *temporary,
                struct ui *ui, struct error *err)
{
    static const struct boot no_boot;
    SCOPED(blocks_freep) struct blocks *blocks = blocks_new(drive->plan->size_bytes);
    SCOPED(disk_freep) struct writing *writing = NULL;
    SCOPED_FREE char *detail = NULL;
    const struct disk disk = {.profile = &drive->profile,
                              .plan = drive->plan,
                              .engine = ENGINE_NATIVE,
                              .stack = stack,
                              .boot = &no_boot,
                              .epoch = epoch,
                              .blocks = blocks,
                              .path = drive->path,
                              .reuse = true,
                              .temporary = temporary,
                              .ui = ui};

    if (disk_begin(&disk, &writing, err) < 0 ||
        stack_scan(stack, NULL, disk_taker(writing), show_progress, ui, err) < 0) {
        return -1;
    }
    tree_settle(stack->tree, epoch);
    return disk_check(&disk, err) < 0 ? -1 : disk_end(writing, &detail, err);
}
