/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of Keystone, and what is read in its and Glance's replies. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "openstack/keystone.h"
#include "openstack/message.h"

#include <cmocka.h> /* last: it has a macro fail() */

/* --- the request ----------------------------------------------------------------------------- */

static void assert_request(const struct openstack_config *config, const char *wanted)
{
    SCOPED(secret_done) struct buf text = {0};
    SCOPED(json_decrefp) json_t *has = NULL, *should = json_loads(wanted, 0, NULL);
    struct error err = {0};

    assert_non_null(should);
    assert_int_equal(keystone_request(config, &text, &err), 0);
    has = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_equal(has, should)) {
        fail_msg("%s instead of %s", text.data, wanted);
    }
}

static void a_password_is_asked_with_for_a_project(void **state)
{
    (void)state;
    assert_request(&(struct openstack_config){.auth = OPENSTACK_PASSWORD,
                                              .username = (char *)"u",
                                              .user_domain_id = (char *)"default",
                                              .password = (char *)"a\"b\\c\n\x01ü",
                                              .project_name = (char *)"p",
                                              .project_domain_name = (char *)"Two"},
                   "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{"
                   "\"name\":\"u\",\"domain\":{\"id\":\"default\"},"
                   "\"password\":\"a\\\"b\\\\c\\n\\u0001\\u00fc\"}}},"
                   "\"scope\":{\"project\":{\"name\":\"p\",\"domain\":{\"name\":\"Two\"}}}}}");
    /* Ids need no domain, even where one is known. */
    assert_request(&(struct openstack_config){.auth = OPENSTACK_PASSWORD,
                                              .username = (char *)"u",
                                              .user_id = (char *)"0815",
                                              .user_domain_id = (char *)"default",
                                              .password = (char *)"p",
                                              .project_id = (char *)"4711",
                                              .project_domain_id = (char *)"default"},
                   "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{"
                   "\"id\":\"0815\",\"password\":\"p\"}}},"
                   "\"scope\":{\"project\":{\"id\":\"4711\"}}}}");
}

/* Keystone refuses a request that says what the credential says already. */
static void an_application_credential_sends_no_scope(void **state)
{
    (void)state;
    assert_request(&(struct openstack_config){.auth = OPENSTACK_APPLICATION_CREDENTIAL,
                                              .credential_id = (char *)"c",
                                              .credential_secret = (char *)"s",
                                              .project_name = (char *)"p"},
                   "{\"auth\":{\"identity\":{\"methods\":[\"application_credential\"],"
                   "\"application_credential\":{\"id\":\"c\",\"secret\":\"s\"}}}}");
    assert_request(&(struct openstack_config){.auth = OPENSTACK_APPLICATION_CREDENTIAL,
                                              .credential_name = (char *)"ci",
                                              .credential_secret = (char *)"s",
                                              .username = (char *)"u",
                                              .user_domain_name = (char *)"One"},
                   "{\"auth\":{\"identity\":{\"methods\":[\"application_credential\"],"
                   "\"application_credential\":{\"name\":\"ci\",\"user\":{\"name\":\"u\","
                   "\"domain\":{\"name\":\"One\"}},\"secret\":\"s\"}}}}");
}

static void a_token_is_exchanged_for_one_of_the_project(void **state)
{
    (void)state;
    assert_request(&(struct openstack_config){.auth = OPENSTACK_TOKEN,
                                              .token = (char *)"t",
                                              .project_id = (char *)"4711"},
                   "{\"auth\":{\"identity\":{\"methods\":[\"token\"],\"token\":{\"id\":\"t\"}},"
                   "\"scope\":{\"project\":{\"id\":\"4711\"}}}}");
}

static void what_is_no_utf_8_is_not_sent(void **state)
{
    SCOPED(secret_done) struct buf text = {0};
    struct openstack_config config = {.auth = OPENSTACK_TOKEN,
                                      .source = (char *)"the environment",
                                      .token = (char *)"\xff",
                                      .project_id = (char *)"4711"};
    struct error err = {0};

    (void)state;
    assert_int_equal(keystone_request(&config, &text, &err), -1);
    assert_int_equal(err.kind, FAIL_USAGE);
}

/* --- the token ------------------------------------------------------------------------------- */

#define TIMES                                                                                      \
    "\"issued_at\":\"2026-11-25T00:34:53.000000Z\",\"expires_at\":\"2026-11-25T01:34:53.000000Z\""
#define PROJECT "\"project\":{\"id\":\"4711\",\"name\":\"demo\",\"domain\":{\"name\":\"Default\"}}"
#define USER "\"user\":{\"id\":\"1\",\"name\":\"ci\",\"domain\":{\"name\":\"People\"}}"

