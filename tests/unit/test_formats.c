/* SPDX-License-Identifier: Apache-2.0 */
/* VHD, Google's tar and VMDK, judged by qemu-img, GNU tar and bsdtar. */
#undef NDEBUG
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "base/fail.h"
#include "export/sparse_tar.h"

#include <cmocka.h> /* after fail.h: it has a macro fail() */

#include "disks.h"

/* --- judging ------------------------------------------------------------------------------- */

/* What FIRST has as data, up to SIZE, is in SECOND as well. */
static void expect_data_in(const char *first, const char *second, uint64_t size)
{
    SCOPED_FD int one = open(first, O_RDONLY), other = open(second, O_RDONLY);
    SCOPED_FREE char *a = xmalloc(MIB), *b = xmalloc(MIB);
    uint64_t at = 0, length = 0;
    struct error err = {0};

    assert_true(one >= 0 && other >= 0);
    while (file_next_data(one, at + length, &at, &length, first, &err) > 0 && at < size) {
        length = length < MIB ? length : MIB;
        length = length < size - at ? length : size - at;
        must(file_pread(one, a, length, at, first, &err), &err);
        must(file_pread(other, b, length, at, second, &err), &err);
        assert_memory_equal(a, b, length);
    }
    assert_int_equal(err.kind, FAIL_NONE);
}

/* For disks that are too large to be compared whole. */
static void expect_same_disk(const char *first, const char *second, uint64_t size)
{
    expect_data_in(first, second, size);
    expect_data_in(second, first, size);
}

/* No name, no time, one member and nothing behind it. */
static void gunzip(const char *path, struct buf *ret)
{
    SCOPED(buf_done) struct buf file = {0};
    z_stream zlib = {0};
    struct error err = {0};
    int result = Z_OK;

    must(file_read(path, 100 * MIB, &file, &err), &err);
    assert_true(file.size > 18);
    assert_memory_equal(file.data, "\x1f\x8b\x08\0\0\0\0\0", 8);
    assert_int_equal(inflateInit2(&zlib, 16 + MAX_WBITS), Z_OK);
    zlib.next_in = (Bytef *)file.data;
    zlib.avail_in = (uInt)file.size;
    while (result == Z_OK) {
        zlib.next_out = (Bytef *)buf_reserve(ret, MIB);
        zlib.avail_out = MIB;
        result = inflate(&zlib, Z_NO_FLUSH);
        ret->size += MIB - zlib.avail_out;
    }
    assert_int_equal(result, Z_STREAM_END);
    assert_int_equal(zlib.avail_in, 0);
    inflateEnd(&zlib);
}

static void judge_archive(const char *path)
{
    SCOPED(buf_done) struct buf tar = {0};

    gunzip(path, &tar);
    assert_int_equal(tar.size % 10240, 0);
    assert_memory_equal(tar.data, "disk.raw\0", 9);
    assert_memory_equal(tar.data + 257, "ustar  \0", 8); /* oldgnu's */
    assert_int_equal(tar.data[156], 'S');
}

/* PROGRAM makes the same disk of it. */
static void judge_unpacked(const struct place *place, const char *path, const char *program)
{
    SCOPED_FREE char *directory = file_of(place, "unpacked");
    SCOPED_FREE char *unpacked = file_join(directory, "disk.raw");
    struct error err = {0};

    must(file_make_dirs(directory, &err), &err);
    must_run((const char *const[]){program, "-xSzf", path, "-C", directory, NULL}, NULL);
    assert_int_equal(size_of_file(unpacked), size_of_file(place->raw));
    expect_same_disk(place->raw, unpacked, size_of_file(place->raw));
    must(file_remove_tree(directory, &err), &err);
}

