/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is there of a publish. Tags say whose something is: what the journal names is used only when
 * its tags agree, since a journal comes with its bundle and may be anybody's.
 */
#include <stdlib.h>
#include <string.h>

#include "publish/publish_aws.h"

static bool is_available(const struct ec2_image *image)
{
    return strcmp(image->state, "available") == 0;
}

/* Is, or will soon be, of use. */
static bool is_usable(const struct ec2_image *image)
{
    return (is_available(image) || strcmp(image->state, "pending") == 0) &&
           image->snapshot[0] != '\0';
}

int aws_own_image(struct publication *pub, struct aws_target *target, const struct aws_service *ec2,
                  struct ec2_image *ret, struct error *err)
{
    SCOPED(ec2_images_done) struct ec2_images images = {0};

    if (ec2_describe_images(ec2, "tag:" AWS_TAG_PUBLISH_ID, pub->id, &images, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < images.count && ret->id == NULL; i++) {
        struct ec2_image *image = &images.items[i];

        if (aws_is_ours(pub, target, image->tags) && is_usable(image)) {
            *ret = *image;
            memset(image, 0, sizeof(*image));
        }
    }
    return 0;
}

/* The snapshot of this publish that is whole: an empty id when there is none. */
static int whole_snapshot(struct publication *pub, struct aws_target *target, char ret[AWS_ID_MAX],
                          struct error *err)
{
    SCOPED(ec2_snapshots_done) struct ec2_snapshots found = {0};

    ret[0] = '\0';
    if (ec2_describe_snapshots(&target->ec2, "tag:" AWS_TAG_PUBLISH_ID, pub->id, &found, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < found.count && ret[0] == '\0'; i++) {
        const struct ec2_snapshot *snapshot = &found.items[i];

        if (aws_is_ours(pub, target, snapshot->tags) && strcmp(snapshot->state, "completed") == 0 &&
            snapshot->size_gib == pub->bundle->size_bytes >> 30) {
            aws_copy_id(ret, snapshot->id);
        }
    }
    return 0;
}

int aws_note(struct publication *pub, const char *key, const char *value, struct error *err)
{
    const char *known = journal_get(pub->journal, key);

    return known != NULL && strcmp(known, value) == 0 ? 0
                                                      : journal_set(pub->journal, key, value, err);
}

static int note_image(struct publication *pub, const struct ec2_image *image, struct error *err)
{
    bool is_first = journal_attempt(pub->journal) == 1;

    if (is_first && journal_get(pub->journal, "snapshot") == NULL &&
        aws_note(pub, "adopted", "yes", err) < 0) {
        return -1;
    }
    return aws_note(pub, "snapshot", image->snapshot, err) < 0
               ? -1
               : aws_note(pub, "image", image->id, err);
}

int aws_adopt(struct publication *pub, struct aws_target *target, bool *ret, struct error *err)
{
    SCOPED(ec2_image_done) struct ec2_image image = {0};
    char snapshot[AWS_ID_MAX];

    *ret = false;
    if (aws_own_image(pub, target, &target->ec2, &image, err) < 0) {
        return -1;
    }
    if (image.id != NULL) {
        *ret = true;
        return note_image(pub, &image, err);
    }
    if (whole_snapshot(pub, target, snapshot, err) < 0) {
        return -1;
    }
    *ret = snapshot[0] != '\0';
    return *ret ? aws_note(pub, "snapshot", snapshot, err) : 0;
}

/* An image without tags is ours when its snapshot is. */
static int has_our_snapshot(struct publication *pub, struct aws_target *target,
                            const struct ec2_image *image, bool *ret, struct error *err)
{
    SCOPED(ec2_snapshots_done) struct ec2_snapshots found = {0};

    if (ec2_describe_snapshots(&target->ec2, "snapshot-id", image->snapshot, &found, err) < 0) {
        return -1;
    }
    *ret = found.count == 1 && aws_is_ours(pub, target, found.items[0].tags);
    return 0;
}

int aws_find_name(struct publication *pub, struct aws_target *target, char ret[AWS_ID_MAX],
                  struct error *err)
{
    SCOPED(ec2_images_done) struct ec2_images images = {0};
    bool ours = false;

    ret[0] = '\0';
    if (ec2_describe_images(&target->ec2, "name", target->name, &images, err) < 0) {
        return -1;
    }
    if (images.count == 0) {
        return 0;
    }
    const struct ec2_image *image = &images.items[0];

