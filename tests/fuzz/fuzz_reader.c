/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the manifest of a bundle, whose other files are good, and as a blocks.index:
 * refused, or all that is said of the disk is possible.
 */
#include "bundle/reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "bundle/blocks.h"
#include "bundle/manifest.h"

/* The bundle, made once for all inputs; the disk is 1 GiB of zeros. */
static char directory[] = "/tmp/fuzz-reader-XXXXXX";
static char *manifest_path, *sums_path, *index_path, *other_path;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void remove_directory(void)
{
    struct error err = {0};

    (void)file_remove_tree(directory, &err);
    free(manifest_path);
    free(sums_path);
    free(index_path);
    free(other_path);
}

static void make_directory(void)
{
    SCOPED_FREE char *raw = NULL;
    uint8_t digest[HASH_SIZE];
    struct error err = {0};

    require(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
    raw = file_join(directory, RAW_NAME);
    manifest_path = file_join(directory, MANIFEST_NAME);
    sums_path = file_join(directory, SUMS_NAME);
    index_path = file_join(directory, INDEX_NAME);
    other_path = file_join(directory, "other.index");
    require(file_write(raw, "", 0, &err) == 0 && truncate(raw, 1 << 30) == 0);
    require(blocks_write(raw, NULL, index_path, NULL, NULL, digest, &err) == 0);
}

static void write_manifest(const uint8_t *data, size_t size)
{
    SCOPED_FREE char *line = NULL;
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];
    struct error err = {0};

    hash_bytes(data, size, digest);
    line = xprintf("%s  " MANIFEST_NAME "\n", hash_hex(digest, hex));
    require(file_write(manifest_path, data, size, &err) == 0);
    require(file_write(sums_path, line, strlen(line), &err) == 0);
}

static void read_bundle(void)
{
    SCOPED(reader_freep) struct reader *reader = NULL;
    SCOPED_FREE char *block = xmalloc(BLOCK_SIZE);
    struct error err = {0};

    if (reader_open(directory, &reader, &err) < 0) {
        require(reader == NULL && err.message[0] != '\0');
        return;
    }
    require(profile_check_name(reader->name) == NULL);
    require(profile_check_version(reader->version) == NULL);
    require(reader->size_bytes == 1 << 30 && reader->block_count == 2048);
    require(reader_block(reader, 2047, block, &err) == 0);
}

static void read_index(const uint8_t *data, size_t size)
{
    SCOPED_FREE uint8_t(*digests)[HASH_SIZE] = NULL;
    uint64_t disk_size = 0, count = 0;
    struct error err = {0};

    require(file_write(other_path, data, size, &err) == 0);
    if (reader_index(other_path, &disk_size, &digests, &count, &err) == 0) {
        require(count == (disk_size + BLOCK_SIZE - 1) / BLOCK_SIZE && count < size / 65 + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (manifest_path == NULL) {
        make_directory();
    }
    write_manifest(data, size);
    read_bundle();
    read_index(data, size);
    return 0;
}
