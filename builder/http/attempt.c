/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its reply, over one libcurl handle that keeps its connections for the next. */
#include <assert.h>
#include <curl/curl.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/stop.h"
#include "base/text.h"
#include "http/cause.h"
#include "http/rate.h"

/* The larger, the fewer rounds through libcurl's loop; more than this gains nothing. */
enum { PIECE = 512 << 10, SHARE = 64 << 10 };

enum { CONNECT_S = 15, STALLED_S = 30, KEEPALIVE_IDLE_S = 15, KEEPALIVE_INTERVAL_S = 5 };

/* A server may need a while to digest what it got: a second for each. */
enum { DIGESTED_PER_S = 16 << 20 };

/* A connection on which so little moves in the time of a stall has stalled: a server that sends a
 * byte every second would hold us for days. */
enum { TRICKLE = 4 << 10 };

enum { HEADERS_MAX = 256 << 10, BODY_MAX = 16 << 20 };

/* Why a callback ended the transfer. */
enum ending { NOT_ENDED, STOPPED, STALLED, BODY_FAILED, HEADERS_LARGE, REPLY_LARGE };

struct attempt {
    struct http *http;
    const struct http_call *call;
    struct http_reply *reply;
    struct error *err;
    CURL *curl;
    enum ending ending; /* BODY_FAILED: ERR is filled */
    uint64_t position;  /* in the body, behind the piece that is next */
    const char *piece;  /* in the body's memory or in STAGING */
    size_t piece_size;
    char *staging;
    int64_t reported; /* of it, to whoever shows progress */
    uint64_t moved;   /* bytes either way */
    uint64_t marked;  /* of them, when it last went on */
    int64_t moved_ms; /* which was then */
    bool sent_all, answered;
    size_t header_bytes; /* of the reply, with those of 100 Continue and trailers */
    bool headers_end;
    char text[CURL_ERROR_SIZE];
};

static uint64_t body_size(const struct attempt *attempt)
{
    return attempt->call->body == NULL ? 0 : attempt->call->body->size;
}

static size_t reply_max(const struct attempt *attempt)
{
    return attempt->call->reply_max != 0 ? attempt->call->reply_max : BODY_MAX;
}

static unsigned stalled_s(const struct attempt *attempt)
{
    unsigned own = attempt->http->options.stalled_s;

    return own != 0 ? own : STALLED_S;
}

/* --- what libcurl calls --- */

static int read_stream(struct attempt *attempt, size_t size, size_t *ret)
{
    const struct http_body *body = attempt->call->body;

    if (attempt->staging == NULL) {
        attempt->staging = xmalloc(PIECE);
    }
    attempt->piece = attempt->staging;
    if (body->read(body->context, attempt->staging, size, ret, attempt->err) < 0) {
        return -1;
    }
    if (*ret == 0 || *ret > size) {
        return fail(attempt->err, FAIL_ERROR, "what is sent ended after %llu of %llu bytes",
                    (unsigned long long)attempt->position, (unsigned long long)body->size);
    }
    return 0;
}

/*
 * Gets the next piece of the body, which may take long, and the leave to send it. Called between
 * two rounds of libcurl's loop and not when it is about to send: what the server answers in the
 * meantime (413, and it closes the connection) is then read first, where sending would fail and
 * lose it.
 */
static int next_piece(struct attempt *attempt)
{
    const struct http_body *body = attempt->call->body;
    uint64_t left = body_size(attempt) - attempt->position;
    uint64_t most = rate_piece(attempt->http->options.rate);
    size_t size;

    most = most < PIECE ? most : PIECE;
    size = (size_t)(left < most ? left : most);
    if (size == 0 || attempt->piece_size != 0) {
        return 0;
    }
    if (body->data != NULL) {
        attempt->piece = (const char *)body->data + attempt->position;
    } else if (read_stream(attempt, size, &size) < 0) {
        attempt->ending = BODY_FAILED;
        return -1;
    }
    rate_take(attempt->http->options.rate, size);
    attempt->piece_size = size;
    attempt->position += size;
    attempt->moved_ms = monotonic_ms(); /* the wait was ours */
    return 0;
}

