/* SPDX-License-Identifier: Apache-2.0 */
#include "http/retry.h"

#include <curl/curl.h>
#include <string.h>

enum { BASE_MS = 500, CAP_MS = 30000 };

enum http_verdict http_judge(const struct http_reply *reply)
{
    switch (reply->status) {
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
        return HTTP_RETRY;
    case 429:
        return HTTP_THROTTLED;
    case 401:
        return HTTP_DENIED;
    default:
        return HTTP_DONE;
    }
}

uint64_t retry_backoff_ms(unsigned failures)
{
    uint64_t most = BASE_MS;

    for (unsigned i = 1; i < failures && most < CAP_MS; i++) {
        most *= 2;
    }
    return most < CAP_MS ? most : CAP_MS;
}

int64_t retry_pause_ms(const struct retry *retry, uint32_t random)
{
    int64_t left = retry->since_ms + (int64_t)retry->give_up_ms - retry->now_ms;
    uint64_t pause = retry_backoff_ms(retry->failures) * random >> 32;

    if (left <= 0 || retry->failures == retry->tries) {
        return -1;
    }
    pause = pause > retry->told_ms ? pause : retry->told_ms;
    return pause < (uint64_t)left ? (int64_t)pause : left;
}

static time_t date_of(const char *text, time_t otherwise)
{
    time_t date = text == NULL ? -1 : curl_getdate(text, NULL);

    return date == -1 ? otherwise : date;
}

uint64_t retry_after_ms(const struct http_reply *reply, time_t now)
{
    const char *text = http_header(reply, "Retry-After");
    size_t digits = text == NULL ? 0 : strspn(text, "0123456789");
    uint64_t seconds = 0;

    if (text == NULL) {
        return 0;
    }
    if (digits != 0 && text[digits] == '\0') {
        for (size_t i = 0; i < digits && seconds <= RETRY_AFTER_MAX_MS; i++) {
            seconds = seconds * 10 + (uint64_t)(text[i] - '0');
        }
    } else {
        time_t from = date_of(http_header(reply, "Date"), now), until = date_of(text, from);

        seconds = until > from ? (uint64_t)until - (uint64_t)from : 0;
    }
    return seconds >= RETRY_AFTER_MAX_MS / 1000 ? RETRY_AFTER_MAX_MS : seconds * 1000;
}
