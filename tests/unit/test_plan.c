/* SPDX-License-Identifier: Apache-2.0 */
/* Where partitions go, what they are called, and what is said of those that do not fit. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "disk/fat.h"
#include "disk/plan.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct profile_partition standard[] = {
    {.mark = {.line = 20, .column = 7}, .name = "bios", .type = PART_BIOS_BOOT, .size_bytes = MIB},
    {.mark = {.line = 21, .column = 7},
     .name = "esp",
     .type = PART_ESP,
     .filesystem = FS_VFAT,
     .size_bytes = 64 * MIB,
     .mount = "/boot/efi"},
    {.mark = {.line = 22, .column = 7},
     .name = "root",
     .type = PART_ROOT,
     .filesystem = FS_EXT4,
     .mount = "/"},
};

static struct profile standard_profile(void)
{
    return (struct profile){
        .path = "web.yaml",
        .name = "web",
        .version = "1",
        .seed = "web",
        .disk_size_bytes = 4 * GIB,
        .partitions = standard,
        .partition_count = COUNT(standard),
    };
}

static struct plan *plan_of(const struct profile *profile)
{
    struct error err = {0};
    struct plan *plan = NULL;

    assert_int_equal(plan_make(profile, &plan, &err), 0);
    return plan;
}

static void partitions_follow_each_other_and_the_rest_ends_before_the_backup(void **state)
{
    struct profile profile = standard_profile();
    SCOPED(plan_freep) struct plan *plan = plan_of(&profile);

    (void)state;
    assert_int_equal(plan->size_bytes, 4 * GIB);
    assert_int_equal(plan->partition_count, 3);
    assert_int_equal(plan->partitions[0].offset_bytes, MIB);
    assert_int_equal(plan->partitions[0].size_bytes, MIB);
    assert_int_equal(plan->partitions[1].offset_bytes, 2 * MIB);
    assert_int_equal(plan->partitions[1].size_bytes, 64 * MIB);
    assert_int_equal(plan->partitions[2].offset_bytes, 66 * MIB);
    assert_int_equal(plan->partitions[2].size_bytes, 4 * GIB - 67 * MIB);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(plan->partitions[i].number, i + 1);
        assert_ptr_equal(plan->partitions[i].spec, &standard[i]);
    }
}

static void types_follow_the_architecture(void **state)
{
    static const char *const types[2][3] = {
        {"21686148-6449-6e6f-744e-656564454649", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
         "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"},
        {"21686148-6449-6e6f-744e-656564454649", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
         "b921b045-1df0-41c3-af44-4c6f280d3fae"},
    };
    char text[UUID_TEXT_MAX];

    (void)state;
    for (int arch = ARCH_X86_64; arch <= ARCH_AARCH64; arch++) {
        struct profile profile = standard_profile();
        struct plan *plan;

        profile.architecture = (enum architecture)arch;
        plan = plan_of(&profile);
        for (size_t i = 0; i < 3; i++) {
            assert_string_equal(uuid_text(&plan->partitions[i].type, text), types[arch][i]);
        }
        plan_free(plan);
    }
}

/* Computed by Python's uuid module; a change here would change every disk there is. */
static void identifiers_are_names_under_the_seed(void **state)
{
    struct profile profile = standard_profile();
    SCOPED(plan_freep) struct plan *plan = plan_of(&profile);
    char text[UUID_TEXT_MAX];

    (void)state;
    assert_string_equal(uuid_text(&plan->disk_uuid, text), "53764d03-b821-5412-bf2d-8808f8eeab7f");
    assert_string_equal(uuid_text(&plan->partitions[2].uuid, text),
                        "e5d2796d-cf3b-5cea-a2df-a4c140615bb3");
    assert_string_equal(uuid_text(&plan->partitions[2].fs_uuid, text),
                        "fa585868-194f-52e7-a804-8652bfd05a4e");
    assert_string_equal(uuid_text(&plan->partitions[2].hash_seed, text),
                        "3ff5acbd-1d4d-50a6-867d-9e3dd61464c8");
    assert_int_equal(plan->partitions[1].volume_id, 0x0e9bb7dc);
    assert_string_equal(plan->partitions[0].fs_id, "");
    assert_string_equal(plan->partitions[1].fs_id, "0E9B-B7DC");
    assert_string_equal(plan->partitions[2].fs_id, "fa585868-194f-52e7-a804-8652bfd05a4e");
}

