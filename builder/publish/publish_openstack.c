/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing to OpenStack: an image of Glance, created with an id of ours, filled by one upload and
 * compared by the digest that Glance took. It is marked as published last of all, in Glance itself,
 * so that any copy of the bundle finds it.
 *
 * Glance takes an image's data once and from the beginning. What is left of an upload that broke is
 * told by the image's status (https://docs.openstack.org/glance/latest/user/statuses.html): queued,
 * when Glance noticed, and it waits for data; saving, when Glance itself died, for good; active,
 * when only the answer was lost. An id is not free again when its image is deleted; so an image
 * that is spoilt is deleted and the next attempt, which has another id, begins.
 *
 * Keys of the journal, for an attempt:
 *
 *     image      the id
 *     uploading  "yes" when data may have been sent
 */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/stop.h"
#include "base/text.h"
#include "openstack/glance.h"
#include "publish/body.h"
#include "publish/cloud.h"

#define PUBLISH_ID "kiln_publish_id"
#define DISK_DIGEST "kiln_disk_digest"
#define PUBLISHED "kiln_published"

enum {
    UPLOADS_MAX = 5,        /* of one run, each after one that broke */
    NOTICED_S = 10,         /* within so long Glance should see that the other end is gone */
    DIGESTED_S = 60,        /* and has stored what it has got, and a second for each: */
    STORED_PER_S = 16 << 20 /* bytes */
};

struct state {
    struct openstack_config *config;
    struct http *http;
    struct keystone *keystone;
    struct glance glance;
    struct body *body; /* NULL: not needed so far */
};

static const struct target_openstack *wanted(const struct publication *pub)
{
    return &pub->target->openstack;
}

/* The id of this attempt's image. Returns OUT. */
static const char *image_id(const struct publication *pub, char out[UUID_TEXT_MAX])
{
    char token[HASH_HEX_MAX];
    struct uuid uuid = uuid_from("openstack", publication_token(pub, "image", token));

    return uuid_text(&uuid, out);
}

static bool is_ours(const struct publication *pub, const struct state *state, const json_t *image)
{
    return strcmp(glance_text(image, PUBLISH_ID), pub->id) == 0 &&
           strcmp(glance_text(image, "owner"), keystone_token(state->keystone)->project_id) == 0;
}

static bool has_status(const json_t *image, const char *status)
{
    return strcmp(glance_text(image, "status"), status) == 0;
}

/* This attempt's image, or *RET NULL. */
static int look(struct publication *pub, struct state *state, json_t **ret, struct error *err)
{
    char id[UUID_TEXT_MAX];
    json_t *image;

    if (glance_get(&state->glance, image_id(pub, id), &image, err) < 0) {
        return -1;
    }
    if (image != NULL && !is_ours(pub, state, image)) {
        json_decref(image);
        return fail(err, FAIL_REMOTE, "image %s is there already, and is none of kiln's", id);
    }
    *ret = image;
    return 0;
}

/* It is of no use any more: FORMAT says why. */
static int spoilt(struct publication *pub, struct state *state, struct error *err, const char *why)
{
    char id[UUID_TEXT_MAX];

    if (glance_delete(&state->glance, image_id(pub, id), err) < 0) {
        return -1;
    }
    (void)fail(err, FAIL_REMOTE, "image %s %s", id, why);
    return PHASE_AGAIN;
}

static int open_body(struct publication *pub, struct state *state, struct error *err)
{
    const char *name = wanted(pub)->disk_format == FORMAT_RAW ? "disk.raw" : "disk.qcow2";

    return state->body != NULL ? 0 : body_open(pub->bundle, name, &state->body, err);
}

/* --- who acts where -------------------------------------------------------------------------- */

static void warn_open(struct publication *pub, const char *what, const char *url)
{
    if (http_url_wrong(url) == NULL && http_is_open(url)) {
        SCOPED_FREE char *origin = http_origin(url);

        publication_note(pub, "%s at %s is not encrypted: %s can be read on the way", what, origin,
                         strcmp(what, "Keystone") == 0 ? "password and token" : "token and image");
    }
}

static const char *or_unknown(const char *text)
{
    return text != NULL ? text : "?";
}

