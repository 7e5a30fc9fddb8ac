/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the headers of a reply, as a URL, as a header to send and as text to encode. */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_internal.h"
#include "http/retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_reply(const char *text, size_t size)
{
    static const char *const names[] = {"Retry-After", "Date", "X", ""};
    SCOPED(http_reply_done) struct http_reply reply = {0};
    bool end = false;

    while (size != 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = newline != NULL ? (size_t)(newline - text) + 1 : size;

        headers_read(&reply.headers, &end, text, length);
        text += length;
        size -= length;
    }
    for (size_t i = 0; i < reply.headers.count; i++) {
        require(strchr(reply.headers.lines[i], '\n') == NULL);
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        const char *value = http_header(&reply, names[i]);

        require(value == NULL || (value[0] != ' ' && value[0] != '\t'));
    }
    require(retry_after_ms(&reply, 1793491200) <= RETRY_AFTER_MAX_MS);
}

static void check_url(const char *text)
{
    SCOPED_FREE char *origin = http_origin(text);

    (void)http_is_open(text);
    if (http_url_wrong(text) == NULL) {
        require(strncmp(origin, "http", 4) == 0 && strchr(origin, '@') == NULL);
        require(strpbrk(text, "?# \r\n") == NULL);
    }
}

static void check_encoded(const char *text, size_t size)
{
    SCOPED(buf_done) struct buf buf = {0};
    char *back;
    int length = 0;

    http_encode(&buf, text, NULL);
    require(
        strspn(buf.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%") ==
        buf.size);
    back = curl_easy_unescape(NULL, buf.data, 0, &length);
    require(back != NULL && (size_t)length == size && memcmp(back, text, size) == 0);
    curl_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED_FREE char *text = xstrndup((const char *)data, size);
    struct error err = {0};

    check_reply((const char *)data, size);
    check_url(text);
    check_encoded(text, strlen(text));
    require(header_check(text, &err) < 0 || strpbrk(text, "\r\n") == NULL);
    return 0;
}
