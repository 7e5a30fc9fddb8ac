/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry applied to the tree. "Own" is what the part being applied put there, "lower" what the
 * parts before it did. Whiteouts take away what is lower and nothing else, so it does not matter
 * where in its part one stands; where it would matter, because entries before it went through a
 * symlink that it takes away, it is refused.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "layer/tree_inside.h"

#define PATH_SHOWN 800 /* bytes of a path in a message */

#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

enum role {
    ROLE_PLAIN,
    ROLE_WHITEOUT,
    ROLE_OPAQUE,
    ROLE_SKIPPED, /* bookkeeping of aufs */
};

/* What a path is walked for. */
enum purpose {
    FOR_ENTRY,    /* parents are made */
    FOR_WHITEOUT, /* nothing is made, nothing missed */
    FOR_TARGET,   /* of a hard link: nothing is made or marked */
};

struct fold {
    struct tree *tree;
    const struct entry *entry;
    uint64_t sequence;
};

/* Where a path leads: NODE is there or will be, under NAME in PARENT (NULL for the root). */
struct place {
    struct node *parent;
    struct component name;
    struct node *node;
};

static bool is_own(const struct tree *tree, const struct node *node)
{
    return node->part == tree->part;
}

static bool is_directory(const struct node *node)
{
    return node->inode->type == ENTRY_DIRECTORY;
}

static bool starts_with(const struct component *name, const char *prefix)
{
    return name->length >= strlen(prefix) && memcmp(name->text, prefix, strlen(prefix)) == 0;
}

/* --- paths as they are written ----------------------------------------------------------- */

static int check_component(const struct component *name, struct error *err)
{
    if (component_is(name, "..")) {
        return fail(err, FAIL_ERROR, "'..' in a path");
    }
    if (name->length > NAME_LIMIT) {
        return fail(err, FAIL_ERROR, "a name of %zu bytes, at most %d are possible", name->length,
                    NAME_LIMIT);
    }
    return 0;
}

/* Refuses what no path of a layer may be, before anything is changed. */
static int check_path(const struct tree *tree, const char *path, struct error *err)
{
    size_t length = strlen(path), depth = 0;
    struct component name;

    if (path[0] == '/') {
        fail(err, FAIL_ERROR, "absolute path");
        return fail_hint(err, "pack with relative names, as 'tar -C DIR -c .' does");
    }
    if (length > PATH_LIMIT) {
        return fail(err, FAIL_ERROR, "a path of %zu bytes, the limit is %d", length, PATH_LIMIT);
    }
    while (component_next(&path, &name)) {
        if (check_component(&name, err) < 0) {
            return -1;
        }
        depth++;
    }
    if (depth > tree->limits.depth) {
        return fail(err, FAIL_ERROR, "a path of %zu components, the limit is %zu", depth,
                    tree->limits.depth);
    }
    return 0;
}

static int whiteout_role(const struct component *name, bool last, enum role *ret, struct error *err)
{
    struct component hidden = {name->text + strlen(WHITEOUT), name->length - strlen(WHITEOUT)};

    if (starts_with(name, WHITEOUT_META) && !component_is(name, WHITEOUT_OPAQUE)) {
        *ret = ROLE_SKIPPED;
        return 0;
    }
    if (!last) {
        return fail(err, FAIL_ERROR, "a path below the whiteout '%.*s'", (int)name->length,
                    name->text);
    }
    if (hidden.length == 0 || component_is(&hidden, ".") || component_is(&hidden, "..")) {
        return fail(err, FAIL_ERROR, "a whiteout that names nothing");
    }
    *ret = component_is(name, WHITEOUT_OPAQUE) ? ROLE_OPAQUE : ROLE_WHITEOUT;
    return 0;
}

static int find_role(const char *path, enum role *ret, struct error *err)
{
    enum role role = ROLE_PLAIN;
    struct component name, next;
    bool more = component_next(&path, &name);

    while (more && role == ROLE_PLAIN) {
        more = component_next(&path, &next);
        if (starts_with(&name, WHITEOUT) && whiteout_role(&name, !more, &role, err) < 0) {
            return -1;
        }
        name = next;
    }
    *ret = role;
    return 0;
}

/* --- what an entry makes ----------------------------------------------------------------- */

static void stamp(const struct fold *fold, struct inode *inode)
{
    inode->layer = fold->tree->layer;
    inode->part = fold->tree->part;
    inode->sequence = fold->sequence;
}