static void identify(const struct state *state, struct identity *ret)
{
    const struct token *token = keystone_token(state->keystone);
    SCOPED_FREE char *keystone = http_origin(keystone_url(state->keystone));
    SCOPED_FREE char *credential = token->credential != NULL
                                       ? xprintf("application credential %s of ", token->credential)
                                       : xstrdup("");

    ret->account = xprintf("project %s of domain %s", or_unknown(token->project_name),
                           or_unknown(token->project_domain));
    ret->host = xprintf("%s%s%s%s", state->glance.url, state->glance.region[0] != '\0' ? " (" : "",
                        state->glance.region, state->glance.region[0] != '\0' ? ")" : "");
    ret->who = xprintf("%suser %s of domain %s, from %s", credential, or_unknown(token->user_name),
                       or_unknown(token->user_domain), state->config->source);
    ret->scope = xprintf("openstack/%s/%s/%s", keystone, token->project_id, state->glance.region);
}

static int begin(struct publication *pub, void *data, struct identity *ret, struct error *err)
{
    struct state *state = data;

    if (openstack_config_load(wanted(pub)->os_cloud, &state->config, err) < 0 ||
        publication_http(pub, state->config->ca_file, &state->http, err) < 0) {
        return -1;
    }
    warn_open(pub, "Keystone", state->config->auth_url);
    if (keystone_open(state->config, state->http, &state->keystone, err) < 0 ||
        glance_open(state->config, wanted(pub)->region, state->http, state->keystone,
                    &state->glance, err) < 0) {
        return -1;
    }
    warn_open(pub, "Glance", state->glance.url);
    identify(state, ret);
    return 0;
}

static void end(void *data)
{
    struct state *state = data;

    body_free(state->body);
    glance_done(&state->glance);
    keystone_free(state->keystone);
    http_free(state->http);
    openstack_config_free(state->config);
}

/* --- what it is ------------------------------------------------------------------------------ */

static const char *visibility_name(enum visibility visibility)
{
    static const char *const names[] = {[VISIBILITY_PRIVATE] = "private",
                                        [VISIBILITY_SHARED] = "shared",
                                        [VISIBILITY_COMMUNITY] = "community",
                                        [VISIBILITY_PUBLIC] = "public"};

    return names[visibility];
}

/* Unset where the image starts under both: the cloud then does as it is used to. */
static const char *firmware_type(const struct reader *bundle)
{
    return bundle->firmware == FIRMWARE_UEFI   ? "uefi"
           : bundle->firmware == FIRMWARE_BIOS ? "bios"
                                               : NULL;
}

static void set_text(json_t *object, const char *key, const char *value)
{
    (void)json_object_set_new(object, key, json_string(value));
}

/* The image as it is created; properties lie beside Glance's own attributes. */
static json_t *describe(struct publication *pub)
{
    const struct target_openstack *os = wanted(pub);
    const struct reader *bundle = pub->bundle;
    SCOPED_FREE char *name = publication_image_name(pub, os->name);
    json_t *image = json_object(), *tags = json_array();
    char id[UUID_TEXT_MAX], digest[HASH_HEX_MAX];

    set_text(image, "architecture", architecture_name(bundle->architecture));
    set_text(image, "os_type", "linux");
    if (firmware_type(bundle) != NULL) {
        set_text(image, "hw_firmware_type", firmware_type(bundle));
    }
    for (size_t i = 0; i < os->property_count; i++) {
        set_text(image, os->properties[i].key, os->properties[i].value);
    }
    for (size_t i = 0; i < os->tag_count; i++) {
        (void)json_array_append_new(tags, json_string(os->tags[i]));
    }
    set_text(image, PUBLISH_ID, pub->id);
    set_text(image, DISK_DIGEST, hash_hex(bundle->disk_digest, digest));
    set_text(image, "id", image_id(pub, id));
    set_text(image, "name", name);
    set_text(image, "disk_format", os->disk_format == FORMAT_RAW ? "raw" : "qcow2");
    set_text(image, "container_format", "bare");
    set_text(image, "visibility", visibility_name(os->visibility));
    (void)json_object_set_new(image, "tags", tags);
    (void)json_object_set_new(image, "min_disk",
                              json_integer((json_int_t)(bundle->size_bytes >> 30)));
    (void)json_object_set_new(image, "min_ram",
                              json_integer((json_int_t)(os->min_ram_bytes >> 20)));
    return image;
}

static void set_result(struct publication *pub, const struct state *state, const json_t *image)
{
    static const char *const keys[] = {"name", "visibility", "os_hash_algo", "os_hash_value"};

    (void)json_object_set_new(pub->result, "image", json_string(glance_text(image, "id")));
    for (size_t i = 0; i < COUNT(keys); i++) {
        (void)json_object_set_new(pub->result, keys[i], json_string(glance_text(image, keys[i])));
    }
    (void)json_object_set_new(pub->result, "endpoint", json_string(state->glance.url));
    (void)json_object_set_new(pub->result, "region", json_string(state->glance.region));
}