static void judge_gcp(const struct place *place)
{
    /* What has no slash before a colon is another machine's to GNU tar. */
    SCOPED_FREE char *path = xprintf("./%s/disk.tar.gz", place->dir), *line = NULL;
    SCOPED(buf_done) struct buf listed = {0};

    judge_archive(path);
    line = xprintf("-rw-r--r-- 0/0 %15llu 1970-01-01 00:00 disk.raw\n",
                   (unsigned long long)size_of_file(place->raw));
    must_run((const char *const[]){"tar", "--utc", "--numeric-owner", "-tvzf", path, NULL},
             &listed);
    assert_string_equal(listed.data, line);
    judge_unpacked(place, path, "tar");
    judge_unpacked(place, path, "bsdtar");
}

static void expect_same_to_qemu(const struct place *place, const char *file, const char *format)
{
    SCOPED_FREE char *source = xprintf("file:%s", place->raw);
    SCOPED_FREE char *target = xprintf("file:%s/%s", place->dir, file);
    SCOPED_FREE char *size = xprintf("(%llu bytes)", (unsigned long long)size_of_file(place->raw));
    SCOPED(buf_done) struct buf info = {0};

    must_run((const char *const[]){"qemu-img", "compare", "-f", "raw", "-F", format, source, target,
                                   NULL},
             NULL);
    must_run((const char *const[]){"qemu-img", "info", "-f", format, target, NULL}, &info);
    assert_non_null(strstr(info.data, size));
}

/* The last 512 bytes. */
static void read_footer(const char *path, unsigned char ret[512])
{
    SCOPED_FD int fd = open(path, O_RDONLY);
    struct error err = {0};

    assert_true(fd >= 0);
    must(file_pread(fd, ret, 512, size_of_file(path) - 512, path, &err), &err);
}

