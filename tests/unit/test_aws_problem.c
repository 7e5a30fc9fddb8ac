/* SPDX-License-Identifier: Apache-2.0 */
/* What is read out of replies that say no, and what is done about them. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aws/problem.h"
#include "base/scope.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define TOKEN "IQoJb3JpZ2luX2VjEXAMPLE=="

/* HEADERS: lines, divided by newlines. */
static void make_reply(unsigned status, const char *headers, const char *body,
                       struct http_reply *ret)
{
    SCOPED_FREE char *lines = xstrdup(headers);
    char *rest = lines;

    *ret = (struct http_reply){.status = status};
    for (const char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0') {
            http_headers_add(&ret->headers, "%s", line);
        }
    }
    buf_puts(&ret->body, body);
}

static void replies_explain_themselves(void **state)
{
    static const struct {
        const char *headers, *body, *code, *reason, *message, *id;
    } rows[] = {
        /* EBS: the code in a header, with a URL behind it */
        {"x-amzn-RequestId: 1-2\n"
         "X-Amzn-ErrorType: ValidationException:http://internal.amazon.com/coral/",
         "{\"Message\": \"bad block\", \"Reason\": \"INVALID_BLOCK\"}", "ValidationException",
         "INVALID_BLOCK", "bad block", "1-2"},
        {"x-amz-request-id: 3", "{\"__type\": \"com.amazonaws.ebs#ThrottlingException\"}",
         "ThrottlingException", "", "", "3"},
        {"", " \r\n{\"code\": \"AccessDenied\", \"message\": \"no\"}", "AccessDenied", "", "no",
         "-"},
        /* EC2 */
        {"",
         "<?xml version=\"1.0\" "
         "encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>InvalidAMIName."
         "Duplicate</Code><Message>AMI name &quot;web&quot; &amp; co</Message></Error></Errors>"
         "<RequestID>4-5</RequestID></Response>",
         "InvalidAMIName.Duplicate", "", "AMI name \"web\" & co", "4-5"},
        /* STS, with a name space */
        {"x-amzn-RequestId: 6",
         "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender"
         "</Type><Code>ExpiredToken</Code><Message>over</Message></Error><RequestId>7</RequestId>"
         "</ErrorResponse>",
         "ExpiredToken", "", "over", "7"},
        /* the request as it should have been has the session token */
        {"",
         "{\"__type\": \"InvalidSignatureException\", \"message\": \"does not match.\\n\\nThe "
         "Canonical String for this request should have been\\n'POST\\nx-amz-security-token:"
         "secret'\"}",
         "InvalidSignatureException", "", "does not match.", "-"},
        {"", "{\"__type\": \"Odd\", \"message\": \"you sent " TOKEN ", didn't you\"}", "Odd", "",
         "(left out, as it repeats a secret)", "-"},
        /* a proxy, nothing, half of something, something else */
        {"", "<html><body>Bad Gateway<br></body></html>", "", "", "", "-"},
        {"", "", "", "", "", "-"},
        {"", "{\"__type\": \"Thrott", "", "", "", "-"},
        {"", "[]", "", "", "", "-"},
        {"", "{\"__type\": 7, \"message\": [], \"Reason\": {}}", "", "", "", "-"},
        {"",
         "<!DOCTYPE x [<!ENTITY e \"y\">]><Response><Errors><Error><Code>&e;</Code></Error>"
         "</Errors></Response>",
         "", "", "", "-"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(http_reply_done) struct http_reply reply = {0};
        struct aws_error problem;

        make_reply(400, rows[i].headers, rows[i].body, &reply);
        problem_read(&reply, TOKEN, &problem);
        assert_string_equal(problem.code, rows[i].code);
        assert_string_equal(problem.reason, rows[i].reason);
        assert_string_equal(problem.message, rows[i].message);
        assert_string_equal(problem.request_id, rows[i].id);
    }
}

/* Longer than there is room for: cut, and the token that is further behind found all the same. */
static void long_messages_are_cut(void **state)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED(buf_done) struct buf body = {0};
    struct aws_error problem;

    (void)state;
    buf_puts(&body, "{\"__type\": \"");
    for (int i = 0; i < 5000; i++) {
        buf_putc(&body, 'C');
    }
    buf_puts(&body, "\", \"message\": \"");
    for (int i = 0; i < 5000; i++) {
        buf_putc(&body, 'm');
    }
    buf_puts(&body, TOKEN "\"}");
    make_reply(400, "", body.data, &reply);
    problem_read(&reply, NULL, &problem);
    assert_int_equal(strlen(problem.code), sizeof(problem.code) - 1);
    assert_int_equal(strlen(problem.message), sizeof(problem.message) - 1);
    problem_read(&reply, TOKEN, &problem);
    assert_string_equal(problem.message, "(left out, as it repeats a secret)");
}

