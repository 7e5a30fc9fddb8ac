/* SPDX-License-Identifier: Apache-2.0 */
/* What http/ does without a network: URLs, headers, verdicts, pauses, the limit of bytes. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "http/http_internal.h"
#include "http/rate.h"
#include "http/retry.h"

#include <cmocka.h> /* last: it has a macro fail() */

/* --- URLs --- */

static void encodes_all_but_what_is_unreserved_or_kept(void **state)
{
    SCOPED(buf_done) struct buf buf = {0};

    (void)state;
    http_encode(&buf, "aZ09-._~ /:+%\xc3\xa9\n", NULL);
    assert_string_equal(buf.data, "aZ09-._~%20%2F%3A%2B%25%C3%A9%0A");
    buf_clear(&buf);
    http_encode(&buf, "a/b c", "/");
    assert_string_equal(buf.data, "a/b%20c");
    buf_clear(&buf);
    http_encode(&buf, "", NULL);
    assert_string_equal(buf.data, "");
}

static void says_what_is_wrong_with_a_url(void **state)
{
    static const char *const good[] = {
        "http://localhost",         "https://ebs.eu-west-1.amazonaws.com",
        "https://keystone:5000/v3", "HTTPS://Keystone/identity/v3/",
        "https://[fd00::1]:5000",   "http://127.0.0.1:65535/a%20b/../c@d"};
    static const struct {
        const char *url, *wrong;
    } bad[] = {
        {"", "begin with http"},
        {"keystone:5000", "begin with http"},
        {"ftp://keystone", "begin with http"},
        {"file:///etc/passwd", "begin with http"},
        {"http:/keystone", "begin with http"},
        {"https://", "no host"},
        {"https:///v3", "no host"},
        {"https://:5000", "no host"},
        {"https://user@keystone", "user name"},
        {"https://user:word@keystone/", "user name"},
        {"https://@keystone/", "user name"},
        {"https://keystone/v3?a=b", "query"},
        {"https://keystone/v3?", "query"},
        {"https://keystone/v3#a", "fragment"},
        {"https://key stone/", "blank"},
        {"https://keystone/a\r\nHost: b", "blank"},
        {"https://keystone/\x7f", "blank"},
        {"https://k\xc3\xa9ystone/", "blank"},
        {"https://keystone:99999/", "not a URL"},
        {"https://keystone:http/", "not a URL"},
        {"https://key\\stone/", "not a URL"},
        {"https://[fd00::1/", "not a URL"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_null(http_url_wrong(good[i]));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *wrong = http_url_wrong(bad[i].url);

        if (wrong == NULL || strstr(wrong, bad[i].wrong) == NULL) {
            fail_msg("%s: %s", bad[i].url, wrong != NULL ? wrong : "is right");
        }
    }
    assert_null(url_wrong("https://keystone/v3?a=b"));
}

static void shows_where_a_url_leads_and_no_password(void **state)
{
    static const char *const pairs[][2] = {
        {"https://keystone:5000/v3/auth?x=y", "https://keystone:5000"},
        {"http://[::1]/", "http://[::1]"},
        {"https://user:geheim@host/", "https://host"},
        {"https://user:geheim@", "(not a URL)"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        SCOPED_FREE char *origin = http_origin(pairs[i][0]);

        assert_string_equal(origin, pairs[i][1]);
    }
}

static void tells_where_passwords_would_travel_open(void **state)
{
    static const char *const open[] = {"http://keystone:5000/v3",   "HTTP://10.0.0.1",
                                       "http://128.0.0.1",          "http://127.0.0.1.evil.org",
                                       "http://localhost.evil.org", "http://[::2]",
                                       "http://127.0.0.1@evil.org", "http://[::ffff:10.0.0.1]"};
    static const char *const closed[] = {"https://keystone:5000/v3", "HTTPS://a",
                                         "http://localhost:5000",    "http://LocalHost",
                                         "http://127.0.0.1",         "http://127.1.2.3:5000/v3",
                                         "http://[::1]:5000"};

    (void)state;
    for (size_t i = 0; i < COUNT(open); i++) {
        assert_true(http_is_open(open[i]));
    }
    for (size_t i = 0; i < COUNT(closed); i++) {
        assert_false(http_is_open(closed[i]));
    }
}

/* --- headers --- */

static void finds_a_header_by_its_name_in_any_case(void **state)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};

    (void)state;
    assert_null(http_header(&reply, "X-Token"));
    http_headers_add(&reply.headers, "x-token-more: 1");
    http_headers_add(&reply.headers, "X-TOKEN:\t geheim %d", 7);
    http_headers_add(&reply.headers, "X-Token: second");
    http_headers_add(&reply.headers, "Empty:");
    assert_string_equal(http_header(&reply, "X-Token"), "geheim 7");
    assert_string_equal(http_header(&reply, "empty"), "");
    assert_null(http_header(&reply, "X-Tok"));
}

static void a_reply_can_be_used_again(void **state)
{
    struct http_reply reply = {.status = 200};

    (void)state;
    http_headers_add(&reply.headers, "A: b");
    secret_add(&reply.body, "geheim", 6);
    http_reply_done(&reply);
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.headers.count, 0);
    assert_null(reply.body.data);
    http_reply_done(&reply);
}

