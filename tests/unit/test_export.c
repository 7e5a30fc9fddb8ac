/* SPDX-License-Identifier: Apache-2.0 */
/* Formats in general, and qcow2, judged by qemu-img, which shares no code with it. */
#undef NDEBUG
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "base/fail.h"
#include "export/qcow2.h"

#include <cmocka.h> /* after fail.h: it has a macro fail() */

#include "disks.h"

static const enum compression compressions[] = {COMPRESSION_ZLIB, COMPRESSION_ZSTD};

static const unsigned all_formats =
    FORMAT_RAW | FORMAT_QCOW2 | FORMAT_VHD | FORMAT_GCP | FORMAT_VMDK;

/* --- judging ------------------------------------------------------------------------------- */

/* No error, no leak (which is a status other than 0, too), nothing behind the end. */
static void judge_structure(const char *path)
{
    SCOPED_FREE char *target = xprintf("file:%s", path);
    SCOPED(buf_done) struct buf said = {0};
    SCOPED_FREE char *end = NULL;

    must_run((const char *const[]){"qemu-img", "check", "-f", "qcow2", target, NULL}, &said);
    end = xprintf("Image end offset: %llu\n", (unsigned long long)size_of_file(path));
    assert_non_null(strstr(said.data, "No errors were found"));
    assert_non_null(strstr(said.data, end));
}

static void judge(const struct place *place, enum compression compression)
{
    SCOPED_FREE char *source = xprintf("file:%s", place->raw);
    SCOPED_FREE char *target = xprintf("file:%s", place->qcow2), *size = NULL;
    SCOPED(buf_done) struct buf info = {0};

    judge_structure(place->qcow2);
    must_run((const char *const[]){"qemu-img", "compare", "-f", "raw", "-F", "qcow2", source,
                                   target, NULL},
             NULL);
    must_run((const char *const[]){"qemu-img", "info", "-f", "qcow2", target, NULL}, &info);
    size =
        xprintf("(%llu bytes)", ((unsigned long long)size_of_file(place->raw) + 511) / 512 * 512);
    assert_non_null(strstr(info.data, size));
    assert_non_null(strstr(info.data, "compat: 1.1"));
    assert_non_null(strstr(info.data, "refcount bits: 16"));
    assert_non_null(strstr(info.data, "corrupt: false"));
    assert_non_null(strstr(info.data, "cluster_size: 65536"));
    assert_null(strstr(info.data, "backing file"));
    assert_non_null(strstr(info.data, compression == COMPRESSION_ZSTD ? "compression type: zstd"
                                                                      : "compression type: zlib"));
}

/* Writes and judges the disk with both compressions; neither file may have more than MOST bytes. */
static void judge_both(const struct place *place, uint64_t most)
{
    for (size_t i = 0; i < COUNT(compressions); i++) {
        write_formats(place, FORMAT_QCOW2, compressions[i], 2);
        judge(place, compressions[i]);
        assert_in_range(size_of_file(place->qcow2), 1, most);
    }
}

/* What each file has besides data: header, L1 table, an L2 table, reference counts and their table.
 */
enum { TABLES = 5 * QCOW2_CLUSTER };

/* --- disks of every kind -------------------------------------------------------------------- */

static void every_format_has_a_row_of_its_own(void **state)
{
    unsigned bits = 0;

    (void)state;
    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        SCOPED_FREE char *file = xprintf("disk.%s", row->bit == FORMAT_GCP ? "tar.gz" : row->name);

        assert_string_equal(row->file, file);
        assert_ptr_equal(export_find(file), row);
        assert_int_equal(bits & row->bit, 0);
        assert_int_equal((row->stream != NULL) + (row->write != NULL), row->bit != FORMAT_RAW);
        assert_true(row->is_disk || row->maker != NULL);
        bits |= row->bit;
    }
    assert_int_equal(bits, all_formats);
    assert_null(export_find("disk"));
}

