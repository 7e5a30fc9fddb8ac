/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session with Keystone, version 3: who we are, where the services are, and a token that is
 * good. For one thread.
 */
#ifndef OPENSTACK_KEYSTONE_H
#define OPENSTACK_KEYSTONE_H

#include "base/fail.h"
#include "base/scope.h"
#include "http/http.h"
#include "openstack/config.h"
#include "openstack/token.h"

struct keystone;

/* Gets a first token. CONFIG and HTTP are borrowed for its life. */
int keystone_open(const struct openstack_config *config, struct http *http, struct keystone **ret,
                  struct error *err);

/* The token stays good until it expires: to revoke it would revoke one that the user gave, too. */
void keystone_free(struct keystone *keystone);
SCOPE_DEFINE(keystone, keystone_free)

/* What Keystone says of the token. Borrowed. */
const struct token *keystone_token(const struct keystone *keystone);

/* Where it is: the URL that ends in the version. Borrowed. */
const char *keystone_url(const struct keystone *keystone);

/* The token as it was when it was used last, for what must not show it. Borrowed; secret. */
const char *keystone_secret(const struct keystone *keystone);

/*
 * The token for a request: renewed first when it is not good for LEFT_S seconds more (or, where
 * none ever is, when it is not new). Borrowed until the next call; it is secret.
 */
int keystone_use(struct keystone *keystone, int64_t left_s, const char **ret, struct error *err);

/* After a service did not take it. */
int keystone_renew(struct keystone *keystone, struct error *err);

/* The body of the request for a token: in BUF, which must be empty and is secret. */
int keystone_request(const struct openstack_config *config, struct buf *buf, struct error *err);

#endif