/* The metadata of a directory that nobody described. */
static void imply(const struct fold *fold, struct inode *inode)
{
    inode_clear_metadata(inode);
    inode->mode = 0755;
    inode->uid = 0;
    inode->gid = 0;
    inode->mtime = 0;
    inode->mtime_ns = 0;
    inode->untimed = true;
    stamp(fold, inode);
}

static void note_time(const struct fold *fold)
{
    struct tree *tree = fold->tree;
    int64_t time = entry_time_up(fold->entry);

    if (!tree->untimed && time > tree->newest) {
        tree->newest = time;
    }
}

static void copy_xattrs(struct inode *inode, const struct entry *entry)
{
    if (entry->xattr_count == 0) {
        return;
    }
    inode->xattrs = xcalloc(entry->xattr_count, sizeof(*inode->xattrs));
    inode->xattr_count = entry->xattr_count;
    for (size_t i = 0; i < entry->xattr_count; i++) {
        inode->xattrs[i].name = xstrdup(entry->xattrs[i].name);
        inode->xattrs[i].value = xmemdup(entry->xattrs[i].value, entry->xattrs[i].size);
        inode->xattrs[i].size = entry->xattrs[i].size;
    }
}

/* Gives INODE, whose type is the entry's, everything the entry says. */
static void describe(const struct fold *fold, struct inode *inode)
{
    const struct entry *entry = fold->entry;

    inode_clear_metadata(inode);
    inode->mode = entry->mode & 07777;
    inode->uid = entry->uid;
    inode->gid = entry->gid;
    inode->mtime = entry->mtime;
    inode->mtime_ns = entry->mtime_ns;
    inode->untimed = fold->tree->untimed;
    copy_xattrs(inode, entry);
    if (entry->type == ENTRY_CHARACTER || entry->type == ENTRY_BLOCK) {
        inode->major = entry->major;
        inode->minor = entry->minor;
    }
    if (entry->type == ENTRY_FILE) {
        inode->size = entry->size;
    }
    if (entry->type == ENTRY_SYMLINK) {
        inode->target = xstrdup(entry->target);
    }
    stamp(fold, inode);
    note_time(fold);
    inode_changed(fold->tree, inode);
}

static int check_xattrs(const struct fold *fold, struct error *err)
{
    const struct entry *entry = fold->entry;
    size_t limit = fold->tree->limits.xattr_bytes, sum = 0;

    for (size_t i = 0; i < entry->xattr_count; i++) {
        if (__builtin_add_overflow(sum, strlen(entry->xattrs[i].name), &sum) ||
            __builtin_add_overflow(sum, entry->xattrs[i].size, &sum) || sum > limit) {
            return fail(err, FAIL_ERROR,
                        "more than %zu bytes of extended attributes, which is the limit", limit);
        }
    }
    return 0;
}

static int check_entry(const struct fold *fold, struct error *err)
{
    const struct entry *entry = fold->entry;

    if (entry->type == ENTRY_SYMLINK && (entry->target == NULL || entry->target[0] == '\0')) {
        return fail(err, FAIL_ERROR, "a symlink without a target");
    }
    if (entry->type == ENTRY_SYMLINK && strlen(entry->target) > TARGET_LIMIT) {
        return fail(err, FAIL_ERROR, "a symlink to %zu bytes, the limit is %d",
                    strlen(entry->target), TARGET_LIMIT);
    }
    if (entry->type == ENTRY_CHARACTER && entry->major == 0 && entry->minor == 0 &&
        fold->tree->rules == RULES_OCI) {
        fail(err, FAIL_ERROR, "character device 0:0, a whiteout of overlayfs");
        return fail_hint(err, "OCI layers remove by files named '.wh.NAME'");
    }
    return check_xattrs(fold, err);
}

/* --- nodes placed ------------------------------------------------------------------------ */

/* Symlinks may make a place deeper, and its path longer, than the entry's own path is. */
static int check_room(const struct tree *tree, const struct place *place, struct error *err)
{
    size_t depth = 1, bytes = place->name.length;

    for (const struct node *up = place->parent; up->parent != NULL; up = up->parent) {
        depth++;
        bytes += up->length + 1u;
    }
    if (depth > tree->limits.depth || bytes > PATH_LIMIT) {
        return fail(err, FAIL_ERROR,
                    "symlinks lead it to %zu components and %zu bytes, the limits are %zu and %d",
                    depth, bytes, tree->limits.depth, PATH_LIMIT);
    }
    if (tree_paths(tree) >= tree->limits.paths) {
        return fail(err, FAIL_ERROR, "more than %zu paths, which is the limit", tree->limits.paths);
    }
    return 0;
}

