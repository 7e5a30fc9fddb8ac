/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot as an image: registered, shared, copied, deprecated. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "publish/publish_aws.h"

enum {
    AVAILABLE_MAX_S = 4 * 3600, /* copies into far regions */
    VISIBLE_MAX_S = 120,        /* for so long a new image may not be known everywhere */
    FLICKER_MAX_S = 20,         /* and what is older may seem to be gone */
    GO_ON = 2,                  /* beside PHASE_DONE, PHASE_AGAIN and -1 */
};

/* ---- waiting ---- */

static bool is_failed(const struct ec2_image *image)
{
    return strcmp(image->state, "available") != 0 && strcmp(image->state, "pending") != 0 &&
           strcmp(image->state, "transient") != 0;
}

static int still_pending(const char *id, const char *region, struct error *err)
{
    fail(err, FAIL_REMOTE, "image %s in %s is still not available", id, region);
    return fail_hint(err, "publish again to go on waiting for it");
}

static int gone(const char *id, const char *region, struct error *err)
{
    (void)fail(err, FAIL_REMOTE, "image %s in %s is gone, or is not of this publish", id, region);
    return PHASE_AGAIN;
}

static int failed(const struct ec2_image *image, const char *region, struct error *err)
{
    (void)fail(err, FAIL_REMOTE, "image %s in %s is %s: %s", image->id, region, image->state,
               image->message);
    return PHASE_AGAIN;
}

/* One look at image ID, WAITED seconds after the first; RET gets it when it is available. */
static int look_at(struct publication *pub, struct aws_target *target,
                   const struct aws_service *ec2, const char *id, int64_t waited,
                   struct ec2_image *ret, struct error *err)
{
    SCOPED(ec2_images_done) struct ec2_images images = {0};
    int64_t patience = target->makes_images ? VISIBLE_MAX_S : FLICKER_MAX_S;

    if (ec2_describe_images(ec2, "image-id", id, &images, err) < 0) {
        return -1;
    }
    struct ec2_image *image = images.items;
    bool has_tag = images.count > 0 && ec2_tag(image->tags, AWS_TAG_PUBLISH_ID)[0] != '\0';

    if (waited < patience && (images.count == 0 || !has_tag)) {
        return GO_ON;
    }
    if (images.count == 0 || !aws_is_ours(pub, target, image->tags)) {
        return gone(id, ec2->region, err);
    }
    if (is_failed(image)) {
        return failed(image, ec2->region, err);
    }
    if (strcmp(image->state, "available") != 0) {
        return waited < AVAILABLE_MAX_S ? GO_ON : still_pending(id, ec2->region, err);
    }
    *ret = *image;
    memset(image, 0, sizeof(*image));
    return PHASE_DONE;
}

/* Waits until it is available. */
static int wait_for(struct publication *pub, struct aws_target *target,
                    const struct aws_service *ec2, const char *id, struct ec2_image *ret,
                    struct error *err)
{
    int64_t since = (int64_t)time(NULL);
    unsigned ms = 0;

    if (id[0] == '\0') {
        return gone("-", ec2->region, err);
    }
    for (;;) {
        int64_t waited = (int64_t)time(NULL) - since;
        int result = look_at(pub, target, ec2, id, waited, ret, err);

        if (result != GO_ON) {
            return result;
        }
        if (publication_pause(&ms, err) < 0) {
            return -1;
        }
    }
}

/* The journal's KEY when it is an image, else "". */
static const char *image_of(const struct publication *pub, const char *key)
{
    const char *id = journal_get(pub->journal, key);

    return id != NULL && aws_is_id(id, "ami") ? id : "";
}

/* This publish's image in its own region, which is there by now. */
static int wait_own(struct publication *pub, struct aws_target *target, struct ec2_image *ret,
                    struct error *err)
{
    SCOPED_FREE char *id = xstrdup(image_of(pub, "image"));

    return wait_for(pub, target, &target->ec2, id, ret, err);
}

/* ---- registering ---- */

/* The journal's snapshot, once EC2 has said that it is this publish's and whole. */
static int check_snapshot(struct publication *pub, struct aws_target *target, char ret[AWS_ID_MAX],
                          struct error *err)
{
    const char *id = journal_get(pub->journal, "snapshot");
    int64_t since = (int64_t)time(NULL);
    unsigned ms = 0;

