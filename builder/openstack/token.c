/* SPDX-License-Identifier: Apache-2.0 */
#include "openstack/token.h"

#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/text.h"
#include "http/http.h"

enum { ENDPOINTS_MAX = 4096, NAMES_MAX = 500 };

void token_done(struct token *token)
{
    free(token->project_id);
    free(token->project_name);
    free(token->project_domain);
    free(token->user_name);
    free(token->user_domain);
    free(token->credential);
    json_decref(token->catalog);
    *token = (struct token){0};
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static char *copy_at(const json_t *object, const char *key)
{
    const char *text = text_at(object, key);

    return text != NULL ? xstrdup(text) : NULL;
}

/* "2026-11-25T01:34:53.000000Z"; the fraction does not count. */
static bool parse_time(const char *text, int64_t *ret)
{
    SCOPED_FREE char *whole = text != NULL ? xprintf("%.19sZ", text) : NULL;

    return whole != NULL && text_parse_time(whole, ret);
}

/* By the server's clock alone: ours may be wrong. */
static bool read_lifetime(const json_t *token, int64_t *ret)
{
    int64_t issued, expires;

    if (!parse_time(text_at(token, "issued_at"), &issued) ||
        !parse_time(text_at(token, "expires_at"), &expires) || expires <= issued) {
        return false;
    }
    *ret = expires - issued;
    return true;
}

static int read_body(const json_t *body, struct token *ret, struct error *err)
{
    const json_t *token = json_object_get(body, "token");
    const json_t *project = json_object_get(token, "project"),
                 *user = json_object_get(token, "user");
    json_t *catalog = json_object_get(token, "catalog");

    if (!read_lifetime(token, &ret->lifetime_s)) {
        return fail(err, FAIL_REMOTE, "a token without issued_at and expires_at");
    }
    ret->project_id = copy_at(project, "id");
    ret->project_name = copy_at(project, "name");
    ret->project_domain = copy_at(json_object_get(project, "domain"), "name");
    ret->user_name = copy_at(user, "name");
    ret->user_domain = copy_at(json_object_get(user, "domain"), "name");
    ret->credential = copy_at(json_object_get(token, "application_credential"), "name");
    ret->catalog = json_is_array(catalog) ? json_incref(catalog) : json_array();
    if (ret->project_id == NULL || !text_is_made_of(ret->project_id, "-_") ||
        *ret->project_id == '\0') {
        (void)fail(err, FAIL_REMOTE, "the token is for no project");
        return fail_hint(err, "name the project: project_name or project_id");
    }
    return 0;
}

int token_read(const char *text, size_t size, struct token *ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *body = json_loadb(text, size, 0, NULL);
    SCOPED(token_done) struct token token = {0};

    if (body == NULL) {
        return fail(err, FAIL_REMOTE, "a token whose description is not JSON");
    }
    if (read_body(body, &token, err) < 0) {
        return -1;
    }
    *ret = token;
    token = (struct token){0};
    return 0;
}

/* --- the catalog ----------------------------------------------------------------------------- */

struct endpoint {
    const char *interface, *region, *url; /* borrowed; never NULL */
};

struct endpoints {
    struct endpoint items[ENDPOINTS_MAX];
    size_t count;
};

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static void add_endpoints(struct endpoints *all, const json_t *service)
{
    const json_t *endpoint;
    size_t i;

    json_array_foreach(json_object_get(service, "endpoints"), i, endpoint)
    {
        const char *region = text_at(endpoint, "region_id");

        if (all->count == ENDPOINTS_MAX) {
            return;
        }
        all->items[all->count++] = (struct endpoint){
            .interface = or_empty(text_at(endpoint, "interface")),
            .region = or_empty(region != NULL ? region : text_at(endpoint, "region")),
            .url = or_empty(text_at(endpoint, "url")),
        };
    }
}

static void find_endpoints(const struct token *token, const char *type, struct endpoints *ret)
{
    const json_t *service;
    size_t i;

    json_array_foreach(token->catalog, i, service)
    {
        if (strcmp(or_empty(text_at(service, "type")), type) == 0) {
            add_endpoints(ret, service);
        }
    }
}

/* Each NAME once, in the order of the catalog. */
static void add_name(struct buf *names, const char *name)
{
    SCOPED_FREE char *all = xprintf(", %s,", names->size != 0 ? names->data : "");
    SCOPED_FREE char *one = xprintf(", %s,", name);

    if (strstr(all, one) == NULL && names->size < NAMES_MAX) {
        buf_printf(names, "%s%s", names->size != 0 ? ", " : "", name);
    }
}

static int fail_region(const struct endpoints *all, const char *type, const char *interface,
                       const char *region, struct error *err)
{
    SCOPED(buf_done) struct buf regions = {0}, interfaces = {0};

    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->items[i].interface, interface) == 0) {
            add_name(&regions, all->items[i].region);
        }
        add_name(&interfaces, all->items[i].interface);
    }
    if (all->count == 0) {
        return fail(err, FAIL_REMOTE, "the catalog has no %s service", type);
    }
    if (regions.size == 0) {
        (void)fail(err, FAIL_REMOTE, "the catalog has no %s endpoint of interface '%s'", type,
                   interface);
        return fail_hint(err, "it has: %s", interfaces.data);
    }
    if (region != NULL) {
        (void)fail(err, FAIL_REMOTE, "the catalog has no %s service in region '%s'", type, region);
        return fail_hint(err, "it has: %s", regions.data);
    }
    (void)fail(err, FAIL_REMOTE, "the cloud has several regions, and none was chosen");
    return fail_hint(err,
                     "choose one with 'region' of the target, region_name or OS_REGION_NAME: "
                     "%s",
                     regions.data);
}

