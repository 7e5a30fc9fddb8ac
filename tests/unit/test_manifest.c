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
#include "base/hash.h"
#include "base/proc.h"
#include "bundle/manifest.h"

#include <cmocka.h> /* last: it has a macro fail() */

static const char yaml[] = "name: web\n"
                           "version: \"1.4.0\"\n"
                           "architecture: x86_64\n"
                           "epoch: 2026-11-01T00:00:00Z\n"
                           "layers:\n"
                           "  - files:\n"
                           "      /etc/motd: {content: \"hello\\n\"}\n"
                           "disk: {size: 2GiB, formats: [raw, qcow2], qcow2_compression: zstd}\n";

struct place {
    char dir[32];
    struct profile *profile;
    struct plan *plan;
    struct layer *layer;
    struct manifest manifest;
};

static void must(int result, const struct error *err)
{
    if (result < 0) {
        print_error("%s\n", err->message);
        assert_true(false);
    }
}

static void write_in(const struct place *place, const char *name, const char *text)
{
    SCOPED_FREE char *path = file_join(place->dir, name);
    struct error err = {0};

    must(file_write(path, text, strlen(text), &err), &err);
}

static void read_in(const struct place *place, const char *name, struct buf *ret)
{
    SCOPED_FREE char *path = file_join(place->dir, name);
    struct error err = {0};

    must(file_read(path, 1 << 20, ret, &err), &err);
}

/* A layer knows its digest once it was read to its end. */
static void read_to_end(struct layer *layer)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct error err = {0};
    struct entry entry;
    int result;

    must(layer_reader_open(layer, 0, &reader, &err), &err);
    while ((result = layer_reader_next(reader, &entry, &err)) > 0) {
        const void *data;
        uint64_t offset;
        size_t size;

        while ((result = layer_reader_data(reader, &data, &size, &offset, &err)) > 0) {
        }
        must(result, &err);
    }
    must(result, &err);
}

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));
    struct error err = {0};

    strcpy(place->dir, "/tmp/kiln-manifest-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    must(profile_parse("/somewhere/web.yaml", yaml, strlen(yaml), &place->profile, &err), &err);
    must(plan_make(place->profile, &place->plan, &err), &err);
    must(layer_open(&place->profile->layers[0], ARCH_X86_64, &place->layer, &err), &err);
    read_to_end(place->layer);
    place->manifest = (struct manifest){.profile = place->profile,
                                        .plan = place->plan,
                                        .layers = &place->layer,
                                        .layer_count = 1,
                                        .epoch = place->profile->epoch,
                                        .paths = 42,
                                        .engine = "guestfs",
                                        .engine_reason = "asked for",
                                        .engine_detail = "libguestfs 1.48.6",
                                        .boot = "GRUB, BIOS and UEFI",
                                        .kernel = "boot/vmlinuz-\x1b\xff"};
    memset(place->manifest.disk_digest, 0xab, HASH_SIZE);
    write_in(place, "disk.raw", "raw");
    write_in(place, "disk.qcow2", "qcow2");
    write_in(place, "files.index", "#mtree v2.0\n");
    write_in(place, ".lock", "");
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    must(file_remove_tree(place->dir, &err), &err);
    layer_free(place->layer);
    plan_free(place->plan);
    profile_free(place->profile);
    free(place);
    return 0;
}

static json_t *write_and_read(const struct place *place)
{
    struct error err = {0};
    json_t *object = NULL;

    must(manifest_write(&place->manifest, place->dir, &err), &err);
    must(manifest_read(place->dir, &object, &err), &err);
    return object;
}

/* The string at PATH, its keys with slashes between. */
static const char *text_at(const json_t *object, const char *path)
{
    SCOPED_FREE char *copy = xstrdup(path);

    for (char *key = strtok(copy, "/"); key != NULL; key = strtok(NULL, "/")) {
        object = json_object_get(object, key);
    }
    return json_is_string(object) ? json_string_value(object) : "(no string)";
}

