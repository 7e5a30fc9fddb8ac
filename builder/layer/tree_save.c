/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes: a head; every inode in ascending order of ids; every node, a directory before what is
 * in it, naming its inode by position in that list.
 *
 * Children come in the order of their list, oldest first, not in that of their names: the order
 * means nothing to the tree, but whiteouts and removals go along it and a watch hears of them so.
 * For the same reason each of several names of an inode tells its rank in inode->names.
 *
 * Not kept are node->passed and node->hidden. Both hold the ordinal of a part, plus 1, and are only
 * ever compared with that of the part being applied; parts rise, so to all that come after this one
 * they mean the same as 0.
 */
#include "layer/tree_save.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "layer/acl.h"
#include "layer/tree_inside.h"

#define FORMAT 0x3154534b /* "KST1"; another number when anything below changes */

/* Bytes that one takes at least. */
#define NODE_MIN (4 + 1 + 4 + 4)
#define INODE_MIN (4 + 1 + 1 + 3 * 4 + 8 + 4 + 4 + 4 + 8 + 4 + 4)
#define XATTR_MIN (4 + 4)
#define EXTENT_MIN (8 + 8)

#define FLAG_UNTIMED 1u
#define FLAG_CONTENT 2u

#define XATTR_NAME_LIMIT 255 /* bytes, XATTR_NAME_MAX of linux/limits.h */
#define SECOND_NS 1000000000u
#define LAST_ID_LIMIT INT32_MAX /* so that those to come do not begin anew */

static const char DAMAGED[] = "the cached state is damaged";

void tree_position(const struct tree *tree, unsigned *ret_layer, unsigned *ret_part)
{
    *ret_layer = tree->layer;
    *ret_part = tree->part;
}

/* --- saving: what goes where ------------------------------------------------------------- */

struct saved_inode {
    uint32_t id;
    const struct inode *inode;
};

/* One of several names of an inode. */
struct saved_name {
    const struct node *node;
    uint32_t rank;
};

struct save {
    struct buf *out;
    struct saved_inode *inodes; /* by id */
    size_t inode_count, inode_space;
    struct saved_name *names; /* by address, which nothing in the output shows */
    size_t name_count, name_space;
};

static void save_done(struct save *save)
{
    free(save->inodes);
    free(save->names);
}

static uint32_t count_children(const struct node *node, const struct node **ret_oldest)
{
    uint32_t count = 0;

    *ret_oldest = NULL;
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        *ret_oldest = child;
        count++;
    }
    return count;
}

/* The node after NODE in the order of the output, NULL after the last. */
static const struct node *node_after(const struct node *node)
{
    const struct node *oldest;

    if (count_children(node, &oldest) != 0) {
        return oldest;
    }
    while (node->parent != NULL && node->previous == NULL) {
        node = node->parent;
    }
    return node->previous;
}

static void note_inode(struct save *save, const struct inode *inode)
{
    uint32_t rank = 0;

    grow(&save->inodes, save->inode_count, &save->inode_space, sizeof(*save->inodes));
    save->inodes[save->inode_count++] = (struct saved_inode){inode->id, inode};
    if (inode->links == 1) {
        return;
    }
    for (const struct node *name = inode->names; name != NULL; name = name->same) {
        grow(&save->names, save->name_count, &save->name_space, sizeof(*save->names));
        save->names[save->name_count++] = (struct saved_name){name, rank++};
    }
}

static int by_id(const void *left, const void *right)
{
    uint32_t a = ((const struct saved_inode *)left)->id,
             b = ((const struct saved_inode *)right)->id;

    return a < b ? -1 : a > b;
}

static int by_address(const void *left, const void *right)
{
    uintptr_t a = (uintptr_t)((const struct saved_name *)left)->node;
    uintptr_t b = (uintptr_t)((const struct saved_name *)right)->node;

    return a < b ? -1 : a > b;
}

