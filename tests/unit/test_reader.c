/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "bundle/blocks.h"
#include "bundle/manifest.h"
#include "bundle/reader.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define GIB (1ULL << 30)

/* A bundle of a disk of 1 GiB whose blocks 0 and 5 have data. */
struct place {
    char dir[32];
    json_t *manifest;
};

static void write_in(const char *dir, const char *name, const char *text)
{
    SCOPED_FREE char *path = file_join(dir, name);
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

static void make_disk(const char *dir, uint64_t size)
{
    SCOPED_FREE char *path = file_join(dir, "disk.raw");
    SCOPED_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    assert_int_equal(pwrite(fd, "first", 5, 0), 5);
    assert_int_equal(pwrite(fd, "fifth", 5, 5 * BLOCK_SIZE + 100), 5);
}

/* The manifest as it is in PLACE, with the sizes and digests of the files that lie there. */
static void write_manifest(struct place *place)
{
    static const char *const names[] = {"blocks.index", "disk.qcow2", "targets.json"};
    SCOPED_FREE char *text = NULL;
    json_t *files = json_pack("{s:{s:I}}", "disk.raw", "size", (json_int_t)GIB);
    struct error err = {0};

    for (size_t i = 0; i < COUNT(names); i++) {
        SCOPED_FREE char *path = file_join(place->dir, names[i]);
        SCOPED(buf_done) struct buf buf = {0};
        uint8_t digest[HASH_SIZE];
        char hex[HASH_HEX_MAX];

        if (file_exists(path)) {
            assert_int_equal(file_read(path, 1 << 20, &buf, &err), 0);
            hash_bytes(buf.data, buf.size, digest);
            json_object_set_new(files, names[i],
                                json_pack("{s:I, s:s}", "size", (json_int_t)buf.size, "sha256",
                                          hash_hex(digest, hex)));
        }
    }
    json_object_set_new(place->manifest, "files", files);
    text = json_dumps(place->manifest, JSON_INDENT(2));
    write_in(place->dir, "manifest.json", text);
    if (manifest_sums(place->dir, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));
    SCOPED_FREE char *disk = NULL;
    SCOPED_FREE char *index = NULL;
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];
    struct error err = {0};

    strcpy(place->dir, "/tmp/kiln-reader-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    disk = file_join(place->dir, "disk.raw");
    index = file_join(place->dir, "blocks.index");
    make_disk(place->dir, GIB);
    assert_int_equal(blocks_write(disk, NULL, index, NULL, NULL, digest, &err), 0);
    write_in(place->dir, "disk.qcow2", "a view of it");
    place->manifest =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:[s, s], s:{s:s, s:I, s:i}}", "kiln", "0.1.0",
                  "disk_format", 1, "name", "web", "version", "1.4.0", "architecture", "x86_64",
                  "firmware", "bios", "uefi", "disk", "digest", hash_hex(digest, hex), "size",
                  (json_int_t)GIB, "block_size", (int)BLOCK_SIZE);
    write_manifest(place);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    json_decref(place->manifest);
    free(place);
    return 0;
}

static struct reader *must_open(const char *path)
{
    struct reader *reader = NULL;
    struct error err = {0};

    if (reader_open(path, &reader, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return reader;
}

static void must_refuse(const char *path, enum fail_kind kind, const char *message)
{
    struct reader *reader = NULL;
    struct error err = {0};

    assert_int_equal(reader_open(path, &reader, &err), -1);
    assert_null(reader);
    if (err.kind != kind || strstr(err.message, message) == NULL) {
        fail_msg("kind %d, %s", err.kind, err.message);
    }
}

static void a_whole_bundle_is_read(void **state)
{
    struct place *place = *state;
    SCOPED_FREE char *path = xprintf("%s//", place->dir);
    SCOPED(reader_freep) struct reader *reader = must_open(path);

    assert_string_equal(reader->path, place->dir);
    assert_string_equal(reader->name, "web");
    assert_string_equal(reader->version, "1.4.0");
    assert_int_equal(reader->architecture, ARCH_X86_64);
    assert_int_equal(reader->firmware, FIRMWARE_BIOS | FIRMWARE_UEFI);
    assert_int_equal(reader->size_bytes, GIB);
    assert_int_equal(reader->block_count, GIB / BLOCK_SIZE);
    assert_int_equal(reader->targets.count, 0);
    assert_false(block_is_zero(reader->digests[0]));
    assert_true(block_is_zero(reader->digests[1]));
}

static void every_block_is_compared(void **state)
{
    struct place *place = *state;
    SCOPED(reader_freep) struct reader *reader = must_open(place->dir);
    SCOPED_FREE char *path = file_join(place->dir, "disk.raw");
    SCOPED_FREE char *buffer = xmalloc(BLOCK_SIZE);
    SCOPED_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct error err = {0};

    assert_int_equal(reader_block(reader, 5, buffer, &err), 0);
    assert_memory_equal(buffer + 100, "fifth", 5);
    assert_int_equal(reader_block(reader, 2047, buffer, &err), 0);
    assert_int_equal(buffer[BLOCK_SIZE - 1], 0);
    assert_int_equal(pwrite(fd, "x", 1, 6 * (off_t)BLOCK_SIZE), 1);
    assert_int_equal(reader_block(reader, 6, buffer, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_non_null(strstr(err.message, "block 6, at byte 3145728"));
}

static void another_disk_than_the_manifests_is_a_mismatch(void **state)
{
    struct place *place = *state;
    json_t *disk = json_object_get(place->manifest, "disk");

    json_object_set_new(disk, "digest",
                        json_string("00000000000000000000000000000000"
                                    "00000000000000000000000000000000"));
    write_manifest(place);
    must_refuse(place->dir, FAIL_MISMATCH, "disk digest is 0000");
    make_disk(place->dir, 2 * GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_bundle_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_block_is_compared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_disk_than_the_manifests_is_a_mismatch, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
