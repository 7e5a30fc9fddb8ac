/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine for any file system the appliance knows. One launch: file systems are made and
 * mounted, then two tar streams go in through a pipe. The first brings everything but directories
 * (the ones it needs appear by themselves); the second brings the directories, deepest first, with
 * their final owners, modes, times and attributes, when nothing touches what is in them any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"
#include "disk/core.h"
#include "disk/engine.h"
#include "guest/guest.h"

/* One tar_in at a time: the call blocks, so it has a thread. */
struct tar {
    struct engine *engine;
    pthread_t thread;
    bool running;
    int read_fd, write_fd;
    struct pax *pax;
    int result; /* of the call, after the thread */
    struct error error;
};

struct engine {
    const struct disk *disk;
    struct guest *guest;
    struct tar tar;
    char *kernel; /* the appliance's release */
};

enum { PIPE_BYTES = 1 << 20 };

static int fail_engine(struct engine *engine, struct error *err, const char *doing)
{
    if (err->kind == FAIL_NONE) {
        guest_fail(engine->guest, err, doing);
    }
    if (strstr(err->message, "No space left on device") != NULL) {
        return fail_hint(err, "the image does not fit: raise 'size' under 'disk' in %s",
                         engine->disk->profile->path);
    }
    return -1;
}

/* --- a tar stream into the appliance ----------------------------------------------------- */

static void *run_tar(void *data)
{
    struct tar *tar = data;
    guestfs_h *g = guest_handle(tar->engine->guest);
    SCOPED_FREE char *path = xprintf("/dev/fd/%d", tar->read_fd);

    tar->result = guestfs_tar_in_opts(g, path, "/", GUESTFS_TAR_IN_OPTS_XATTRS, 1,
                                      GUESTFS_TAR_IN_OPTS_ACLS, 1, -1);
    if (tar->result < 0) {
        guest_fail(tar->engine->guest, &tar->error, "write files");
    }
    /* A writer that still has something to say must notice that nobody listens. */
    (void)close(tar->read_fd);
    return NULL;
}

static int pipe_sink(void *data, const void *bytes, size_t size, struct error *err)
{
    const struct tar *tar = data;

    return file_write_all(tar->write_fd, bytes, size, "the pipe to the appliance", err);
}

static int tar_start(struct engine *engine, struct error *err)
{
    struct tar *tar = &engine->tar;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        return fail_os(err, "make a pipe");
    }
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES); /* fewer switches; the default does as well */
    *tar = (struct tar){.engine = engine, .read_fd = ends[0], .write_fd = ends[1]};
    tar->pax = pax_new(pipe_sink, tar);
    errno = pthread_create(&tar->thread, NULL, run_tar, tar);
    if (errno != 0) {
        fail_os(err, "start a thread");
        (void)close(ends[0]);
        (void)close(ends[1]);
        pax_free(TAKE(tar->pax));
        return -1;
    }
    tar->running = true;
    return 0;
}

/*
 * Closes the pipe and waits for the call. What the appliance says of a failure comes before our
 * broken pipe, which only follows from it.
 */
static int tar_join(struct engine *engine, struct error *err)
{
    struct tar *tar = &engine->tar;

    if (!tar->running) {
        return 0;
    }
    (void)close(tar->write_fd);
    (void)pthread_join(tar->thread, NULL);
    tar->running = false;
    pax_free(tar->pax);
    if (tar->result == 0) {
        return 0;
    }
    if (err->kind == FAIL_NONE || err->os == EPIPE) {
        *err = tar->error;
    }
    return fail_engine(engine, err, "write files");
}

static int tar_end(struct engine *engine, struct error *err)
{
    int ended = pax_end(engine->tar.pax, err);

    return tar_join(engine, err) < 0 || ended < 0 ? -1 : 0;
}

/* A failure to write to the pipe is explained by the call that reads it. */
static int tar_result(struct engine *engine, int result, struct error *err)
{
    return result < 0 && err->os == EPIPE ? tar_join(engine, err) : result;
}

static void describe_inode(const struct inode *inode, const char *path, struct entry *ret)
{
    *ret = (struct entry){
        .path = path,
        .type = inode->type,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .mtime = inode->mtime,
        .mtime_ns = inode->mtime_ns,
        .major = inode->major,
        .minor = inode->minor,
        .size = inode->type == ENTRY_FILE ? inode->size : 0,
        .target = inode->target,
        .xattrs = inode->xattrs,
        .xattr_count = inode->xattr_count,
    };
}

static char *member_name(const struct node *node)
{
    struct buf path = {0};

    buf_puts(&path, node->parent == NULL ? "" : "./");
    node_path(node, &path);
    return buf_take(&path);
}

