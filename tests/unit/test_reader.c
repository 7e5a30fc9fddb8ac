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

/* --- the manifest ---------------------------------------------------------------------------- */

static void set(struct place *place, const char *key, json_t *value)
{
    json_object_set_new(place->manifest, key, value);
    write_manifest(place);
}

static void set_disk(struct place *place, const char *key, json_t *value)
{
    json_object_set_new(json_object_get(place->manifest, "disk"), key, value);
    write_manifest(place);
}

static void names_are_as_strict_as_a_profiles(void **state)
{
    static const struct {
        const char *key, *value;
    } cases[] = {
        {"name", "../../etc"}, {"name", "Web"},    {"name", ""},          {"name", "a/b"},
        {"name", "web\n"},     {"version", "1/2"}, {"version", "../1"},   {"version", ""},
        {"version", ".."},     {"version", "1 2"}, {"version", "\x1b[m"}, {"name", "-x"},
    };
    struct place *place = *state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *message = xprintf("manifest.json': '%s' must be", cases[i].key);

        set(place, "name", json_string("web"));
        set(place, "version", json_string("1"));
        set(place, cases[i].key, json_string(cases[i].value));
        must_refuse(place->dir, FAIL_ERROR, message);
        set(place, cases[i].key, json_integer(1));
        must_refuse(place->dir, FAIL_ERROR, "is not a text");
    }
}

static void words_are_those_of_a_profile(void **state)
{
    struct place *place = *state;

    set(place, "architecture", json_string("mips"));
    must_refuse(place->dir, FAIL_ERROR, "'architecture' is none that kiln knows");
    set(place, "architecture", json_string("amd64"));
    must_refuse(place->dir, FAIL_ERROR, "'architecture' is none that kiln knows");
    set(place, "architecture", json_string("aarch64"));
    set(place, "firmware", json_string("uefi"));
    must_refuse(place->dir, FAIL_ERROR, "'firmware' is not a list");
    set(place, "firmware", json_pack("[i]", 1));
    must_refuse(place->dir, FAIL_ERROR, "'firmware' has one that kiln does not know");
    set(place, "firmware", json_array());
    reader_free(must_open(place->dir));
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    static const json_int_t sizes[] = {
        0,
        -1,
        1,
        (json_int_t)GIB - 1,
        (json_int_t)GIB + 512,
        INT64_MAX,
        INT64_MIN,
        65 * (json_int_t)(1LL << 40),
    };
    struct place *place = *state;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        set_disk(place, "size", json_integer(sizes[i]));
        must_refuse(place->dir, FAIL_ERROR, "'disk.size' is not whole GiB");
    }
    set_disk(place, "size", json_string("1073741824"));
    must_refuse(place->dir, FAIL_ERROR, "'disk.size' is not whole GiB");
    set_disk(place, "size", json_integer(2 * GIB));
    must_refuse(place->dir, FAIL_MISMATCH, "of a disk of 1073741824 bytes, but");
    set_disk(place, "size", json_integer(GIB));
    set_disk(place, "block_size", json_integer(4096));
    must_refuse(place->dir, FAIL_ERROR, "'disk.block_size' is not 512KiB");
    set_disk(place, "block_size", json_integer(BLOCK_SIZE));
    set_disk(place, "digest", json_string("abc"));
    must_refuse(place->dir, FAIL_ERROR, "'disk.digest' is not a SHA-256 digest");
}

static void a_manifest_that_was_changed_by_hand_is_a_mismatch(void **state)
{
    struct place *place = *state;
    SCOPED_FREE char *sums = file_join(place->dir, "SHA256SUMS");

    write_in(place->dir, "manifest.json",
             "{\"kiln\": \"0.1.0\", \"disk_format\": 1, \"name\": \"web\", \"version\": \"2\", "
             "\"architecture\": \"x86_64\", \"firmware\": [], \"disk\": {\"size\": 1073741824, "
             "\"block_size\": 524288, \"digest\": "
             "\"0000000000000000000000000000000000000000000000000000000000000000\"}}");
    must_refuse(place->dir, FAIL_MISMATCH, "but SHA256SUMS says");
    write_in(place->dir, "SHA256SUMS", "");
    must_refuse(place->dir, FAIL_ERROR, "says nothing about manifest.json");
    assert_int_equal(unlink(sums), 0);
    must_refuse(place->dir, FAIL_ERROR, "SHA256SUMS': No such file");
}

static void what_is_no_bundle_is_refused(void **state)
{
    struct place *place = *state;

    must_refuse("/nowhere", FAIL_ERROR, "is not a bundle");
    must_refuse("/etc/passwd", FAIL_ERROR, "is not a bundle");
    write_in(place->dir, "manifest.json", "{\"name\": \"app\"}");
    must_refuse(place->dir, FAIL_ERROR, "is not a bundle");
}

/* --- files ----------------------------------------------------------------------------------- */