static void collect(struct save *save, const struct tree *tree)
{
    for (const struct node *node = tree->root; node != NULL; node = node_after(node)) {
        if (node->inode->names == node) {
            note_inode(save, node->inode);
        }
    }
    assert(save->inode_count != 0); /* the root's at least */
    qsort(save->inodes, save->inode_count, sizeof(*save->inodes), by_id);
    if (save->name_count != 0) {
        qsort(save->names, save->name_count, sizeof(*save->names), by_address);
    }
}

/* --- saving ------------------------------------------------------------------------------ */

static void save_file(struct buf *out, const struct inode *inode)
{
    pack_u64(out, inode->size);
    pack_u64(out, inode->data_bytes);
    pack_bytes(out, inode->sha256, sizeof(inode->sha256));
    pack_u32(out, (uint32_t)inode->extent_count);
    for (size_t i = 0; i < inode->extent_count; i++) {
        pack_u64(out, inode->extents[i].offset);
        pack_u64(out, inode->extents[i].size);
    }
    if (inode->content != NULL) {
        pack_bytes(out, inode->content, inode->size);
    }
}

static void save_kind(struct buf *out, const struct inode *inode)
{
    switch (inode->type) {
    case ENTRY_FILE:
        save_file(out, inode);
        break;
    case ENTRY_SYMLINK:
        pack_bytes(out, inode->target, strlen(inode->target));
        break;
    case ENTRY_CHARACTER:
    case ENTRY_BLOCK:
        pack_u32(out, inode->major);
        pack_u32(out, inode->minor);
        break;
    default:
        break;
    }
}

static void save_inode(struct buf *out, const struct inode *inode)
{
    unsigned flags =
        (inode->untimed ? FLAG_UNTIMED : 0) | (inode->content != NULL ? FLAG_CONTENT : 0);

    pack_u32(out, inode->id);
    pack_u8(out, (uint8_t)inode->type);
    pack_u8(out, (uint8_t)flags);
    pack_u32(out, inode->mode);
    pack_u32(out, inode->uid);
    pack_u32(out, inode->gid);
    pack_u64(out, (uint64_t)inode->mtime);
    pack_u32(out, inode->mtime_ns);
    pack_u32(out, inode->layer);
    pack_u32(out, inode->part);
    pack_u64(out, inode->sequence);
    pack_u32(out, inode->links);
    pack_u32(out, (uint32_t)inode->xattr_count);
    for (size_t i = 0; i < inode->xattr_count; i++) {
        pack_bytes(out, inode->xattrs[i].name, strlen(inode->xattrs[i].name));
        pack_bytes(out, inode->xattrs[i].value, inode->xattrs[i].size);
    }
    save_kind(out, inode);
}

static void save_node(const struct save *save, const struct node *node)
{
    struct saved_inode inode = {.id = node->inode->id}, *found;
    struct saved_name name = {.node = node}, *ranked;
    const struct node *oldest;

    found = bsearch(&inode, save->inodes, save->inode_count, sizeof(inode), by_id);
    pack_u32(save->out, node->part);
    pack_u8(save->out, node->implied);
    pack_u32(save->out, (uint32_t)(found - save->inodes));
    pack_bytes(save->out, node->name, node->length);
    if (node->inode->links > 1) {
        ranked = bsearch(&name, save->names, save->name_count, sizeof(name), by_address);
        pack_u32(save->out, ranked->rank);
    }
    if (node->inode->type == ENTRY_DIRECTORY) {
        pack_u32(save->out, count_children(node, &oldest));
    }
}

void tree_save(const struct tree *tree, struct buf *out)
{
    SCOPED(save_done) struct save save = {.out = out};

    collect(&save, tree);
    pack_u32(out, FORMAT);
    pack_u64(out, (uint64_t)tree->newest);
    pack_u32(out, tree->last_id);
    pack_u32(out, tree->layer);
    pack_u32(out, tree->part);
    pack_u32(out, (uint32_t)save.inode_count);
    for (size_t i = 0; i < save.inode_count; i++) {
        save_inode(out, save.inodes[i].inode);
    }
    for (const struct node *node = tree->root; node != NULL; node = node_after(node)) {
        save_node(&save, node);
    }
}