static struct token read_token(const char *catalog)
{
    SCOPED_FREE char *text =
        xprintf("{\"token\":{" TIMES "," PROJECT "," USER ",\"catalog\":%s}}", catalog);
    struct token token = {0};
    struct error err = {0};

    if (token_read(text, strlen(text), &token, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return token;
}

static void a_token_says_whose_it_is_and_how_long(void **state)
{
    SCOPED(token_done) struct token token = read_token("[]");

    (void)state;
    assert_string_equal(token.project_id, "4711");
    assert_string_equal(token.project_name, "demo");
    assert_string_equal(token.project_domain, "Default");
    assert_string_equal(token.user_name, "ci");
    assert_string_equal(token.user_domain, "People");
    assert_null(token.credential);
    assert_int_equal(token.lifetime_s, 3600);
}

static void a_token_that_is_no_good_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "a token whose description is not JSON"},
        {"[]", "a token without issued_at and expires_at"},
        {"{\"token\":{" PROJECT "}}", "a token without issued_at and expires_at"},
        {"{\"token\":{\"issued_at\":\"2026-11-25T01:34:53.0Z\",\"expires_at\":"
         "\"2026-11-25T01:34:53.0Z\"," PROJECT "}}",
         "a token without issued_at and expires_at"},
        {"{\"token\":{\"issued_at\":7,\"expires_at\":\"now\"}}",
         "a token without issued_at and expires_at"},
        {"{\"token\":{" TIMES "," USER "}}", "the token is for no project"},
        {"{\"token\":{" TIMES ",\"project\":{\"id\":\"a&b\"}}}", "the token is for no project"},
        {"{\"token\":{" TIMES ",\"project\":{\"id\":\"\"}}}", "the token is for no project"},
        {"{\"token\":{" TIMES ",\"project\":[]}}", "the token is for no project"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct token token = {0};
        struct error err = {0};

        assert_int_equal(token_read(bad[i].text, strlen(bad[i].text), &token, &err), -1);
        assert_string_equal(err.message, bad[i].message);
        assert_int_equal(err.kind, FAIL_REMOTE);
    }
}

/* --- the catalog ----------------------------------------------------------------------------- */

static const char catalog[] =
    "[{\"type\":\"compute\",\"endpoints\":["
    "{\"interface\":\"public\",\"region_id\":\"one\",\"url\":\"https://nova\"}]},"
    "{\"type\":\"image\",\"endpoints\":["
    "{\"interface\":\"public\",\"region_id\":\"one\",\"region\":\"one\","
    "\"url\":\"https://one.example.org:9292/\"},"
    "{\"interface\":\"internal\",\"region_id\":\"one\",\"url\":\"https://inner/image//\"},"
    "{\"interface\":\"public\",\"region_id\":\"two\",\"url\":\"https://two.example.org/v2\"},"
    "{\"interface\":\"admin\",\"region\":\"old\",\"url\":\"https://old.example.org\"}]}]";

/* A catalog of one image endpoint. */
#define ONLY(url)                                                                                  \
    "[{\"type\":\"image\",\"endpoints\":[{\"interface\":\"public\",\"region_id\":\"one\","         \
    "\"url\":\"" url "\"}]}]"

static void assert_endpoint(const char *interface, const char *region, const char *url,
                            const char *in)
{
    SCOPED(token_done) struct token token = read_token(catalog);
    SCOPED_FREE char *found = NULL, *found_in = NULL;
    struct error err = {0};

    assert_int_equal(token_endpoint(&token, "image", interface, region, &found, &found_in, &err),
                     0);
    assert_string_equal(found, url);
    assert_string_equal(found_in, in);
}

static void refuse_endpoint(const char *text, const char *interface, const char *region,
                            const char *message, const char *hint)
{
    SCOPED(token_done) struct token token = read_token(text);
    SCOPED_FREE char *url = NULL, *in = NULL;
    struct error err = {0};

    assert_int_equal(token_endpoint(&token, "image", interface, region, &url, &in, &err), -1);
    assert_int_equal(err.kind, FAIL_REMOTE);
    assert_string_equal(err.message, message);
    assert_non_null(strstr(err.hint, hint));
    assert_null(url);
}

static void an_endpoint_is_chosen_by_interface_and_region(void **state)
{
    (void)state;
    assert_endpoint("public", "one", "https://one.example.org:9292", "one");
    assert_endpoint("public", "two", "https://two.example.org/v2", "two");
    assert_endpoint("internal", NULL, "https://inner/image", "one");
    assert_endpoint("admin", "old", "https://old.example.org", "old");
}

