/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/sign.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "aws/keys.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/secret.h"
#include "http/http.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

enum { STAMP_MAX = 20, DAY_SIZE = 8 }; /* "20261101T000000Z" begins with the day */

/* --- the parts of a URL ---------------------------------------------------------------------- */

/* A part of a longer text. */
struct part {
    const char *data;
    size_t size;
};

struct parts {
    bool tls;
    struct part host, path, query;
};

static struct parts split(const char *url)
{
    const char *host = strstr(url, "://");
    struct parts parts = {.tls = strncasecmp(url, "https:", 6) == 0};
    const char *path, *query;

    host = host != NULL ? host + 3 : url;
    path = host + strcspn(host, "/?");
    query = path + strcspn(path, "?");
    parts.host = (struct part){host, (size_t)(path - host)};
    parts.path = (struct part){path, (size_t)(query - path)};
    if (*query == '?') {
        parts.query = (struct part){query + 1, strlen(query + 1)};
    }
    return parts;
}

/* As the header has it: lower case, without the scheme's own port. */
static char *host_of(const struct parts *parts)
{
    const char *port = parts->tls ? ":443" : ":80";
    char *host = xstrndup(parts->host.data, parts->host.size);
    size_t size = strlen(host);

    for (char *s = host; *s != '\0'; s++) {
        *s = (char)tolower((unsigned char)*s);
    }
    if (size > strlen(port) && strcmp(host + size - strlen(port), port) == 0) {
        host[size - strlen(port)] = '\0';
    }
    return host;
}

/* --- the canonical request ------------------------------------------------------------------- */

/* Takes the last segment of PATH away, with the slash before it. */
static void step_up(struct buf *path)
{
    while (path->size != 0 && path->data[path->size - 1] != '/') {
        path->size--;
    }
    path->size -= path->size != 0;
    path->data[path->size] = '\0';
}

static void add_path(struct buf *ret, const struct part *path)
{
    SCOPED(buf_done) struct buf plain = {0};
    const char *end = path->data + path->size;

    buf_puts(&plain, "");
    for (const char *at = path->data; at < end;) {
        const char *stop;
        size_t size;

        at += *at == '/';
        stop = memchr(at, '/', (size_t)(end - at));
        size = (size_t)((stop != NULL ? stop : end) - at);
        if (size == 2 && memcmp(at, "..", 2) == 0) {
            step_up(&plain);
        } else if (size != 0 && !(size == 1 && *at == '.')) {
            buf_putc(&plain, '/');
            buf_add(&plain, at, size);
        }
        at += size;
    }
    if (plain.size == 0 || end[-1] == '/') {
        buf_putc(&plain, '/');
    }
    http_encode(ret, plain.data, "/");
}

/* One "name=value" of a query; VALUE begins behind the "=". */
struct pair {
    struct part name, value;
};

static int compare_parts(const struct part *a, const struct part *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size != 0 ? memcmp(a->data, b->data, size) : 0;

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = compare_parts(&x->name, &y->name);

    return order != 0 ? order : compare_parts(&x->value, &y->value);
}

static void add_query(struct buf *ret, const struct part *query)
{
    SCOPED_FREE struct pair *pairs = NULL;
    size_t count = 0, space = 0;
    const char *end = query->data + query->size;

    for (const char *at = query->data; query->size != 0 && at <= end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        const char *equals;

        stop = stop != NULL ? stop : end;
        equals = memchr(at, '=', (size_t)(stop - at));
        equals = equals != NULL ? equals : stop;
        grow(&pairs, count, &space, sizeof(*pairs));
        pairs[count++] =
            (struct pair){{at, (size_t)(equals - at)},
                          {equals + (equals < stop), (size_t)(stop - equals) - (equals < stop)}};
        at = stop + 1;
    }
    if (count != 0) {
        qsort(pairs, count, sizeof(*pairs), compare_pairs);
    }
    for (size_t i = 0; i < count; i++) {
        buf_puts(ret, i != 0 ? "&" : "");
        buf_add(ret, pairs[i].name.data, pairs[i].name.size);
        buf_putc(ret, '=');
        buf_add(ret, pairs[i].value.data, pairs[i].value.size);
    }
}

/* The headers that are signed, sorted by name; those of one name stay in their order. */
struct signed_headers {
    const char **lines; /* borrowed */
    size_t count, space;
};

static size_t name_size(const char *line)
{
    return strcspn(line, ":");
}

static int compare_names(const char *a, const char *b)
{
    size_t size = name_size(a), other = name_size(b);
    int order = strncasecmp(a, b, size < other ? size : other);

    return order != 0 ? order : (size > other) - (size < other);
}

static void collect(struct signed_headers *headers, const char *line)
{
    size_t at = headers->count;

    grow(&headers->lines, headers->count, &headers->space, sizeof(*headers->lines));
    for (; at > 0 && compare_names(headers->lines[at - 1], line) > 0; at--) {
        headers->lines[at] = headers->lines[at - 1];
    }
    headers->lines[at] = line;
    headers->count++;
}

static void add_name(struct buf *ret, const char *line)
{
    for (size_t i = 0; i < name_size(line); i++) {
        buf_putc(ret, (char)tolower((unsigned char)line[i]));
    }
}

