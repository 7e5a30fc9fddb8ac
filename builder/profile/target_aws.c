/* SPDX-License-Identifier: Apache-2.0 */
/* 'cloud: aws': limits are those of EC2's RegisterImage and of EBS direct's StartSnapshot. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "profile/grammar.h"
#include "profile/target_kind.h"

enum {
    TAGS_MAX = 40, /* of 50, which has room for kiln's own */
    TAG_KEY_MAX = 127,
    TEXT_MAX = 255,
    AMI_NAME_MIN = 3,
    AMI_NAME_MAX = 128,
    ACCOUNT_DIGITS = 12,
    REGION_MAX = 32,
};

static const struct word boot_mode_words[] = {
    {.name = "uefi", .value = BOOT_MODE_UEFI},
    {.name = "uefi-preferred", .value = BOOT_MODE_UEFI_PREFERRED},
    {.name = "bios", .value = BOOT_MODE_BIOS},
    {.name = "legacy-bios", .instead = "bios"},
    {.name = NULL},
};

/* It becomes a part of host names. */
static const char *check_region(const char *text)
{
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz";
    static const char lower_and_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const char *s = text + strspn(text, lower);
    bool good = s - text >= 2 && *s == '-';

    while (good && *s == '-') {
        size_t length = strspn(++s, lower_and_digits);

        good = length != 0;
        s += length;
    }
    return good && *s == '\0' && strlen(text) <= REGION_MAX ? NULL
                                                            : "not a region (like eu-west-1)";
}

static const char *check_name(const char *text)
{
    size_t size = strlen(text);

    if (size < AMI_NAME_MIN || size > AMI_NAME_MAX || !text_is_made_of(text, " ()[]./-'@_")) {
        return "must be 3 to 128 letters, digits, spaces and any of ()[]./-'@_";
    }
    return NULL;
}

static const char *check_description(const char *text)
{
    size_t size = strlen(text);

    return size == 0 || size > TEXT_MAX ? "must be 1 to 255 bytes" : NULL;
}

static const char *check_account(const char *text)
{
    if (strcmp(text, "all") == 0 ||
        (strlen(text) == ACCOUNT_DIGITS && strspn(text, "0123456789") == ACCOUNT_DIGITS)) {
        return NULL;
    }
    return "must be an account number of 12 digits, in quotes, or 'all'";
}

static const char *check_tag_key(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > TAG_KEY_MAX) {
        return "must be 1 to 127 bytes";
    }
    return strncasecmp(text, "aws:", 4) == 0    ? "'aws:' is for AWS's own tags"
           : strncasecmp(text, "kiln:", 5) == 0 ? "'kiln:' is for kiln's own tags"
                                                : NULL;
}

static const char *check_tag_value(const char *text)
{
    return strlen(text) > TEXT_MAX ? "longer than 255 bytes" : NULL;
}

static const struct field tag_fields[] = {
    {.name = "tags",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct pair, value),
     .check = check_tag_value},
    {.name = NULL},
};

static const struct shape tag_shape = {
    .noun = "a tag",
    .fields = tag_fields,
    .size = sizeof(struct pair),
    .mark = PLACE_OF(struct pair, mark),
    .key = PLACE_OF(struct pair, key),
    .key_name = "KEY",
    .key_check = check_tag_key,
};

