/* SPDX-License-Identifier: Apache-2.0 */
/* Formats, judged by qemu-img, which shares no code with them. */
#undef NDEBUG
#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/proc.h"
#include "export/export.h"
#include "export/qcow2.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define KIB 1024ULL
#define MIB (KIB << 10)
#define GIB (MIB << 10)
#define TIB (GIB << 10)

static const enum compression compressions[] = {COMPRESSION_ZLIB, COMPRESSION_ZSTD};

struct place {
    char dir[32];
    char *raw, *path;
};

/* A relative path with a colon is what qemu-img would take for a protocol. */
static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));

    strcpy(place->dir, "kiln:export-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    place->raw = file_join(place->dir, "disk.raw");
    place->path = file_join(place->dir, "disk.qcow2");
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place->raw);
    free(place->path);
    free(place);
    return 0;
}

static void must(int result, const struct error *err)
{
    if (result < 0) {
        print_error("%s\n", err->message);
        assert_true(false);
    }
}

/* --- disks --------------------------------------------------------------------------------- */

/* What a run of data consists of. */
enum content { ZERO, TEXT, RANDOM, ONES, MIXED };

struct run {
    uint64_t offset, size;
    enum content content;
};

/* TEXT has matches near and far (up to 40000 bytes), so that an encoder is tempted. */
static void put_content(unsigned char *data, size_t size, enum content content, uint64_t seed)
{
    static const char *const words[] = {"disk ", "layer ", "cluster ", "tree\n", "a", "0123456"};
    uint64_t random = seed * 2654435761U + 88172645463325252U;

    for (size_t i = 0; i < size;) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if (content == TEXT || (content == MIXED && i / 50000 % 2 == 0)) {
            const char *word = words[random % COUNT(words)];

            if (random >> 32 & 1 && i > 40000) {
                size_t far = 1 + (random >> 40) % 40000, length = 3 + (random >> 20) % 60;

                for (; length > 0 && i < size; length--, i++) {
                    data[i] = data[i - far];
                }
            }
            for (; *word != '\0' && i < size; word++) {
                data[i++] = (unsigned char)*word;
            }
        } else {
            data[i++] = content == ZERO   ? 0
                        : content == ONES ? 0xff
                                          : (unsigned char)(random >> 24);
        }
    }
}

