/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/publish_aws.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"

enum {
    IMAGE_NAME_MIN = 3, /* of an image: RegisterImage's limits */
    IMAGE_NAME_MAX = 128,
};

const char *aws_boot_mode(enum boot_mode wanted, enum architecture architecture, unsigned firmware)
{
    bool bios = (firmware & FIRMWARE_BIOS) != 0 && architecture == ARCH_X86_64;
    bool uefi = (firmware & FIRMWARE_UEFI) != 0 || architecture == ARCH_AARCH64;

    switch (wanted) {
    case BOOT_MODE_UEFI:
        return "uefi";
    case BOOT_MODE_UEFI_PREFERRED:
        return "uefi-preferred";
    case BOOT_MODE_BIOS:
        return "legacy-bios";
    case BOOT_MODE_AUTO:
        break;
    }
    return bios && uefi ? "uefi-preferred" : uefi ? "uefi" : bios ? "legacy-bios" : NULL;
}

/* Images made in the target's own region have no second one there. */
static int check_copies(const struct target_aws *wanted, const char *region, struct error *err)
{
    for (size_t i = 0; i < wanted->copy_count; i++) {
        if (strcmp(wanted->copy_to[i], region) == 0) {
            return fail(err, FAIL_ERROR, "copy_to: '%s' is the region of the image itself", region);
        }
    }
    return 0;
}

static int choose_region(struct publication *pub, struct aws_target *target, struct error *err)
{
    const struct target_aws *wanted = aws_wanted(pub);
    const char *region =
        wanted->region != NULL ? wanted->region : aws_config_region(target->config);

    if (region == NULL) {
        fail(err, FAIL_ERROR, "no region is known");
        return fail_hint(err, "say 'region:' in the target, or set AWS_REGION");
    }
    target->region = xstrdup(region);
    return check_copies(wanted, region, err);
}

static int choose_name(struct publication *pub, struct aws_target *target, struct error *err)
{
    const struct target_aws *wanted = aws_wanted(pub);
    const struct reader *bundle = pub->bundle;

    target->name = publication_image_name(pub, wanted->name);
    target->description = wanted->description != NULL
                              ? xstrdup(wanted->description)
                              : xprintf("%s %s", bundle->name, bundle->version);
    size_t size = strlen(target->name);

    if (size < IMAGE_NAME_MIN || size > IMAGE_NAME_MAX ||
        !text_is_made_of(target->name, " ()[]./-'@_")) {
        fail(err, FAIL_ERROR, "EC2 has no images called '%s'", target->name);
        return fail_hint(err, "say 'name:' in the target: 3 to 128 letters, digits, spaces and any "
                              "of ()[]./-'@_");
    }
    return 0;
}

static int find_services(struct publication *pub, struct aws_target *target, struct error *err)
{
    const struct target_aws *wanted = aws_wanted(pub);

    target->copies = xcalloc(wanted->copy_count + 1, sizeof(*target->copies));
    target->copy_count = wanted->copy_count;
    for (size_t i = 0; i < wanted->copy_count; i++) {
        if (aws_service_init(&target->copies[i], target->config, NULL, NULL, "ec2",
                             wanted->copy_to[i], err) < 0) {
            return -1;
        }
    }
    return aws_service_init(&target->ec2, target->config, NULL, NULL, "ec2", target->region, err) <
                       0 ||
                   aws_service_init(&target->ebs, target->config, NULL, NULL, "ebs", target->region,
                                    err) < 0
               ? -1
               : aws_service_init(&target->sts, target->config, NULL, NULL, "sts", target->region,
                                  err);
}

int aws_prepare(struct publication *pub, struct aws_target *target, struct error *err)
{
    const struct reader *bundle = pub->bundle;

    hash_hex(bundle->disk_digest, target->digest);
    if (bundle->size_bytes >> 30 > EBS_GIB_MAX) {
        return fail(err, FAIL_ERROR, "the disk is larger than a snapshot may be, 64 TiB");
    }
    target->boot_mode =
        aws_boot_mode(aws_wanted(pub)->boot_mode, bundle->architecture, bundle->firmware);
    if (aws_config_load(&target->config, err) < 0 || choose_region(pub, target, err) < 0 ||
        choose_name(pub, target, err) < 0) {
        return -1;
    }
    return find_services(pub, target, err);
}

static void connect_services(struct aws_target *target)
{
    struct aws_service *services[] = {&target->ebs, &target->ec2, &target->sts};

    for (size_t i = 0; i < COUNT(services); i++) {
        services[i]->http = target->http;
        services[i]->credentials = target->credentials;
    }
    for (size_t i = 0; i < target->copy_count; i++) {
        target->copies[i].http = target->http;
        target->copies[i].credentials = target->credentials;
    }
}

/* Where the disk goes, and where the image is made when that is elsewhere. */
static char *host_text(const struct aws_target *target)
{
    SCOPED_FREE char *ec2 = http_origin(target->ec2.endpoint);
    SCOPED_FREE char *ebs = http_origin(target->ebs.endpoint);

    return strcmp(ec2, ebs) == 0 ? TAKE(ec2) : xprintf("%s, %s", ec2, ebs);
}

