/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/output.h"
#include "base/partial.h"
#include "base/text.h"
#include "bundle/bundle.h"
#include "publish/journal.h"

/*
 * Of a target's directory: record.json names the disk digest, by which the index of that disk is
 * called and which it must add up to. The record is replaced last, so whoever is killed on the way
 * leaves the old pair.
 */
#define RECORD_NAME "record.json"
#define INDEX_SUFFIX ".index"

enum {
    FORMAT = 1,
    RECORD_MAX = 64 << 10,
    LINES_AT_ONCE = 4096,
};

void parent_free(struct parent *parent)
{
    if (parent == NULL) {
        return;
    }
    json_decref(parent->result);
    free(parent->scope);
    free(parent->digests);
    free(parent);
}

/* ---- where ---- */

/* A new string, or NULL on error. */
static char *choose_directory(const char *image, const char *target, struct error *err)
{
    SCOPED_FREE char *base = file_user_dir("XDG_STATE_HOME", ".local/state");

    if (base == NULL) {
        fail(err, FAIL_ERROR, "there is no place for what was published");
        fail_hint(err, "set HOME or XDG_STATE_HOME to an absolute path");
        return NULL;
    }
    return xprintf("%s/kiln/published/%s/%s", base, image, target);
}

/* Several kilns may read and replace it at once. */
static int lock_directory(const char *dir, int operation, int *ret_fd, struct error *err)
{
    SCOPED_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return fail_os(err, "open directory '%s'", dir);
    }
    if (partial_flock(fd, operation) < 0) {
        return fail_os(err, "lock '%s'", dir);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static char *index_path(const char *dir, const uint8_t digest[HASH_SIZE])
{
    char hex[HASH_HEX_MAX];

    return xprintf("%s/%s" INDEX_SUFFIX, dir, hash_hex(digest, hex));
}

/* ---- loading ---- */

static int parse_record(const char *path, const struct buf *text, struct parent *parent,
                        struct error *err)
{
    SCOPED(json_decrefp)
    json_t *record = json_loadb(text->data, text->size, JSON_REJECT_DUPLICATES, NULL);
    const char *scope, *digest;
    json_t *result;
    int format;

    if (json_unpack(record, "{s:i, s:s, s:s, s:o}", "parent", &format, "scope", &scope,
                    "disk_digest", &digest, "result", &result) < 0 ||
        format != FORMAT || !hash_parse(digest, parent->disk_digest) || !json_is_object(result)) {
        fail(err, FAIL_ERROR, "'%s' is no record of a publish", path);
        return fail_hint(err, "remove it");
    }
    parent->scope = xstrdup(scope);
    parent->result = json_incref(result);
    return 0;
}

static int load_index(const char *dir, struct parent *parent, struct error *err)
{
    SCOPED_FREE char *path = index_path(dir, parent->disk_digest);
    uint8_t total[HASH_SIZE];

    if (reader_index(path, &parent->size_bytes, &parent->digests, &parent->block_count, err) < 0) {
        return -1;
    }
    hash_bytes(parent->digests, parent->block_count * HASH_SIZE, total);
    return memcmp(total, parent->disk_digest, HASH_SIZE) == 0
               ? 0
               : fail(err, FAIL_MISMATCH, "'%s' is not the index of its disk", path);
}

static bool is_of_scope(const char *scope, const char *wanted)
{
    return wanted == NULL || strcmp(scope, wanted) == 0;
}

int parent_load(const char *image, const char *target, const char *scope, struct parent **ret,
                struct error *err)
{
    SCOPED(parent_freep) struct parent *parent = xcalloc(1, sizeof(*parent));
    SCOPED_FREE char *dir = choose_directory(image, target, err);
    SCOPED_FREE char *path = NULL;
    SCOPED(buf_done) struct buf text = {0};
    SCOPED_FD int lock = -1;

    *ret = NULL;
    if (dir == NULL) {
        return -1;
    }
    path = file_join(dir, RECORD_NAME);
    if (!file_exists(path)) {
        return 0;
    }
    if (lock_directory(dir, LOCK_SH, &lock, err) < 0 ||
        file_read_regular(path, RECORD_MAX, &text, err) < 0 ||
        parse_record(path, &text, parent, err) < 0) {
        return -1;
    }
    if (!is_of_scope(parent->scope, scope)) {
        return 0;
    }
    if (load_index(dir, parent, err) < 0) {
        return -1;
    }
    *ret = TAKE(parent);
    return 0;
}

/* ---- out of another bundle ---- */

static const char *head_text(const struct journal *journal, const char *key)
{
    const char *text = json_string_value(json_object_get(journal_head(journal), key));

    return text != NULL ? text : "";
}

/* What JOURNAL says was made of BUNDLE's disk for the target: a new reference, or NULL. */
static json_t *published_result(const struct journal *journal, const struct reader *bundle,
                                const char *target, const char *scope)
{
    const char *text = journal_get(journal, JOURNAL_PUBLISHED);
    char hex[HASH_HEX_MAX];
    json_t *result;

    if (text == NULL || strcmp(head_text(journal, "target"), target) != 0 ||
        strcmp(head_text(journal, "disk_digest"), hash_hex(bundle->disk_digest, hex)) != 0 ||
        !is_of_scope(head_text(journal, "scope"), scope)) {
        return NULL;
    }
    result = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(result)) {
        json_decref(result);
        return NULL;
    }
    return result;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* Adds what the journal at PATH says to PARENT; of several that were published the latest. */
static int consider(const char *path, const struct reader *bundle, const char *target,
                    const char *scope, struct parent *parent, struct timespec *latest,
                    struct error *err)
{
    SCOPED(journal_freep) struct journal *journal = NULL;
    json_t *result;
    struct stat st;

    if (journal_read(path, &journal, err) < 0) {
        return -1;
    }
    result = journal != NULL ? published_result(journal, bundle, target, scope) : NULL;
    if (result == NULL) {
        return 0;
    }
    if (stat(path, &st) < 0 || (parent->result != NULL && !is_later(&st.st_mtim, latest))) {
        json_decref(result);
        return 0;
    }
    json_decref(parent->result);
    free(parent->scope);
    parent->result = result;
    parent->scope = xstrdup(head_text(journal, "scope"));
    *latest = st.st_mtim;
    return 0;
}

static int find_published(const struct reader *bundle, const char *target, const char *scope,
                          struct parent *parent, struct error *err)
{
    SCOPED_FREE char *dir = file_join(bundle->path, BUNDLE_JOURNALS);
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    struct timespec latest = {0};

    if (journal_list(dir, &paths, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < paths.count; i++) {
        if (consider(paths.items[i], bundle, target, scope, parent, &latest, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int parent_from_bundle(const char *path, const char *target, const char *scope, struct parent **ret,
                       struct error *err)
{
    SCOPED(parent_freep) struct parent *parent = xcalloc(1, sizeof(*parent));
    SCOPED(reader_freep) struct reader *bundle = NULL;

    if (reader_open(path, &bundle, err) < 0 ||
        find_published(bundle, target, scope, parent, err) < 0) {
        return -1;
    }
    if (parent->result == NULL) {
        return fail(err, FAIL_ERROR, "'%s' was never published to target '%s'%s%s%s", path, target,
                    scope != NULL ? " as '" : "", scope != NULL ? scope : "",
                    scope != NULL ? "'" : "");
    }
    memcpy(parent->disk_digest, bundle->disk_digest, HASH_SIZE);
    parent->size_bytes = bundle->size_bytes;
    parent->block_count = bundle->block_count;
    parent->digests = TAKE(bundle->digests);
    *ret = TAKE(parent);
    return 0;
}

/* ---- saving ---- */

static int write_lines(int fd, const struct reader *bundle, const char *path, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    buf_printf(&text, "kiln-blocks 1 %u %" PRIu64 "\n", BLOCK_SIZE, bundle->size_bytes);
    for (uint64_t i = 0; i < bundle->block_count; i++) {
        char hex[HASH_HEX_MAX];

        buf_printf(&text, "%s\n", hash_hex(bundle->digests[i], hex));
        if (i % LINES_AT_ONCE == 0 || i + 1 == bundle->block_count) {
            if (file_write_all(fd, text.data, text.size, path, err) < 0) {
                return -1;
            }
            buf_clear(&text);
        }
    }
    return fsync(fd) < 0 ? fail_os(err, "write '%s' to the disk", path) : 0;
}

static int save_index(const char *path, const struct reader *bundle, struct error *err)
{
    SCOPED(output_done) struct output output = {0};

    if (output_open(&output, path, err) < 0 || write_lines(output.fd, bundle, path, err) < 0) {
        return -1;
    }
    return output_commit(&output, err);
}

static int save_record(const char *dir, const struct reader *bundle, const char *target,
                       const char *scope, const json_t *result, struct error *err)
{
    char hex[HASH_HEX_MAX];
    SCOPED_FREE char *path = file_join(dir, RECORD_NAME);
    SCOPED(json_decrefp)
    json_t *record =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:O}", "parent", FORMAT, "image", bundle->name,
                  "version", bundle->version, "target", target, "scope", scope, "disk_digest",
                  hash_hex(bundle->disk_digest, hex), "result", (json_t *)result);
    SCOPED_FREE char *text =
        json_dumps(record, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
    SCOPED(buf_done) struct buf line = {0};

    buf_printf(&line, "%s\n", text);
    return file_replace(path, line.data, line.size, err);
}

/* Of what was published before. What stays is only larger than it need be. */
static void remove_others(const char *dir, const char *kept)
{
    SCOPED_DIR DIR *stream = opendir(dir);
    struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        SCOPED_FREE char *path = file_join(dir, entry->d_name);

        if (text_ends(path, INDEX_SUFFIX) && strcmp(path, kept) != 0) {
            (void)unlink(path);
        }
    }
}

int parent_save(const struct reader *bundle, const char *target, const char *scope,
                const json_t *result, struct error *err)
{
    SCOPED_FREE char *dir = choose_directory(bundle->name, target, err);
    SCOPED_FREE char *index = NULL;
    SCOPED_FD int lock = -1;

    if (dir == NULL || file_make_dirs(dir, err) < 0 ||
        lock_directory(dir, LOCK_EX, &lock, err) < 0) {
        return -1;
    }
    index = index_path(dir, bundle->disk_digest);
    if (save_index(index, bundle, err) < 0 ||
        save_record(dir, bundle, target, scope, result, err) < 0) {
        return -1;
    }
    remove_others(dir, index);
    return 0;
}

/* ---- what to send ---- */

static bool must_send(const struct reader *bundle, const struct parent *parent, uint64_t block)
{
    return parent != NULL && block < parent->block_count
               ? memcmp(bundle->digests[block], parent->digests[block], HASH_SIZE) != 0
               : !block_is_zero(bundle->digests[block]);
}

void parent_changes(const struct reader *bundle, const struct parent *parent, uint64_t **ret,
                    size_t *ret_count)
{
    size_t space = 0;

    *ret = NULL;
    *ret_count = 0;
    for (uint64_t block = 0; block < bundle->block_count; block++) {
        if (must_send(bundle, parent, block)) {
            grow(ret, *ret_count, &space, sizeof(**ret));
            (*ret)[(*ret_count)++] = block;
        }
    }
}
