/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/ec2.h"

#include <stdlib.h>
#include <string.h>

#include "aws/xml.h"
#include "base/scope.h"
#include "base/text.h"

/* Of one description: one publish never has so many. */
enum { ITEMS_MAX = 10000, PAGES_MAX = 1000 };

void ec2_image_done(struct ec2_image *image)
{
    free(image->id);
    free(image->name);
    free(image->state);
    free(image->message);
    free(image->snapshot);
    json_decref(image->tags);
}

void ec2_images_done(struct ec2_images *images)
{
    for (size_t i = 0; i < images->count; i++) {
        ec2_image_done(&images->items[i]);
    }
    free(images->items);
}

void ec2_snapshots_done(struct ec2_snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->count; i++) {
        struct ec2_snapshot *snapshot = &snapshots->items[i];

        free(snapshot->id);
        free(snapshot->state);
        free(snapshot->message);
        free(snapshot->tier);
        json_decref(snapshot->tags);
    }
    free(snapshots->items);
}

const char *ec2_tag(const json_t *tags, const char *key)
{
    const char *value = json_string_value(json_object_get(tags, key));

    return value != NULL ? value : "";
}

/* ---- calls ---- */

/* "RegisterImage in eu-west-1", for messages: a new string. */
static char *action_of(const struct aws_service *ec2, const struct buf *form)
{
    const char *action = form->data + strlen("Action=");

    return xprintf("%.*s in %s", (int)strcspn(action, "&"), action, ec2->region);
}

/* RET may be NULL when the answer says no more than that it was done. */
static int send_form(const struct aws_service *ec2, const struct buf *form,
                     const char *const *retry_codes, struct xml **ret, struct aws_error *problem,
                     struct error *err)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL};
    SCOPED_FREE char *what = action_of(ec2, form);
    SCOPED(http_reply_done) struct http_reply reply = {0};
    const struct aws_call call = {.method = "POST",
                                  .path = "/",
                                  .headers = headers,
                                  .body = form->data,
                                  .size = form->size,
                                  .retry_codes = retry_codes};

    memset(problem, 0, sizeof(*problem));
    int result = aws_send(ec2, &call, &reply, problem, err);

    if (result != 0) {
        return result == 1 ? aws_fail(what, &reply, problem, err) : -1;
    }
    if (ret != NULL && xml_parse(reply.body.data, reply.body.size, ret, err) < 0) {
        return fail_while(err, "%s", what);
    }
    return 0;
}

static const char *text_of(const struct xml *xml, const char *path)
{
    const char *text = xml_text(xml, path);

    return text != NULL ? text : "";
}

/* The id of what was made, as the answer has it. */
static int read_id(const struct xml *xml, const char *action, char ret[AWS_ID_MAX],
                   struct error *err)
{
    const char *id = text_of(xml, "imageId");

    if (!aws_is_id(id, "ami")) {
        return fail(err, FAIL_REMOTE, "%s: the answer has no id", action);
    }
    aws_copy_id(ret, id);
    return 0;
}

/* ---- descriptions ---- */

static json_t *read_tags(const struct xml *item)
{
    json_t *tags = json_object();

    for (const struct xml *tag = xml_find(item, "tagSet/item"); tag != NULL; tag = xml_next(tag)) {
        (void)json_object_set_new(tags, text_of(tag, "key"), json_string(text_of(tag, "value")));
    }
    return tags;
}

static bool read_snapshot(const struct xml *item, struct ec2_snapshot *ret)
{
    ret->id = xstrdup(text_of(item, "snapshotId"));
    ret->state = xstrdup(text_of(item, "status"));
    ret->message = xstrdup(text_of(item, "statusMessage"));
    ret->tier = xstrdup(text_of(item, "storageTier"));
    ret->size_gib = strtoull(text_of(item, "volumeSize"), NULL, 10);
    ret->tags = read_tags(item);
    return aws_is_id(ret->id, "snap");
}

/* "2031-02-03T04:05:00.000Z" */
static int64_t read_time(const char *text)
{
    SCOPED_FREE char *seconds = xprintf("%.19sZ", text);
    int64_t at;

    return text_parse_time(seconds, &at) ? at : 0;
}

