/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/core.h"
#include "disk/engine.h"
#include "disk/ext4.h"
#include "disk/fat.h"
#include "disk/gpt.h"
#include "disk/state.h"

/* The work in progress. */
struct writing {
    const struct disk *disk;
    const struct engine_ops *ops;
    struct engine *engine;
    struct fat **fats;   /* by index of the partition; NULL for those that are not FAT */
    struct fat *current; /* where the bytes of the file at hand go; NULL: the engine */
    int fd;
    struct stack_taker taker;
    struct state *state; /* NULL: no cache */
};

const struct plan_partition *disk_home(const struct plan *plan, const struct node *node,
                                       struct buf *path)
{
    SCOPED(buf_done) struct buf absolute = {0};
    size_t start = path->size;

    node_path(node, path);
    buf_putc(&absolute, '/');
    if (node->parent != NULL) {
        buf_puts(&absolute, path->data + start);
    }
    return plan_mount(plan, absolute.data);
}

bool disk_is_vfat(const struct plan *plan, const struct node *node)
{
    SCOPED(buf_done) struct buf path = {0};
    const struct plan_partition *home = disk_home(plan, node, &path);

    return home->spec->filesystem == FS_VFAT && strcmp(home->spec->mount + 1, path.data) != 0;
}

/* The name of PATH (below the mount point) on its own file system, without a leading slash. */
static const char *inside(const struct plan_partition *home, const char *path)
{
    size_t length = strlen(home->spec->mount + 1);

    return path[length] == '/' ? path + length + 1 : path + length;
}

/* --- which engine ------------------------------------------------------------------------ */

/* The first partition that only the appliance can fill, or NULL. */
static const struct profile_partition *needs_appliance(const struct profile *profile)
{
    for (size_t i = 0; i < profile->partition_count; i++) {
        enum filesystem filesystem = profile->partitions[i].filesystem;

        if (filesystem == FS_XFS || filesystem == FS_BTRFS) {
            return &profile->partitions[i];
        }
    }
    return NULL;
}

int disk_choose_engine(const struct profile *profile, enum engine_kind *ret,
                       const char **ret_reason, struct error *err)
{
    const struct profile_partition *other = needs_appliance(profile);

    if (profile->engine == ENGINE_NATIVE && other != NULL) {
        profile_fail(profile, other->mark, err, "partition '%s': engine 'native' does not know %s",
                     other->name, filesystem_name(other->filesystem));
        return fail_hint(err, "leave 'engine' out, or say 'guestfs'");
    }
    *ret = profile->engine != ENGINE_AUTO ? profile->engine
           : other != NULL                ? ENGINE_GUESTFS
                                          : ENGINE_NATIVE;
    *ret_reason = profile->engine != ENGINE_AUTO ? "asked for"
                  : other == NULL                ? "auto: every file system is ext4 or vfat"
                  : other->filesystem == FS_XFS  ? "auto: for xfs"
                                                 : "auto: for btrfs";
    return 0;
}

static const struct engine_ops *find_engine(enum engine_kind kind)
{
    return kind == ENGINE_NATIVE ? &engine_native : &engine_guestfs;
}

/* --- empty disk -------------------------------------------------------------------------- */

static int create(const struct disk *disk, struct error *err)
{
    int how = disk->reuse ? O_TRUNC : O_CREAT | O_EXCL;
    SCOPED_FD int fd = open(disk->path, O_RDWR | O_CLOEXEC | how, 0666);

    if (fd < 0) {
        return fail_os(err, "create '%s'", disk->path);
    }
    if (ftruncate(fd, (off_t)disk->plan->size_bytes) < 0) {
        return fail_os(err, "make '%s' %llu bytes long", disk->path,
                       (unsigned long long)disk->plan->size_bytes);
    }
    return gpt_write(fd, disk->plan, disk->path, err);
}

