/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/aws.h"

#include <string.h>
#include <time.h>

#include "aws/problem.h"
#include "aws/sign.h"
#include "base/hash.h"

int aws_service_init(struct aws_service *ret, const struct aws_config *config, struct http *http,
                     struct aws_credentials *credentials, const char *name, const char *region,
                     struct error *err)
{
    char *endpoint = NULL;

    if (aws_config_endpoint(config, name, region, &endpoint, err) < 0) {
        return -1;
    }
    *ret = (struct aws_service){.http = http,
                                .credentials = credentials,
                                .name = xstrdup(name),
                                .region = xstrdup(region),
                                .endpoint = endpoint};
    return 0;
}

void aws_service_done(struct aws_service *service)
{
    free(service->name);
    free(service->region);
    free(service->endpoint);
    *service = (struct aws_service){0};
}

/* --- sending --------------------------------------------------------------------------------- */

/* A call on its way. */
struct sending {
    const struct aws_service *service;
    const struct aws_call *call;
    char *url;
    uint8_t sha256[HASH_SIZE];
    struct aws_keys keys; /* of the last attempt */
    int64_t signed_at;
    bool adjusted; /* the clock was, for this call */
    struct aws_error problem;
};

static void sending_done(struct sending *sending)
{
    free(sending->url);
    aws_keys_done(&sending->keys);
}

static int prepare(void *data, struct http_headers *headers, struct error *err)
{
    struct sending *sending = data;
    const struct aws_service *service = sending->service;

    if (service->credentials == NULL) {
        return 0;
    }
    aws_keys_done(&sending->keys);
    if (aws_credentials_get(service->credentials, NULL, &sending->keys, err) < 0) {
        return -1;
    }
    sending->signed_at = aws_credentials_now(service->credentials);
    aws_sign(&(struct aws_signing){.method = sending->call->method,
                                   .url = sending->url,
                                   .headers = sending->call->headers,
                                   .sha256 = sending->sha256,
                                   .service = service->name,
                                   .region = service->region,
                                   .time = sending->signed_at,
                                   .keys = &sending->keys},
             headers);
    return 0;
}

/* True when the call should be made again by the server's clock. */
static bool adjust_clock(struct sending *sending, const struct http_reply *reply)
{
    struct aws_credentials *credentials = sending->service->credentials;
    int64_t skew = credentials == NULL || sending->adjusted
                       ? 0
                       : problem_skew(reply, sending->problem.code, sending->signed_at);

    if (skew == 0) {
        return false;
    }
    aws_credentials_set_ahead(credentials, sending->signed_at + skew - (int64_t)time(NULL));
    sending->adjusted = true;
    return true;
}

static enum http_verdict judge(void *data, const struct http_reply *reply)
{
    struct sending *sending = data;
    const struct aws_call *call = sending->call;

    if (reply->status >= 200 && reply->status < 300) {
        return HTTP_DONE;
    }
    problem_read(reply, call->secret != NULL ? call->secret : sending->keys.session_token,
                 &sending->problem);
    if (adjust_clock(sending, reply)) {
        return HTTP_RETRY;
    }
    if (problem_is_slow_line(&sending->problem)) {
        return HTTP_THROTTLED;
    }
    return problem_verdict(reply->status, sending->problem.code, call->retry_codes);
}

static int renew(void *data, struct error *err)
{
    struct sending *sending = data;
    SCOPED(aws_keys_done) struct aws_keys fresh = {0};

    return aws_credentials_get(sending->service->credentials, &sending->keys, &fresh, err);
}

int aws_send(const struct aws_service *service, const struct aws_call *call, struct http_reply *ret,
             struct aws_error *problem, struct error *err)
{
    SCOPED(sending_done) struct sending sending = {.service = service, .call = call};
    struct http_body body = {.data = call->body != NULL ? call->body : "", .size = call->size};
    struct http_call request = {.method = call->method,
                                .headers = call->headers,
                                .body = call->body != NULL ? &body : NULL,
                                .prepare = prepare,
                                .judge = judge,
                                .renew = service->credentials != NULL ? renew : NULL,
                                .data = &sending};

    sending.url = xprintf("%s%s%s%s", service->endpoint, call->path, call->query != NULL ? "?" : "",
                          call->query != NULL ? call->query : "");
    request.url = sending.url;
    if (call->sha256 != NULL) {
        memcpy(sending.sha256, call->sha256, HASH_SIZE);
    } else {
        hash_bytes(body.data, body.size, sending.sha256);
    }
    if (http_send(service->http, &request, ret, err) < 0) {
        return -1;
    }
    if (ret->status >= 200 && ret->status < 300) {
        return 0;
    }
    *problem = sending.problem;
    return 1;
}

/* --- failing --------------------------------------------------------------------------------- */

static const struct {
    const char *code, *hint;
} hints[] = {
    {"ExpiredToken", "the session is over: log in again, or get a new session token"},
    {"RequestExpired", "the session is over, or this machine's clock is wrong"},
    {"InvalidClientTokenId", "AWS does not know this access key: is it the right profile, and is "
                             "the session still open?"},
    {"UnrecognizedClientException", "AWS does not know this access key: is it the right profile?"},
    {"AuthFailure", "AWS does not know this access key, or not in this region: is the region "
                    "enabled for the account?"},
    {"SignatureDoesNotMatch", "the secret access key is not that of the access key"},
    {"InvalidSignatureException", "the secret access key is not that of the access key"},
    {"RequestTimeTooSkewed", "set this machine's clock"},
    {"AccessDenied", "this identity lacks a permission; the message names it"},
    {"UnauthorizedOperation", "this identity lacks a permission; the message names it"},
    {"OptInRequired", "this account has not enabled the service in this region"},
};

/* The first whose code CODE begins with: "ExpiredTokenException", too. */
static const char *hint_for(const char *code)
{
    for (size_t i = 0; i < COUNT(hints); i++) {
        if (strncmp(code, hints[i].code, strlen(hints[i].code)) == 0) {
            return hints[i].hint;
        }
    }
    return NULL;
}

int aws_fail(const char *what, const struct http_reply *reply, const struct aws_error *problem,
             struct error *err)
{
    const char *code = problem->code[0] != '\0' ? problem->code : "no explanation";
    const char *hint = hint_for(problem->code);

    fail(err, FAIL_REMOTE, "%s: %s%s%s%s%s (status %u, request id %s)", what, code,
         problem->reason[0] != '\0' ? " " : "", problem->reason,
         problem->message[0] != '\0' ? ": " : "", problem->message, reply->status,
         problem->request_id);
    return hint != NULL ? fail_hint(err, "%s", hint) : -1;
}
