/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML as a tree in which every value knows its place. Only what profile and lock need is let in:
 * one document of maps, lists and scalars, each key once; no anchors, aliases, tags or merge keys,
 * and no more depth or values than a person writes. Scalars are text: nothing is guessed from how
 * they look.
 */
#ifndef PROFILE_YAML_H
#define PROFILE_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "profile/problem.h"
#include "profile/profile.h"

enum {
    YAML_SIZE_MAX = 1 << 20,   /* bytes of a file */
    YAML_DEPTH_MAX = 32,       /* maps and lists in one another */
    YAML_NODES_MAX = 64 << 10, /* values of a file */
};

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    struct mark mark; /* where the value begins */
    bool bad;         /* a problem in it was reported: nobody needs to look at it again */

    char *key; /* in a map; NUL-terminated, but may hold NULs */
    size_t key_size;
    struct mark key_mark;
    const char *meant; /* borrowed: the known key that an unknown one probably stands for */

    char *text; /* of a scalar, as the key */
    size_t size;
    bool empty; /* nothing at all is written there, not even "" */

    struct node *first, *last, *next; /* children in the order of the file, and the next sibling */
    size_t count;
};

/* libyaml exports a yaml_free and its like, and a program's own would take their place. */
struct yaml_tree;

/*
 * What is wrong goes to PROBLEMS; -1 when it leaves no tree to look at. All marks get FILE, which
 * is borrowed: NULL for the one that PROBLEMS is about.
 */
int yaml_tree_read(const char *file, const char *text, size_t size, struct yaml_tree **ret,
                   struct problems *problems);
/*
 * As yaml_tree_read, for a file that other programs read too and people share parts in: aliases,
 * merge keys and the tags of YAML's own types are let in. An alias becomes a copy of its value.
 */
int yaml_tree_read_foreign(const char *file, const char *text, size_t size, struct yaml_tree **ret,
                           struct problems *problems);
void yaml_tree_free(struct yaml_tree *yaml);
SCOPE_DEFINE(yaml_tree, yaml_tree_free)

struct node *yaml_tree_root(struct yaml_tree *yaml);

/* Makes the values of OTHER, which is freed, live as long as YAML. Returns how many it has now. */
size_t yaml_tree_adopt(struct yaml_tree *yaml, struct yaml_tree *other);

/* The value of KEY in a map, or NULL; one with a size may hold NULs. */
struct node *node_find(const struct node *map, const char *key);
struct node *node_find_key(const struct node *map, const char *key, size_t size);

/* Makes CHILD the last item of a list or map. */
void node_append(struct node *parent, struct node *child);

/* "text", "a list", "a map", "nothing". */
const char *node_kind_name(const struct node *node);

#endif
