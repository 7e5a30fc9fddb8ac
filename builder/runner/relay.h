/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on their way from one descriptor to another, neither of which is waited for. */
#ifndef RUNNER_RELAY_H
#define RUNNER_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

struct relay {
    int from, to; /* both O_NONBLOCK; borrowed */
    bool ended;   /* nothing more comes, or nobody takes it */
    bool lossy;   /* when nobody takes it, go on and drop it */
    size_t start, end;
    char data[32768];
};

/* What to poll for; the descriptor is negative when there is nothing to wait for. */
struct pollfd relay_wants(const struct relay *relay);

/* Moves what can be moved now, after poll has said READY of what relay_wants returned. */
void relay_move(struct relay *relay, short ready);

/* Moves what is there, but does not wait for more; gives up when nothing moves for PATIENCE_MS. */
void relay_finish(struct relay *relay, int patience_ms);

#endif