    while (id != NULL) {
        SCOPED(ec2_snapshots_done) struct ec2_snapshots found = {0};

        if (ec2_describe_snapshots(&target->ec2, "snapshot-id", id, &found, err) < 0) {
            return -1;
        }
        if (found.count == 1 && aws_is_ours(pub, target, found.items[0].tags) &&
            strcmp(found.items[0].state, "completed") == 0) {
            aws_copy_id(ret, found.items[0].id);
            return PHASE_DONE;
        }
        if (found.count != 0 || (int64_t)time(NULL) - since > FLICKER_MAX_S) {
            break;
        }
        if (publication_pause(&ms, err) < 0) {
            return -1;
        }
    }
    (void)fail(err, FAIL_REMOTE, "snapshot %s is gone, or is not of this publish",
               id != NULL ? id : "-");
    return PHASE_AGAIN;
}

/*
 * The name is taken, though nothing was seen of it before: by a call whose answer was lost, or by
 * somebody at this moment. It shows after minutes at worst.
 */
static int wait_name(struct publication *pub, struct aws_target *target, char ret[AWS_ID_MAX],
                     struct error *err)
{
    struct error refusal = *err;
    int64_t since = (int64_t)time(NULL);
    unsigned ms = 0;

    fail_clear(err);
    do {
        if (aws_find_name(pub, target, ret, err) < 0) {
            return -1;
        }
        if (ret[0] != '\0') {
            return 0;
        }
        if (publication_pause(&ms, err) < 0) {
            return -1;
        }
    } while ((int64_t)time(NULL) - since < aws_patience_s(pub));
    *err = refusal;
    return fail_hint(err, "no image of this account has that name yet: publish again later, or "
                          "give the target another 'name'");
}

static int register_image(struct publication *pub, struct aws_target *target, const char *snapshot,
                          char ret[AWS_ID_MAX], struct error *err)
{
    const struct target_aws *wanted = aws_wanted(pub);
    const struct ec2_register image = {
        .name = target->name,
        .description = target->description,
        .architecture = pub->bundle->architecture == ARCH_AARCH64 ? "arm64" : "x86_64",
        .boot_mode = target->boot_mode,
        .snapshot = snapshot,
        .tpm = wanted->tpm,
        .imds_v2 = !wanted->imds_optional,
        .tags = aws_tags(pub, target),
    };
    struct aws_error problem;

    target->makes_images = true;
    if (ec2_register_image(&target->ec2, &image, ret, &problem, err) == 0) {
        return 0;
    }
    return strcmp(problem.code, "InvalidAMIName.Duplicate") == 0 ? wait_name(pub, target, ret, err)
                                                                 : -1;
}

static int make_image(struct publication *pub, struct aws_target *target, struct error *err)
{
    const struct aws_tags tags = aws_tags(pub, target);
    char snapshot[AWS_ID_MAX], id[AWS_ID_MAX];
    int result = check_snapshot(pub, target, snapshot, err);

    if (result != PHASE_DONE) {
        return result;
    }
    if (aws_find_name(pub, target, id, err) < 0 ||
        (id[0] == '\0' && register_image(pub, target, snapshot, id, err) < 0) ||
        /* One that was made by a call whose answer was lost may lack them. */
        ec2_create_tags(&target->ec2, id, &tags, err) < 0) {
        return -1;
    }
    return aws_note(pub, "image", id, err);
}

int aws_register(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;
    SCOPED(ec2_image_done) struct ec2_image image = {0};
    int result = image_of(pub, "image")[0] != '\0' ? PHASE_DONE : make_image(pub, target, err);

    if (result == PHASE_DONE) {
        result = wait_own(pub, target, &image, err);
    }
    if (result == PHASE_DONE) {
        publication_note(pub, "%s: '%s' in %s, of %s", image.id, image.name, target->region,
                         image.snapshot);
    }
    aws_result(pub, target);
    return result;
}

/* ---- sharing ---- */

static int share_one(struct publication *pub, const struct aws_service *ec2, const char *resource,
                     struct error *err)
{
    struct ec2_share left = aws_share_with(pub);

    for (size_t rest = left.count; left.all || rest > 0; left.accounts += left.count) {
        left.count = rest < EC2_SHARE_MAX ? rest : EC2_SHARE_MAX;
        if (ec2_share(ec2, resource, &left, err) < 0) {
            return -1;
        }
        left.all = false;
        rest -= left.count;
    }
    return 0;
}

/* Instances need the image, and copies of it the snapshot too. */
static int share_image(struct publication *pub, const struct aws_service *ec2,
                       const struct ec2_image *image, struct error *err)
{
    return share_one(pub, ec2, image->snapshot, err) < 0 ? -1 : share_one(pub, ec2, image->id, err);
}

