/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/reader.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "bundle/manifest.h"
#include "export/export.h"
#include "profile/grammar.h"

static const uint64_t GIB = 1 << 30;
static const uint64_t DISK_MAX = 64ULL << 40; /* as a profile's */

enum {
    LINE_SIZE = 2 * HASH_SIZE + 1, /* of a block in blocks.index */
    HEADER_MAX = 64,
    LINES_AT_ONCE = 4096,
    SUMS_MAX = 1 << 20,
};

static const char rebuild[] = "the bundle was changed after it was built: build it again";

void reader_free(struct reader *reader)
{
    if (reader == NULL) {
        return;
    }
    scope_fd(&reader->raw);
    targets_done(&reader->targets);
    json_decref(reader->manifest);
    free(reader->digests);
    free(reader->path);
    free(reader->name);
    free(reader->version);
    free(reader);
}

/* --- manifest.json --------------------------------------------------------------------------- */

static int bad_manifest(const struct reader *reader, const char *key, const char *reason,
                        struct error *err)
{
    fail(err, FAIL_ERROR, "'%s/" MANIFEST_NAME "': '%s' %s", reader->path, key, reason);
    return fail_hint(err, "a bundle is a directory that 'kiln build' made");
}

/* A text of the manifest that CHECK has nothing against. */
static int read_text(const struct reader *reader, const char *key,
                     const char *(*check)(const char *text), char **ret, struct error *err)
{
    const char *text = json_string_value(json_object_get(reader->manifest, key)), *wrong;

    if (text == NULL) {
        return bad_manifest(reader, key, "is not a text", err);
    }
    wrong = check(text);
    if (wrong != NULL) {
        return bad_manifest(reader, key, wrong, err);
    }
    *ret = xstrdup(text);
    return 0;
}

static const struct word *find_word(const struct word *words, const json_t *value)
{
    const char *text = json_string_value(value);

    for (; words->name != NULL && text != NULL; words++) {
        if (words->instead == NULL && strcmp(words->name, text) == 0) {
            return words;
        }
    }
    return NULL;
}

static int read_words(struct reader *reader, struct error *err)
{
    const struct word *word =
        find_word(architecture_words, json_object_get(reader->manifest, "architecture"));
    const json_t *list = json_object_get(reader->manifest, "firmware"), *item;
    size_t i;

    if (word == NULL) {
        return bad_manifest(reader, "architecture", "is none that kiln knows", err);
    }
    reader->architecture = (enum architecture)word->value;
    if (!json_is_array(list)) {
        return bad_manifest(reader, "firmware", "is not a list", err);
    }
    json_array_foreach(list, i, item)
    {
        word = find_word(firmware_words, item);
        if (word == NULL) {
            return bad_manifest(reader, "firmware", "has one that kiln does not know", err);
        }
        reader->firmware |= word->value;
    }
    return 0;
}

static int read_disk(struct reader *reader, struct error *err)
{
    const json_t *disk = json_object_get(reader->manifest, "disk");
    const char *digest = json_string_value(json_object_get(disk, "digest"));
    json_int_t size = json_integer_value(json_object_get(disk, "size"));

    if (size <= 0 || (uint64_t)size % GIB != 0 || (uint64_t)size > DISK_MAX) {
        return bad_manifest(reader, "disk.size", "is not whole GiB, up to 64TiB", err);
    }
    if (json_integer_value(json_object_get(disk, "block_size")) != BLOCK_SIZE) {
        return bad_manifest(reader, "disk.block_size", "is not 512KiB", err);
    }
    if (digest == NULL || !hash_parse(digest, reader->disk_digest)) {
        return bad_manifest(reader, "disk.digest", "is not a SHA-256 digest", err);
    }
    reader->size_bytes = (uint64_t)size;
    return 0;
}

static int read_manifest(struct reader *reader, struct error *err)
{
    if (manifest_read(reader->path, &reader->manifest, err) < 0 ||
        read_text(reader, "name", profile_check_name, &reader->name, err) < 0 ||
        read_text(reader, "version", profile_check_version, &reader->version, err) < 0 ||
        read_words(reader, err) < 0) {
        return -1;
    }
    return read_disk(reader, err);
}

/* --- digests of files ------------------------------------------------------------------------ */

static int mismatch(const char *path, const uint8_t found[HASH_SIZE],
                    const uint8_t wanted[HASH_SIZE], const char *whose, struct error *err)
{
    char found_hex[HASH_HEX_MAX], wanted_hex[HASH_HEX_MAX];

    return fail(err, FAIL_MISMATCH, "'%s' has digest %s, but %s says %s", path,
                hash_hex(found, found_hex), whose, hash_hex(wanted, wanted_hex));
}