/* --- loading ----------------------------------------------------------------------------- */

struct loaded_inode {
    struct inode *inode; /* the tree's as soon as it has a name */
    uint32_t links;      /* names that it is to have */
    size_t first;        /* where they go in load->names */
};

/* A directory that still misses children. */
struct open_directory {
    struct node *node;
    uint32_t missing;
    size_t path; /* bytes of its path and a slash */
};

struct load {
    struct unpack *in;
    struct tree *tree;
    uint32_t last_id;

    struct loaded_inode *inodes;
    size_t inode_count;

    struct node **names; /* of each inode those of inode->names, in its order */
    size_t name_count;   /* that all inodes want */
    size_t node_count;   /* so far */

    struct open_directory *open; /* from the root down */
    size_t depth, open_space;
};

static void load_done(struct load *load)
{
    for (size_t i = 0; i < load->inode_count; i++) {
        struct inode *inode = load->inodes[i].inode;

        if (inode != NULL && inode->links == 0) {
            inode_clear_metadata(inode);
            inode_clear_data(load->tree, inode);
            free(inode);
        }
    }
    free(load->inodes);
    free(load->names);
    free(load->open);
}

static int damaged(const struct load *load, const char *how, struct error *err)
{
    return fail(err, FAIL_ERROR, "%s: %s", DAMAGED, load->in->bad ? "it ends too early" : how);
}

/* The SIZE bytes of TEXT as a new string; NULL when it cannot be one of 1 to LIMIT bytes. */
static char *string_of(const void *text, size_t size, size_t limit)
{
    char *string;

    if (size == 0 || size > limit || memchr(text, '\0', size) != NULL) {
        return NULL;
    }
    string = xmalloc(size + 1);
    memcpy(string, text, size);
    string[size] = '\0';
    return string;
}

/* --- loading inodes ---------------------------------------------------------------------- */

/* Code that makes text of ACLs takes them for checked, as readers of layers do. */
static int check_acl(const struct load *load, const struct inode *inode, const struct xattr *xattr,
                     struct error *err)
{
    bool access = strcmp(xattr->name, ACL_ACCESS) == 0;

    if (!access && strcmp(xattr->name, ACL_DEFAULT) != 0) {
        return 0;
    }
    if (inode->type == ENTRY_SYMLINK || (!access && inode->type != ENTRY_DIRECTORY)) {
        return damaged(load, "an ACL of what can have none", err);
    }
    if (acl_check(xattr->value, xattr->size, err) < 0) {
        return fail_while(err, "%s", DAMAGED);
    }
    return 0;
}

/* The next of INODE's attributes; *SUM are the bytes of those so far. */
static int load_xattr(const struct load *load, struct inode *inode, size_t *sum, struct error *err)
{
    struct xattr *xattr = &inode->xattrs[inode->xattr_count];
    const void *name, *value;
    size_t name_size, size;

    if (!unpack_bytes(load->in, &name, &name_size) || !unpack_bytes(load->in, &value, &size)) {
        return damaged(load, "", err);
    }
    *sum += name_size + size; /* at most what the input has */
    if (*sum > load->tree->limits.xattr_bytes) {
        return damaged(load, "more bytes of extended attributes than the limit", err);
    }
    xattr->name = string_of(name, name_size, XATTR_NAME_LIMIT);
    if (xattr->name == NULL) {
        return damaged(load, "the name of an extended attribute", err);
    }
    xattr->value = xmemdup(value, size);
    xattr->size = size;
    inode->xattr_count++;
    if (inode->xattr_count > 1 && strcmp(xattr[-1].name, xattr->name) >= 0) {
        return damaged(load, "the order of extended attributes", err);
    }
    return check_acl(load, inode, xattr, err);
}

