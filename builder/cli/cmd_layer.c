/* SPDX-License-Identifier: Apache-2.0 */
/* kiln layer pack, kiln layer show */
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"
#include "base/text.h"
#include "cli/cmd.h"
#include "layer/layer.h"
#include "layer/pack.h"

/* --- pack -------------------------------------------------------------------------------- */

enum { PACK_OUTPUT, PACK_TO, PACK_EPOCH };

static const struct option_row pack_options[] = {
    [PACK_OUTPUT] = {'o', "output", "FILE", "the archive: X.tar.zst or X.tar"},
    [PACK_TO] = {0, "to", "PATH", "where in the image DIR's content goes (default /)"},
    [PACK_EPOCH] = {0, "epoch", "TIME", "time of every entry (default 1970-01-01T00:00:00Z)"},
    {0, NULL, NULL, NULL},
};

static int run_pack(const struct invocation *invocation, struct error *err)
{
    const char *output = invocation->values[PACK_OUTPUT], *to = invocation->values[PACK_TO];
    const char *time = invocation->values[PACK_EPOCH];
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX], stamp[TEXT_TIME_MAX], bytes[TEXT_SIZE_MAX];
    int64_t epoch = 0;
    uint64_t size;

    if (output == NULL) {
        return fail(err, FAIL_USAGE, "layer pack needs -o FILE");
    }
    if (time != NULL && !text_parse_time(time, &epoch)) {
        return fail(err, FAIL_USAGE, "--epoch is '%s', not a time like 2026-11-01T00:00:00Z", time);
    }
    if (pack_directory(invocation->arguments[0], to != NULL ? to : "/", epoch, output, digest,
                       &size, err) < 0) {
        return -1;
    }
    ui_detail(invocation->ui, "packed '%s' to '%s' of the image, times %s, %s",
              invocation->arguments[0], to != NULL ? to : "/", text_time(epoch, stamp),
              text_size(size, bytes));
    hash_hex(digest, hex);
    ui_print(invocation->ui, "%s  %s\n", hex, output);
    ui_json(invocation->ui, json_pack("{s:s, s:o, s:s, s:I}", "event", "packed", "path",
                                      ui_string(output), "sha256", hex, "size", (json_int_t)size));
    return 0;
}

const struct command cmd_layer_pack = {
    .name = "layer pack",
    .arguments = "DIR",
    .summary = "pack a directory as a layer, the same bytes every time",
    .options = pack_options,
    .run = run_pack,
};

/* --- show -------------------------------------------------------------------------------- */

enum { SHOW_ARCHITECTURE };

static const struct option_row show_options[] = {
    [SHOW_ARCHITECTURE] = {0, "architecture", "ARCH", "of an OCI image: x86_64 or aarch64"},
    {0, NULL, NULL, NULL},
};

static const char *const type_names[] = {
    [ENTRY_FILE] = "file",         [ENTRY_DIRECTORY] = "directory", [ENTRY_SYMLINK] = "symlink",
    [ENTRY_HARDLINK] = "hardlink", [ENTRY_CHARACTER] = "character", [ENTRY_BLOCK] = "block",
    [ENTRY_FIFO] = "fifo",
};

static json_t *xattr_names(const struct entry *entry)
{
    json_t *names = json_array();

    for (size_t i = 0; i < entry->xattr_count; i++) {
        (void)json_array_append_new(names, ui_string(entry->xattrs[i].name));
    }
    return names;
}