static void files_are_those_of_the_manifest(void **state)
{
    struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "disk.qcow2");
    SCOPED(reader_freep) struct reader *reader = must_open(place->dir);
    struct reader_file file = {0};
    uint8_t digest[HASH_SIZE];
    struct error err = {0};

    assert_int_equal(reader_file(reader, "disk.qcow2", &file, &err), 0);
    assert_string_equal(file.path, path);
    assert_int_equal(file.size_bytes, 12);
    hash_bytes("a view of it", 12, digest);
    assert_memory_equal(file.sha256, digest, HASH_SIZE);
    free(file.path);
    assert_int_equal(reader_file(reader, "disk.vhd", &file, &err), -1);
    assert_non_null(strstr(err.message, "has no disk.vhd"));
    assert_non_null(strstr(err.hint, "'formats'"));
    fail_clear(&err);
    write_in(place->dir, "disk.qcow2", "another view of it");
    assert_int_equal(reader_file(reader, "disk.qcow2", &file, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_non_null(strstr(err.message, "has 18 bytes, but the manifest says 12"));
}

static void replace_by_link(const char *dir, const char *name)
{
    SCOPED_FREE char *path = file_join(dir, name);
    SCOPED_FREE char *real = xprintf("%s.real", path);

    assert_int_equal(rename(path, real), 0);
    assert_int_equal(symlink(real, path), 0);
}

static void restore(const char *dir, const char *name)
{
    SCOPED_FREE char *path = file_join(dir, name);
    SCOPED_FREE char *real = xprintf("%s.real", path);

    assert_int_equal(rename(real, path), 0);
}

static void links_are_not_followed_out_of_a_bundle(void **state)
{
    static const char *const names[] = {"manifest.json", "SHA256SUMS", "blocks.index", "disk.raw",
                                        "targets.json"};
    struct place *place = *state;
    struct reader_file file;
    struct error err = {0};

    write_in(place->dir, "targets.json", "{\"a\": {\"cloud\": \"directory\"}}\n");
    write_manifest(place);
    for (size_t i = 0; i < COUNT(names); i++) {
        SCOPED_FREE char *message = xprintf("/%s' is not a regular file", names[i]);

        replace_by_link(place->dir, names[i]);
        must_refuse(place->dir, FAIL_ERROR, message);
        restore(place->dir, names[i]);
    }
    {
        SCOPED(reader_freep) struct reader *reader = must_open(place->dir);

        replace_by_link(place->dir, "disk.qcow2");
        assert_int_equal(reader_file(reader, "disk.qcow2", &file, &err), -1);
        assert_non_null(strstr(err.message, "is not a regular file"));
    }
}

static void a_disk_of_another_size_is_a_mismatch(void **state)
{
    struct place *place = *state;

    make_disk(place->dir, 2 * GIB);
    must_refuse(place->dir, FAIL_MISMATCH,
                "disk.raw' has 2147483648 bytes, but the manifest says 1073741824");
}

/* --- targets --------------------------------------------------------------------------------- */

static void targets_come_with_their_digest(void **state)
{
    static const char lab[] = "{\"lab\": {\"cloud\": \"openstack\"}}\n";
    static const char evil[] =
        "{\"lab\": {\"cloud\": \"openstack\", \"auth_url\": \"http://x\"}}\n";
    struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "targets.json");

    write_in(place->dir, "targets.json", lab);
    must_refuse(place->dir, FAIL_MISMATCH, "the manifest does not know it");
    write_manifest(place);
    {
        SCOPED(reader_freep) struct reader *reader = must_open(place->dir);

        assert_int_equal(reader->targets.count, 1);
        assert_string_equal(reader->targets.items[0].name, "lab");
    }
    write_in(place->dir, "targets.json", evil);
    must_refuse(place->dir, FAIL_MISMATCH, "but manifest.json says");
    write_manifest(place);
    must_refuse(place->dir, FAIL_USAGE, "targets.json:1:32: 'auth_url' cannot be set here");
    assert_int_equal(unlink(path), 0);
    must_refuse(place->dir, FAIL_ERROR, "targets.json': No such file");
}

static void targets_must_fit_the_disk(void **state)
{
    struct place *place = *state;

    write_in(place->dir, "targets.json", "{\"p\": {\"cloud\": \"aws\", \"boot_mode\": \"uefi\"}}");
    set(place, "firmware", json_pack("[s]", "bios"));
    must_refuse(place->dir, FAIL_USAGE, "target 'p': boot_mode 'uefi' needs");
}

/* --- blocks.index ---------------------------------------------------------------------------- */

static void must_refuse_index(const struct place *place, const char *text, size_t size,
                              const char *message)
{
    SCOPED_FREE char *path = file_join(place->dir, "blocks.index");
    uint8_t(*digests)[HASH_SIZE] = NULL;
    uint64_t disk_size, count;
    struct error err = {0};

    assert_int_equal(file_write(path, text, size, &err), 0);
    assert_int_equal(reader_index(path, &disk_size, &digests, &count, &err), -1);
    assert_null(digests);
    if (strstr(err.message, message) == NULL) {
        fail_msg("%s", err.message);
    }
}

