/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle as a build would leave it, of a disk of which a few blocks have a text, made in no time.
 * Include it after cmocka.h.
 */
#ifndef TESTS_UNIT_SMALL_BUNDLE_H
#define TESTS_UNIT_SMALL_BUNDLE_H

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "bundle/blocks.h"
#include "bundle/manifest.h"
#include "bundle/reader.h"
#include "tools.h"

struct small_block {
    uint64_t block;
    const char *text;
};

struct small_bundle {
    const char *dir, *name, *version;
    const char *targets; /* targets.json; NULL: none */
    unsigned gib;
    const struct small_block *blocks;
    size_t count;
};

static inline void small_bundle_file(const struct small_bundle *bundle, json_t *files,
                                     const char *name)
{
    SCOPED_FREE char *path = file_join(bundle->dir, name);
    SCOPED(buf_done) struct buf text = {0};
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];
    struct error err = {0};

    assert_int_equal(file_read(path, 64 << 20, &text, &err), 0);
    hash_bytes(text.data, text.size, digest);
    (void)json_object_set_new(
        files, name,
        json_pack("{s:I, s:s}", "size", (json_int_t)text.size, "sha256", hash_hex(digest, hex)));
}

static inline void small_bundle_text(const struct small_bundle *bundle, const char *name,
                                     const char *text)
{
    SCOPED_FREE char *path = file_join(bundle->dir, name);
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

static inline void small_bundle_disk(const struct small_bundle *bundle, uint64_t size,
                                     char hex[HASH_HEX_MAX])
{
    SCOPED_FREE char *disk = file_join(bundle->dir, RAW_NAME);
    SCOPED_FREE char *index = file_join(bundle->dir, INDEX_NAME);
    SCOPED_FD int fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    uint8_t digest[HASH_SIZE];
    struct error err = {0};

    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    for (size_t i = 0; i < bundle->count; i++) {
        const char *text = bundle->blocks[i].text;

        assert_int_equal(
            pwrite(fd, text, strlen(text), (off_t)(bundle->blocks[i].block * BLOCK_SIZE)),
            strlen(text));
    }
    assert_int_equal(blocks_write(disk, NULL, index, NULL, NULL, digest, &err), 0);
    hash_hex(digest, hex);
}

/* Writes it over what is in its directory. */
static inline void small_bundle_write(const struct small_bundle *bundle)
{
    uint64_t size = (uint64_t)bundle->gib << 30;
    json_t *files = json_pack("{s:{s:I}}", RAW_NAME, "size", (json_int_t)size);
    SCOPED(json_decrefp) json_t *manifest = NULL;
    SCOPED_FREE char *text = NULL;
    struct error err = {0};
    char hex[HASH_HEX_MAX];

    assert_int_equal(file_make_dirs(bundle->dir, &err), 0);
    small_bundle_disk(bundle, size, hex);
    small_bundle_file(bundle, files, INDEX_NAME);
    if (bundle->targets != NULL) {
        small_bundle_text(bundle, TARGETS_NAME, bundle->targets);
        small_bundle_file(bundle, files, TARGETS_NAME);
    }
    manifest =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:[s, s], s:{s:s, s:I, s:i}, s:o}", "kiln", "0.1.0",
                  "disk_format", 1, "name", bundle->name, "version", bundle->version,
                  "architecture", "x86_64", "firmware", "bios", "uefi", "disk", "digest", hex,
                  "size", (json_int_t)size, "block_size", (int)BLOCK_SIZE, "files", files);
    text = json_dumps(manifest, JSON_INDENT(2));
    small_bundle_text(bundle, MANIFEST_NAME, text);
    assert_int_equal(manifest_sums(bundle->dir, &err), 0);
}

static inline struct reader *small_bundle_open(const struct small_bundle *bundle)
{
    struct reader *reader = NULL;
    struct error err = {0};

    small_bundle_write(bundle);
    if (reader_open(bundle->dir, &reader, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return reader;
}

#endif
