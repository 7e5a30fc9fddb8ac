/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/volume.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#include "image.h"

#define GIB (1ULL << 30)

static const struct profile_partition SPEC = {
    .name = "root", .type = PART_ROOT, .filesystem = FS_EXT4, .mount = "/"};

static void make_file(const char *path, uint64_t size)
{
    SCOPED_FD int fd = -1;

    (void)unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

static struct plan_partition part_of(uint64_t offset, uint64_t size)
{
    struct plan_partition part = {
        .spec = &SPEC, .number = 1, .offset_bytes = offset, .size_bytes = size};

    memset(part.fs_uuid.bytes, 0x5a, sizeof(part.fs_uuid.bytes));
    memset(part.hash_seed.bytes, 0x33, sizeof(part.hash_seed.bytes));
    memcpy(part.fs_label, "root", 5);
    return part;
}

static int make(const char *path, uint64_t size, uint32_t inodes, struct error *err)
{
    struct plan_partition part = part_of(1 << 20, size);
    SCOPED(volume_freep) struct volume *volume = NULL;

    make_file(path, size + (1 << 20));
    return volume_new(path, &part, inodes, &volume, err);
}

/* --- like mke2fs --------------------------------------------------------------------------- */

/* The value of a line of dumpe2fs -h, "" when there is no such line; a new string. */
static char *field(const char *text, const char *name)
{
    SCOPED_FREE char *line = xprintf("\n%s:", name);
    const char *at = strstr(text, line);

    if (at == NULL) {
        return xstrdup("");
    }
    at += strlen(line);
    at += strspn(at, " ");
    return xstrndup(at, strcspn(at, "\n"));
}

/*
 * Lines of dumpe2fs -h; left out are those that must differ (names, times, what is free), and
 * "Overhead clusters", a figure that mke2fs 1.47 leaves for faster mounts and Linux computes where
 * it is missing.
 */
static void the_superblock_is_that_of_mke2fs(void **state)
{
    static const char *const names[] = {
        "Filesystem magic number",
        "Filesystem revision #",
        "Filesystem flags",
        "Default mount options",
        "Filesystem state",
        "Errors behavior",
        "Filesystem OS type",
        "Inode count",
        "Block count",
        "Reserved block count",

        "First block",
        "Block size",
        "Fragment size",
        "Group descriptor size",
        "Reserved GDT blocks",
        "Blocks per group",
        "Fragments per group",
        "Inodes per group",
        "Inode blocks per group",
        "Flex block group size",
        "Maximum mount count",
        "Check interval",
        "Reserved blocks uid",
        "Reserved blocks gid",
        "First inode",
        "Inode size",
        "Required extra isize",
        "Desired extra isize",
        "Journal inode",
        "Default directory hash",
        "Journal backup",
        "Checksum type",
        "Journal features",
        "Total journal size",
        "Total journal blocks",
        "Journal sequence",
        "Journal start",
    };
    static const uint64_t sizes[] = {64 << 20, GIB, 4 * GIB, 100 * GIB, 5000 * GIB};

    (void)state;
    need_tool("mke2fs");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        SCOPED_FREE char *size = xprintf("%lluG", (unsigned long long)(sizes[i] / GIB));
        SCOPED_FREE char *yaml = NULL, *part = NULL, *ours = NULL, *theirs = NULL, *made = NULL,
                         *features = NULL, *blocks = NULL;
        struct image image;

        yaml = xprintf("{name: root, type: root, filesystem: ext4, size: %lluMiB, mount: /}",
                       (unsigned long long)(sizes[i] >> 20));
        image_new(&image, "a.img", "5010GiB", yaml);
        image_finish(&image);
        part = image_part(&image, 1);
        ours = RUN("dumpe2fs", "-h", part);
        make_file("b.img", sizes[i]);
        blocks = xprintf("%llu", (unsigned long long)(sizes[i] / 4096));
        made = RUN("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-I", "256", "b.img", blocks);
        theirs = RUN("dumpe2fs", "-h", "b.img");
        for (size_t n = 0; n < COUNT(names); n++) {
            SCOPED_FREE char *a = field(ours, names[n]), *b = field(theirs, names[n]);

            if (strcmp(a, b) != 0) {
                fail_msg("%s, %s: '%s', mke2fs has '%s'", size, names[n], a, b);
            }
        }
        features = field(ours, "Filesystem features");
        assert_string_equal(features,
                            "has_journal ext_attr resize_inode dir_index filetype extent 64bit "
                            "flex_bg sparse_super large_file huge_file dir_nlink extra_isize "
                            "metadata_csum");
        image_done(&image);
    }
}

