/* SPDX-License-Identifier: Apache-2.0 */
/* clouds.yaml, secure.yaml and OS_*: what is found where, what wins, and what is refused. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "openstack/config.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

/* What a test may have set or written. */
static int clear(void **state)
{
    static const char *const files[] = {"clouds.yaml", "clouds.yml", "secure.yaml",
                                        "home",        "elsewhere",  "other.yaml"};
    extern char **environ;
    struct error err = {0};

    (void)state;
    for (char **variable = environ; *variable != NULL;) {
        SCOPED_FREE char *name = xstrndup(*variable, strcspn(*variable, "="));

        if (strncmp(name, "OS_", 3) == 0 || strcmp(name, "XDG_CONFIG_HOME") == 0) {
            unsetenv(name);
        } else {
            variable++;
        }
    }
    setenv("HOME", "home", 1);
    for (size_t i = 0; i < COUNT(files); i++) {
        assert_int_equal(file_remove_tree(files[i], &err), 0);
    }
    return 0;
}

static void put(const char *path, const char *text)
{
    SCOPED_FREE char *dir = file_dir(path);
    struct error err = {0};

    assert_int_equal(file_make_dirs(dir, &err), 0);
    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

static struct openstack_config *load(const char *cloud)
{
    struct openstack_config *config = NULL;
    struct error err = {0};

    if (openstack_config_load(cloud, &config, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return config;
}

static void refused(const char *cloud, const char *message, const char *hint)
{
    struct openstack_config *config = NULL;
    struct error err = {0};

    assert_int_equal(openstack_config_load(cloud, &config, &err), -1);
    assert_null(config);
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_string_equal(err.message, message);
    assert_non_null(strstr(err.hint, hint));
}

/* Instead of a whole entry: what every one needs. */
#define ENTRY "{auth: {auth_url: 'https://k/v3', username: u, password: p, project_name: d}"

static void an_entry_is_read_with_all_that_it_says(void **state)
{
    SCOPED(openstack_config_freep) struct openstack_config *config = NULL;

    (void)state;
    put("clouds.yaml", "clouds:\n"
                       "  other: " ENTRY "}\n"
                       "  lab:\n"
                       "    auth_type: v3password\n"
                       "    auth:\n"
                       "      auth_url: https://keystone.example.org:5000/v3\n"
                       "      username: ci\n"
                       "      password: \"a \\\"b\\\" c\"\n"
                       "      user_domain_name: People\n"
                       "      project-name: web\n"
                       "      project_domain_id: 0815\n"
                       "    region_name: north\n"
                       "    interface: internalURL\n"
                       "    cacert: ~/ca.pem\n"
                       "    identity_api_version: 3\n"
                       "    image_endpoint_override: https://glance/v2\n"
                       "    verify: true\n"
                       "    networks: [{name: n}]\n"
                       "    compute_api_version: '2.1'\n");
    config = load("lab");
    assert_string_equal(config->source, "cloud 'lab' of ./clouds.yaml");
    assert_int_equal(config->auth, OPENSTACK_PASSWORD);
    assert_string_equal(config->auth_url, "https://keystone.example.org:5000/v3");
    assert_string_equal(config->username, "ci");
    assert_null(config->user_id);
    assert_string_equal(config->password, "a \"b\" c");
    assert_string_equal(config->user_domain_name, "People");
    assert_null(config->user_domain_id);
    assert_string_equal(config->project_name, "web");
    assert_null(config->project_domain_name);
    assert_string_equal(config->project_domain_id, "0815");
    assert_string_equal(config->region, "north");
    assert_string_equal(config->interface, "internal");
    assert_string_equal(config->ca_file, "home/ca.pem");
    assert_string_equal(config->image_endpoint, "https://glance/v2");
}

static void domains_have_defaults(void **state)
{
    SCOPED(openstack_config_freep) struct openstack_config *plain = NULL, *own = NULL;

    (void)state;
    put("clouds.yaml", "clouds:\n"
                       "  plain: " ENTRY "}\n"
                       "  own: {auth: {auth_url: 'https://k/v3', username: u, password: p,\n"
                       "    tenant_name: d, domain_name: One, project_domain_name: Two}}\n");
    plain = load("plain");
    assert_string_equal(plain->user_domain_id, "default");
    assert_string_equal(plain->project_domain_id, "default");
    assert_string_equal(plain->interface, "public");
    own = load("own");
    assert_string_equal(own->user_domain_name, "One");
    assert_null(own->user_domain_id);
    assert_string_equal(own->project_domain_name, "Two");
    assert_string_equal(own->project_name, "d");
}

/* As openstacksdk: the first file that is there is the only one, and secure.yaml goes over it. */
static void files_are_looked_for_in_their_order(void **state)
{
    SCOPED(openstack_config_freep)
    struct openstack_config *named = NULL, *here = NULL, *home = NULL, *xdg = NULL;

    (void)state;
    put("home/.config/openstack/clouds.yaml", "clouds: {lab: " ENTRY ", region_name: home}}\n");
    home = load("lab");
    assert_string_equal(home->region, "home");
    assert_string_equal(home->source, "cloud 'lab' of home/.config/openstack/clouds.yaml");
    put("elsewhere/openstack/clouds.yaml", "clouds: {lab: " ENTRY ", region_name: xdg}}\n");
    setenv("XDG_CONFIG_HOME", "elsewhere", 1);
    xdg = load("lab");
    assert_string_equal(xdg->region, "xdg");
    put("clouds.yml", "clouds: {lab: " ENTRY ", region_name: here}}\n");
    here = load("lab");
    assert_string_equal(here->region, "here");
    put("other.yaml", "clouds: {lab: " ENTRY ", region_name: named}}\n");
    setenv("OS_CLIENT_CONFIG_FILE", "other.yaml", 1);
    named = load("lab");
    assert_string_equal(named->region, "named");
    setenv("OS_CLIENT_CONFIG_FILE", "nowhere.yaml", 1);
    refused("lab", "OS_CLIENT_CONFIG_FILE names 'nowhere.yaml', which does not exist", "");
}

static void secure_yaml_goes_over_it(void **state)
{
    SCOPED(openstack_config_freep) struct openstack_config *config = NULL, *plain = NULL;

    (void)state;
    put("clouds.yaml", "clouds: {lab: {auth: {auth_url: 'https://k/v3', username: u,\n"
                       "  password: wrong, project_name: d}, region_name: one}}\n");
    put("secure.yaml", "# nothing\n\n");
    put("home/.config/openstack/secure.yaml", "clouds: {lab: {auth: {password: unseen}}}\n");
    plain = load("lab");
    assert_string_equal(plain->password, "wrong");
    unlink("secure.yaml");
    put("home/.config/openstack/secure.yaml",
        "clouds: {lab: {auth: {password: right}, region_name: two}, other: {auth: {}}}\n");
    config = load("lab");
    assert_string_equal(config->password, "right");
    assert_string_equal(config->username, "u");
    assert_string_equal(config->region, "two");
}

static void the_environment_is_a_cloud(void **state)
{
    SCOPED(openstack_config_freep)
    struct openstack_config *alone = NULL, *chosen = NULL, *told = NULL;

    (void)state;
    setenv("OS_AUTH_URL", "https://k/v3", 1);
    setenv("OS_USERNAME", "u", 1);
    setenv("OS_PASSWORD", "p", 1);
    setenv("OS_PROJECT_ID", "4711", 1);
    setenv("OS_USER_DOMAIN_NAME", "People", 1);
    setenv("OS_REGION_NAME", "north", 1);
    setenv("OS_CACERT", "/ca.pem", 1);
    setenv("OS_ENDPOINT_TYPE", "admin", 1);
    setenv("OS_PROJECT_DOMAIN_NAME", "", 1); /* is not set */
    alone = load(NULL);
    assert_string_equal(alone->source, "the environment");
    assert_string_equal(alone->project_id, "4711");
    assert_string_equal(alone->user_domain_name, "People");
    assert_string_equal(alone->project_domain_id, "default");
    assert_string_equal(alone->region, "north");
    assert_string_equal(alone->interface, "admin");
    assert_string_equal(alone->ca_file, "/ca.pem");
    put("clouds.yaml", "clouds: {lab: " ENTRY "}, other: " ENTRY "}}\n");
    setenv("OS_CLOUD", "other", 1);
    chosen = load(NULL);
    assert_string_equal(chosen->source, "cloud 'other' of ./clouds.yaml");
    assert_string_equal(chosen->project_name, "d");
    assert_null(chosen->region);
    told = load("lab");
    assert_string_equal(told->source, "cloud 'lab' of ./clouds.yaml");
}

static void the_only_cloud_need_not_be_chosen(void **state)
{
    SCOPED(openstack_config_freep) struct openstack_config *config = NULL;

    (void)state;
    refused(NULL, "no OpenStack cloud is configured", "OS_AUTH_URL");
    refused("lab", "cloud 'lab' was chosen, and there is no clouds.yaml", "~/.config/openstack");
    put("clouds.yaml", "clouds: {lab: " ENTRY "}}\n");
    config = load(NULL);
    assert_string_equal(config->source, "cloud 'lab' of ./clouds.yaml");
    refused("la", "./clouds.yaml has no cloud 'la'", "lab");
    put("clouds.yaml", "clouds: {lab: " ENTRY "}, two: " ENTRY "}}\n");
    refused(NULL, "./clouds.yaml has several clouds", "lab, two");
}

static void ways_to_authenticate_are_told_by_name_or_by_what_is_there(void **state)
{
    static const struct {
        const char *entry;
        enum openstack_auth auth;
    } known[] = {
        {"{auth_type: password, auth: {auth_url: 'https://k', user_id: u, password: p,"
         " project_id: d}}",
         OPENSTACK_PASSWORD},
        {"{auth_type: v3applicationcredential, auth: {auth_url: 'https://k',"
         " application_credential_id: c, application_credential_secret: s}}",
         OPENSTACK_APPLICATION_CREDENTIAL},
        {"{auth: {auth_url: 'https://k', application_credential_name: c, username: u,"
         " application_credential_secret: s}}",
         OPENSTACK_APPLICATION_CREDENTIAL},
        {"{auth_type: v3token, auth: {auth_url: 'https://k', token: t, project_id: d}}",
         OPENSTACK_TOKEN},
        {"{auth: {auth_url: 'https://k', auth_token: t, project_id: d}}", OPENSTACK_TOKEN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        SCOPED(openstack_config_freep) struct openstack_config *config = NULL;
        SCOPED_FREE char *text = xprintf("clouds: {lab: %s}\n", known[i].entry);

        put("clouds.yaml", text);
        config = load("lab");
        assert_int_equal(config->auth, known[i].auth);
    }
}

static void what_is_missing_is_named(void **state)
{
    static const struct {
        const char *entry, *message, *hint;
    } bad[] = {
        {"{auth: {username: u, password: p, project_name: d}}", "has no auth_url", "under 'auth'"},
        {"{auth: {auth_url: 'https://k', password: p, project_name: d}}", "has no username", ""},
        {"{auth: {auth_url: 'https://k', username: u, project_name: d}}", "has no password", ""},
        {"{auth: {auth_url: 'https://k', username: u, password: '', project_name: d}}",
         "has no password", ""},
        {"{auth: {auth_url: 'https://k', username: u, password: p}}", "has no project_name", ""},
        {"{auth_type: v3token, auth: {auth_url: 'https://k', project_name: p}}", "has no token",
         ""},
        {"{auth_type: v3applicationcredential, auth: {auth_url: 'https://k',"
         " application_credential_name: c, application_credential_secret: s}}",
         "has no application_credential_id", ""},
        {"{auth_type: v3applicationcredential, auth: {auth_url: 'https://k',"
         " application_credential_id: c}}",
         "has no application_credential_secret", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        SCOPED_FREE char *text = xprintf("clouds: {lab: %s}\n", bad[i].entry);
        SCOPED_FREE char *message = xprintf("cloud 'lab' of ./clouds.yaml %s", bad[i].message);

        put("clouds.yaml", text);
        refused("lab", message, bad[i].hint);
    }
    setenv("OS_AUTH_URL", "https://k", 1);
    refused(NULL, "the environment has no OS_USERNAME", "set OS_USERNAME");
}

static void what_kiln_cannot_do_is_refused_by_name(void **state)
{
    static const char in[] = "cloud 'lab' of ./clouds.yaml";
    static const struct {
        const char *more, *message, *hint;
    } bad[] = {
        {"verify: false", " asks not to verify certificates, and kiln always does", "'cacert'"},
        {"verify: No", " asks not to verify certificates, and kiln always does", "'cacert'"},
        {"insecure: true", " asks not to verify certificates, and kiln always does", "'cacert'"},
        {"auth_type: v3oidcpassword", ": auth_type 'v3oidcpassword' is not supported",
         "v3applicationcredential"},
        {"auth_type: v2password", ": auth_type 'v2password' is not supported", "v3password"},
        {"identity_api_version: '2.0'", ": identity_api_version '2.0' is not supported: 3 is", ""},
        {"interface: outside", ": interface 'outside' is none of public, internal and admin", ""},
        {"cert: /c.pem", ": cert '/c.pem' is not supported: no client certificates", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        SCOPED_FREE char *text = xprintf("clouds: {lab: " ENTRY ", %s}}\n", bad[i].more);
        SCOPED_FREE char *message = xprintf("%s%s", in, bad[i].message);

        put("clouds.yaml", text);
        refused("lab", message, bad[i].hint);
    }
    put("clouds.yaml", "clouds: {lab: {profile: vexxhost, auth: {username: u, password: p}}}\n");
    refused("lab",
            "profile 'vexxhost' of a vendor is not known to kiln: cloud 'lab' of ./clouds.yaml has "
            "no auth_url",
            "auth_url");
    unlink("clouds.yaml");
    setenv("OS_AUTH_URL", "https://k", 1);
    setenv("OS_INSECURE", "1", 1);
    refused(NULL, "the environment asks not to verify certificates, and kiln always does",
            "OS_CACERT");
}

static void problems_of_the_file_have_a_place(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"clouds:\n  lab: {auth: {auth_url: [a]}}\n",
         "./clouds.yaml:2:26: 'auth_url' must be a text"},
        {"clouds: [lab]\n", "./clouds.yaml:1:9: 'clouds' must be a map of clouds"},
        {"clouds:\n  lab: {\n", "./clouds.yaml:3:1: not YAML: did not find expected node content "
                                "(while parsing a flow node at ./clouds.yaml:3:1)"},
        {"clouds:\n  lab: *no\n", "./clouds.yaml:2:8: an alias of what is not there (quote a text "
                                  "that begins with '*')"},
        {"clouds:\n  lab: {auth: {password: !pass }}\n",
         "./clouds.yaml:2:26: this tag is not supported (quote a text that begins so)"},
        {"clouds: &a\n  lab: *a\n", "./clouds.yaml:2:8: an alias of what it is a part of"},
        {"clouds: {lab: {<<: no}}\n", "./clouds.yaml:1:20: '<<' must be a map or a list of maps"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        put("clouds.yaml", bad[i].text);
        refused("lab", bad[i].message, "");
    }
}

/* Files that people share parts in. */
static void aliases_and_merge_keys_are_what_yaml_says(void **state)
{
    SCOPED(openstack_config_freep) struct openstack_config *lab = NULL, *prod = NULL;

    (void)state;
    put("clouds.yaml", "common: &common\n"
                       "  region_name: north\n"
                       "  interface: internal\n"
                       "  auth: &auth {auth_url: 'https://k/v3', username: !!str u, password: p}\n"
                       "clouds:\n"
                       "  lab:\n"
                       "    <<: *common\n"
                       "    region_name: &region south\n"
                       "    auth: {<<: [{username: v}, *auth], project_name: d}\n"
                       "  prod:\n"
                       "    <<: *common\n"
                       "    region_name: *region\n"
                       "    project_name: e\n");
    lab = load("lab");
    assert_string_equal(lab->region, "south");
    assert_string_equal(lab->interface, "internal");
    assert_string_equal(lab->username, "v");
    assert_string_equal(lab->password, "p");
    assert_string_equal(lab->project_name, "d");
    prod = load("prod");
    assert_string_equal(prod->region, "south");
    assert_string_equal(prod->username, "u");
    assert_string_equal(prod->project_name, "e");
}

/* Nine lines that would be a thousand million values. */
static void aliases_of_aliases_have_a_limit(void **state)
{
    struct openstack_config *config = NULL;
    struct error err = {0};

    (void)state;
    put("clouds.yaml", "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
                       "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                       "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                       "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                       "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                       "clouds: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n");
    assert_int_equal(openstack_config_load("lab", &config, &err), -1);
    assert_non_null(strstr(err.message, "more than 65536 values"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_entry_is_read_with_all_that_it_says, clear),
        cmocka_unit_test_setup(domains_have_defaults, clear),
        cmocka_unit_test_setup(files_are_looked_for_in_their_order, clear),
        cmocka_unit_test_setup(secure_yaml_goes_over_it, clear),
        cmocka_unit_test_setup(the_environment_is_a_cloud, clear),
        cmocka_unit_test_setup(the_only_cloud_need_not_be_chosen, clear),
        cmocka_unit_test_setup(ways_to_authenticate_are_told_by_name_or_by_what_is_there, clear),
        cmocka_unit_test_setup(what_is_missing_is_named, clear),
        cmocka_unit_test_setup(what_kiln_cannot_do_is_refused_by_name, clear),
        cmocka_unit_test_setup(problems_of_the_file_have_a_place, clear),
        cmocka_unit_test_setup(aliases_and_merge_keys_are_what_yaml_says, clear),
        cmocka_unit_test_setup(aliases_of_aliases_have_a_limit, clear),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
