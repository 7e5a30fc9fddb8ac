/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/scope.h"
#include "base/text.h"
#include "bundle/manifest.h"
#include "cli/cmd.h"

static void json_done(json_t **value)
{
    json_decref(*value);
}

/* Text of a member, or "-" when it is not there or no text: a manifest may be anybody's. */
static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL ? value : "-";
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

static void show_partitions(struct ui *ui, const json_t *disk)
{
    const json_t *part;
    size_t i;

    json_array_foreach(json_object_get(disk, "partitions"), i, part)
    {
        char size[TEXT_SIZE_MAX], start[TEXT_SIZE_MAX];

        ui_print(ui, "partition     %-10s %-10s %-6s at %-9s %-9s %s\n", text(part, "name"),
                 text(part, "type"), text(part, "filesystem"),
                 text_size(number(part, "offset"), start), text_size(number(part, "size"), size),
                 text(part, "mount"));
    }
}

static void show_list(struct ui *ui, const char *what, const json_t *list)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        char size[TEXT_SIZE_MAX];

        ui_print(ui, "%-13s %-10s %s sha256:%s\n", what, text_size(number(item, "size"), size),
                 text(item, "name"), text(item, "sha256"));
    }
}

/* And what made them, since their bytes follow it. */
static void show_formats(struct ui *ui, const json_t *formats)
{
    const char *name;
    json_t *maker;

    json_object_foreach((json_t *)formats, name, maker)
    {
        ui_print(ui, "format        %-10s %s\n", name, text(formats, name));
    }
}

static void show_files(struct ui *ui, const json_t *files)
{
    const char *name;
    json_t *file;

    json_object_foreach((json_t *)files, name, file)
    {
        char size[TEXT_SIZE_MAX];

        ui_print(ui, "file          %-10s %s\n", text_size(number(file, "size"), size), name);
    }
}

static int run(const struct invocation *invocation, struct error *err)
{
    SCOPED(json_done) json_t *manifest = NULL;
    struct ui *ui = invocation->ui;
    const json_t *disk, *engine;

    if (manifest_read(invocation->arguments[0], &manifest, err) < 0) {
        return -1;
    }
    disk = json_object_get(manifest, "disk");
    engine = json_object_get(manifest, "engine");
    ui_print(ui, "image         %s %s, %s\n", text(manifest, "name"), text(manifest, "version"),
             text(manifest, "architecture"));
    ui_print(ui, "seed          %s\n", text(manifest, "seed"));
    ui_print(ui, "epoch         %s\n", text(manifest, "epoch"));
    ui_print(ui, "engine        %s (%s; %s)\n", text(engine, "name"), text(engine, "reason"),
             text(engine, "detail"));
    ui_print(ui, "boot          %s\n", text(manifest, "boot"));
    ui_print(ui, "disk digest   %s\n", text(disk, "digest"));
    show_partitions(ui, disk);
    show_list(ui, "layer", json_object_get(manifest, "layers"));
    show_formats(ui, json_object_get(manifest, "formats"));
    show_files(ui, json_object_get(manifest, "files"));
    ui_json(ui, json_pack("{s:s, s:O}", "event", "manifest", "manifest", manifest));
    return 0;
}

const struct command cmd_show = {
    .name = "show",
    .arguments = "BUNDLE",
    .summary = "show what a bundle holds and what it was made of",
    .run = run,
};
