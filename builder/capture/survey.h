/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything on an scratch, without the data: its names, as a tree, and its inodes. What a step
 * left that no file system could have is an error that names the path.
 */
#ifndef CAPTURE_SURVEY_H
#define CAPTURE_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"
#include "capture/scratch.h"
#include "capture/noise.h"
#include "layer/entry.h"
#include "layer/tree.h"

struct spot;

/* An inode. */
struct found {
    uint32_t number;
    struct entry entry; /* all but the path; owns target and attributes */
    bool socket;        /* the one kind that no entry is */
    int64_t ctime;
    uint32_t ctime_ns;
    struct spot *first, *last; /* its names in the order of a walk, linked by spot->same; those that
                                  are left out are not among them */
    struct found *next;        /* in the order that they were found */

    /* For the comparison (difference.c). */
    const struct inode *still; /* what it is in the layers below, too; NULL: it is new */
    const struct spot *source; /* the name that the others are links to */
    bool hashed;
    uint8_t sha256[HASH_SIZE];
};

/* A name. */
struct spot {
    struct spot *parent; /* NULL for the root */
    struct found *found;
    struct spot *same;      /* the next name of the same inode */
    bool left_out;          /* with all below it, which is not looked at */
    struct spot **children; /* in byte order of their names */
    size_t child_count;

    /* For the comparison. */
    const struct node *node;  /* what the layers below have here */
    const struct node **gone; /* what they have in here and is not there, in byte order */
    size_t gone_count;
    bool known;   /* the very inode that is there below, and nobody touched it */
    bool noisy;   /* what is left out in here is not what it was */
    bool written; /* it is to be in the layer */

    uint8_t length;
    char name[]; /* NUL-terminated */
};

struct survey {
    struct spot *root;
    struct found *first; /* of all inodes; the root's */
};

/*
 * Reads all of SCRATCH. No time in RET is later than EPOCH, but for ctime. LIMITS as for trees;
 * NULL for the usual ones.
 */
int survey_read(struct scratch *scratch, const struct noise *noise, int64_t epoch,
                const struct tree_limits *limits, struct survey **ret, struct error *err);
void survey_free(struct survey *survey);
SCOPE_DEFINE(survey, survey_free)

#endif
