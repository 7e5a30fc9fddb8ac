/* SPDX-License-Identifier: Apache-2.0 */
/* The partition table as sfdisk and sgdisk see it, and byte for byte as sfdisk writes one. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "disk/gpt.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct profile_partition partitions[] = {
    {.name = "bios", .type = PART_BIOS_BOOT, .size_bytes = MIB},
    {.name = "esp",
     .type = PART_ESP,
     .filesystem = FS_VFAT,
     .size_bytes = 64 * MIB,
     .mount = "/boot/efi"},
    {.name = "a-name_of-all-36-units-there-are-000",
     .type = PART_ROOT,
     .filesystem = FS_EXT4,
     .mount = "/"},
};

static struct plan *make_plan(uint64_t size_bytes)
{
    static struct profile profile = {.path = "x.yaml",
                                     .name = "x",
                                     .seed = "x",
                                     .partitions = partitions,
                                     .partition_count = COUNT(partitions)};
    struct error err = {0};
    struct plan *plan = NULL;

    profile.disk_size_bytes = size_bytes;
    assert_int_equal(plan_make(&profile, &plan, &err), 0);
    return plan;
}

static void write_disk(const char *path, const struct plan *plan)
{
    struct error err = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)plan->size_bytes), 0);
    assert_int_equal(gpt_write(fd, plan, path, &err), 0);
    close(fd);
}

static void read_at(const char *path, uint64_t offset, void *data, size_t size)
{
    struct error err = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(file_pread(fd, data, size, offset, path, &err), 0);
    close(fd);
}

static void the_protective_mbr_is_the_strict_one(void **state)
{
    static const struct {
        uint64_t size_bytes;
        uint8_t sectors[4];
    } rows[] = {
        {GIB, {0xff, 0xff, 0x1f, 0x00}},
        {2048 * GIB, {0xff, 0xff, 0xff, 0xff}},
        {2049 * GIB, {0xff, 0xff, 0xff, 0xff}},
    };
    static const uint8_t entry[12] = {0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(plan_freep) struct plan *plan = make_plan(rows[i].size_bytes);
        uint8_t sector[512], expected[512] = {0};

        memcpy(expected + 446, entry, sizeof(entry));
        memcpy(expected + 458, rows[i].sectors, 4);
        expected[510] = 0x55;
        expected[511] = 0xaa;
        write_disk("mbr.raw", plan);
        read_at("mbr.raw", 0, sector, sizeof(sector));
        assert_memory_equal(sector, expected, sizeof(sector));
    }
}

static void the_boot_code_before_it_stays(void **state)
{
    SCOPED(plan_freep) struct plan *plan = make_plan(GIB);
    struct error err = {0};
    uint8_t code[440], sector[512];
    int fd;

    (void)state;
    write_disk("code.raw", plan);
    memset(code, 0x90, sizeof(code));
    fd = open("code.raw", O_RDWR | O_CLOEXEC);
    assert_int_equal(file_pwrite(fd, code, sizeof(code), 0, "code.raw", &err), 0);
    assert_int_equal(gpt_write(fd, plan, "code.raw", &err), 0);
    close(fd);
    read_at("code.raw", 0, sector, sizeof(sector));
    assert_memory_equal(sector, code, sizeof(code));
    assert_int_equal(sector[440], 0);
}

static char *sgdisk_verdict(void)
{
    return RUN("sh", "-c", "sgdisk -v check.raw 2>&1");
}

static void sgdisk_and_sfdisk_find_no_problem(void **state)
{
    static const uint64_t sizes[] = {GIB, 4 * GIB, 3000 * GIB};

    (void)state;
    need_tool("sgdisk");
    need_tool("sfdisk");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        SCOPED(plan_freep) struct plan *plan = make_plan(sizes[i]);
        SCOPED_FREE char *seen = NULL, *verified = NULL;

        write_disk("check.raw", plan);
        seen = sgdisk_verdict();
        assert_non_null(strstr(seen, "No problems found."));
        assert_null(strstr(seen, "aution"));
        assert_null(strstr(seen, "arning"));
        verified = RUN("sfdisk", "--verify", "check.raw");
        assert_non_null(strstr(verified, "No errors detected."));
    }
}

static void sgdisk_finds_a_flipped_bit(void **state)
{
    SCOPED_FREE char *seen = NULL;
    struct error err = {0};
    struct plan *plan;
    uint8_t byte;
    int fd;

    (void)state;
    need_tool("sgdisk");
    plan = make_plan(GIB);
    write_disk("check.raw", plan);
    plan_free(plan);
    read_at("check.raw", GIB - 512 + 57, &byte, 1); /* in the backup's disk GUID */
    byte ^= 1;
    fd = open("check.raw", O_RDWR | O_CLOEXEC);
    assert_int_equal(file_pwrite(fd, &byte, 1, GIB - 512 + 57, "check.raw", &err), 0);
    close(fd);
    seen = sgdisk_verdict();
    assert_non_null(strstr(seen, "Backup header: ERROR"));
}

