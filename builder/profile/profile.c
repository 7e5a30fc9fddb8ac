/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/profile.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "profile/check.h"
#include "profile/extends.h"
#include "profile/grammar.h"
#include "profile/target.h"
#include "profile/yaml.h"

static const uint64_t MIB = 1 << 20;
static const uint64_t GIB = 1 << 30;

static void free_layer(struct profile_layer *layer)
{
    for (size_t i = 0; i < layer->set_count; i++) {
        free(layer->sets[i].path);
    }
    for (size_t i = 0; i < layer->file_count; i++) {
        free(layer->files[i].path);
        free(layer->files[i].content);
        free(layer->files[i].symlink);
    }
    for (size_t i = 0; i < layer->package_count; i++) {
        free(layer->packages[i].name);
        free(layer->packages[i].path);
    }
    for (size_t i = 0; i < layer->mount_count; i++) {
        free(layer->mounts[i].name);
        free(layer->mounts[i].path);
        free(layer->mounts[i].target);
    }
    for (size_t i = 0; i < layer->leave_out_count; i++) {
        free(layer->leave_out[i]);
    }
    free(layer->sets);
    free(layer->files);
    free(layer->packages);
    free(layer->mounts);
    free(layer->leave_out);
    free(layer->script);
    free(layer->name);
    free(layer->path);
    free(layer->to);
}

void profile_free(struct profile *profile)
{
    if (profile == NULL) {
        return;
    }
    for (size_t i = 0; i < profile->layer_count; i++) {
        free_layer(&profile->layers[i]);
    }
    for (size_t i = 0; i < profile->partition_count; i++) {
        free(profile->partitions[i].name);
        free(profile->partitions[i].mount);
    }
    if (profile->targets != NULL) {
        targets_done(profile->targets);
    }
    free(profile->targets);
    free(profile->layers);
    free(profile->partitions);
    for (size_t i = 0; i < COUNT(profile->parents); i++) {
        free(profile->parents[i]);
    }
    free(profile->path);
    free(profile->name);
    free(profile->version);
    free(profile->seed);
    free(profile->kernel_command_line);
    free(profile);
}

/* --- defaults -------------------------------------------------------------------------------- */

static void add_partition(struct profile *profile, const char *name, enum partition_type type,
                          enum filesystem filesystem, uint64_t size_bytes, const char *mount)
{
    profile->partitions[profile->partition_count++] = (struct profile_partition){
        .name = xstrdup(name),
        .type = type,
        .filesystem = filesystem,
        .size_bytes = size_bytes,
        .mount = mount != NULL ? xstrdup(mount) : NULL,
    };
}

static void default_partitions(struct profile *profile)
{
    profile->partitions = xcalloc(3, sizeof(struct profile_partition));
    if ((profile->firmware & FIRMWARE_BIOS) != 0) {
        add_partition(profile, "bios", PART_BIOS_BOOT, FS_NONE, 1 * MIB, NULL);
    }
    if ((profile->firmware & FIRMWARE_UEFI) != 0) {
        add_partition(profile, "esp", PART_ESP, FS_VFAT, 64 * MIB, "/boot/efi");
    }
    add_partition(profile, "root", PART_ROOT, FS_EXT4, 0, "/");
}

static unsigned default_formats(const struct profile *profile)
{
    unsigned formats = FORMAT_RAW | FORMAT_QCOW2;

    for (size_t i = 0; profile->targets != NULL && i < profile->targets->count; i++) {
        const struct target *target = &profile->targets->items[i];

        formats |= target_kinds[target->cloud]->takes(target);
    }
    return formats;
}

static void default_disk(struct profile *profile)
{
    if (profile->disk_size_bytes == 0) {
        profile->disk_size_bytes = 4 * GIB;
    }
    if (profile->disk_size_bytes % GIB != 0) {
        profile->disk_size_bytes += GIB - profile->disk_size_bytes % GIB;
        profile->disk_size_rounded = true;
    }
    if (profile->formats == 0) {
        profile->formats = default_formats(profile);
    }
    if (profile->kernel_command_line == NULL) {
        profile->kernel_command_line =
            xstrdup(profile->architecture == ARCH_AARCH64 ? "console=tty0 console=ttyAMA0"
                                                          : "console=tty0 console=ttyS0");
    }
    if (profile->partition_count == 0) {
        default_partitions(profile);
    }
}

static void default_firmware(struct profile *profile)
{
    if (profile->firmware_mark.line == 0) {
        profile->firmware = profile->architecture == ARCH_AARCH64
                                ? (unsigned)FIRMWARE_UEFI
                                : (unsigned)FIRMWARE_BIOS | (unsigned)FIRMWARE_UEFI;
    }
}

static void default_names(struct profile *profile)
{
    if (profile->version == NULL) {
        profile->version = xstrdup("0");
    }
    if (profile->seed == NULL) {
        profile->seed = xprintf("%s/%s", profile->name, architecture_name(profile->architecture));
    }
}

/* --- reading --------------------------------------------------------------------------------- */

static void read_targets(struct profile *profile, const struct node *root,
                         struct problems *problems)
{
    struct node *node = node_find(root, "targets");

