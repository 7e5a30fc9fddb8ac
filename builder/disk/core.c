/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/core.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/text.h"
#include "store/store.h"

enum {
    CORE_LIMIT = 1 << 20,       /* bytes; the place for it on a disk is not larger */
    LIBRARIES_LIMIT = 64 << 10, /* bytes */
};

static int decode_base64(const char *text, struct buf *ret, struct error *err)
{
    size_t length = strlen(text), padding = 0;
    int size;

    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    size = length == 0 || length > INT32_MAX
               ? -1
               : EVP_DecodeBlock((unsigned char *)buf_reserve(ret, length),
                                 (const unsigned char *)text, (int)length);
    if (size < 0) {
        return fail(err, FAIL_ERROR, "the image's grub-mkimage wrote no core image");
    }
    ret->size += (size_t)size - padding;
    return 0;
}

void core_done(struct core *core)
{
    buf_done(&core->image);
    buf_done(&core->libraries);
}

/* COMMAND begins with the program's path. */
static char *program_of(const char *command)
{
    return xstrndup(command, strcspn(command, " "));
}

/* Lines like "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", of which the path is kept. */
static void add_libraries(char *lines, struct buf *ret)
{
    for (char *line; (line = strsep(&lines, "\n")) != NULL;) {
        const char *path = strchr(line, '/');

        if (path != NULL && ret->size < LIBRARIES_LIMIT / 2) {
            buf_printf(ret, "%.*s\n", (int)strcspn(path, " "), path);
        }
    }
}

int core_run(struct guest *guest, const char *command, struct core *core, struct error *err)
{
    SCOPED_FREE char *program = program_of(command);
    /* How a program says what it is linked with: ld.so(8). */
    SCOPED_FREE char *trace = xprintf("LD_TRACE_LOADED_OBJECTS=1 %s", program);
    SCOPED_FREE char *text = guestfs_sh(guest_handle(guest), command);
    SCOPED_FREE char *libraries = NULL;

    if (text == NULL) {
        return guest_fail(guest, err, "make GRUB's core image with the image's grub-mkimage");
    }
    libraries = guestfs_sh(guest_handle(guest), trace);
    if (libraries == NULL) {
        return guest_fail(guest, err, "ask what the image's grub-mkimage is linked with");
    }
    add_libraries(libraries, &core->libraries);
    return decode_base64(text, &core->image, err);
}

/* --- the store --------------------------------------------------------------------------- */

/*
 * In two steps, because only running grub-mkimage tells what it is linked with: by the program, the
 * paths of its libraries; by these files, the core image. A package that brings another library so
 * costs no launch.
 */

struct inputs {
    struct hash *hash;
    struct buf path;
};

static bool is_module(const char *path)
{
    return text_starts(path, "usr/lib/grub/i386-pc/");
}

static void add_inode(struct hash *hash, const char *path, const struct inode *inode)
{
    hash_add(hash, path, strlen(path) + 1);
    if (inode->type == ENTRY_FILE) {
        hash_add(hash, inode->sha256, HASH_SIZE);
    } else if (inode->type == ENTRY_SYMLINK) {
        hash_add(hash, inode->target, strlen(inode->target) + 1);
    }
}

static int add_module(void *data, struct node *node, struct error *err)
{
    struct inputs *inputs = data;

    (void)err;
    buf_clear(&inputs->path);
    node_path(node, &inputs->path);
    if (is_module(inputs->path.data)) {
        add_inode(inputs->hash, inputs->path.data, node->inode);
    }
    return 0;
}

/* What lies at PATH in the image; false when nothing does. */
static bool add_path(const struct disk *disk, struct hash *hash, const char *path)
{
    const struct node *node = tree_resolve(disk->stack->tree, path);

    if (node != NULL) {
        add_inode(hash, path, node->inode);
    }
    return node != NULL;
}

static void program_key(const struct disk *disk, uint8_t ret[HASH_SIZE])
{
    static const char format[] = "kiln core libraries 1";
    SCOPED_FREE char *program = program_of(disk->boot->core_command);
    SCOPED(hash_freep) struct hash *hash = hash_new();

    hash_add(hash, format, sizeof(format));
    (void)add_path(disk, hash, program);
    (void)add_path(disk, hash, "/etc/ld.so.preload");
    hash_end(hash, ret);
}

