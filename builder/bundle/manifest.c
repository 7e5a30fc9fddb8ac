/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/pool.h"
#include "base/scope.h"
#include "base/text.h"
#include "bundle/blocks.h"
#include "export/export.h"
#include "lock/lock.h"
#include "ui/ui.h"

/* A manifest lists layers and files of a bundle, not of the image. */
static const size_t manifest_size_max = 16U << 20;

static json_t *hex_string(const uint8_t digest[HASH_SIZE])
{
    char hex[HASH_HEX_MAX];

    return json_string(hash_hex(digest, hex));
}

static json_t *uuid_string(const struct uuid *uuid)
{
    char text[UUID_TEXT_MAX];

    return json_string(uuid_text(uuid, text));
}

/* ---- what is known without looking at the bundle ---- */

static json_t *partition_json(const struct plan_partition *partition)
{
    const struct profile_partition *spec = partition->spec;
    json_t *object = json_object();

    json_object_set_new(object, "number", json_integer(partition->number));
    json_object_set_new(object, "name", ui_string(spec->name));
    json_object_set_new(object, "type", json_string(partition_type_name(spec->type)));
    json_object_set_new(object, "type_uuid", uuid_string(&partition->type));
    json_object_set_new(object, "uuid", uuid_string(&partition->uuid));
    json_object_set_new(object, "offset", json_integer((json_int_t)partition->offset_bytes));
    json_object_set_new(object, "size", json_integer((json_int_t)partition->size_bytes));
    if (spec->filesystem != FS_NONE) {
        json_object_set_new(object, "filesystem", json_string(filesystem_name(spec->filesystem)));
        json_object_set_new(object, "filesystem_uuid", ui_string(partition->fs_id));
        json_object_set_new(object, "label", ui_string(partition->fs_label));
    }
    if (spec->mount != NULL) {
        json_object_set_new(object, "mount", ui_string(spec->mount));
    }
    return object;
}

json_t *manifest_plan(const struct plan *plan)
{
    json_t *object = json_object(), *partitions = json_array();

    for (size_t i = 0; i < plan->partition_count; i++) {
        json_array_append_new(partitions, partition_json(&plan->partitions[i]));
    }
    json_object_set_new(object, "size", json_integer((json_int_t)plan->size_bytes));
    json_object_set_new(object, "uuid", uuid_string(&plan->disk_uuid));
    json_object_set_new(object, "partitions", partitions);
    return object;
}

static json_t *layer_json(const struct layer *layer)
{
    json_t *object = json_object();
    bool known = layer_is_known(layer);
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    layer_digest(layer, digest, &size);
    json_object_set_new(object, "name", ui_string(layer_label(layer)));
    json_object_set_new(object, "format", json_string(layer_format(layer)));
    if (layer_step_key(layer) != NULL) {
        json_object_set_new(object, "step", hex_string(layer_step_key(layer)));
    }
    json_object_set_new(object, "sha256", known ? hex_string(digest) : json_null());
    json_object_set_new(object, "size", known ? json_integer((json_int_t)size) : json_null());
    return object;
}

json_t *manifest_layers(struct layer *const *layers, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, layer_json(layers[i]));
    }
    return array;
}

static json_t *firmware_json(unsigned firmware)
{
    json_t *array = json_array();

    if ((firmware & FIRMWARE_BIOS) != 0) {
        json_array_append_new(array, json_string("bios"));
    }
    if ((firmware & FIRMWARE_UEFI) != 0) {
        json_array_append_new(array, json_string("uefi"));
    }
    return array;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL) {
        json_object_set_new(object, key, ui_string(text));
    }
}

static json_t *head_json(const struct manifest *manifest)
{
    const struct profile *profile = manifest->profile;
    json_t *object = json_object(), *disk = manifest_plan(manifest->plan), *engine = json_object();
    char time[TEXT_TIME_MAX];

    json_object_set_new(disk, "digest", hex_string(manifest->disk_digest));
    json_object_set_new(disk, "block_size", json_integer(BLOCK_SIZE));
    set_text(engine, "name", manifest->engine);
    set_text(engine, "reason", manifest->engine_reason);
    set_text(engine, "detail", manifest->engine_detail);

    json_object_set_new(object, "kiln", json_string(KILN_VERSION));
    json_object_set_new(object, "disk_format", json_integer(DISK_FORMAT));
    set_text(object, "name", profile->name);
    set_text(object, "version", profile->version);
    set_text(object, "seed", profile->seed);
    set_text(object, "architecture", architecture_name(profile->architecture));
    set_text(object, "epoch", text_time(manifest->epoch, time));
    set_text(object, "boot", manifest->boot);
    set_text(object, "kernel", manifest->kernel);
    set_text(object, "kernel_command_line", profile->kernel_command_line);
    json_object_set_new(object, "firmware", firmware_json(profile->firmware));
    json_object_set_new(object, "paths", json_integer((json_int_t)manifest->paths));
    json_object_set_new(object, "engine", engine);
    json_object_set_new(object, "disk", disk);
    json_object_set_new(object, "layers", manifest_layers(manifest->layers, manifest->layer_count));
    return object;
}