static void refuses_headers_that_would_be_several(void **state)
{
    static const char *const bad[] = {"A: b\r\nC: d", "A: b\nC: d", "A: b\r", "A\r\nB: c",
                                      "A b: c",       ": b",        "",       "A",
                                      "A: \x01",      "A: \x7f",    " A: b"};
    static const char *const good[] = {"A: b", "A:", "X-a_b.c: d\te \xc3\xa9", "A:b"};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct error err = {0};

        assert_int_equal(header_check(bad[i], &err), -1);
        assert_null(strchr(err.message, '\n'));
    }
    for (size_t i = 0; i < COUNT(good); i++) {
        struct error err = {0};

        assert_int_equal(header_check(good[i], &err), 0);
    }
}

static void an_error_about_a_header_has_no_value(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(header_check("X-Auth-Token: geheim\n", &err), -1);
    assert_non_null(strstr(err.message, "X-Auth-Token"));
    assert_null(strstr(err.message, "geheim"));
}

/* --- verdicts and pauses --- */

static void judges_by_status(void **state)
{
    static const unsigned again[] = {408, 500, 502, 503, 504};
    static const unsigned done[] = {200, 201, 204, 302, 400, 403, 404, 409, 413, 501, 505};

    (void)state;
    for (size_t i = 0; i < COUNT(again); i++) {
        assert_int_equal(http_judge(&(struct http_reply){.status = again[i]}), HTTP_RETRY);
    }
    for (size_t i = 0; i < COUNT(done); i++) {
        assert_int_equal(http_judge(&(struct http_reply){.status = done[i]}), HTTP_DONE);
    }
    assert_int_equal(http_judge(&(struct http_reply){.status = 429}), HTTP_THROTTLED);
    assert_int_equal(http_judge(&(struct http_reply){.status = 401}), HTTP_DENIED);
}

static uint64_t after(const char *value, const char *date)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};

    if (date != NULL) {
        http_headers_add(&reply.headers, "Date: %s", date);
    }
    http_headers_add(&reply.headers, "Retry-After: %s", value);
    return retry_after_ms(&reply, 1793491200); /* 2026-11-01 00:00:00 */
}

static void reads_retry_after(void **state)
{
    static const char date[] = "Tue, 01 Jan 2019 00:00:00 GMT";

    (void)state;
    assert_int_equal(retry_after_ms(&(struct http_reply){0}, 0), 0);
    assert_int_equal(after("0", NULL), 0);
    assert_int_equal(after("7", NULL), 7000);
    assert_int_equal(after("119", NULL), 119000);
    assert_int_equal(after("120", NULL), RETRY_AFTER_MAX_MS);
    assert_int_equal(after("86400", NULL), RETRY_AFTER_MAX_MS);
    assert_int_equal(after("99999999999999999999999999", NULL), RETRY_AFTER_MAX_MS);
    assert_int_equal(after("Sun, 01 Nov 2026 00:00:09 GMT", NULL), 9000);
    assert_int_equal(after("Sun, 01 Nov 2026 10:00:00 GMT", NULL), RETRY_AFTER_MAX_MS);
    assert_int_equal(after("Sat, 31 Oct 2026 23:00:00 GMT", NULL), 0);
    /* The server's clock counts, not ours. */
    assert_int_equal(after("Tue, 01 Jan 2019 00:00:05 GMT", date), 5000);
    assert_int_equal(after("Sun, 01 Nov 2026 00:00:09 GMT", "rubbish"), 9000);
    assert_int_equal(after("soon", NULL), 0);
    assert_int_equal(after("-1", NULL), 0);
    assert_int_equal(after("", NULL), 0);
}