static void it_says_what_went_in_and_came_out(void **state)
{
    static const struct {
        const char *path, *text;
    } cases[] = {
        {"kiln", KILN_VERSION},
        {"name", "web"},
        {"version", "1.4.0"},
        {"architecture", "x86_64"},
        {"epoch", "2026-11-01T00:00:00Z"},
        {"boot", "GRUB, BIOS and UEFI"},
        {"kernel", "boot/vmlinuz-\\x1b\\xff"},
        {"engine/name", "guestfs"},
        {"engine/detail", "libguestfs 1.48.6"},
        {"disk/digest", "abababababababababababababababababababababababababababababababab"},
    };
    const struct place *place = *state;
    json_t *object = write_and_read(place);

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(text_at(object, cases[i].path), cases[i].text);
    }
    assert_int_equal(json_integer_value(json_object_get(object, "disk_format")), 1);
    assert_int_equal(json_integer_value(json_object_get(object, "paths")), 42);
    assert_string_equal(text_at(object, "seed"), place->profile->seed);
    assert_int_equal(strncmp(text_at(object, "formats/qcow2"), "zstd 1.", 7), 0);
    assert_int_equal(json_array_size(json_object_get(object, "firmware")), 2);
    json_decref(object);
}

static void partitions_are_those_of_the_plan(void **state)
{
    const struct place *place = *state;
    const struct plan *plan = place->plan;
    json_t *object = write_and_read(place);
    const json_t *disk = json_object_get(object, "disk");
    const json_t *partitions = json_object_get(disk, "partitions");
    json_t *shown = manifest_plan(plan);
    char uuid[UUID_TEXT_MAX];

    assert_int_equal(json_integer_value(json_object_get(disk, "size")), 2LL << 30);
    assert_string_equal(text_at(disk, "uuid"), uuid_text(&plan->disk_uuid, uuid));
    assert_int_equal(json_array_size(partitions), plan->partition_count);
    for (size_t i = 0; i < plan->partition_count; i++) {
        const json_t *one = json_array_get(partitions, i);
        const struct plan_partition *wanted = &plan->partitions[i];

        assert_string_equal(text_at(one, "name"), wanted->spec->name);
        assert_string_equal(text_at(one, "uuid"), uuid_text(&wanted->uuid, uuid));
        assert_int_equal(json_integer_value(json_object_get(one, "offset")), wanted->offset_bytes);
        assert_int_equal(json_integer_value(json_object_get(one, "size")), wanted->size_bytes);
        if (wanted->spec->filesystem != FS_NONE) {
            assert_string_equal(text_at(one, "filesystem_uuid"), wanted->fs_id);
        }
    }
    assert_true(json_equal(partitions, json_object_get(shown, "partitions")));
    json_decref(shown);
    json_decref(object);
}

static void layers_have_their_digests_and_no_host_path(void **state)
{
    const struct place *place = *state;
    json_t *object = write_and_read(place);
    const json_t *layer = json_array_get(json_object_get(object, "layers"), 0);
    SCOPED(buf_done) struct buf text = {0};
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];
    uint64_t size;

    layer_digest(place->layer, digest, &size);
    assert_string_equal(text_at(layer, "format"), "files");
    assert_string_equal(text_at(layer, "sha256"), hash_hex(digest, hex));
    assert_int_equal(json_integer_value(json_object_get(layer, "size")), size);
    read_in(place, "manifest.json", &text);
    assert_null(strstr(text.data, "somewhere"));
    assert_null(strstr(text.data, place->dir));
    json_decref(object);
}

static void files_have_sizes_and_digests_but_not_of_the_raw_disk(void **state)
{
    const struct place *place = *state;
    json_t *object = write_and_read(place);
    const json_t *files = json_object_get(object, "files");
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];

    hash_bytes("qcow2", 5, digest);
    assert_int_equal(json_object_size(files), 3);
    assert_string_equal(text_at(files, "disk.qcow2/sha256"), hash_hex(digest, hex));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(files, "disk.raw"), "size")), 3);
    assert_null(json_object_get(json_object_get(files, "disk.raw"), "sha256"));
    assert_non_null(json_object_get(files, "files.index"));
    json_decref(object);
}

