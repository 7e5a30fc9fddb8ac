/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine without a virtual machine: ext4 written straight into the sparse disk file, in one
 * pass over the layers, the same bytes every time. See native.h.
 */
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "disk/ext4.h"
#include "disk/native.h"

/* --- what the tree tells ----------------------------------------------------------------- */

struct record *native_record(struct engine *engine, struct inode *inode)
{
    struct record *record;

    while (inode->id >= engine->record_space) {
        size_t old = engine->record_space;

        grow(&engine->records, engine->record_space, &engine->record_space,
             sizeof(*engine->records));
        memset(engine->records + old, 0, (engine->record_space - old) * sizeof(*engine->records));
    }
    engine->last_id = inode->id > engine->last_id ? inode->id : engine->last_id;
    record = &engine->records[inode->id];
    record->inode = inode;
    return record;
}

void native_change(struct engine *engine, struct inode *inode)
{
    struct record *record = native_record(engine, inode);

    if (!record->changed) {
        record->changed = true;
        grow(&engine->changed, engine->changed_count, &engine->changed_space,
             sizeof(*engine->changed));
        engine->changed[engine->changed_count++] = inode->id;
    }
}

static void on_changed(void *data, struct inode *inode)
{
    native_change(data, inode);
}

static void on_cleared(void *data, struct inode *inode)
{
    native_give_data(native_record(data, inode));
    on_changed(data, inode);
}

static void on_gone(void *data, struct inode *inode)
{
    struct record *record = native_record(data, inode);

    native_give_all(record);
    record->inode = NULL;
}

/* --- the engine -------------------------------------------------------------------------- */

static void engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    tree_watch(engine->disk->stack->tree, NULL);
    writer_free(engine->writer);
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        volume_free(engine->volumes[i]);
    }
    for (size_t i = 0; i < engine->record_space; i++) {
        free(engine->records[i].pieces);
        free(engine->records[i].tree);
    }
    for (struct sum *sum = engine->sums, *next; sum != NULL; sum = next) {
        next = sum->next;
        free(sum);
    }
    scope_fd(&engine->fd);
    free(engine->volumes);
    free(engine->stubs);
    free(engine->mounts);
    free(engine->records);
    free(engine->changed);
    free(engine);
}

static int make_volumes(struct engine *engine, struct error *err)
{
    const struct disk *disk = engine->disk;

    for (size_t i = 0; i < disk->plan->partition_count; i++) {
        const struct plan_partition *part = &disk->plan->partitions[i];
        uint32_t inodes = part->spec->type == PART_ROOT ? disk->profile->inodes : 0;

        if (part->spec->filesystem == FS_EXT4 &&
            volume_new(disk->path, part, inodes, &engine->volumes[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The file system that holds the mount point of partition INDEX; NULL when it is not ext4. */
static struct volume *below(const struct engine *engine, size_t index)
{
    const struct plan *plan = engine->disk->plan;
    SCOPED_FREE char *path = xstrdup(plan->partitions[index].spec->mount);
    char *slash = strrchr(path, '/');

    slash[slash == path] = '\0';
    return engine->volumes[plan_mount(plan, path)->number - 1];
}

/* Mount points are placed first, so that they never move. */
static int make_stubs(struct engine *engine, struct error *err)
{
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        const struct profile_partition *spec = engine->disk->plan->partitions[i].spec;
        struct stub *stub = &engine->stubs[i];
        struct volume *volume;
        struct run run;

        if (engine->volumes[i] == NULL || spec->mount == NULL || strcmp(spec->mount, "/") == 0) {
            continue;
        }
        volume = below(engine, i);
        if (volume == NULL) {
            continue;
        }
        *stub = (struct stub){.volume = volume, .number = volume_take_inode(volume)};
        if (stub->number == 0 || !space_take(volume_space(volume), SPACE_METADATA, 1, &run)) {
            return fail(err, FAIL_ERROR, "partition '%s' is too small for an ext4 file system",
                        volume_partition(volume)->spec->name);
        }
        stub->block = run.block;
    }
    return 0;
}

static int engine_begin(const struct disk *disk, struct engine **ret, struct error *err)
{
    struct engine *engine = *ret = xcalloc(1, sizeof(*engine));
    struct tree_watch watch = {on_changed, on_cleared, on_gone, engine};
    size_t count = disk->plan->partition_count;

    engine->disk = disk;
    engine->volumes = xcalloc(count, sizeof(struct volume *));
    engine->stubs = xcalloc(count, sizeof(*engine->stubs));
    engine->mounts = xcalloc(count, sizeof(struct node *));
    engine->fd = open(disk->path, O_RDWR | O_CLOEXEC);
    if (engine->fd < 0) {
        return fail_os(err, "open '%s'", disk->path);
    }
    engine->writer = writer_new(engine->fd, disk->path, disk->blocks);
    if (engine->writer == NULL) {
        return fail_os(err, "start a thread");
    }
    if (make_volumes(engine, err) < 0 || make_stubs(engine, err) < 0) {
        return -1;
    }
    tree_watch(disk->stack->tree, &watch);
    on_changed(engine, tree_find(disk->stack->tree, "/")->inode);
    return 0;
}

/* disk_check refuses it too, but that would be after all its zeros were digested. */
static int fail_large(const struct engine *engine, const struct inode *inode, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};
    char size[TEXT_SIZE_MAX];

    node_path(inode->names, &path);
    return fail(err, FAIL_ERROR, "layer '%s': '%s': a file of %s; ext4 takes less than 16 TiB",
                stack_owner(engine->disk->stack, inode), path.data, text_size(inode->size, size));
}

/* Files for a FAT are not taken: they are streamed at the end, in the order that it wants. */
static int engine_file(struct engine *engine, struct inode *inode, struct error *err)
{
    struct record *record = native_record(engine, inode);

    if (record->volume == NULL) {
        native_find_mounts(engine);
        record->volume = native_home(engine, inode->names);
    }
    if (record->volume == NULL) {
        return 0;
    }
    if (inode->size > EXT4_FILE_MAX) {
        return fail_large(engine, inode, err);
    }
    native_file(engine, record);
    return 1;
}

static int engine_finish(struct engine *engine, struct core *core, struct error *err)
{
    (void)core;
    return native_check_homes(engine, err) < 0 || native_settle(engine, err) < 0
               ? -1
               : native_write(engine, err);
}

static char *engine_describe(const struct engine *engine)
{
    const char *version = NULL, *date = NULL;

    (void)engine;
    (void)ext2fs_get_library_version(&version, &date);
    return xprintf("libext2fs %s", version);
}

const struct engine_ops engine_native = {
    .eager = true,
    .begin = engine_begin,
    .file = engine_file,
    .bytes = native_bytes,
    .file_end = native_file_end,
    .layer_end = native_settle,
    .save = native_save,
    .load = native_load,
    .finish = engine_finish,
    .describe = engine_describe,
    .free = engine_free,
};