static bool read_image(const struct xml *item, struct ec2_image *ret)
{
    const struct xml *disk = xml_find(item, "blockDeviceMapping/item");

    while (disk != NULL && xml_text(disk, "ebs/snapshotId") == NULL) {
        disk = xml_next(disk);
    }
    ret->id = xstrdup(text_of(item, "imageId"));
    ret->name = xstrdup(text_of(item, "name"));
    ret->state = xstrdup(text_of(item, "imageState"));
    ret->message = xstrdup(text_of(item, "stateReason/message"));
    ret->snapshot = xstrdup(text_of(disk, "ebs/snapshotId"));
    ret->deprecated = read_time(text_of(item, "deprecationTime"));
    ret->tags = read_tags(item);
    return aws_is_id(ret->id, "ami") &&
           (ret->snapshot[0] == '\0' || aws_is_id(ret->snapshot, "snap"));
}

/* A kind of description. */
struct listing {
    const char *action, *path; /* PATH: to the items of an answer */
    /* To the end of LIST; false when there are too many, or ITEM is none. */
    bool (*add)(void *list, const struct xml *item);
    void *list;
};

static bool add_snapshot(void *list, const struct xml *item)
{
    struct ec2_snapshots *snapshots = list;
    size_t count = snapshots->count++;

    grow(&snapshots->items, count, &snapshots->space, sizeof(*snapshots->items));
    memset(&snapshots->items[count], 0, sizeof(*snapshots->items));
    return read_snapshot(item, &snapshots->items[count]) && count < ITEMS_MAX;
}

static bool add_image(void *list, const struct xml *item)
{
    struct ec2_images *images = list;
    size_t count = images->count++;

    grow(&images->items, count, &images->space, sizeof(*images->items));
    memset(&images->items[count], 0, sizeof(*images->items));
    return read_image(item, &images->items[count]) && count < ITEMS_MAX;
}

/* One page; *NEXT, a new string, is the token of the next one, or NULL. */
static int describe_page(const struct aws_service *ec2, const char *filter, const char *value,
                         const struct listing *listing, char **next, struct error *err)
{
    SCOPED(buf_done) struct buf form = {0};
    struct aws_error problem;
    SCOPED(xml_freep) struct xml *xml = NULL;

    ec2_describe_form(listing->action, filter, value, *next, &form);
    free(TAKE(*next));
    if (send_form(ec2, &form, NULL, &xml, &problem, err) < 0) {
        return -1;
    }
    for (const struct xml *item = xml_find(xml, listing->path); item != NULL;
         item = xml_next(item)) {
        if (!listing->add(listing->list, item)) {
            return fail(err, FAIL_REMOTE, "%s: the answer is none of the service's",
                        listing->action);
        }
    }
    const char *token = xml_text(xml, "nextToken");

    *next = token != NULL ? xstrdup(token) : NULL;
    return 0;
}

static int describe(const struct aws_service *ec2, const char *filter, const char *value,
                    const struct listing *listing, struct error *err)
{
    SCOPED_FREE char *next = NULL;

    for (int page = 0; page < PAGES_MAX; page++) {
        if (describe_page(ec2, filter, value, listing, &next, err) < 0) {
            return -1;
        }
        if (next == NULL) {
            return 0;
        }
    }
    return fail(err, FAIL_REMOTE, "%s: there is no end to it", listing->action);
}

int ec2_describe_snapshots(const struct aws_service *ec2, const char *filter, const char *value,
                           struct ec2_snapshots *ret, struct error *err)
{
    const struct listing listing = {"DescribeSnapshots", "snapshotSet/item", add_snapshot, ret};

    return describe(ec2, filter, value, &listing, err);
}

int ec2_describe_images(const struct aws_service *ec2, const char *filter, const char *value,
                        struct ec2_images *ret, struct error *err)
{
    const struct listing listing = {"DescribeImages", "imagesSet/item", add_image, ret};

    return describe(ec2, filter, value, &listing, err);
}

/* ---- making ---- */

/* Of what was made a moment ago, and is not known everywhere yet. */
static const char *const young_codes[] = {"InvalidSnapshot.NotFound", "InvalidAMIID.NotFound",
                                          "InvalidAMIID.Unavailable", NULL};

