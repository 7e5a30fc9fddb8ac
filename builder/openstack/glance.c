/* SPDX-License-Identifier: Apache-2.0 */
#include "openstack/glance.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "openstack/message.h"

/* A token that expires while data is sent costs the whole image. */
enum { UPLOAD_LEFT_S = 1800, CALL_LEFT_S = 60 };

static char *with_version(const char *url)
{
    size_t size = strlen(url);

    while (size != 0 && url[size - 1] == '/') {
        size--;
    }
    if (size > 3 &&
        (memcmp(url + size - 3, "/v2", 3) == 0 || memcmp(url + size - 3, "/v1", 3) == 0)) {
        size -= 3;
    }
    return xprintf("%.*s/v2", (int)size, url);
}

/* Whoever can write a catalog must not get tokens sent in the clear where the user wanted TLS. */
static int check_open(const struct openstack_config *config, const char *identity, const char *url,
                      struct error *err)
{
    if (strncasecmp(identity, "https:", 6) != 0 || !http_is_open(url)) {
        return 0;
    }
    (void)fail(err, FAIL_REMOTE,
               "the image endpoint '%s' of the catalog is not encrypted, as Keystone is: no token "
               "is sent there",
               url);
    return fail_hint(err, "%s",
                     strcmp(config->source, "the environment") == 0
                         ? "if it must be so, say it with OS_IMAGE_ENDPOINT_OVERRIDE"
                         : "if it must be so, say it with 'image_endpoint_override'");
}

int glance_open(const struct openstack_config *config, const char *region, struct http *http,
                struct keystone *keystone, struct glance *ret, struct error *err)
{
    const char *wanted = region != NULL ? region : config->region;
    SCOPED_FREE char *url = NULL;
    const char *wrong;

    *ret = (struct glance){.http = http, .keystone = keystone};
    if (config->image_endpoint == NULL) {
        if (token_endpoint(keystone_token(keystone), "image", config->interface, wanted, &url,
                           &ret->region, err) < 0 ||
            check_open(config, keystone_url(keystone), url, err) < 0) {
            return -1;
        }
        ret->url = with_version(url);
        return 0;
    }
    wrong = http_url_wrong(config->image_endpoint);
    if (wrong != NULL) {
        return fail(err, FAIL_USAGE, "%s: image_endpoint_override %s", config->source, wrong);
    }
    ret->url = with_version(config->image_endpoint);
    ret->region = xstrdup(wanted != NULL ? wanted : "");
    return 0;
}

void glance_done(struct glance *glance)
{
    free(glance->url);
    free(glance->region);
    *glance = (struct glance){0};
}

const char *glance_text(const json_t *image, const char *key)
{
    const char *text = json_string_value(json_object_get(image, key));

    return text != NULL ? text : "";
}

/* --- calls ----------------------------------------------------------------------------------- */

static int add_token(struct glance *glance, int64_t left_s, struct http_headers *headers,
                     struct error *err)
{
    const char *token;

    if (keystone_use(glance->keystone, left_s, &token, err) < 0) {
        return -1;
    }
    http_headers_add(headers, "X-Auth-Token: %s", token);
    return 0;
}

static int prepare(void *data, struct http_headers *headers, struct error *err)
{
    return add_token(data, CALL_LEFT_S, headers, err);
}

static int prepare_upload(void *data, struct http_headers *headers, struct error *err)
{
    return add_token(data, UPLOAD_LEFT_S, headers, err);
}

static int renew(void *data, struct error *err)
{
    struct glance *glance = data;

    return keystone_renew(glance->keystone, err);
}

static int fail_reply(const struct glance *glance, const char *what, const struct http_reply *reply,
                      struct error *err)
{
    SCOPED_FREE char *message = openstack_message(reply, keystone_secret(glance->keystone));
    SCOPED_FREE char *origin = http_origin(glance->url);

    (void)fail(err, FAIL_REMOTE, "Glance at %s: %s: %s (status %u)", origin, what, message,
               reply->status);
    switch (reply->status) {
    case 401:
        return fail_hint(err, "Glance does not take a new token either: can it reach Keystone?");
    case 403:
        return fail_hint(err, "the user's roles in this project do not allow it; 'public' and "
                              "'protected' images are often for administrators only");
    case 413:
        return fail_hint(err, "a quota of the project, or the largest size of an image here, is "
                              "exceeded: delete images, or ask for more");
    case 415:
        return fail_hint(err, "the cloud inspects images and does not want this one: try the "
                              "other 'disk_format' (raw, qcow2)");
    case 503:
        return fail_hint(err, "where Glance keeps its images cannot be written to: ask whoever "
                              "runs the cloud");
    default:
        return -1;
    }
}

/* JSON to PATH below the version; TEXT NULL: no body. 0 with any reply. */
static int call(struct glance *glance, const char *method, const char *path, const char *type,
                const char *text, struct http_reply *ret, struct error *err)
{
    SCOPED_FREE char *url = xprintf("%s%s", glance->url, path);
    SCOPED_FREE char *content =
        xprintf("Content-Type: %s", type != NULL ? type : "application/json");
    const char *const headers[] = {"Accept: application/json", text != NULL ? content : NULL, NULL};
    const struct http_body body = {.data = text, .size = text != NULL ? strlen(text) : 0};

    return http_send(glance->http,
                     &(struct http_call){
                         .method = method,
                         .url = url,
                         .headers = headers,
                         .body = text != NULL ? &body : NULL,
                         .prepare = prepare,
                         .renew = renew,
                         .data = glance,
                     },
                     ret, err);
}