static void a_disk_of_no_bytes(void **state)
{
    make_disk(*state, 0, NULL, 0);
    judge_both(*state, TABLES);
}

static void a_disk_of_a_hole(void **state)
{
    make_disk(*state, 4 * GIB, NULL, 0);
    judge_both(*state, TABLES - QCOW2_CLUSTER);
}

static void zeros_are_not_allocated(void **state)
{
    MAKE_DISK(*state, 16 * MIB, {0, 16 * MIB, ZERO});
    judge_both(*state, TABLES - QCOW2_CLUSTER);
}

static void one_byte_at_the_end(void **state)
{
    MAKE_DISK(*state, GIB, {GIB - 1, 1, ONES});
    judge_both(*state, TABLES + QCOW2_CLUSTER);
}

static void one_byte_at_the_start(void **state)
{
    MAKE_DISK(*state, GIB, {0, 1, ONES});
    judge_both(*state, TABLES + QCOW2_CLUSTER);
}

static void data_that_does_not_shrink_is_stored(void **state)
{
    MAKE_DISK(*state, 6 * MIB, {0, 5 * MIB, RANDOM});
    judge_both(*state, TABLES + 5 * MIB);
}

static void data_of_one_byte_value(void **state)
{
    MAKE_DISK(*state, 64 * MIB, {0, 64 * MIB, ONES});
    judge_both(*state, TABLES + 6 * QCOW2_CLUSTER);
}

static void compressed_pieces_lie_close(void **state)
{
    MAKE_DISK(*state, 8 * MIB, {0, 8 * MIB, TEXT});
    judge_both(*state, TABLES + 3 * MIB);
}

static void sizes_that_are_no_whole_clusters(void **state)
{
    static const uint64_t sizes[] = {1, 511, 513, 65535, 65537, 3 * MIB + 1, 512 * MIB + 512};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint64_t data = sizes[i] < MIB ? sizes[i] : MIB;

        MAKE_DISK(*state, sizes[i], {sizes[i] - data, data, MIXED});
        judge_both(*state, TABLES + MIB + QCOW2_CLUSTER);
    }
}

static void a_disk_of_everything(void **state)
{
    make_mixed_disk(*state);
    judge_both(*state, TABLES + 8 * MIB);
}

static void a_sparse_tebibyte(void **state)
{
    MAKE_DISK(*state, TIB, {0, MIB, TEXT}, {300 * GIB + 512, 5000, RANDOM}, {700 * GIB, MIB, MIXED},
              {TIB - 65536, 65536, TEXT});
    judge_both(*state, TABLES + 3 * MIB);
}

/* --- the same bytes ------------------------------------------------------------------------- */

static const char *const files[] = {"disk.qcow2", "disk.tar.gz", "disk.vhd", "disk.vmdk"};

static void threads_change_no_byte(void **state)
{
    static const unsigned threads[] = {2, 5, 0};
    const struct place *place = *state;

    make_mixed_disk(place);
    for (size_t i = 0; i < COUNT(compressions); i++) {
        write_formats(place, FORMAT_QCOW2 | FORMAT_GCP, compressions[i], 1);
        set_aside(place, "disk.qcow2");
        set_aside(place, "disk.tar.gz");
        for (size_t n = 0; n < COUNT(threads); n++) {
            write_formats(place, FORMAT_QCOW2 | FORMAT_GCP, compressions[i], threads[n]);
            expect_as_before(place, "disk.qcow2");
            expect_as_before(place, "disk.tar.gz");
        }
    }
}

