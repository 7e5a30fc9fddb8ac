/* SPDX-License-Identifier: Apache-2.0 */
/* URLs are taken apart by libcurl's own parser: what is checked is what is connected to. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/http_internal.h"

static void url_cleanup(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void text_cleanup(char **text)
{
    curl_free(*text);
}

static const char *after_scheme(const char *text)
{
    return strncasecmp(text, "http://", 7) == 0    ? text + 7
           : strncasecmp(text, "https://", 8) == 0 ? text + 8
                                                   : NULL;
}

const char *url_wrong(const char *text)
{
    const char *host = after_scheme(text);
    SCOPED(url_cleanup) CURLU *url = NULL;

    for (const char *s = text; *s != '\0'; s++) {
        if (*s <= 0x20 || *s >= 0x7f) {
            return "has a blank or a character that must be percent-encoded";
        }
    }
    if (host == NULL) {
        return "does not begin with http:// or https://";
    }
    if (strcspn(host, "/?#:") == 0) {
        return "has no host";
    }
    if (memchr(host, '@', strcspn(host, "/?#")) != NULL) {
        return "has a user name";
    }
    if (strchr(host, '#') != NULL) {
        return "has a fragment";
    }
    url = curl_url();
    return url == NULL || curl_url_set(url, CURLUPART_URL, text, CURLU_PATH_AS_IS) != CURLUE_OK
               ? "is not a URL"
               : NULL;
}

const char *http_url_wrong(const char *text)
{
    const char *wrong = url_wrong(text);

    return wrong == NULL && strchr(text, '?') != NULL ? "has a query" : wrong;
}

/* A part of a URL, to be freed with curl_free; NULL: it has none. */
static char *part_of(const char *text, CURLUPart part)
{
    SCOPED(url_cleanup) CURLU *url = curl_url();
    char *ret = NULL;

    if (url == NULL || curl_url_set(url, CURLUPART_URL, text, CURLU_PATH_AS_IS) != CURLUE_OK ||
        curl_url_get(url, part, &ret, 0) != CURLUE_OK) {
        return NULL;
    }
    return ret;
}

char *http_origin(const char *url)
{
    SCOPED(text_cleanup) char *scheme = part_of(url, CURLUPART_SCHEME);
    SCOPED(text_cleanup) char *host = part_of(url, CURLUPART_HOST);
    SCOPED(text_cleanup) char *port = part_of(url, CURLUPART_PORT);

    if (scheme == NULL || host == NULL) {
        return xstrdup("(not a URL)");
    }
    return xprintf("%s://%s%s%s", scheme, host, port != NULL ? ":" : "", port != NULL ? port : "");
}

bool http_is_open(const char *url)
{
    SCOPED(text_cleanup) char *host = part_of(url, CURLUPART_HOST);
    struct in_addr address;

    if (strncasecmp(url, "https://", 8) == 0) {
        return false;
    }
    return host == NULL ||
           !(strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
             (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127));
}

char *url_shown(const struct http_call *call)
{
    return xstrndup(call->url, call->secret_url ? strcspn(call->url, "?") : strlen(call->url));
}

void http_encode(struct buf *buf, const char *text, const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";

    for (const char *s = text; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if (strchr(unreserved, c) != NULL || (keep != NULL && strchr(keep, c) != NULL)) {
            buf_putc(buf, *s);
        } else {
            buf_putc(buf, '%');
            buf_putc(buf, hex[c >> 4]);
            buf_putc(buf, hex[c & 15]);
        }
    }
    buf_add(buf, "", 0);
}