/* Puts INODE, new or one that has other names, at PLACE; a new one is the tree's from here on. */
static int put(struct tree *tree, struct place *place, struct inode *inode, struct error *err)
{
    if (place->node != NULL) {
        node_replace(tree, place->node, inode);
        return 0;
    }
    if (check_room(tree, place, err) < 0) {
        if (inode->links == 0) {
            free(inode);
        }
        return -1;
    }
    place->node = node_new(tree, place->parent, &place->name, inode);
    return 0;
}

static int put_implied(const struct fold *fold, struct place *place, struct error *err)
{
    struct inode *inode = inode_new(fold->tree, ENTRY_DIRECTORY);

    imply(fold, inode);
    if (put(fold->tree, place, inode, err) < 0) {
        return -1;
    }
    place->node->implied = true;
    inode_changed(fold->tree, inode);
    return 0;
}

/* --- walking to a place ------------------------------------------------------------------ */

struct walk {
    const struct fold *fold;
    enum purpose purpose;
    struct follow follow;
};

static int fail_own(const struct node *node, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    node_path(node, &path);
    if (node->inode->type == ENTRY_SYMLINK) {
        return fail(err, FAIL_ERROR, "path crosses the symlink '%s' of its own archive", path.data);
    }
    return fail(err, FAIL_ERROR, "'%s' of its own archive is not a directory", path.data);
}

static int fail_follow(enum follow_result result, const struct node *link, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    node_path(link, &path);
    if (result == FOLLOW_LOOP) {
        return fail(err, FAIL_ERROR, "more than %d symlinks on its way, the last at '%s'",
                    FOLLOW_LINKS, path.data);
    }
    return fail(err, FAIL_ERROR, "on its way the symlink '%s' leads to %s", path.data,
                result == FOLLOW_MISSING ? "nothing" : "what is not a directory");
}

/* A lower part's symlink as a parent: *RET stays as it is when it leads to no directory. */
static int enter_link(struct walk *walk, struct node *link, struct node **ret, struct error *err)
{
    enum follow_result result = follow_link(&walk->follow, link);

    if (result == FOLLOW_OWN) {
        return fail_own(walk->follow.at, err);
    }
    if (result == FOLLOW_DONE && !is_directory(walk->follow.at)) {
        result = FOLLOW_NOT_DIRECTORY;
    }
    if (result == FOLLOW_DONE) {
        *ret = walk->follow.at;
        return 0;
    }
    return walk->purpose == FOR_ENTRY ? fail_follow(result, link, err) : 0;
}

/* Goes into the directory at PLACE: *RET is where that is, NULL when it is missing. */
static int enter(struct walk *walk, struct place *place, struct node **ret, struct error *err)
{
    const struct tree *tree = walk->fold->tree;
    struct node *node = place->node;

    *ret = NULL;
    if (node != NULL && is_directory(node)) {
        *ret = node;
        return 0;
    }
    if (node != NULL && is_own(tree, node)) {
        return fail_own(node, err);
    }
    if (node != NULL && node->inode->type == ENTRY_SYMLINK && tree->rules == RULES_MERGE) {
        return enter_link(walk, node, ret, err);
    }
    if (walk->purpose == FOR_ENTRY) {
        if (put_implied(walk->fold, place, err) < 0) {
            return -1;
        }
        *ret = place->node;
    }
    return 0;
}

/* Finds the place of PATH: false in *RET_FOUND when a parent is missing. */
static int find_place(const struct fold *fold, const char *path, enum purpose purpose,
                      struct place *ret, bool *ret_found, struct error *err)
{
    struct tree *tree = fold->tree;
    struct walk walk = {
        .fold = fold,
        .purpose = purpose,
        .follow = {.tree = tree,
                   .fenced = true,
                   .mark_links = purpose != FOR_TARGET,
                   .mark_directories = purpose == FOR_ENTRY},
    };
    struct place place = {.node = tree->root};
    struct component name;

