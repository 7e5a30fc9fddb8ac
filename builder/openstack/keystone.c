/* SPDX-License-Identifier: Apache-2.0 */
#include "openstack/keystone.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/text.h"
#include "openstack/message.h"

/* A token that is not older is new: another one would not be good for longer. */
enum { NEW_S = 5 };

struct keystone {
    const struct openstack_config *config;
    struct http *http;
    char *url; /* ".../v3" */
    char *text;
    int64_t got_s; /* by the clock that only goes forwards */
    struct token token;
};

void keystone_free(struct keystone *keystone)
{
    if (keystone != NULL) {
        secret_free(keystone->text);
        token_done(&keystone->token);
        free(keystone->url);
        free(keystone);
    }
}

const struct token *keystone_token(const struct keystone *keystone)
{
    return &keystone->token;
}

const char *keystone_url(const struct keystone *keystone)
{
    return keystone->url;
}

const char *keystone_secret(const struct keystone *keystone)
{
    return keystone->text;
}

/* --- the request ----------------------------------------------------------------------------- */

/* Written by hand, so that no copy of a password is left where it cannot be overwritten. */
static void add_string(struct buf *buf, const char *text)
{
    secret_add(buf, "\"", 1);
    for (const char *s = text; *s != '\0'; s++) {
        char escaped[8];

        if (*s == '"' || *s == '\\') {
            secret_add(buf, "\\", 1);
            secret_add(buf, s, 1);
        } else if ((unsigned char)*s < 0x20) {
            (void)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)*s);
            secret_add(buf, escaped, strlen(escaped));
        } else {
            secret_add(buf, s, 1);
        }
    }
    secret_add(buf, "\"", 1);
}

static void add(struct buf *buf, const char *text)
{
    secret_add(buf, text, strlen(text));
}

/* "key":"value" of the first that is there; nothing when none is. */
static void add_pair(struct buf *buf, const char *key, const char *value, const char *or_key,
                     const char *or_value)
{
    const char *name = value != NULL ? key : or_key, *text = value != NULL ? value : or_value;

    if (text != NULL) {
        add_string(buf, name);
        add(buf, ":");
        add_string(buf, text);
    }
}

static void add_domain(struct buf *buf, const char *id, const char *name)
{
    add(buf, ",\"domain\":{");
    add_pair(buf, "id", id, "name", name);
    add(buf, "}");
}

/* "user":{ and who, without its end. An id says it all; a name belongs to a domain. */
static void add_user(struct buf *buf, const struct openstack_config *config)
{
    add(buf, "\"user\":{");
    add_pair(buf, "id", config->user_id, "name", config->username);
    if (config->user_id == NULL) {
        add_domain(buf, config->user_domain_id, config->user_domain_name);
    }
}

static void add_method(struct buf *buf, const struct openstack_config *config)
{
    switch (config->auth) {
    case OPENSTACK_PASSWORD:
        add(buf, "[\"password\"],\"password\":{");
        add_user(buf, config);
        add(buf, ",\"password\":");
        add_string(buf, config->password);
        add(buf, "}}");
        return;
    case OPENSTACK_TOKEN:
        add(buf, "[\"token\"],\"token\":{\"id\":");
        add_string(buf, config->token);
        add(buf, "}");
        return;
    case OPENSTACK_APPLICATION_CREDENTIAL:
        add(buf, "[\"application_credential\"],\"application_credential\":{");
        add_pair(buf, "id", config->credential_id, "name", config->credential_name);
        if (config->credential_id == NULL) {
            add(buf, ",");
            add_user(buf, config);
            add(buf, "}");
        }
        add(buf, ",\"secret\":");
        add_string(buf, config->credential_secret);
        add(buf, "}");
        return;
    }
}

/* An application credential is for one project: Keystone refuses to be told which. */
static void add_scope(struct buf *buf, const struct openstack_config *config)
{
    if (config->auth == OPENSTACK_APPLICATION_CREDENTIAL) {
        return;
    }
    add(buf, ",\"scope\":{\"project\":{");
    add_pair(buf, "id", config->project_id, "name", config->project_name);
    if (config->project_id == NULL) {
        add_domain(buf, config->project_domain_id, config->project_domain_name);
    }
    add(buf, "}}");
}

int keystone_request(const struct openstack_config *config, struct buf *buf, struct error *err)
{
    add(buf, "{\"auth\":{\"identity\":{\"methods\":");
    add_method(buf, config);
    add(buf, "}");
    add_scope(buf, config);
    add(buf, "}}");
    if (!text_is_utf8(buf->data, buf->size)) {
        return fail(err, FAIL_USAGE, "%s: a name, password or secret is not UTF-8 text",
                    config->source);
    }
    return 0;
}

/* --- the session ----------------------------------------------------------------------------- */

/* What was sent to be let in. */
static const char *secret_of(const struct openstack_config *config)
{
    switch (config->auth) {
    case OPENSTACK_PASSWORD:
        return config->password;
    case OPENSTACK_APPLICATION_CREDENTIAL:
        return config->credential_secret;
    case OPENSTACK_TOKEN:
        return config->token;
    }
    return NULL;
}