static size_t on_read(char *buffer, size_t one, size_t size, void *data)
{
    struct attempt *attempt = data;
    size_t count = size * one;

    if (next_piece(attempt) < 0) {
        return CURL_READFUNC_ABORT;
    }
    count = count < attempt->piece_size ? count : attempt->piece_size;
    if (count != 0) {
        memcpy(buffer, attempt->piece, count);
        attempt->piece += count;
        attempt->piece_size -= count;
    }
    return count;
}

/* libcurl begins again by itself when a connection that was kept turns out to be closed. */
static int on_seek(void *data, curl_off_t offset, int origin)
{
    struct attempt *attempt = data;
    const struct http_body *body = attempt->call->body;

    if (body == NULL || offset != 0 || origin != SEEK_SET) {
        return CURL_SEEKFUNC_FAIL;
    }
    if (body->data == NULL && body->rewind(body->context, attempt->err) < 0) {
        attempt->ending = BODY_FAILED;
        return CURL_SEEKFUNC_FAIL;
    }
    attempt->position = 0;
    attempt->piece_size = 0;
    return CURL_SEEKFUNC_OK;
}

static size_t on_header(char *line, size_t one, size_t size, void *data)
{
    struct attempt *attempt = data;
    size_t length = size * one;

    if (length > HEADERS_MAX - attempt->header_bytes) {
        attempt->ending = HEADERS_LARGE;
        return CURL_WRITEFUNC_ERROR;
    }
    attempt->header_bytes += length;
    headers_read(&attempt->reply->headers, &attempt->headers_end, line, length);
    return length;
}

static size_t on_write(char *bytes, size_t one, size_t size, void *data)
{
    struct attempt *attempt = data;
    struct buf *body = &attempt->reply->body;

    if (size * one > reply_max(attempt) - body->size) {
        attempt->ending = REPLY_LARGE;
        return CURL_WRITEFUNC_ERROR;
    }
    secret_add(body, bytes, size * one);
    return size * one;
}

static void report_sent(struct attempt *attempt, int64_t sent)
{
    const struct http_options *options = &attempt->http->options;

    if (options->sent != NULL && sent != attempt->reported) {
        options->sent(options->data, sent - attempt->reported);
    }
    attempt->reported = sent;
}

/* More than a trickle, or the end of the body, or the beginning of the reply. */
static bool goes_on(struct attempt *attempt, uint64_t uploaded)
{
    bool sent_all = uploaded == body_size(attempt);
    bool answered = attempt->moved != uploaded;
    bool turn = sent_all != attempt->sent_all || answered != attempt->answered;

    attempt->sent_all = sent_all;
    attempt->answered = answered;
    return turn || attempt->moved < attempt->marked || attempt->moved - attempt->marked >= TRICKLE;
}

static int on_progress(void *data, curl_off_t download_size, curl_off_t downloaded,
                       curl_off_t upload_size, curl_off_t uploaded)
{
    struct attempt *attempt = data;
    uint64_t allowed_s = stalled_s(attempt);
    int64_t now = monotonic_ms();

    (void)download_size;
    (void)upload_size;
    report_sent(attempt, uploaded);
    if (stop_requested()) {
        attempt->ending = STOPPED;
        return 1;
    }
    attempt->moved = (uint64_t)downloaded + (uint64_t)uploaded + attempt->header_bytes;
    if (goes_on(attempt, (uint64_t)uploaded)) {
        attempt->marked = attempt->moved;
        attempt->moved_ms = now;
    }
    if ((uint64_t)uploaded == body_size(attempt)) {
        allowed_s += body_size(attempt) / DIGESTED_PER_S;
    }
    if (now - attempt->moved_ms > (int64_t)(allowed_s * 1000)) {
        attempt->ending = STALLED;
        return 1;
    }
    return next_piece(attempt);
}

/* Nothing that is started meanwhile inherits a connection: libcurl's own way would let it. */
static curl_socket_t on_open(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)data;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* --- how it is set up --- */