    *ret_found = true;
    while (*ret_found && component_next(&path, &name)) {
        struct node *parent;

        if (enter(&walk, &place, &parent, err) < 0) {
            return -1;
        }
        *ret_found = parent != NULL;
        if (parent != NULL) {
            place = (struct place){parent, name, node_child(tree, parent, &name)};
        }
    }
    *ret = place;
    return 0;
}

/* --- whiteouts --------------------------------------------------------------------------- */

/* Takes NODE, below which all that is lower has gone, away if it is lower itself. */
static int hide_node(const struct fold *fold, struct node *node, struct error *err)
{
    struct tree *tree = fold->tree;

    if (is_own(tree, node)) {
        return 0;
    }
    if (node->children != NULL) { /* own ones, in a directory that their part did not describe */
        imply(fold, node->inode);
        inode_changed(fold->tree, node->inode);
        node->part = tree->part;
        node->implied = true;
        return 0;
    }
    if (node->passed == tree->part + 1) {
        SCOPED(buf_done) struct buf path = {0};

        node_path(node, &path);
        fail(err, FAIL_ERROR, "hides '%s', which paths before it in its archive went through",
             path.data);
        return fail_hint(err, "pack whiteouts before what replaces them");
    }
    node_remove(tree, node);
    return 0;
}

/*
 * Takes away all that is lower below TOP. Directories are marked, so that each is searched once
 * for a part however many whiteouts it has: nothing lower can come there later.
 */
static int hide_below(const struct fold *fold, struct node *top, struct error *err)
{
    unsigned mark = fold->tree->part + 1;
    struct node *node = top->hidden == mark ? NULL : top->children;

    top->hidden = mark;
    while (node != NULL) {
        struct node *next = node->next, *parent = node->parent;

        if (node->children != NULL && node->hidden != mark) {
            node->hidden = mark;
            node = node->children;
            continue;
        }
        if (hide_node(fold, node, err) < 0) {
            return -1;
        }
        node = next != NULL ? next : parent != top ? parent : NULL;
    }
    return 0;
}

static int apply_whiteout(const struct fold *fold, enum role role, struct error *err)
{
    struct place place;
    struct component name;
    struct node *node;
    bool found;

    if (find_place(fold, fold->entry->path, FOR_WHITEOUT, &place, &found, err) < 0) {
        return -1;
    }
    if (!found) {
        return 0;
    }
    assert(place.parent != NULL); /* its path has a name at least, that of the whiteout */
    if (role == ROLE_OPAQUE) {
        return hide_below(fold, place.parent, err);
    }
    name.text = place.name.text + strlen(WHITEOUT);
    name.length = place.name.length - strlen(WHITEOUT);
    node = node_child(fold->tree, place.parent, &name);
    if (node == NULL) {
        return 0;
    }
    return hide_below(fold, node, err) < 0 ? -1 : hide_node(fold, node, err);
}

/* --- entries ----------------------------------------------------------------------------- */

/* True in *RET when a directory at NODE is to leave the lower symlink there as it is. */
static int keeps_link(const struct fold *fold, struct node *node, bool *ret, struct error *err)
{
    struct follow follow = {
        .tree = fold->tree, .fenced = true, .mark_links = true, .mark_directories = true};
    enum follow_result result;

    *ret = false;
    if (fold->tree->rules != RULES_MERGE || node == NULL || is_own(fold->tree, node) ||
        node->inode->type != ENTRY_SYMLINK) {
        return 0;
    }
    result = follow_link(&follow, node);
    if (result == FOLLOW_OWN) {
        return fail_own(follow.at, err);
    }
    *ret = result == FOLLOW_DONE && is_directory(follow.at);
    return 0;
}

static int apply_directory(const struct fold *fold, struct place *place, struct error *err)
{
    bool kept;

    if (keeps_link(fold, place->node, &kept, err) < 0) {
        return -1;
    }
    if (kept) {
        return 0;
    }
    if ((place->node == NULL || !is_directory(place->node)) &&
        put(fold->tree, place, inode_new(fold->tree, ENTRY_DIRECTORY), err) < 0) {
        return -1;
    }
    describe(fold, place->node->inode);
    place->node->part = fold->tree->part;
    place->node->implied = false;
    return 0;
}

static int apply_other(const struct fold *fold, struct place *place, struct inode **ret,
                       struct error *err)
{
    if (put(fold->tree, place, inode_new(fold->tree, fold->entry->type), err) < 0) {
        return -1;
    }
    describe(fold, place->node->inode);
    *ret = fold->entry->type == ENTRY_FILE ? place->node->inode : NULL;
    return 0;
}

