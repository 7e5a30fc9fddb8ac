/* SPDX-License-Identifier: Apache-2.0 */
/* Settings for AWS, where its services are, and what may be a key, a time, or a place for keys. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aws/config.h"
#include "aws/endpoint.h"
#include "aws/source.h"
#include "base/file.h"

#include <cmocka.h> /* last: it has a macro fail() */

static char *directory;

/* The environment of a test: nothing of AWS' but files in a directory of its own. */
static int set_up(void **state)
{
    static const char *const names[] = {"AWS_PROFILE",
                                        "AWS_DEFAULT_PROFILE",
                                        "AWS_REGION",
                                        "AWS_DEFAULT_REGION",
                                        "AWS_CA_BUNDLE",
                                        "AWS_CONFIG_FILE",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_ENDPOINT_URL",
                                        "AWS_ENDPOINT_URL_EBS",
                                        "AWS_ENDPOINT_URL_EC2",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                                        "AWS_USE_FIPS_ENDPOINT",
                                        "AWS_USE_DUALSTACK_ENDPOINT"};
    char template[] = "/tmp/kiln-test.XXXXXX";
    SCOPED_FREE char *aws = NULL;
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        (void)unsetenv(names[i]);
    }
    assert_non_null(mkdtemp(template));
    directory = xstrdup(template);
    (void)setenv("HOME", directory, 1);
    aws = xprintf("%s/.aws", directory);
    return file_make_dirs(aws, &err);
}

static int tear_down(void **state)
{
    struct error err = {0};
    int result = file_remove_tree(directory, &err);

    (void)state;
    free(directory);
    return result;
}

