/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests of formats: disks of every kind in a directory of their own, and what export_all
 * makes of them. Include it after base/fail.h, whose function cmocka.h hides, and cmocka.h.
 */
#ifndef TESTS_UNIT_DISKS_H
#define TESTS_UNIT_DISKS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/proc.h"
#include "base/scope.h"
#include "export/export.h"

#define KIB 1024ULL
#define MIB (KIB << 10)
#define GIB (MIB << 10)
#define TIB (GIB << 10)

struct place {
    char dir[32];
    char *raw, *qcow2;
};

/* A relative path with a colon is what qemu-img would take for a protocol. */
static inline int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));

    strcpy(place->dir, "kiln:export-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    place->raw = file_join(place->dir, "disk.raw");
    place->qcow2 = file_join(place->dir, "disk.qcow2");
    *state = place;
    return 0;
}

static inline int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place->raw);
    free(place->qcow2);
    free(place);
    return 0;
}

static inline void must(int result, const struct error *err)
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
static inline void put_content(unsigned char *data, size_t size, enum content content,
                               uint64_t seed)
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

static inline void make_disk(const struct place *place, uint64_t size, const struct run *runs,
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
static inline void make_mixed_disk(const struct place *place)
{
    MAKE_DISK(place, 2 * GIB, {0, 300000, MIXED}, {MIB, 5 * MIB, TEXT}, {8 * MIB, MIB, MIXED},
              {16 * MIB, 200 * KIB, ZERO}, {20 * MIB + 4096, 4096, TEXT}, {500 * MIB, MIB, RANDOM},
              {511 * MIB, 2 * MIB, MIXED}, {2 * GIB - 4096, 4096, ONES});
}

/* --- formats of them ----------------------------------------------------------------------- */

static inline char *file_of(const struct place *place, const char *name)
{
    return file_join(place->dir, name);
}

static inline uint64_t size_of_file(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

/* JOB for a digest of DIGEST's bytes; what is NULL or 0 in it is filled in. */
static inline int export_with(const struct place *place, struct export_job job, struct error *err)
{
    SCOPED(clusters_freep) struct clusters *clusters = NULL;
    static const uint8_t digest[HASH_SIZE] = {0xfe, 0xdc, 0xba, 0x98};

    if (clusters_find(place->raw, &clusters, err) < 0) {
        return -1;
    }
    job.clusters = clusters;
    job.directory = job.directory != NULL ? job.directory : place->dir;
    job.disk_digest = job.disk_digest != NULL ? job.disk_digest : digest;
    return export_all(&job, err);
}

/* Writes FORMATS of the disk. */
static inline void write_formats(const struct place *place, unsigned formats,
                                 enum compression compression, unsigned threads)
{
    struct profile profile = {.formats = formats, .qcow2_compression = compression};
    struct export_job job = {.profile = &profile, .epoch = 1700000000, .threads = threads};
    struct error err = {0};

    must(export_with(place, job, &err), &err);
}

static inline void must_run(const char *const *argv, struct buf *output)
{
    struct error err = {0};

    must(proc_run(&(struct proc){.argv = argv, .output = output}, &err), &err);
}

/* --- the same bytes ------------------------------------------------------------------------ */

static inline void expect_same(const char *first, const char *second)
{
    SCOPED(buf_done) struct buf a = {0}, b = {0};
    struct error err = {0};

    must(file_read(first, 100 * MIB, &a, &err), &err);
    must(file_read(second, 100 * MIB, &b, &err), &err);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
}

/* Keeps NAME as NAME.before. */
static inline void set_aside(const struct place *place, const char *name)
{
    SCOPED_FREE char *path = file_of(place, name), *kept = xprintf("%s.before", path);

    assert_int_equal(rename(path, kept), 0);
}

static inline void expect_as_before(const struct place *place, const char *name)
{
    SCOPED_FREE char *path = file_of(place, name), *kept = xprintf("%s.before", path);

    expect_same(kept, path);
}

#endif
