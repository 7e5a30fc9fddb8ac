/* SPDX-License-Identifier: Apache-2.0 */
/* Engine native, while layers are read: which block and which inode number is whose. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "disk/attributes.h"
#include "disk/directory.h"
#include "disk/native.h"

enum { FAST_SYMLINK = 60 }; /* bytes that fit into the inode, with the NUL */

static const uint8_t zeros[VOLUME_BLOCK];

/* --- which file system ------------------------------------------------------------------- */

void native_find_mounts(struct engine *engine)
{
    const struct plan *plan = engine->disk->plan;

    for (size_t i = 0; i < plan->partition_count; i++) {
        const char *mount = plan->partitions[i].spec->mount;

        engine->mounts[i] = mount != NULL ? tree_find(engine->disk->stack->tree, mount) : NULL;
    }
}

/* The index of the partition that is mounted at NODE, or -1. */
static int mounted_at(const struct engine *engine, const struct node *node)
{
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->mounts[i] == node) {
            return (int)i;
        }
    }
    return -1;
}

/* A FAT's mount point itself is a directory of the file system that it is mounted on, too. */
struct volume *native_home(struct engine *engine, const struct node *node)
{
    const struct node *up = node;
    int at;

    while ((at = mounted_at(engine, up)) < 0 ||
           (up == node && engine->volumes[at] == NULL && up->parent != NULL)) {
        up = up->parent;
    }
    return engine->volumes[at];
}

/* --- what a later layer moved ------------------------------------------------------------ */

static bool has_data(const struct inode *inode)
{
    return inode->type == ENTRY_FILE && inode->data_bytes != 0;
}

static int fail_moved(const struct engine *engine, const struct inode *inode, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    node_path(inode->names, &path);
    fail(err, FAIL_ERROR,
         "layer '%s': '%s': a hard link whose data came by a name on another partition, which a "
         "later layer removed; engine native cannot move it",
         stack_owner(engine->disk->stack, inode), path.data);
    return fail_hint(err, "set 'engine: guestfs' under 'disk' in %s", engine->disk->profile->path);
}

/* What has no data anywhere is placed where its names are now. */
static int check_home(struct engine *engine, struct record *record, struct error *err)
{
    struct inode *inode = record->inode;
    struct volume *home = native_home(engine, inode->names);
    bool kept = record->written || inode->content != NULL;

    if (home != NULL && has_data(inode) &&
        (home == record->volume ? !kept : inode->content == NULL)) {
        return fail_moved(engine, inode, err);
    }
    if (home != record->volume) {
        native_give_all(record);
        native_change(engine, inode);
    }
    return 0;
}