static void write_file(const char *name, const char *text)
{
    SCOPED_FREE char *path = xprintf("%s/.aws/%s", directory, name);
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

static struct aws_config *load(void)
{
    struct aws_config *config = NULL;
    struct error err = {0};

    if (aws_config_load(&config, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return config;
}

static void must_be_at(const struct aws_config *config, const char *service, const char *region,
                       const char *expected)
{
    SCOPED_FREE char *url = NULL;
    struct error err = {0};

    if (aws_config_endpoint(config, service, region, &url, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(url, expected);
}

static void must_fail_at(const struct aws_config *config, const char *region, const char *message)
{
    char *url = NULL;
    struct error err = {0};

    assert_int_equal(aws_config_endpoint(config, "ebs", region, &url, &err), -1);
    assert_null(url);
    assert_string_equal(err.message, message);
}

static void the_environment_comes_before_the_files(void **state)
{
    SCOPED(aws_config_freep) struct aws_config *config = NULL, *other = NULL, *none = NULL;
    bool chosen;

    (void)state;
    none = load();
    assert_null(aws_config_region(none));
    assert_null(aws_config_ca(none));
    write_file("config", "[default]\nregion = eu-west-1\nca_bundle = /file.pem\n"
                         "[profile  'the other']\nregion=ap-south-1\nempty =\n");
    config = load();
    assert_string_equal(aws_config_profile(config, &chosen), "default");
    assert_false(chosen);
    assert_string_equal(aws_config_region(config), "eu-west-1");
    assert_string_equal(aws_config_ca(config), "/file.pem");
    (void)setenv("AWS_DEFAULT_REGION", "us-east-2", 1);
    assert_string_equal(aws_config_region(config), "us-east-2");
    (void)setenv("AWS_REGION", "us-west-2", 1);
    assert_string_equal(aws_config_region(config), "us-west-2");
    (void)setenv("AWS_REGION", "", 1);
    assert_string_equal(aws_config_region(config), "us-east-2");
    (void)setenv("AWS_CA_BUNDLE", "/variable.pem", 1);
    assert_string_equal(aws_config_ca(config), "/variable.pem");
    (void)unsetenv("AWS_DEFAULT_REGION");
    (void)setenv("AWS_PROFILE", "the other", 1);
    other = load();
    assert_string_equal(aws_config_profile(other, &chosen), "the other");
    assert_true(chosen);
    assert_string_equal(aws_config_region(other), "ap-south-1");
    assert_null(aws_config_value(other, "the other", "empty"));
    assert_string_equal(aws_config_value(other, "default", "region"), "eu-west-1");
}

/* [profile default] is the documented way to write it; then [default] is nothing. */
static void default_may_be_called_a_profile(void **state)
{
    SCOPED(aws_config_freep) struct aws_config *config = NULL;

    (void)state;
    write_file("config", "[default]\nregion = eu-west-1\noutput = text\n"
                         "[profile default]\nregion = eu-west-2\n");
    config = load();
    assert_string_equal(aws_config_region(config), "eu-west-2");
    assert_null(aws_config_value(config, "default", "output"));
}

static void services_are_where_the_user_says(void **state)
{
    SCOPED(aws_config_freep) struct aws_config *config = NULL;

    (void)state;
    write_file("config", "[default]\nservices = lab\nendpoint_url = http://all.example\n"
                         "[services lab]\nebs =\n  endpoint_url = https://ebs.example/prefix//\n"
                         "  other = 1\nec2 =\n  endpoint_url =\n");
    config = load();
    must_be_at(config, "ebs", "eu-west-1", "https://ebs.example/prefix");
    must_be_at(config, "ec2", "eu-west-1", "http://all.example");
    must_be_at(config, "sts", "eu-west-1", "http://all.example");
    (void)setenv("AWS_ENDPOINT_URL", "http://localhost:4566/", 1);
    must_be_at(config, "ebs", "eu-west-1", "http://localhost:4566");
    (void)setenv("AWS_ENDPOINT_URL_EBS", "https://[::1]:8443", 1);
    must_be_at(config, "ebs", "eu-west-1", "https://[::1]:8443");
    must_be_at(config, "sts", "eu-west-1", "http://localhost:4566");
    (void)setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True", 1);
    must_be_at(config, "ebs", "eu-west-1", "https://ebs.eu-west-1.amazonaws.com");
}

static void amazons_own_have_variants(void **state)
{
    SCOPED(aws_config_freep) struct aws_config *config = NULL;

    (void)state;
    write_file("config", "[default]\nuse_fips_endpoint = true\n");
    config = load();
    must_be_at(config, "ec2", "us-east-1", "https://ec2-fips.us-east-1.amazonaws.com");
    (void)setenv("AWS_USE_FIPS_ENDPOINT", "false", 1);
    must_be_at(config, "ec2", "us-east-1", "https://ec2.us-east-1.amazonaws.com");
    (void)setenv("AWS_USE_DUALSTACK_ENDPOINT", "true", 1);
    must_be_at(config, "ec2", "cn-north-1", "https://ec2.cn-north-1.api.amazonwebservices.com.cn");
}

static void what_is_no_place_is_refused(void **state)
{
    SCOPED(aws_config_freep) struct aws_config *config = NULL;

    (void)state;
    config = load();
    must_fail_at(config, "eu-west-1.evil.example/",
                 "'eu-west-1.evil.example/' is not the name of a region of AWS");
    must_fail_at(config, "", "'' is not the name of a region of AWS");
    (void)setenv("AWS_ENDPOINT_URL_EBS", "ftp://x", 1);
    must_fail_at(config, "eu-west-1",
                 "AWS_ENDPOINT_URL_EBS: this URL does not begin with http:// or https://");
    (void)setenv("AWS_USE_FIPS_ENDPOINT", "1", 1);
    must_fail_at(config, "eu-west-1", "AWS_USE_FIPS_ENDPOINT is '1', neither true nor false");
}

static void names_of_regions(void **state)
{
    static const char *const good[] = {"eu-west-1", "us-gov-west-1", "a", "mx-central-1"};
    static const char *const bad[] = {"",        "-eu",  "eu-",     "EU-WEST-1",   "eu_west_1",
                                      "eu.west", "eu/1", "eu west", "eu-west-1\n", "é"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(endpoint_is_region(good[i]));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(endpoint_is_region(bad[i]));
    }
}

static void times_of_keys(void **state)
{
    static const struct {
        const char *text;
        int64_t time;
    } rows[] = {
        {"2026-11-01T00:00:00Z", 1793491200},
        {"2026-11-01T00:00:00.5Z", 1793491200},
        {"2026-11-01T00:00:00.123456+00:00", 1793491200},
        {"2026-11-01T02:00:00+02:00", 1793491200},
        {"2026-10-31T21:30:00-0230", 1793491200},
    };
    static const char *const bad[] = {"",
                                      "2026-11-01",
                                      "2026-11-01T00:00:00",
                                      "2026-11-01T00:00:00.Z",
                                      "2026-11-01T00:00:00+2",
                                      "2026-11-01T00:00:00+02:",
                                      "2026-11-01T00:00:00+02:000",
                                      "2026-11-01T00:00:00+:0200",
                                      "2026-11-01T00:00:00Zulu",
                                      "2026-13-01T00:00:00Z",
                                      "1793491200"};
    int64_t time;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(aws_keys_time(rows[i].text, &time));
        assert_int_equal(time, rows[i].time);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(aws_keys_time(bad[i], &time));
    }
}

static void a_containers_keys_come_from_near(void **state)
{
    static const struct {
        const char *relative, *full, *url; /* URL: NULL when it is refused */
    } rows[] = {
        {"/v2/credentials/x?a=b", NULL, "http://169.254.170.2/v2/credentials/x?a=b"},
        {"/x", "http://evil.example/", "http://169.254.170.2/x"},
        {"@evil.example/", NULL, NULL},
        {"/a b", NULL, NULL},
        {NULL, "http://169.254.170.2/x", "http://169.254.170.2/x"},
        {NULL, "http://169.254.170.23/v1/credentials", "http://169.254.170.23/v1/credentials"},
        {NULL, "http://[fd00:ec2::23]/x", "http://[fd00:ec2::23]/x"},
        {NULL, "http://localhost:1338/x", "http://localhost:1338/x"},
        {NULL, "http://127.0.0.1:80/x?y", "http://127.0.0.1:80/x?y"},
        {NULL, "http://127.9.9.9/x", "http://127.9.9.9/x"},
        {NULL, "http://[::1]/x", "http://[::1]/x"},
        {NULL, "https://anywhere.example/x", "https://anywhere.example/x"},
        {NULL, "http://anywhere.example/x", NULL},
        {NULL, "http://169.254.169.254/x", NULL},
        {NULL, "http://169.254.170.2.evil.example/x", NULL},
        {NULL, "http://127.0.0.1.evil.example/x", NULL},
        {NULL, "http://localhost@evil.example/x", NULL},
        {NULL, "http://evil.example#localhost/", NULL},
        {NULL, "http://localhostevil.example/", NULL},
        {NULL, "file:///etc/passwd", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *url = NULL;
        struct error err = {0};
        int result = source_container_url(rows[i].relative, rows[i].full, &url, &err);

        if (rows[i].url == NULL) {
            assert_int_equal(result, -1);
            assert_null(strstr(err.message, "evil"));
        } else {
            assert_int_equal(result, 0);
            assert_string_equal(url, rows[i].url);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_environment_comes_before_the_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(default_may_be_called_a_profile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(services_are_where_the_user_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(amazons_own_have_variants, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_place_is_refused, set_up, tear_down),
        cmocka_unit_test(names_of_regions),
        cmocka_unit_test(times_of_keys),
        cmocka_unit_test(a_containers_keys_come_from_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