static int put_inode(struct engine *engine, const struct node *node, struct error *err)
{
    const struct inode *inode = node->inode;
    /* A file that is one hole still is a file with holes. */
    struct extent none = {inode->size, 0};
    bool hollow = inode->type == ENTRY_FILE && inode->size != 0 && inode->data_bytes == 0;
    SCOPED_FREE char *path = member_name(node);
    struct entry entry;

    describe_inode(inode, path, &entry);
    return pax_entry(engine->tar.pax, &entry, hollow ? &none : inode->extents,
                     hollow ? 1 : inode->extent_count, err);
}

static int put_link(struct engine *engine, const struct node *node, struct error *err)
{
    SCOPED_FREE char *path = member_name(node), *target = member_name(node->inode->first);
    struct entry entry;

    describe_inode(node->inode, path, &entry);
    entry.type = ENTRY_HARDLINK;
    entry.size = 0;
    entry.target = target;
    entry.xattr_count = 0;
    return pax_entry(engine->tar.pax, &entry, NULL, 0, err);
}

/* What was not streamed: empty files, symlinks, special files, second names. */
static int put_rest(void *data, struct node *node, struct error *err)
{
    struct engine *engine = data;
    const struct inode *inode = node->inode;

    if (inode->type == ENTRY_DIRECTORY || disk_is_vfat(engine->disk->plan, node)) {
        return 0;
    }
    if (inode->first != node) {
        return put_link(engine, node, err);
    }
    return inode->type == ENTRY_FILE && inode->data_bytes != 0 ? 0 : put_inode(engine, node, err);
}

struct nodes {
    const struct plan *plan;
    struct node **items;
    size_t count, space;
};

static int collect_directory(void *data, struct node *node, struct error *err)
{
    struct nodes *nodes = data;

    (void)err;
    if (node->inode->type == ENTRY_DIRECTORY && !disk_is_vfat(nodes->plan, node)) {
        grow(&nodes->items, nodes->count, &nodes->space, sizeof(*nodes->items));
        nodes->items[nodes->count++] = node;
    }
    return 0;
}

/* The walk is parents first; backwards, it is children first. */
static int put_directories(struct engine *engine, struct error *err)
{
    struct nodes nodes = {.plan = engine->disk->plan};
    int result = tree_walk(engine->disk->stack->tree, collect_directory, &nodes, err);

    for (size_t i = nodes.count; i > 0 && result == 0; i--) {
        result = put_inode(engine, nodes.items[i - 1], err);
    }
    free(nodes.items);
    return tar_result(engine, result, err);
}

/* --- file systems ------------------------------------------------------------------------ */

/*
 * The only drive is the first one in the names of libguestfs's calls, which it translates; inside
 * the appliance it may be called anything.
 */
static char *device_of(const struct plan_partition *part)
{
    return xprintf("/dev/sda%u", part->number);
}

/* ext4 was made on the host; the others have no tool that works inside a partition of a file. */
static int make_filesystem(struct engine *engine, const struct plan_partition *part,
                           struct error *err)
{
    guestfs_h *g = guest_handle(engine->guest);
    SCOPED_FREE char *device = device_of(part);
    const char *name = filesystem_name(part->spec->filesystem);
    SCOPED_FREE char *doing =
        xprintf("make the %s file system of partition '%s'", name, part->spec->name);
    char uuid[UUID_TEXT_MAX];

    if (part->spec->filesystem == FS_EXT4) {
        return 0;
    }
    if (guestfs_mkfs_opts(g, name, device, GUESTFS_MKFS_OPTS_LABEL, part->fs_label, -1) < 0 ||
        guestfs_set_uuid(g, device, uuid_text(&part->fs_uuid, uuid)) < 0) {
        return fail_engine(engine, err, doing);
    }
    return 0;
}

static int mount_filesystem(struct engine *engine, const struct plan_partition *part,
                            struct error *err)
{
    guestfs_h *g = guest_handle(engine->guest);
    SCOPED_FREE char *device = device_of(part);
    SCOPED_FREE char *doing = xprintf("mount partition '%s'", part->spec->name);
    /* Inode tables are holes, which are zeros: the kernel need not write them. */
    const char *options = part->spec->filesystem == FS_EXT4 ? "noatime,noinit_itable" : "noatime";

    if (strcmp(part->spec->mount, "/") != 0 && guestfs_mkdir_p(g, part->spec->mount) < 0) {
        return fail_engine(engine, err, doing);
    }
    if (guestfs_mount_options(g, options, device, part->spec->mount) < 0) {
        return fail_engine(engine, err, doing);
    }
    return 0;
}

