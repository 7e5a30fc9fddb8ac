/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/extends.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "profile/grammar.h"

/* The files that were read so far; the first is the profile. */
struct chain {
    struct profile *profile;
    struct yaml_tree *yaml; /* of all of them */
    struct stat ids[PROFILE_FILES_MAX];
    size_t count;
    size_t size; /* bytes of all of them */
    struct problems *problems;
};

/* --- merging --------------------------------------------------------------------------------- */

static void merge_maps(struct node *child, struct node *parent, struct problems *problems);

static void merge_values(struct node *child, struct node *parent, struct problems *problems)
{
    if (child->bad || child->empty) {
        return; /* which is reported, or will be */
    }
    if (child->kind == NODE_SCALAR && parent->kind == NODE_SCALAR) {
        return;
    }
    if (parent->bad) {
        child->bad = true;
        return;
    }
    if (child->kind != parent->kind) {
        problem_add(problems, child->mark, "%s is %s, but %s in what this extends (%s)",
                    QUOTE(child->key, child->key_size), node_kind_name(child),
                    node_kind_name(parent), PLACE(problems, parent->mark));
        child->bad = true;
        return;
    }
    if (child->kind == NODE_MAP) {
        merge_maps(child, parent, problems);
    } else if (parent->first != NULL) {
        parent->last->next = child->first;
        child->first = parent->first;
        child->last = child->last != NULL ? child->last : parent->last;
        child->count += parent->count;
    }
}

/* Moves what PARENT has into CHILD, whose places the merged map keeps. */
static void merge_maps(struct node *child, struct node *parent, struct problems *problems)
{
    struct node *next;

    for (struct node *entry = parent->first; entry != NULL; entry = next) {
        struct node *own = node_find_key(child, entry->key, entry->key_size);

        next = entry->next;
        entry->next = NULL;
        if (own == NULL) {
            node_append(child, entry);
        } else {
            merge_values(own, entry, problems);
        }
    }
}

/* --- reading --------------------------------------------------------------------------------- */

/* Takes the entry 'extends' out of a profile, so that nothing inherits it; NULL: there is none. */
static struct node *take_extends(struct node *root)
{
    struct node *extends = NULL, *entry = root->first;

    if (root->kind != NODE_MAP) {
        return NULL;
    }
    root->first = root->last = NULL;
    root->count = 0;
    for (struct node *next; entry != NULL; entry = next) {
        next = entry->next;
        entry->next = NULL;
        if (extends == NULL && strcmp(entry->key, "extends") == 0 &&
            entry->key_size == strlen("extends")) {
            extends = entry;
        } else {
            node_append(root, entry);
        }
    }
    return extends;
}

static const char *path_of(const struct chain *chain, size_t index)
{
    return index == 0 ? chain->profile->path : chain->profile->parents[index - 1];
}

static int refuse(const struct chain *chain, const struct node *extends, const char *reason)
{
    problem_add(chain->problems, extends->mark, "extends %s: %s",
                QUOTE(extends->text, extends->size), reason);
    return -1;
}

/* A profile that extends itself, perhaps by way of others. */
static int check_circle(const struct chain *chain, const struct node *extends,
                        const struct stat *id)
{
    SCOPED(buf_done) struct buf text = {0};
    size_t first = 0;

    while (first < chain->count &&
           (chain->ids[first].st_dev != id->st_dev || chain->ids[first].st_ino != id->st_ino)) {
        first++;
    }
    if (first == chain->count) {
        return 0;
    }
    buf_puts(&text, "goes round in a circle (");
    for (size_t i = first; i < chain->count; i++) {
        buf_printf(&text, "%s extends ", path_of(chain, i));
    }
    buf_printf(&text, "%s)", path_of(chain, first));
    return refuse(chain, extends, text.data);
}

static int check_file(const struct chain *chain, const struct node *extends, const char *path,
                      struct stat *ret_id)
{
    if (stat(path, ret_id) < 0) {
        return refuse(chain, extends, errno == ENOENT ? "no such file" : strerror(errno));
    }
    if (!S_ISREG(ret_id->st_mode)) {
        return refuse(chain, extends, "not a file");
    }
    if (check_circle(chain, extends, ret_id) < 0) {
        return -1;
    }
    if (chain->count == PROFILE_FILES_MAX) {
        SCOPED_FREE char *reason = xprintf("more than %d files in a row", PROFILE_FILES_MAX);

        return refuse(chain, extends, reason);
    }
    return 0;
}

/* The text of the next file; the limit of one file is that of all. */
static int read_text(struct chain *chain, const struct node *extends, const char *path,
                     struct buf *text)
{
    struct error err = {0};

    if (file_read(path, YAML_SIZE_MAX, text, &err) < 0) {
        return refuse(chain, extends, err.message);
    }
    chain->size += text->size;
    if (chain->size > YAML_SIZE_MAX) {
        SCOPED_FREE char *reason =
            xprintf("with it, the profile is larger than %d bytes", YAML_SIZE_MAX);

        return refuse(chain, extends, reason);
    }
    return 0;
}

/* Reads what EXTENDS names and merges it; RET is what that extends itself, or NULL. */
static int add_parent(struct chain *chain, const struct node *extends, struct node **ret)
{
    const char *from = path_of(chain, chain->count - 1);
    SCOPED_FREE char *path = file_beside(from, extends->text);
    SCOPED(buf_done) struct buf text = {0};
    struct yaml_tree *tree = NULL;
    struct node *root;
    struct stat id;

    if (check_file(chain, extends, path, &id) < 0 || read_text(chain, extends, path, &text) < 0) {
        return -1;
    }
    chain->ids[chain->count] = id;
    chain->profile->parents[chain->count - 1] = TAKE(path);
    chain->count++;
    if (yaml_tree_read(path_of(chain, chain->count - 1), text.data, text.size, &tree,
                       chain->problems) < 0) {
        return -1;
    }
    root = yaml_tree_root(tree);
    if (yaml_tree_adopt(chain->yaml, tree) > YAML_NODES_MAX) {
        SCOPED_FREE char *reason =
            xprintf("with it, the profile has more than %d values", YAML_NODES_MAX);

        return refuse(chain, extends, reason);
    }
    *ret = take_extends(root);
    if (root->kind != NODE_MAP) {
        problem_add(chain->problems, root->mark, "a profile must be a map, not %s",
                    node_kind_name(root));
        return -1;
    }
    merge_maps(yaml_tree_root(chain->yaml), root, chain->problems);
    return 0;
}

int extends_read(struct profile *profile, const char *text, size_t size, struct yaml_tree **ret,
                 struct problems *problems)
{
    SCOPED(yaml_tree_freep) struct yaml_tree *yaml = NULL;
    struct chain chain = {.profile = profile, .count = 1, .size = size, .problems = problems};
    struct node *root, *extends;

    if (yaml_tree_read(NULL, text, size, &yaml, problems) < 0) {
        return -1;
    }
    /* A profile that is no file cannot be extended: then there is no circle to be found. */
    if (stat(profile->path, &chain.ids[0]) < 0) {
        chain.ids[0] = (struct stat){0};
    }
    chain.yaml = yaml;
    root = yaml_tree_root(yaml);
    extends = take_extends(root);
    while (extends != NULL) {
        if (!decode_entry(&profile_shape, root, extends, NULL, problems) ||
            add_parent(&chain, extends, &extends) < 0) {
            return -1;
        }
    }
    *ret = TAKE(yaml);
    return 0;
}