/* Another file system, or a copy, has its holes elsewhere. */
static void holes_change_no_byte(void **state)
{
    const struct place *place = *state;

    MAKE_DISK(place, 4 * MIB, {65536 * 3 + 4096, 4096, TEXT}, {2 * MIB + 512, 100000, MIXED});
    write_formats(place, all_formats, COMPRESSION_ZLIB, 2);
    for (size_t f = 0; f < COUNT(files); f++) {
        set_aside(place, files[f]);
    }
    MAKE_DISK(place, 4 * MIB, {65536 * 3 + 4096, 4096, TEXT}, {2 * MIB + 512, 100000, MIXED},
              {0, 65536 * 3 + 4096, ZERO}, {65536 * 4, 65536 * 2, ZERO}, {3 * MIB, MIB, ZERO});
    write_formats(place, all_formats, COMPRESSION_ZLIB, 2);
    for (size_t f = 0; f < COUNT(files); f++) {
        expect_as_before(place, files[f]);
    }
}

/* Each is the same alone, and beside the others. */
static void other_formats_change_no_byte(void **state)
{
    const struct place *place = *state;

    MAKE_DISK(place, 64 * MIB, {4096, 100000, TEXT}, {3 * MIB, MIB, MIXED},
              {64 * MIB - 512, 512, ONES});
    for (size_t i = 0; i < COUNT(compressions); i++) {
        write_formats(place, all_formats, compressions[i], 2);
        for (size_t f = 0; f < COUNT(files); f++) {
            set_aside(place, files[f]);
            write_formats(place, export_find(files[f])->bit, compressions[i], 2);
            expect_as_before(place, files[f]);
        }
    }
}

static void only_what_is_asked_for_is_written(void **state)
{
    const struct place *place = *state;
    struct profile profile = {.formats = FORMAT_RAW};

    MAKE_DISK(place, 4 * MIB, {0, MIB, TEXT});
    assert_null(export_list(&profile));
    for (unsigned formats = FORMAT_RAW; formats <= all_formats; formats += FORMAT_GCP) {
        SCOPED_FREE char *list = NULL;

        profile.formats = formats;
        write_formats(place, formats, COMPRESSION_ZLIB, 2);
        list = export_list(&profile);
        for (size_t f = 0; f < COUNT(files); f++) {
            SCOPED_FREE char *path = file_of(place, files[f]);
            bool there = file_exists(path);

            assert_int_equal(there, (formats & export_find(files[f])->bit) != 0);
            assert_int_equal(there, list != NULL && strstr(list, files[f]) != NULL);
            assert_true(!there || unlink(path) == 0);
        }
    }
}

/* --- reading it ourselves ------------------------------------------------------------------- */

static uint64_t read_be64(const struct buf *file, uint64_t offset)
{
    uint64_t value;

    assert_in_range(offset + sizeof(value), 0, file->size);
    memcpy(&value, file->data + offset, sizeof(value));
    return be64toh(value);
}

/*
 * Inflates with a window of 4 KiB and never more than a byte at once, so that nothing further back
 * can be had; QEMU's own way, a whole cluster at once, would forgive more.
 */
static void inflate_strictly(const unsigned char *data, size_t size)
{
    z_stream zlib = {.next_in = (z_const Bytef *)data, .avail_in = (uInt)size};
    size_t done = 0;
    int result = Z_OK;

    assert_int_equal(inflateInit2(&zlib, -12), Z_OK);
    for (; result == Z_OK; done++) {
        unsigned char byte;

        zlib.next_out = &byte;
        zlib.avail_out = 1;
        result = inflate(&zlib, Z_NO_FLUSH);
        if (zlib.avail_out == 1) {
            break;
        }
    }
    if (result != Z_STREAM_END) {
        print_error("inflate: %d %s\n", result, zlib.msg != NULL ? zlib.msg : "");
    }
    assert_int_equal(result, Z_STREAM_END);
    assert_in_range(done, QCOW2_CLUSTER, QCOW2_CLUSTER + 1);
    inflateEnd(&zlib);
}