int native_check_homes(struct engine *engine, struct error *err)
{
    native_find_mounts(engine);
    for (uint32_t id = 1; id <= engine->last_id; id++) {
        if (engine->records[id].inode != NULL &&
            check_home(engine, &engine->records[id], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- the image does not fit -------------------------------------------------------------- */

static int fail_full(const struct engine *engine, const struct record *record, const char *what,
                     struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    node_path(record->inode->names, &path);
    fail(err, FAIL_ERROR, "layer '%s': '%s': the image does not fit: partition '%s' has no %s left",
         stack_owner(engine->disk->stack, record->inode), path.data,
         volume_partition(record->volume)->spec->name, what);
    return fail_hint(err, "raise %s under 'disk' in %s",
                     strcmp(what, "inode") == 0 ? "'inodes' (or 'size')" : "'size'",
                     engine->disk->profile->path);
}

/* --- blocks of a record ------------------------------------------------------------------ */

static void add_piece(struct record *record, uint64_t logical, struct run run)
{
    struct piece *last = record->piece_count != 0 ? &record->pieces[record->piece_count - 1] : NULL;
    uint32_t count = record->piece_count;

    if (last != NULL && last->logical + last->count == logical &&
        last->block + last->count == run.block) {
        last->count += run.count;
        return;
    }
    if ((count & (count - 1)) == 0) { /* 0 and the powers of two: room for as many again */
        record->pieces =
            xrealloc(record->pieces, (count == 0 ? 1 : 2 * (size_t)count) * sizeof(*last));
    }
    record->pieces[record->piece_count++] = (struct piece){logical, run.block, run.count};
}

uint64_t native_blocks(const struct record *record)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < record->piece_count; i++) {
        sum += record->pieces[i].count;
    }
    return sum;
}

static void give_tree(struct record *record, uint32_t wanted)
{
    while (record->tree_count > wanted) {
        space_give(volume_space(record->volume),
                   (struct run){record->tree[--record->tree_count], 1});
    }
}

/* Gives blocks back from the end until WANTED are left. */
static void shrink(struct record *record, uint64_t wanted)
{
    uint64_t there = native_blocks(record);

    while (there > wanted) {
        struct piece *last = &record->pieces[record->piece_count - 1];
        uint64_t gone = there - wanted < last->count ? there - wanted : last->count;

        last->count -= gone;
        space_give(volume_space(record->volume), (struct run){last->block + last->count, gone});
        there -= gone;
        record->piece_count -= last->count == 0;
    }
}

void native_give_data(struct record *record)
{
    if (record->volume != NULL) {
        shrink(record, 0);
        give_tree(record, 0);
    }
    free(TAKE(record->pieces));
    free(TAKE(record->tree));
    record->written = false;
}

void native_give_all(struct record *record)
{
    native_give_data(record);
    if (record->volume != NULL && record->attributes != 0) {
        space_give(volume_space(record->volume), (struct run){record->attributes, 1});
    }
    if (record->volume != NULL && record->number != 0 && record->number != VOLUME_ROOT) {
        volume_give_inode(record->volume, record->number);
    }
    record->attributes = 0;
    record->number = 0;
    record->volume = NULL;
}

/* --- data as it comes -------------------------------------------------------------------- */

void native_file(struct engine *engine, struct record *record)
{
    engine->file = record;
    engine->file_at = 0;
    engine->stretch = (struct run){0};
    record->written = true;
}

static uint64_t stretch_end(const struct engine *engine)
{
    return (engine->first + engine->stretch.count) * VOLUME_BLOCK;
}

/* The disk's offset of byte AT of the file, which lies in the stretch. */
static uint64_t stretch_offset(const struct engine *engine, uint64_t at)
{
    return volume_block_offset(engine->file->volume, engine->stretch.block) +
           (at - engine->first * VOLUME_BLOCK);
}

/* Zeros up to byte AT: the file's hole is smaller than a block there, or it ends. */
static int pad(struct engine *engine, uint64_t at, struct error *err)
{
    uint64_t from = engine->stretch_at;

    engine->stretch_at = at;
    return at == from ? 0
                      : writer_put(engine->writer, stretch_offset(engine, from), zeros,
                                   (size_t)(at - from), err);
}

static int pad_stretch(struct engine *engine, struct error *err)
{
    return engine->stretch.count == 0 ? 0 : pad(engine, stretch_end(engine), err);
}

/* Takes blocks; what was freed in this layer only helps once it is zero. */
static int take(struct engine *engine, const struct record *record, enum space_use use,
                uint64_t wanted, struct run *ret, struct error *err);

static int begin_stretch(struct engine *engine, uint64_t offset, uint64_t size, struct error *err)
{
    uint64_t first = offset / VOLUME_BLOCK;
    uint64_t wanted = (offset + size + VOLUME_BLOCK - 1) / VOLUME_BLOCK - first;

    if (pad_stretch(engine, err) < 0 ||
        take(engine, engine->file, SPACE_DATA, wanted, &engine->stretch, err) < 0) {
        return -1;
    }
    engine->first = first;
    engine->stretch_at = first * VOLUME_BLOCK;
    add_piece(engine->file, first, engine->stretch);
    return 0;
}

int native_bytes(struct engine *engine, const void *data, size_t size, uint64_t offset,
                 struct error *err)
{
    const uint8_t *bytes = data;

    if (writer_hole(engine->writer, offset - engine->file_at, err) < 0) {
        return -1;
    }
    engine->file_at = offset + size;
    while (size != 0) {
        size_t here;

        if ((engine->stretch.count == 0 || offset >= stretch_end(engine)) &&
            begin_stretch(engine, offset, size, err) < 0) {
            return -1;
        }
        here = stretch_end(engine) - offset < size ? (size_t)(stretch_end(engine) - offset) : size;
        if (pad(engine, offset, err) < 0 ||
            writer_put_file(engine->writer, stretch_offset(engine, offset), bytes, here, err) < 0) {
            return -1;
        }
        engine->stretch_at += here;
        bytes += here;
        offset += here;
        size -= here;
    }
    return 0;
}

int native_file_end(struct engine *engine, struct error *err)
{
    struct sum *sum = xcalloc(1, sizeof(*sum));
    uint64_t size = engine->file->inode->size;

    sum->id = engine->file->inode->id;
    sum->next = engine->sums;
    engine->sums = sum;
    return pad_stretch(engine, err) < 0 ||
                   writer_hole(engine->writer, size - engine->file_at, err) < 0
               ? -1
               : writer_end_file(engine->writer, sum->digest, err);
}

/* --- after a layer ----------------------------------------------------------------------- */

/* The newest digest of a file is its last; older ones are of content that was replaced. */
static void apply_sums(struct engine *engine)
{
    struct sum *sum = NULL, *next;

    /* Oldest first. */
    for (struct sum *at = engine->sums; at != NULL; at = next) {
        next = at->next;
        at->next = sum;
        sum = at;
    }
    for (; sum != NULL; sum = next) {
        struct inode *inode = engine->records[sum->id].inode;

        next = sum->next;
        if (inode != NULL) {
            memcpy(inode->sha256, sum->digest, HASH_SIZE);
        }
        free(sum);
    }
    engine->sums = NULL;
}

static int write_zeros(struct engine *engine, uint64_t offset, uint64_t size, struct error *err)
{
    for (; size != 0; size -= VOLUME_BLOCK, offset += VOLUME_BLOCK) {
        if (file_pwrite(engine->fd, zeros, VOLUME_BLOCK, offset, engine->disk->path, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Freed blocks are holes again, or zeros where the host's file system knows no holes. */
static int punch(struct engine *engine, struct volume *volume, struct error *err)
{
    size_t count;
    const struct run *runs = space_given(volume_space(volume), &count);

    for (size_t i = 0; i < count; i++) {
        uint64_t offset = volume_block_offset(volume, runs[i].block);
        uint64_t size = runs[i].count * VOLUME_BLOCK;

        blocks_forget(engine->disk->blocks, offset, size);
        if (fallocate(engine->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                      (off_t)size) < 0 &&
            write_zeros(engine, offset, size, err) < 0) {
            return -1;
        }
    }
    space_settle(volume_space(volume));
    return 0;
}

static int punch_all(struct engine *engine, struct error *err)
{
    if (writer_flush(engine->writer, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->volumes[i] != NULL && punch(engine, engine->volumes[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int take(struct engine *engine, const struct record *record, enum space_use use,
                uint64_t wanted, struct run *ret, struct error *err)
{
    struct space *space = volume_space(record->volume);
    size_t given;

    if (space_take(space, use, wanted, ret)) {
        return 0;
    }
    (void)space_given(space, &given);
    if (given != 0 && punch_all(engine, err) < 0) {
        return -1;
    }
    return given != 0 && space_take(space, use, wanted, ret)
               ? 0
               : fail_full(engine, record, "block", err);
}

static int resize(struct engine *engine, struct record *record, uint64_t wanted, struct error *err)
{
    uint64_t there = native_blocks(record);
    struct run run;

    shrink(record, wanted);
    for (; there < wanted; there += run.count) {
        if (take(engine, record, SPACE_METADATA, wanted - there, &run, err) < 0) {
            return -1;
        }
        add_piece(record, there, run);
    }
    return 0;
}

static int resize_tree(struct engine *engine, struct record *record, struct error *err)
{
    size_t wanted = extents_blocks(extents_count(record->pieces, record->piece_count));
    struct run run;

    give_tree(record, (uint32_t)wanted);
    if (record->tree_count < wanted) {
        record->tree = xrealloc(record->tree, wanted * sizeof(*record->tree));
    }
    while (record->tree_count < wanted) {
        if (take(engine, record, SPACE_METADATA, 1, &run, err) < 0) {
            return -1;
        }
        record->tree[record->tree_count++] = run.block;
    }
    return 0;
}

static int resize_attributes(struct engine *engine, struct record *record, struct error *err)
{
    bool wanted = attributes_need_block(record->inode);
    struct run run;

    if (wanted == (record->attributes != 0)) {
        return 0;
    }
    if (!wanted) {
        space_give(volume_space(record->volume), (struct run){record->attributes, 1});
        record->attributes = 0;
        return 0;
    }
    if (take(engine, record, SPACE_METADATA, 1, &run, err) < 0) {
        return -1;
    }
    record->attributes = run.block;
    return 0;
}

size_t native_directory_bytes(struct engine *engine, const struct record *record)
{
    const struct node *node = record->inode->names;
    size_t bytes = 0;
    int at = mounted_at(engine, node);

    if (record->number == VOLUME_ROOT) {
        bytes += directory_entry_bytes(strlen("lost+found"));
    }
    /* What is below the mount point of a FAT is on the FAT. */
    for (const struct node *child = at >= 0 && engine->volumes[at] == NULL ? NULL : node->children;
         child != NULL; child = child->next) {
        bytes += directory_entry_bytes(child->length);
    }
    return bytes;
}

uint64_t native_symlink_blocks(const char *target)
{
    return strlen(target) >= FAST_SYMLINK;
}

static int place_directory(struct engine *engine, struct record *record, struct error *err)
{
    size_t blocks = directory_blocks(native_directory_bytes(engine, record));

    if (!directory_is_possible(blocks)) {
        SCOPED(buf_done) struct buf path = {0};

        node_path(record->inode->names, &path);
        return fail(err, FAIL_ERROR, "layer '%s': '%s': a directory with too many names for ext4",
                    stack_owner(engine->disk->stack, record->inode), path.data);
    }
    return resize(engine, record, blocks, err);
}

/* A file that kiln adds itself comes from memory. */
static int place_content(struct engine *engine, struct record *record, struct error *err)
{
    const struct inode *inode = record->inode;

    if (record->written || inode->data_bytes == 0 || inode->content == NULL) {
        return 0;
    }
    native_file(engine, record);
    return native_bytes(engine, inode->content, inode->size, 0, err) < 0
               ? -1
               : native_file_end(engine, err);
}

static int place_number(struct engine *engine, struct record *record, struct error *err)
{
    const struct node *node = record->inode->names;
    int at = mounted_at(engine, node);

    if (record->number != 0) {
        return 0;
    }
    record->number = at >= 0 && engine->volumes[at] == record->volume
                         ? VOLUME_ROOT
                         : volume_take_inode(record->volume);
    return record->number != 0 ? 0 : fail_full(engine, record, "inode", err);
}

static int place_record(struct engine *engine, struct record *record, struct error *err)
{
    const struct inode *inode = record->inode;
    int result = 0;

    if (record->volume == NULL) {
        record->volume = native_home(engine, inode->names);
    }
    if (record->volume == NULL) {
        return 0;
    }
    if (place_number(engine, record, err) < 0) {
        return -1;
    }
    if (inode->type == ENTRY_DIRECTORY) {
        result = place_directory(engine, record, err);
    } else if (inode->type == ENTRY_SYMLINK) {
        result = resize(engine, record, native_symlink_blocks(inode->target), err);
    } else if (inode->type == ENTRY_FILE) {
        result = place_content(engine, record, err);
    }
    return result < 0 || resize_attributes(engine, record, err) < 0 ||
                   resize_tree(engine, record, err) < 0
               ? -1
               : 0;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

void native_forget_changes(struct engine *engine)
{
    for (size_t i = 0; i < engine->changed_count; i++) {
        engine->records[engine->changed[i]].changed = false;
    }
    engine->changed_count = 0;
}

int native_settle(struct engine *engine, struct error *err)
{
    native_find_mounts(engine);
    if (punch_all(engine, err) < 0) {
        return -1;
    }
    apply_sums(engine);
    if (engine->changed_count != 0) {
        qsort(engine->changed, engine->changed_count, sizeof(*engine->changed), by_id);
    }
    for (size_t i = 0; i < engine->changed_count; i++) {
        struct record *record = &engine->records[engine->changed[i]];

        record->changed = false;
        if (record->inode != NULL && place_record(engine, record, err) < 0) {
            return -1;
        }
    }
    engine->changed_count = 0;
    /* Metadata that shrank was never written: its blocks are zero as they are. */
    if (writer_flush(engine->writer, err) < 0) {
        return -1;
    }
    apply_sums(engine);
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->volumes[i] != NULL) {
            space_settle(volume_space(engine->volumes[i]));
        }
    }
    return 0;
}