/* --- always the same ----------------------------------------------------------------------- */

static void hash_disk(const char *path, uint8_t ret[HASH_SIZE])
{
    struct error err = {0};
    SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    SCOPED(blocks_freep) struct blocks *blocks = NULL;

    assert_int_equal(fstat(fd, &st), 0);
    blocks = blocks_new((uint64_t)st.st_size);
    assert_int_equal(blocks_complete(blocks, fd, path, NULL, NULL, &err), 0);
    blocks_total(blocks, ret);
}

static void make_one(uint8_t ret[HASH_SIZE])
{
    struct image image;

    image_new(&image, "a.img", "1GiB", NULL);
    image_directory(&image, "etc");
    image_file(&image, "etc/hostname", "web\n", 4);
    image_finish(&image);
    image_done(&image);
    hash_disk("a.img", ret);
}

static void the_same_calls_give_the_same_bytes(void **state)
{
    static const char *const settings[][2] = {
        {"E2FSPROGS_FAKE_TIME", "123456789"},
        {"SOURCE_DATE_EPOCH", "987654321"},
        {"UNIX_IO_FORCE_BOUNCE", "1"},
        {"UNIX_IO_NOZEROOUT", "1"},
        {"TZ", "Asia/Tokyo"},
        {"LC_ALL", "de_DE.UTF-8"},
        {"MKE2FS_CONFIG", "/nonexistent"},
        {"MKE2FS_SYNC", "1"},
    };
    uint8_t first[HASH_SIZE], again[HASH_SIZE];
    mode_t mask;

    (void)state;
    need_tool("e2fsck");
    make_one(first);
    make_one(again);
    assert_memory_equal(first, again, HASH_SIZE);
    for (size_t i = 0; i < COUNT(settings); i++) {
        assert_int_equal(setenv(settings[i][0], settings[i][1], 1), 0);
    }
    mask = umask(0777 & ~0600);
    make_one(again);
    (void)umask(mask);
    for (size_t i = 0; i < COUNT(settings); i++) {
        assert_int_equal(unsetenv(settings[i][0]), 0);
    }
    assert_memory_equal(first, again, HASH_SIZE);
}

/* --- sizes --------------------------------------------------------------------------------- */

static void sizes_from_the_smallest_to_terabytes(void **state)
{
    static const uint64_t sizes[] = {8 << 20,
                                     16 << 20,
                                     17 << 20,
                                     127 << 20,
                                     129 << 20,
                                     511 << 20,
                                     513 << 20,
                                     GIB,
                                     4 * GIB,
                                     100 * GIB,
                                     1000 * GIB + (1 << 20)};

    (void)state;
    need_tool("e2fsck");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        SCOPED_FREE char *yaml =
            xprintf("{name: root, type: root, filesystem: ext4, size: %lluMiB, mount: /}",
                    (unsigned long long)(sizes[i] >> 20));
        struct image image;

        if (sizes[i] < 16 << 20) { /* which the plan refuses; the engine could */
            struct error err = {0};

            assert_int_equal(make("a.img", sizes[i], 0, &err), 0);
            continue;
        }
        image_new(&image, "a.img", "1100GiB", yaml);
        image_file(&image, "f", "x", 1);
        image_finish(&image);
        image_done(&image);
    }
}

