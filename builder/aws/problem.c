/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/problem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/xml.h"

enum { SKEW_MIN_S = 300 };

/* Lists end with NULL. */
static bool is_one_of(const char *code, const char *const *codes)
{
    while (codes != NULL && *codes != NULL && strcmp(code, *codes) != 0) {
        codes++;
    }
    return codes != NULL && *codes != NULL;
}

/* --- what it says ---------------------------------------------------------------------------- */

static void put(char *ret, size_t size, const char *text)
{
    (void)snprintf(ret, size, "%s", text != NULL ? text : "");
}

#define PUT(field, text) put(field, sizeof(field), text)

/* "com.amazonaws.ebs#ValidationException:http://…" is a ValidationException. */
static void put_code(struct aws_error *ret, const char *text)
{
    const char *hash = strchr(text, '#');

    PUT(ret->code, hash != NULL ? hash + 1 : text);
    ret->code[strcspn(ret->code, ":")] = '\0';
}

/* Servers explain a signature that does not match by the whole request that they would have signed,
 * session token included. */
static void put_message(struct aws_error *ret, const char *text, const char *secret)
{
    const char *canonical = text != NULL ? strstr(text, "The Canonical String") : NULL;
    size_t size = canonical != NULL ? (size_t)(canonical - text) : SIZE_MAX;

    if (text != NULL && secret != NULL && strstr(text, secret) != NULL) {
        text = "(left out, as it repeats a secret)";
        size = SIZE_MAX;
    }
    PUT(ret->message, text);
    if (size < sizeof(ret->message)) {
        ret->message[size] = '\0';
    }
    for (size = strlen(ret->message);
         size != 0 && strchr(" \r\n", ret->message[size - 1]) != NULL;) {
        ret->message[--size] = '\0';
    }
}

static const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void read_json(const struct buf *body, const char *secret, struct aws_error *ret)
{
    SCOPED(json_decrefp) json_t *object = json_loadb(body->data, body->size, 0, NULL);
    const char *code = json_text(object, "__type"), *message = json_text(object, "message");

    code = code != NULL ? code : json_text(object, "code");
    if (code != NULL && ret->code[0] == '\0') {
        put_code(ret, code);
    }
    put_message(ret, message != NULL ? message : json_text(object, "Message"), secret);
    PUT(ret->reason, json_text(object, "Reason"));
}

static void read_xml(const struct buf *body, const char *secret, struct aws_error *ret)
{
    SCOPED(xml_freep) struct xml *xml = NULL;
    const struct xml *error;
    const char *id;
    struct error err = {0};

    if (xml_parse(body->data, body->size, &xml, &err) < 0) {
        return;
    }
    /* <Response><Errors><Error> of EC2, <ErrorResponse><Error> of the others */
    error = xml_find(xml, "Errors/Error");
    error = error != NULL ? error : xml_find(xml, "Error");
    if (xml_text(error, "Code") != NULL) {
        put_code(ret, xml_text(error, "Code"));
    }
    put_message(ret, xml_text(error, "Message"), secret);
    id = xml_text(xml, "RequestID");
    id = id != NULL ? id : xml_text(xml, "RequestId");
    if (id != NULL) {
        PUT(ret->request_id, id);
    }
}

void problem_read(const struct http_reply *reply, const char *secret, struct aws_error *ret)
{
    const char *code = http_header(reply, "x-amzn-ErrorType");
    const char *id = http_header(reply, "x-amzn-RequestId");
    const char *body = reply->body.data != NULL ? reply->body.data : "";

    *ret = (struct aws_error){.request_id = "-"};
    id = id != NULL ? id : http_header(reply, "x-amz-request-id");
    if (id != NULL && id[0] != '\0') {
        PUT(ret->request_id, id);
    }
    if (code != NULL) {
        put_code(ret, code);
    }
    body += strspn(body, " \t\r\n");
    if (*body == '{') {
        read_json(&reply->body, secret, ret);
    } else if (*body == '<') {
        read_xml(&reply->body, secret, ret);
    }
}

/* --- what that means ------------------------------------------------------------------------- */

enum http_verdict problem_verdict(unsigned status, const char *code, const char *const *retry_codes)
{
    static const char *const throttled[] = {"RequestLimitExceeded",
                                            "Throttling",
                                            "ThrottlingException",
                                            "ThrottledException",
                                            "RequestThrottled",
                                            "RequestThrottledException",
                                            "TooManyRequestsException",
                                            "RequestLimitExceededException",
                                            "BandwidthLimitExceeded",
                                            "SlowDown",
                                            NULL};
    static const char *const passing[] = {"Unavailable",
                                          "ServiceUnavailable",
                                          "ServiceUnavailableException",
                                          "InternalError",
                                          "Server.InternalError",
                                          "InternalFailure",
                                          "InternalServerException",
                                          "RequestTimeout",
                                          "RequestTimeoutException",
                                          NULL};
    static const char *const denied[] = {"ExpiredToken",
                                         "ExpiredTokenException",
                                         "RequestExpired",
                                         "InvalidClientTokenId",
                                         "UnrecognizedClientException",
                                         "InvalidToken",
                                         "AuthFailure",
                                         NULL};

    if (status == 429 || is_one_of(code, throttled)) {
        return HTTP_THROTTLED;
    }
    if (status >= 500 || status == 408 || is_one_of(code, passing) ||
        is_one_of(code, retry_codes)) {
        return HTTP_RETRY;
    }
    return status == 401 || is_one_of(code, denied) ? HTTP_DENIED : HTTP_DONE;
}

bool problem_is_slow_line(const struct aws_error *problem)
{
    return strcmp(problem->code, "ValidationException") == 0 &&
           (strcmp(problem->reason, "WRITE_REQUEST_TIMEOUT") == 0 ||
            strcmp(problem->message, "Failed to read block data") == 0);
}

/* RFC 9110, 5.6.7, in the one form that is still sent: "Sun, 06 Nov 1994 08:49:37 GMT". */
static bool parse_date(const char *text, int64_t *ret)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

    if (end == NULL || *end != '\0') {
        return false;
    }
    *ret = (int64_t)timegm(&tm);
    return true;
}

int64_t problem_skew(const struct http_reply *reply, const char *code, int64_t now)
{
    static const char *const codes[] = {"RequestTimeTooSkewed",
                                        "RequestInTheFuture",
                                        "RequestExpired",
                                        "SignatureDoesNotMatch",
                                        "InvalidSignatureException",
                                        "AuthFailure",
                                        NULL};
    const char *text = http_header(reply, "Date");
    int64_t date;

    if (!is_one_of(code, codes) || text == NULL || !parse_date(text, &date) ||
        llabs(date - now) <= SKEW_MIN_S) {
        return 0;
    }
    return date - now;
}
