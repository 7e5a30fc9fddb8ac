/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
/* First: cmocka has a macro called fail. */
#include "base/file.h"
#include "disk/boot.h"
#include "disk/disk.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* An image of inline files, as far as the disk. */
struct image {
    struct profile *profile;
    struct plan *plan;
    struct stack *stack;
    struct boot *boot;
    struct error err;
};

static const char kernel[] = "    /boot/vmlinuz-6.1.0-9: {content: old}\n"
                             "    /boot/vmlinuz-6.1.0-10: {content: new}\n"
                             "    /boot/initrd.img-6.1.0-10: {content: initrd}\n";
static const char uefi[] = "    /usr/lib/shim/shimx64.efi.signed: {content: shim}\n"
                           "    /usr/lib/shim/mmx64.efi.signed: {content: mok}\n"
                           "    /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed: {content: "
                           "\"x/EFI/Boot/y/EFI/vendor\\x01"
                           "/EFI/trisquel-9 z\"}\n";
static const char bios[] = "    /usr/lib/grub/i386-pc/boot.img: {content: boot}\n"
                           "    /usr/lib/grub/i386-pc/normal.mod: {content: module}\n"
                           "    /usr/lib/grub/i386-pc/config.h: {content: no}\n"
                           "    /usr/bin/grub-mkimage: {content: tool}\n";

/* Reads a profile with DISK under 'disk' and the given FILES; 0 when boot_prepare succeeds. */
static int prepare(struct image *image, const char *disk, const char *files)
{
    SCOPED_FREE char *yaml =
        xprintf("name: t\narchitecture: x86_64\ndisk: {%s}\nlayers:\n- files:\n"
                "    /etc/hosts: {content: x}\n%s",
                disk, files);

    *image = (struct image){0};
    if (profile_parse("t.yaml", yaml, strlen(yaml), &image->profile, &image->err) < 0 ||
        plan_make(image->profile, &image->plan, &image->err) < 0 ||
        stack_open(image->profile, &image->stack, &image->err) < 0 ||
        stack_scan(image->stack, boot_keeps, NULL, NULL, NULL, &image->err) < 0) {
        print_error("%s\n", image->err.message);
        abort();
    }
    return boot_prepare(image->profile, image->plan, image->stack, &image->boot, &image->err);
}

static void done(struct image *image)
{
    boot_free(image->boot);
    stack_free(image->stack);
    plan_free(image->plan);
    profile_free(image->profile);
}

/* The content of a file that kiln added, or NULL. */
static const char *content(const struct image *image, const char *path)
{
    static char text[4096];
    const struct node *node = tree_find(image->stack->tree, path);

    if (node == NULL || node->inode->content == NULL) {
        return NULL;
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)node->inode->size, node->inode->content);
    return text;
}

/* The same with FILES in a layer of their own, above one with an entry. */
static int prepare_two(struct image *image, const char *disk, const char *files)
{
    SCOPED_FREE char *upper = xprintf("    /etc/lower: {content: x}\n- files:\n%s", files);

    return prepare(image, disk, upper);
}

/* MESSAGE names a files layer, with or without its line. */
static void assert_layer_message(const char *message, const char *expected)
{
    const char *quote = strchr(message + strlen("layer '"), '\'');

    assert_true(strncmp(message, "layer 'files", 12) == 0);
    assert_string_equal(quote, strchr(expected + strlen("layer '"), '\''));
}

static void copies_shim_grub_and_its_configuration_to_the_esp(void **state)
{
    SCOPED_FREE char *files = xprintf("%s%s", kernel, uefi);
    SCOPED_FREE char *text = NULL;
    struct image image;

    (void)state;
    assert_int_equal(prepare(&image, "firmware: [uefi]", files), 0);
    assert_true(image.boot->secure);
    assert_null(image.boot->core_command);
    assert_string_equal(content(&image, "boot/efi/EFI/BOOT/BOOTX64.EFI"), "shim");
    assert_string_equal(content(&image, "boot/efi/EFI/BOOT/mmx64.efi"), "mok");
    assert_non_null(content(&image, "boot/efi/EFI/BOOT/grubx64.efi"));
    text = xprintf("search --no-floppy --fs-uuid --set=root %s\nset prefix=($root)/boot/grub\n"
                   "configfile $prefix/grub.cfg\n",
                   plan_find(image.plan, PART_ROOT)->fs_id);
    assert_string_equal(content(&image, "boot/efi/EFI/BOOT/grub.cfg"), text);
    assert_string_equal(image.boot->kernel, "boot/vmlinuz-6.1.0-10");
    assert_string_equal(image.boot->initrd, "boot/initrd.img-6.1.0-10");
    done(&image);
}

