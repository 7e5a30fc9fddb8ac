/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a server that is not trusted, over libcurl: certificates are always verified, no
 * redirect is followed, replies have a limit, and what goes wrong on the way is tried again.
 *
 * A struct http is what one target has: its CA, its budget of time for trying again, its progress.
 * Several threads may send with it at once, each over a connection of its own that is kept for the
 * next one.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"

struct http;
struct rate; /* http/rate.h: a limit of bytes a second that several struct http share */

struct http_options {
    const char
        *ca_file;      /* PEM, instead of CURL_CA_BUNDLE, SSL_CERT_FILE and the system's; or NULL */
    struct rate *rate; /* borrowed; NULL: no limit */
    /* How long after a first failure nothing may succeed before it is given up; 0: 300. Of this
     * call, that is, or of any other. An attempt may take longer: there is a second one. */
    unsigned give_up_s;
    unsigned stalled_s; /* how long no byte may move before an attempt has failed; 0: 30 */
    /*
     * How many bytes of bodies went out since the last call, from any thread; negative when an
     * attempt failed and what it sent has to be sent again. May be NULL.
     */
    void (*sent)(void *data, int64_t bytes);
    /* A line about an attempt that failed and is made again; nothing secret is in it. May be NULL.
     */
    void (*retrying)(void *data, const char *line);
    void *data;
};

/* Fails when the CA file cannot be read. The caller frees it when no thread sends any more. */
int http_new(const struct http_options *options, struct http **ret, struct error *err);
void http_free(struct http *http);
SCOPE_DEFINE(http, http_free)

/* What is sent: memory, or a stream that can be read again from its beginning. */
struct http_body {
    const void *data; /* borrowed; NULL: it is a stream */
    uint64_t size;    /* always known: Content-Length */
    /* Fills BUFFER with 1 to SIZE bytes (*RET). Nothing is sent of what a failing read returned. */
    int (*read)(void *context, void *buffer, size_t size, size_t *ret, struct error *err);
    /* To its beginning; called before every attempt, the first one too. */
    int (*rewind)(void *context, struct error *err);
    void *context;
};

/* Lines like "Name: value". Values may be secret: they are overwritten when done. */
struct http_headers {
    char **lines;
    size_t count, space;
};

void http_headers_add(struct http_headers *headers, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void http_headers_done(struct http_headers *headers);

struct http_reply {
    unsigned status; /* 100 to 599 */
    struct http_headers headers;
    struct buf body; /* NUL-terminated even when empty */
};

/* The value of a header, its name in any case; borrowed; NULL when there is none. */
const char *http_header(const struct http_reply *reply, const char *name);

/* Releases, overwriting it, and empties: a reply can be used again. Also the cleaner for SCOPED. */
void http_reply_done(struct http_reply *reply);

enum http_verdict {
    HTTP_DONE,      /* good or bad, this is the answer */
    HTTP_RETRY,     /* the same request may succeed later */
    HTTP_THROTTLED, /* likewise, and the server wants fewer of them */
    HTTP_DENIED,    /* the credentials are no longer good: renew them once */
};

/* What a status alone says: 408, 500, 502, 503, 504 again, 429 throttled, 401 denied, else done. */
enum http_verdict http_judge(const struct http_reply *reply);

struct http_call {
    const char *method;           /* "PUT" */
    const char *url;              /* complete and encoded, http or https */
    const char *const *headers;   /* the same in every attempt, NULL-terminated; NULL: none */
    const struct http_body *body; /* NULL: none (a PUT or POST then says Content-Length: 0) */

    /* Adds what changes from attempt to attempt: date, signature, token. May be NULL. */
    int (*prepare)(void *data, struct http_headers *headers, struct error *err);
    /* NULL: http_judge. */
    enum http_verdict (*judge)(void *data, const struct http_reply *reply);
    /* After HTTP_DENIED, once: new credentials for the next prepare. NULL: denied is done. */
    int (*renew)(void *data, struct error *err);
    void *data;

    bool direct;        /* past any proxy: a metadata service on the link */
    bool secret_url;    /* the query must not be shown */
    bool ask_first;     /* waits for a refusal, a second at most, before the body is sent */
    unsigned tries;     /* at most so many attempts; 0: until the time is up */
    unsigned timeout_s; /* for a whole attempt; 0: none but that of a stalled connection (30 s) */
    size_t reply_max;   /* bytes of body; 0: 16 MiB; more is an error */
};

/*
 * Sends it, again after transport errors and as the verdicts say: with full jitter from 0.5 s
 * doubled to 30 s, or when Retry-After says, until the time of http_options is up. 0 and the last
 * reply, whatever its status, when there was one; -1 (FAIL_REMOTE with host and cause;
 * FAIL_STOPPED; or what a callback failed with) when there was none. RET must be empty.
 */
int http_send(struct http *http, const struct http_call *call, struct http_reply *ret,
              struct error *err);

/* How many attempts were answered with HTTP_THROTTLED so far: for who adapts to it. */
uint64_t http_throttled(const struct http *http);

/* Appends TEXT percent-encoded but for unreserved characters (RFC 3986, 2.3) and those in KEEP. */
void http_encode(struct buf *buf, const char *text, const char *keep);

/*
 * What is wrong with TEXT as the beginning of URLs that credentials are sent to, or NULL: it must
 * be http or https with a host and no user, query or fragment, all printable ASCII.
 */
const char *http_url_wrong(const char *text);

/* "https://host:port" of a URL, for people: a new string. */
char *http_origin(const char *url);

/* True when URL is http and its host is not the loopback: passwords would travel open. */
bool http_is_open(const char *url);

#endif