/* --- is it there ----------------------------------------------------------------------------- */

/* All images of this publish, whatever became of them: of every attempt, and of every copy of the
 * bundle. Those whose id is no UUID are not Glance's. */
static int list_ours(struct publication *pub, struct state *state, json_t **ret, struct error *err)
{
    SCOPED_FREE char *query = xprintf(PUBLISH_ID "=%s&owner=%s&limit=100", pub->id,
                                      keystone_token(state->keystone)->project_id);
    SCOPED(json_decrefp) json_t *images = NULL;
    json_t *ours = json_array(), *image;
    struct uuid uuid;
    size_t i;

    if (glance_list(&state->glance, query, &images, err) < 0) {
        json_decref(ours);
        return -1;
    }
    json_array_foreach(images, i, image)
    {
        if (is_ours(pub, state, image) && uuid_parse(glance_text(image, "id"), &uuid)) {
            (void)json_array_append(ours, image);
        }
    }
    *ret = ours;
    return 0;
}

static int find(struct publication *pub, void *data, bool *ret, struct error *err)
{
    struct state *state = data;
    SCOPED(json_decrefp) json_t *images = NULL;
    const json_t *image;
    char digest[HASH_HEX_MAX];
    size_t i;

    if (list_ours(pub, state, &images, err) < 0) {
        return -1;
    }
    (void)hash_hex(pub->bundle->disk_digest, digest);
    *ret = false;
    json_array_foreach(images, i, image)
    {
        if (has_status(image, "active") && strcmp(glance_text(image, PUBLISHED), "yes") == 0 &&
            strcmp(glance_text(image, DISK_DIGEST), digest) == 0) {
            set_result(pub, state, image);
            *ret = true;
            return 0;
        }
    }
    return 0;
}

static int remove_image(struct state *state, const json_t *image, struct error *err)
{
    const char *id = glance_text(image, "id");
    SCOPED(json_decrefp) json_t *patch = NULL;

    if (json_is_true(json_object_get(image, "protected"))) {
        patch = json_pack("[{s:s, s:s, s:b}]", "op", "replace", "path", "/protected", "value", 0);
        if (glance_change(&state->glance, id, patch, err) < 0) {
            return -1;
        }
    }
    return glance_delete(&state->glance, id, err);
}