/* More blocks than 32 bits count; few file systems take a file so long, memory does. */
static void a_disk_of_more_than_16_tebibytes(void **state)
{
    const struct plan_partition part = part_of(1 << 20, 17ULL << 40);
    SCOPED(volume_freep) struct volume *volume = NULL;
    SCOPED_FD int fd = memfd_create("disk", MFD_CLOEXEC);
    SCOPED_FREE char *path = xprintf("/proc/self/fd/%d", fd);
    struct error err = {0};

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(18ULL << 40)), 0);
    if (volume_new(path, &part, 0, &volume, &err) < 0) {
        fail_msg("%s", err.message);
    }
    /* All but what the tables take, of which those of inodes are one part in 256. */
    assert_true(space_free_blocks(volume_space(volume)) > (17ULL << 40) / 4096 * 99 / 100);
    assert_int_equal(volume_inodes(volume), (17ULL << 40) / 65536);
}

static void what_is_too_small_says_so(void **state)
{
    static const uint64_t sizes[] = {4096, 65536, 1 << 20, 4 << 20};

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct error err = {0};

        assert_int_equal(make("a.img", sizes[i], 0, &err), -1);
        if (strstr(err.message, "partition 'root'") == NULL ||
            strstr(err.message, "nknown code") != NULL) {
            fail_msg("%llu: %s", (unsigned long long)sizes[i], err.message);
        }
    }
}

static void more_inodes_than_there_is_room_for_are_refused(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(make("a.img", 64 << 20, 4000000000U, &err), -1);
    if (strstr(err.message, "partition 'root'") == NULL ||
        strstr(err.message, "nknown code") != NULL) {
        fail_msg("%s", err.message);
    }
}

/* Beyond 2038: the inodes of libext2fs's own as well. */
static void times_have_34_bits(void **state)
{
    static const unsigned inodes[] = {2, 7, 8, 11};
    struct image image;
    struct core core = {0};

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    image.disk.epoch = 4102444800; /* 2100 */
    tree_settle(image.stack.tree, image.disk.epoch);
    assert_int_equal(engine_native.finish(image.engine, &core, &image.err), 0);
    for (size_t i = 0; i < COUNT(inodes); i++) {
        SCOPED_FREE char *command = xprintf("stat <%u>", inodes[i]);
        SCOPED_FREE char *text = image_debugfs(&image, command);
        size_t count = 0;

        for (const char *at = text; (at = strstr(at, "Fri Jan  1 00:00:00 2100")) != NULL; at++) {
            count++;
        }
        assert_int_equal(count, 4);
    }
    image_done(&image);
}

/* --- inode numbers ------------------------------------------------------------------------- */

static void inode_numbers_come_lowest_first(void **state)
{
    struct plan_partition part = part_of(0, 64 << 20);
    SCOPED(volume_freep) struct volume *volume = NULL;
    struct error err = {0};
    uint32_t last;

    (void)state;
    make_file("a.img", 64 << 20);
    assert_int_equal(volume_new("a.img", &part, 0, &volume, &err), 0);
    last = volume_inodes(volume);
    assert_int_equal(volume_take_inode(volume), 12);
    assert_int_equal(volume_take_inode(volume), 13);
    assert_true(volume_claim_inode(volume, 14));
    assert_int_equal(volume_take_inode(volume), 15);
    volume_give_inode(volume, 13);
    assert_int_equal(volume_take_inode(volume), 13);
    assert_int_equal(volume_take_inode(volume), 16);
    assert_false(volume_claim_inode(volume, 0));
    assert_false(volume_claim_inode(volume, VOLUME_ROOT));
    assert_false(volume_claim_inode(volume, VOLUME_LOST));
    assert_false(volume_claim_inode(volume, 16));
    assert_false(volume_claim_inode(volume, last + 1));
    assert_false(volume_claim_inode(volume, UINT32_MAX));
    assert_true(volume_claim_inode(volume, last));
    for (uint32_t number = 17; number < last; number++) {
        assert_int_equal(volume_take_inode(volume), number);
    }
    assert_int_equal(volume_take_inode(volume), 0);
    assert_int_equal(volume_take_inode(volume), 0);
    volume_give_inode(volume, 500);
    assert_int_equal(volume_take_inode(volume), 500);
}

/* --- what others do with it ---------------------------------------------------------------- */

