/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to Glance's image API, version 2 (https://docs.openstack.org/api-ref/image/v2/). Images are
 * JSON as Glance has them. Tokens are added, and renewed where one is not taken.
 */
#ifndef OPENSTACK_GLANCE_H
#define OPENSTACK_GLANCE_H

#include <jansson.h>

#include "base/fail.h"
#include "base/hash.h"
#include "http/http.h"
#include "openstack/keystone.h"

struct glance {
    struct http *http;         /* borrowed */
    struct keystone *keystone; /* borrowed */
    char *url;                 /* "https://image.example.org:9292/v2" */
    char *region;              /* "" where there are none */
};

/* Finds it in the catalog, in REGION (NULL: the user's, or the only one), or where CONFIG says. */
int glance_open(const struct openstack_config *config, const char *region, struct http *http,
                struct keystone *keystone, struct glance *ret, struct error *err);
void glance_done(struct glance *glance);

/* What an image says under KEY: a text; "" when there is none. Borrowed. */
const char *glance_text(const json_t *image, const char *key);

/* The images that QUERY (encoded) finds, a list. */
int glance_list(struct glance *glance, const char *query, json_t **ret, struct error *err);

/* *RET NULL: there is none. ID is a UUID. */
int glance_get(struct glance *glance, const char *id, json_t **ret, struct error *err);

/* *RET NULL: its id is taken, also by an image that was deleted. */
int glance_create(struct glance *glance, const json_t *image, json_t **ret, struct error *err);

/*
 * Sends its data, once; the caller finds out what became of it, as a second attempt would get
 * another answer. 0 and the status: 204 done, 404 or 410 gone, 409 not waiting for data, 5xx. An
 * error is a refusal (of size, format, rights), or a body that could not be read; FAIL_NONE with
 * -1, with the reason in WHY, is a connection that broke.
 */
int glance_upload(struct glance *glance, const char *id, const struct http_body *body,
                  unsigned *ret_status, struct error *why, struct error *err);

/* Changes it by PATCH, a JSON patch. */
int glance_change(struct glance *glance, const char *id, const json_t *patch, struct error *err);

/* Lets PROJECT use it; one that may already is fine. */
int glance_share(struct glance *glance, const char *id, const char *project, struct error *err);

/* One that is not there is fine. */
int glance_delete(struct glance *glance, const char *id, struct error *err);

#endif