static bool is_fat_or_none(const struct plan_partition *part)
{
    return part->spec->filesystem == FS_NONE || part->spec->filesystem == FS_VFAT;
}

static int prepare_filesystems(struct engine *engine, struct error *err)
{
    const struct plan *plan = engine->disk->plan;
    SCOPED_FREE const struct plan_partition **parts = NULL;
    size_t count = plan_by_mount(plan, &parts);

    for (size_t i = 0; i < plan->partition_count; i++) {
        if (!is_fat_or_none(&plan->partitions[i]) &&
            make_filesystem(engine, &plan->partitions[i], err) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_fat_or_none(parts[i]) && mount_filesystem(engine, parts[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- GRUB's core image ------------------------------------------------------------------- */

static int make_core(struct engine *engine, struct core *core, struct error *err)
{
    const char *command = engine->disk->boot->core_command;

    if (command == NULL || core->image.size != 0) {
        return 0;
    }
    return core_run(engine->guest, command, core, err) < 0
               ? fail_engine(engine, err, "make GRUB's core image")
               : 0;
}

/* --- the engine -------------------------------------------------------------------------- */

static void note(void *data, const char *text)
{
    ui_note(data, "%s", text);
}

static void engine_free(struct engine *engine)
{
    struct error ignored = {0};

    if (engine == NULL) {
        return;
    }
    if (engine->tar.running) {
        /* Somebody gave up half-way: the appliance need not finish what it was told. */
        guest_kill(engine->guest);
        (void)tar_join(engine, &ignored);
    }
    guest_close(engine->guest);
    free(engine->kernel);
    free(engine);
}

/* What wrote the file systems, for the manifest: their bytes depend on it. */
static int ask_kernel(struct engine *engine, struct error *err)
{
    struct guestfs_utsname *name = guestfs_utsname(guest_handle(engine->guest));

    if (name == NULL) {
        return fail_engine(engine, err, "ask the appliance for its kernel");
    }
    engine->kernel = xstrdup(name->uts_release);
    guestfs_free_utsname(name);
    return 0;
}

static int engine_begin(const struct disk *disk, struct engine **ret, struct error *err)
{
    struct guest_drive drive = {.path = disk->path, .format = "raw", .label = "disk"};
    struct guest_options options = {.drives = &drive,
                                    .drive_count = 1,
                                    .temporary = disk->temporary,
                                    .note = note,
                                    .note_data = disk->ui};
    struct engine *engine = *ret = xcalloc(1, sizeof(*engine));

    engine->disk = disk;
    ui_phase(disk->ui, "starting the appliance", 0);
    if (guest_launch(&options, &engine->guest, err) < 0) {
        return -1;
    }
    ui_detail(disk->ui, "the appliance runs by %s", guest_accelerator(engine->guest));
    if (ask_kernel(engine, err) < 0 || prepare_filesystems(engine, err) < 0) {
        return -1;
    }
    return tar_start(engine, err);
}

static int engine_file(struct engine *engine, struct inode *inode, struct error *err)
{
    return tar_result(engine, put_inode(engine, inode->first, err), err) < 0 ? -1 : 1;
}

static int engine_bytes(struct engine *engine, const void *data, size_t size, uint64_t offset,
                        struct error *err)
{
    (void)offset; /* the tar stream has the list of holes */
    return tar_result(engine, pax_data(engine->tar.pax, data, size, err), err);
}

static int engine_finish(struct engine *engine, struct core *core, struct error *err)
{
    if (tar_result(engine, tree_walk(engine->disk->stack->tree, put_rest, engine, err), err) < 0 ||
        tar_end(engine, err) < 0 || make_core(engine, core, err) < 0) {
        return -1;
    }
    if (tar_start(engine, err) < 0 || put_directories(engine, err) < 0 ||
        tar_end(engine, err) < 0) {
        return -1;
    }
    if (guest_shutdown(engine->guest, err) < 0) {
        return fail_engine(engine, err, "shut the appliance down");
    }
    return 0;
}

static char *engine_describe(const struct engine *engine)
{
    struct guestfs_version *version = guestfs_version(guest_handle(engine->guest));
    char *text;

    if (version == NULL) {
        return xprintf("libguestfs, appliance kernel %s", engine->kernel);
    }
    text = xprintf("libguestfs %lld.%lld.%lld, appliance kernel %s", (long long)version->major,
                   (long long)version->minor, (long long)version->release, engine->kernel);
    guestfs_free_version(version);
    return text;
}

const struct engine_ops engine_guestfs = {
    .begin = engine_begin,
    .file = engine_file,
    .bytes = engine_bytes,
    .finish = engine_finish,
    .describe = engine_describe,
    .free = engine_free,
};