static void zlib_looks_back_4_kib_at_most(void **state)
{
    const struct place *place = *state;
    SCOPED(buf_done) struct buf file = {0};
    struct error err = {0};
    size_t compressed = 0;
    uint64_t l2;

    MAKE_DISK(place, 2 * MIB, {0, 2 * MIB, TEXT});
    write_formats(place, FORMAT_QCOW2, COMPRESSION_ZLIB, 2);
    must(file_read(place->qcow2, 64 * MIB, &file, &err), &err);
    l2 = read_be64(&file, read_be64(&file, 40)) & 0x00fffffffffffe00;
    for (size_t i = 0; i < 32; i++) {
        uint64_t entry = read_be64(&file, l2 + i * 8), at = entry & ((1ULL << 54) - 1);
        uint64_t end = (at / 512 + (entry >> 54 & 0xff) + 1) * 512;

        if (entry >> 62 == 1) {
            assert_in_range(end, 1, file.size);
            inflate_strictly((unsigned char *)file.data + at, end - at);
            compressed++;
        }
    }
    assert_int_equal(compressed, 32);
}

/* Old QEMUs know a header of 104 bytes only; with zstd they must refuse. */
static void headers_say_what_they_must(void **state)
{
    const struct place *place = *state;

    MAKE_DISK(place, MIB, {0, MIB, TEXT});
    for (size_t i = 0; i < COUNT(compressions); i++) {
        bool zstd = compressions[i] == COMPRESSION_ZSTD;
        SCOPED(buf_done) struct buf file = {0};
        struct error err = {0};

        write_formats(place, FORMAT_QCOW2, compressions[i], 1);
        must(file_read(place->qcow2, 64 * MIB, &file, &err), &err);
        assert_memory_equal(file.data, "QFI\xfb\0\0\0\3", 8);
        assert_int_equal(read_be64(&file, 72), zstd ? 8 : 0);    /* incompatible features */
        assert_int_equal(read_be64(&file, 80), 0);               /* compatible */
        assert_int_equal(read_be64(&file, 88), 0);               /* autoclear */
        assert_int_equal(file.data[103], zstd ? 112 : 104);      /* header length */
        assert_int_equal(read_be64(&file, 104) >> 56, zstd);     /* compression type */
        assert_int_equal(read_be64(&file, zstd ? 112 : 104), 0); /* no extensions */
    }
}

/* --- tables too large for a test's data --------------------------------------------------------
 */

/*
 * A file of CLUSTERS clusters, of which all but a few are free: around 32768 there is one more
 * block of reference counts, which itself needs one.
 */
static void reference_counts_of_large_files(void **state)
{
    static const uint64_t clusters[] = {32764, 32765, 32766, 32767, 32768,
                                        32769, 65530, 65534, 70000};
    const struct place *place = *state;

    for (size_t i = 0; i < COUNT(clusters); i++) {
        int fd = open(place->qcow2, O_RDWR | O_CREAT | O_TRUNC, 0600);
        char *cluster = xcalloc(1, QCOW2_CLUSTER);
        struct qcow2 image;
        struct error err = {0};

        assert_true(fd >= 0);
        memset(cluster, 'x', QCOW2_CLUSTER);
        must(qcow2_begin(&image, fd, place->qcow2, TIB, COMPRESSION_ZLIB, &err), &err);
        must(qcow2_put(&image, 3, cluster, QCOW2_CLUSTER, &err), &err);
        grow(&image.refcounts, clusters[i], &image.refcount_space, sizeof(*image.refcounts));
        memset(image.refcounts + image.next_cluster, 0,
               (clusters[i] - image.next_cluster) * sizeof(*image.refcounts));
        image.next_cluster = clusters[i];
        must(qcow2_put(&image, 9, cluster, QCOW2_CLUSTER, &err), &err);
        must(qcow2_end(&image, &err), &err);
        qcow2_done(&image);
        assert_int_equal(close(fd), 0);
        judge_structure(place->qcow2);
        free(cluster);
    }
}