static uint32_t get_be32(const unsigned char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

/* All is as QEMU has it but time, checksum and UUID. */
static void judge_footer(const struct place *place, const char *path)
{
    SCOPED_FREE char *other = file_of(place, "other.vhd");
    SCOPED_FREE char *target = xprintf("file:%s", other);
    SCOPED_FREE char *size = xprintf("%llu", (unsigned long long)size_of_file(place->raw));
    unsigned char ours[512], theirs[512];
    uint32_t sum = 0;

    must_run((const char *const[]){"qemu-img", "create", "-q", "-f", "vpc", "-o",
                                   "subformat=fixed,force_size", target, size, NULL},
             NULL);
    read_footer(path, ours);
    read_footer(other, theirs);
    for (size_t i = 0; i < sizeof(ours); i++) {
        sum += i / 4 == 64 / 4 ? 0 : ours[i];
    }
    assert_int_equal(get_be32(ours + 64), (uint32_t)~sum);
    assert_int_equal(get_be32(ours + 24), 1700000000 - 946684800);
    memcpy(theirs + 24, ours + 24, 4);
    memcpy(theirs + 64, ours + 64, 4);
    memcpy(theirs + 68, ours + 68, 16);
    assert_memory_equal(ours, theirs, sizeof(ours));
}

static void judge_vhd(const struct place *place)
{
    SCOPED_FREE char *path = file_of(place, "disk.vhd");
    uint64_t size = size_of_file(place->raw);
    struct stat raw, vhd;

    assert_int_equal(size_of_file(path), size + 512);
    expect_same_disk(place->raw, path, size);
    judge_footer(place, path);
    expect_same_to_qemu(place, "disk.vhd", "vpc");
    assert_int_equal(stat(place->raw, &raw), 0);
    assert_int_equal(stat(path, &vhd), 0);
    assert_in_range(vhd.st_blocks, 0, raw.st_blocks + 16);
}

static void judge_vmdk(const struct place *place)
{
    SCOPED_FREE char *target = xprintf("file:%s/disk.vmdk", place->dir);
    SCOPED(buf_done) struct buf info = {0};

    must_run((const char *const[]){"qemu-img", "info", "-f", "vmdk", target, NULL}, &info);
    assert_non_null(strstr(info.data, "create type: streamOptimized"));
    assert_non_null(strstr(info.data, "cid: 2128394904\n")); /* 0x7edcba98: see disks.h */
    assert_non_null(strstr(info.data, "parent cid: 4294967295\n"));
    expect_same_to_qemu(place, "disk.vmdk", "vmdk");
}

static void judge_all(const struct place *place)
{
    write_formats(place, FORMAT_GCP | FORMAT_VHD | FORMAT_VMDK, COMPRESSION_ZLIB, 2);
    judge_gcp(place);
    judge_vhd(place);
    judge_vmdk(place);
}

/* --- disks of every kind ------------------------------------------------------------------- */

static void a_disk_of_a_hole(void **state)
{
    make_disk(*state, GIB, NULL, 0);
    judge_all(*state);
}

static void a_disk_of_zeros(void **state)
{
    MAKE_DISK(*state, 16 * MIB, {0, 16 * MIB, ZERO});
    judge_all(*state);
}

static void data_that_does_not_shrink(void **state)
{
    MAKE_DISK(*state, 6 * MIB, {0, 6 * MIB, RANDOM});
    judge_all(*state);
}

static void a_disk_without_holes(void **state)
{
    MAKE_DISK(*state, 3 * MIB, {0, 3 * MIB, TEXT});
    judge_all(*state);
}

static void one_byte_at_the_end(void **state)
{
    MAKE_DISK(*state, GIB, {GIB - 1, 1, ONES});
    judge_all(*state);
}

static void a_disk_of_everything(void **state)
{
    make_mixed_disk(*state);
    judge_all(*state);
}

/* Offsets and the size need more than eleven octal digits. */
static void more_than_8_gib(void **state)
{
    MAKE_DISK(*state, 20 * GIB, {4 * MIB, MIB, TEXT}, {8 * GIB - MIB, 2 * MIB, MIXED},
              {17 * GIB, 100000, RANDOM});
    judge_all(*state);
}

/* In the header there is room for 4 runs, in each extension for 21. */
static void any_number_of_runs(void **state)
{
    static const size_t counts[] = {4, 5, 25, 26, 47};
    struct run runs[47];

    for (size_t i = 0; i < COUNT(runs); i++) {
        runs[i] = (struct run){i * 3 * CLUSTER + i * 10, 1000, MIXED};
    }
    for (size_t i = 0; i < COUNT(counts); i++) {
        for (size_t hole = 0; hole < 2; hole++) {
            uint64_t size = runs[counts[i] - 1].offset / CLUSTER * CLUSTER + (hole + 1) * CLUSTER;

            make_disk(*state, size, runs, counts[i]);
            write_formats(*state, FORMAT_GCP, COMPRESSION_ZLIB, 2);
            judge_gcp(*state);
        }
    }
}

/* kiln makes none, but nothing may be lost. */
static void sizes_that_are_no_whole_clusters(void **state)
{
    static const uint64_t sizes[] = {0, 1, 511, 513, 65535, 65537, 3 * MIB + 1};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint64_t data = sizes[i] < MIB ? sizes[i] : MIB;

        MAKE_DISK(*state, sizes[i], {sizes[i] - data, data, MIXED});
        write_formats(*state, FORMAT_GCP, COMPRESSION_ZLIB, 2);
        judge_gcp(*state);
    }
}

static void a_vhd_is_of_whole_mib(void **state)
{
    const struct place *place = *state;
    struct profile profile = {.formats = FORMAT_VHD};
    struct export_job job = {.profile = &profile};
    struct error err = {0};

    MAKE_DISK(place, MIB + 512, {0, 512, TEXT});
    assert_int_equal(export_with(place, job, &err), -1);
    assert_non_null(strstr(err.message, "the disk is no whole number of MiB"));
}

/* --- without data -------------------------------------------------------------------------- */