/* The first one that fits; NULL when there is none, or when they are of several regions. */
static const struct endpoint *choose(const struct endpoints *all, const char *interface,
                                     const char *region)
{
    const struct endpoint *found = NULL;

    for (size_t i = 0; i < all->count; i++) {
        const struct endpoint *endpoint = &all->items[i];

        if (strcmp(endpoint->interface, interface) != 0) {
            continue;
        }
        if (region != NULL && strcmp(endpoint->region, region) == 0) {
            return endpoint;
        }
        if (region == NULL && found != NULL && strcmp(found->region, endpoint->region) != 0) {
            return NULL;
        }
        found = region == NULL && found == NULL ? endpoint : found;
    }
    return found;
}

static char *without_slashes(const char *url)
{
    size_t size = strlen(url);

    while (size != 0 && url[size - 1] == '/') {
        size--;
    }
    return xstrndup(url, size);
}

int token_endpoint(const struct token *token, const char *type, const char *interface,
                   const char *region, char **ret_url, char **ret_region, struct error *err)
{
    SCOPED_FREE struct endpoints *all = xcalloc(1, sizeof(*all));
    const struct endpoint *endpoint;
    const char *wrong;

    find_endpoints(token, type, all);
    endpoint = choose(all, interface, region);
    if (endpoint == NULL) {
        return fail_region(all, type, interface, region, err);
    }
    wrong = http_url_wrong(endpoint->url);
    if (wrong != NULL) {
        return fail(err, FAIL_REMOTE, "the %s endpoint '%s' of the catalog %s", type, endpoint->url,
                    wrong);
    }
    *ret_url = without_slashes(endpoint->url);
    *ret_region = xstrdup(endpoint->region);
    return 0;
}

/* --- versions -------------------------------------------------------------------------------- */

/* The path alone: credentials go to the host that the user named, whatever a reply says. */
static char *path_of(const char *url)
{
    const char *host = strstr(url, "://"), *path = host != NULL ? strchr(host + 3, '/') : url;
    SCOPED_FREE char *whole = NULL;

    if (path == NULL || *path != '/') {
        return NULL;
    }
    whole = xprintf("https://host%s", path);
    return http_url_wrong(whole) == NULL ? without_slashes(path) : NULL;
}

static char *self_path(const json_t *version)
{
    const json_t *link;
    size_t i;

    json_array_foreach(json_object_get(version, "links"), i, link)
    {
        const char *relation = text_at(link, "rel"), *target = text_at(link, "href");

        if (relation != NULL && strcmp(relation, "self") == 0 && target != NULL) {
            return path_of(target);
        }
    }
    return NULL;
}

char *token_version_path(const char *text, size_t size)
{
    SCOPED(json_decrefp) json_t *body = json_loadb(text, size, 0, NULL);
    const json_t *versions = json_object_get(body, "versions"), *version;
    size_t i;

    if (json_is_object(versions)) {
        versions = json_object_get(versions, "values");
    }
    json_array_foreach(versions, i, version)
    {
        const char *id = text_at(version, "id");

        if (id != NULL && text_starts(id, "v3")) {
            return self_path(version);
        }
    }
    return NULL;
}