static void version_size_and_epoch_change_no_identifier(void **state)
{
    struct profile profile = standard_profile(), other = standard_profile();
    SCOPED(plan_freep) struct plan *plan = plan_of(&profile);
    struct plan *changed;

    (void)state;
    other.version = "2";
    other.name = "other";
    other.has_epoch = true;
    other.epoch = 5;
    other.disk_size_bytes = 8 * GIB;
    changed = plan_of(&other);
    assert_memory_equal(&plan->disk_uuid, &changed->disk_uuid, sizeof(struct uuid));
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(&plan->partitions[i].uuid, &changed->partitions[i].uuid,
                            sizeof(struct uuid));
        assert_string_equal(plan->partitions[i].fs_id, changed->partitions[i].fs_id);
    }
    plan_free(changed);

    other.seed = "another";
    changed = plan_of(&other);
    assert_memory_not_equal(&plan->disk_uuid, &changed->disk_uuid, sizeof(struct uuid));
    assert_string_not_equal(plan->partitions[1].fs_id, changed->partitions[1].fs_id);
    assert_string_not_equal(plan->partitions[2].fs_id, changed->partitions[2].fs_id);
    plan_free(changed);
}

static void labels_are_cut_to_what_each_file_system_takes(void **state)
{
    static const struct {
        enum filesystem filesystem;
        const char *label;
    } rows[] = {
        {FS_NONE, ""},
        {FS_VFAT, "A-LONG_NAME"},
        {FS_XFS, "a-Long_name-"},
        {FS_EXT4, "a-Long_name-of-3"},
        {FS_BTRFS, "a-Long_name-of-3"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct profile_partition one = {.name = "a-Long_name-of-36-units-in-the-table",
                                        .type = PART_DATA,
                                        .filesystem = rows[i].filesystem,
                                        .size_bytes = 400 * MIB};
        struct profile profile = standard_profile();
        struct plan *plan;

        profile.partitions = &one;
        profile.partition_count = 1;
        plan = plan_of(&profile);
        assert_string_equal(plan->partitions[0].fs_label, rows[i].label);
        plan_free(plan);
    }
}

static void paths_belong_to_the_deepest_mount(void **state)
{
    static struct profile_partition partitions[] = {
        {.name = "esp",
         .type = PART_ESP,
         .filesystem = FS_VFAT,
         .size_bytes = 64 * MIB,
         .mount = "/boot/efi"},
        {.name = "none", .type = PART_DATA, .filesystem = FS_EXT4, .size_bytes = 16 * MIB},
        {.name = "boot",
         .type = PART_DATA,
         .filesystem = FS_EXT4,
         .size_bytes = 64 * MIB,
         .mount = "/boot"},
        {.name = "root", .type = PART_ROOT, .filesystem = FS_EXT4, .mount = "/"},
    };
    static const struct {
        const char *path;
        size_t partition;
    } rows[] = {
        {"/", 3},          {"/etc/fstab", 3}, {"/boot", 2},      {"/boot/grub", 2},
        {"/bootstrap", 3}, {"/boot/efi", 0},  {"/boot/efi2", 2}, {"/boot/efi/EFI/BOOT", 0},
    };
    struct profile profile = standard_profile();
    SCOPED(plan_freep) struct plan *plan = NULL;

    (void)state;
    profile.partitions = partitions;
    profile.partition_count = COUNT(partitions);
    plan = plan_of(&profile);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_ptr_equal(plan_mount(plan, rows[i].path), &plan->partitions[rows[i].partition]);
    }
    assert_ptr_equal(plan_find(plan, PART_ESP), &plan->partitions[0]);
    assert_ptr_equal(plan_find(plan, PART_ROOT), &plan->partitions[3]);
    assert_null(plan_find(plan, PART_BIOS_BOOT));
    plan->partition_count = 3; /* no root: nowhere to be */
    assert_null(plan_mount(plan, "/etc"));
}

static void sizes_up_to_the_last_usable_mebibyte_fit(void **state)
{
    struct profile_partition one = {.name = "root", .type = PART_ROOT, .filesystem = FS_EXT4};
    struct profile profile = standard_profile();
    SCOPED(plan_freep) struct plan *rest = NULL, *exact = NULL;

    (void)state;
    profile.partitions = &one;
    profile.partition_count = 1;
    profile.disk_size_bytes = GIB;
    rest = plan_of(&profile);
    one.size_bytes = rest->partitions[0].size_bytes;
    exact = plan_of(&profile);
    assert_int_equal(exact->partitions[0].size_bytes, GIB - 2 * MIB);
}

