/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/board.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

enum { STUCK_MS = 10000 };

void board_init(struct board *board, struct ui *ui)
{
    *board = (struct board){.ui = ui};
    pthread_mutex_init(&board->lock, NULL);
}

void board_done(struct board *board)
{
    pthread_mutex_destroy(&board->lock);
    free(board->item);
}

void board_join(struct board *board, struct share *share, const char *name)
{
    pthread_mutex_lock(&board->lock);
    *share = (struct share){
        .board = board, .next = board->first, .name = name, .heard_ms = monotonic_ms()};
    board->first = share;
    pthread_mutex_unlock(&board->lock);
}

/* The lock is held: so what is shown never goes back. */
static void show(struct board *board)
{
    ui_total(board->ui, board->expected_bytes);
    ui_progress(board->ui, board->item, board->sent_bytes);
}

/* "prod-aws upload, lab register"; the lock is held. */
static char *item_of(const struct board *board)
{
    struct buf text = {0};

    for (const struct share *share = board->first; share != NULL; share = share->next) {
        if (share->phase != NULL) {
            buf_printf(&text, "%s%s %s", text.size != 0 ? ", " : "", share->name, share->phase);
        }
    }
    return text.size != 0 ? buf_take(&text) : NULL;
}

static void set_phase(struct share *share, const char *phase)
{
    struct board *board = share->board;

    share->phase = phase;
    share->heard_ms = monotonic_ms();
    free(board->item);
    board->item = item_of(board);
    show(board);
}

void board_phase(struct share *share, const char *phase)
{
    pthread_mutex_lock(&share->board->lock);
    set_phase(share, phase);
    pthread_mutex_unlock(&share->board->lock);
}

void board_expect(struct share *share, uint64_t bytes)
{
    struct board *board = share->board;

    pthread_mutex_lock(&board->lock);
    share->expected_bytes += bytes;
    board->expected_bytes += bytes;
    show(board);
    pthread_mutex_unlock(&board->lock);
}

void board_sent(struct share *share, int64_t bytes)
{
    struct board *board = share->board;

    pthread_mutex_lock(&board->lock);
    if (bytes < 0) {
        uint64_t lost = -(uint64_t)bytes;

        lost = lost < share->sent_bytes ? lost : share->sent_bytes;
        share->sent_bytes -= lost;
        board->sent_bytes -= lost;
    } else {
        share->sent_bytes += (uint64_t)bytes;
        board->sent_bytes += (uint64_t)bytes;
        share->heard_ms = monotonic_ms();
    }
    show(board);
    pthread_mutex_unlock(&board->lock);
}

void board_settle(struct share *share)
{
    struct board *board = share->board;

    pthread_mutex_lock(&board->lock);
    board->expected_bytes += share->sent_bytes - share->expected_bytes;
    share->expected_bytes = share->sent_bytes;
    set_phase(share, NULL);
    pthread_mutex_unlock(&board->lock);
}

bool board_is_stuck(struct share *share)
{
    bool stuck;

    pthread_mutex_lock(&share->board->lock);
    stuck = monotonic_ms() - share->heard_ms >= STUCK_MS;
    if (stuck) {
        share->heard_ms = monotonic_ms();
    }
    pthread_mutex_unlock(&share->board->lock);
    return stuck;
}
