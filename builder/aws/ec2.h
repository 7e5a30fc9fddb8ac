/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EC2's Query API, as far as images and their snapshots go
 * (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/).
 *
 * When a call fails, PROBLEM's code says what the service refused it with; it is empty when there
 * was no answer.
 */
#ifndef AWS_EC2_H
#define AWS_EC2_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/aws.h"
#include "aws/resource.h"
#include "base/buf.h"
#include "base/fail.h"

struct ec2_snapshot {
    char *id;
    char *state;   /* "pending", "completed", "error", … */
    char *message; /* why it is in that state; may be empty */
    char *tier;    /* "standard", "archive"; may be empty */
    uint64_t size_gib;
    json_t *tags; /* object: key to text */
};

struct ec2_snapshots {
    struct ec2_snapshot *items;
    size_t count, space;
};

struct ec2_image {
    char *id;
    char *name;
    char *state;        /* "pending", "available", "failed", … */
    char *message;      /* why it is in that state; may be empty */
    char *snapshot;     /* of its first disk; empty as long as it has none */
    int64_t deprecated; /* when it is, in whole minutes: seconds since 1970; 0: never */
    json_t *tags;       /* object: key to text */
};

struct ec2_images {
    struct ec2_image *items;
    size_t count, space;
};

/* Also the cleaners for SCOPED. */
void ec2_snapshots_done(struct ec2_snapshots *snapshots);
void ec2_image_done(struct ec2_image *image);
void ec2_images_done(struct ec2_images *images);

/* The tag KEY of TAGS; borrowed; "" when there is none. */
const char *ec2_tag(const json_t *tags, const char *key);

/*
 * The account's own, deprecated ones too, whose FILTER ("image-id", "snapshot-id", "name",
 * "tag:KEY") is VALUE. What does not exist (yet) is not an error but not there.
 */
int ec2_describe_snapshots(const struct aws_service *ec2, const char *filter, const char *value,
                           struct ec2_snapshots *ret, struct error *err);
int ec2_describe_images(const struct aws_service *ec2, const char *filter, const char *value,
                        struct ec2_images *ret, struct error *err);

struct ec2_register {
    const char *name, *description;
    const char *architecture; /* "x86_64", "arm64" */
    const char *boot_mode;    /* "uefi", "uefi-preferred", "legacy-bios"; NULL: not said */
    const char *snapshot;     /* of the disk it boots from */
    bool tpm;                 /* NitroTPM 2.0 */
    bool imds_v2;             /* the metadata service answers version 2 only */
    struct aws_tags tags;     /* on the image */
};

struct ec2_copy {
    const char *name, *description;
    const char *token; /* the same one is the same copy */
    const char *region, *image;
};

/* Whom to share with: accounts, or everybody. */
struct ec2_share {
    const char *const *accounts;
    size_t count;
    bool all;
};

/* How many changes of permissions one call takes. */
enum { EC2_SHARE_MAX = 500 };

/* The forms that are sent, for tests too. */
void ec2_describe_form(const char *action, const char *filter, const char *value, const char *next,
                       struct buf *form);
void ec2_register_form(const struct ec2_register *image, struct buf *form);
void ec2_copy_form(const struct ec2_copy *copy, struct buf *form);
void ec2_share_form(const char *resource, const struct ec2_share *share, struct buf *form);
void ec2_shared_form(const char *resource, struct buf *form);
void ec2_tag_form(const char *resource, const struct aws_tags *tags, struct buf *form);
void ec2_deprecate_form(const char *image, int64_t at, struct buf *form);
void ec2_remove_form(const char *resource, struct buf *form);

/* Makes an image; its new id. Where EC2 does not take tags here yet, it is made without them. */
int ec2_register_image(const struct aws_service *ec2, const struct ec2_register *image,
                       char ret_id[AWS_ID_MAX], struct aws_error *problem, struct error *err);

/* Copies an image of another region into that of EC2, with its tags; the copy's id. */
int ec2_copy_image(const struct aws_service *ec2, const struct ec2_copy *copy,
                   char ret_id[AWS_ID_MAX], struct error *err);

/* RESOURCE: an image or snapshot. These may be done again. */
int ec2_share(const struct aws_service *ec2, const char *resource, const struct ec2_share *share,
              struct error *err);
int ec2_create_tags(const struct aws_service *ec2, const char *resource,
                    const struct aws_tags *tags, struct error *err);

/* Whether RESOURCE is shared so, with others or not. */
int ec2_is_shared(const struct aws_service *ec2, const char *resource,
                  const struct ec2_share *share, bool *ret, struct error *err);

/* AT: seconds since 1970. */
int ec2_deprecate(const struct aws_service *ec2, const char *image, int64_t at, struct error *err);

/* Removes an image or snapshot; one that is gone is fine. */
int ec2_remove(const struct aws_service *ec2, const char *resource, struct error *err);

#endif
