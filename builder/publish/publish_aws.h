/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing to AWS: what its files share. A disk becomes an EBS snapshot (publish_aws_upload.c),
 * the snapshot an image (publish_aws_image.c), and the image is shared, copied and deprecated.
 *
 * Keys of the journal, for an attempt:
 *
 *     nonce         random: what an abort removed must not be what a token gives again
 *     snapshot      the new snapshot, and
 *     started       when that was made
 *     sealed        "yes": CompleteSnapshot was accepted
 *     image         the new image
 *     adopted       "yes": the image was there before this bundle's first attempt
 *     copy.REGION   the image's copy there
 */
#ifndef PUBLISH_PUBLISH_AWS_H
#define PUBLISH_PUBLISH_AWS_H

#include "aws/ebs.h"
#include "aws/ec2.h"
#include "aws/sts.h"
#include "publish/cloud.h"

#define AWS_TAG_PUBLISH_ID "kiln:publish-id"
#define AWS_TAG_DISK_DIGEST "kiln:disk-digest"

/* The state of a target. */
struct aws_target {
    struct aws_config *config;
    struct http *http;
    struct aws_credentials *credentials;
    char *region, *account;
    struct aws_service ebs, ec2, sts;
    struct aws_service *copies; /* EC2 in each region of copy_to */
    size_t copy_count;

    char *name, *description; /* of the image */
    const char *boot_mode;    /* NULL: not said */
    struct aws_tag *tags;     /* the target's, then ours */
    size_t tag_count;
    char digest[HASH_HEX_MAX]; /* the disk's */

    char parent[AWS_ID_MAX]; /* snapshot; empty: none */
    uint64_t *blocks;        /* to be sent, ascending */
    size_t block_count;
    int64_t young_until; /* see EBS_YOUNG_S; seconds since 1970 */
    bool makes_images;   /* in this run, so that they may not be known everywhere */
};

/* publish_aws.c */

static inline const struct target_aws *aws_wanted(const struct publication *pub)
{
    return &pub->target->aws;
}

/* All of TARGET that needs neither network nor credentials: region, endpoints, names, boot mode. */
int aws_prepare(struct publication *pub, struct aws_target *target, struct error *err);
void aws_end(void *state);

/* EC2's word for how an image starts, NULL when its disk says nothing of it. */
const char *aws_boot_mode(enum boot_mode wanted, enum architecture architecture, unsigned firmware);

/* The tags of all that is made: the target's own and ours. Borrowed from TARGET. */
struct aws_tags aws_tags(struct publication *pub, struct aws_target *target);

/* Whom the image is to be shared with. Borrowed. */
struct ec2_share aws_share_with(const struct publication *pub);

/* For how many seconds what does not come true is hoped for, as http_options.give_up_s. */
static inline unsigned aws_patience_s(const struct publication *pub)
{
    return pub->give_up_s != 0 ? pub->give_up_s : 300;
}

/* Is that, by its tags, of this publish? */
bool aws_is_ours(const struct publication *pub, const struct aws_target *target,
                 const json_t *tags);

/* A token for WHAT, the same in all of the attempt. Returns -1 when it cannot be journaled. */
int aws_token(struct publication *pub, const char *what, char ret[HASH_HEX_MAX], struct error *err);

/* Puts all that the journal knows into the publication's result. */
void aws_result(struct publication *pub, const struct aws_target *target);

/* publish_aws_plan.c */
int aws_plan(struct publication *pub, const struct call_plan *plan, struct error *err);

/* publish_aws_find.c */
int aws_find(struct publication *pub, void *state, bool *ret, struct error *err);

/*
 * The usable image of this publish in the region of EC2: RET, which must be empty, has no id when
 * there is none.
 */
int aws_own_image(struct publication *pub, struct aws_target *target, const struct aws_service *ec2,
                  struct ec2_image *ret, struct error *err);

/* As the journal's value, unless it is that already. */
int aws_note(struct publication *pub, const char *key, const char *value, struct error *err);

/* Takes up what is there of this publish already, an image or a completed snapshot: then *RET. */
int aws_adopt(struct publication *pub, struct aws_target *target, bool *ret, struct error *err);

/* The image that has this name: none, this publish's (*RET), or another's, which is an error. */
int aws_find_name(struct publication *pub, struct aws_target *target, char ret[AWS_ID_MAX],
                  struct error *err);
int aws_abort(struct publication *pub, void *state, struct error *err);

/* publish_aws_upload.c: phases */
int aws_upload(struct publication *pub, void *state, struct error *err);
int aws_seal(struct publication *pub, void *state, struct error *err);

/* publish_aws_image.c: phases */
int aws_register(struct publication *pub, void *state, struct error *err);
int aws_share(struct publication *pub, void *state, struct error *err);
int aws_copy(struct publication *pub, void *state, struct error *err);
int aws_deprecate(struct publication *pub, void *state, struct error *err);

#endif
