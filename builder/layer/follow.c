/* SPDX-License-Identifier: Apache-2.0 */
/* Symlinks, followed as chroot into the tree would: nothing leads out of it. */
#include "layer/tree_inside.h"

/* Paths of which a part is still to be walked, outermost first. */
struct pending {
    const char *rest[FOLLOW_LINKS + 1];
    unsigned top;
};

/* True when something follows that only a directory can take, if only a slash. */
static bool more_follows(const struct pending *pending)
{
    for (unsigned i = 0; i <= pending->top; i++) {
        if (*pending->rest[i] != '\0') {
            return true;
        }
    }
    return false;
}

static bool next_pending(struct pending *pending, struct component *ret)
{
    while (!component_next(&pending->rest[pending->top], ret)) {
        if (pending->top == 0) {
            return false;
        }
        pending->top--;
    }
    return true;
}

static enum follow_result cross(struct follow *follow, struct pending *pending, struct node *link)
{
    const struct tree *tree = follow->tree;

    follow->at = link;
    if (follow->fenced && link->part == tree->part) {
        return FOLLOW_OWN;
    }
    if (++follow->links > FOLLOW_LINKS) {
        return FOLLOW_LOOP;
    }
    if (follow->mark_links) {
        link->passed = tree->part + 1;
    }
    follow->at = link->inode->target[0] == '/' ? tree->root : link->parent;
    pending->rest[++pending->top] = link->inode->target;
    return FOLLOW_DONE;
}

/* One component on from the directory follow->at, which becomes what is there. */
static enum follow_result step(struct follow *follow, struct pending *pending,
                               const struct component *name)
{
    struct node *child;

    if (component_is(name, "..")) {
        follow->at = follow->at->parent != NULL ? follow->at->parent : follow->at;
        return FOLLOW_DONE;
    }
    child = node_child(follow->tree, follow->at, name);
    if (child == NULL) {
        return FOLLOW_MISSING;
    }
    if (child->inode->type == ENTRY_SYMLINK) {
        return cross(follow, pending, child);
    }
    follow->at = child;
    if (child->inode->type != ENTRY_DIRECTORY && more_follows(pending)) {
        return FOLLOW_NOT_DIRECTORY;
    }
    if (follow->mark_directories) {
        child->passed = follow->tree->part + 1;
    }
    return FOLLOW_DONE;
}

static enum follow_result run(struct follow *follow, struct pending *pending)
{
    enum follow_result result = FOLLOW_DONE;
    struct component name;

    while (result == FOLLOW_DONE && next_pending(pending, &name)) {
        result = step(follow, pending, &name);
    }
    return result;
}

enum follow_result follow_text(struct follow *follow, struct node *start, const char *text)
{
    struct pending pending = {.rest = {text}};

    follow->at = start;
    return run(follow, &pending);
}

enum follow_result follow_link(struct follow *follow, struct node *link)
{
    struct pending pending = {.rest = {""}};
    enum follow_result result = cross(follow, &pending, link);

    return result == FOLLOW_DONE ? run(follow, &pending) : result;
}
