/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged root file system: path -> inode -> the layer it came from. Applying a layer's entries
 * in order is a pure fold; the tree holds metadata only, the data stays in its archive and is found
 * again by (part, sequence).
 */
#ifndef LAYER_TREE_H
#define LAYER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "layer/entry.h"
#include "layer/layer.h"
#include "layer/pax.h"

struct node;

struct inode {
    uint32_t id; /* from 1 (the root) in order of arrival; of this tree, never used again */
    enum entry_type type; /* never ENTRY_HARDLINK */
    uint32_t mode, uid, gid;
    int64_t mtime;
    uint32_t mtime_ns;
    uint32_t major, minor;
    uint64_t size;        /* files: apparent */
    uint64_t data_bytes;  /* files: without holes */
    char *target;         /* symlinks */
    struct xattr *xattrs; /* owned, sorted by name */
    size_t xattr_count;
    struct extent *extents; /* of a file with holes; NULL when it has none */
    size_t extent_count;
    uint8_t sha256[HASH_SIZE]; /* files: of the content, holes as zeros */

    unsigned layer;    /* index of the layer that brought it */
    unsigned part;     /* ordinal over all parts of all layers */
    uint64_t sequence; /* which entry of its part brought its data */
    bool untimed;      /* mtime is to be the epoch */
    char *content;     /* files kept in memory (small ones somebody asked for, generated ones) */

    struct node *names; /* every path, linked by node->same */
    struct node *first; /* the first of them in the order of tree_walk; set by tree_settle */
    unsigned links;
};

struct node {
    struct node *parent;        /* NULL for the root */
    struct node *same;          /* next name of the same inode */
    struct node *same_previous; /* NULL for inode->names */
    struct node *table_next;    /* the tree's own: next in the same bucket */
    struct inode *inode;
    struct node *children; /* directories: first child, linked by next; order means nothing */
    struct node *next, *previous;
    unsigned part;   /* the part that put this name here last */
    unsigned passed; /* the tree's own: the last part, plus 1, whose entries a symlink led here */
    unsigned hidden; /* the tree's own: the last part, plus 1, that hid what lay lower in here */
    uint32_t hash;   /* the tree's own */
    uint16_t length;
    bool implied; /* a directory nobody described */
    char name[];  /* any bytes but '/' and NUL; NUL-terminated */
};

/* What a hostile layer may not exceed; 0 members take the defaults. */
struct tree_limits {
    size_t paths;       /* default 8 Mi */
    size_t depth;       /* components of a path, default 256 */
    size_t xattr_bytes; /* of one inode, names and values, default 64 KiB */
};

struct tree;

struct tree *tree_new(const struct tree_limits *limits);
void tree_free(struct tree *tree);
SCOPE_DEFINE(tree, tree_free)

/*
 * Tells whoever keeps something of his own for each inode (an engine that has put its data on a
 * disk already) what becomes of them. None may touch the tree.
 */
struct tree_watch {
    void (*changed)(void *data,
                    struct inode *inode); /* is new, or has other metadata or names below
                                             it; more than once in a part, maybe */
    void (*cleared)(void *data, struct inode *inode); /* its content goes, it stays */
    void (*gone)(void *data, struct inode *inode);    /* its last name went, and it goes */
    void *data;
};

/* WATCH is copied; NULL ends it. Inodes that are there already are not told of. */
void tree_watch(struct tree *tree, const struct tree_watch *watch);

/* What follows comes from part ordinal PART (rising from 0) of layer LAYER, called NAME. */
void tree_begin(struct tree *tree, unsigned layer, unsigned part, const char *name,
                enum layer_rules rules, bool untimed);

/*
 * Applies entry number SEQUENCE of the part. Errors name layer and path. *RET is the inode that
 * takes the entry's data (a file, or a hard link that brings data), else NULL.
 */
int tree_apply(struct tree *tree, const struct entry *entry, uint64_t sequence, struct inode **ret,
               struct error *err);

/* Gives inodes and implied directories without a time of their own EPOCH, and no inode a later one.
 */
void tree_settle(struct tree *tree, int64_t epoch);

/*
 * The newest time any layer brought, rounded up to a whole second so that settling on it changes
 * none; -1 when none did.
 */
int64_t tree_newest(const struct tree *tree);

/* The node at an absolute or relative PATH, symlinks not followed; NULL when there is none. */
struct node *tree_find(const struct tree *tree, const char *path);

/* The same, following symlinks within the tree as chroot would, the last one too. */
struct node *tree_resolve(const struct tree *tree, const char *path);

size_t tree_paths(const struct tree *tree);

/* The path of NODE without a leading slash; "." for the root. Appended to BUF. */
void node_path(const struct node *node, struct buf *buf);

/* Children in byte order of their names: a new array of *RET_COUNT, freed by the caller. */
struct node **node_sorted(const struct node *node, size_t *ret_count);

/* Calls VISIT for every node, parents first, children in byte order; a result below 0 ends it. */
typedef int (*tree_visit)(void *data, struct node *node, struct error *err);
int tree_walk(const struct tree *tree, tree_visit visit, void *data, struct error *err);

#endif
