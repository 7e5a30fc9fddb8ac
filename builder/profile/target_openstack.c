/* SPDX-License-Identifier: Apache-2.0 */
/* 'cloud: openstack': limits are those of Glance's image API, version 2. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "profile/grammar.h"
#include "profile/target_kind.h"

static const uint64_t MIB = 1 << 20;

enum { TEXT_MAX = 255, VALUE_MAX = 4095, PROJECT_MAX = 64 };

static const struct word disk_format_words[] = {
    {.name = "qcow2", .value = FORMAT_QCOW2},
    {.name = "raw", .value = FORMAT_RAW},
    {.name = "qcow", .instead = "qcow2"},
    {.name = NULL},
};

static const struct word visibility_words[] = {
    {.name = "private", .value = VISIBILITY_PRIVATE},
    {.name = "shared", .value = VISIBILITY_SHARED},
    {.name = "community", .value = VISIBILITY_COMMUNITY},
    {.name = "public", .value = VISIBILITY_PUBLIC},
    {.name = NULL},
};

/* What Glance itself says of an image, which no property may be called. */
static const char *const own_attributes[] = {"id",
                                             "name",
                                             "status",
                                             "owner",
                                             "visibility",
                                             "protected",
                                             "tags",
                                             "size",
                                             "virtual_size",
                                             "min_disk",
                                             "min_ram",
                                             "disk_format",
                                             "container_format",
                                             "checksum",
                                             "os_hash_algo",
                                             "os_hash_value",
                                             "os_hidden",
                                             "created_at",
                                             "updated_at",
                                             "deleted_at",
                                             "deleted",
                                             "is_public",
                                             "file",
                                             "self",
                                             "schema",
                                             "direct_url",
                                             "locations",
                                             "location",
                                             "members",
                                             "stores",
                                             "store",
                                             "backend",
                                             NULL};

static const char *check_text(const char *text)
{
    size_t size = strlen(text);

    return size == 0 || size > TEXT_MAX ? "must be 1 to 255 bytes" : NULL;
}

/* It becomes a part of URLs. */
static const char *check_project(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > PROJECT_MAX || !text_is_made_of(text, "-_")) {
        return "must be the id of a project: 1 to 64 letters, digits, '-' and '_'";
    }
    return NULL;
}

static const char *check_property(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > TEXT_MAX || !text_is_made_of(text, "_-.:")) {
        return "must be 1 to 255 letters, digits and any of '_-.:'";
    }
    if (text_starts(text, "kiln_")) {
        return "'kiln_' is for kiln's own properties";
    }
    if (text_starts(text, "os_glance")) {
        return "'os_glance' is for Glance's own properties";
    }
    for (const char *const *name = own_attributes; *name != NULL; name++) {
        if (strcmp(text, *name) == 0) {
            return "an attribute of Glance's own, not a property";
        }
    }
    return NULL;
}

static const char *check_property_value(const char *text)
{
    return strlen(text) > VALUE_MAX ? "longer than 4095 bytes" : NULL;
}

static const struct field property_fields[] = {
    {.name = "properties",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct pair, value),
     .check = check_property_value},
    {.name = NULL},
};

static const struct shape property_shape = {
    .noun = "a property",
    .fields = property_fields,
    .size = sizeof(struct pair),
    .mark = PLACE_OF(struct pair, mark),
    .key = PLACE_OF(struct pair, key),
    .key_name = "KEY",
    .key_check = check_property,
};

static const struct field openstack_fields[] = {
    TARGET_CLOUD,
    {.name = "os_cloud",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_openstack, os_cloud),
     .check = check_text,
     .standard = "OS_CLOUD, else OS_*",
     .help = "an entry of the user's clouds.yaml"},
    {.name = "region",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_openstack, region),
     .check = check_text,
     .standard = "the user's own, else the only one there is",
     .help = "where the image is made"},
    {.name = "name",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_openstack, name),
     .check = check_text,
     .standard = "NAME-VERSION",
     .help = "of the image"},
    {.name = "disk_format",
     .type = FIELD_WORD,
     .value = PLACE_OF(struct target_openstack, disk_format),
     .words = disk_format_words,
     .standard = "qcow2",
     .help = "qcow2, or raw for a cloud that keeps its disks so (Ceph)"},
    {.name = "visibility",
     .type = FIELD_WORD,
     .value = PLACE_OF(struct target_openstack, visibility),
     .words = visibility_words,
     .standard = "private",
     .help = "who sees the image: private, shared, community or public"},
    {.name = "protected",
     .type = FIELD_TRUE,
     .value = PLACE_OF(struct target_openstack, is_protected),
     .help = "the image cannot be deleted before that is undone"},
    {.name = "min_ram",
     .type = FIELD_SIZE,
     .value = PLACE_OF(struct target_openstack, min_ram_bytes),
     .help = "how much memory an instance needs, in whole MiB"},
    {.name = "share_with",
     .type = FIELD_STRINGS,
     .value = PLACE_OF(struct target_openstack, share_with),
     .second = PLACE_OF(struct target_openstack, share_count),
     .check = check_project,
     .help = "ids of projects that may use the image; needs 'visibility: shared'"},
    {.name = "properties",
     .type = FIELD_PAIRS,
     .value = PLACE_OF(struct target_openstack, properties),
     .second = PLACE_OF(struct target_openstack, property_count),
     .shape = &property_shape,
     .help = "of the image, over those that follow from the disk"},
    {.name = "tags",
     .type = FIELD_STRINGS,
     .value = PLACE_OF(struct target_openstack, tags),
     .second = PLACE_OF(struct target_openstack, tag_count),
     .check = check_text,
     .help = "of the image"},
    {.name = NULL},
};

static const struct shape openstack_shape = {
    .noun = "a target of 'cloud: openstack'",
    .fields = openstack_fields,
    .others = target_others,
    .others_why =
        "where and as whom to publish is the user's own configuration (clouds.yaml, OS_*)",
};

static void check(struct target *target, const struct node *node, struct problems *problems)
{
    struct target_openstack *os = &target->openstack;

    if (node_find(node, "disk_format") == NULL) {
        os->disk_format = FORMAT_QCOW2;
    }
    if (os->share_count != 0 && os->visibility != VISIBILITY_SHARED) {
        problem_add(problems, node_find(node, "share_with")->mark,
                    "'share_with' needs 'visibility: shared'");
    }
    if (os->min_ram_bytes % MIB != 0) {
        problem_add(problems, node_find(node, "min_ram")->mark, "min_ram: not whole MiB");
    } else if (os->min_ram_bytes / MIB > INT32_MAX) {
        problem_add(problems, node_find(node, "min_ram")->mark, "min_ram: too large");
    }
}

static void done(struct target *target)
{
    struct target_openstack *os = &target->openstack;

    free(os->os_cloud);
    free(os->region);
    free(os->name);
    texts_free(os->share_with, os->share_count);
    texts_free(os->tags, os->tag_count);
    pairs_free(os->properties, os->property_count);
}

static unsigned takes(const struct target *target)
{
    return target->openstack.disk_format;
}

const struct target_kind target_kind_openstack = {
    .name = "openstack",
    .summary = "an image of OpenStack's Glance",
    .shape = &openstack_shape,
    .check = check,
    .done = done,
    .takes = takes,
};