static void codes_tell_what_to_do(void **state)
{
    static const char *const own[] = {"ResourceNotFoundException", NULL};
    static const struct {
        unsigned status;
        const char *code;
        enum http_verdict verdict;
    } rows[] = {
        {400, "RequestThrottledException", HTTP_THROTTLED}, /* EBS */
        {400, "ThrottlingException", HTTP_THROTTLED},
        {503, "RequestLimitExceeded", HTTP_THROTTLED}, /* EC2 */
        {400, "Throttling", HTTP_THROTTLED},
        {429, "", HTTP_THROTTLED},
        {500, "", HTTP_RETRY},
        {501, "NotImplemented", HTTP_RETRY},
        {503, "ServiceUnavailable", HTTP_RETRY},
        {400, "InternalError", HTTP_RETRY},
        {400, "RequestTimeout", HTTP_RETRY},
        {408, "", HTTP_RETRY},
        {404, "ResourceNotFoundException", HTTP_RETRY}, /* as this call allows */
        {404, "InvalidAMIID.NotFound", HTTP_DONE},
        {400, "ExpiredToken", HTTP_DENIED},
        {403, "ExpiredTokenException", HTTP_DENIED},
        {403, "InvalidClientTokenId", HTTP_DENIED},
        {403, "UnrecognizedClientException", HTTP_DENIED},
        {401, "AuthFailure", HTTP_DENIED},
        {403, "AccessDeniedException", HTTP_DONE},
        {402, "ServiceQuotaExceededException", HTTP_DONE},
        {409, "ConflictException", HTTP_DONE},
        {400, "", HTTP_DONE},
        {302, "", HTTP_DONE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(problem_verdict(rows[i].status, rows[i].code, own), rows[i].verdict);
    }
    assert_int_equal(problem_verdict(404, "ResourceNotFoundException", NULL), HTTP_DONE);
}

static void a_wrong_clock_shows_in_the_reply(void **state)
{
    static const struct {
        const char *code, *date;
        int64_t skew;
    } rows[] = {
        {"SignatureDoesNotMatch", "Date: Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"SignatureDoesNotMatch", "Date: Sun, 06 Nov 1994 08:54:37 GMT", 0},
        {"SignatureDoesNotMatch", "Date: Sun, 06 Nov 1994 08:54:38 GMT", 301},
        {"RequestTimeTooSkewed", "date: Sun, 06 Nov 1994 05:49:37 GMT", -10800},
        {"InvalidSignatureException", "Date: Mon, 07 Nov 1994 08:49:37 GMT", 86400},
        {"RequestExpired", "Date: Sun, 06 Nov 1994 09:49:37 GMT", 3600},
        {"AccessDenied", "Date: Sun, 06 Nov 1994 09:49:37 GMT", 0}, /* not about time */
        {"RequestTimeTooSkewed", "Date: 1994-11-06T09:49:37Z", 0},
        {"RequestTimeTooSkewed", "Date: Sun, 06 Nov 1994 09:49:37 GMT+1", 0},
        {"RequestTimeTooSkewed", "Date:", 0},
        {"RequestTimeTooSkewed", "", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(http_reply_done) struct http_reply reply = {0};

        make_reply(403, rows[i].date, "", &reply);
        assert_int_equal(problem_skew(&reply, rows[i].code, 784111777), rows[i].skew);
    }
}

static void messages_say_what_and_why(void **state)
{
    const struct http_reply reply = {.status = 403};
    const struct aws_error denied = {.code = "AccessDeniedException",
                                     .reason = "UNAUTHORIZED_ACCOUNT",
                                     .message = "not yours",
                                     .request_id = "1-2"};
    const struct aws_error unknown = {.request_id = "-"};
    struct error err = {0};

    (void)state;
    assert_int_equal(aws_fail("StartSnapshot at https://ebs", &reply, &denied, &err), -1);
    assert_int_equal(err.kind, FAIL_REMOTE);
    assert_string_equal(err.message,
                        "StartSnapshot at https://ebs: AccessDeniedException "
                        "UNAUTHORIZED_ACCOUNT: not yours (status 403, request id 1-2)");
    assert_string_equal(err.hint, "this identity lacks a permission; the message names it");
    fail_clear(&err);
    assert_int_equal(aws_fail("X", &reply, &unknown, &err), -1);
    assert_string_equal(err.message, "X: no explanation (status 403, request id -)");
    assert_string_equal(err.hint, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_explain_themselves),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(codes_tell_what_to_do),
        cmocka_unit_test(a_wrong_clock_shows_in_the_reply),
        cmocka_unit_test(messages_say_what_and_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