/* More than a test's disk can have. */
static void sizes_are_binary_where_octal_ends(void **state)
{
    static const struct {
        uint64_t count;
        const char *field; /* 12 bytes */
    } cases[] = {
        {(8 * GIB - CLUSTER) / CLUSTER, "77777600000"},
        {8 * GIB / CLUSTER, "\x80\0\0\0\0\0\0\x02\0\0\0"},
        {3 * TIB / CLUSTER, "\x80\0\0\0\0\0\x03\0\0\0\0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cluster_run run = {0, cases[i].count};
        struct clusters clusters = {
            .size_bytes = cases[i].count * CLUSTER, .runs = &run, .run_count = 1};
        SCOPED(buf_done) struct buf head = {0};

        sparse_tar_head(&head, "disk.raw", &clusters);
        assert_int_equal(head.size, 512);
        assert_memory_equal(head.data + 124, cases[i].field, 12); /* of the archive */
        assert_memory_equal(head.data + 386 + 12, cases[i].field, 12);
        assert_memory_equal(head.data + 483, cases[i].field, 12); /* of the disk */
    }
}

static void an_archive_ends_with_two_blocks_of_zeros_and_a_whole_record(void **state)
{
    (void)state;
    assert_int_equal(sparse_tar_padding(512), 10240 - 512);
    assert_int_equal(sparse_tar_padding(10240 - 1024), 1024);
    assert_int_equal(sparse_tar_padding(10240 - 512), 10240 + 512);
    assert_int_equal(sparse_tar_padding(10240), 10240);
}

/* --- identifiers --------------------------------------------------------------------------- */

static void write_for(const struct place *place, uint8_t first, int64_t epoch)
{
    const uint8_t digest[HASH_SIZE] = {first, 1, 2, 3};
    struct profile profile = {.formats = FORMAT_VHD | FORMAT_VMDK};
    struct export_job job = {.profile = &profile, .disk_digest = digest, .epoch = epoch};
    struct error err = {0};

    must(export_with(place, job, &err), &err);
}

static void identifiers_follow_the_digest(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *vhd = file_of(place, "disk.vhd"), *vmdk = file_of(place, "disk.vmdk");
    SCOPED(buf_done) struct buf one = {0}, other = {0};
    unsigned char first[512], second[512];
    struct error err = {0};
    size_t differing = 0;

    MAKE_DISK(place, 4 * MIB, {0, MIB, TEXT});
    write_for(place, 1, 0);
    read_footer(vhd, first);
    must(file_read(vmdk, 100 * MIB, &one, &err), &err);
    write_for(place, 0xf3, 0);
    read_footer(vhd, second);
    must(file_read(vmdk, 100 * MIB, &other, &err), &err);
    assert_memory_not_equal(first + 68, second + 68, 16);
    assert_int_equal(one.size, other.size);
    for (size_t i = 0; i < one.size; i++) {
        differing += one.data[i] != other.data[i];
    }
    assert_int_equal(differing, 2); /* "01010203", "73010203" */
}

/* Before 2000, and after 2136, a VHD has no time. */
static void times_of_a_vhd_end_where_they_must(void **state)
{
    static const struct {
        int64_t epoch;
        uint32_t time;
    } cases[] = {{0, 0},
                 {946684799, 0},
                 {946684801, 1},
                 {946684800 + (int64_t)UINT32_MAX, UINT32_MAX},
                 {INT64_C(1) << 40, UINT32_MAX}};
    const struct place *place = *state;
    SCOPED_FREE char *vhd = file_of(place, "disk.vhd");
    unsigned char footer[512];

    MAKE_DISK(place, MIB, {0, 512, TEXT});
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_for(place, 1, cases[i].epoch);
        read_footer(vhd, footer);
        assert_int_equal(get_be32(footer + 24), cases[i].time);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_disk_of_a_hole),
        CASE(a_disk_of_zeros),
        CASE(data_that_does_not_shrink),
        CASE(a_disk_without_holes),
        CASE(one_byte_at_the_end),
        CASE(a_disk_of_everything),
        CASE(more_than_8_gib),
        CASE(any_number_of_runs),
        CASE(sizes_that_are_no_whole_clusters),
        CASE(a_vhd_is_of_whole_mib),
        CASE(sizes_are_binary_where_octal_ends),
        CASE(an_archive_ends_with_two_blocks_of_zeros_and_a_whole_record),
        CASE(identifiers_follow_the_digest),
        CASE(times_of_a_vhd_end_where_they_must),
    };

    assert_int_equal(chdir("/tmp"), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