/* What compressed the formats asked for: their bytes are the same for the same one only. */
static int formats_json(const struct profile *profile, json_t **ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *object = json_object();

    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        SCOPED_FREE char *maker = NULL;

        if ((profile->formats & row->bit) == 0) {
            continue;
        }
        if (row->maker != NULL && row->maker(profile, &maker, err) < 0) {
            return -1;
        }
        json_object_set_new(object, row->name, maker != NULL ? ui_string(maker) : json_null());
    }
    *ret = TAKE(object);
    return 0;
}

/* ---- the files of a bundle ---- */

struct names {
    char **names;
    size_t count, space;
};

static void names_done(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    free(names->names);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Regular files of DIR, sorted; those that begin with a dot are of the build, not the bundle. */
static int list_files(const char *dir, struct names *names, struct error *err)
{
    SCOPED_DIR DIR *stream = opendir(dir);
    struct dirent *entry;

    if (stream == NULL) {
        return fail_os(err, "open directory '%s'", dir);
    }
    while ((errno = 0, entry = readdir(stream)) != NULL) {
        struct stat st;

        if (entry->d_name[0] == '.') {
            continue;
        }
        if (fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            return fail_os(err, "stat '%s/%s'", dir, entry->d_name);
        }
        if (S_ISREG(st.st_mode)) {
            grow(&names->names, names->count, &names->space, sizeof(*names->names));
            names->names[names->count++] = xstrdup(entry->d_name);
        }
    }
    if (errno != 0) {
        return fail_os(err, "read directory '%s'", dir);
    }
    if (names->count != 0) {
        qsort(names->names, names->count, sizeof(*names->names), compare_names);
    }
    return 0;
}

static int digest_file(const char *path, uint8_t ret[HASH_SIZE], struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? fail_os(err, "open '%s'", path) : file_hash(fd, path, ret, err);
}

/* What is behind the SIZE bytes of a disk. */
static int digest_footer(const char *path, uint64_t size, uint64_t end, uint8_t ret[HASH_SIZE],
                         struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    SCOPED_FREE char *footer = xmalloc(end - size);

    if (fd < 0) {
        return fail_os(err, "open '%s'", path);
    }
    if (file_pread(fd, footer, end - size, size, path, err) < 0) {
        return -1;
    }
    hash_bytes(footer, end - size, ret);
    return 0;
}

/* One file, looked at on any thread. */
struct file {
    const char *name;
    uint64_t size;
    const char *key; /* of the digest; NULL: it has none */
    uint8_t digest[HASH_SIZE];
};

struct files {
    const char *dir;
    uint64_t disk_bytes;
    const struct names *names;
    size_t next;
    json_t *object;
};

static int next_file(void *data, void *item, struct error *err)
{
    struct files *files = data;
    struct file *file = item;

    (void)err;
    while (files->next < files->names->count) {
        file->name = files->names->names[files->next++];
        if (strcmp(file->name, SUMS_NAME) != 0 && strcmp(file->name, MANIFEST_NAME) != 0) {
            return 1;
        }
    }
    return 0;
}

/* The holes of a disk cost as much to digest as data, and blocks.index has both. */
static int look_at_file(void *data, unsigned thread, void *item, struct error *err)
{
    const struct files *files = data;
    struct file *file = item;
    SCOPED_FREE char *path = file_join(files->dir, file->name);
    struct stat st;

    (void)thread;
    if (stat(path, &st) < 0) {
        return fail_os(err, "stat '%s'", path);
    }
    file->size = (uint64_t)st.st_size;
    if (!export_is_disk(file->name)) {
        file->key = "sha256";
        return digest_file(path, file->digest, err);
    }
    file->key = file->size > files->disk_bytes ? FOOTER_KEY : NULL;
    return file->key == NULL
               ? 0
               : digest_footer(path, files->disk_bytes, file->size, file->digest, err);
}

static int add_file(void *data, void *item, struct error *err)
{
    const struct files *files = data;
    const struct file *file = item;
    json_t *object = json_object();

    (void)err;
    json_object_set_new(object, "size", json_integer((json_int_t)file->size));
    if (file->key != NULL) {
        json_object_set_new(object, file->key, hex_string(file->digest));
    }
    json_object_set_new(files->object, file->name, object);
    return 0;
}

static int files_json(const char *dir, uint64_t disk_bytes, json_t **ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *object = json_object();
    SCOPED(names_done) struct names names = {0};
    struct files files = {.dir = dir, .disk_bytes = disk_bytes, .names = &names, .object = object};
    struct pool pool = {
        .item_bytes = sizeof(struct file),
        .data = &files,
        .fill = next_file,
        .work = look_at_file,
        .take = add_file,
    };

    if (list_files(dir, &names, err) < 0 || pool_run(&pool, err) < 0) {
        return -1;
    }
    *ret = TAKE(object);
    return 0;
}

/* ---- interface ---- */

int manifest_write(const struct manifest *manifest, const char *dir, struct error *err)
{
    SCOPED(json_decrefp) json_t *object = head_json(manifest);
    SCOPED_FREE char *path = file_join(dir, MANIFEST_NAME);
    SCOPED_FREE char *text = NULL;
    SCOPED(buf_done) struct buf buf = {0};
    json_t *part = NULL;

    if (formats_json(manifest->profile, &part, err) < 0) {
        return -1;
    }
    json_object_set_new(object, "formats", part);
    if (files_json(dir, manifest->plan->size_bytes, &part, err) < 0) {
        return -1;
    }
    json_object_set_new(object, "files", part);
    text = json_dumps(object, JSON_SORT_KEYS | JSON_INDENT(2) | JSON_ENSURE_ASCII);
    if (text == NULL) {
        return fail(err, FAIL_ERROR, "write '%s': it cannot be put as JSON", path);
    }
    buf_printf(&buf, "%s\n", text);
    return file_write(path, buf.data, buf.size, err);
}

/* The digest that the manifest has of NAME, which has just been computed; else that of the file. */
static int known_digest(const json_t *manifest, const char *dir, const char *name,
                        char ret[HASH_HEX_MAX], struct error *err)
{
    SCOPED_FREE char *path = file_join(dir, name);
    const json_t *file = json_object_get(json_object_get(manifest, "files"), name);
    const char *known = json_string_value(json_object_get(file, "sha256"));
    uint8_t digest[HASH_SIZE];

    if ((known == NULL || !hash_parse(known, digest)) && digest_file(path, digest, err) < 0) {
        return -1;
    }
    (void)hash_hex(digest, ret);
    return 0;
}

int manifest_sums(const char *dir, struct error *err)
{
    SCOPED(json_decrefp) json_t *manifest = NULL;
    SCOPED_FREE char *path = file_join(dir, SUMS_NAME);
    SCOPED(names_done) struct names names = {0};
    SCOPED(buf_done) struct buf buf = {0};

    if (manifest_read(dir, &manifest, err) < 0 || list_files(dir, &names, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        char hex[HASH_HEX_MAX];

        if (strcmp(name, SUMS_NAME) == 0 || export_is_disk(name)) {
            continue;
        }
        if (known_digest(manifest, dir, name, hex, err) < 0) {
            return -1;
        }
        buf_printf(&buf, "%s  %s\n", hex, name);
    }
    return file_write(path, buf.data, buf.size, err);
}

static int not_a_bundle(const char *dir, const char *why, struct error *err)
{
    fail(err, FAIL_ERROR, "'%s' is not a bundle: %s", dir, why);
    return fail_hint(err, "a bundle is a directory that 'kiln build' made");
}

int manifest_read(const char *dir, json_t **ret, struct error *err)
{
    SCOPED_FREE char *path = file_join(dir, MANIFEST_NAME);
    SCOPED(json_decrefp) json_t *object = NULL;
    SCOPED(buf_done) struct buf buf = {0};
    json_error_t problem;

    if (file_read_regular(path, manifest_size_max, &buf, err) < 0) {
        if (err->os == ENOENT || err->os == ENOTDIR) {
            fail_clear(err);
            return not_a_bundle(dir, "it has no " MANIFEST_NAME, err);
        }
        return -1;
    }
    object = json_loadb(buf.data, buf.size, JSON_REJECT_DUPLICATES, &problem);
    if (object == NULL) {
        return fail(err, FAIL_ERROR, "'%s':%d:%d: %s", path, problem.line, problem.column,
                    problem.text);
    }
    if (!json_is_string(json_object_get(object, "kiln")) ||
        !json_is_integer(json_object_get(object, "disk_format"))) {
        return not_a_bundle(dir, "its " MANIFEST_NAME " is not kiln's", err);
    }
    *ret = TAKE(object);
    return 0;
}
