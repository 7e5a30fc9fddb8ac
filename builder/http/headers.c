/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "http/http_internal.h"

/* Swallows LINE. */
static void take(struct http_headers *headers, char *line)
{
    grow((void *)&headers->lines, headers->count, &headers->space, sizeof(*headers->lines));
    headers->lines[headers->count++] = line;
}

void http_headers_add(struct http_headers *headers, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    int size;

    va_start(args, format);
    size = vasprintf(&line, format, args);
    va_end(args);
    take(headers, size < 0 ? xstrdup("") : line);
}

void http_headers_done(struct http_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        secret_free(headers->lines[i]);
    }
    free(headers->lines);
    *headers = (struct http_headers){0};
}

void headers_read(struct http_headers *headers, bool *end, const char *line, size_t size)
{
    while (size != 0 && strchr("\r\n \t", line[size - 1]) != NULL) {
        size--;
    }
    if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        http_headers_done(headers);
        *end = false;
    } else if (size == 0) {
        *end = true;
    } else if (!*end && memchr(line, ':', size) != NULL) {
        take(headers, xstrndup(line, size));
    }
}

const char *http_header(const struct http_reply *reply, const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < reply->headers.count; i++) {
        const char *line = reply->headers.lines[i];

        if (strncasecmp(line, name, size) == 0 && line[size] == ':') {
            return line + size + 1 + strspn(line + size + 1, " \t");
        }
    }
    return NULL;
}

void http_reply_done(struct http_reply *reply)
{
    http_headers_done(&reply->headers);
    secret_done(&reply->body);
    *reply = (struct http_reply){0};
}

/* RFC 9110, 5.6.2: what a name is made of. */
static size_t token_size(const char *text)
{
    return strspn(text, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "abcdefghijklmnopqrstuvwxyz");
}

bool header_is_token(const char *text)
{
    return text[0] != '\0' && text[token_size(text)] == '\0';
}

int header_check(const char *line, struct error *err)
{
    size_t name = token_size(line);

    if (name == 0 || line[name] != ':') {
        return fail(err, FAIL_ERROR, "a header without a name cannot be sent");
    }
    for (const char *s = line + name; *s != '\0'; s++) {
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f) {
            return fail(err, FAIL_ERROR,
                        "header '%.*s': its value has a control character and cannot be sent",
                        (int)name, line);
        }
    }
    return 0;
}
