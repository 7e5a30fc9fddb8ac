/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one publish has done so far, so that the next run goes on from there: a file of JSON lines
 * in the bundle's publish/, only ever appended to, each line on the disk before the call returns.
 * A last line that a crash cut off is dropped; anything else that is not right is an error. No
 * secret is ever put in it. Its values belong to an attempt; starting the next one forgets them.
 */
#ifndef PUBLISH_JOURNAL_H
#define PUBLISH_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"

/* Keys of values that end an attempt: its result when it is published; what it left was removed. */
#define JOURNAL_PUBLISHED "published"
#define JOURNAL_ABORTED "aborted"

struct journal;

/*
 * Opens DIR/TARGET.ID.journal (ID: the first 16 hex digits of PUBLISH_ID), made with HEAD as its
 * first line when it is missing (DIR too), and locks it: FAIL_ERROR "is being published by another
 * kiln" when another process has it, or when it begins with another HEAD, an object of strings.
 */
int journal_open(const char *dir, const char *target, const char *publish_id, const json_t *head,
                 struct journal **ret, struct error *err);

/* Reads one as it is, without lock, for --status; *RET NULL: nothing was written yet. */
int journal_read(const char *path, struct journal **ret, struct error *err);

/* The journals in a directory. */
struct journal_paths {
    char **items;
    size_t count, space;
};

/* Sorted; none when there is no DIR. RET must be empty. */
int journal_list(const char *dir, struct journal_paths *ret, struct error *err);

/* Also the cleaner for SCOPED. */
void journal_paths_done(struct journal_paths *paths);

/* True when a journal of TARGET and PUBLISH_ID would have PATH's last component. */
bool journal_is_named(const char *path, const char *target, const char *publish_id);

/* Lets go of it. */
void journal_free(struct journal *journal);
SCOPE_DEFINE(journal, journal_free)

/* The first line. Borrowed. */
const json_t *journal_head(const struct journal *journal);

/* Which attempt it is, from 1, and the beginning of the next. */
unsigned journal_attempt(const struct journal *journal);
int journal_next_attempt(struct journal *journal, const char *why, struct error *err);

/*
 * A value of this attempt; the last one set counts. KEY is of [a-z0-9.:_-], VALUE UTF-8 of at most
 * 16 KiB. get is borrowed until the next set; or NULL.
 */
int journal_set(struct journal *journal, const char *key, const char *value, struct error *err);
const char *journal_get(const struct journal *journal, const char *key);

/* All values of this attempt in the order of their keys. */
void journal_each(const struct journal *journal,
                  void (*visit)(void *data, const char *key, const char *value), void *data);

/* Blocks that are up: a set. Several threads may call these two at once. */
int journal_add_blocks(struct journal *journal, const uint64_t *blocks, size_t count,
                       struct error *err);
bool journal_has_block(const struct journal *journal, uint64_t block);
uint64_t journal_block_count(const struct journal *journal);

#endif
