/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for EC2 and EBS beside what botocore makes of the same parameters. */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aws/ebs.h"
#include "aws/ec2.h"
#include "base/fail.h"
#include "base/text.h"

#include <cmocka.h>

#include "tools.h"

static const struct aws_tag tags[] = {{"team", "web & co"}, {"ümlaut", ""}};

/* The lines that aws_requests.py reads. */
static struct buf lines;

static void add(const char *name, struct buf *body)
{
    buf_printf(&lines, "%s\t%s\n", name, body->data);
    buf_clear(body);
}

static void add_descriptions(struct buf *form)
{
    ec2_describe_form("DescribeImages", "tag:kiln:publish-id", "00ff", NULL, form);
    add("images", form);
    ec2_describe_form("DescribeImages", "name", "(a) [b]/c", "a/b+c==", form);
    add("images-next", form);
    ec2_describe_form("DescribeSnapshots", "snapshot-id", "snap-0123", NULL, form);
    add("snapshots", form);
}

static void add_images(struct buf *form)
{
    struct ec2_register image = {.name = "web-1.4.0",
                                 .description = "a+b c=d",
                                 .architecture = "x86_64",
                                 .snapshot = "snap-0123"};
    const struct ec2_copy copy = {.name = "web-1.4.0",
                                  .description = "a+b c=d",
                                  .token = "00ff",
                                  .region = "eu-west-1",
                                  .image = "ami-0123"};

    ec2_register_form(&image, form);
    add("register", form);
    image.architecture = "arm64";
    image.boot_mode = "uefi";
    image.tpm = image.imds_v2 = true;
    image.tags = (struct aws_tags){tags, 2};
    ec2_register_form(&image, form);
    add("register-all", form);
    ec2_copy_form(&copy, form);
    add("copy", form);
}

static void add_changes(struct buf *form)
{
    static const char *const accounts[] = {"111111111111", "222222222222"};
    int64_t at;

    ec2_share_form("ami-0123", &(struct ec2_share){accounts, 2, false}, form);
    add("share-image", form);
    ec2_share_form("ami-0123", &(struct ec2_share){.all = true}, form);
    add("share-image-all", form);
    ec2_share_form("snap-0123", &(struct ec2_share){accounts, 1, false}, form);
    add("share-snapshot", form);
    ec2_shared_form("ami-0123", form);
    add("shared-image", form);
    ec2_shared_form("snap-0123", form);
    add("shared-snapshot", form);
    ec2_tag_form("ami-0123", &(struct aws_tags){tags, 2}, form);
    add("tag", form);
    assert_true(text_parse_time("2027-11-01T00:00:00Z", &at));
    ec2_deprecate_form("ami-0123", at, form);
    add("deprecate", form);
    ec2_remove_form("ami-0123", form);
    add("remove-image", form);
    ec2_remove_form("snap-0123", form);
    add("remove-snapshot", form);
}

static void add_snapshots(struct buf *body)
{
    struct ebs_start start = {.size_gib = EBS_GIB_MAX,
                              .description = "a+b \"c\"",
                              .token = "00ff",
                              .timeout_min = 1440,
                              .tags = {tags, 2}};

    ebs_start_body(&start, body);
    add("start", body);
    start.parent = "snap-0123";
    ebs_start_body(&start, body);
    add("start-parent", body);
}

/* Of blocks 1, 2 and 5, each of them 32 times its number. */
static void add_linear(struct buf *text)
{
    static const uint64_t blocks[] = {1, 2, 5};
    uint8_t digests[6][HASH_SIZE], linear[HASH_SIZE], block[32];
    char hex[HASH_HEX_MAX];

    for (int i = 0; i < 6; i++) {
        memset(block, i, sizeof(block));
        hash_bytes(block, sizeof(block), digests[i]);
    }
    ebs_linear((const uint8_t(*)[HASH_SIZE])digests, blocks, 3, linear);
    buf_puts(text, hash_hex(linear, hex));
    add("linear", text);
}

static void requests_are_botocores(void **state)
{
    SCOPED(buf_done) struct buf body = {0};
    const char *top = getenv("TOP");
    SCOPED_FREE char *judge = xprintf("%s/tests/lib/aws_requests.py", top != NULL ? top : ".");
    SCOPED_FREE char *file = xprintf("%s/requests", (const char *)*state);
    struct error err = {0};

    add_descriptions(&body);
    add_images(&body);
    add_changes(&body);
    add_snapshots(&body);
    add_linear(&body);
    assert_int_equal(file_write(file, lines.data, lines.size, &err), 0);
    buf_done(&lines);
    free(RUN("/usr/bin/python3", "-B", judge, file));
}

static void ids_are_hex_of_their_kind(void **state)
{
    (void)state;
    assert_true(aws_is_id("snap-0123456789abcdef0", "snap"));
    assert_true(aws_is_id("ami-1", "ami"));
    assert_false(aws_is_id("snap-", "snap"));
    assert_false(aws_is_id("ami-1", "snap"));
    assert_false(aws_is_id("snap-12/../..", "snap"));
    assert_false(aws_is_id("snap-AB", "snap"));
    assert_false(aws_is_id("", "snap"));
    assert_false(aws_is_id("snap-00000000000000000000000000000000000000000000000000000000000000000",
                           "snap"));
}

/* Not in its directory: the judge is found from the top. */
static int make_scratch(void **state)
{
    char cwd[4096];
    const char *top = getcwd(cwd, sizeof(cwd));

    return top == NULL || enter_scratch(state) < 0 ? -1 : chdir(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_botocores),
        cmocka_unit_test(ids_are_hex_of_their_kind),
    };

    return cmocka_run_group_tests(tests, make_scratch, leave_scratch);
}