static bool is_below(const struct node *node, const struct node *top)
{
    while (node != NULL && node != top) {
        node = node->parent;
    }
    return node != NULL;
}

/* The node a hard link names, which goes to PLACE; NULL when there is none that it may. */
static struct node *find_target(const struct fold *fold, const struct place *place,
                                struct error *err)
{
    struct place target;
    bool found;

    if (check_path(fold->tree, fold->entry->target, err) < 0 ||
        find_place(fold, fold->entry->target, FOR_TARGET, &target, &found, err) < 0) {
        return NULL;
    }
    if (!found || target.node == NULL) {
        fail(err, FAIL_ERROR, "there is no such file");
        return NULL;
    }
    if (is_directory(target.node)) {
        fail(err, FAIL_ERROR, "that is a directory");
        return NULL;
    }
    if (place->node != NULL && target.node != place->node && is_below(target.node, place->node)) {
        fail(err, FAIL_ERROR, "that lies in the directory which the link replaces");
        return NULL;
    }
    return target.node;
}

static int bring_data(const struct fold *fold, struct inode *inode, struct error *err)
{
    if (inode->type != ENTRY_FILE) {
        return fail(err, FAIL_ERROR, "a hard link with data to what is not a file");
    }
    inode_clear_data(fold->tree, inode);
    inode->size = fold->entry->size;
    stamp(fold, inode);
    return 0;
}

static int apply_hardlink(const struct fold *fold, struct place *place, struct inode **ret,
                          struct error *err)
{
    const char *text = fold->entry->target != NULL ? fold->entry->target : "";
    bool brings = fold->entry->size > 0;
    struct node *target;

    if (text[0] == '\0') {
        return fail(err, FAIL_ERROR, "a hard link without a target");
    }
    target = find_target(fold, place, err);
    if (target == NULL) {
        return fail_while(err, "hard link to '%.*s%s'", PATH_SHOWN, text,
                          strlen(text) > PATH_SHOWN ? "..." : "");
    }
    if (brings && bring_data(fold, target->inode, err) < 0) {
        return -1;
    }
    if (place->node == NULL || place->node->inode != target->inode) {
        if (put(fold->tree, place, target->inode, err) < 0) {
            return -1;
        }
    } else if (place->node != target || brings) {
        place->node->part = fold->tree->part;
    }
    *ret = brings ? place->node->inode : NULL;
    return 0;
}

static int apply_plain(const struct fold *fold, struct inode **ret, struct error *err)
{
    enum entry_type type = fold->entry->type;
    struct inode *inode = NULL;
    struct place place;
    bool found; /* always: parents are made */
    int result;

    if (check_entry(fold, err) < 0 ||
        find_place(fold, fold->entry->path, FOR_ENTRY, &place, &found, err) < 0) {
        return -1;
    }
    if (place.parent == NULL && type != ENTRY_DIRECTORY) {
        return fail(err, FAIL_ERROR, "the root is a directory and nothing else");
    }
    result = type == ENTRY_DIRECTORY  ? apply_directory(fold, &place, err)
             : type == ENTRY_HARDLINK ? apply_hardlink(fold, &place, &inode, err)
                                      : apply_other(fold, &place, &inode, err);
    if (result == 0) {
        *ret = inode;
    }
    return result;
}

static int apply_checked(const struct fold *fold, struct inode **ret, struct error *err)
{
    enum role role;

    if (check_path(fold->tree, fold->entry->path, err) < 0 ||
        find_role(fold->entry->path, &role, err) < 0) {
        return -1;
    }
    if (role == ROLE_PLAIN) {
        return apply_plain(fold, ret, err);
    }
    if (role != ROLE_SKIPPED && apply_whiteout(fold, role, err) < 0) {
        return -1;
    }
    *ret = NULL;
    return 0;
}

int tree_apply(struct tree *tree, const struct entry *entry, uint64_t sequence, struct inode **ret,
               struct error *err)
{
    struct fold fold = {.tree = tree, .entry = entry, .sequence = sequence};

    if (apply_checked(&fold, ret, err) < 0) {
        return fail_while(err, "layer '%.100s': '%.*s%s'", tree->name, PATH_SHOWN, entry->path,
                          strlen(entry->path) > PATH_SHOWN ? "..." : "");
    }
    return 0;
}
