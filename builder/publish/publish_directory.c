/* SPDX-License-Identifier: Apache-2.0 */
/* 'cloud: directory': see catalog.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/file.h"
#include "bundle/manifest.h"
#include "export/export.h"
#include "publish/catalog.h"
#include "publish/cloud.h"
#include "ui/ui.h"

struct state {
    char *path;    /* of the catalog */
    json_t *image; /* as it will be listed, once the publish id is known */
};

/* ---- what is kept ---- */

/* Behind a disk in its file. */
enum { FOOTER_MAX = 4096 };

/* Besides the formats. */
static const char *const others[] = {MANIFEST_NAME, INDEX_NAME};

/* The formats that the target names, or all that the bundle has. */
static bool is_wanted(const struct publication *pub, const struct export_format *format)
{
    unsigned formats = pub->target->directory.formats;

    return formats != 0 ? (formats & format->bit) != 0 : reader_has(pub->bundle, format->file);
}

static int visit_files(const struct publication *pub,
                       int (*visit)(const struct publication *pub, const char *name, void *data,
                                    struct error *err),
                       void *data, struct error *err)
{
    for (const struct export_format *format = export_formats; format->name != NULL; format++) {
        if (is_wanted(pub, format) && visit(pub, format->file, data, err) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < COUNT(others); i++) {
        if (visit(pub, others[i], data, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int describe_file(const struct publication *pub, const char *name, void *data,
                         struct error *err)
{
    struct reader_file file = {0};
    const char *key = export_is_disk(name) ? FOOTER_KEY : "sha256";
    char hex[HASH_HEX_MAX];

    if (strcmp(name, RAW_NAME) == 0) {
        json_object_set_new(data, name,
                            json_pack("{s:I}", "size", (json_int_t)pub->bundle->size_bytes));
        return 0;
    }
    /* Nothing is like it then; it is the copying that cannot be done without. */
    if (!reader_has(pub->bundle, name) && strcmp(name, MANIFEST_NAME) != 0) {
        json_object_set_new(data, name, json_null());
        return 0;
    }
    if (reader_file(pub->bundle, name, &file, err) < 0) {
        return -1;
    }
    free(file.path);
    json_object_set_new(data, name,
                        json_pack("{s:I, s:s}", "size", (json_int_t)file.size_bytes, key,
                                  hash_hex(file.sha256, hex)));
    return 0;
}

/* Where the image is in the catalog: a new string. */
static char *place_of(const struct reader *bundle)
{
    return xprintf("%s/%s/%s", bundle->name, architecture_name(bundle->architecture),
                   bundle->version);
}

static int describe(const struct publication *pub, json_t **ret, struct error *err)
{
    const struct reader *bundle = pub->bundle;
    SCOPED_FREE char *place = place_of(bundle);
    SCOPED(json_decrefp) json_t *files = json_object();
    char hex[HASH_HEX_MAX];

    if (visit_files(pub, describe_file, files, err) < 0) {
        return -1;
    }
    *ret =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:O}", "name", bundle->name, "architecture",
                  architecture_name(bundle->architecture), "version", bundle->version, "path",
                  place, "disk_digest", hash_hex(bundle->disk_digest, hex), "disk_size",
                  (json_int_t)bundle->size_bytes, "publish_id", pub->id, "files", files);
    return 0;
}

/* ---- copies ---- */

static int changed(const char *path, const char *what, struct error *err)
{
    fail(err, FAIL_MISMATCH, "'%s': %s is not what the bundle's digests say", path, what);
    return fail_hint(err, "the bundle was changed after it was built: build it again");
}

/* All blocks of a copy, of which holes need not be read. */
static int check_raw(const struct reader *bundle, int fd, const char *path, struct error *err)
{
    SCOPED(blocks_freep) struct blocks *blocks = blocks_new(bundle->size_bytes);

    if (blocks_complete(blocks, fd, path, NULL, NULL, err) < 0) {
        return -1;
    }
    for (uint64_t i = 0; i < bundle->block_count; i++) {
        if (memcmp(blocks_digest(blocks, i), bundle->digests[i], HASH_SIZE) != 0) {
            SCOPED_FREE char *what = xprintf("block %llu", (unsigned long long)i);

            return changed(path, what, err);
        }
    }
    return 0;
}

static int check_file(const struct reader_file *file, int fd, const char *path, struct error *err)
{
    uint8_t digest[HASH_SIZE];

    if (file_hash(fd, path, digest, err) < 0) {
        return -1;
    }
    return memcmp(digest, file->sha256, HASH_SIZE) == 0 ? 0 : changed(file->path, "it", err);
}

static int copy_disk(const struct reader *bundle, const char *name, int out, const char *path,
                     struct error *err)
{
    return copy_sparse(bundle->raw, out, bundle->size_bytes, name, err) < 0
               ? -1
               : check_raw(bundle, out, path, err);
}

/* What FILE has behind the disk. */
static int copy_footer(const struct reader *bundle, const struct reader_file *file, int in, int out,
                       const char *path, struct error *err)
{
    SCOPED_FREE char *footer = NULL;
    uint8_t digest[HASH_SIZE];
    uint64_t size = 0;

    if (__builtin_sub_overflow(file->size_bytes, bundle->size_bytes, &size) || size > FOOTER_MAX) {
        return changed(file->path, "its size", err);
    }
    footer = xmalloc(size);
    if (file_pread(in, footer, size, bundle->size_bytes, file->path, err) < 0) {
        return -1;
    }
    hash_bytes(footer, size, digest);
    return memcmp(digest, file->sha256, HASH_SIZE) != 0
               ? changed(file->path, "its end", err)
               : file_pwrite(out, footer, size, bundle->size_bytes, path, err);
}

/* It is the copy that is compared; a disk is copied from disk.raw, which it begins with. */
static int copy_to(const struct publication *pub, const char *name, int out, const char *path,
                   struct error *err)
{
    SCOPED_FREE char *from = NULL;
    SCOPED_FD int in = -1;
    struct reader_file file = {0};
    uint64_t size = 0;

    if (export_is_disk(name) && copy_disk(pub->bundle, name, out, path, err) < 0) {
        return -1;
    }
    if (strcmp(name, RAW_NAME) == 0) {
        return 0;
    }
    if (reader_file(pub->bundle, name, &file, err) < 0) {
        return -1;
    }
    from = file.path;
    if (file_open_regular(from, &in, &size, err) < 0) {
        return -1;
    }
    if (export_is_disk(name)) {
        return copy_footer(pub->bundle, &file, in, out, path, err);
    }
    return copy_sparse(in, out, file.size_bytes, name, err) < 0 ? -1
                                                                : check_file(&file, out, path, err);
}

static uint64_t data_bytes(const struct reader *bundle)
{
    uint64_t bytes = 0;

    for (uint64_t i = 0; i < bundle->block_count; i++) {
        bytes += block_is_zero(bundle->digests[i]) ? 0 : BLOCK_SIZE;
    }
    return bytes;
}

/* How much there is to copy of a file: of the disk only its data. */
static int count_bytes(const struct publication *pub, const char *name, void *data,
                       struct error *err)
{
    struct reader_file file = {0};

    if (export_is_disk(name)) {
        *(uint64_t *)data += data_bytes(pub->bundle);
        return 0;
    }
    if (reader_file(pub->bundle, name, &file, err) < 0) {
        return -1;
    }
    free(file.path);
    *(uint64_t *)data += file.size_bytes;
    return 0;
}

static int copy_file(const struct publication *pub, const char *name, void *data, struct error *err)
{
    const struct draft *draft = data;
    SCOPED_FREE char *path = file_join(draft->dir, name);
    SCOPED_FD int out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    uint64_t bytes = 0;

    if (out < 0) {
        return fail_os(err, "create '%s'", path);
    }
    if (count_bytes(pub, name, &bytes, err) < 0 || copy_to(pub, name, out, path, err) < 0) {
        return -1;
    }
    publication_sent((struct publication *)pub, (int64_t)bytes);
    return 0;
}

/* ---- the cloud ---- */

struct planning {
    const struct call_plan *plan;
    const char *place;
};

static int plan_file(const struct publication *pub, const char *name, void *data, struct error *err)
{
    const struct planning *planning = data;
    SCOPED_FREE char *path = file_join(planning->place, name);
    uint64_t bytes = 0;

    if (count_bytes(pub, name, &bytes, err) < 0) {
        return -1;
    }
    planning->plan->call(planning->plan->data, "copy", path, 1, bytes);
    return 0;
}

static int plan(struct publication *pub, const struct call_plan *calls, struct error *err)
{
    SCOPED_FREE char *path = NULL;
    SCOPED_FREE char *inside = place_of(pub->bundle);
    SCOPED_FREE char *place = NULL;
    struct planning planning = {.plan = calls};

    if (catalog_path(pub->target->directory.path, &path, err) < 0) {
        return -1;
    }
    place = file_join(path, inside);
    planning.place = place;
    return visit_files(pub, plan_file, &planning, err);
}

static int begin(struct publication *pub, void *data, struct identity *ret, struct error *err)
{
    struct state *state = data;

    if (strcmp(pub->bundle->version, CATALOG_LATEST) == 0) {
        fail(err, FAIL_USAGE,
             "an image of version '" CATALOG_LATEST "' has no place in a directory");
        return fail_hint(err, "the link to the newest one is called so: give it another 'version'");
    }
    if (catalog_path(pub->target->directory.path, &state->path, err) < 0 ||
        catalog_check(state->path, err) < 0) {
        return -1;
    }
    ret->account = xstrdup("-");
    ret->host = xstrdup(state->path);
    ret->scope = xprintf("directory%s", state->path);
    return 0;
}

static void set_result(struct publication *pub, const struct state *state)
{
    SCOPED_FREE char *place = catalog_place(state->path, state->image);

    json_object_set_new(pub->result, "image", ui_string(place));
}

static int find(struct publication *pub, void *data, bool *ret, struct error *err)
{
    struct state *state = data;
    bool there = false, listed = false;

    if (catalog_sweep(state->path, err) < 0 || describe(pub, &state->image, err) < 0 ||
        catalog_lists(state->path, state->image, &listed, err) < 0 ||
        (listed && catalog_has(state->path, state->image, &there, err) < 0)) {
        return -1;
    }
    *ret = there;
    if (*ret) {
        set_result(pub, state);
    }
    return 0;
}

static int copy_all(struct publication *pub, const struct state *state, struct error *err)
{
    SCOPED(draft_done) struct draft draft = {.lock = -1};
    uint64_t bytes = 0;

    if (visit_files(pub, count_bytes, &bytes, err) < 0) {
        return -1;
    }
    publication_expect(pub, bytes);
    if (draft_begin(&draft, state->path, err) < 0 || visit_files(pub, copy_file, &draft, err) < 0) {
        return -1;
    }
    return draft_commit(&draft, state->image, err);
}

/* A killed run may have left it there, and not in the index. */
static int copy(struct publication *pub, void *data, struct error *err)
{
    const struct state *state = data;
    bool there = false;

    if (catalog_has(state->path, state->image, &there, err) < 0 ||
        (there ? catalog_list(state->path, state->image, err) : copy_all(pub, state, err)) < 0) {
        return -1;
    }
    set_result(pub, state);
    return PHASE_DONE;
}

static int remove_unlisted(struct publication *pub, void *data, struct error *err)
{
    const struct state *state = data;

    (void)pub;
    return catalog_remove_unlisted(state->path, state->image, err);
}

static void end(void *data)
{
    struct state *state = data;

    free(state->path);
    json_decref(state->image);
}

static const struct phase phases[] = {{.name = "copy", .run = copy}, {.name = NULL}};

const struct cloud cloud_directory = {
    .kind = CLOUD_DIRECTORY,
    .state_bytes = sizeof(struct state),
    .plan = plan,
    .begin = begin,
    .find = find,
    .phases = phases,
    .abort = remove_unlisted,
    .end = end,
};