int ec2_register_image(const struct aws_service *ec2, const struct ec2_register *image,
                       char ret_id[AWS_ID_MAX], struct aws_error *problem, struct error *err)
{
    struct ec2_register plain = *image;
    SCOPED(buf_done) struct buf form = {0};
    SCOPED(xml_freep) struct xml *xml = NULL;

    ec2_register_form(image, &form);
    int result = send_form(ec2, &form, young_codes, &xml, problem, err);

    /* An older EC2, of a partition of its own, perhaps. */
    if (result < 0 && strcmp(problem->code, "UnknownParameter") == 0) {
        fail_clear(err);
        buf_clear(&form);
        plain.tags.count = 0;
        ec2_register_form(&plain, &form);
        result = send_form(ec2, &form, young_codes, &xml, problem, err);
    }
    return result < 0 ? -1 : read_id(xml, "RegisterImage", ret_id, err);
}

int ec2_copy_image(const struct aws_service *ec2, const struct ec2_copy *copy,
                   char ret_id[AWS_ID_MAX], struct error *err)
{
    /* The last one: others are being copied at this moment. */
    static const char *const retry[] = {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable",
                                        "ResourceLimitExceeded", NULL};
    SCOPED(buf_done) struct buf form = {0};
    struct aws_error problem;
    SCOPED(xml_freep) struct xml *xml = NULL;

    ec2_copy_form(copy, &form);
    return send_form(ec2, &form, retry, &xml, &problem, err) < 0
               ? -1
               : read_id(xml, "CopyImage", ret_id, err);
}

int ec2_share(const struct aws_service *ec2, const char *resource, const struct ec2_share *share,
              struct error *err)
{
    SCOPED(buf_done) struct buf form = {0};
    struct aws_error problem;

    ec2_share_form(resource, share, &form);
    return send_form(ec2, &form, young_codes, NULL, &problem, err);
}

static bool has_permission(const struct xml *list, const char *name, const char *value)
{
    const struct xml *item = xml_find(list, "item");

    while (item != NULL && strcmp(text_of(item, name), value) != 0) {
        item = xml_next(item);
    }
    return item != NULL;
}

int ec2_is_shared(const struct aws_service *ec2, const char *resource,
                  const struct ec2_share *share, bool *ret, struct error *err)
{
    const char *list = aws_is_id(resource, "ami") ? "launchPermission" : "createVolumePermission";
    SCOPED(buf_done) struct buf form = {0};
    SCOPED(xml_freep) struct xml *xml = NULL;
    struct aws_error problem;

    ec2_shared_form(resource, &form);
    if (send_form(ec2, &form, NULL, &xml, &problem, err) < 0) {
        return -1;
    }
    const struct xml *permissions = xml_find(xml, list);

    *ret = !share->all || has_permission(permissions, "group", "all");
    for (size_t i = 0; i < share->count && *ret; i++) {
        *ret = has_permission(permissions, "userId", share->accounts[i]);
    }
    return 0;
}

int ec2_create_tags(const struct aws_service *ec2, const char *resource,
                    const struct aws_tags *tags, struct error *err)
{
    SCOPED(buf_done) struct buf form = {0};
    struct aws_error problem;

    ec2_tag_form(resource, tags, &form);
    return send_form(ec2, &form, young_codes, NULL, &problem, err);
}

int ec2_deprecate(const struct aws_service *ec2, const char *image, int64_t at, struct error *err)
{
    SCOPED(buf_done) struct buf form = {0};
    struct aws_error problem;

    ec2_deprecate_form(image, at, &form);
    return send_form(ec2, &form, young_codes, NULL, &problem, err);
}

int ec2_remove(const struct aws_service *ec2, const char *resource, struct error *err)
{
    /* By the image that was removed a moment ago. */
    static const char *const retry[] = {"InvalidSnapshot.InUse", NULL};
    static const char *const gone[] = {"InvalidSnapshot.NotFound", "InvalidAMIID.NotFound",
                                       "InvalidAMIID.Unavailable"};
    SCOPED(buf_done) struct buf form = {0};
    struct aws_error problem;

    ec2_remove_form(resource, &form);
    int result = send_form(ec2, &form, retry, NULL, &problem, err);

    for (size_t i = 0; result < 0 && i < COUNT(gone); i++) {
        if (strcmp(problem.code, gone[i]) == 0) {
            fail_clear(err);
            return 0;
        }
    }
    return result;
}
