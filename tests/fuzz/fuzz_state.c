/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a saved tree: either they are refused, or the tree saves as these very bytes, holds
 * together, and a fold goes on with it to what can be saved and loaded again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer/tree_save.h"

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: does not hold: %s\n", __LINE__, #condition);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const struct tree_limits LIMITS = {.paths = 1000, .depth = 12, .xattr_bytes = 256};
static const char REFUSAL[] = "the cached state is damaged: ";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct node *node)
{
    const struct inode *inode = node->inode;
    const struct node *before = NULL;
    unsigned names = 0;

    for (const struct node *name = inode->names; name != NULL; name = name->same) {
        HOLDS(name->inode == inode && name->same_previous == before);
        before = name;
        names++;
    }
    HOLDS(names == inode->links);
    HOLDS(inode->type != ENTRY_DIRECTORY || names == 1);
}

/* Touches all that the tree has, so that a sanitizer sees a wrong pointer or size. */
static int check_node(void *data, struct node *node, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};
    const struct inode *inode = node->inode;
    uint64_t end = 0;

    (void)err;
    if (inode->names == node) {
        check_names(node);
    }
    node_path(node, &path);
    HOLDS(tree_find(data, path.data) == node);
    (void)tree_resolve(data, path.data);
    HOLDS(strlen(node->name) == node->length && strchr(node->name, '/') == NULL);
    HOLDS(node->children == NULL || inode->type == ENTRY_DIRECTORY);
    HOLDS((inode->type == ENTRY_SYMLINK) == (inode->target != NULL && inode->target[0] != '\0'));
    HOLDS(inode->content == NULL || strlen(inode->content) <= inode->size);
    for (size_t i = 0; i < inode->extent_count; i++) {
        HOLDS(inode->extents[i].offset >= end);
        end = inode->extents[i].offset + inode->extents[i].size;
        HOLDS(end <= inode->size && end > inode->extents[i].offset);
    }
    return 0;
}

static void check_tree(const struct tree *tree)
{
    struct error *err = xcalloc(1, sizeof(*err));

    HOLDS(tree_walk(tree, check_node, (void *)tree, err) == 0);
    free(err);
}

/* One part more, over what is likely to be there. */
static void go_on(struct tree *tree)
{
    static const struct entry entries[] = {
        {.path = "a/.wh.b", .type = ENTRY_FILE},
        {.path = "b", .type = ENTRY_HARDLINK, .target = "a", .size = 1},
        {.path = "d/e", .type = ENTRY_FILE, .mtime = 1, .size = 3},
        {.path = "etc/.wh..wh..opq", .type = ENTRY_FILE},
        {.path = "a", .type = ENTRY_SYMLINK, .target = "d"},
        {.path = "etc", .type = ENTRY_DIRECTORY},
    };
    unsigned layer, part;

    tree_position(tree, &layer, &part);
    if (layer == UINT32_MAX || part == UINT32_MAX) {
        return; /* there is no next one */
    }
    tree_begin(tree, layer + 1, part + 1, "fuzz", RULES_MERGE, true);
    for (size_t i = 0; i < COUNT(entries); i++) {
        struct error *err = xcalloc(1, sizeof(*err));
        struct inode *inode;

        (void)tree_apply(tree, &entries[i], i, &inode, err);
        free(err);
    }
}

/* A tree of SIZE bytes at DATA or, where MAY_FAIL and they are none, NULL. */
static struct tree *load(const void *data, size_t size, bool may_fail)
{
    SCOPED(buf_done) struct buf again = {0};
    struct unpack in = {.at = data, .end = (const uint8_t *)data + size};
    struct error *err = xcalloc(1, sizeof(*err));
    struct tree *tree = NULL;

    if (tree_load(&in, &LIMITS, &tree, err) < 0) {
        HOLDS(may_fail && tree == NULL && err->kind == FAIL_ERROR);
        HOLDS(strncmp(err->message, REFUSAL, strlen(REFUSAL)) == 0);
    } else {
        tree_save(tree, &again);
        HOLDS(!in.bad && again.size == (size_t)(in.at - (const uint8_t *)data));
        HOLDS(memcmp(again.data, data, again.size) == 0);
    }
    free(err);
    return tree;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(tree_freep) struct tree *tree = load(data, size, true), *next = NULL;
    SCOPED(buf_done) struct buf bytes = {0};

    if (tree == NULL) {
        return 0;
    }
    check_tree(tree);
    go_on(tree);
    check_tree(tree);
    tree_save(tree, &bytes);
    next = load(bytes.data, bytes.size, false);
    tree_settle(next, 50);
    check_tree(next);
    return 0;
}
