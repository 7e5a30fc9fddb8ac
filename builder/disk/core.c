/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/core.h"

#include <openssl/evp.h>
#include <string.h>

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
