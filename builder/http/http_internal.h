/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of http/ know of each other. */
#ifndef HTTP_HTTP_INTERNAL_H
#define HTTP_HTTP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/http.h"
#include "http/trust.h"

struct http {
    struct http_options options; /* all but the CA, which is in TRUST */
    struct trust trust;
    atomic_int_least64_t succeeded_ms; /* when a call last did; of monotonic_ms */
    atomic_uint_least64_t throttled;
    pthread_mutex_t lock; /* what follows: handles at rest, each with its open connections */
    void **idle;
    size_t idle_count, idle_space;
};

/*
 * Takes a line of a reply, of which no byte is trusted: a status line empties HEADERS (those of 100
 * Continue), what comes after the empty line (*END) are trailers and left out.
 */
void headers_read(struct http_headers *headers, bool *end, const char *line, size_t size);

/* True when TEXT can be the name of a header or a method. */
bool header_is_token(const char *text);

/* Refuses a line that is no header, or would be several: "Name: value\r\nOther: …". */
int header_check(const char *line, struct error *err);

/* As http_url_wrong, but a query is fine. */
const char *url_wrong(const char *text);

/* The URL of a call as it may be shown: a new string. */
char *url_shown(const struct http_call *call);

/*
 * Sends it once. RET is empty before, and after a failure. *RET_AGAIN, set when it fails: the
 * failure is one that may pass. *RET_SENT is set in any case: how many bytes of its body were
 * reported as sent.
 */
int attempt_run(struct http *http, const struct http_call *call, struct http_reply *ret,
                bool *ret_again, int64_t *ret_sent, struct error *err);

#endif