static int abort_all(struct publication *pub, void *data, struct error *err)
{
    struct state *state = data;
    SCOPED(json_decrefp) json_t *images = NULL;
    const json_t *image;
    size_t i;

    if (list_ours(pub, state, &images, err) < 0) {
        return -1;
    }
    json_array_foreach(images, i, image)
    {
        if (remove_image(state, image, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- create ---------------------------------------------------------------------------------- */

/* Whether what is there can be gone on with. */
static int take_up(struct publication *pub, struct state *state, const json_t *image,
                   struct error *err)
{
    char id[UUID_TEXT_MAX];

    (void)image_id(pub, id);
    if (has_status(image, "saving") && journal_get(pub->journal, "uploading") == NULL) {
        (void)fail(err, FAIL_REMOTE, "image %s is being uploaded from elsewhere", id);
        return fail_hint(err, "wait for it; if nobody does any more: openstack image delete %s",
                         id);
    }
    if (!has_status(image, "queued") && !has_status(image, "saving") &&
        !has_status(image, "active")) {
        SCOPED_FREE char *why = xprintf("is %s", glance_text(image, "status"));

        return spoilt(pub, state, err, why);
    }
    return journal_set(pub->journal, "image", id, err);
}

static int create(struct publication *pub, void *data, struct error *err)
{
    struct state *state = data;
    SCOPED(json_decrefp) json_t *image = NULL, *wish = describe(pub);
    char id[UUID_TEXT_MAX];

    if (open_body(pub, state, err) < 0 || look(pub, state, &image, err) < 0) {
        return -1;
    }
    if (image == NULL && glance_create(&state->glance, wish, &image, err) < 0) {
        return -1;
    }
    /* The id is taken: by ourselves, when an answer was lost, or by what was deleted since. */
    if (image == NULL && look(pub, state, &image, err) < 0) {
        return -1;
    }
    if (image == NULL) {
        (void)fail(err, FAIL_REMOTE, "image %s was made before and deleted", image_id(pub, id));
        return PHASE_AGAIN;
    }
    return take_up(pub, state, image, err);
}

/* --- upload ---------------------------------------------------------------------------------- */

static int gone(struct publication *pub, struct error *err)
{
    char id[UUID_TEXT_MAX];

    (void)fail(err, FAIL_REMOTE, "image %s was deleted meanwhile", image_id(pub, id));
    return PHASE_AGAIN;
}

/*
 * Waits while the image is being saved, by a connection of ours that is no more: 0 and what it then
 * is (NULL: gone), or PHASE_AGAIN when that does not end.
 */
static int settle(struct publication *pub, struct state *state, json_t **image, struct error *err)
{
    int64_t patience_s = state->body != NULL && body_is_read(state->body)
                             ? DIGESTED_S + (int64_t)(body_size(state->body) / STORED_PER_S)
                             : NOTICED_S;
    int64_t until = monotonic_ms() + 1000 * patience_s;
    unsigned ms = 0;

    while (*image != NULL && has_status(*image, "saving")) {
        if (monotonic_ms() >= until) {
            return spoilt(pub, state, err, "was left half saved");
        }
        json_decref(TAKE(*image));
        if (publication_pause(&ms, err) < 0 || look(pub, state, image, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The bundle is not what it says: nothing of it may stay. */
static int discard(struct publication *pub, struct state *state, struct error *err)
{
    struct error ignored = {0};
    char id[UUID_TEXT_MAX];

    if (err->kind == FAIL_MISMATCH &&
        glance_delete(&state->glance, image_id(pub, id), &ignored) < 0) {
        publication_note(pub, "image %s may be left: %s", id, ignored.message);
    }
    return -1;
}

/* One upload. 1: it is done, 0: look what became of it, or why it broke in WHY. */
static int send(struct publication *pub, struct state *state, struct error *why, struct error *err)
{
    struct http_body body = body_stream(state->body);
    char id[UUID_TEXT_MAX];
    unsigned status = 0;

    if (journal_set(pub->journal, "uploading", "yes", err) < 0) {
        return -1;
    }
    if (glance_upload(&state->glance, image_id(pub, id), &body, &status, why, err) < 0) {
        return err->kind != FAIL_NONE ? discard(pub, state, err) : 0;
    }
    return status == 204 ? 1 : 0;
}

static int pause_upload(struct publication *pub, unsigned failures, struct error *why,
                        struct error *err)
{
    if (why->kind == FAIL_NONE) {
        (void)fail(why, FAIL_REMOTE, "Glance did not take the data");
    }
    if (failures == UPLOADS_MAX) {
        *err = *why;
        (void)fail_while(err, "gave up after %u uploads", failures);
        return fail_hint(err, "where Glance itself is well, a proxy before it may allow no request "
                              "that is so large or takes so long");
    }
    publication_detail(pub, "%s: once more", why->message);
    fail_clear(why);
    stop_sleep(500U << failures);
    return stop_check(err);
}

static int upload(struct publication *pub, void *data, struct error *err)
{
    struct state *state = data;
    struct error why = {0};

    if (open_body(pub, state, err) < 0) {
        return -1;
    }
    publication_expect(pub, body_size(state->body));
    for (unsigned failures = 0;;) {
        SCOPED(json_decrefp) json_t *image = NULL;
        int result = look(pub, state, &image, err) < 0 ? -1 : settle(pub, state, &image, err);

        if (result != 0) {
            return result;
        }
        if (image == NULL) {
            return gone(pub, err);
        }
        if (!has_status(image, "queued")) {
            return PHASE_DONE; /* what it is, is the next phase's to say */
        }
        if (failures != 0 && pause_upload(pub, failures, &why, err) < 0) {
            return -1;
        }
        result = send(pub, state, &why, err);
        if (result != 0) {
            return result < 0 ? -1 : PHASE_DONE;
        }
        failures++;
    }
}

/* --- and after ------------------------------------------------------------------------------- */

static int activate(struct publication *pub, void *data, struct error *err)
{
    struct state *state = data;
    int64_t until = monotonic_ms() + 1000 * (int64_t)(pub->give_up_s != 0 ? pub->give_up_s : 300);
    unsigned ms = 0;

    for (;;) {
        SCOPED(json_decrefp) json_t *image = NULL;

        if (look(pub, state, &image, err) < 0) {
            return -1;
        }
        if (image == NULL) {
            return gone(pub, err);
        }
        if (has_status(image, "active")) {
            return PHASE_DONE;
        }
        if (!has_status(image, "saving") && !has_status(image, "importing")) {
            SCOPED_FREE char *text =
                xprintf("is %s after all was sent", glance_text(image, "status"));

            return spoilt(pub, state, err, text);
        }
        if (monotonic_ms() >= until) {
            return spoilt(pub, state, err, "does not become active");
        }
        if (publication_pause(&ms, err) < 0) {
            return -1;
        }
    }
}

/* MD5, which older versions have, proves nothing. */
static int verify(struct publication *pub, void *data, struct error *err)
{
    struct state *state = data;
    SCOPED(json_decrefp) json_t *image = NULL;
    char digest[HASH_NAMED_HEX_MAX];
    const char *algorithm;

    if (open_body(pub, state, err) < 0 || look(pub, state, &image, err) < 0) {
        return -1;
    }
    if (image == NULL) {
        return gone(pub, err);
    }
    algorithm = glance_text(image, "os_hash_algo");
    if (body_digest(state->body, algorithm, digest, err) < 0) {
        if (err->kind == FAIL_ERROR) {
            err->kind = FAIL_REMOTE;
            (void)fail_while(err, "the image cannot be verified: Glance has");
        }
        return discard(pub, state, err);
    }
    if (strcmp(glance_text(image, "os_hash_value"), digest) != 0 ||
        json_integer_value(json_object_get(image, "size")) != (json_int_t)body_size(state->body)) {
        return spoilt(pub, state, err, "has other bytes than were sent");
    }
    return PHASE_DONE;
}

static int share(struct publication *pub, void *data, struct error *err)
{
    const struct target_openstack *os = wanted(pub);
    struct state *state = data;
    char id[UUID_TEXT_MAX];

    (void)image_id(pub, id);
    for (size_t i = 0; i < os->share_count; i++) {
        if (glance_share(&state->glance, id, os->share_with[i], err) < 0) {
            return -1;
        }
    }
    if (os->share_count != 0) {
        publication_note(pub,
                         "each project it is shared with accepts it once: "
                         "openstack image set --accept %s",
                         id);
    }
    return PHASE_DONE;
}

/* All that is left is to say so: what is marked is found, and not made again. */
static int mark(struct publication *pub, void *data, struct error *err)
{
    struct state *state = data;
    SCOPED(json_decrefp)
    json_t *patch =
        json_pack("[{s:s, s:s, s:s}]", "op", "add", "path", "/" PUBLISHED, "value", "yes");
    SCOPED(json_decrefp) json_t *image = NULL;
    char id[UUID_TEXT_MAX];

    if (wanted(pub)->is_protected) {
        (void)json_array_append_new(
            patch, json_pack("{s:s, s:s, s:b}", "op", "replace", "path", "/protected", "value", 1));
    }
    if (glance_change(&state->glance, image_id(pub, id), patch, err) < 0 ||
        look(pub, state, &image, err) < 0) {
        return -1;
    }
    if (image == NULL) {
        return gone(pub, err);
    }
    set_result(pub, state, image);
    return PHASE_DONE;
}

/* --- the plan -------------------------------------------------------------------------------- */

/* The services' URLs are in the catalog, which nobody asks here. */
static int plan(struct publication *pub, const struct call_plan *plan, struct error *err)
{
    const struct target_openstack *os = wanted(pub);
    SCOPED(body_freep) struct body *body = NULL;
    struct state state = {0};

    if (open_body(pub, &state, err) < 0) {
        return -1;
    }
    body = state.body;
    plan->call(plan->data, "POST", "{identity}/v3/auth/tokens", 1, 0);
    plan->call(plan->data, "GET", "{image}/v2/images?" PUBLISH_ID "={id}", 1, 0);
    plan->call(plan->data, "POST", "{image}/v2/images", 1, 0);
    plan->call(plan->data, "PUT", "{image}/v2/images/{image}/file", 1, body_size(body));
    plan->call(plan->data, "GET", "{image}/v2/images/{image}", 5, 0);
    if (os->share_count != 0) {
        plan->call(plan->data, "POST", "{image}/v2/images/{image}/members", os->share_count, 0);
    }
    plan->call(plan->data, "PATCH", "{image}/v2/images/{image}", 1, 0);
    return 0;
}

static const struct phase phases[] = {
    {.name = "create", .run = create},
    {.name = "upload", .run = upload},
    {.name = "activate", .run = activate},
    {.name = "verify", .run = verify},
    {.name = "share", .run = share},
    {.name = "mark", .run = mark},
    {.name = NULL},
};

const struct cloud cloud_openstack = {
    .kind = CLOUD_OPENSTACK,
    .state_bytes = sizeof(struct state),
    .plan = plan,
    .begin = begin,
    .find = find,
    .phases = phases,
    .abort = abort_all,
    .end = end,
};