static void what_does_not_fit_is_refused_at_its_line(void **state)
{
    static const struct {
        enum filesystem filesystem;
        uint64_t disk_bytes, size_bytes;
        struct mark size_mark;
        const char *message;
    } rows[] = {
        {FS_EXT4,
         GIB,
         GIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root' does not fit: its 1 GiB end 1.0 MiB behind the last "
         "usable byte of a disk of 1 GiB"},
        {FS_EXT4,
         GIB,
         GIB - MIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root' does not fit: its 1023 MiB end 16.5 KiB behind the last "
         "usable byte of a disk of 1 GiB"},
        {FS_EXT4,
         GIB,
         15 * MIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root': 15 MiB is its size; ext4 needs at least 16 MiB"},
        {FS_EXT4,
         12 * MIB,
         0,
         {0},
         "web.yaml:8:5: partition 'root': 10 MiB are left for it; ext4 needs at least 16 MiB"},
        {FS_EXT4,
         2 * MIB,
         0,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root': 0 B are left for it; ext4 needs at least 16 MiB"},
        {FS_XFS,
         GIB,
         299 * MIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root': 299 MiB is its size; xfs needs at least 300 MiB"},
        {FS_BTRFS,
         GIB,
         127 * MIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root': 127 MiB is its size; btrfs needs at least 128 MiB"},
        {FS_VFAT,
         GIB,
         33 * MIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root': 33 MiB is its size; vfat needs at least 34 MiB"},
        {FS_VFAT,
         4096 * GIB,
         2048 * GIB,
         {.line = 9, .column = 3},
         "web.yaml:9:3: partition 'root': 2 TiB is its size; vfat takes at most 2.0 TiB"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct profile_partition one = {.mark = {.line = 8, .column = 5},
                                        .name = "root",
                                        .type = PART_ROOT,
                                        .filesystem = rows[i].filesystem,
                                        .size_bytes = rows[i].size_bytes,
                                        .size_mark = rows[i].size_mark};
        struct profile profile = standard_profile();
        struct plan *plan = NULL;
        struct error err = {0};

        profile.partitions = &one;
        profile.partition_count = 1;
        profile.disk_size_bytes = rows[i].disk_bytes;
        assert_int_equal(plan_make(&profile, &plan, &err), -1);
        assert_null(plan);
        assert_int_equal(err.kind, FAIL_USAGE);
        assert_string_equal(err.message, rows[i].message);
    }
}

static void the_smallest_of_each_file_system_is_taken(void **state)
{
    static const struct {
        enum filesystem filesystem;
        uint64_t size_bytes;
    } rows[] = {{FS_EXT4, 16 * MIB},
                {FS_XFS, 300 * MIB},
                {FS_BTRFS, 128 * MIB},
                {FS_VFAT, FAT_SIZE_MIN},
                {FS_NONE, MIB}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct profile_partition one = {.name = "one",
                                        .type = PART_DATA,
                                        .filesystem = rows[i].filesystem,
                                        .size_bytes = rows[i].size_bytes};
        struct profile profile = standard_profile();

        profile.partitions = &one;
        profile.partition_count = 1;
        plan_free(plan_of(&profile));
    }
}

static void guids_have_three_little_endian_fields(void **state)
{
    static const uint8_t expected[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                         0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
    struct uuid uuid;
    uint8_t guid[16];

    (void)state;
    assert_true(uuid_parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", &uuid));
    plan_gpt_guid(&uuid, guid);
    assert_memory_equal(guid, expected, sizeof(guid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_follow_each_other_and_the_rest_ends_before_the_backup),
        cmocka_unit_test(types_follow_the_architecture),
        cmocka_unit_test(identifiers_are_names_under_the_seed),
        cmocka_unit_test(version_size_and_epoch_change_no_identifier),
        cmocka_unit_test(labels_are_cut_to_what_each_file_system_takes),
        cmocka_unit_test(paths_belong_to_the_deepest_mount),
        cmocka_unit_test(sizes_up_to_the_last_usable_mebibyte_fit),
        cmocka_unit_test(what_does_not_fit_is_refused_at_its_line),
        cmocka_unit_test(the_smallest_of_each_file_system_is_taken),
        cmocka_unit_test(guids_have_three_little_endian_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