static void disks_beyond_the_limit_are_refused(void **state)
{
    struct qcow2 image;
    struct error err = {0};

    (void)state;
    assert_int_equal(qcow2_begin(&image, -1, "big.qcow2", 64 * TIB, COMPRESSION_ZLIB, &err), 0);
    qcow2_done(&image);
    assert_int_equal(qcow2_begin(&image, -1, "big.qcow2", 64 * TIB + 1, COMPRESSION_ZLIB, &err),
                     -1);
    qcow2_done(&image);
    assert_string_equal(err.message, "write 'big.qcow2': a disk of more than 64 TiB");
}

/* --- what may go wrong ----------------------------------------------------------------------- */

static void the_maker_names_the_library(void **state)
{
    const struct profile zlib = {.qcow2_compression = COMPRESSION_ZLIB};
    const struct profile zstd = {.qcow2_compression = COMPRESSION_ZSTD};
    SCOPED_FREE char *first = NULL, *second = NULL, *third = NULL, *fourth = NULL;
    SCOPED_FREE char *expected = xprintf("zlib %s, level ", zlibVersion());
    struct error err = {0};

    (void)state;
    must(export_qcow2_maker(&zlib, &first, &err), &err);
    must(export_qcow2_maker(&zstd, &second, &err), &err);
    must(export_gcp_maker(&zstd, &third, &err), &err);
    must(export_vmdk_maker(&zstd, &fourth, &err), &err);
    assert_int_equal(strncmp(first, expected, strlen(expected)), 0);
    assert_int_equal(strncmp(second, "zstd 1.", 7), 0);
    assert_string_equal(third, first);
    assert_int_equal(strncmp(fourth, "qemu-img version ", 17), 0);
    assert_null(strchr(fourth, '\n'));
}

struct seen {
    const struct place *place;
    uint64_t last;
    size_t count;
    const char *file;
    off_t cut; /* truncate the disk to that at the first call; 0: do not */
};

static void note_progress(void *data, const char *file, uint64_t done_bytes)
{
    struct seen *seen = data;

    assert_in_range(done_bytes, seen->last + (file == NULL ? 1 : 0), UINT64_MAX);
    seen->last = done_bytes;
    seen->file = file;
    if (seen->count++ == 0 && seen->cut != 0) {
        assert_int_equal(truncate(seen->place->raw, seen->cut), 0);
    }
}

static void fails_with(const struct place *place, const char *raw, const char *directory,
                       const struct export_format *format, const char *message)
{
    const struct place other = {.raw = (char *)raw};
    const struct profile profile = {.formats = format->bit};
    struct export_job job = {.profile = &profile,
                             .directory = directory != NULL ? directory : place->dir};
    struct error err = {0};

    assert_int_equal(export_with(&other, job, &err), -1);
    assert_string_equal(err.message, message);
}

static void progress_goes_up_to_the_data(void **state)
{
    struct seen seen = {.place = *state};
    const struct profile profile = {.formats = all_formats};
    struct export_job job = {.profile = &profile, .progress = note_progress, .data = &seen};
    struct error err = {0};

    MAKE_DISK(seen.place, GIB, {0, MIB, TEXT}, {100 * MIB, MIB, ZERO}, {GIB - 4096, 4096, TEXT});
    must(export_with(seen.place, job, &err), &err);
    assert_int_equal(seen.last, MIB + CLUSTER);
    assert_int_equal(seen.count, 17 + 2);
    assert_string_equal(seen.file, "disk.vmdk");
}

/* What has been found, and what is behind it. */
static void a_disk_that_shrinks_is_an_error(void **state)
{
    static const struct {
        off_t cut;
        const char *said;
    } cases[] = {{2 * MIB, "it ends too early"}, {300 * MIB, "its size has changed"}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct seen seen = {.place = *state, .cut = cases[i].cut};
        const struct profile profile = {.formats = FORMAT_QCOW2};
        struct export_job job = {
            .profile = &profile, .threads = 2, .progress = note_progress, .data = &seen};
        struct error err = {0};

        MAKE_DISK(seen.place, GIB, {0, 8 * MIB, TEXT}, {200 * MIB, MIB, TEXT});
        assert_int_equal(export_with(seen.place, job, &err), -1);
        assert_non_null(strstr(err.message, "disk.raw"));
        assert_non_null(strstr(err.message, cases[i].said));
    }
}