static int begin(struct publication *pub, void *state, struct identity *ret, struct error *err)
{
    struct aws_target *target = state;
    SCOPED(sts_identity_done) struct sts_identity identity = {0};

    if (aws_prepare(pub, target, err) < 0 ||
        publication_http(pub, aws_config_ca(target->config), &target->http, err) < 0 ||
        aws_credentials_find(target->config, target->http, target->region, &target->credentials,
                             err) < 0) {
        return -1;
    }
    connect_services(target);
    if (sts_get_caller_identity(&target->sts, &identity, err) < 0) {
        return -1;
    }
    target->account = TAKE(identity.account);
    ret->account = xstrdup(target->account);
    ret->host = host_text(target);
    ret->who = xprintf("%s, from %s", identity.arn, aws_credentials_source(target->credentials));
    ret->scope = xprintf("aws/%s/%s", target->account, target->region);
    return 0;
}

void aws_end(void *state)
{
    struct aws_target *target = state;

    for (size_t i = 0; i < target->copy_count; i++) {
        aws_service_done(&target->copies[i]);
    }
    aws_service_done(&target->ebs);
    aws_service_done(&target->ec2);
    aws_service_done(&target->sts);
    aws_credentials_free(target->credentials);
    http_free(target->http);
    aws_config_free(target->config);
    free(target->copies);
    free(target->region);
    free(target->account);
    free(target->name);
    free(target->description);
    free(target->tags);
    free(target->blocks);
}

struct aws_tags aws_tags(struct publication *pub, struct aws_target *target)
{
    const struct target_aws *wanted = aws_wanted(pub);

    if (target->tags == NULL) {
        target->tags = xcalloc(wanted->tag_count + 2, sizeof(*target->tags));
        for (size_t i = 0; i < wanted->tag_count; i++) {
            target->tags[i] = (struct aws_tag){wanted->tags[i].key, wanted->tags[i].value};
        }
        target->tags[wanted->tag_count] = (struct aws_tag){AWS_TAG_PUBLISH_ID, pub->id};
        target->tags[wanted->tag_count + 1] = (struct aws_tag){AWS_TAG_DISK_DIGEST, target->digest};
    }
    return (struct aws_tags){target->tags, wanted->tag_count + 2};
}

struct ec2_share aws_share_with(const struct publication *pub)
{
    const struct target_aws *wanted = aws_wanted(pub);
    bool all = wanted->share_count > 0 && strcmp(wanted->share_with[0], "all") == 0;

    return (struct ec2_share){.accounts = (const char *const *)wanted->share_with,
                              .count = all ? 0 : wanted->share_count,
                              .all = all};
}

bool aws_is_ours(const struct publication *pub, const struct aws_target *target, const json_t *tags)
{
    return strcmp(ec2_tag(tags, AWS_TAG_PUBLISH_ID), pub->id) == 0 &&
           strcmp(ec2_tag(tags, AWS_TAG_DISK_DIGEST), target->digest) == 0;
}

int aws_token(struct publication *pub, const char *what, char ret[HASH_HEX_MAX], struct error *err)
{
    const char *nonce = journal_get(pub->journal, "nonce");
    char hex[HASH_HEX_MAX];

    if (nonce == NULL) {
        uint8_t random[HASH_SIZE];

        if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
            return fail_os(err, "get random numbers");
        }
        nonce = hash_hex(random, hex);
        if (journal_set(pub->journal, "nonce", nonce, err) < 0) {
            return -1;
        }
    }
    SCOPED_FREE char *name = xprintf("%s %s", what, nonce);

    publication_token(pub, name, ret);
    return 0;
}

static void show(struct publication *pub, const char *key, const char *value)
{
    if (value != NULL) {
        (void)json_object_set_new(pub->result, key, json_string(value));
    }
}

void aws_result(struct publication *pub, const struct aws_target *target)
{
    json_t *copies = json_object();

    show(pub, "account", target->account);
    show(pub, "region", target->region);
    show(pub, "snapshot", journal_get(pub->journal, "snapshot"));
    show(pub, "image", journal_get(pub->journal, "image"));
    for (size_t i = 0; i < target->copy_count; i++) {
        const char *region = target->copies[i].region;
        SCOPED_FREE char *key = xprintf("copy.%s", region);
        const char *image = journal_get(pub->journal, key);

        if (image != NULL) {
            (void)json_object_set_new(copies, region, json_string(image));
        }
    }
    (void)json_object_set_new(pub->result, "copies", copies);
}

static const struct phase phases[] = {
    {.name = "upload", .run = aws_upload},
    {.name = "seal", .run = aws_seal, .ends_parent = true},
    {.name = "register", .run = aws_register},
    {.name = "share", .run = aws_share},
    {.name = "copy", .run = aws_copy},
    {.name = "deprecate", .run = aws_deprecate},
    {.name = NULL},
};

const struct cloud cloud_aws = {
    .kind = CLOUD_AWS,
    .state_bytes = sizeof(struct aws_target),
    .takes_parent = true,
    .plan = aws_plan,
    .begin = begin,
    .find = aws_find,
    .phases = phases,
    .abort = aws_abort,
    .end = aws_end,
};