static void headers_that_are_not_kilns_are_refused(void **state)
{
    static const char *const headers[] = {
        "",
        "\n",
        "kiln-blocks 2 524288 524288\n",
        "kiln-blocks 1 4096 524288\n",
        "kiln-blocks 1 524288 0\n",
        "kiln-blocks 1 524288 -1\n",
        "kiln-blocks 1 524288 +524288\n",
        "kiln-blocks 1 524288 0524288\n",
        "kiln-blocks 1 524288  524288\n",
        "kiln-blocks  1 524288 524288\n",
        "kiln-blocks 1 524288 524288 \n",
        "kiln-blocks 1 524288 524288\r\n",
        "kiln-blocks 1 524288 18446744073709551615\n",
        "kiln-blocks 1 524288 99999999999999999999999999\n",
        "kiln-blocks 1 524288 70368744177665\n", /* 64 TiB and a byte */
        "kiln-blocks 1 524288 524288",
    };
    static const char digest[] =
        "07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541\n";
    struct place *place = *state;

    for (size_t i = 0; i < COUNT(headers); i++) {
        SCOPED_FREE char *text = xprintf("%s%s", headers[i], digest);

        must_refuse_index(place, text, strlen(text), "its first line is not kiln's");
    }
}

static void lines_that_are_no_digests_are_refused(void **state)
{
    struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "blocks.index");
    SCOPED(buf_done) struct buf good = {0};
    size_t header = strlen("kiln-blocks 1 524288 1073741824\n");
    struct error err = {0};

    assert_int_equal(file_read(path, 1 << 20, &good, &err), 0);
    must_refuse_index(place, good.data, good.size - 1, "more or fewer lines");
    must_refuse_index(place, good.data, good.size - 65, "more or fewer lines");
    buf_puts(&good, "\n");
    must_refuse_index(place, good.data, good.size, "more or fewer lines");
    good.size--;
    good.data[header + 65 * 7 + 3] = 'g';
    must_refuse_index(place, good.data, good.size, "line 9 is not a digest");
    good.data[header + 65 * 7 + 3] = 'A';
    must_refuse_index(place, good.data, good.size, "line 9 is not a digest");
    good.data[header + 65 * 7 + 3] = '\0';
    must_refuse_index(place, good.data, good.size, "line 9 is not a digest");
    good.data[header + 65 * 7 + 3] = '0';
    good.data[header + 64] = ' ';
    must_refuse_index(place, good.data, good.size, "line 2 is not a digest");
}

/* Nothing is reserved for what the file is too short to have. */
static void the_index_of_a_huge_disk_needs_its_lines(void **state)
{
    static const char text[] = "kiln-blocks 1 524288 70368744177664\n";

    must_refuse_index(*state, text, strlen(text), "more or fewer lines");
}

static void an_index_that_adds_up_to_another_disk_is_a_mismatch(void **state)
{
    struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "blocks.index");
    SCOPED_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    char hex[HASH_HEX_MAX];
    const char *digest =
        json_string_value(json_object_get(json_object_get(place->manifest, "disk"), "digest"));
    SCOPED_FREE char *message = xprintf("but the manifest's disk digest is %s", digest);

    memset(hex, '0', sizeof(hex));
    assert_int_equal(pwrite(fd, hex, 64, 32 + 65 * 9), 64);
    must_refuse(place->dir, FAIL_MISMATCH, message);
}

static void the_index_of_a_disk_with_a_part_of_a_block_is_read(void **state)
{
    struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "blocks.index");
    SCOPED_FREE char *disk = file_join(place->dir, "disk.raw");
    SCOPED_FREE uint8_t(*digests)[HASH_SIZE] = NULL;
    uint8_t total[HASH_SIZE], again[HASH_SIZE];
    uint64_t size, count;
    struct error err = {0};

    make_disk(place->dir, 9 * BLOCK_SIZE + 1);
    assert_int_equal(blocks_write(disk, NULL, path, NULL, NULL, total, &err), 0);
    assert_int_equal(reader_index(path, &size, &digests, &count, &err), 0);
    assert_int_equal(size, 9 * BLOCK_SIZE + 1);
    assert_int_equal(count, 10);
    hash_bytes(digests, 10 * HASH_SIZE, again);
    assert_memory_equal(total, again, HASH_SIZE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_whole_bundle_is_read),
        CASE(every_block_is_compared),
        CASE(names_are_as_strict_as_a_profiles),
        CASE(words_are_those_of_a_profile),
        CASE(sizes_that_cannot_be_are_refused),
        CASE(a_manifest_that_was_changed_by_hand_is_a_mismatch),
        CASE(what_is_no_bundle_is_refused),
        CASE(files_are_those_of_the_manifest),
        CASE(links_are_not_followed_out_of_a_bundle),
        CASE(a_disk_of_another_size_is_a_mismatch),
        CASE(targets_come_with_their_digest),
        CASE(targets_must_fit_the_disk),
        CASE(headers_that_are_not_kilns_are_refused),
        CASE(lines_that_are_no_digests_are_refused),
        CASE(the_index_of_a_huge_disk_needs_its_lines),
        CASE(an_index_that_adds_up_to_another_disk_is_a_mismatch),
        CASE(the_index_of_a_disk_with_a_part_of_a_block_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