static void asks_the_grub_binary_for_its_directory(void **state)
{
    /* A NUL cannot stand in YAML, so the binary comes as a file of a directory layer. */
    char dir[] = "/tmp/test-boot-XXXXXX";
    static const char binary[] = "ELF\0/EFI/BOOT\0...\0/EFI/ubuntu\0/EFI/other";
    SCOPED_FREE char *sub = NULL, *file = NULL, *yaml = NULL;
    struct image image = {0};
    struct error err = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    sub = xprintf("%s/usr/lib/grub/x86_64-efi/monolithic", dir);
    file = xprintf("%s/grubx64.efi", sub);
    assert_int_equal(file_make_dirs(sub, &err), 0);
    assert_int_equal(file_write(file, binary, sizeof(binary), &err), 0);
    yaml = xprintf("name: t\narchitecture: x86_64\ndisk: {firmware: [uefi]}\nlayers:\n"
                   "- directory: %s\n- files:\n    /boot/vmlinuz-1: {content: k}\n",
                   dir);
    assert_int_equal(profile_parse("t.yaml", yaml, strlen(yaml), &image.profile, &err), 0);
    assert_int_equal(plan_make(image.profile, &image.plan, &err), 0);
    assert_int_equal(stack_open(image.profile, &image.stack, &err), 0);
    assert_int_equal(stack_scan(image.stack, boot_keeps, NULL, NULL, NULL, &err), 0);
    assert_int_equal(boot_prepare(image.profile, image.plan, image.stack, &image.boot, &err), 0);
    assert_false(image.boot->secure);
    assert_non_null(content(&image, "boot/efi/EFI/ubuntu/grub.cfg"));
    assert_non_null(strstr(content(&image, "boot/grub/grub.cfg"), "root=PARTUUID="));
    done(&image);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void finds_the_newest_kernel_and_writes_grub_cfg_and_fstab(void **state)
{
    SCOPED_FREE char *files = xprintf(
        "%s%s    /etc/os-release: {content: \"NAME=x\\nPRETTY_NAME=\\\"Os 'n' 1.0\\\"\\n\"}\n",
        kernel, bios);
    SCOPED_FREE char *grub = NULL, *fstab = NULL;
    const char *root;
    struct image image;

    (void)state;
    assert_int_equal(prepare(&image, "firmware: [bios], kernel_command_line: quiet", files), 0);
    root = plan_find(image.plan, PART_ROOT)->fs_id;
    grub = xprintf("# Written by kiln; the image's own update-grub may replace it.\n"
                   "set default=0\nset timeout=1\n"
                   "search --no-floppy --fs-uuid --set=root %s\n"
                   "menuentry 'Os n 1.0' {\n"
                   "    linux /boot/vmlinuz-6.1.0-10 root=UUID=%s ro quiet\n"
                   "    initrd /boot/initrd.img-6.1.0-10\n}\n",
                   root, root);
    assert_string_equal(content(&image, "boot/grub/grub.cfg"), grub);
    fstab = xprintf("# <file system> <mount point> <type> <options> <dump> <pass>\n"
                    "UUID=%s / ext4 rw,errors=remount-ro 0 1\n",
                    root);
    assert_string_equal(content(&image, "etc/fstab"), fstab);
    assert_string_equal(content(&image, "boot/grub/i386-pc/normal.mod"), "module");
    assert_null(tree_find(image.stack->tree, "boot/grub/i386-pc/config.h"));
    assert_non_null(strstr(image.boot->core_command,
                           "-p '(,gpt2)/boot/grub' -o /dev/kiln-core biosdisk part_gpt ext2 "));
    done(&image);
}

static void knows_a_boot_partition_of_its_own(void **state)
{
    SCOPED_FREE char *files = xprintf("%s%s", kernel, bios);
    struct image image;

    (void)state;
    assert_int_equal(
        prepare(&image,
                "firmware: [bios], partitions: [{name: bios, type: bios-boot, size: 1MiB}, "
                "{name: boot, type: data, filesystem: xfs, size: 512MiB, mount: /boot}, "
                "{name: root, type: root, filesystem: ext4, size: rest, mount: /}]",
                files),
        0);
    assert_non_null(
        strstr(content(&image, "boot/grub/grub.cfg"), "    linux /vmlinuz-6.1.0-10 root="));
    assert_non_null(
        strstr(content(&image, "boot/grub/grub.cfg"), "    initrd /initrd.img-6.1.0-10\n"));
    assert_non_null(strstr(image.boot->core_command,
                           "-p '(,gpt2)/grub' -o /dev/kiln-core biosdisk part_gpt xfs "));
    done(&image);
}

static void keeps_an_fstab_with_entries_and_replaces_one_without(void **state)
{
    struct image image;

    (void)state;
    assert_int_equal(prepare(&image, "firmware: []",
                             "    /etc/fstab: {content: \"# mine\\n/dev/vda1 / ext4\\n\"}\n"),
                     0);
    assert_string_equal(content(&image, "etc/fstab"), "# mine\n/dev/vda1 / ext4\n");
    done(&image);
    assert_int_equal(
        prepare(&image, "firmware: []", "    /etc/fstab: {content: \"  # UNCONFIGURED\\n\\n\"}\n"),
        0);
    assert_non_null(strstr(content(&image, "etc/fstab"), "UUID="));
    done(&image);
}

static void kernels_that_were_put_aside_are_not_booted(void **state)
{
    SCOPED_FREE char *files = xprintf("%s%s    /boot/vmlinuz-6.1.0-11.dpkg-new: {content: x}\n"
                                      "    /boot/vmlinuz-6.1.0-12.old: {content: x}\n"
                                      "    \"/boot/vmlinuz-9'; halt\": {content: x}\n",
                                      kernel, bios);
    struct image image;

    (void)state;
    assert_int_equal(prepare(&image, "firmware: [bios]", files), 0);
    assert_string_equal(image.boot->kernel, "boot/vmlinuz-6.1.0-10");
    done(&image);
}

static void mount_points_are_made_and_fstab_is_in_mounting_order(void **state)
{
    struct image image;
    const char *text, *root, *srv;

    (void)state;
    assert_int_equal(
        prepare(&image,
                "firmware: [], partitions: ["
                "{name: deep, type: data, filesystem: xfs, size: 512MiB, mount: /srv/a/b}, "
                "{name: srv, type: data, filesystem: btrfs, size: 512MiB, mount: /srv}, "
                "{name: root, type: root, filesystem: ext4, size: rest, mount: /}]",
                ""),
        0);
    assert_non_null(tree_find(image.stack->tree, "srv/a/b"));
    text = content(&image, "etc/fstab");
    root = strstr(text, " / ext4 ");
    srv = strstr(text, " /srv btrfs ");
    assert_true(root != NULL && srv != NULL && root < srv);
    assert_true(srv < strstr(text, " /srv/a/b xfs "));
    done(&image);
}

static void a_mount_point_behind_a_symlink_or_a_file_is_refused(void **state)
{
    static const struct {
        const char *files, *message;
    } cases[] = {
        {"    /boot: {symlink: usr/boot}\n    /usr/boot: {directory: true}\n",
         "layer 'files:5': 'boot' is not a directory, but partition 'esp' is mounted at "
         "'/boot/efi'"},
        {"    /boot/efi: {content: x}\n", "layer 'files:5': 'boot/efi' is not a directory, but "
                                          "partition 'esp' is mounted at '/boot/efi'"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct image image;

        assert_int_equal(prepare(&image, "firmware: [uefi]", cases[i].files), -1);
        assert_layer_message(image.err.message, cases[i].message);
        done(&image);
    }
}

/* The module that is copied there replaces the one it is copied from. */
static void a_modules_directory_that_is_a_symlink_does_no_harm(void **state)
{
    SCOPED_FREE char *files = xprintf(
        "%s%s    /boot/grub/i386-pc: {symlink: ../../usr/lib/grub/i386-pc}\n", kernel, bios);
    struct image image;

    (void)state;
    assert_int_equal(prepare_two(&image, "firmware: [bios]", files), 0);
    assert_string_equal(content(&image, "usr/lib/grub/i386-pc/normal.mod"), "module");
    done(&image);
}

static void an_fstab_that_cannot_be_read_is_not_replaced(void **state)
{
    struct image image;

    (void)state;
    assert_int_equal(prepare(&image, "firmware: []",
                             "    /etc/fstab: {symlink: fstab.real}\n    /etc/fstab.real: "
                             "{content: /dev/x / ext4}\n"),
                     -1);
    assert_layer_message(
        image.err.message,
        "layer 'files:5': 'etc/fstab' is a link or the like, not a file of its own");
    done(&image);
}

static void says_what_is_missing_to_boot(void **state)
{
    static const struct {
        const char *disk, *files[2], *message;
    } cases[] = {
        {"firmware: [uefi]",
         {"", uefi},
         "the image has no kernel: no layer brings '/boot/vmlinuz-*'"},
        {"firmware: [uefi]",
         {kernel, bios},
         "the image has no GRUB for UEFI: neither "
         "'usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed'"
         " nor 'usr/lib/grub/x86_64-efi/monolithic/grubx64.efi'"},
        {"firmware: [bios]",
         {kernel, uefi},
         "the image has no GRUB for BIOS: no 'usr/lib/grub/i386-pc/boot.img'"},
        {"firmware: [bios]",
         {kernel, "    /usr/lib/grub/i386-pc/boot.img: {content: boot}\n"},
         "the image has no GRUB for BIOS: no 'usr/bin/grub-mkimage'"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *files = xprintf("%s%s", cases[i].files[0], cases[i].files[1]);
        struct image image;

        assert_int_equal(prepare(&image, cases[i].disk, files), -1);
        assert_int_equal(image.err.kind, FAIL_ERROR);
        assert_string_equal(image.err.message, cases[i].message);
        assert_true(image.err.hint[0] != '\0');
        done(&image);
    }
}

static void embeds_boot_sector_and_core_image_where_grub_looks(void **state)
{
    static const uint8_t start[] = {0xeb, 0x63, 0x90};
    SCOPED_FREE char *files = xprintf("%s%s", kernel, bios);
    struct buf core = {0};
    uint8_t sector[512], block[512];
    struct image image;
    int fd;

    (void)state;
    assert_int_equal(prepare(&image, "firmware: [bios]", files), 0);
    assert_int_equal(image.boot->boot_image.size, 4); /* "boot" */
    buf_clear(&image.boot->boot_image);
    memset(buf_reserve(&image.boot->boot_image, 512), 0, 513);
    image.boot->boot_image.size = 512;
    memcpy(image.boot->boot_image.data, start, sizeof(start));
    memset(buf_reserve(&core, 1500), 'c', 1500);
    core.size = 1500;
    fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, 4 << 20) == 0);
    assert_int_equal(boot_embed(fd, image.plan, image.boot, &core, "disk", &image.err), 0);
    assert_int_equal(file_pread(fd, sector, 512, 0, "disk", &image.err), 0);
    assert_int_equal(file_pread(fd, block, 512, 1 << 20, "disk", &image.err), 0);
    assert_memory_equal(sector, start, sizeof(start));
    assert_memory_equal(sector + 0x5c, "\x00\x08\x00\x00\x00\x00\x00\x00", 8); /* sector 2048 */
    assert_memory_equal(sector + 0x66, "\x90\x90", 2);
    assert_memory_equal(block + 0x1f4, "\x01\x08\x00\x00\x00\x00\x00\x00", 8); /* then 2049, */
    assert_memory_equal(block + 0x1fc, "\x02\x00", 2);                         /* two of them */

    core.size = 100;
    assert_int_equal(boot_embed(fd, image.plan, image.boot, &core, "disk", &image.err), -1);
    (void)close(fd);
    buf_done(&core);
    done(&image);
}

static void refuses_what_a_file_system_cannot_hold(void **state)
{
    static const struct {
        const char *files, *message;
    } cases[] = {
        {"    /boot/efi/link: {symlink: x}\n", "layer 'files:5': 'boot/efi/link': a symlink cannot "
                                               "be kept on partition 'esp', which is vfat"},
        {"    /boot/efi/file: {content: x, owner: \"0:33\"}\n",
         "layer 'files:5': 'boot/efi/file': an owner other than 0:0 cannot be kept on partition "
         "'esp', "
         "which is vfat"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct image image;
        struct disk disk;

        assert_int_equal(
            prepare(
                &image,
                "firmware: [], partitions: [{name: esp, type: esp, filesystem: vfat, size: 64MiB, "
                "mount: /boot/efi}, {name: root, type: root, filesystem: ext4, size: rest, "
                "mount: /}]",
                cases[i].files),
            0);
        tree_settle(image.stack->tree, 0);
        disk = (struct disk){.profile = image.profile, .plan = image.plan, .stack = image.stack};
        assert_int_equal(disk_check(&disk, &image.err), -1);
        assert_layer_message(image.err.message, cases[i].message);
        done(&image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_shim_grub_and_its_configuration_to_the_esp),
        cmocka_unit_test(asks_the_grub_binary_for_its_directory),
        cmocka_unit_test(finds_the_newest_kernel_and_writes_grub_cfg_and_fstab),
        cmocka_unit_test(knows_a_boot_partition_of_its_own),
        cmocka_unit_test(keeps_an_fstab_with_entries_and_replaces_one_without),
        cmocka_unit_test(kernels_that_were_put_aside_are_not_booted),
        cmocka_unit_test(mount_points_are_made_and_fstab_is_in_mounting_order),
        cmocka_unit_test(a_mount_point_behind_a_symlink_or_a_file_is_refused),
        cmocka_unit_test(a_modules_directory_that_is_a_symlink_does_no_harm),
        cmocka_unit_test(an_fstab_that_cannot_be_read_is_not_replaced),
        cmocka_unit_test(says_what_is_missing_to_boot),
        cmocka_unit_test(embeds_boot_sector_and_core_image_where_grub_looks),
        cmocka_unit_test(refuses_what_a_file_system_cannot_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
