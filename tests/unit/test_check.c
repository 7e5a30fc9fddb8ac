/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h> /* last: it has a macro fail() */

/*
 * What disk_check says of one entry at PATH on a root of FILESYSTEM, beside an ESP at /boot/efi; ""
 * when it has nothing to say.
 */
static const char *check(const char *filesystem, const struct entry *entry, uint64_t data_bytes)
{
    static struct error err;
    SCOPED_FREE char *yaml = xprintf(
        "name: t\narchitecture: x86_64\nlayers: [{files: {/x: {content: x}}}]\n"
        "disk: {firmware: [], partitions: [{name: esp, type: esp, filesystem: vfat, "
        "size: 64MiB, mount: /boot/efi}, {name: root, type: root, filesystem: %s, size: rest, "
        "mount: /}]}\n",
        filesystem);
    struct stack stack = {.tree = tree_new(NULL)};
    struct disk disk = {.stack = &stack};
    struct profile *profile = NULL;
    struct plan *plan = NULL;
    struct inode *inode = NULL;
    int result;

    err = (struct error){0};
    assert_int_equal(profile_parse("t.yaml", yaml, strlen(yaml), &profile, &err), 0);
    assert_int_equal(plan_make(profile, &plan, &err), 0);
    tree_begin(stack.tree, 0, 0, "layer", RULES_MERGE, false);
    assert_int_equal(tree_apply(stack.tree, entry, 0, &inode, &err), 0);
    if (inode != NULL) {
        inode->data_bytes = data_bytes;
    }
    tree_settle(stack.tree, INT64_MAX);
    disk.profile = profile;
    disk.plan = plan;
    result = disk_check(&disk, &err);
    assert_int_equal(result, err.message[0] == '\0' ? 0 : -1);
    tree_free(stack.tree);
    plan_free(plan);
    profile_free(profile);
    return err.message;
}

static const char *check_xattr(const char *filesystem, enum entry_type type, const char *name,
                               size_t size)
{
    SCOPED_FREE char *value = xcalloc(1, size);
    struct xattr xattr = {.name = (char *)name, .value = value, .size = size};
    struct entry entry = {.path = "x",
                          .type = type,
                          .target = type == ENTRY_SYMLINK ? "y" : NULL,
                          .xattrs = &xattr,
                          .xattr_count = 1};

    return check(filesystem, &entry, 0);
}

static void attributes_that_would_be_lost_are_refused(void **state)
{
    (void)state;
    assert_string_equal(check_xattr("ext4", ENTRY_FILE, "user.x", 100), "");
    assert_string_equal(check_xattr("ext4", ENTRY_DIRECTORY, "user.x", 100), "");
    assert_string_equal(check_xattr("ext4", ENTRY_SYMLINK, "security.selinux", 100), "");
    assert_string_equal(check_xattr("ext4", ENTRY_FILE, "system.posix_acl_access", 100), "");
    assert_string_equal(
        check_xattr("ext4", ENTRY_SYMLINK, "user.x", 1),
        "layer 'kiln': 'x': extended attribute 'user.x': only files and directories "
        "have user.*");
    assert_string_equal(
        check_xattr("ext4", ENTRY_FIFO, "user.x", 1),
        "layer 'kiln': 'x': extended attribute 'user.x': only files and directories "
        "have user.*");
    assert_string_equal(
        check_xattr("xfs", ENTRY_FILE, "system.weird", 1),
        "layer 'kiln': 'x': extended attribute 'system.weird': of system.* only ACLs "
        "can be kept");
}

static void attributes_larger_than_a_file_system_takes_are_refused(void **state)
{
    (void)state;
    assert_string_equal(check_xattr("ext4", ENTRY_FILE, "user.x", 4040), "");
    assert_string_equal(
        check_xattr("ext4", ENTRY_FILE, "user.x", 4041),
        "layer 'kiln': 'x': 4064 bytes of extended attributes; ext4 has room for 4060");
    assert_string_equal(check_xattr("xfs", ENTRY_FILE, "user.x", 60000), "");
    assert_string_equal(check_xattr("btrfs", ENTRY_FILE, "user.x", 15000), "");
    assert_string_equal(
        check_xattr("btrfs", ENTRY_FILE, "user.x", 16000),
        "layer 'kiln': 'x': extended attribute 'user.x' of 16000 bytes; btrfs has room "
        "for 15872");
}

static void times_outside_a_file_systems_range_are_refused(void **state)
{
    struct entry file = {.path = "x", .type = ENTRY_FILE, .mtime = 15032385535};
    struct entry fat = {.path = "boot/efi/x", .type = ENTRY_FILE, .mtime = 4354819200};

    (void)state;
    assert_string_equal(check("ext4", &file, 0), "");
    file.mtime++;
    assert_string_equal(
        check("ext4", &file, 0),
        "layer 'kiln': 'x': its time, 2446-05-10T22:38:56Z, cannot be kept by ext4");
    assert_string_equal(check("btrfs", &file, 0), "");
    assert_string_equal(
        check("ext4", &fat, 0),
        "layer 'kiln': 'boot/efi/x': its time, 2108-01-01T00:00:00Z, cannot be kept by "
        "vfat");
}

static void more_than_a_partition_has_is_refused(void **state)
{
    struct entry fat = {.path = "boot/efi/x", .type = ENTRY_FILE, .size = 65 << 20};
    struct entry file = {.path = "x", .type = ENTRY_FILE, .size = 5ULL << 30};
    struct entry huge = {.path = "boot/efi/x", .type = ENTRY_FILE, .size = 4ULL << 30};

    (void)state;
    assert_string_equal(check("ext4", &file, 1 << 20), "");
    assert_string_equal(check("ext4", &fat, fat.size),
                        "layer 'kiln': 'boot/efi/x': the image does not fit: with it, partition "
                        "'esp' has more than its "
                        "64 MiB");
    assert_string_equal(check("ext4", &file, file.size),
                        "layer 'kiln': 'x': the image does not fit: with it, partition 'root' has "
                        "more than its 3.9 GiB");
    assert_string_equal(
        check("ext4", &huge, 1 << 20),
        "layer 'kiln': 'boot/efi/x': a file of 4 GiB or more cannot be kept on partition "
        "'esp', which is vfat");
}

static void numbers_larger_than_ext4_keeps_are_refused(void **state)
{
    struct entry file = {.path = "x", .type = ENTRY_FILE, .size = (1ULL << 44) - 4096};
    struct entry device = {.path = "x", .type = ENTRY_CHARACTER, .major = 4095, .minor = 1048575};

    (void)state;
    assert_string_equal(check("ext4", &file, 0), "");
    file.size++;
    assert_string_equal(check("ext4", &file, 0),
                        "layer 'kiln': 'x': a file of 16.0 TiB; ext4 takes less than 16 TiB");
    assert_string_equal(check("xfs", &file, 0), "");
    assert_string_equal(check("ext4", &device, 0), "");
    device.major++;
    assert_string_equal(check("ext4", &device, 0),
                        "layer 'kiln': 'x': device 4096:1048575, which Linux cannot have");
    device.major--;
    device.minor++;
    assert_string_equal(check("xfs", &device, 0),
                        "layer 'kiln': 'x': device 4095:1048576, which Linux cannot have");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_that_would_be_lost_are_refused),
        cmocka_unit_test(attributes_larger_than_a_file_system_takes_are_refused),
        cmocka_unit_test(times_outside_a_file_systems_range_are_refused),
        cmocka_unit_test(numbers_larger_than_ext4_keeps_are_refused),
        cmocka_unit_test(more_than_a_partition_has_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
