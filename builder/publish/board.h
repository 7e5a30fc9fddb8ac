/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is shown of targets that are worked on side by side: one line of progress for all of them.
 * Any thread may call these.
 */
#ifndef PUBLISH_BOARD_H
#define PUBLISH_BOARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ui/ui.h"

/* The part that one target has in it. */
struct share {
    struct board *board;
    struct share *next;
    const char *name;  /* of the target; borrowed */
    const char *phase; /* that it is in; borrowed; NULL: none */
    uint64_t expected_bytes, sent_bytes;
    uint64_t heard_ms; /* when something last went well, or was said */
};

struct board {
    struct ui *ui;
    pthread_mutex_t lock; /* all of the shares, too */
    struct share *first;
    uint64_t expected_bytes, sent_bytes; /* sums over the shares */
    char *item;                          /* the phases of all */
};

void board_init(struct board *board, struct ui *ui);
void board_done(struct board *board);

/* SHARE, zeroed before, belongs to BOARD from now on. */
void board_join(struct board *board, struct share *share, const char *name);

/* Which phase the target is in now; NULL: none. */
void board_phase(struct share *share, const char *phase);

/* More will be sent; more was sent, or (negative) what was sent is lost. */
void board_expect(struct share *share, uint64_t bytes);
void board_sent(struct share *share, int64_t bytes);

/* The target is at its end: what was expected and did not come is expected no more. */
void board_settle(struct share *share);

/* True when nothing went well for some time, and that was not said just before. */
bool board_is_stuck(struct share *share);

#endif
