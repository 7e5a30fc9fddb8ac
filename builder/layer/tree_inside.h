/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tree.c (nodes, inodes, look-ups), follow.c (symlinks), fold.c (applying entries) and
 * tree_save.c (bytes) share and nobody else sees.
 */
#ifndef LAYER_TREE_INSIDE_H
#define LAYER_TREE_INSIDE_H

#include "layer/tree.h"

#define NAME_LIMIT 255    /* bytes, NAME_MAX of every file system kiln makes */
#define PATH_LIMIT 4096   /* bytes, PATH_MAX */
#define TARGET_LIMIT 4095 /* bytes of a symlink, what Linux takes */

struct tree {
    struct tree_limits limits;
    struct node *root;

    struct node **buckets; /* every node, the root too, by (parent, name) */
    size_t bucket_count;   /* a power of two */
    size_t count;          /* nodes */
    uint64_t key[2];       /* of the hash, so that no layer can choose names that collide */

    uint32_t last_id; /* of inodes */
    int64_t newest;
    struct tree_watch watch; /* members may be NULL */

    /* The part that is being applied. */
    char *name;
    unsigned layer, part;
    enum layer_rules rules;
    bool untimed;
};

/* A name within a path, borrowed from it. */
struct component {
    const char *text;
    size_t length;
};

/* The next component from *CURSOR on, which moves behind it; empty ones and "." are left out. */
bool component_next(const char **cursor, struct component *ret);
bool component_is(const struct component *component, const char *text);

struct node *node_child(const struct tree *tree, const struct node *parent,
                        const struct component *name);

/* A new child of PARENT (NULL for the root) that is a name of INODE. */
struct node *node_new(struct tree *tree, struct node *parent, const struct component *name,
                      struct inode *inode);

/* Makes NODE a name of INODE instead of what it was, with nothing below it. */
void node_replace(struct tree *tree, struct node *node, struct inode *inode);

/* Takes NODE and all below it away; an inode goes with its last name. */
void node_remove(struct tree *tree, struct node *node);

/* A new inode without a name so far. */
struct inode *inode_new(struct tree *tree, enum entry_type type);

/* Says that INODE is new or another than before. */
void inode_changed(const struct tree *tree, struct inode *inode);

/* Releases what an inode owns and forgets it. */
void inode_clear_metadata(struct inode *inode);
void inode_clear_data(const struct tree *tree, struct inode *inode);

#define FOLLOW_LINKS 40 /* as many as Linux follows, path_resolution(7) */

enum follow_result {
    FOLLOW_DONE,
    FOLLOW_MISSING,
    FOLLOW_NOT_DIRECTORY,
    FOLLOW_LOOP, /* more than FOLLOW_LINKS of them */
    FOLLOW_OWN,  /* met a symlink of the part that must not be crossed; it is in AT */
};

struct follow {
    const struct tree *tree;
    unsigned links; /* followed so far */
    bool fenced;    /* symlinks of the tree's current part are not crossed */

    /* What to mark as passed by the current part. */
    bool mark_links, mark_directories;
    struct node *at; /* where it ended */
};

/* Follows all of TEXT from the directory START as chroot into the tree would. */
enum follow_result follow_text(struct follow *follow, struct node *start, const char *text);

/* Follows the symlink LINK to its end. */
enum follow_result follow_link(struct follow *follow, struct node *link);

#endif