/* The line of SHA256SUMS that is about NAME. */
static bool find_sum(const char *sums, const char *name, uint8_t ret[HASH_SIZE])
{
    for (const char *line = sums; *line != '\0';) {
        size_t length = strcspn(line, "\n");

        if (length == LINE_SIZE + 1 + strlen(name) && line[2 * HASH_SIZE] == ' ' &&
            memcmp(line + LINE_SIZE + 1, name, strlen(name)) == 0) {
            SCOPED_FREE char *hex = xstrndup(line, 2 * HASH_SIZE);

            return hash_parse(hex, ret);
        }
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    return false;
}

/* The manifest has the digests of all files, SHA256SUMS has the manifest's. */
static int check_manifest(struct reader *reader, struct error *err)
{
    SCOPED_FREE char *path = file_join(reader->path, MANIFEST_NAME);
    SCOPED_FREE char *sums = file_join(reader->path, SUMS_NAME);
    SCOPED(buf_done) struct buf text = {0};
    SCOPED_FD int fd = -1;
    uint8_t wanted[HASH_SIZE];

    if (file_read_regular(sums, SUMS_MAX, &text, err) < 0 ||
        file_open_regular(path, &fd, &reader->manifest_bytes, err) < 0 ||
        file_hash(fd, path, reader->manifest_digest, err) < 0) {
        return -1;
    }
    if (!find_sum(text.data, MANIFEST_NAME, wanted)) {
        return fail(err, FAIL_ERROR, "'%s' says nothing about " MANIFEST_NAME, sums);
    }
    if (memcmp(reader->manifest_digest, wanted, HASH_SIZE) != 0) {
        mismatch(path, reader->manifest_digest, wanted, SUMS_NAME, err);
        return fail_hint(err, "%s", rebuild);
    }
    return 0;
}

bool reader_has(const struct reader *reader, const char *name)
{
    return json_object_get(json_object_get(reader->manifest, "files"), name) != NULL;
}

/* What the manifest says about NAME: 1, or 0 when it has no such file. */
static int find_file(const struct reader *reader, const char *name, struct reader_file *ret,
                     struct error *err)
{
    const json_t *file = json_object_get(json_object_get(reader->manifest, "files"), name);
    const json_t *size = json_object_get(file, "size");
    const char *key = export_is_disk(name) ? FOOTER_KEY : "sha256";
    const char *digest = json_string_value(json_object_get(file, key));

    if (strcmp(name, MANIFEST_NAME) == 0) {
        ret->size_bytes = reader->manifest_bytes;
        memcpy(ret->sha256, reader->manifest_digest, HASH_SIZE);
    } else if (file == NULL) {
        return 0;
    } else if (!json_is_integer(size) || json_integer_value(size) < 0 || digest == NULL ||
               !hash_parse(digest, ret->sha256)) {
        return bad_manifest(reader, name, "has no size or no digest", err);
    } else {
        ret->size_bytes = (uint64_t)json_integer_value(size);
    }
    ret->path = file_join(reader->path, name);
    return 1;
}

static int wrong_size(const char *path, uint64_t found, uint64_t wanted, struct error *err)
{
    fail(err, FAIL_MISMATCH, "'%s' has %" PRIu64 " bytes, but the manifest says %" PRIu64, path,
         found, wanted);
    return fail_hint(err, "%s", rebuild);
}

int reader_file(const struct reader *reader, const char *name, struct reader_file *ret,
                struct error *err)
{
    struct reader_file file = {0};
    SCOPED_FREE char *path = NULL;
    SCOPED_FD int fd = -1;
    int found = find_file(reader, name, &file, err);
    uint64_t size;

    path = file.path;
    if (found < 0) {
        return -1;
    }
    if (found == 0) {
        fail(err, FAIL_ERROR, "'%s' has no %s", reader->path, name);
        return fail_hint(err, "add its format to 'formats' in the profile, and build again");
    }
    if (file_open_regular(path, &fd, &size, err) < 0) {
        return -1;
    }
    if (size != file.size_bytes) {
        return wrong_size(path, size, file.size_bytes, err);
    }
    *ret = file;
    path = NULL;
    return 0;
}

/* --- targets.json ---------------------------------------------------------------------------- */

static int check_firmware(const struct reader *reader, struct error *err)
{
    for (size_t i = 0; i < reader->targets.count; i++) {
        const struct target *target = &reader->targets.items[i];
        const char *wrong = target_misfit(target, reader->firmware);

        if (wrong != NULL) {
            return fail(err, FAIL_USAGE, "'%s/" TARGETS_NAME "': target '%s': %s", reader->path,
                        target->name, wrong);
        }
    }
    return 0;
}

/* The very bytes that were digested are those that are read. */
static int read_targets(struct reader *reader, struct error *err)
{
    SCOPED_FREE char *path = file_join(reader->path, TARGETS_NAME);
    SCOPED(buf_done) struct buf text = {0};
    struct reader_file file = {0};
    uint8_t digest[HASH_SIZE];
    int found = find_file(reader, TARGETS_NAME, &file, err);

    free(file.path);
    if (found < 0 || (found == 0 && !file_exists(path))) {
        return found;
    }
    if (found == 0) {
        fail(err, FAIL_MISMATCH, "'%s' is there, but the manifest does not know it", path);
        return fail_hint(err, "targets are written in the profile: build again");
    }
    if (file_read_regular(path, TARGETS_TEXT_MAX, &text, err) < 0) {
        return -1;
    }
    hash_bytes(text.data, text.size, digest);
    if (memcmp(digest, file.sha256, HASH_SIZE) != 0) {
        mismatch(path, digest, file.sha256, MANIFEST_NAME, err);
        return fail_hint(err, "edit 'targets' in the profile, and build again");
    }
    if (targets_parse(path, text.data, text.size, &reader->targets, err) < 0) {
        return -1;
    }
    return check_firmware(reader, err);
}

/* --- blocks.index ---------------------------------------------------------------------------- */

/* "kiln-blocks 1 524288 SIZE\n", of a size that kiln could have written there. */
static bool parse_header(const char *text, uint64_t *ret_size_bytes, size_t *ret_length)
{
    static const char begin[] = "kiln-blocks 1 524288 ";
    char again[HEADER_MAX];
    unsigned long long size;
    int length;

    if (!text_starts(text, begin)) {
        return false;
    }
    size = strtoull(text + strlen(begin), NULL, 10);
    /* Whatever strtoull lets pass, there is one way to write it. */
    length = snprintf(again, sizeof(again), "%s%llu\n", begin, size);
    *ret_size_bytes = size;
    *ret_length = (size_t)length;
    return size != 0 && size <= DISK_MAX && text_starts(text, again);
}

static bool parse_line(const char *line, uint8_t ret[HASH_SIZE])
{
    char hex[HASH_HEX_MAX], again[HASH_HEX_MAX];

    memcpy(hex, line, HASH_HEX_MAX - 1);
    hex[HASH_HEX_MAX - 1] = '\0';
    return line[LINE_SIZE - 1] == '\n' && hash_parse(hex, ret) &&
           strcmp(hash_hex(ret, again), hex) == 0;
}

static int bad_index(const char *path, const char *reason, struct error *err)
{
    fail(err, FAIL_ERROR, "'%s' is not an index of blocks: %s", path, reason);
    return fail_hint(err, "%s", rebuild);
}

static int read_lines(int fd, const char *path, uint64_t offset, uint64_t count,
                      uint8_t (*digests)[HASH_SIZE], struct error *err)
{
    SCOPED_FREE char *lines = xmalloc((size_t)LINES_AT_ONCE * LINE_SIZE);

    for (uint64_t done = 0; done < count;) {
        size_t some = count - done < LINES_AT_ONCE ? (size_t)(count - done) : LINES_AT_ONCE;

        if (file_pread(fd, lines, some * LINE_SIZE, offset + done * LINE_SIZE, path, err) < 0) {
            return -1;
        }
        for (size_t i = 0; i < some; i++) {
            if (!parse_line(lines + i * LINE_SIZE, digests[done + i])) {
                SCOPED_FREE char *reason =
                    xprintf("line %" PRIu64 " is not a digest", done + i + 2);

                return bad_index(path, reason, err);
            }
        }
        done += some;
    }
    return 0;
}

int reader_index(const char *path, uint64_t *ret_size_bytes, uint8_t (**ret_digests)[HASH_SIZE],
                 uint64_t *ret_count, struct error *err)
{
    SCOPED_FREE uint8_t(*digests)[HASH_SIZE] = NULL;
    SCOPED_FD int fd = -1;
    char header[HEADER_MAX] = "";
    uint64_t file_size, size, count;
    size_t length;

    if (file_open_regular(path, &fd, &file_size, err) < 0 ||
        file_pread(fd, header, file_size < HEADER_MAX ? (size_t)file_size : HEADER_MAX - 1, 0, path,
                   err) < 0) {
        return -1;
    }
    if (!parse_header(header, &size, &length)) {
        return bad_index(path, "its first line is not kiln's", err);
    }
    count = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    if (file_size != length + count * LINE_SIZE) {
        return bad_index(path, "it has more or fewer lines than the disk has blocks", err);
    }
    digests = xcalloc(count, HASH_SIZE);
    if (read_lines(fd, path, length, count, digests, err) < 0) {
        return -1;
    }
    *ret_size_bytes = size;
    *ret_digests = TAKE(digests);
    *ret_count = count;
    return 0;
}

static int read_index(struct reader *reader, struct error *err)
{
    SCOPED_FREE char *path = file_join(reader->path, INDEX_NAME);
    uint8_t total[HASH_SIZE];
    uint64_t size = 0;

    if (reader_index(path, &size, &reader->digests, &reader->block_count, err) < 0) {
        return -1;
    }
    if (size != reader->size_bytes) {
        fail(err, FAIL_MISMATCH,
             "'%s' is of a disk of %" PRIu64 " bytes, but the manifest says %" PRIu64, path, size,
             reader->size_bytes);
        return fail_hint(err, "%s", rebuild);
    }
    hash_bytes(reader->digests, reader->block_count * HASH_SIZE, total);
    if (memcmp(total, reader->disk_digest, HASH_SIZE) != 0) {
        char total_hex[HASH_HEX_MAX], wanted_hex[HASH_HEX_MAX];

        fail(err, FAIL_MISMATCH, "'%s' adds up to %s, but the manifest's disk digest is %s", path,
             hash_hex(total, total_hex), hash_hex(reader->disk_digest, wanted_hex));
        return fail_hint(err, "%s", rebuild);
    }
    return 0;
}

/* --- the disk -------------------------------------------------------------------------------- */

static int open_raw(struct reader *reader, struct error *err)
{
    SCOPED_FREE char *path = file_join(reader->path, RAW_NAME);
    uint64_t size = 0;

    if (file_open_regular(path, &reader->raw, &size, err) < 0) {
        return -1;
    }
    return size == reader->size_bytes ? 0 : wrong_size(path, size, reader->size_bytes, err);
}

int reader_open(const char *path, struct reader **ret, struct error *err)
{
    SCOPED(reader_freep) struct reader *reader = xcalloc(1, sizeof(*reader));
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    reader->path = xstrndup(path, length);
    reader->raw = -1;
    if (read_manifest(reader, err) < 0 || check_manifest(reader, err) < 0 ||
        read_targets(reader, err) < 0 || read_index(reader, err) < 0 || open_raw(reader, err) < 0) {
        return -1;
    }
    *ret = TAKE(reader);
    return 0;
}

int reader_block(const struct reader *reader, uint64_t index, void *buffer, struct error *err)
{
    uint64_t offset = index * BLOCK_SIZE, left = reader->size_bytes - offset;
    size_t size = left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE;
    SCOPED_FREE char *path = NULL;
    uint8_t digest[HASH_SIZE];

    if (file_pread(reader->raw, buffer, size, offset, reader->path, err) < 0) {
        return -1;
    }
    memset((char *)buffer + size, 0, BLOCK_SIZE - size);
    hash_bytes(buffer, BLOCK_SIZE, digest);
    if (memcmp(digest, reader->digests[index], HASH_SIZE) == 0) {
        return 0;
    }
    path = file_join(reader->path, RAW_NAME);
    (void)mismatch(path, digest, reader->digests[index], INDEX_NAME, err);
    (void)fail_while(err, "block %" PRIu64 ", at byte %" PRIu64, index, offset);
    return fail_hint(err, "%s", rebuild);
}

bool block_is_zero(const uint8_t digest[HASH_SIZE])
{
    /* SHA-256 of 512 KiB of zeros. */
    static const uint8_t zero[HASH_SIZE] = {0x07, 0x85, 0x4d, 0x2f, 0xef, 0x29, 0x7a, 0x06,
                                            0xba, 0x81, 0x68, 0x5e, 0x66, 0x0c, 0x33, 0x2d,
                                            0xe3, 0x6d, 0x5d, 0x18, 0xd5, 0x46, 0x92, 0x7d,
                                            0x30, 0xda, 0xad, 0x6d, 0x7f, 0xda, 0x15, 0x41};

    return memcmp(digest, zero, HASH_SIZE) == 0;
}