static const struct field aws_fields[] = {
    TARGET_CLOUD,
    {.name = "region",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_aws, region),
     .check = check_region,
     .standard = "the user's own",
     .help = "where the image is made, like eu-west-1"},
    {.name = "name",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_aws, name),
     .check = check_name,
     .standard = "NAME-VERSION",
     .help = "of the image"},
    {.name = "description",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_aws, description),
     .check = check_description,
     .help = "of the image"},
    {.name = "boot_mode",
     .type = FIELD_WORD,
     .value = PLACE_OF(struct target_aws, boot_mode),
     .words = boot_mode_words,
     .standard = "what the disk's firmware allows",
     .help = "what instances start by: uefi, uefi-preferred or bios"},
    {.name = "tpm",
     .type = FIELD_TRUE,
     .value = PLACE_OF(struct target_aws, tpm),
     .help = "instances have a NitroTPM; needs 'boot_mode: uefi'"},
    {.name = "imds_optional",
     .type = FIELD_TRUE,
     .value = PLACE_OF(struct target_aws, imds_optional),
     .help = "instances also answer IMDSv1, the metadata service without tokens"},
    {.name = "share_with",
     .type = FIELD_STRINGS,
     .value = PLACE_OF(struct target_aws, share_with),
     .second = PLACE_OF(struct target_aws, share_count),
     .check = check_account,
     .help = "accounts that may use the image, or [all]"},
    {.name = "copy_to",
     .type = FIELD_STRINGS,
     .value = PLACE_OF(struct target_aws, copy_to),
     .second = PLACE_OF(struct target_aws, copy_count),
     .check = check_region,
     .help = "other regions that get the image too"},
    {.name = "deprecate_at",
     .type = FIELD_TIME,
     .value = PLACE_OF(struct target_aws, deprecate_at),
     .has = PLACE_OF(struct target_aws, has_deprecate_at),
     .help = "when the image is no longer offered, like 2027-11-01T00:00:00Z"},
    {.name = "tags",
     .type = FIELD_PAIRS,
     .value = PLACE_OF(struct target_aws, tags),
     .second = PLACE_OF(struct target_aws, tag_count),
     .shape = &tag_shape,
     .help = "of the image and its snapshot"},
    {.name = NULL},
};

static const struct shape aws_shape = {
    .noun = "a target of 'cloud: aws'",
    .fields = aws_fields,
    .others = target_others,
    .others_why = "where and as whom to publish is the user's own configuration (~/.aws/config, "
                  "~/.aws/credentials, AWS_*)",
};

static void check(struct target *target, const struct node *node, struct problems *problems)
{
    const struct target_aws *aws = &target->aws;

    if (aws->tpm && aws->boot_mode != BOOT_MODE_UEFI) {
        problem_add(problems, node_find(node, "tpm")->mark, "'tpm' needs 'boot_mode: uefi'");
    }
    if (aws->tag_count > TAGS_MAX) {
        problem_add(problems, node_find(node, "tags")->mark, "tags: more than %d", TAGS_MAX);
    }
    for (size_t i = 0; i < aws->share_count && aws->share_count > 1; i++) {
        if (strcmp(aws->share_with[i], "all") == 0) {
            problem_add(problems, node_find(node, "share_with")->mark,
                        "share_with: 'all' goes alone");
        }
    }
    for (size_t i = 0; i < aws->copy_count && aws->region != NULL; i++) {
        if (strcmp(aws->copy_to[i], aws->region) == 0) {
            problem_add(problems, node_find(node, "copy_to")->mark,
                        "copy_to: '%s' is the target's own region", aws->region);
        }
    }
}

static const char *misfit(const struct target *target, unsigned firmware)
{
    bool bios = (firmware & FIRMWARE_BIOS) != 0, uefi = (firmware & FIRMWARE_UEFI) != 0;

    switch (target->aws.boot_mode) {
    case BOOT_MODE_UEFI:
        return uefi ? NULL : "boot_mode 'uefi' needs a disk with firmware 'uefi'";
    case BOOT_MODE_UEFI_PREFERRED:
        return bios && uefi ? NULL
                            : "boot_mode 'uefi-preferred' needs a disk with firmware 'bios' and "
                              "'uefi'";
    case BOOT_MODE_BIOS:
        return bios ? NULL : "boot_mode 'bios' needs a disk with firmware 'bios'";
    case BOOT_MODE_AUTO:
        break;
    }
    return NULL;
}

static void done(struct target *target)
{
    struct target_aws *aws = &target->aws;

    free(aws->region);
    free(aws->name);
    free(aws->description);
    texts_free(aws->share_with, aws->share_count);
    texts_free(aws->copy_to, aws->copy_count);
    pairs_free(aws->tags, aws->tag_count);
}

static unsigned takes(const struct target *target)
{
    (void)target;
    return FORMAT_RAW;
}

const struct target_kind target_kind_aws = {
    .name = "aws",
    .summary = "an AMI of Amazon EC2",
    .shape = &aws_shape,
    .check = check,
    .done = done,
    .takes = takes,
    .misfit = misfit,
};