static void make_disk(const struct place *place, uint64_t size, const struct run *runs,
                      size_t count)
{
    int fd = open(place->raw, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    struct error err = {0};

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (size_t i = 0; i < count; i++) {
        unsigned char *data = xmalloc(runs[i].size);

        put_content(data, runs[i].size, runs[i].content, i + 1);
        must(file_pwrite(fd, data, runs[i].size, runs[i].offset, place->raw, &err), &err);
        free(data);
    }
    assert_int_equal(close(fd), 0);
}

#define MAKE_DISK(place, size, ...)                                                                \
    make_disk(place, size, (const struct run[]){__VA_ARGS__},                                      \
              sizeof((const struct run[]){__VA_ARGS__}) / sizeof(struct run))

/* A little of everything, over three L2 tables. */
static void make_mixed_disk(const struct place *place)
{
    MAKE_DISK(place, 2 * GIB, {0, 300000, MIXED}, {MIB, 5 * MIB, TEXT}, {8 * MIB, MIB, MIXED},
              {16 * MIB, 200 * KIB, ZERO}, {20 * MIB + 4096, 4096, TEXT}, {500 * MIB, MIB, RANDOM},
              {511 * MIB, 2 * MIB, MIXED}, {2 * GIB - 4096, 4096, ONES});
}

/* --- writing and judging ---------------------------------------------------------------------- */

static uint64_t write_qcow2(const struct place *place, const char *path,
                            enum compression compression, unsigned threads)
{
    struct profile profile = {.qcow2_compression = compression};
    struct export_job job = {
        .profile = &profile, .raw = place->raw, .path = path, .threads = threads};
    struct error err = {0};
    struct stat st;

    must(export_qcow2(&job, &err), &err);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void must_run(const char *const *argv, struct buf *output)
{
    struct error err = {0};

    must(proc_run(&(struct proc){.argv = argv, .output = output}, &err), &err);
}

/* No error, no leak (which is a status other than 0, too), nothing behind the end. */
static void judge_structure(const char *path)
{
    SCOPED_FREE char *target = xprintf("file:%s", path);
    SCOPED(buf_done) struct buf said = {0};
    SCOPED_FREE char *end = NULL;
    struct stat st;

    must_run((const char *const[]){"qemu-img", "check", "-f", "qcow2", target, NULL}, &said);
    assert_int_equal(stat(path, &st), 0);
    end = xprintf("Image end offset: %llu\n", (unsigned long long)st.st_size);
    assert_non_null(strstr(said.data, "No errors were found"));
    assert_non_null(strstr(said.data, end));
}

static void judge(const struct place *place, const char *path, enum compression compression)
{
    SCOPED_FREE char *source = xprintf("file:%s", place->raw);
    SCOPED_FREE char *target = xprintf("file:%s", path), *size = NULL;
    SCOPED(buf_done) struct buf info = {0};
    struct stat st;

    judge_structure(path);
    must_run((const char *const[]){"qemu-img", "compare", "-f", "raw", "-F", "qcow2", source,
                                   target, NULL},
             NULL);
    must_run((const char *const[]){"qemu-img", "info", "-f", "qcow2", target, NULL}, &info);
    assert_int_equal(stat(place->raw, &st), 0);
    size = xprintf("(%llu bytes)", ((unsigned long long)st.st_size + 511) / 512 * 512);
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
        uint64_t size = write_qcow2(place, place->path, compressions[i], 2);

        judge(place, place->path, compressions[i]);
        assert_in_range(size, 1, most);
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
        SCOPED_FREE char *file = xprintf("disk.%s", row->name);

        assert_string_equal(row->file, file);
        assert_int_equal(bits & row->bit, 0);
        assert_true((row->write == NULL) == (row->bit == FORMAT_RAW));
        bits |= row->bit;
    }
    assert_int_equal(bits, FORMAT_RAW | FORMAT_QCOW2);
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

static void expect_same(const char *first, const char *second)
{
    SCOPED(buf_done) struct buf a = {0}, b = {0};
    struct error err = {0};

    must(file_read(first, 64 * MIB, &a, &err), &err);
    must(file_read(second, 64 * MIB, &b, &err), &err);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
}

static void threads_change_no_byte(void **state)
{
    static const unsigned threads[] = {2, 3, 16, 0, 1};
    const struct place *place = *state;
    SCOPED_FREE char *other = file_join(place->dir, "other.qcow2");

    make_mixed_disk(place);
    for (size_t i = 0; i < COUNT(compressions); i++) {
        (void)write_qcow2(place, place->path, compressions[i], 1);
        for (size_t n = 0; n < COUNT(threads); n++) {
            (void)write_qcow2(place, other, compressions[i], threads[n]);
            expect_same(place->path, other);
        }
    }
}

/* Another file system, or a copy, has its holes elsewhere. */
static void holes_change_no_byte(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *other = file_join(place->dir, "other.qcow2");

    MAKE_DISK(place, 4 * MIB, {65536 * 3 + 4096, 4096, TEXT}, {2 * MIB + 512, 100000, MIXED});
    (void)write_qcow2(place, place->path, COMPRESSION_ZLIB, 2);
    MAKE_DISK(place, 4 * MIB, {65536 * 3 + 4096, 4096, TEXT}, {2 * MIB + 512, 100000, MIXED},
              {0, 65536 * 3 + 4096, ZERO}, {65536 * 4, 65536 * 2, ZERO}, {3 * MIB, MIB, ZERO});
    (void)write_qcow2(place, other, COMPRESSION_ZLIB, 2);
    expect_same(place->path, other);
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
    (void)write_qcow2(place, place->path, COMPRESSION_ZLIB, 2);
    must(file_read(place->path, 64 * MIB, &file, &err), &err);
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

        (void)write_qcow2(place, place->path, compressions[i], 1);
        must(file_read(place->path, 64 * MIB, &file, &err), &err);
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
        int fd = open(place->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        char *cluster = xcalloc(1, QCOW2_CLUSTER);
        struct qcow2 image;
        struct error err = {0};

        assert_true(fd >= 0);
        memset(cluster, 'x', QCOW2_CLUSTER);
        must(qcow2_begin(&image, fd, place->path, TIB, COMPRESSION_ZLIB, &err), &err);
        must(qcow2_put(&image, 3, cluster, QCOW2_CLUSTER, &err), &err);
        grow(&image.refcounts, clusters[i], &image.refcount_space, sizeof(*image.refcounts));
        memset(image.refcounts + image.next_cluster, 0,
               (clusters[i] - image.next_cluster) * sizeof(*image.refcounts));
        image.next_cluster = clusters[i];
        must(qcow2_put(&image, 9, cluster, QCOW2_CLUSTER, &err), &err);
        must(qcow2_end(&image, &err), &err);
        qcow2_done(&image);
        assert_int_equal(close(fd), 0);
        judge_structure(place->path);
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

/* --- what may go wrong --------------------------------------------------------------------------
 */

static void the_maker_names_the_library(void **state)
{
    const struct profile zlib = {.qcow2_compression = COMPRESSION_ZLIB};
    const struct profile zstd = {.qcow2_compression = COMPRESSION_ZSTD};
    SCOPED_FREE char *first = export_qcow2_maker(&zlib), *second = export_qcow2_maker(&zstd);
    SCOPED_FREE char *expected = xprintf("zlib %s, level ", zlibVersion());

    (void)state;
    assert_int_equal(strncmp(first, expected, strlen(expected)), 0);
    assert_int_equal(strncmp(second, "zstd 1.", 7), 0);
}

struct seen {
    const struct place *place;
    uint64_t last;
    size_t count;
    off_t cut; /* truncate the disk to that at the first call; 0: do not */
};

static void note_progress(void *data, uint64_t done_bytes)
{
    struct seen *seen = data;

    assert_in_range(done_bytes, seen->last + 1, UINT64_MAX);
    seen->last = done_bytes;
    if (seen->count++ == 0 && seen->cut != 0) {
        assert_int_equal(truncate(seen->place->raw, seen->cut), 0);
    }
}

static void fails_with(const char *raw, const char *path, const char *message)
{
    const struct profile profile = {0};
    struct export_job job = {.profile = &profile, .raw = raw, .path = path};
    struct error err = {0};

    assert_int_equal(export_qcow2(&job, &err), -1);
    assert_string_equal(err.message, message);
}

static void progress_goes_up_to_the_data(void **state)
{
    struct seen seen = {.place = *state};
    const struct profile profile = {0};
    struct export_job job = {.profile = &profile,
                             .raw = seen.place->raw,
                             .path = seen.place->path,
                             .progress = note_progress,
                             .data = &seen};
    struct error err = {0};
    uint64_t bytes;

    MAKE_DISK(seen.place, GIB, {0, MIB, TEXT}, {100 * MIB, MIB, ZERO}, {GIB - 4096, 4096, TEXT});
    must(export_data_bytes(seen.place->raw, &bytes, &err), &err);
    assert_int_equal(bytes, 2 * MIB + 4096);
    must(export_qcow2(&job, &err), &err);
    assert_int_equal(seen.last, bytes);
    assert_int_equal(seen.count, 33);
}

/* The rest of a run that has been found, and the runs behind it. */
static void a_disk_that_shrinks_is_an_error(void **state)
{
    static const struct {
        off_t cut;
        const char *said;
    } cases[] = {{2 * MIB, "it ends too early"}, {100 * MIB, "its size has changed"}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct seen seen = {.place = *state, .cut = cases[i].cut};
        const struct profile profile = {0};
        struct export_job job = {.profile = &profile,
                                 .raw = seen.place->raw,
                                 .path = seen.place->path,
                                 .threads = 2,
                                 .progress = note_progress,
                                 .data = &seen};
        struct error err = {0};

        MAKE_DISK(seen.place, GIB, {0, 8 * MIB, TEXT}, {200 * MIB, MIB, TEXT});
        assert_int_equal(export_qcow2(&job, &err), -1);
        assert_non_null(strstr(err.message, "disk.raw"));
        assert_non_null(strstr(err.message, cases[i].said));
    }
}

static void failures_name_the_file_and_the_cause(void **state)
{
    const struct place *place = *state;

    MAKE_DISK(place, 4 * MIB, {0, MIB, TEXT});
    fails_with("none.raw", place->path, "open 'none.raw': No such file or directory");
    fails_with("/dev/zero", place->path, "'/dev/zero' is not a regular file");
    fails_with(place->raw, "/proc/kiln/disk.qcow2",
               "create '/proc/kiln/disk.qcow2': No such file or directory");
    fails_with(place->raw, "/dev/full", "write '/dev/full': No space left on device");
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
        CASE(zlib_looks_back_4_kib_at_most),
        CASE(headers_say_what_they_must),
        CASE(reference_counts_of_large_files),
        CASE(disks_beyond_the_limit_are_refused),
        CASE(the_maker_names_the_library),
        CASE(progress_goes_up_to_the_data),
        CASE(a_disk_that_shrinks_is_an_error),
        CASE(failures_name_the_file_and_the_cause),
    };

    assert_int_equal(chdir("/tmp"), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