static void fill_some(struct image *image)
{
    SCOPED_FREE char *bytes = xcalloc(1, 3 << 20);

    memset(bytes, 'k', 3 << 20);
    image_directory(image, "many");
    for (size_t i = 0; i < 1000; i++) {
        SCOPED_FREE char *path = xprintf("many/%zu", i);

        image_file(image, path, path, strlen(path));
    }
    image_file(image, "large", bytes, 3 << 20);
}

static void must_be_there(const char *image, const char *path)
{
    SCOPED_FREE char *text = RUN("debugfs", "-R", "dump large out", image);
    SCOPED_FREE char *many = RUN("debugfs", "-R", path, image);
    SCOPED(buf_done) struct buf buf = {0};
    struct error err = {0};

    assert_int_equal(file_read("out", SIZE_MAX / 2, &buf, &err), 0);
    assert_int_equal(buf.size, 3 << 20);
    for (size_t i = 0; i < buf.size; i++) {
        assert_int_equal(buf.data[i], 'k');
    }
    assert_string_equal(many, "many/999");
}

/* The partition alone, as resize2fs wants it. */
static void cut_out(const struct image *image, uint64_t size)
{
    SCOPED_FREE char *skip = xprintf(
        "skip=%llu", (unsigned long long)image->plan->partitions[0].offset_bytes / (1 << 20));
    SCOPED_FREE char *count = xprintf(
        "count=%llu", (unsigned long long)image->plan->partitions[0].size_bytes / (1 << 20));
    SCOPED_FREE char *text = NULL;

    (void)unlink("p.img");
    text = RUN("dd", "if=a.img", "of=p.img", "bs=1M", skip, count, "conv=sparse", "status=none");
    assert_int_equal(truncate("p.img", (off_t)size), 0);
}

static void resize2fs_grows_it(void **state)
{
    struct image image;
    SCOPED_FREE char *text = NULL;

    (void)state;
    need_tool("resize2fs");
    image_new(&image, "a.img", "1GiB", NULL);
    fill_some(&image);
    image_finish(&image);
    cut_out(&image, 5 * GIB);
    text = RUN("resize2fs", "p.img");
    must_be_clean("p.img");
    must_be_there("p.img", "cat many/999");
    image_done(&image);
}

/* The copies are of the empty file system; e2fsck takes one and counts again. */
static void e2fsck_repairs_from_a_copy_of_the_superblock(void **state)
{
    static const char zeros[4096 * 2];
    static const char *const env[] = {"PATH=" TOOL_PATH, "LC_ALL=C.UTF-8", NULL};
    const char *const argv[] = {"sh", "-c", "e2fsck -f -y -b 32768 -B 4096 p.img; test $? -le 2",
                                NULL};
    const struct proc proc = {.argv = argv, .env = env};
    struct image image;
    struct error err = {0};

    (void)state;
    need_tool("e2fsck");
    image_new(&image, "a.img", "1GiB", NULL);
    fill_some(&image);
    image_finish(&image);
    cut_out(&image, image.plan->partitions[0].size_bytes);
    {
        SCOPED_FD int fd = open("p.img", O_RDWR | O_CLOEXEC);

        assert_int_equal(file_pwrite(fd, zeros, sizeof(zeros), 0, "p.img", &err), 0);
    }
    if (proc_run(&proc, &err) < 0) {
        fail_msg("%s", err.message);
    }
    must_be_clean("p.img");
    must_be_there("p.img", "cat many/999");
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_superblock_is_that_of_mke2fs),
        cmocka_unit_test(the_same_calls_give_the_same_bytes),
        cmocka_unit_test(sizes_from_the_smallest_to_terabytes),
        cmocka_unit_test(a_disk_of_more_than_16_tebibytes),
        cmocka_unit_test(what_is_too_small_says_so),
        cmocka_unit_test(more_inodes_than_there_is_room_for_are_refused),
        cmocka_unit_test(times_have_34_bits),
        cmocka_unit_test(inode_numbers_come_lowest_first),
        cmocka_unit_test(resize2fs_grows_it),
        cmocka_unit_test(e2fsck_repairs_from_a_copy_of_the_superblock),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
