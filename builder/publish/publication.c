/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "publish/job.h"

enum { PAUSE_FIRST_MS = 100, PAUSE_MAX_MS = 10000 };

static void say(const struct publication *pub, void (*how)(struct ui *, const char *, ...),
                const char *format, va_list args)
{
    char *text;

    if (vasprintf(&text, format, args) < 0) {
        text = xstrdup(format);
    }
    how(pub->job->share.board->ui, "%s: %s", pub->target->name, text);
    free(text);
}

void publication_note(struct publication *pub, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(pub, ui_note, format, args);
    va_end(args);
}

void publication_detail(struct publication *pub, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(pub, ui_detail, format, args);
    va_end(args);
}

void publication_expect(struct publication *pub, uint64_t bytes)
{
    board_expect(&pub->job->share, bytes);
}

void publication_sent(void *pub, int64_t bytes)
{
    board_sent(&((struct publication *)pub)->job->share, bytes);
}

/* Who waits should know for what, without hearing of every attempt. */
static void retrying(void *data, const char *line)
{
    struct publication *pub = data;

    if (board_is_stuck(&pub->job->share)) {
        publication_note(pub, "%s", line);
    } else {
        publication_detail(pub, "%s", line);
    }
}

int publication_http(struct publication *pub, const char *ca_file, struct http **ret,
                     struct error *err)
{
    struct http_options options = {
        .ca_file = ca_file,
        .rate = pub->rate,
        .give_up_s = pub->give_up_s,
        .sent = publication_sent,
        .retrying = retrying,
        .data = pub,
    };

    return http_new(&options, ret, err);
}

int publication_pause(unsigned *ms, struct error *err)
{
    *ms = *ms == 0 ? PAUSE_FIRST_MS : *ms * 2 < PAUSE_MAX_MS ? *ms * 2 : PAUSE_MAX_MS;
    stop_sleep(*ms);
    return stop_check(err);
}

const char *publication_token(const struct publication *pub, const char *what,
                              char out[HASH_HEX_MAX])
{
    SCOPED_FREE char *text =
        xprintf("kiln-token 1\n%s\n%u\n%s\n", pub->id, journal_attempt(pub->journal), what);
    uint8_t digest[HASH_SIZE];

    hash_bytes(text, strlen(text), digest);
    return hash_hex(digest, out);
}

char *publication_image_name(const struct publication *pub, const char *own)
{
    return own != NULL ? xstrdup(own) : xprintf("%s-%s", pub->bundle->name, pub->bundle->version);
}

int publication_forget_parent(struct publication *pub, const char *why, struct error *err)
{
    if (pub->parent == NULL) {
        return 0;
    }
    publication_note(pub, "%s: everything is sent", why);
    pub->parent = NULL;
    return journal_set(pub->journal, PARENT_KEY, PARENT_NONE, err);
}
