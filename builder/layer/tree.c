/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "layer/tree_inside.h"

static const struct tree_limits DEFAULTS = {
    .paths = 8 << 20,
    .depth = 256,
    .xattr_bytes = 64 << 10,
};

static const size_t FIRST_BUCKETS = 1024;

/* --- the table --------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_name(const struct tree *tree, const struct node *parent,
                          const struct component *name)
{
    uint64_t hash = mix((uintptr_t)parent ^ tree->key[0], name->length ^ tree->key[1]);

    for (size_t at = 0; at < name->length; at += sizeof(uint64_t)) {
        size_t left = name->length - at;
        uint64_t word = 0;

        memcpy(&word, name->text + at, left < sizeof(word) ? left : sizeof(word));
        hash = mix(word ^ tree->key[0], hash ^ tree->key[1]);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

static struct node **bucket_of(const struct tree *tree, uint32_t hash)
{
    return &tree->buckets[hash & (tree->bucket_count - 1)];
}

static void table_double(struct tree *tree)
{
    struct node **old = tree->buckets;
    size_t old_count = tree->bucket_count;

    tree->bucket_count *= 2;
    tree->buckets = xcalloc(tree->bucket_count, sizeof(struct node *));
    for (size_t i = 0; i < old_count; i++) {
        for (struct node *node = old[i], *next; node != NULL; node = next) {
            struct node **bucket = bucket_of(tree, node->hash);

            next = node->table_next;
            node->table_next = *bucket;
            *bucket = node;
        }
    }
    free(old);
}

static void table_add(struct tree *tree, struct node *node)
{
    struct node **bucket;

    if (tree->count == tree->bucket_count) {
        table_double(tree);
    }
    bucket = bucket_of(tree, node->hash);
    node->table_next = *bucket;
    *bucket = node;
    tree->count++;
}

static void table_drop(struct tree *tree, const struct node *node)
{
    struct node **link = bucket_of(tree, node->hash);

    while (*link != node) {
        link = &(*link)->table_next;
    }
    *link = node->table_next;
    tree->count--;
}

struct node *node_child(const struct tree *tree, const struct node *parent,
                        const struct component *name)
{
    uint32_t hash = hash_name(tree, parent, name);
    struct node *node = *bucket_of(tree, hash);

    while (node != NULL &&
           (node->hash != hash || node->parent != parent || node->length != name->length ||
            memcmp(node->name, name->text, name->length) != 0)) {
        node = node->table_next;
    }
    return node;
}

/* --- inodes and their names -------------------------------------------------------------- */

struct inode *inode_new(struct tree *tree, enum entry_type type)
{
    struct inode *inode = xcalloc(1, sizeof(*inode));

    inode->id = ++tree->last_id;
    inode->type = type;
    return inode;
}

void inode_changed(const struct tree *tree, struct inode *inode)
{
    if (tree->watch.changed != NULL) {
        tree->watch.changed(tree->watch.data, inode);
    }
}

static void release_data(struct inode *inode)
{
    free(TAKE(inode->extents));
    free(TAKE(inode->content));
    inode->extent_count = 0;
    inode->size = 0;
    inode->data_bytes = 0;
    memset(inode->sha256, 0, sizeof(inode->sha256));
}

void inode_clear_data(const struct tree *tree, struct inode *inode)
{
    if (tree->watch.cleared != NULL) {
        tree->watch.cleared(tree->watch.data, inode);
    }
    release_data(inode);
}

void inode_clear_metadata(struct inode *inode)
{
    for (size_t i = 0; i < inode->xattr_count; i++) {
        free(inode->xattrs[i].name);
        free(inode->xattrs[i].value);
    }
    free(TAKE(inode->xattrs));
    free(TAKE(inode->target));
    inode->xattr_count = 0;
}

static void inode_free(struct inode *inode)
{
    release_data(inode);
    inode_clear_metadata(inode);
    free(inode);
}

static void name_add(struct inode *inode, struct node *node)
{
    node->inode = inode;
    node->same_previous = NULL;
    node->same = inode->names;
    if (node->same != NULL) {
        node->same->same_previous = node;
    }
    inode->names = node;
    inode->links++;
}