    if (has_our_snapshot(pub, target, image, &ours, err) < 0) {
        return -1;
    }
    if (!ours) {
        fail(err, FAIL_REMOTE, "there is another image called '%s' in %s: %s", target->name,
             target->region, image->id);
        return fail_hint(err, "give the profile another 'version' or the target another 'name', or "
                              "deregister that image");
    }
    aws_copy_id(ret, image->id);
    return 0;
}

/* Whether all was done to an image, in whichever region, that the target wants. */
static int is_complete(struct publication *pub, const struct aws_service *ec2,
                       const struct ec2_image *image, bool *ret, struct error *err)
{
    const struct target_aws *wanted = aws_wanted(pub);
    const struct ec2_share share = aws_share_with(pub);
    bool deprecated = llabs(image->deprecated - wanted->deprecate_at) < 60;

    *ret = is_available(image) && (!wanted->has_deprecate_at || deprecated);
    if (*ret && wanted->share_count > 0 && ec2_is_shared(ec2, image->id, &share, ret, err) < 0) {
        return -1;
    }
    if (*ret && wanted->share_count > 0) {
        return ec2_is_shared(ec2, image->snapshot, &share, ret, err);
    }
    return 0;
}

/* Likewise of the copies, which are journaled when they are there. */
static int find_copies(struct publication *pub, struct aws_target *target, bool *ret,
                       struct error *err)
{
    *ret = true;
    for (size_t i = 0; i < target->copy_count && *ret; i++) {
        const struct aws_service *ec2 = &target->copies[i];
        SCOPED(ec2_image_done) struct ec2_image image = {0};
        SCOPED_FREE char *key = xprintf("copy.%s", ec2->region);

        if (aws_own_image(pub, target, ec2, &image, err) < 0) {
            return -1;
        }
        *ret = image.id != NULL;
        if (*ret && (is_complete(pub, ec2, &image, ret, err) < 0 ||
                     aws_note(pub, key, image.id, err) < 0)) {
            return -1;
        }
    }
    return 0;
}

int aws_find(struct publication *pub, void *state, bool *ret, struct error *err)
{
    struct aws_target *target = state;
    SCOPED(ec2_image_done) struct ec2_image image = {0};
    bool found;

    *ret = false;
    if (aws_own_image(pub, target, &target->ec2, &image, err) < 0) {
        return -1;
    }
    if (image.id == NULL) {
        return 0;
    }
    if (is_complete(pub, &target->ec2, &image, &found, err) < 0 ||
        (found && find_copies(pub, target, &found, err) < 0) ||
        (found && note_image(pub, &image, err) < 0)) {
        return -1;
    }
    aws_result(pub, target);
    *ret = found;
    return 0;
}

static int remove_one(struct publication *pub, const struct aws_service *ec2, const char *id,
                      struct error *err)
{
    if (ec2_remove(ec2, id, err) < 0) {
        return -1;
    }
    publication_note(pub, "removed %s in %s", id, ec2->region);
    return 0;
}

/* What is this publish's in one region: images first, which hold their snapshots. */
static int remove_all(struct publication *pub, struct aws_target *target,
                      const struct aws_service *ec2, struct error *err)
{
    SCOPED(ec2_images_done) struct ec2_images images = {0};
    SCOPED(ec2_snapshots_done) struct ec2_snapshots snapshots = {0};
    const char *filter = "tag:" AWS_TAG_PUBLISH_ID;

    if (ec2_describe_images(ec2, filter, pub->id, &images, err) < 0 ||
        ec2_describe_snapshots(ec2, filter, pub->id, &snapshots, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < images.count; i++) {
        const struct ec2_image *image = &images.items[i];

        /* The snapshot of a copy that is not finished has no tags yet. */
        if (aws_is_ours(pub, target, image->tags) &&
            (remove_one(pub, ec2, image->id, err) < 0 ||
             (ec2 != &target->ec2 && image->snapshot[0] != '\0' &&
              remove_one(pub, ec2, image->snapshot, err) < 0))) {
            return -1;
        }
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        if (aws_is_ours(pub, target, snapshots.items[i].tags) &&
            remove_one(pub, ec2, snapshots.items[i].id, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int aws_abort(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;

    if (journal_get(pub->journal, "adopted") != NULL) {
        publication_note(pub, "%s was there before this publish, and stays",
                         journal_get(pub->journal, "image"));
        return 0;
    }
    for (size_t i = 0; i < target->copy_count; i++) {
        if (remove_all(pub, target, &target->copies[i], err) < 0) {
            return -1;
        }
    }
    return remove_all(pub, target, &target->ec2, err);
}
