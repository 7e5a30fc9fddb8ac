/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "profile/target.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define BEGIN                                                                                      \
    "name: web\narchitecture: x86_64\nlayers: [{files: {/x: {content: y}}}]\n"                     \
    "targets:\n"

static struct profile *parse(const char *text)
{
    SCOPED_FREE char *yaml = xprintf(BEGIN "%s", text);
    struct profile *profile = NULL;
    struct error err = {0};

    if (profile_parse("web.yaml", yaml, strlen(yaml), &profile, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_non_null(profile->targets);
    return profile;
}

/* What is read back from the targets.json of TARGETS must be the same. */
static void assert_survives(const struct targets *targets)
{
    SCOPED(targets_done) struct targets again = {0};
    struct error err = {0};

    if (targets_parse("targets.json", targets->text, strlen(targets->text), &again, &err) < 0) {
        fail_msg("%s\n%s", err.message, targets->text);
    }
    assert_string_equal(again.text, targets->text);
    assert_int_equal(again.count, targets->count);
    for (size_t i = 0; i < again.count; i++) {
        assert_string_equal(again.items[i].name, targets->items[i].name);
        assert_int_equal(again.items[i].cloud, targets->items[i].cloud);
        assert_string_equal(again.items[i].attributes, targets->items[i].attributes);
    }
}

static void assert_not_read(const char *text, const char *message)
{
    SCOPED(targets_done) struct targets targets = {0};
    struct error err = {0};

    assert_int_equal(targets_parse("b/targets.json", text, strlen(text), &targets, &err), -1);
    assert_int_equal(err.kind, FAIL_USAGE);
    if (strstr(err.message, message) == NULL) {
        fail_msg("%s", err.message);
    }
}

static void a_target_of_aws_is_decoded_field_by_field(void **state)
{
    SCOPED(profile_freep)
    struct profile *profile = parse("  prod:\n"
                                    "    cloud: aws\n"
                                    "    region: us-gov-west-1\n"
                                    "    name: web (1.4) [x]./-'@_\n"
                                    "    description: Ünïcode\n"
                                    "    boot_mode: uefi\n"
                                    "    tpm: true\n"
                                    "    imds_optional: true\n"
                                    "    share_with: [\"123456789012\", \"000000000000\"]\n"
                                    "    copy_to: [us-east-1, eusc-de-east-1]\n"
                                    "    deprecate_at: 2027-11-01T00:00:00Z\n"
                                    "    tags: {team: web, empty: \"\"}\n");
    const struct target *target = profile->targets->items;
    const struct target_aws *aws = &target->aws;

    (void)state;
    assert_int_equal(profile->targets->count, 1);
    assert_string_equal(target->name, "prod");
    assert_int_equal(target->mark.line, 5);
    assert_int_equal(target->mark.column, 3);
    assert_int_equal(target->cloud, CLOUD_AWS);
    assert_string_equal(aws->region, "us-gov-west-1");
    assert_string_equal(aws->name, "web (1.4) [x]./-'@_");
    assert_string_equal(aws->description, "Ünïcode");
    assert_int_equal(aws->boot_mode, BOOT_MODE_UEFI);
    assert_true(aws->tpm && aws->imds_optional && aws->has_deprecate_at);
    assert_int_equal(aws->share_count, 2);
    assert_string_equal(aws->share_with[1], "000000000000");
    assert_int_equal(aws->copy_count, 2);
    assert_string_equal(aws->copy_to[1], "eusc-de-east-1");
    assert_int_equal(aws->deprecate_at, 1825027200);
    assert_int_equal(aws->tag_count, 2);
    assert_string_equal(aws->tags[0].key, "team");
    assert_string_equal(aws->tags[0].value, "web");
    assert_string_equal(aws->tags[1].value, "");
    assert_int_equal(target_kinds[CLOUD_AWS]->takes(target), FORMAT_RAW);
    assert_survives(profile->targets);
}

static void a_target_of_openstack_is_decoded_field_by_field(void **state)
{
    SCOPED(profile_freep)
    struct profile *profile = parse("  lab:\n"
                                    "    cloud: openstack\n"
                                    "    os_cloud: lab\n"
                                    "    region: RegionOne\n"
                                    "    name: \"web: 1\"\n"
                                    "    disk_format: raw\n"
                                    "    visibility: shared\n"
                                    "    protected: true\n"
                                    "    min_ram: 512MiB\n"
                                    "    share_with: [0123456789abcdef0123456789abcdef]\n"
                                    "    properties: {os_distro: debian, 'trait:X_Y': required}\n"
                                    "    tags: [a, b]\n"
                                    "  other: {cloud: openstack}\n");
    const struct target *target = profile->targets->items;
    const struct target_openstack *os = &target->openstack;

    (void)state;
    assert_int_equal(profile->targets->count, 2);
    assert_int_equal(target->cloud, CLOUD_OPENSTACK);
    assert_string_equal(os->os_cloud, "lab");
    assert_string_equal(os->region, "RegionOne");
    assert_string_equal(os->name, "web: 1");
    assert_int_equal(os->disk_format, FORMAT_RAW);
    assert_int_equal(os->visibility, VISIBILITY_SHARED);
    assert_true(os->is_protected);
    assert_int_equal(os->min_ram_bytes, 512 << 20);
    assert_int_equal(os->share_count, 1);
    assert_string_equal(os->share_with[0], "0123456789abcdef0123456789abcdef");
    assert_int_equal(os->property_count, 2);
    assert_string_equal(os->properties[1].key, "trait:X_Y");
    assert_string_equal(os->properties[1].value, "required");
    assert_int_equal(os->tag_count, 2);
    assert_int_equal(target[1].openstack.disk_format, FORMAT_QCOW2);
    assert_int_equal(target[1].openstack.visibility, VISIBILITY_PRIVATE);
    assert_int_equal(target_kinds[CLOUD_OPENSTACK]->takes(&target[0]), FORMAT_RAW);
    assert_int_equal(target_kinds[CLOUD_OPENSTACK]->takes(&target[1]), FORMAT_QCOW2);
    assert_survives(profile->targets);
}

static void a_target_of_a_directory_is_decoded_field_by_field(void **state)
{
    SCOPED(profile_freep)
    struct profile *profile = parse("  here: {cloud: directory, path: ~/images, formats: [qcow2]}\n"
                                    "  there: {cloud: directory, path: /srv/images}\n"
                                    "  plain: {cloud: directory}\n");
    const struct target *targets = profile->targets->items;

    (void)state;
    assert_int_equal(profile->targets->count, 3);
    assert_string_equal(targets[0].directory.path, "~/images");
    assert_int_equal(targets[0].directory.formats, FORMAT_QCOW2);
    assert_string_equal(targets[1].directory.path, "/srv/images");
    assert_int_equal(targets[1].directory.formats, 0);
    assert_null(targets[2].directory.path);
    assert_survives(profile->targets);
}

static void attributes_are_what_was_written_in_one_order(void **state)
{
    SCOPED(profile_freep)
    struct profile *one =
        parse("  a: {cloud: openstack, tags: [y, x], name: n, properties: {b: c, a: d}}\n");
    SCOPED(profile_freep)
    struct profile *other =
        parse("  b:\n    properties:\n      a: \"d\"\n      b: c\n    name: 'n'\n"
              "    tags:\n      - y\n      - x\n    cloud: openstack\n");

    (void)state;
    assert_string_equal(one->targets->items[0].attributes,
                        "{\"name\":\"n\",\"properties\":{\"a\":\"d\",\"b\":\"c\"},"
                        "\"tags\":[\"y\",\"x\"]}");
    assert_string_equal(one->targets->items[0].attributes, other->targets->items[0].attributes);
}

static void the_text_is_json_in_the_order_of_the_file(void **state)
{
    SCOPED(profile_freep)
    struct profile *profile =
        parse("  b: {cloud: aws, tags: {z: 1, a: x}}\n  a: {cloud: directory}\n");

    (void)state;
    assert_string_equal(profile->targets->text, "{\n"
                                                "  \"b\": {\n"
                                                "    \"cloud\": \"aws\",\n"
                                                "    \"tags\": {\n"
                                                "      \"z\": \"1\",\n"
                                                "      \"a\": \"x\"\n"
                                                "    }\n"
                                                "  },\n"
                                                "  \"a\": {\n"
                                                "    \"cloud\": \"directory\"\n"
                                                "  }\n"
                                                "}\n");
    assert_survives(profile->targets);
}

/* Whatever YAML might take for something else. */
static void every_text_survives_the_bundle(void **state)
{
    static const char *const texts[] = {
        "\\\\",
        "\\\"",
        "'",
        ": ",
        " #x",
        "- x",
        "? x",
        "null",
        "~",
        "0x10",
        "1e3",
        "{}",
        "[x",
        "x]",
        "%TAG",
        "@x",
        "`x",
        "!!x",
        "&x",
        "*x",
        "|",
        ">",
        "---",
        "...",
        " leading",
        "trailing ",
        "\\t",
        "😀",
        "𝒳 \\U0001F600",
        "\\u00e9 é",
        "日本語",
        "e\\u0301",
        "a/b\\\\n",
        "\\\\u0041",
        "\\x41",
        "\\u00a0nbsp",
        "\\u3000",
        "",
        "<<",
        "=",
    };
    SCOPED(buf_done) struct buf yaml = {0};
    SCOPED(profile_freep) struct profile *profile = NULL;

    (void)state;
    buf_puts(&yaml, "  a:\n    cloud: openstack\n    properties:\n");
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (strcmp(texts[i], "\\t") != 0) {
            buf_printf(&yaml, "      p%zu: \"%s\"\n", i, texts[i]);
        }
    }
    buf_puts(&yaml, "  b:\n    cloud: aws\n    tags:\n");
    for (size_t i = 0; i < 30; i++) {
        if (strcmp(texts[i], "\\t") != 0) {
            buf_printf(&yaml, "      \"k%zu%s\": x\n", i, texts[i]);
        }
    }
    profile = parse(yaml.data);
    assert_string_equal(profile->targets->items[0].openstack.properties[28 - 1].value, "𝒳 😀");
    assert_survives(profile->targets);
}

static void what_a_target_takes_is_made_by_default(void **state)
{
    SCOPED(profile_freep)
    struct profile *profile = parse("  a: {cloud: openstack}\ndisk: {size: 1GiB}\n");
    SCOPED(profile_freep)
    struct profile *raw = parse("  a: {cloud: aws}\n  b: {cloud: openstack, disk_format: raw}\n"
                                "disk: {formats: [qcow2]}\n");

    (void)state;
    assert_int_equal(profile->formats, FORMAT_RAW | FORMAT_QCOW2);
    assert_int_equal(raw->formats, FORMAT_QCOW2);
}

static void boot_modes_must_fit_the_firmware(void **state)
{
    static const struct {
        const char *mode;
        unsigned firmware;
        bool fits;
    } cases[] = {
        {"uefi", FIRMWARE_UEFI, true},
        {"uefi", FIRMWARE_BIOS | FIRMWARE_UEFI, true},
        {"uefi", FIRMWARE_BIOS, false},
        {"uefi", 0, false},
        {"uefi-preferred", FIRMWARE_BIOS | FIRMWARE_UEFI, true},
        {"uefi-preferred", FIRMWARE_UEFI, false},
        {"uefi-preferred", FIRMWARE_BIOS, false},
        {"bios", FIRMWARE_BIOS, true},
        {"bios", FIRMWARE_BIOS | FIRMWARE_UEFI, true},
        {"bios", FIRMWARE_UEFI, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *json =
            xprintf("{\"a\": {\"cloud\": \"aws\", \"boot_mode\": \"%s\"}}", cases[i].mode);
        SCOPED(targets_done) struct targets targets = {0};
        struct error err = {0};

        assert_int_equal(targets_parse("x", json, strlen(json), &targets, &err), 0);
        assert_int_equal(target_misfit(&targets.items[0], cases[i].firmware) == NULL,
                         cases[i].fits);
    }
}

/* --- extends --------------------------------------------------------------------------------- */

static void targets_of_a_parent_merge(void **state)
{
    static const char parent[] = "targets:\n"
                                 "  prod:\n"
                                 "    cloud: aws\n"
                                 "    region: eu-west-1\n"
                                 "    copy_to: [us-east-1]\n"
                                 "    share_with: [\"123456789012\"]\n"
                                 "    tags: {team: base, kept: x}\n"
                                 "  lab: {cloud: openstack, tags: [a, b]}\n";
    static const char own[] = BEGIN "  prod:\n"
                                    "    region: eu-north-1\n"
                                    "    copy_to: [us-east-1, us-east-2]\n"
                                    "    tags: {team: web}\n"
                                    "  here: {cloud: directory}\n"
                                    "extends: base.yaml\n";
    char dir[] = "/tmp/kiln-targets-XXXXXX";
    SCOPED_FREE char *path = NULL;
    SCOPED_FREE char *base = NULL;
    SCOPED(profile_freep) struct profile *profile = NULL;
    const struct target *items;
    struct error err = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = file_join(dir, "web.yaml");
    base = file_join(dir, "base.yaml");
    assert_int_equal(file_write(base, parent, strlen(parent), &err), 0);
    if (profile_parse(path, own, strlen(own), &profile, &err) < 0) {
        fail_msg("%s", err.message);
    }
    items = profile->targets->items;
    assert_int_equal(profile->targets->count, 3);
    assert_string_equal(items[0].aws.region, "eu-north-1");
    assert_int_equal(items[0].aws.copy_count, 2);
    assert_string_equal(items[0].aws.copy_to[0], "us-east-1");
    assert_string_equal(items[0].aws.copy_to[1], "us-east-2");
    assert_int_equal(items[0].aws.share_count, 1);
    assert_int_equal(items[0].aws.tag_count, 2);
    assert_string_equal(items[0].aws.tags[0].value, "web");
    assert_string_equal(items[0].attributes,
                        "{\"copy_to\":[\"us-east-1\",\"us-east-2\"],\"region\":\"eu-north-1\","
                        "\"share_with\":[\"123456789012\"],\"tags\":{\"kept\":\"x\",\"team\":"
                        "\"web\"}}");
    assert_string_equal(items[2].name, "lab");
    assert_string_equal(items[2].mark.file, base);
    assert_survives(profile->targets);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

/* --- a bundle's ------------------------------------------------------------------------------ */

static void a_bundle_cannot_say_where_or_as_whom(void **state)
{
    static const char *const keys[] = {
        "endpoint",
        "endpoint_url",
        "endpoint_url_ec2",
        "auth_url",
        "url",
        "host",
        "proxy",
        "cacert",
        "ca_bundle",
        "verify",
        "insecure",
        "username",
        "password",
        "token",
        "access_key",
        "access_key_id",
        "secret_key",
        "secret_access_key",
        "profile",
        "credentials",
        "credential_process",
        "role_arn",
        "AWS_PROFILE",
        "OS_PASSWORD",
        "os_auth_url",
        "https_proxy",
        "application_credential_secret",
        "sso_session",
        "user_domain_name",
        "config_file",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        for (size_t k = 0; k < CLOUDS; k++) {
            SCOPED_FREE char *json = xprintf("{\"a\": {\"cloud\": \"%s\", \"%s\": \"x\"}}",
                                             target_kinds[k]->name, keys[i]);
            SCOPED_FREE char *message = xprintf(
                "b/targets.json:1:%zu: '%s' cannot be set here: ",
                strlen("{\"a\": {\"cloud\": \"\", ") + strlen(target_kinds[k]->name) + 1, keys[i]);

            assert_not_read(json, message);
        }
    }
}

static void what_is_no_map_of_targets_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "the list of targets is empty"},
        {"[]", "'targets' must be a map, not a list"},
        {"x", "'targets' must be a map, not text"},
        {"{\"a\": {\"cloud\": \"aws\"}, \"a\": {\"cloud\": \"aws\"}}", "key 'a' is given twice"},
        {"{\"a\": {\"cloud\": \"aws\", \"cloud\": \"aws\"}}", "key 'cloud' is given twice"},
        {"{\"../a\": {\"cloud\": \"aws\"}}", "targets: NAME '../a'"},
        {"{\"a\": &x {\"cloud\": \"aws\"}}", "anchor 'x'"},
        {"{\"a\": {\"cloud\": \"aws\", \"region\": \"x.evil.example/\"}}", "not a region"},
        {"{\"a\": {\"cloud\": \"aws\"}}\n---\nb: x\n", "a second document"},
        {"{\"a\": {\"cloud\": \"aws\"", "not YAML"},
        {"{\"a\": null}", "target 'a' must be a map, not text"},
        {"{\"a\": {\"cloud\": \"aws\", \"name\": \"\\u0000abc\"}}", "cannot be printed"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_not_read(cases[i].text, cases[i].message);
    }
}

static void a_file_of_targets_must_be_a_file(void **state)
{
    char dir[] = "/tmp/kiln-targets-XXXXXX";
    SCOPED_FREE char *path = NULL;
    SCOPED_FREE char *real = NULL;
    SCOPED(targets_done) struct targets targets = {0};
    struct error err = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = file_join(dir, TARGETS_NAME);
    real = file_join(dir, "real");
    assert_int_equal(file_write(real, "{\"a\": {\"cloud\": \"aws\"}}", 23, &err), 0);
    assert_int_equal(targets_read(path, &targets, &err), -1);
    fail_clear(&err);
    assert_int_equal(symlink("real", path), 0);
    assert_int_equal(targets_read(path, &targets, &err), -1);
    assert_non_null(strstr(err.message, "is not a regular file"));
    fail_clear(&err);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* which nobody ever writes to */
    assert_int_equal(targets_read(path, &targets, &err), -1);
    assert_non_null(strstr(err.message, "is not a regular file"));
    fail_clear(&err);
    assert_int_equal(rename(real, path), 0);
    assert_int_equal(targets_read(path, &targets, &err), 0);
    assert_int_equal(targets.count, 1);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void too_much_text_is_refused(void **state)
{
    SCOPED(buf_done) struct buf yaml = {0};
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    (void)state;
    /* Less than 1 MiB as it is written here, more as JSON of a line each. */
    buf_puts(&yaml, BEGIN);
    for (unsigned i = 0; i < 64; i++) {
        buf_printf(&yaml, "  t%u: {cloud: openstack, tags: [a", i);
        for (unsigned k = 0; k < 1000; k++) {
            buf_printf(&yaml, ",%u", 1000000 + k);
        }
        buf_puts(&yaml, "]}\n");
    }
    assert_true(yaml.size < 1 << 20);
    assert_int_equal(profile_parse("web.yaml", yaml.data, yaml.size, &profile, &err), -1);
    assert_string_equal(err.message, "web.yaml:5:3: targets: larger than 1048576 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_of_aws_is_decoded_field_by_field),
        cmocka_unit_test(a_target_of_openstack_is_decoded_field_by_field),
        cmocka_unit_test(a_target_of_a_directory_is_decoded_field_by_field),
        cmocka_unit_test(attributes_are_what_was_written_in_one_order),
        cmocka_unit_test(the_text_is_json_in_the_order_of_the_file),
        cmocka_unit_test(every_text_survives_the_bundle),
        cmocka_unit_test(what_a_target_takes_is_made_by_default),
        cmocka_unit_test(boot_modes_must_fit_the_firmware),
        cmocka_unit_test(targets_of_a_parent_merge),
        cmocka_unit_test(a_bundle_cannot_say_where_or_as_whom),
        cmocka_unit_test(what_is_no_map_of_targets_is_refused),
        cmocka_unit_test(a_file_of_targets_must_be_a_file),
        cmocka_unit_test(too_much_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
