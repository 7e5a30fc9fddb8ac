/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All layers of a profile, read twice: stack_scan folds them into the tree and digests every file,
 * so that whatever is wrong with a layer is said within seconds and before an appliance starts;
 * stack_stream then hands out the data of the files that are left, once each.
 */
#ifndef LAYER_STACK_H
#define LAYER_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/pack.h"
#include "base/scope.h"
#include "layer/layer.h"
#include "layer/tree.h"
#include "profile/profile.h"

struct stack {
    struct layer **layers;
    size_t layer_count;
    bool borrowed;       /* the layers are another stack's */
    unsigned parts;      /* over all layers, after stack_scan */
    size_t done;         /* layers that are in the tree */
    uint64_t kept_bytes; /* of the files that are kept in memory */
    struct tree *tree;
};

/* Told which layer is being read and how many bytes of all sources have been. */
typedef void (*stack_progress)(void *data, const char *layer, uint64_t done_bytes);

/*
 * True for files (path in the image, no leading slash) whose content is to be kept in memory; 32
 * MiB of them at most, which is an error: no boot loader is that large.
 */
typedef bool (*stack_keeps)(const char *path);

int stack_open(const struct profile *profile, struct stack **ret, struct error *err);
void stack_free(struct stack *stack);
SCOPE_DEFINE(stack, stack_free)

/* Bytes of all sources as far as known, for progress; more once steps are captured. */
uint64_t stack_size(const struct stack *stack);

/*
 * A stack of the first COUNT layers of STACK, which it borrows; nothing of them was read, and while
 * it is there nothing may be read through STACK.
 */
struct stack *stack_below(const struct stack *stack, size_t count);

/*
 * Who writes the data while it is read for the first time. Every member must be there.
 */
struct stack_taker {
    /* 1 when the content of INODE is to come, 0 for what is not taken: it is digested and left. */
    int (*file)(void *data, struct inode *inode, struct error *err);
    int (*bytes)(void *data, const void *bytes, size_t size, uint64_t offset, struct error *err);
    /* The content is over; inode->sha256 is the taker's to fill, by the end of the layer. */
    int (*end)(void *data, struct inode *inode, struct error *err);
    /* Layer INDEX is read to its end. */
    int (*layer)(void *data, size_t index, struct error *err);
    void *data;
};

/* Goes on after the layers that are done. TAKER may be NULL. */
int stack_scan(struct stack *stack, stack_keeps keeps, const struct stack_taker *taker,
               stack_progress progress, void *data, struct error *err);

/*
 * Adds a file of kiln's own on top of all layers. PATH is in the image, CONTENT is copied. The
 * first call starts a part of its own, after every layer's.
 */
int stack_add_file(struct stack *stack, const char *path, uint32_t mode, const void *content,
                   size_t size, struct error *err);

/* The same for a directory: mode 0755, owned by root. */
int stack_add_directory(struct stack *stack, const char *path, struct error *err);

/*
 * The state between two layers as bytes: the tree, and what was found out of the layers that are
 * done. stack_load is for a stack of which nothing was read; its layers must begin with the same
 * ones (whose digests layer_assume or layer_learn has), which whoever found the state knows.
 */
void stack_save(const struct stack *stack, struct buf *out);
int stack_load(struct stack *stack, struct unpack *in, struct error *err);

/* Nothing is read any more: an empty tree. */
void stack_reset(struct stack *stack);

/* Who brought an inode: a layer's name, or "kiln" for what it adds itself. */
const char *stack_owner(const struct stack *stack, const struct inode *inode);

struct stack_sink {
    /* A file with data comes; exactly inode->data_bytes bytes of it follow, holes left out. */
    int (*file)(void *data, const struct inode *inode, struct error *err);
    int (*bytes)(void *data, const void *bytes, size_t size, uint64_t offset, struct error *err);
    /* NULL: every file. Layers without a file that is wanted are not read again. */
    bool (*wants)(void *data, const struct inode *inode);
    stack_progress progress;
    void *data;
};

/*
 * Hands every file inode of the tree that has data to SINK once, in the order of the layers, what
 * is kept in memory last. A layer that is not what it was at the first reading is FAIL_MISMATCH.
 */
int stack_stream(struct stack *stack, const struct stack_sink *sink, struct error *err);

#endif
