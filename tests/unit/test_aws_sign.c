/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures that AWS documents. (cases/aws-botocore.sh has many more, of botocore's.) */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aws/keys.h"
#include "aws/sign.h"
#include "base/hash.h"
#include "base/scope.h"
#include "base/text.h"
#include "http/http.h"

#include <cmocka.h> /* last: it has a macro fail() */

static const struct aws_keys keys = {
    .access_key = (char *)"AKIAIOSFODNN7EXAMPLE",
    .secret_key = (char *)"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};

/* https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. In these, S3's way
 * to sign a path gives what that of the others does. */
static void documented_examples(void **state)
{
    static const struct {
        const char *url, *header, *names, *signature;
    } rows[] = {
        {"https://examplebucket.s3.amazonaws.com/test.txt", "Range: bytes=0-9",
         "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"https://examplebucket.s3.amazonaws.com/?lifecycle", NULL,
         "host;x-amz-content-sha256;x-amz-date",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2", NULL,
         "host;x-amz-content-sha256;x-amz-date",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    uint8_t empty[HASH_SIZE];
    int64_t time;

    (void)state;
    hash_bytes("", 0, empty);
    assert_true(text_parse_time("2013-05-24T00:00:00Z", &time));
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(http_headers_done) struct http_headers headers = {0};
        SCOPED_FREE char *expected =
            xprintf("Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
                    "us-east-1/s3/aws4_request, SignedHeaders=%s, Signature=%s",
                    rows[i].names, rows[i].signature);
        const char *const lines[] = {rows[i].header, NULL};

        aws_sign(&(struct aws_signing){.method = "GET",
                                       .url = rows[i].url,
                                       .headers = lines,
                                       .sha256 = empty,
                                       .service = "s3",
                                       .region = "us-east-1",
                                       .time = time,
                                       .keys = &keys},
                 &headers);
        assert_int_equal(headers.count, 4);
        assert_string_equal(headers.lines[0], "Host: examplebucket.s3.amazonaws.com");
        assert_string_equal(headers.lines[1], "X-Amz-Date: 20130524T000000Z");
        assert_string_equal(headers.lines[2],
                            "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb924"
                            "27ae41e4649b934ca495991b7852b855");
        assert_string_equal(headers.lines[3], expected);
    }
}

static void a_session_token_is_sent_and_signed(void **state)
{
    SCOPED(http_headers_done) struct http_headers headers = {0};
    struct aws_keys session = keys;
    uint8_t empty[HASH_SIZE];

    (void)state;
    hash_bytes("", 0, empty);
    session.session_token = (char *)"token==";
    aws_sign(&(struct aws_signing){.method = "POST",
                                   .url = "http://LOCALHOST:80",
                                   .sha256 = empty,
                                   .service = "sts",
                                   .region = "us-east-1",
                                   .keys = &session},
             &headers);
    assert_int_equal(headers.count, 5);
    assert_string_equal(headers.lines[0], "Host: localhost");
    assert_string_equal(headers.lines[3], "X-Amz-Security-Token: token==");
    assert_non_null(strstr(headers.lines[4],
                           "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-"
                           "token, "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_examples),
        cmocka_unit_test(a_session_token_is_sent_and_signed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