static void sfdisk_reads_what_the_plan_says(void **state)
{
    SCOPED(plan_freep) struct plan *plan = NULL;
    SCOPED_FREE char *dump = NULL;
    char text[UUID_TEXT_MAX], *line;

    (void)state;
    need_tool("sfdisk");
    plan = make_plan(GIB);
    write_disk("dump.raw", plan);
    dump = RUN("sfdisk", "-d", "dump.raw");
    for (char *c = dump; *c != '\0'; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    }
    assert_non_null(strstr(dump, "label: gpt\n"));
    assert_non_null(strstr(dump, uuid_text(&plan->disk_uuid, text)));
    line = strstr(dump, "dump.raw3 : start=      135168, size=     1959936, ");
    assert_non_null(line);
    assert_non_null(strstr(line, "type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709"));
    assert_non_null(strstr(line, uuid_text(&plan->partitions[2].uuid, text)));
    assert_non_null(strstr(line, "name=\"a-name_of-all-36-units-there-are-000\"\n"));
    assert_null(strstr(dump, "attrs="));
}

/* sfdisk's script for the plan. */
static char *script(const struct plan *plan)
{
    struct buf text = {0};
    char uuid[UUID_TEXT_MAX];

    buf_printf(&text, "label: gpt\nfirst-lba: 34\nlabel-id: %s\n",
               uuid_text(&plan->disk_uuid, uuid));
    for (size_t i = 0; i < plan->partition_count; i++) {
        const struct plan_partition *part = &plan->partitions[i];

        buf_printf(&text, "start=%llu, size=%llu, type=%s, ",
                   (unsigned long long)part->offset_bytes / SECTOR_SIZE,
                   (unsigned long long)part->size_bytes / SECTOR_SIZE,
                   uuid_text(&part->type, uuid));
        buf_printf(&text, "uuid=%s, name=\"%s\"\n", uuid_text(&part->uuid, uuid), part->spec->name);
    }
    return buf_take(&text);
}

static void sfdisk_writes_the_same_bytes(void **state)
{
    SCOPED(plan_freep) struct plan *plan = NULL;
    SCOPED_FREE char *text = NULL;
    struct error err = {0};

    (void)state;
    need_tool("sfdisk");
    plan = make_plan(128 * MIB);
    text = script(plan);
    write_disk("ours.raw", plan);
    assert_int_equal(file_write("script", text, strlen(text), &err), 0);
    assert_int_equal(file_write("theirs.raw", "", 0, &err), 0);
    assert_int_equal(truncate("theirs.raw", 128 * MIB), 0);
    free(RUN("sh", "-c", "sfdisk -q theirs.raw < script"));
    free(RUN("cmp", "ours.raw", "theirs.raw"));
}

static void a_disk_that_cannot_be_written_is_an_error(void **state)
{
    SCOPED(plan_freep) struct plan *plan = make_plan(GIB);
    struct error err = {0};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(gpt_write(fd, plan, "disk.raw", &err), -1);
    assert_string_equal(err.message, "write 'disk.raw': No space left on device");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_protective_mbr_is_the_strict_one),
        cmocka_unit_test(the_boot_code_before_it_stays),
        cmocka_unit_test(sgdisk_and_sfdisk_find_no_problem),
        cmocka_unit_test(sgdisk_finds_a_flipped_bit),
        cmocka_unit_test(sfdisk_reads_what_the_plan_says),
        cmocka_unit_test(sfdisk_writes_the_same_bytes),
        cmocka_unit_test(a_disk_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