static void failures_name_the_file_and_the_cause(void **state)
{
    const struct place *place = *state;

    MAKE_DISK(place, 4 * MIB, {0, MIB, TEXT});
    fails_with(place, "none.raw", NULL, &export_formats[1],
               "open 'none.raw': No such file or directory");
    fails_with(place, "/dev/zero", NULL, &export_formats[1], "'/dev/zero' is not a regular file");
    for (size_t i = 0; i < 3; i++) {
        const struct export_format *format = export_find(files[i]);
        SCOPED_FREE char *path = file_of(place, format->file);
        SCOPED_FREE char *message =
            xprintf("create '/proc/kiln/%s': No such file or directory", format->file);

        fails_with(place, place->raw, "/proc/kiln", format, message);
        free(message);
        message = xprintf("write '%s': No space left on device", path);
        assert_int_equal(symlink("/dev/full", path), 0);
        if (format->stream != NULL) {
            fails_with(place, place->raw, NULL, format, message);
        }
    }
}

/* One of several: the others end, and it is the one that is told. */
static void one_failure_fails_all(void **state)
{
    const struct place *place = *state;
    const struct profile profile = {.formats = all_formats};
    struct export_job job = {.profile = &profile};

    MAKE_DISK(place, 64 * MIB, {0, 4 * MIB, TEXT});
    for (size_t i = 0; i < COUNT(files); i++) {
        SCOPED_FREE char *path = file_of(place, files[i]);
        struct error err = {0};

        (void)unlink(path);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(export_with(place, job, &err), -1);
        assert_non_null(strstr(err.message, path));
        assert_int_equal(rmdir(path), 0);
    }
}

static void without_qemu_img_there_is_no_vmdk(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *path = xstrdup(getenv("PATH"));
    const struct profile profile = {.formats = FORMAT_VMDK};
    struct export_job job = {.profile = &profile};
    struct error err = {0};

    MAKE_DISK(place, 4 * MIB, {0, MIB, TEXT});
    assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
    assert_int_equal(export_with(place, job, &err), -1);
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(err.kind, FAIL_MISSING);
    assert_non_null(strstr(err.message, "qemu-img"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(every_format_has_a_row_of_its_own),
        CASE(a_disk_of_no_bytes),
        CASE(a_disk_of_a_hole),
        CASE(zeros_are_not_allocated),
        CASE(one_byte_at_the_end),
        CASE(one_byte_at_the_start),
        CASE(data_that_does_not_shrink_is_stored),
        CASE(data_of_one_byte_value),
        CASE(compressed_pieces_lie_close),
        CASE(sizes_that_are_no_whole_clusters),
        CASE(a_disk_of_everything),
        CASE(a_sparse_tebibyte),
        CASE(threads_change_no_byte),
        CASE(holes_change_no_byte),
        CASE(other_formats_change_no_byte),
        CASE(only_what_is_asked_for_is_written),
        CASE(zlib_looks_back_4_kib_at_most),
        CASE(headers_say_what_they_must),
        CASE(reference_counts_of_large_files),
        CASE(disks_beyond_the_limit_are_refused),
        CASE(the_maker_names_the_library),
        CASE(progress_goes_up_to_the_data),
        CASE(a_disk_that_shrinks_is_an_error),
        CASE(failures_name_the_file_and_the_cause),
        CASE(one_failure_fails_all),
        CASE(without_qemu_img_there_is_no_vmdk),
    };

    assert_int_equal(chdir("/tmp"), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
