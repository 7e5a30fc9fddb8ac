/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/relay.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

struct pollfd relay_wants(const struct relay *relay)
{
    if (relay->start < relay->end) {
        return (struct pollfd){.fd = relay->to, .events = POLLOUT};
    }
    return (struct pollfd){.fd = relay->ended ? -1 : relay->from, .events = POLLIN};
}

static void give(struct relay *relay)
{
    ssize_t put = write(relay->to, relay->data + relay->start, relay->end - relay->start);

    if (put >= 0) {
        relay->start += (size_t)put;
    } else if (errno != EAGAIN && errno != EINTR) {
        relay->start = relay->end;
        relay->ended = relay->ended || !relay->lossy;
    }
}

static void take(struct relay *relay)
{
    ssize_t got = read(relay->from, relay->data, sizeof(relay->data));

    relay->start = 0;
    relay->end = got > 0 ? (size_t)got : 0;
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        relay->ended = true;
    }
}

void relay_move(struct relay *relay, short ready)
{
    if (ready == 0) {
        return;
    }
    if (relay->start == relay->end) {
        take(relay);
        return;
    }
    /* A port without anybody at the host's end can not be written to, nor waited for. */
    if ((ready & (POLLHUP | POLLERR)) != 0) {
        relay->start = relay->end;
        relay->ended = relay->ended || !relay->lossy;
        return;
    }
    give(relay);
}

void relay_finish(struct relay *relay, int patience_ms)
{
    for (;;) {
        struct pollfd wants = relay_wants(relay);
        const bool giving = relay->start < relay->end;

        if (wants.fd < 0 || poll(&wants, 1, giving ? patience_ms : 0) <= 0) {
            return;
        }
        relay_move(relay, wants.revents);
    }
}