static void name_drop(const struct tree *tree, struct node *node)
{
    struct inode *inode = node->inode;

    if (node->same != NULL) {
        node->same->same_previous = node->same_previous;
    }
    if (node->same_previous != NULL) {
        node->same_previous->same = node->same;
    } else {
        inode->names = node->same;
    }
    if (inode->first == node) {
        inode->first = NULL;
    }
    if (--inode->links == 0) {
        if (tree->watch.gone != NULL) {
            tree->watch.gone(tree->watch.data, inode);
        }
        inode_free(inode);
    }
}

/* --- nodes ------------------------------------------------------------------------------- */

struct node *node_new(struct tree *tree, struct node *parent, const struct component *name,
                      struct inode *inode)
{
    struct node *node = xmalloc(sizeof(*node) + name->length + 1);

    *node = (struct node){
        .parent = parent,
        .next = parent != NULL ? parent->children : NULL,
        .part = tree->part,
        .hash = hash_name(tree, parent, name),
        .length = (uint16_t)name->length,
    };
    memcpy(node->name, name->text, name->length);
    node->name[name->length] = '\0';
    if (node->next != NULL) {
        node->next->previous = node;
    }
    if (parent != NULL) {
        parent->children = node;
        inode_changed(tree, parent->inode);
    }
    name_add(inode, node);
    table_add(tree, node);
    return node;
}

/* Takes away NODE, which has no children. */
static void remove_leaf(struct tree *tree, struct node *node)
{
    if (node->next != NULL) {
        node->next->previous = node->previous;
    }
    if (node->previous != NULL) {
        node->previous->next = node->next;
    } else if (node->parent != NULL) {
        node->parent->children = node->next;
    }
    if (node->parent != NULL) {
        inode_changed(tree, node->parent->inode);
    }
    table_drop(tree, node);
    name_drop(tree, node);
    free(node);
}

static void remove_below(struct tree *tree, struct node *top)
{
    struct node *node = top;

    while (node != top || node->children != NULL) {
        if (node->children != NULL) {
            node = node->children;
        } else {
            struct node *parent = node->parent;

            remove_leaf(tree, node);
            node = parent;
        }
    }
}

void node_remove(struct tree *tree, struct node *node)
{
    remove_below(tree, node);
    remove_leaf(tree, node);
}

void node_replace(struct tree *tree, struct node *node, struct inode *inode)
{
    remove_below(tree, node);
    if (node->parent != NULL) {
        inode_changed(tree, node->parent->inode);
    }
    name_drop(tree, node);
    name_add(inode, node);
    node->part = tree->part;
    node->implied = false;
}

/* --- the tree as a whole ----------------------------------------------------------------- */

struct tree *tree_new(const struct tree_limits *limits)
{
    struct tree *tree = xcalloc(1, sizeof(*tree));
    struct inode *inode = inode_new(tree, ENTRY_DIRECTORY);

    tree->limits = limits != NULL ? *limits : DEFAULTS;
    tree->limits.paths = tree->limits.paths != 0 ? tree->limits.paths : DEFAULTS.paths;
    tree->limits.depth = tree->limits.depth != 0 ? tree->limits.depth : DEFAULTS.depth;
    tree->limits.xattr_bytes =
        tree->limits.xattr_bytes != 0 ? tree->limits.xattr_bytes : DEFAULTS.xattr_bytes;
    tree->newest = -1;
    tree->bucket_count = FIRST_BUCKETS;
    tree->buckets = xcalloc(tree->bucket_count, sizeof(struct node *));
    tree->name = xstrdup("");
    if (getrandom(tree->key, sizeof(tree->key), GRND_NONBLOCK) != (ssize_t)sizeof(tree->key)) {
        tree->key[0] = (uintptr_t)tree;
        tree->key[1] = ~(uint64_t)(uintptr_t)inode;
    }
    inode->mode = 0755;
    inode->untimed = true;
    tree->root = node_new(tree, NULL, &(struct component){"", 0}, inode);
    tree->root->implied = true;
    return tree;
}

void tree_free(struct tree *tree)
{
    if (tree == NULL) {
        return;
    }
    for (size_t i = 0; i < tree->bucket_count; i++) {
        for (struct node *node = tree->buckets[i], *next; node != NULL; node = next) {
            next = node->table_next;
            if (--node->inode->links == 0) {
                inode_free(node->inode);
            }
            free(node);
        }
    }
    free(tree->buckets);
    free(tree->name);
    free(tree);
}

void tree_watch(struct tree *tree, const struct tree_watch *watch)
{
    tree->watch = watch != NULL ? *watch : (struct tree_watch){0};
}