static int read_object(const struct glance *glance, const struct http_reply *reply, json_t **ret,
                       struct error *err)
{
    json_t *object = json_loadb(reply->body.data, reply->body.size, 0, NULL);

    if (!json_is_object(object)) {
        json_decref(object);
        return fail(err, FAIL_REMOTE, "%s: a reply that is not JSON", glance->url);
    }
    *ret = object;
    return 0;
}

int glance_list(struct glance *glance, const char *query, json_t **ret, struct error *err)
{
    SCOPED_FREE char *path = xprintf("/images?%s", query);
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED(json_decrefp) json_t *object = NULL;
    json_t *images;

    if (call(glance, "GET", path, NULL, NULL, &reply, err) < 0) {
        return -1;
    }
    if (reply.status != 200) {
        return fail_reply(glance, "images cannot be listed", &reply, err);
    }
    if (read_object(glance, &reply, &object, err) < 0) {
        return -1;
    }
    images = json_object_get(object, "images");
    *ret = json_is_array(images) ? json_incref(images) : json_array();
    return 0;
}

int glance_get(struct glance *glance, const char *id, json_t **ret, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *path = xprintf("/images/%s", id);

    if (call(glance, "GET", path, NULL, NULL, &reply, err) < 0) {
        return -1;
    }
    if (reply.status == 404) {
        *ret = NULL;
        return 0;
    }
    return reply.status == 200 ? read_object(glance, &reply, ret, err)
                               : fail_reply(glance, "the image cannot be read", &reply, err);
}

int glance_create(struct glance *glance, const json_t *image, json_t **ret, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *text = json_dumps(image, JSON_COMPACT);

    if (call(glance, "POST", "/images", NULL, text, &reply, err) < 0) {
        return -1;
    }
    if (reply.status == 409) {
        *ret = NULL;
        return 0;
    }
    return reply.status == 201 ? read_object(glance, &reply, ret, err)
                               : fail_reply(glance, "the image cannot be made", &reply, err);
}

/* 5xx is the caller's to judge, too. */
static enum http_verdict judge_upload(void *data, const struct http_reply *reply)
{
    (void)data;
    return reply->status == 401 ? HTTP_DENIED : HTTP_DONE;
}

int glance_upload(struct glance *glance, const char *id, const struct http_body *body,
                  unsigned *ret_status, struct error *why, struct error *err)
{
    static const char *const headers[] = {"Accept: application/json",
                                          "Content-Type: application/octet-stream", NULL};
    SCOPED_FREE char *url = xprintf("%s/images/%s/file", glance->url, id);
    SCOPED(http_reply_done) struct http_reply reply = {0};
    const struct http_call upload = {
        .method = "PUT",
        .url = url,
        .headers = headers,
        .body = body,
        .prepare = prepare_upload,
        .judge = judge_upload,
        .renew = renew,
        .data = glance,
        .ask_first = true, /* what is too much, or too late, is refused before it is read */
        .tries = 1,
    };

    if (http_send(glance->http, &upload, &reply, why) < 0) {
        if (why->kind != FAIL_REMOTE) {
            *err = *why;
        }
        return -1;
    }
    *ret_status = reply.status;
    if (reply.status == 204 || reply.status == 404 || reply.status == 409 || reply.status == 410) {
        return 0;
    }
    if (reply.status >= 500) {
        return fail_reply(glance, "the upload failed", &reply, why);
    }
    return fail_reply(glance, "the data is refused", &reply, err);
}

int glance_change(struct glance *glance, const char *id, const json_t *patch, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *path = xprintf("/images/%s", id), *text = json_dumps(patch, JSON_COMPACT);

    if (call(glance, "PATCH", path, "application/openstack-images-v2.1-json-patch", text, &reply,
             err) < 0) {
        return -1;
    }
    return reply.status == 200 ? 0 : fail_reply(glance, "the image cannot be changed", &reply, err);
}

int glance_share(struct glance *glance, const char *id, const char *project, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *path = xprintf("/images/%s/members", id), *text = NULL;
    SCOPED(json_decrefp) json_t *member = json_pack("{s:s}", "member", project);

    text = json_dumps(member, JSON_COMPACT);
    if (call(glance, "POST", path, NULL, text, &reply, err) < 0) {
        return -1;
    }
    if (reply.status == 200 || reply.status == 409) { /* 409: it is one already */
        return 0;
    }
    (void)fail_reply(glance, "the image cannot be shared", &reply, err);
    return fail_while(err, "share with project '%s'", project);
}

int glance_delete(struct glance *glance, const char *id, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *path = xprintf("/images/%s", id);

    if (call(glance, "DELETE", path, NULL, NULL, &reply, err) < 0) {
        return -1;
    }
    return reply.status == 204 || reply.status == 404 || reply.status == 410
               ? 0
               : fail_reply(glance, "the image cannot be deleted", &reply, err);
}
