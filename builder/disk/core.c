/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/core.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/text.h"
#include "store/store.h"

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

int core_run(struct guest *guest, const char *command, struct buf *core, struct error *err)
{
    SCOPED_FREE char *text = guestfs_sh(guest_handle(guest), command);

    if (text == NULL) {
        return guest_fail(guest, err, "make GRUB's core image with the image's grub-mkimage");
    }
    return decode_base64(text, core, err);
}

/* --- the store --------------------------------------------------------------------------- */

enum { CORE_LIMIT = 1 << 20 /* bytes; the place for it on a disk is not larger */ };

struct inputs {
    struct hash *hash;
    struct buf path;
};

/* Programs of GRUB, its modules, and any library that they may be linked with. */
static bool is_input(const char *path)
{
    const char *base = strrchr(path, '/');

    base = base != NULL ? base + 1 : path;
    return text_starts(path, "usr/lib/grub/i386-pc/") || strcmp(base, "grub-mkimage") == 0 ||
           strcmp(base, "grub2-mkimage") == 0 || strcmp(base, "base64") == 0 ||
           strcmp(base, "sh") == 0 || strcmp(base, "dash") == 0 || strcmp(base, "bash") == 0 ||
           (strstr(base, ".so") != NULL && strstr(path, "lib") != NULL);
}

static int add_input(void *data, struct node *node, struct error *err)
{
    struct inputs *inputs = data;
    const struct inode *inode = node->inode;

    (void)err;
    if (inode->type != ENTRY_FILE && inode->type != ENTRY_SYMLINK) {
        return 0;
    }
    buf_clear(&inputs->path);
    node_path(node, &inputs->path);
    if (!is_input(inputs->path.data)) {
        return 0;
    }
    hash_add(inputs->hash, inputs->path.data, inputs->path.size + 1);
    if (inode->type == ENTRY_FILE) {
        hash_add(inputs->hash, inode->sha256, HASH_SIZE);
    } else {
        hash_add(inputs->hash, inode->target, strlen(inode->target) + 1);
    }
    return 0;
}

static void make_key(const struct disk *disk, uint8_t ret[HASH_SIZE])
{
    static const char format[] = "kiln core 1";
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct inputs inputs = {.hash = hash};
    struct error none = {0}; /* add_input never fails */

    hash_add(hash, format, sizeof(format));
    hash_add(hash, disk->boot->core_command, strlen(disk->boot->core_command) + 1);
    (void)tree_walk(disk->stack->tree, add_input, &inputs, &none);
    buf_done(&inputs.path);
    hash_end(hash, ret);
}

void core_find(const struct disk *disk, struct buf *core)
{
    uint8_t key[HASH_SIZE];

    if (disk->store != NULL && disk->boot->core_command != NULL) {
        make_key(disk, key);
        (void)store_get(disk->store, STORE_CORES, key, CORE_LIMIT, core);
    }
}

void core_keep(const struct disk *disk, const struct buf *core)
{
    struct error ignored = {0};
    uint8_t key[HASH_SIZE];

    if (disk->store != NULL && disk->boot->core_command != NULL) {
        make_key(disk, key);
        if (store_put(disk->store, STORE_CORES, key, core->data, core->size, &ignored) < 0) {
            ui_note(disk->ui, "the cache does not keep GRUB's core image: %s", ignored.message);
        }
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

int core_make(const struct disk *disk, struct buf *core, struct error *err)
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
