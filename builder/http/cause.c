/* SPDX-License-Identifier: Apache-2.0 */
#include "http/cause.h"

#include <openssl/x509_vfy.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/text.h"

/* libcurl quotes a proxy that it cannot make sense of, with the password that is in it. */
static bool is_bad_proxy(const char *text)
{
    return text_starts(text, "Unsupported proxy ");
}

/* What no waiting changes. */
static bool is_final(CURL *curl, CURLcode code, const char *text)
{
    long connect = 0;

    if (is_bad_proxy(text)) {
        return true;
    }
    (void)curl_easy_getinfo(curl, CURLINFO_HTTP_CONNECTCODE, &connect);
    switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
        return true;
    default: /* a proxy that does not let us through says 403 or 407 */
        return connect >= 400 && connect < 500 && connect != 408 && connect != 429;
    }
}

/* What libcurl says, with the system's reason where libcurl has none. */
static char *cause_text(CURL *curl, CURLcode code, const char *text, const struct http_call *call)
{
    static const char vague[] = ": Couldn't connect to server";
    double pretransfer = 0;
    long os = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os);
    (void)curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME, &pretransfer);
    if (code == CURLE_OPERATION_TIMEDOUT && pretransfer > 0) {
        return xprintf("not finished within %u s", call->timeout_s);
    }
    if (is_bad_proxy(text)) {
        return xstrdup("the proxy's URL is not one");
    }
    if (text[0] == '\0') {
        text = curl_easy_strerror(code);
    }
    if (code == CURLE_COULDNT_CONNECT && os != 0 && text_ends(text, vague)) {
        return xprintf("%.*s: %s", (int)(strlen(text) - strlen(vague)), text, strerror((int)os));
    }
    return xstrdup(text);
}

/* The names of the variables that choose a proxy for URL, never their values: they may have a
 * password. Empty: there are none. */
static void proxy_variables(const struct http_call *call, struct buf *ret)
{
    /* Not HTTP_PROXY, which a CGI program gets from whoever asks; libcurl leaves it out too. */
    static const char *const plain[] = {"http_proxy", "all_proxy", "ALL_PROXY"};
    static const char *const secure[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    bool is_secure = strncasecmp(call->url, "https:", 6) == 0;
    const char *const *names = is_secure ? secure : plain;

    for (size_t i = 0; !call->direct && i < (is_secure ? COUNT(secure) : COUNT(plain)); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0') {
            buf_printf(ret, "%s%s", ret->size != 0 ? ", " : "", names[i]);
        }
    }
}

static int hint_certificate(const struct http *http, CURL *curl, const char *text,
                            struct error *err)
{
    const struct trust *trust = &http->trust;
    char now[TEXT_TIME_MAX];
    long verdict = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &verdict);
    if (verdict == X509_V_ERR_CERT_NOT_YET_VALID || verdict == X509_V_ERR_CERT_HAS_EXPIRED) {
        return fail_hint(err,
                         "this machine's clock says %s: if that is right, the server needs a "
                         "new certificate",
                         text_time((int64_t)time(NULL), now));
    }
    if (strstr(text, "target host") != NULL) { /* libcurl's own check has no number */
        return fail_hint(err, "the certificate is for another name: is the host in the URL right?");
    }
    if (trust->file == NULL && trust->dir == NULL) {
        return fail_hint(err, "if the server's certificate, or that of a proxy which looks into "
                              "TLS, is signed by a CA of your own, set CURL_CA_BUNDLE to a PEM "
                              "file of it");
    }
    return fail_hint(err, "only what a CA in '%s' signed is trusted%s%s",
                     trust->file != NULL ? trust->file : trust->dir,
                     trust->from != NULL ? "; the environment says so: " : "",
                     trust->from != NULL ? trust->from : "");
}

static int hint(const struct http *http, const struct http_call *call, CURL *curl, CURLcode code,
                const char *text, struct error *err)
{
    SCOPED(buf_done) struct buf proxies = {0};

    if (code == CURLE_PEER_FAILED_VERIFICATION) {
        return hint_certificate(http, curl, text, err);
    }
    proxy_variables(call, &proxies);
    if (proxies.size != 0) {
        return fail_hint(err,
                         "the environment names a proxy (%s); what no_proxy lists goes past it",
                         proxies.data);
    }
    if (code == CURLE_COULDNT_RESOLVE_HOST) {
        return fail_hint(err, "is the host's name right, and does this machine's DNS work?");
    }
    return -1;
}

int cause_fail(const struct http *http, const struct http_call *call, CURL *curl, CURLcode code,
               const char *text, bool *ret_again, struct error *err)
{
    SCOPED_FREE char *url = url_shown(call), *cause = cause_text(curl, code, text, call);

    *ret_again = !is_final(curl, code, text);
    (void)fail(err, FAIL_REMOTE, "%s %s: %s", call->method, url, cause);
    return hint(http, call, curl, code, text, err);
}