/* False when one of LIBRARIES is not there: the image is made anew. */
static bool core_key(const struct disk *disk, const struct buf *libraries, uint8_t ret[HASH_SIZE])
{
    static const char format[] = "kiln core 2";
    SCOPED_FREE char *program = program_of(disk->boot->core_command);
    SCOPED_FREE char *lines = xstrndup(libraries->data, libraries->size);
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct inputs inputs = {.hash = hash};
    struct error none = {0}; /* add_module never fails */
    char *rest = lines;
    bool there;

    hash_add(hash, format, sizeof(format));
    hash_add(hash, disk->boot->core_command, strlen(disk->boot->core_command) + 1);
    (void)tree_walk(disk->stack->tree, add_module, &inputs, &none);
    buf_done(&inputs.path);
    there = add_path(disk, hash, program);
    for (char *line; there && (line = strsep(&rest, "\n")) != NULL;) {
        there = line[0] == '\0' || add_path(disk, hash, line);
    }
    hash_end(hash, ret);
    return there;
}

void core_find(const struct disk *disk, struct core *core)
{
    SCOPED(buf_done) struct buf libraries = {0};
    uint8_t key[HASH_SIZE];

    if (disk->store == NULL || disk->boot->core_command == NULL) {
        return;
    }
    program_key(disk, key);
    if (store_get(disk->store, STORE_CORES, key, LIBRARIES_LIMIT, &libraries) &&
        core_key(disk, &libraries, key)) {
        (void)store_get(disk->store, STORE_CORES, key, CORE_LIMIT, &core->image);
    }
}

void core_keep(const struct disk *disk, const struct core *core)
{
    struct error problem = {0};
    uint8_t key[HASH_SIZE];

    if (disk->store == NULL || disk->boot->core_command == NULL || core->libraries.size == 0 ||
        !core_key(disk, &core->libraries, key)) {
        return;
    }
    if (store_put(disk->store, STORE_CORES, key, core->image.data, core->image.size, &problem) ==
        0) {
        program_key(disk, key);
        (void)store_put(disk->store, STORE_CORES, key, core->libraries.data, core->libraries.size,
                        &problem);
    }
    if (problem.kind != FAIL_NONE) {
        ui_note(disk->ui, "the cache does not keep GRUB's core image: %s", problem.message);
    }
}

/* --- an appliance of its own -------------------------------------------------------------- */

/* Everything that a path of the image may lie on, a FAT as well as the others. */
static int mount_all(const struct disk *disk, struct guest *guest, struct error *err)
{
    SCOPED_FREE const struct plan_partition **parts = NULL;
    size_t count = plan_by_mount(disk->plan, &parts);
    guestfs_h *g = guest_handle(guest);

    for (size_t i = 0; i < count; i++) {
        SCOPED_FREE char *device = xprintf("/dev/sda%u", parts[i]->number);

        if (guestfs_mount_ro(g, device, parts[i]->spec->mount) < 0) {
            SCOPED_FREE char *doing = xprintf("mount partition '%s'", parts[i]->spec->name);

            return guest_fail(guest, err, doing);
        }
    }
    return 0;
}

static void note(void *data, const char *text)
{
    ui_note(data, "%s", text);
}

int core_make(const struct disk *disk, struct core *core, struct error *err)
{
    struct guest_drive drive = {
        .path = disk->path, .format = "raw", .label = "disk", .read_only = true};
    struct guest_options options = {.drives = &drive,
                                    .drive_count = 1,
                                    .temporary = disk->temporary,
                                    .note = note,
                                    .note_data = disk->ui};
    SCOPED(guest_closep) struct guest *guest = NULL;

    if (disk->boot->core_command == NULL) {
        return 0;
    }
    ui_phase(disk->ui, "making GRUB's core image in the appliance", 0);
    if (guest_launch(&options, &guest, err) < 0 || mount_all(disk, guest, err) < 0 ||
        core_run(guest, disk->boot->core_command, core, err) < 0) {
        return -1;
    }
    ui_phase_end(disk->ui);
    return guest_shutdown(guest, err);
}