static int load_xattrs(const struct load *load, struct inode *inode, struct error *err)
{
    uint32_t count = unpack_count(load->in, XATTR_MIN);
    size_t sum = 0;

    if (count == 0) {
        return 0;
    }
    inode->xattrs = xcalloc(count, sizeof(*inode->xattrs));
    for (uint32_t i = 0; i < count; i++) {
        if (load_xattr(load, inode, &sum, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A file has either no list, and is all data or none, or one of runs that do not overlap. */
static int load_extents(const struct load *load, struct inode *inode, struct error *err)
{
    uint32_t count = unpack_count(load->in, EXTENT_MIN);
    uint64_t end = 0, sum = 0;

    if (count == 0) {
        return inode->data_bytes == 0 || inode->data_bytes == inode->size
                   ? 0
                   : damaged(load, "a file's bytes of data", err);
    }
    inode->extents = xcalloc(count, sizeof(*inode->extents));
    inode->extent_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct extent *extent = &inode->extents[i];

        extent->offset = unpack_u64(load->in);
        extent->size = unpack_u64(load->in);
        if (extent->size == 0 || extent->offset < end ||
            __builtin_add_overflow(extent->offset, extent->size, &end) || end > inode->size) {
            return damaged(load, "a file's runs of data", err);
        }
        sum += extent->size;
    }
    return sum == inode->data_bytes ? 0 : damaged(load, "a file's bytes of data", err);
}

static int load_content(const struct load *load, struct inode *inode, struct error *err)
{
    const void *content;
    size_t size;

    if (!unpack_bytes(load->in, &content, &size) || size != inode->size ||
        inode->data_bytes != size || inode->extent_count != 0) {
        return damaged(load, "a file's content", err);
    }
    inode->content = xmalloc(size + 1);
    memcpy(inode->content, content, size);
    inode->content[size] = '\0'; /* for readers of text */
    return 0;
}

static int load_file(const struct load *load, struct inode *inode, bool content, struct error *err)
{
    const void *digest;
    size_t size;

    inode->size = unpack_u64(load->in);
    inode->data_bytes = unpack_u64(load->in);
    if (inode->size > INT64_MAX) {
        return damaged(load, "a file's size", err);
    }
    if (!unpack_bytes(load->in, &digest, &size) || size != sizeof(inode->sha256)) {
        return damaged(load, "a file's digest", err);
    }
    memcpy(inode->sha256, digest, size);
    if (load_extents(load, inode, err) < 0) {
        return -1;
    }
    return content ? load_content(load, inode, err) : 0;
}

static int load_target(const struct load *load, struct inode *inode, struct error *err)
{
    const void *target;
    size_t size;

    if (unpack_bytes(load->in, &target, &size)) {
        inode->target = string_of(target, size, TARGET_LIMIT);
    }
    return inode->target != NULL ? 0 : damaged(load, "the target of a symlink", err);
}

/* What an inode of its type has, CONTENT among it. */
static int load_kind(const struct load *load, struct inode *inode, bool content, struct error *err)
{
    switch (inode->type) {
    case ENTRY_FILE:
        return load_file(load, inode, content, err);
    case ENTRY_SYMLINK:
        return load_target(load, inode, err);
    case ENTRY_CHARACTER:
    case ENTRY_BLOCK:
        inode->major = unpack_u32(load->in);
        inode->minor = unpack_u32(load->in);
        return 0;
    default:
        return 0;
    }
}

/* Metadata that every inode has; false when a value cannot be. */
static bool load_metadata(const struct load *load, struct inode *inode)
{
    struct unpack *in = load->in;

    inode->mode = unpack_u32(in);
    inode->uid = unpack_u32(in);
    inode->gid = unpack_u32(in);
    inode->mtime = (int64_t)unpack_u64(in);
    inode->mtime_ns = unpack_u32(in);
    inode->layer = unpack_u32(in);
    inode->part = unpack_u32(in);
    inode->sequence = unpack_u64(in);
    return inode->mode <= 07777 && inode->mtime_ns < SECOND_NS &&
           inode->layer <= load->tree->layer && inode->part <= load->tree->part;
}

/* The root's is there with the tree. Ids ascend, so none comes twice. */
static struct inode *inode_at(const struct load *load, size_t index, uint32_t id, uint8_t type)
{
    struct inode *inode = load->tree->root->inode;
    uint32_t last = index != 0 ? load->inodes[index - 1].inode->id : 0;

    if (id <= last || id > load->last_id || type > ENTRY_FIFO || type == ENTRY_HARDLINK) {
        return NULL;
    }
    if (index == 0) {
        return id == inode->id && type == ENTRY_DIRECTORY ? inode : NULL;
    }
    inode = inode_new(load->tree, (enum entry_type)type);
    inode->id = id;
    return inode;
}

static int load_inode(struct load *load, size_t index, struct error *err)
{
    struct loaded_inode *loaded = &load->inodes[index];
    uint32_t id = unpack_u32(load->in);
    uint8_t type = unpack_u8(load->in), flags = unpack_u8(load->in);
    struct inode *inode = loaded->inode = inode_at(load, index, id, type);

    if (inode == NULL) {
        return damaged(load, "the id or type of an inode", err);
    }
    if (flags > (type == ENTRY_FILE ? FLAG_UNTIMED | FLAG_CONTENT : FLAG_UNTIMED) ||
        !load_metadata(load, inode)) {
        return damaged(load, "metadata that cannot be", err);
    }
    inode->untimed = (flags & FLAG_UNTIMED) != 0;
    loaded->links = unpack_u32(load->in);
    loaded->first = load->name_count;
    load->name_count += loaded->links;
    if (loaded->links == 0 || (type == ENTRY_DIRECTORY && loaded->links != 1)) {
        return damaged(load, "the number of an inode's names", err);
    }
    if (load_xattrs(load, inode, err) < 0) {
        return -1;
    }
    return load_kind(load, inode, (flags & FLAG_CONTENT) != 0, err);
}

static int load_inodes(struct load *load, struct error *err)
{
    size_t left;

    load->inode_count = unpack_count(load->in, INODE_MIN);
    load->inodes = xcalloc(load->inode_count, sizeof(*load->inodes));
    if (load->inode_count == 0) {
        return damaged(load, "nothing is in it", err);
    }
    for (size_t i = 0; i < load->inode_count; i++) {
        if (load_inode(load, i, err) < 0) {
            return -1;
        }
    }
    left = (size_t)(load->in->end - load->in->at);
    if (load->in->bad || load->name_count > left / NODE_MIN) {
        load->in->bad = true;
        return damaged(load, "", err);
    }
    return 0;
}

/* --- loading nodes ----------------------------------------------------------------------- */

static bool is_name(const struct component *name)
{
    return name->length != 0 && name->length <= NAME_LIMIT && !component_is(name, ".") &&
           !component_is(name, "..") && memchr(name->text, '/', name->length) == NULL &&
           memchr(name->text, '\0', name->length) == NULL &&
           (name->length < strlen(WHITEOUT) || memcmp(name->text, WHITEOUT, strlen(WHITEOUT)) != 0);
}

/* What is wrong with NAME in the directory that is open; NULL when nothing is. */
static const char *name_problem(const struct load *load, const struct component *name)
{
    const struct open_directory *parent = &load->open[load->depth - 1];

    if (!is_name(name)) {
        return "a name that cannot be";
    }
    if (load->depth > load->tree->limits.depth || parent->path + name->length > PATH_LIMIT) {
        return "a path longer than the limit";
    }
    if (tree_paths(load->tree) >= load->tree->limits.paths) {
        return "more paths than the limit";
    }
    return node_child(load->tree, parent->node, name) != NULL ? "a name that comes twice" : NULL;
}

/* The node for INODE, called NAME; the root, which comes first, is there with the tree. */
static struct node *place(const struct load *load, const struct component *name,
                          struct inode *inode, struct error *err)
{
    struct node *root = load->tree->root;
    const char *problem;

    if (load->depth == 0) {
        problem = inode == root->inode && name->length == 0 ? NULL : "the root";
    } else {
        problem = name_problem(load, name);
    }
    if (problem != NULL) {
        (void)damaged(load, problem, err);
        return NULL;
    }
    return load->depth == 0 ? root
                            : node_new(load->tree, load->open[load->depth - 1].node, name, inode);
}

/* Puts NODE where INODE's list of names wants it. */
static int rank_node(struct load *load, const struct loaded_inode *loaded, struct node *node,
                     struct error *err)
{
    uint32_t rank = loaded->links > 1 ? unpack_u32(load->in) : 0;

    if (rank >= loaded->links || load->names[loaded->first + rank] != NULL) {
        return damaged(load, "the order of an inode's names", err);
    }
    load->names[loaded->first + rank] = node;
    load->node_count++;
    return 0;
}

/* Goes into NODE, a directory, for the children that follow. */
static void open_directory(struct load *load, struct node *node)
{
    uint32_t children = unpack_count(load->in, NODE_MIN);
    size_t path = load->depth != 0 ? load->open[load->depth - 1].path + node->length + 1u : 0;

    grow(&load->open, load->depth, &load->open_space, sizeof(*load->open));
    load->open[load->depth++] = (struct open_directory){node, children, path};
}

static int load_node(struct load *load, struct error *err)
{
    uint32_t part = unpack_u32(load->in);
    uint8_t implied = unpack_u8(load->in);
    uint32_t index = unpack_u32(load->in);
    const struct loaded_inode *loaded = index < load->inode_count ? &load->inodes[index] : NULL;
    struct component name;
    const void *text;
    struct node *node;

    if (!unpack_bytes(load->in, &text, &name.length) || loaded == NULL || part > load->tree->part ||
        implied > (loaded->inode->type == ENTRY_DIRECTORY)) {
        return damaged(load, "a path's part or inode", err);
    }
    name.text = text;
    node = place(load, &name, loaded->inode, err);
    if (node == NULL || rank_node(load, loaded, node, err) < 0) {
        return -1;
    }
    node->part = part;
    node->implied = implied != 0;
    if (loaded->inode->type == ENTRY_DIRECTORY) {
        open_directory(load, node);
    }
    return 0;
}

static int load_nodes(struct load *load, struct error *err)
{
    load->names = xcalloc(load->name_count, sizeof(struct node *));
    if (load_node(load, err) < 0) {
        return -1;
    }
    while (load->depth > 0) {
        struct open_directory *open = &load->open[load->depth - 1];

        if (open->missing == 0) {
            load->depth--;
        } else {
            open->missing--;
            if (load_node(load, err) < 0) {
                return -1;
            }
        }
    }
    if (load->in->bad || load->node_count != load->name_count) {
        return damaged(load, "an inode without a name", err);
    }
    return 0;
}

/* Names were added as they came; this is the order they had. */
static void order_names(const struct load *load, const struct loaded_inode *loaded)
{
    struct node **names = &load->names[loaded->first];

    for (uint32_t i = 0; i < loaded->links; i++) {
        names[i]->same_previous = i != 0 ? names[i - 1] : NULL;
        names[i]->same = i + 1 < loaded->links ? names[i + 1] : NULL;
    }
    loaded->inode->names = names[0];
}

static int load_head(struct load *load, struct error *err)
{
    if (unpack_u32(load->in) != FORMAT) {
        return damaged(load, "it is of another format", err);
    }
    load->tree->newest = (int64_t)unpack_u64(load->in);
    load->last_id = unpack_u32(load->in);
    load->tree->layer = unpack_u32(load->in);
    load->tree->part = unpack_u32(load->in);
    return load->tree->newest >= -1 && load->last_id <= LAST_ID_LIMIT
               ? 0
               : damaged(load, "the newest time or id", err);
}

int tree_load(struct unpack *in, const struct tree_limits *limits, struct tree **ret,
              struct error *err)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(limits);
    SCOPED(load_done) struct load load = {.in = in, .tree = tree}; /* ends before its tree does */

    if (load_head(&load, err) < 0 || load_inodes(&load, err) < 0 || load_nodes(&load, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < load.inode_count; i++) {
        order_names(&load, &load.inodes[i]);
    }
    tree->last_id = load.last_id;
    *ret = TAKE(tree);
    return 0;
}