/* What is behind the disk is in no other digest. */
static void of_a_vhd_the_end_has_a_digest(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "disk.vhd");
    SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT, 0600);
    SCOPED(json_decrefp) json_t *object = NULL;
    const json_t *files;
    struct error err = {0};
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];

    assert_true(fd >= 0);
    must(file_pwrite(fd, "footer", 6, place->plan->size_bytes, path, &err), &err);
    object = write_and_read(place);
    files = json_object_get(object, "files");
    hash_bytes("footer", 6, digest);
    assert_string_equal(text_at(files, "disk.vhd/footer_sha256"), hash_hex(digest, hex));
    assert_null(json_object_get(json_object_get(files, "disk.vhd"), "sha256"));
}

static void it_is_the_same_each_time_and_plain_ascii(void **state)
{
    const struct place *place = *state;
    SCOPED(buf_done) struct buf first = {0}, second = {0};

    json_decref(write_and_read(place));
    read_in(place, "manifest.json", &first);
    json_decref(write_and_read(place));
    read_in(place, "manifest.json", &second);
    assert_string_equal(first.data, second.data);
    for (size_t i = 0; i < first.size; i++) {
        assert_true(first.data[i] == '\n' || (first.data[i] >= ' ' && first.data[i] < 0x7f));
    }
    /* sorted */
    assert_true(strstr(first.data, "\n  \"architecture\"") < strstr(first.data, "\n  \"boot\""));
    assert_true(strstr(first.data, "\n  \"seed\"") < strstr(first.data, "\n  \"version\""));
}

static void sums_are_read_by_sha256sum(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *command = xprintf("cd '%s' && sha256sum --strict -c SHA256SUMS", place->dir);
    const char *const argv[] = {"sh", "-c", command, NULL};
    SCOPED(buf_done) struct buf output = {0};
    struct error err = {0};

    json_decref(write_and_read(place));
    must(manifest_sums(place->dir, &err), &err);
    must(proc_run(&(struct proc){.argv = argv, .output = &output}, &err), &err);
    assert_string_equal(output.data, "disk.qcow2: OK\nfiles.index: OK\nmanifest.json: OK\n");
    write_in(place, "disk.qcow2", "other");
    assert_int_equal(proc_run(&(struct proc){.argv = argv}, &err), -1);
}

static void what_is_no_manifest_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } must_not_work[] = {
        {"", "manifest.json':1:0: "},
        {"{", "manifest.json':1:1: "},
        {"[]", "is not kiln's"},
        {"{}", "is not kiln's"},
        {"{\"kiln\": 1, \"disk_format\": 1}", "is not kiln's"},
        {"{\"kiln\": \"1\", \"kiln\": \"2\", \"disk_format\": 1}", "duplicate"},
        {"{\"kiln\": \"1\", \"disk_format\": 1} x", "end of file expected"},
    };
    const struct place *place = *state;
    struct error err = {0};
    json_t *object = NULL;

    assert_int_equal(manifest_read(place->dir, &object, &err), -1);
    assert_non_null(strstr(err.message, "is not a bundle: it has no manifest.json"));
    fail_clear(&err);
    assert_int_equal(manifest_sums(place->dir, &err), -1);
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        fail_clear(&err);
        write_in(place, "manifest.json", must_not_work[i].text);
        assert_int_equal(manifest_read(place->dir, &object, &err), -1);
        if (strstr(err.message, must_not_work[i].message) == NULL) {
            print_error("%s\n", err.message);
            assert_true(false);
        }
        assert_null(object);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(it_says_what_went_in_and_came_out),
        CASE(partitions_are_those_of_the_plan),
        CASE(layers_have_their_digests_and_no_host_path),
        CASE(files_have_sizes_and_digests_but_not_of_the_raw_disk),
        CASE(of_a_vhd_the_end_has_a_digest),
        CASE(it_is_the_same_each_time_and_plain_ascii),
        CASE(sums_are_read_by_sha256sum),
        CASE(what_is_no_manifest_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