/* Without white space at either end, and with one blank for every run of it inside. */
static void add_value(struct buf *ret, const char *line)
{
    const char *at = line + name_size(line);
    bool first = true;

    at += *at == ':';
    for (;;) {
        size_t size;

        at += strspn(at, " \t\r\n\v\f");
        size = strcspn(at, " \t\r\n\v\f");
        if (size == 0) {
            return;
        }
        buf_puts(ret, first ? "" : " ");
        buf_add(ret, at, size);
        first = false;
        at += size;
    }
}

/* The headers with their values if VALUES, else their names alone. */
static void add_headers(struct buf *ret, const struct signed_headers *headers, bool values)
{
    for (size_t i = 0; i < headers->count; i++) {
        const char *line = headers->lines[i];
        bool again = i != 0 && compare_names(headers->lines[i - 1], line) == 0;

        if (values && again) {
            ret->size--; /* the newline: values of one name go into one line */
            buf_putc(ret, ',');
        } else if (!again) {
            buf_puts(ret, !values && i != 0 ? ";" : "");
            add_name(ret, line);
        }
        if (values) {
            buf_puts(ret, again ? "" : ":");
            add_value(ret, line);
            buf_putc(ret, '\n');
        }
    }
}

static void hash_request(const struct aws_signing *signing, const struct parts *parts,
                         const struct signed_headers *headers, char ret[HASH_HEX_MAX])
{
    SCOPED(secret_done) struct buf text = {0};
    uint8_t digest[HASH_SIZE];

    buf_printf(&text, "%s\n", signing->method);
    add_path(&text, &parts->path);
    buf_putc(&text, '\n');
    add_query(&text, &parts->query);
    buf_putc(&text, '\n');
    add_headers(&text, headers, true);
    buf_putc(&text, '\n');
    add_headers(&text, headers, false);
    buf_printf(&text, "\n%s", hash_hex(signing->sha256, ret));
    hash_bytes(text.data, text.size, digest);
    (void)hash_hex(digest, ret);
}

/* --- the signature --------------------------------------------------------------------------- */

/* HMAC-SHA256 of TEXT; RET may be KEY. */
static void hmac(const void *key, size_t key_size, const char *text, uint8_t ret[HASH_SIZE])
{
    unsigned size = 0;

    if (HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), ret,
             &size) == NULL ||
        size != HASH_SIZE) {
        (void)fputs("kiln: OpenSSL cannot compute signatures\n", stderr);
        abort();
    }
}

/* SCOPE is "day/region/service/aws4_request". */
static void make_signature(const struct aws_signing *signing, const char *stamp, const char *scope,
                           const char *request, char ret[HASH_HEX_MAX])
{
    SCOPED_FREE char *day = xstrndup(stamp, DAY_SIZE);
    SCOPED_FREE char *text = xprintf(ALGORITHM "\n%s\n%s\n%s", stamp, scope, request);
    SCOPED(secret_freep) char *secret = xprintf("AWS4%s", signing->keys->secret_key);
    uint8_t key[HASH_SIZE];

    hmac(secret, strlen(secret), day, key);
    hmac(key, sizeof(key), signing->region, key);
    hmac(key, sizeof(key), signing->service, key);
    hmac(key, sizeof(key), "aws4_request", key);
    hmac(key, sizeof(key), text, key);
    (void)hash_hex(key, ret); /* by now it is the signature itself */
}

static void make_stamp(int64_t seconds, char ret[STAMP_MAX])
{
    time_t time = (time_t)seconds;
    struct tm tm = {.tm_mday = 1};

    (void)gmtime_r(&time, &tm);
    if (strftime(ret, STAMP_MAX, "%Y%m%dT%H%M%SZ", &tm) == 0) {
        ret[0] = '\0'; /* no year of ours has so many digits */
    }
}

void aws_sign(const struct aws_signing *signing, struct http_headers *ret)
{
    struct parts parts = split(signing->url);
    SCOPED_FREE char *host = host_of(&parts);
    SCOPED_FREE char *scope = NULL;
    SCOPED(buf_done) struct buf names = {0};
    struct signed_headers headers = {0};
    char stamp[STAMP_MAX], hex[HASH_HEX_MAX], signature[HASH_HEX_MAX];

    make_stamp(signing->time, stamp);
    scope = xprintf("%.*s/%s/%s/aws4_request", DAY_SIZE, stamp, signing->region, signing->service);
    http_headers_add(ret, "Host: %s", host);
    http_headers_add(ret, "X-Amz-Date: %s", stamp);
    http_headers_add(ret, "X-Amz-Content-SHA256: %s", hash_hex(signing->sha256, hex));
    if (signing->keys->session_token != NULL) {
        http_headers_add(ret, "X-Amz-Security-Token: %s", signing->keys->session_token);
    }
    for (size_t i = 0; i < ret->count; i++) {
        collect(&headers, ret->lines[i]);
    }
    for (const char *const *line = signing->headers; line != NULL && *line != NULL; line++) {
        collect(&headers, *line);
    }
    add_headers(&names, &headers, false);
    hash_request(signing, &parts, &headers, hex);
    make_signature(signing, stamp, scope, hex, signature);
    http_headers_add(
        ret, "Authorization: " ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s",
        signing->keys->access_key, scope, names.data, signature);
    free(headers.lines);
}