static void pauses_double_up_to_half_a_minute(void **state)
{
    static const uint64_t most[] = {500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct retry retry = {.give_up_ms = 1000000};

    (void)state;
    for (unsigned i = 0; i < COUNT(most); i++) {
        retry.failures = i + 1;
        assert_int_equal(retry_backoff_ms(i + 1), most[i]);
        assert_int_equal(retry_pause_ms(&retry, 0), 0);
        assert_int_equal(retry_pause_ms(&retry, UINT32_C(1) << 31), most[i] / 2);
        assert_in_range(retry_pause_ms(&retry, UINT32_MAX), most[i] - 1, most[i]);
    }
    assert_int_equal(retry_backoff_ms(UINT32_MAX), 30000);
}

static void a_server_may_ask_for_a_longer_pause(void **state)
{
    struct retry retry = {.failures = 3, .give_up_ms = 1000000, .told_ms = 1500};

    (void)state;
    assert_int_equal(retry_pause_ms(&retry, 0), 1500);
    assert_int_equal(retry_pause_ms(&retry, UINT32_C(7) << 29), 1750);
    retry.told_ms = 90000;
    assert_int_equal(retry_pause_ms(&retry, UINT32_MAX), 90000);
    retry.give_up_ms = 60000; /* one attempt is made at the end of the time */
    assert_int_equal(retry_pause_ms(&retry, UINT32_MAX), 60000);
}

static void gives_up_when_nothing_went_well_for_long_enough(void **state)
{
    struct retry retry = {.failures = 9, .since_ms = 5000, .give_up_ms = 300000};

    (void)state;
    retry.now_ms = 304999;
    assert_int_equal(retry_pause_ms(&retry, UINT32_MAX), 1);
    retry.now_ms = 305000;
    assert_int_equal(retry_pause_ms(&retry, UINT32_MAX), -1);
    retry.since_ms = 10000; /* another call went well */
    assert_in_range(retry_pause_ms(&retry, UINT32_MAX), 4999, 5000);
    retry.tries = 10;
    assert_in_range(retry_pause_ms(&retry, UINT32_MAX), 4999, 5000);
    retry.tries = 9;
    assert_int_equal(retry_pause_ms(&retry, UINT32_MAX), -1);
}

/* --- the limit --- */

static void holds_the_rate(void **state)
{
    SCOPED(rate_freep) struct rate *rate = rate_new(1000000);
    int64_t begun = monotonic_ms();

    (void)state;
    assert_int_equal(rate_piece(rate), 250000);
    rate_take(rate, 250000); /* a quarter of a second's worth is free */
    for (unsigned i = 0; i < 10; i++) {
        rate_take(rate, 20000);
    }
    assert_true(monotonic_ms() - begun >= 199);
}

static void a_rate_of_nothing_still_moves(void **state)
{
    SCOPED(rate_freep) struct rate *rate = rate_new(0);

    (void)state;
    assert_int_equal(rate_piece(rate), 1);
    assert_int_equal(rate_piece(NULL), UINT64_MAX);
    rate_take(NULL, UINT64_MAX);
}

/* --- whose certificates --- */

static void chooses_whom_to_trust(void **state)
{
    struct trust trust = {0};
    struct error err = {0};

    (void)state;
    (void)setenv("CURL_CA_BUNDLE", "", 1);
    (void)unsetenv("SSL_CERT_FILE");
    (void)setenv("SSL_CERT_DIR", "/etc", 1);
    assert_int_equal(trust_choose(NULL, &trust, &err), 0);
    assert_null(trust.file);
    assert_string_equal(trust.dir, "/etc");
    assert_string_equal(trust.from, "SSL_CERT_DIR");
    trust_done(&trust);
    (void)setenv("SSL_CERT_FILE", "/etc/passwd", 1);
    assert_int_equal(trust_choose(NULL, &trust, &err), 0);
    assert_string_equal(trust.file, "/etc/passwd");
    assert_string_equal(trust.dir, "/etc");
    assert_string_equal(trust.from, "SSL_CERT_FILE");
    trust_done(&trust);
    (void)setenv("CURL_CA_BUNDLE", "/etc/hosts", 1);
    assert_int_equal(trust_choose(NULL, &trust, &err), 0);
    assert_string_equal(trust.file, "/etc/hosts");
    assert_null(trust.dir);
    assert_string_equal(trust.from, "CURL_CA_BUNDLE");
    trust_done(&trust);
    assert_int_equal(trust_choose("/etc/passwd", &trust, &err), 0);
    assert_string_equal(trust.file, "/etc/passwd");
    assert_null(trust.dir);
    assert_null(trust.from);
    trust_done(&trust);
    (void)setenv("CURL_CA_BUNDLE", "/nowhere/ca.pem", 1);
    assert_int_equal(trust_choose(NULL, &trust, &err), -1);
    assert_non_null(strstr(err.message, "/nowhere/ca.pem"));
    assert_non_null(strstr(err.hint, "CURL_CA_BUNDLE"));
    (void)unsetenv("CURL_CA_BUNDLE");
    (void)unsetenv("SSL_CERT_FILE");
    (void)unsetenv("SSL_CERT_DIR");
    assert_int_equal(trust_choose(NULL, &trust, &err), 0);
    assert_null(trust.file);
    assert_null(trust.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_all_but_what_is_unreserved_or_kept),
        cmocka_unit_test(says_what_is_wrong_with_a_url),
        cmocka_unit_test(shows_where_a_url_leads_and_no_password),
        cmocka_unit_test(tells_where_passwords_would_travel_open),
        cmocka_unit_test(finds_a_header_by_its_name_in_any_case),
        cmocka_unit_test(a_reply_can_be_used_again),
        cmocka_unit_test(refuses_headers_that_would_be_several),
        cmocka_unit_test(an_error_about_a_header_has_no_value),
        cmocka_unit_test(judges_by_status),
        cmocka_unit_test(reads_retry_after),
        cmocka_unit_test(pauses_double_up_to_half_a_minute),
        cmocka_unit_test(a_server_may_ask_for_a_longer_pause),
        cmocka_unit_test(gives_up_when_nothing_went_well_for_long_enough),
        cmocka_unit_test(holds_the_rate),
        cmocka_unit_test(a_rate_of_nothing_still_moves),
        cmocka_unit_test(chooses_whom_to_trust),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
