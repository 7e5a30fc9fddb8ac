/* SPDX-License-Identifier: Apache-2.0 */
#include "openstack/message.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

enum { MESSAGE_MAX = 600 };

static const char *status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } known[] = {
        {300, "it asks to choose among several versions"},
        {400, "bad request"},
        {401, "not authenticated"},
        {403, "forbidden"},
        {404, "not found"},
        {409, "conflict"},
        {410, "gone"},
        {413, "too large"},
        {415, "unsupported media type"},
        {429, "too many requests"},
        {500, "internal error"},
        {502, "bad gateway"},
        {503, "unavailable"},
        {504, "gateway timeout"},
    };

    for (size_t i = 0; i < COUNT(known); i++) {
        if (known[i].status == status) {
            return known[i].text;
        }
    }
    return status >= 300 && status < 400 ? "a redirect, which is not followed"
                                         : "an answer that was not expected";
}

/* Keystone: {"error": {"message": …}}; Glance: {"message": …}. */
static const char *find_message(const json_t *body)
{
    const json_t *inner = json_object_get(body, "error");
    const char *text = json_string_value(json_object_get(inner, "message"));

    return text != NULL ? text : json_string_value(json_object_get(body, "message"));
}

/* Drops tags, and makes one blank of every run of blanks. */
static char *plain(const char *text)
{
    SCOPED(buf_done) struct buf line = {0};
    bool in_tag = false, blank = false;

    for (const char *s = text; *s != '\0' && line.size < MESSAGE_MAX; s++) {
        if (*s == '<' && (isalpha((unsigned char)s[1]) || s[1] == '/')) {
            in_tag = true;
        } else if (in_tag) {
            in_tag = *s != '>';
            blank = true;
        } else if (isspace((unsigned char)*s)) {
            blank = true;
        } else {
            if (blank && line.size != 0) {
                buf_putc(&line, ' ');
            }
            blank = false;
            buf_putc(&line, *s);
        }
    }
    while (line.size != 0 && line.data[line.size - 1] == '.') {
        line.data[--line.size] = '\0';
    }
    return buf_take(&line);
}

char *openstack_message(const struct http_reply *reply, const char *secret)
{
    SCOPED(json_decrefp)
    json_t *body = json_loadb(reply->body.data, reply->body.size, JSON_ALLOW_NUL, NULL);
    const char *found = find_message(body);
    bool tells = found != NULL && secret != NULL && strstr(found, secret) != NULL;
    char *text = plain(found != NULL && !tells ? found : "");

    if (*text == '\0') {
        free(text);
        text = xstrdup(status_text(reply->status));
    }
    return text;
}