void tree_begin(struct tree *tree, unsigned layer, unsigned part, const char *name,
                enum layer_rules rules, bool untimed)
{
    free(tree->name);
    tree->name = xstrdup(name);
    tree->layer = layer;
    tree->part = part;
    tree->rules = rules;
    tree->untimed = untimed;
}

static void settle_inode(struct inode *inode, int64_t epoch)
{
    if (inode->untimed || inode->mtime > epoch || (inode->mtime == epoch && inode->mtime_ns > 0)) {
        inode->mtime = epoch;
        inode->mtime_ns = 0;
    }
    inode->first = NULL;
}

static int settle_first(void *data, struct node *node, struct error *err)
{
    (void)data;
    (void)err;
    if (node->inode->first == NULL) {
        node->inode->first = node;
    }
    return 0;
}

void tree_settle(struct tree *tree, int64_t epoch)
{
    struct error none = {0}; /* settle_first never fails */

    for (size_t i = 0; i < tree->bucket_count; i++) {
        for (struct node *node = tree->buckets[i]; node != NULL; node = node->table_next) {
            settle_inode(node->inode, epoch);
        }
    }
    (void)tree_walk(tree, settle_first, NULL, &none);
}

int64_t tree_newest(const struct tree *tree)
{
    return tree->newest;
}

size_t tree_paths(const struct tree *tree)
{
    return tree->count - 1;
}

/* --- paths ------------------------------------------------------------------------------- */

bool component_next(const char **cursor, struct component *ret)
{
    const char *at = *cursor;
    size_t length;

    do {
        at += strspn(at, "/");
        length = strcspn(at, "/");
        *ret = (struct component){at, length};
        at += length;
    } while (length == 1 && ret->text[0] == '.');
    *cursor = at;
    return length != 0;
}

bool component_is(const struct component *component, const char *text)
{
    return strlen(text) == component->length &&
           memcmp(component->text, text, component->length) == 0;
}

struct node *tree_find(const struct tree *tree, const char *path)
{
    struct node *node = tree->root;
    struct component name;

    while (node != NULL && component_next(&path, &name)) {
        node = node_child(tree, node, &name);
    }
    return node;
}

struct node *tree_resolve(const struct tree *tree, const char *path)
{
    struct follow follow = {.tree = tree};

    return follow_text(&follow, tree->root, path) == FOLLOW_DONE ? follow.at : NULL;
}

void node_path(const struct node *node, struct buf *buf)
{
    size_t size = 0;
    char *end;

    if (node->parent == NULL) {
        buf_putc(buf, '.');
        return;
    }
    for (const struct node *up = node; up->parent != NULL; up = up->parent) {
        size += up->length + 1u;
    }
    size--; /* no slash before the first */
    end = buf_reserve(buf, size) + size;
    *end = '\0';
    for (const struct node *up = node; up->parent != NULL; up = up->parent) {
        end -= up->length;
        memcpy(end, up->name, up->length);
        if (up->parent->parent != NULL) {
            *--end = '/';
        }
    }
    buf->size += size;
}

/* --- in order ---------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
    int order = memcmp(x->name, y->name, x->length < y->length ? x->length : y->length);

    return order != 0 ? order : (int)x->length - (int)y->length;
}

struct node **node_sorted(const struct node *node, size_t *ret_count)
{
    struct node **sorted;
    size_t count = 0;

    for (const struct node *child = node->children; child != NULL; child = child->next) {
        count++;
    }
    sorted = xmalloc(count * sizeof(struct node *));
    count = 0;
    for (struct node *child = node->children; child != NULL; child = child->next) {
        sorted[count++] = child;
    }
    qsort(sorted, count, sizeof(struct node *), by_name);
    *ret_count = count;
    return sorted;
}

/* Goes as deep as the tree, which has a limit. */
static int walk_node(struct node *node, tree_visit visit, void *data, struct error *err)
{
    SCOPED_FREE struct node **sorted = NULL;
    size_t count;
    int result = visit(data, node, err);

    if (result < 0 || node->children == NULL) {
        return result;
    }
    sorted = node_sorted(node, &count);
    for (size_t i = 0; i < count; i++) {
        result = walk_node(sorted[i], visit, data, err);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

int tree_walk(const struct tree *tree, tree_visit visit, void *data, struct error *err)
{
    int result = walk_node(tree->root, visit, data, err);

    return result < 0 ? result : 0;
}