/*
 * A stream is alone and wants few and large reads; what lies in memory goes out by many connections
 * at once, whose buffers add up.
 */
static long buffer_size(const struct http_body *body)
{
    return body != NULL && body->data == NULL ? PIECE : SHARE;
}

static void set_method(struct attempt *attempt)
{
    const struct http_call *call = attempt->call;
    CURL *curl = attempt->curl;

    if (strcmp(call->method, "HEAD") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (call->body != NULL || strcmp(call->method, "PUT") == 0 ||
               strcmp(call->method, "POST") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_size(attempt));
        (void)curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, buffer_size(call->body));
    }
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    (void)curl_easy_setopt(curl, CURLOPT_URL, call->url);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* as it was signed */
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "kiln/" KILN_VERSION);
}

static void set_callbacks(struct attempt *attempt)
{
    CURL *curl = attempt->curl;

    (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(curl, CURLOPT_READDATA, attempt);
    (void)curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(curl, CURLOPT_SEEKDATA, attempt);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, attempt);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, attempt);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, attempt);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt->text);
}

static void set_trust(struct attempt *attempt)
{
    const struct trust *trust = &attempt->http->trust;
    CURL *curl = attempt->curl;

    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (trust->file == NULL && trust->dir == NULL) {
        return;
    }
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, trust->file);
    (void)curl_easy_setopt(curl, CURLOPT_CAPATH, trust->dir);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, trust->file);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, trust->dir);
}

static void set_limits(struct attempt *attempt)
{
    const struct http_call *call = attempt->call;
    CURL *curl = attempt->curl;

    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)call->timeout_s);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    /* A name server that does not answer holds up nobody who has been told to stop. */
    (void)curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    if (call->direct) {
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
}

/* --- headers --- */

static void free_list(struct curl_slist **list)
{
    for (struct curl_slist *at = *list; at != NULL; at = at->next) {
        secret_wipe(at->data, strlen(at->data));
    }
    curl_slist_free_all(*list);
}

static void append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    assert(longer != NULL); /* it is out of memory */
    *list = longer;
}

/* libcurl leaves "Name:" out and sends "Name;" as a header without a value. */
static int append_header(struct curl_slist **list, const char *line, struct error *err)
{
    const char *value = strchr(line, ':');

    if (header_check(line, err) < 0) {
        return -1;
    }
    if (value[1 + strspn(value + 1, " \t")] == '\0') {
        SCOPED_FREE char *empty = xprintf("%.*s;", (int)(value - line), line);

        append(list, empty);
    } else {
        append(list, line);
    }
    return 0;
}