static int make_ext4(const struct disk *disk, struct error *err)
{
    for (size_t i = 0; i < disk->plan->partition_count; i++) {
        const struct plan_partition *part = &disk->plan->partitions[i];
        bool root = part->spec->type == PART_ROOT;

        if (part->spec->filesystem == FS_EXT4 &&
            ext4_make(disk->path, part, root ? disk->profile->inodes : 0, disk->epoch, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int open_fats(struct writing *writing, struct error *err)
{
    const struct plan *plan = writing->disk->plan;

    for (size_t i = 0; i < plan->partition_count; i++) {
        const struct plan_partition *part = &plan->partitions[i];

        if (part->spec->filesystem == FS_VFAT &&
            fat_new(writing->fd, part->offset_bytes, part->size_bytes, part->volume_id,
                    part->fs_label, part->spec->name, &writing->fats[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- does it fit ------------------------------------------------------------------------- */

struct need {
    uint64_t blocks, inodes;
};

struct needs {
    const struct disk *disk;
    struct need *by_partition;
};

/* Blocks of a directory: entries of 8 bytes and the name, to a multiple of 4, three quarters full.
 */
static uint64_t directory_blocks(const struct node *node)
{
    uint64_t bytes = 24;

    for (const struct node *child = node->children; child != NULL; child = child->next) {
        bytes += 8 + ((child->length + 3ULL) & ~3ULL);
    }
    return bytes <= EXT4_BLOCK - 12 ? 1 : bytes * 4 / 3 / EXT4_BLOCK + 2;
}

static int add_need(void *data, struct node *node, struct error *err)
{
    struct needs *needs = data;
    const struct inode *inode = node->inode;
    SCOPED(buf_done) struct buf path = {0};
    const struct plan_partition *home = disk_home(needs->disk->plan, node, &path);
    struct need *need;

    (void)err;
    if (inode->first != node) {
        return 0;
    }
    need = &needs->by_partition[home->number - 1];
    need->inodes++;
    need->blocks += (inode->data_bytes + EXT4_BLOCK - 1) / EXT4_BLOCK + inode->extent_count;
    if (inode->type == ENTRY_DIRECTORY) {
        need->blocks += directory_blocks(node);
    } else if (inode->type == ENTRY_SYMLINK && strlen(inode->target) >= 60) {
        need->blocks++;
    }
    return 0;
}

static int too_small(const struct disk *disk, const struct plan_partition *part, const char *what,
                     uint64_t needed, uint64_t there, bool bytes, struct error *err)
{
    char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

    if (bytes) {
        fail(err, FAIL_ERROR,
             "the image does not fit: partition '%s' has room for %s, the layers need %s",
             part->spec->name, text_size(there, a), text_size(needed, b));
        return fail_hint(err, "raise 'size' under 'disk' in %s", disk->profile->path);
    }
    fail(err, FAIL_ERROR,
         "the image does not fit: partition '%s' has %llu %s, the layers need %llu",
         part->spec->name, (unsigned long long)there, what, (unsigned long long)needed);
    return fail_hint(err, "raise 'inodes' (or 'size') under 'disk' in %s", disk->profile->path);
}

static int check_partition(const struct disk *disk, int fd, const struct plan_partition *part,
                           const struct need *need, struct error *err)
{
    uint64_t blocks = part->size_bytes / EXT4_BLOCK, inodes = UINT64_MAX;

    if (part->spec->filesystem == FS_EXT4 && ext4_free_space(fd, part, &blocks, &inodes, err) < 0) {
        return -1;
    }
    if (need->blocks > blocks) {
        return too_small(disk, part, "", need->blocks * EXT4_BLOCK, blocks * EXT4_BLOCK, true, err);
    }
    if (need->inodes > inodes) {
        return too_small(disk, part, "inodes", need->inodes, inodes, false, err);
    }
    return 0;
}

/* The host's file system must take the data too: a full one would stop the appliance half-way. */
static int check_host(const struct disk *disk, uint64_t needed, struct error *err)
{
    char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];
    struct statvfs st;
    uint64_t there;

    if (statvfs(disk->temporary, &st) < 0) {
        return fail_os(err, "find the free space of '%s'", disk->temporary);
    }
    there = (uint64_t)st.f_bavail * st.f_frsize;
    if (needed > there) {
        fail(err, FAIL_ERROR, "no space for '%s': %s are free, the disk needs about %s", disk->path,
             text_size(there, a), text_size(needed, b));
        return fail_hint(err, "free some space, or name another place with -o");
    }
    return 0;
}

static int check_fit(const struct disk *disk, int fd, struct error *err)
{
    const struct plan *plan = disk->plan;
    SCOPED_FREE struct need *by_partition = xcalloc(plan->partition_count, sizeof(*by_partition));
    struct needs needs = {disk, by_partition};
    uint64_t blocks = 0;

    if (tree_walk(disk->stack->tree, add_need, &needs, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < plan->partition_count; i++) {
        const struct plan_partition *part = &plan->partitions[i];

        if (part->spec->filesystem != FS_NONE && part->spec->filesystem != FS_VFAT &&
            check_partition(disk, fd, part, &by_partition[i], err) < 0) {
            return -1;
        }
        blocks += by_partition[i].blocks;
    }
    /* Metadata and journal are small beside data: 16 MiB and one part in 64. */
    return check_host(disk, blocks * EXT4_BLOCK * 65 / 64 + (16 << 20), err);
}

/* --- content ----------------------------------------------------------------------------- */

static int put_file(void *data, const struct inode *inode, struct error *err)
{
    struct writing *writing = data;
    SCOPED(buf_done) struct buf path = {0};
    const struct plan_partition *home = disk_home(writing->disk->plan, inode->first, &path);

    writing->current = writing->fats[home->number - 1];
    if (writing->current == NULL) {
        return writing->ops->file(writing->engine, inode->first->inode, err) < 0 ? -1 : 0;
    }
    return fat_file(writing->current, inside(home, path.data), inode->mtime, inode->size, err);
}

static int put_bytes(void *data, const void *bytes, size_t size, uint64_t offset, struct error *err)
{
    struct writing *writing = data;

    if (writing->current == NULL) {
        return writing->ops->bytes(writing->engine, bytes, size, offset, err);
    }
    return fat_data(writing->current, bytes, size, err);
}

/* An eager engine has everything but the files for FAT. */
static bool wants_fat(void *data, const struct inode *inode)
{
    const struct writing *writing = data;

    return disk_is_vfat(writing->disk->plan, inode->first);
}

static void show_progress(void *data, const char *layer, uint64_t done_bytes)
{
    struct writing *writing = data;

    ui_progress(writing->disk->ui, layer, done_bytes);
}

/* FAT wants its directories before their files; empty files have no data to be streamed. */
static int put_on_fat(void *data, struct node *node, struct error *err)
{
    struct writing *writing = data;
    const struct inode *inode = node->inode;
    SCOPED(buf_done) struct buf path = {0};
    const struct plan_partition *home;
    struct fat *fat;

    if (!disk_is_vfat(writing->disk->plan, node)) {
        return 0;
    }
    home = disk_home(writing->disk->plan, node, &path);
    fat = writing->fats[home->number - 1];
    if (inode->type == ENTRY_DIRECTORY) {
        return fat_directory(fat, inside(home, path.data), inode->mtime, err);
    }
    return inode->data_bytes == 0 ? fat_file(fat, inside(home, path.data), inode->mtime, 0, err)
                                  : 0;
}

static int finish_fats(struct writing *writing, struct error *err)
{
    for (size_t i = 0; i < writing->disk->plan->partition_count; i++) {
        if (writing->fats[i] != NULL && fat_finish(writing->fats[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What an eager engine is given while layers are read. */
static int take_file(void *data, struct inode *inode, struct error *err)
{
    struct writing *writing = data;

    return writing->ops->file(writing->engine, inode, err);
}

static int take_bytes(void *data, const void *bytes, size_t size, uint64_t offset,
                      struct error *err)
{
    struct writing *writing = data;

    return writing->ops->bytes(writing->engine, bytes, size, offset, err);
}

static int take_end(void *data, struct inode *inode, struct error *err)
{
    struct writing *writing = data;

    (void)inode;
    return writing->ops->file_end(writing->engine, err);
}

static int take_layer(void *data, size_t index, struct error *err)
{
    struct writing *writing = data;

    if (writing->ops->layer_end(writing->engine, err) < 0) {
        return -1;
    }
    return writing->state != NULL ? state_layer(writing->state, writing->engine, index, err) : 0;
}

const struct stack_taker *disk_taker(const struct writing *writing)
{
    return writing->ops->eager ? &writing->taker : NULL;
}

/* A new disk file, with the engine on it where it is eager. */
static int begin_new(struct writing *writing, struct error *err)
{
    const struct disk *disk = writing->disk;

    if (create(disk, err) < 0) {
        return -1;
    }
    writing->fd = open(disk->path, O_RDWR | O_CLOEXEC);
    if (writing->fd < 0) {
        return fail_os(err, "open '%s'", disk->path);
    }
    return writing->ops->eager ? writing->ops->begin(disk, &writing->engine, err) : 0;
}

/* The same from a cached state where there is one that is of use. */
static int begin_from_state(struct writing *writing, struct error *err)
{
    SCOPED(buf_done) struct buf part = {0};
    struct unpack in;
    int found = state_find(writing->state, &part, err);

    if (found < 0 || begin_new(writing, err) < 0) {
        return -1;
    }
    in = (struct unpack){(const uint8_t *)part.data, (const uint8_t *)part.data + part.size, false};
    if (found == 0 || (writing->ops->load(writing->engine, &in, err) == 0 &&
                       state_copy(writing->state, err) == 0)) {
        return 0;
    }
    writing->ops->free(TAKE(writing->engine));
    scope_fd(&writing->fd);
    writing->fd = -1;
    return state_reject(writing->state, err) < 0 ? -1 : begin_new(writing, err);
}

int disk_begin(const struct disk *disk, struct writing **ret, struct error *err)
{
    SCOPED(disk_freep) struct writing *writing = xcalloc(1, sizeof(*writing));
    int result;

    writing->disk = disk;
    writing->ops = find_engine(disk->engine);
    writing->fats = xcalloc(disk->plan->partition_count, sizeof(struct fat *));
    writing->fd = -1;
    writing->taker = (struct stack_taker){take_file, take_bytes, take_end, take_layer, writing};
    if (writing->ops->eager && disk->store != NULL && disk->use_states) {
        writing->state = state_new(disk, writing->ops);
    }
    result = writing->state != NULL ? begin_from_state(writing, err) : begin_new(writing, err);
    if (result < 0) {
        return -1;
    }
    *ret = TAKE(writing);
    return 0;
}

/* An engine that begins when everything is known. */
static int begin_late(struct writing *writing, struct error *err)
{
    const struct disk *disk = writing->disk;

    return make_ext4(disk, err) < 0 || check_fit(disk, writing->fd, err) < 0 ||
                   writing->ops->begin(disk, &writing->engine, err) < 0
               ? -1
               : 0;
}

static int stream(struct writing *writing, struct error *err)
{
    const struct disk *disk = writing->disk;
    struct stack_sink sink = {.file = put_file,
                              .bytes = put_bytes,
                              .wants = writing->ops->eager ? wants_fat : NULL,
                              .progress = show_progress,
                              .data = writing};

    ui_phase(disk->ui, "writing the disk", writing->ops->eager ? 0 : stack_size(disk->stack));
    return stack_stream(disk->stack, &sink, err);
}

/* What is written here, and not by an engine that tells of it. */
static void forget_rest(const struct writing *writing)
{
    const struct plan *plan = writing->disk->plan;
    uint64_t at = 0;

    for (size_t i = 0; i < plan->partition_count; i++) {
        const struct plan_partition *part = &plan->partitions[i];

        if (part->spec->filesystem == FS_EXT4) {
            blocks_forget(writing->disk->blocks, at, part->offset_bytes - at);
            at = part->offset_bytes + part->size_bytes;
        }
    }
    blocks_forget(writing->disk->blocks, at, plan->size_bytes - at);
}

static int embed(struct writing *writing, const struct buf *core, struct error *err)
{
    const struct disk *disk = writing->disk;

    return disk->boot->core_command == NULL
               ? 0
               : boot_embed(writing->fd, disk->plan, disk->boot, core, disk->path, err);
}

int disk_end(struct writing *writing, char **ret_detail, struct error *err)
{
    SCOPED(core_done) struct core core = {0};
    bool found;

    core_find(writing->disk, &core);
    found = core.image.size != 0;
    if (open_fats(writing, err) < 0 ||
        tree_walk(writing->disk->stack->tree, put_on_fat, writing, err) < 0 ||
        (!writing->ops->eager && begin_late(writing, err) < 0) || stream(writing, err) < 0 ||
        writing->ops->finish(writing->engine, &core, err) < 0 || finish_fats(writing, err) < 0) {
        return -1;
    }
    ui_phase_end(writing->disk->ui);
    if (core.image.size == 0 && core_make(writing->disk, &core, err) < 0) {
        return -1;
    }
    if (embed(writing, &core.image, err) < 0) {
        return -1;
    }
    if (!found) {
        core_keep(writing->disk, &core);
    }
    forget_rest(writing);
    *ret_detail = writing->ops->describe(writing->engine);
    return 0;
}

void disk_free(struct writing *writing)
{
    if (writing == NULL) {
        return;
    }
    writing->ops->free(writing->engine);
    for (size_t i = 0; i < writing->disk->plan->partition_count; i++) {
        fat_free(writing->fats[i]);
    }
    state_free(writing->state);
    free(writing->fats);
    scope_fd(&writing->fd);
    free(writing);
}