    if (node != NULL && !node->bad) {
        profile->targets = xcalloc(1, sizeof(*profile->targets));
        targets_decode(node, profile->targets, problems);
        check_targets(profile, root, problems);
    }
}

/* Fills PROFILE as far as it can and notes what is wrong. */
static void read_profile(const char *text, size_t size, struct profile *profile,
                         struct problems *problems)
{
    SCOPED(yaml_tree_freep) struct yaml_tree *yaml = NULL;
    struct node *root;

    if (extends_read(profile, text, size, &yaml, problems) < 0) {
        return;
    }
    root = yaml_tree_root(yaml);
    (void)decode_map(&profile_shape, root, profile, problems);
    if (root->kind != NODE_MAP) {
        return;
    }
    default_firmware(profile);
    check_layers(profile, root, problems);
    check_disk(profile, root, problems);
    read_targets(profile, root, problems);
}

int profile_parse(const char *path, const char *yaml, size_t size, struct profile **ret,
                  struct error *err)
{
    SCOPED(profile_freep) struct profile *profile = xcalloc(1, sizeof(*profile));
    SCOPED(problems_done) struct problems problems = {.path = path, .noun = "profile"};

    profile->path = xstrdup(path);
    read_profile(yaml, size, profile, &problems);
    if (problems_fail(&problems, err) < 0) {
        return -1;
    }
    default_names(profile);
    default_disk(profile);
    *ret = TAKE(profile);
    return 0;
}

int profile_load(const char *path, struct profile **ret, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (file_read(path, YAML_SIZE_MAX, &text, err) < 0) {
        err->kind = FAIL_USAGE; /* whatever the cause, the profile is what must change */
        return -1;
    }
    return profile_parse(path, text.data, text.size, ret, err);
}

int profile_fail(const struct profile *profile, struct mark mark, struct error *err,
                 const char *format, ...)
{
    SCOPED(problems_done) struct problems problems = {.path = profile->path, .noun = "profile"};
    char text[4096];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    problem_add(&problems, mark, "%s", text);
    return problems_fail(&problems, err);
}

struct visitor {
    profile_visit *visit;
    void *data;
};

static void visit_field(const char *path, const struct field *field, void *data)
{
    const struct visitor *visitor = data;
    SCOPED_FREE char *type = field_type_text(field);
    const struct profile_field row = {
        .path = path,
        .type = type,
        .standard = field->standard,
        .help = field->help,
        .required = field->required,
        .supported = field->type != FIELD_UNSUPPORTED,
    };

    visitor->visit(&row, visitor->data);
}

void profile_fields(profile_visit *visit, void *data)
{
    struct visitor visitor = {visit, data};

    fields_visit(&profile_shape, "", visit_field, &visitor);
    for (size_t i = 0; i < CLOUDS; i++) {
        SCOPED_FREE char *prefix = xprintf("targets.NAME(%s).", target_kinds[i]->name);

        fields_visit(target_kinds[i]->shape, prefix, visit_field, &visitor);
    }
}

const char *profile_layer_label(const struct profile_layer *layer)
{
    switch (layer->kind) {
    case LAYER_FILES:
        return "files";
    case LAYER_PACKAGES:
        return "packages";
    case LAYER_RUN:
        return layer->path != NULL ? layer->name : "run";
    default:
        return layer->name;
    }
}

bool profile_is_step(const struct profile_layer *layer)
{
    return layer->kind == LAYER_PACKAGES || layer->kind == LAYER_RUN;
}

const char *architecture_name(enum architecture architecture)
{
    return word_name(architecture_words, architecture);
}

const char *filesystem_name(enum filesystem filesystem)
{
    return filesystem == FS_NONE ? "none" : word_name(filesystem_words, filesystem);
}

const char *partition_type_name(enum partition_type type)
{
    return word_name(partition_type_words, type);
}

const char *engine_name(enum engine_kind engine)
{
    return word_name(engine_words, engine);
}

/* --- chosen instead -------------------------------------------------------------------------- */

static int choose_word(const char *what, const char *text, const struct word *words, unsigned *ret,
                       struct error *err)
{
    const char *nearest;
    const struct word *word = word_find(words, text, &nearest);

    if (word != NULL) {
        *ret = word->value;
        return 0;
    }
    fail(err, FAIL_USAGE, "unknown %s '%s'", what, text);
    return nearest != NULL ? fail_hint(err, "did you mean '%s'?", nearest) : -1;
}

int profile_set_formats(struct profile *profile, const char *list, struct error *err)
{
    SCOPED_FREE char *copy = xstrdup(list);
    unsigned formats = 0, format = 0;
    char *rest = copy;

    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (choose_word("format", name, format_words, &format, err) < 0) {
            return -1;
        }
        formats |= format;
    }
    profile->formats = formats;
    return 0;
}

int profile_set_engine(struct profile *profile, const char *name, struct error *err)
{
    unsigned engine = 0;

    if (choose_word("engine", name, engine_words, &engine, err) < 0) {
        return -1;
    }
    profile->engine = (enum engine_kind)engine;
    return 0;
}
