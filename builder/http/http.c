/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/stop.h"
#include "http/http_internal.h"
#include "http/retry.h"

enum { GIVE_UP_S = 300 };

static void begin_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_new(const struct http_options *options, struct http **ret, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    SCOPED(http_freep) struct http *http = xcalloc(1, sizeof(*http));

    pthread_once(&once, begin_curl);
    pthread_mutex_init(&http->lock, NULL);
    http->options = *options;
    http->options.ca_file = NULL;
    atomic_init(&http->succeeded_ms, INT64_MIN);
    if (trust_choose(options->ca_file, &http->trust, err) < 0) {
        return -1;
    }
    *ret = TAKE(http);
    return 0;
}

void http_free(struct http *http)
{
    if (http == NULL) {
        return;
    }
    for (size_t i = 0; i < http->idle_count; i++) {
        curl_easy_cleanup(http->idle[i]);
    }
    free(http->idle);
    trust_done(&http->trust);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

uint64_t http_throttled(const struct http *http)
{
    return atomic_load(&http->throttled);
}

/* --- one call --- */

struct sending {
    struct http *http;
    const struct http_call *call;
    int64_t begun_ms, failed_ms; /* FAILED: when its first attempt that failed had ended */
    unsigned failures;
    bool renewed;
};

/* -1 when one more attempt is useless, else how long to wait before it. */
static int64_t pause_ms(const struct sending *sending, const struct http_reply *reply)
{
    unsigned give_up_s = sending->http->options.give_up_s;
    int64_t succeeded = atomic_load(&sending->http->succeeded_ms);
    struct retry retry = {.failures = sending->failures,
                          .tries = sending->call->tries,
                          .since_ms =
                              succeeded > sending->failed_ms ? succeeded : sending->failed_ms,
                          .now_ms = monotonic_ms(),
                          .give_up_ms = UINT64_C(1000) * (give_up_s != 0 ? give_up_s : GIVE_UP_S),
                          .told_ms = retry_after_ms(reply, time(NULL))};
    uint32_t random = 0;

    (void)getrandom(&random, sizeof(random), 0);
    return retry_pause_ms(&retry, random);
}

/* Says so, and waits. */
static int wait_again(const struct sending *sending, const struct http_reply *reply,
                      const struct error *cause, int64_t ms, struct error *err)
{
    const struct http_options *options = &sending->http->options;
    SCOPED_FREE char *url = url_shown(sending->call), *line = NULL;

    if (options->retrying != NULL) {
        line = cause->kind != FAIL_NONE
                   ? xprintf("%s, trying again in %.1f s", cause->message, (double)ms / 1000)
                   : xprintf("%s %s: %u, trying again in %.1f s", sending->call->method, url,
                             reply->status, (double)ms / 1000);
        options->retrying(options->data, line);
    }
    stop_sleep((uint64_t)ms);
    return stop_check(err);
}

/* What the last attempt was: its reply, or why there is none (CAUSE). */
static int give_up(const struct sending *sending, const struct error *cause, struct error *err)
{
    if (cause->kind == FAIL_NONE) {
        return 0;
    }
    *err = *cause;
    return sending->failures == 1
               ? -1
               : fail_while(err, "gave up after %u attempts in %lld s", sending->failures,
                            (long long)(monotonic_ms() - sending->begun_ms) / 1000);
}

static enum http_verdict judge(struct sending *sending, const struct http_reply *reply)
{
    const struct http_call *call = sending->call;
    enum http_verdict verdict =
        call->judge != NULL ? call->judge(call->data, reply) : http_judge(reply);

    if (verdict == HTTP_DENIED && (call->renew == NULL || sending->renewed)) {
        return HTTP_DONE;
    }
    if (verdict == HTTP_THROTTLED) {
        atomic_fetch_add(&sending->http->throttled, 1);
    }
    if (verdict == HTTP_DONE) {
        atomic_store(&sending->http->succeeded_ms, monotonic_ms());
    }
    return verdict;
}

static void take_back(const struct sending *sending, int64_t sent)
{
    const struct http_options *options = &sending->http->options;

    if (sent != 0 && options->sent != NULL) {
        options->sent(options->data, -sent);
    }
}

/* One attempt and what is done about it. 0: it is over, with the reply; 1: once more; -1. */
static int step(struct sending *sending, struct http_reply *ret, struct error *err)
{
    const struct http_call *call = sending->call;
    enum http_verdict verdict = HTTP_RETRY;
    struct error cause = {0};
    int64_t sent, pause;
    bool again;

    if (attempt_run(sending->http, call, ret, &again, &sent, &cause) < 0) {
        take_back(sending, sent);
        if (!again) {
            *err = cause;
            return -1;
        }
    } else {
        verdict = judge(sending, ret);
        if (verdict == HTTP_DONE) {
            return 0;
        }
        take_back(sending, sent);
    }
    if (verdict == HTTP_DENIED) {
        sending->renewed = true;
        http_reply_done(ret);
        return call->renew(call->data, err) < 0 ? -1 : 1;
    }
    if (sending->failures++ == 0) {
        sending->failed_ms = monotonic_ms();
    }
    pause = pause_ms(sending, ret);
    if (pause < 0) {
        return give_up(sending, &cause, err);
    }
    if (wait_again(sending, ret, &cause, pause, err) < 0) {
        http_reply_done(ret);
        return -1;
    }
    http_reply_done(ret);
    return 1;
}

int http_send(struct http *http, const struct http_call *call, struct http_reply *ret,
              struct error *err)
{
    struct sending sending = {.http = http, .call = call, .begun_ms = monotonic_ms()};
    const char *wrong = url_wrong(call->url);
    int rc;

    assert(header_is_token(call->method) && ret->body.data == NULL);
    if (wrong != NULL) {
        SCOPED_FREE char *origin = http_origin(call->url); /* all that has no password in it */

        return fail(err, FAIL_ERROR, "%s %s: the URL %s", call->method, origin, wrong);
    }
    do {
        rc = stop_check(err) < 0 ? -1 : step(&sending, ret, err);
    } while (rc > 0);
    return rc;
}