static void show_entry(struct ui *ui, unsigned part, const struct entry *entry)
{
    bool device = entry->type == ENTRY_CHARACTER || entry->type == ENTRY_BLOCK;
    char time[TEXT_TIME_MAX];
    SCOPED_FREE char *size = device ? xprintf("%u,%u", entry->major, entry->minor)
                                    : xprintf("%llu", (unsigned long long)entry->size);

    ui_print(ui, "%c%04o %u:%u %10s %s %s%s%s%s\n", "-dlhcbp"[entry->type], entry -> mode,
             entry -> uid, entry -> gid, size, text_time(entry->mtime, time), entry -> path,
             entry -> target == NULL                  ? ""
                      : entry->type == ENTRY_HARDLINK ? " = "
                                                      : " -> ",
             entry->target == NULL ? "" : entry->target, entry->xattr_count != 0 ? " +" : "");
    if (ui_is_json(ui)) {
        ui_json(ui, json_pack("{s:s, s:i, s:o, s:s, s:i, s:I, s:I, s:I, s:s, s:o*, s:o}", "event",
                              "entry", "part", (int)part, "path", ui_string(entry->path), "type",
                              type_names[entry->type], "mode", (int)entry->mode, "uid",
                              (json_int_t)entry->uid, "gid", (json_int_t)entry->gid, "size",
                              (json_int_t)entry->size, "time", time, "target",
                              entry->target != NULL ? ui_string(entry->target) : NULL, "xattrs",
                              xattr_names(entry)));
    }
}

static int show_part(struct ui *ui, struct layer *layer, unsigned part, struct error *err)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (layer_reader_open(layer, part, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) > 0) {
        show_entry(ui, part, &entry);
    }
    return more;
}

static int show_layer(struct ui *ui, struct layer *layer, struct error *err)
{
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX], text[TEXT_SIZE_MAX];
    uint64_t size;

    for (unsigned part = 0; part < layer_parts(layer); part++) {
        if (show_part(ui, layer, part, err) < 0) {
            return -1;
        }
    }
    layer_digest(layer, digest, &size);
    ui_print(ui, "%s, %s, sha256:%s\n", layer_format(layer), text_size(size, text),
             hash_hex(digest, hex));
    ui_json(ui,
            json_pack("{s:s, s:s, s:I, s:s, s:i}", "event", "layer", "format", layer_format(layer),
                      "size", (json_int_t)size, "sha256", hex, "parts", (int)layer_parts(layer)));
    return 0;
}

static bool is_regular(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* A manifest.json as 'docker save' writes it; many a config tree has one of its own. */
static bool is_docker_manifest(const char *path)
{
    json_t *list = is_regular(path) ? json_load_file(path, 0, NULL) : NULL;
    const json_t *first = json_array_get(list, 0);
    bool is = json_is_string(json_object_get(first, "Config")) &&
              json_is_array(json_object_get(first, "Layers"));

    json_decref(list);
    return is;
}

/* A directory is a config tree unless it holds an image. */
static bool is_config_tree(const char *path)
{
    SCOPED_FREE char *layout = file_join(path, "oci-layout");
    SCOPED_FREE char *index = file_join(path, "index.json");
    SCOPED_FREE char *docker = file_join(path, "manifest.json");
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           !(is_regular(layout) && is_regular(index)) && !is_docker_manifest(docker);
}

static int run_show(const struct invocation *invocation, struct error *err)
{
    const char *path = invocation->arguments[0], *word = invocation->values[SHOW_ARCHITECTURE];
    struct profile_layer spec = {.name = (char *)path, .path = (char *)path, .to = (char *)"/"};
    SCOPED(layer_freep) struct layer *layer = NULL;
    enum architecture architecture = ARCH_X86_64;

    if (word != NULL && strcmp(word, "aarch64") == 0) {
        architecture = ARCH_AARCH64;
    } else if (word != NULL && strcmp(word, "x86_64") != 0) {
        return fail(err, FAIL_USAGE, "--architecture is x86_64 or aarch64, not '%s'", word);
    }
    spec.kind = is_config_tree(path) ? LAYER_DIRECTORY : LAYER_ARCHIVE;
    ui_detail(invocation->ui, "reading '%s' as %s", path,
              spec.kind == LAYER_DIRECTORY ? "a config tree" : "an archive or image");
    if (layer_open(&spec, architecture, &layer, err) < 0) {
        return -1;
    }
    return show_layer(invocation->ui, layer, err);
}

const struct command cmd_layer_show = {
    .name = "layer show",
    .arguments = "LAYER",
    .summary = "list what is in an archive, OCI image or directory",
    .options = show_options,
    .run = run_show,
};
