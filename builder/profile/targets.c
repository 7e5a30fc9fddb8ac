/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/target.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "profile/target_kind.h"

const struct target_kind *const target_kinds[CLOUDS] = {
    [CLOUD_AWS] = &target_kind_aws,
    [CLOUD_OPENSTACK] = &target_kind_openstack,
    [CLOUD_DIRECTORY] = &target_kind_directory,
};

const struct word cloud_words[] = {
    {.name = "aws", .value = CLOUD_AWS},
    {.name = "openstack", .value = CLOUD_OPENSTACK},
    {.name = "directory", .value = CLOUD_DIRECTORY},
    {.name = "azure", .unsupported = true},
    {.name = "gcp", .unsupported = true},
    {.name = "amazon", .instead = "aws"},
    {.name = "ec2", .instead = "aws"},
    {.name = "glance", .instead = "openstack"},
    {.name = "local", .instead = "directory"},
    {.name = NULL},
};

/*
 * A profile or a bundle may be anybody's: one that could say where a password is sent, or whose it
 * is, could have it.
 */
const char *const target_others[] = {
    /* where */
    "*endpoint*", "auth", "auth_*", "*_auth", "*auth_url*", "*url", "*url_*", "uri", "*_uri",
    "*host*", "server", "*proxy*", "interface",
    /* whom to believe */
    "*cert*", "ca", "ca_*", "*_ca_*", "*verify*", "*insecure*", "*tls*", "*ssl*",
    /* as whom */
    "*user*", "*password*", "passwd", "*token*", "*secret*", "key", "*access_key*", "*private_key*",
    "*profile*", "*config*", "*login*", "role", "role_*", "*_role", "*role_arn*", "*credential*",
    "sso*", "external_id", "*project*", "*tenant*", "domain", "*domain_name*", "*domain_id*", NULL};

/* What all shapes begin with: it says which of them it is. */
static const struct field cloud_fields[] = {
    {.name = "cloud",
     .type = FIELD_WORD,
     .required = true,
     .value = PLACE_OF(struct target, cloud),
     .words = cloud_words},
    {.name = NULL},
};

static const struct shape cloud_shape = {.noun = "a target", .fields = cloud_fields};

/* --- what was written, as JSON --------------------------------------------------------------- */

static json_t *node_json(const struct node *node);

/* Lists are of different texts; a merged one may have what both profiles said. */
static json_t *list_json(const struct node *list)
{
    json_t *array = json_array();

    for (const struct node *child = list->first; child != NULL; child = child->next) {
        json_t *item = node_json(child);
        bool twin = false;

        for (size_t i = 0; i < json_array_size(array); i++) {
            twin = twin || json_equal(json_array_get(array, i), item) != 0;
        }
        if (twin) {
            json_decref(item);
        } else {
            json_array_append_new(array, item);
        }
    }
    return array;
}

static json_t *node_json(const struct node *node)
{
    json_t *object;

    if (node->kind == NODE_SCALAR) {
        return json_stringn(node->text, node->size);
    }
    if (node->kind == NODE_LIST) {
        return list_json(node);
    }
    object = json_object();
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        json_object_set_new(object, child->key, node_json(child));
    }
    return object;
}

static char *attributes_of(const struct node *node)
{
    json_t *object = node_json(node);
    char *text;

    (void)json_object_del(object, "cloud");
    text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return text;
}

/* In the order of the file. UTF-8 as it is: JSON's pairs of escapes mean nothing to YAML. */
static char *text_of(const struct node *node)
{
    json_t *object = node_json(node);
    char *text = json_dumps(object, JSON_INDENT(2)), *line = xprintf("%s\n", text);

    json_decref(object);
    free(text);
    return line;
}

/* --- decoding -------------------------------------------------------------------------------- */

/*
 * Texts go to servers, into tags, indexes and targets.json, where another character would not come
 * back as it was; and nobody means one.
 */
static bool check_texts(struct node *node, struct problems *problems)
{
    bool good = true;

    if (node->key != NULL && !text_is_printable(node->key, node->key_size)) {
        problem_add(problems, node->key_mark, "key %s: holds characters that cannot be printed",
                    QUOTE(node->key, node->key_size));
        good = false;
    }
    if (node->kind == NODE_SCALAR && !text_is_printable(node->text, node->size)) {
        problem_add(problems, node->mark, "%s: holds characters that cannot be printed",
                    QUOTE(node->text, node->size));
        good = false;
    }
    for (struct node *child = node->first; child != NULL; child = child->next) {
        good &= check_texts(child, problems);
    }
    node->bad |= !good;
    return good;
}