static int make_headers(const struct http_call *call, struct curl_slist **list, struct error *err)
{
    SCOPED(http_headers_done) struct http_headers changing = {0};

    /* A server that does not know it lets us wait for that second. */
    append(list, call->ask_first ? "Expect: 100-continue" : "Expect:");
    for (size_t i = 0; call->headers != NULL && call->headers[i] != NULL; i++) {
        if (append_header(list, call->headers[i], err) < 0) {
            return -1;
        }
    }
    if (call->prepare != NULL && call->prepare(call->data, &changing, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < changing.count; i++) {
        if (append_header(list, changing.lines[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- what came of it --- */

static int conclude(struct attempt *attempt, CURLcode code, bool *ret_again)
{
    SCOPED_FREE char *url = url_shown(attempt->call);
    const char *method = attempt->call->method;
    struct error *err = attempt->err;
    char size[TEXT_SIZE_MAX];

    *ret_again = false;
    switch (attempt->ending) {
    case STOPPED:
        return fail(err, FAIL_STOPPED, "interrupted");
    case BODY_FAILED:
        return -1;
    case STALLED:
        *ret_again = true;
        return fail(err, FAIL_REMOTE, "%s %s: stalled: %s for %lld s", method, url,
                    attempt->moved == attempt->marked ? "no byte" : "hardly a byte",
                    (long long)(monotonic_ms() - attempt->moved_ms) / 1000);
    case HEADERS_LARGE:
        return fail(err, FAIL_REMOTE, "%s %s: the reply has more than %s of headers", method, url,
                    text_size(HEADERS_MAX, size));
    case REPLY_LARGE:
        return fail(err, FAIL_REMOTE, "%s %s: the reply is larger than %s", method, url,
                    text_size(reply_max(attempt), size));
    default:
        return cause_fail(attempt->http, attempt->call, attempt->curl, code, attempt->text,
                          ret_again, err);
    }
}

static int take_status(struct attempt *attempt, bool *ret_again)
{
    SCOPED_FREE char *url = url_shown(attempt->call);
    long status = 0;

    (void)curl_easy_getinfo(attempt->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 100 || status > 599) {
        *ret_again = true;
        return fail(attempt->err, FAIL_REMOTE, "%s %s: the reply has status %ld, which is none",
                    attempt->call->method, url, status);
    }
    if (!attempt->headers_end) { /* to libcurl, that is a reply without a body */
        *ret_again = true;
        return fail(attempt->err, FAIL_REMOTE, "%s %s: the reply ends amid its headers",
                    attempt->call->method, url);
    }
    if (status < 300 && (uint64_t)attempt->reported < body_size(attempt)) {
        *ret_again = true;
        return fail(attempt->err, FAIL_REMOTE, "%s %s: status %ld before all of it was sent",
                    attempt->call->method, url, status);
    }
    attempt->reply->status = (unsigned)status;
    buf_add(&attempt->reply->body, "", 0);
    return 0;
}

static int perform(struct attempt *attempt, struct curl_slist *headers, bool *ret_again)
{
    curl_off_t uploaded = 0;
    CURLcode code;
    int ret;

    set_method(attempt);
    set_callbacks(attempt);
    set_trust(attempt);
    set_limits(attempt);
    (void)curl_easy_setopt(attempt->curl, CURLOPT_HTTPHEADER, headers);
    attempt->moved_ms = monotonic_ms();
    code = curl_easy_perform(attempt->curl);
    (void)curl_easy_getinfo(attempt->curl, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    report_sent(attempt, uploaded); /* what was sent in its last round, too */
    ret = code == CURLE_OK ? take_status(attempt, ret_again) : conclude(attempt, code, ret_again);
    curl_easy_reset(attempt->curl); /* what is kept: connections, and what makes them quick */
    return ret;
}

static CURL *take_handle(struct http *http)
{
    CURL *curl = NULL;

    pthread_mutex_lock(&http->lock);
    if (http->idle_count != 0) {
        curl = http->idle[--http->idle_count];
    }
    pthread_mutex_unlock(&http->lock);
    if (curl == NULL) {
        curl = curl_easy_init();
        assert(curl != NULL); /* it is out of memory */
    }
    return curl;
}

static void give_handle(struct http *http, CURL *curl)
{
    pthread_mutex_lock(&http->lock);
    grow((void *)&http->idle, http->idle_count, &http->idle_space, sizeof(CURL *));
    http->idle[http->idle_count++] = curl;
    pthread_mutex_unlock(&http->lock);
}

int attempt_run(struct http *http, const struct http_call *call, struct http_reply *ret,
                bool *ret_again, int64_t *ret_sent, struct error *err)
{
    SCOPED(free_list) struct curl_slist *headers = NULL;
    struct attempt attempt = {.http = http, .call = call, .reply = ret, .err = err};
    const struct http_body *body = call->body;
    int rc;

    *ret_sent = 0;
    *ret_again = false;
    if (make_headers(call, &headers, err) < 0 ||
        (body != NULL && body->data == NULL && body->size != 0 &&
         body->rewind(body->context, err) < 0)) {
        return -1;
    }
    attempt.curl = take_handle(http);
    rc = perform(&attempt, headers, ret_again);
    give_handle(http, attempt.curl);
    free(attempt.staging);
    *ret_sent = attempt.reported;
    if (rc < 0) {
        http_reply_done(ret);
    }
    return rc;
}