static void what_the_catalog_has_is_named_when_it_does_not_fit(void **state)
{
    (void)state;
    refuse_endpoint(catalog, "public", NULL, "the cloud has several regions, and none was chosen",
                    "OS_REGION_NAME: one, two");
    refuse_endpoint(catalog, "public", "three",
                    "the catalog has no image service in region 'three'", "it has: one, two");
    refuse_endpoint(ONLY("https://one"), "internal", NULL,
                    "the catalog has no image endpoint of interface 'internal'", "it has: public");
    refuse_endpoint("[]", "public", NULL, "the catalog has no image service", "");
    refuse_endpoint("{}", "public", NULL, "the catalog has no image service", "");
    refuse_endpoint("[{\"type\":\"image\",\"endpoints\":{}}, 7, null]", "public", NULL,
                    "the catalog has no image service", "");
    refuse_endpoint(ONLY("file:///etc/passwd"), "public", NULL,
                    "the image endpoint 'file:///etc/passwd' of the catalog does not begin with "
                    "http:// or https://",
                    "");
}

/* The host is the user's, whatever the reply says. */
static void the_version_is_found_by_its_path_alone(void **state)
{
    static const struct {
        const char *text, *path;
    } known[] = {
        {"{\"versions\":{\"values\":[{\"id\":\"v2.0\",\"links\":[{\"rel\":\"self\",\"href\":"
         "\"http://inner/v2.0/\"}]},{\"id\":\"v3.14\",\"links\":[{\"rel\":\"help\",\"href\":"
         "\"http://no/\"},{\"rel\":\"self\",\"href\":\"http://inner:5000/identity/v3/\"}]}]}}",
         "/identity/v3"},
        {"{\"versions\":[{\"id\":\"v3\",\"links\":[{\"rel\":\"self\",\"href\":\"/v3\"}]}]}", "/v3"},
        {"{\"versions\":[{\"id\":\"v3\",\"links\":[{\"rel\":\"self\",\"href\":\"http://host\"}]}]}",
         NULL},
        {"{\"versions\":[{\"id\":\"v3\",\"links\":[{\"rel\":\"self\",\"href\":"
         "\"http://host/a b\"}]}]}",
         NULL},
        {"{\"versions\":[{\"id\":\"v3\",\"links\":[{\"rel\":\"self\",\"href\":"
         "\"http://host/v3?x=y\"}]}]}",
         NULL},
        {"{\"versions\":[{\"id\":\"v2.0\"}]}", NULL},
        {"{\"versions\":[7,{\"id\":\"v3\",\"links\":{}}]}", NULL},
        {"<html>", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        SCOPED_FREE char *path = token_version_path(known[i].text, strlen(known[i].text));

        if (known[i].path == NULL) {
            assert_null(path);
        } else {
            assert_string_equal(path, known[i].path);
        }
    }
}

/* --- messages -------------------------------------------------------------------------------- */

static void a_message_is_one_plain_line(void **state)
{
    static const struct {
        unsigned status;
        const char *body, *message;
    } known[] = {
        {401, "{\"error\":{\"code\":401,\"message\":\"The request needs authentication.\"}}",
         "The request needs authentication"},
        {413, "{\"message\":\"over a limit<br /><br />\\n\\n\\n\",\"code\":\"413\"}",
         "over a limit"},
        {409, "{\"message\":\"a < b\\tand <b>c</b>\"}", "a < b and c"},
        {404, "<html><title>no</title></html>", "not found"},
        {503, "", "unavailable"},
        {302, "", "a redirect, which is not followed"},
        {418, "{\"message\":{}}", "an answer that was not expected"},
        /* as schemas have it that a password does not fit */
        {400, "{\"error\":{\"message\":\"'pass  <b>word' is too long\"}}", "bad request"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        struct http_reply reply = {.status = known[i].status};
        SCOPED_FREE char *message = NULL;

        buf_puts(&reply.body, known[i].body);
        message = openstack_message(&reply, "pass  <b>word");
        assert_string_equal(message, known[i].message);
        http_reply_done(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_asked_with_for_a_project),
        cmocka_unit_test(an_application_credential_sends_no_scope),
        cmocka_unit_test(a_token_is_exchanged_for_one_of_the_project),
        cmocka_unit_test(what_is_no_utf_8_is_not_sent),
        cmocka_unit_test(a_token_says_whose_it_is_and_how_long),
        cmocka_unit_test(a_token_that_is_no_good_is_refused),
        cmocka_unit_test(an_endpoint_is_chosen_by_interface_and_region),
        cmocka_unit_test(what_the_catalog_has_is_named_when_it_does_not_fit),
        cmocka_unit_test(the_version_is_found_by_its_path_alone),
        cmocka_unit_test(a_message_is_one_plain_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