int aws_share(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;
    SCOPED(ec2_image_done) struct ec2_image image = {0};

    if (aws_wanted(pub)->share_count == 0) {
        return PHASE_DONE;
    }
    int result = wait_own(pub, target, &image, err);

    if (result != PHASE_DONE) {
        return result;
    }
    return share_image(pub, &target->ec2, &image, err) < 0 ? -1 : PHASE_DONE;
}

/* ---- copying ---- */

static int start_copy(struct publication *pub, struct aws_target *target,
                      const struct aws_service *ec2, const char *image, const char *key,
                      struct error *err)
{
    const struct aws_tags tags = aws_tags(pub, target);
    SCOPED(ec2_image_done) struct ec2_image known = {0};
    char token[HASH_HEX_MAX], id[AWS_ID_MAX];
    const struct ec2_copy copy = {
        .name = target->name,
        .description = target->description,
        .token = token,
        .region = target->region,
        .image = image,
    };

    if (aws_own_image(pub, target, ec2, &known, err) < 0) {
        return -1;
    }
    if (known.id != NULL) {
        return aws_note(pub, key, known.id, err);
    }
    target->makes_images = true;
    return aws_token(pub, key, token, err) < 0 || ec2_copy_image(ec2, &copy, id, err) < 0 ||
                   ec2_create_tags(ec2, id, &tags, err) < 0
               ? -1
               : aws_note(pub, key, id, err);
}

static int start_copies(struct publication *pub, struct aws_target *target, struct error *err)
{
    SCOPED_FREE char *image = xstrdup(image_of(pub, "image"));

    for (size_t i = 0; i < target->copy_count; i++) {
        SCOPED_FREE char *key = xprintf("copy.%s", target->copies[i].region);

        if (image_of(pub, key)[0] == '\0' &&
            start_copy(pub, target, &target->copies[i], image, key, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Permissions are not copied, and the tags of an image not to its snapshot. */
static int finish_copy(struct publication *pub, struct aws_target *target,
                       const struct aws_service *ec2, struct error *err)
{
    const struct aws_tags tags = aws_tags(pub, target);
    SCOPED_FREE char *key = xprintf("copy.%s", ec2->region);
    SCOPED_FREE char *id = xstrdup(image_of(pub, key));
    SCOPED(ec2_image_done) struct ec2_image image = {0};
    int result = wait_for(pub, target, ec2, id, &image, err);

    if (result != PHASE_DONE) {
        return result;
    }
    if (ec2_create_tags(ec2, image.snapshot, &tags, err) < 0 ||
        share_image(pub, ec2, &image, err) < 0) {
        return -1;
    }
    publication_note(pub, "%s: copied to %s", id, ec2->region);
    return PHASE_DONE;
}

int aws_copy(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;
    SCOPED(ec2_image_done) struct ec2_image image = {0};

    if (target->copy_count == 0) {
        return PHASE_DONE;
    }
    int result = wait_own(pub, target, &image, err);

    if (result == PHASE_DONE && start_copies(pub, target, err) < 0) {
        result = -1;
    }
    for (size_t i = 0; i < target->copy_count && result == PHASE_DONE; i++) {
        result = finish_copy(pub, target, &target->copies[i], err);
    }
    aws_result(pub, target);
    return result;
}

/* ---- deprecating ---- */

int aws_deprecate(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;
    const struct target_aws *wanted = aws_wanted(pub);
    SCOPED(ec2_image_done) struct ec2_image image = {0};

    if (!wanted->has_deprecate_at) {
        return PHASE_DONE;
    }
    int result = wait_own(pub, target, &image, err);

    if (result == PHASE_DONE &&
        ec2_deprecate(&target->ec2, image.id, wanted->deprecate_at, err) < 0) {
        result = -1;
    }
    for (size_t i = 0; i < target->copy_count && result == PHASE_DONE; i++) {
        const struct aws_service *ec2 = &target->copies[i];
        SCOPED_FREE char *key = xprintf("copy.%s", ec2->region);
        SCOPED_FREE char *id = xstrdup(image_of(pub, key));
        SCOPED(ec2_image_done) struct ec2_image copy = {0};

        result = wait_for(pub, target, ec2, id, &copy, err);
        if (result == PHASE_DONE && ec2_deprecate(ec2, id, wanted->deprecate_at, err) < 0) {
            result = -1;
        }
    }
    return result;
}