static int fail_reply(const struct keystone *keystone, const struct http_reply *reply,
                      struct error *err)
{
    const struct openstack_config *config = keystone->config;
    SCOPED_FREE char *message = openstack_message(reply, secret_of(config));
    SCOPED_FREE char *origin = http_origin(keystone->url);

    (void)fail(err, FAIL_REMOTE, "Keystone at %s did not accept %s: %s (status %u)", origin,
               config->source, message, reply->status);
    if (reply->status == 401 && config->auth == OPENSTACK_PASSWORD) {
        return fail_hint(err, "check username, password and project_name, and their domains "
                              "(user_domain_name, project_domain_name; 'Default' where not given)");
    }
    if (reply->status == 401 && config->auth == OPENSTACK_APPLICATION_CREDENTIAL) {
        return fail_hint(err, "check id and secret of the application credential: it may have "
                              "expired or been deleted");
    }
    /* 404 is Keystone's word for a token that it does not know. */
    if (config->auth == OPENSTACK_TOKEN && (reply->status == 401 || reply->status == 404)) {
        return fail_hint(err, "the token has expired or been revoked: get another one");
    }
    return reply->status == 404 ? fail_hint(err, "is auth_url right?") : -1;
}

static int take_token(struct keystone *keystone, const struct http_reply *reply, struct error *err)
{
    const char *text = http_header(reply, "X-Subject-Token");
    struct token token = {0};

    if (text == NULL || *text == '\0') {
        return fail(err, FAIL_REMOTE, "%s is no Keystone: its reply has no token", keystone->url);
    }
    if (token_read(reply->body.data, reply->body.size, &token, err) < 0) {
        return fail_while(err, "%s", keystone->url);
    }
    token_done(&keystone->token);
    secret_free(keystone->text);
    keystone->token = token;
    keystone->text = xstrdup(text);
    keystone->got_s = monotonic_ms() / 1000;
    return 0;
}

int keystone_renew(struct keystone *keystone, struct error *err)
{
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Accept: application/json", NULL};
    SCOPED_FREE char *url = xprintf("%s/auth/tokens", keystone->url);
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED(secret_done) struct buf text = {0};

    if (keystone_request(keystone->config, &text, err) < 0 ||
        http_send(keystone->http,
                  &(struct http_call){
                      .method = "POST",
                      .url = url,
                      .headers = headers,
                      .body = &(struct http_body){.data = text.data, .size = text.size},
                  },
                  &reply, err) < 0) {
        return -1;
    }
    return reply.status == 200 || reply.status == 201 ? take_token(keystone, &reply, err)
                                                      : fail_reply(keystone, &reply, err);
}

int keystone_use(struct keystone *keystone, int64_t left_s, const char **ret, struct error *err)
{
    int64_t age = monotonic_ms() / 1000 - keystone->got_s, left = keystone->token.lifetime_s - age;

    if ((left <= 0 || (left < left_s && age >= NEW_S)) && keystone_renew(keystone, err) < 0) {
        return -1;
    }
    *ret = keystone->text;
    return 0;
}

/* --- versions -------------------------------------------------------------------------------- */

static char *without_end(const char *url, const char *end)
{
    size_t size = strlen(url);

    while (size != 0 && url[size - 1] == '/') {
        size--;
    }
    if (size > strlen(end) && memcmp(url + size - strlen(end), end, strlen(end)) == 0) {
        size -= strlen(end);
    }
    return xstrndup(url, size);
}

/* Asks for the versions that there are; a server that does not say has 3 in the usual place. */
static int discover(struct keystone *keystone, const char *root, struct error *err)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    SCOPED_FREE char *url = xprintf("%s/", root), *origin = http_origin(root), *path = NULL;
    SCOPED(http_reply_done) struct http_reply reply = {0};

    if (http_send(keystone->http,
                  &(struct http_call){.method = "GET", .url = url, .headers = headers}, &reply,
                  err) < 0) {
        return -1;
    }
    path = reply.status == 200 || reply.status == 300
               ? token_version_path(reply.body.data, reply.body.size)
               : NULL;
    keystone->url = path != NULL ? xprintf("%s%s", origin, path) : xprintf("%s/v3", root);
    return 0;
}

static int find_version(struct keystone *keystone, struct error *err)
{
    const struct openstack_config *config = keystone->config;
    const char *wrong = http_url_wrong(config->auth_url);
    SCOPED_FREE char *trimmed = NULL, *root = NULL;

    if (wrong != NULL) {
        return fail(err, FAIL_USAGE, "%s: auth_url %s", config->source, wrong);
    }
    trimmed = without_end(config->auth_url, "");
    if (text_ends(trimmed, "/v3")) {
        keystone->url = TAKE(trimmed);
        return 0;
    }
    root = without_end(trimmed, "/v2.0"); /* of old files; it is gone */
    return discover(keystone, root, err);
}

int keystone_open(const struct openstack_config *config, struct http *http, struct keystone **ret,
                  struct error *err)
{
    SCOPED(keystone_freep) struct keystone *keystone = xcalloc(1, sizeof(*keystone));

    keystone->config = config;
    keystone->http = http;
    if (find_version(keystone, err) < 0 || keystone_renew(keystone, err) < 0) {
        return -1;
    }
    *ret = TAKE(keystone);
    return 0;
}