static void *struct_of(struct target *target)
{
    void *const structs[] = {
        [CLOUD_AWS] = &target->aws,
        [CLOUD_OPENSTACK] = &target->openstack,
        [CLOUD_DIRECTORY] = &target->directory,
    };

    return structs[target->cloud];
}

static bool check_name(const struct node *node, struct problems *problems)
{
    const char *wrong = profile_check_name(node->key);

    if (wrong != NULL) {
        problem_add(problems, node->key_mark, "targets: NAME %s: %s",
                    QUOTE(node->key, node->key_size), wrong);
    }
    return wrong == NULL;
}

static bool decode_cloud(struct node *node, struct target *target, struct problems *problems)
{
    struct node *cloud = node_find(node, "cloud");

    if (cloud == NULL) {
        problem_add(problems, node->key_mark,
                    "target '%s' needs 'cloud' (aws, openstack or directory)", node->key);
        return false;
    }
    return decode_entry(&cloud_shape, node, cloud, target, problems);
}

static bool decode_target(struct node *node, struct target *target, struct problems *problems)
{
    const struct target_kind *kind;
    size_t before;

    if (node->bad || !check_texts(node, problems) || !check_name(node, problems)) {
        return false;
    }
    if (node->kind != NODE_MAP) {
        problem_add(problems, node->mark, "target '%s' must be a map, not %s", node->key,
                    node_kind_name(node));
        return false;
    }
    if (!decode_cloud(node, target, problems)) {
        return false;
    }
    kind = target_kinds[target->cloud];
    if (!decode_map(kind->shape, node, struct_of(target), problems)) {
        return false;
    }
    before = problems->count;
    if (kind->check != NULL) {
        kind->check(target, node, problems);
    }
    target->attributes = attributes_of(node);
    return problems->count == before;
}

static bool decode_targets(struct node *node, struct targets *ret, struct problems *problems)
{
    bool good = true;

    ret->items = xcalloc(node->count, sizeof(struct target));
    for (struct node *child = node->first; child != NULL; child = child->next) {
        struct target *target = &ret->items[ret->count++];

        target->mark = child->key_mark;
        target->name = xstrdup(child->key);
        child->bad = !decode_target(child, target, problems);
        good &= !child->bad;
    }
    return good;
}

void targets_decode(struct node *node, struct targets *ret, struct problems *problems)
{
    if (node->bad) {
        return;
    }
    if (node->kind != NODE_MAP) {
        problem_add(problems, node->mark, "'targets' must be a map, not %s", node_kind_name(node));
        node->bad = true;
        return;
    }
    if (node->count > TARGETS_MAX) {
        problem_add(problems, node->mark, "more than %d targets", TARGETS_MAX);
        node->bad = true;
        return;
    }
    node->bad = !decode_targets(node, ret, problems);
    if (node->bad) {
        return;
    }
    ret->text = text_of(node);
    if (strlen(ret->text) > TARGETS_TEXT_MAX) {
        problem_add(problems, node->mark, "targets: larger than %d bytes", TARGETS_TEXT_MAX);
        node->bad = true;
    }
}

int targets_parse(const char *path, const char *text, size_t size, struct targets *ret,
                  struct error *err)
{
    SCOPED(yaml_tree_freep) struct yaml_tree *yaml = NULL;
    SCOPED(problems_done) struct problems problems = {.path = path, .noun = "list of targets"};

    if (yaml_tree_read(NULL, text, size, &yaml, &problems) == 0) {
        targets_decode(yaml_tree_root(yaml), ret, &problems);
    }
    return problems_fail(&problems, err);
}

int targets_read(const char *path, struct targets *ret, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (file_read_regular(path, TARGETS_TEXT_MAX, &text, err) < 0) {
        return -1;
    }
    return targets_parse(path, text.data, text.size, ret, err);
}

/* --- the rest -------------------------------------------------------------------------------- */

const char *target_misfit(const struct target *target, unsigned firmware)
{
    const struct target_kind *kind = target_kinds[target->cloud];

    return kind->misfit != NULL ? kind->misfit(target, firmware) : NULL;
}

void pairs_free(struct pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(pairs);
}

void texts_free(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(texts[i]);
    }
    free(texts);
}

void targets_done(struct targets *targets)
{
    for (size_t i = 0; i < targets->count; i++) {
        target_kinds[targets->items[i].cloud]->done(&targets->items[i]);
        free(targets->items[i].name);
        free(targets->items[i].attributes);
    }
    free(targets->items);
    free(targets->text);
    *targets = (struct targets){0};
}
