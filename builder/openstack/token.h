/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Keystone says of a token that it gave: whose it is, how long it is good, and where the
 * services are (https://docs.openstack.org/api-ref/identity/v3/). The token itself is not here.
 */
#ifndef OPENSTACK_TOKEN_H
#define OPENSTACK_TOKEN_H

#include <jansson.h>
#include <stdint.h>

#include "base/fail.h"

struct token {
    char *project_id, *project_name, *project_domain;
    char *user_name, *user_domain;
    char *credential; /* the name of the application credential; NULL: it was none */
    int64_t lifetime_s;
    json_t *catalog; /* a list */
};

/* Reads the body of a reply. It must be for a project. */
int token_read(const char *text, size_t size, struct token *ret, struct error *err);

/* Also the cleaner for SCOPED. */
void token_done(struct token *token);

/*
 * Where the service of TYPE is reached through INTERFACE: in REGION, or, when that is NULL, in the
 * only region there is. Errors name what there would be. New strings, the URL without a slash at
 * its end; *RET_REGION is "" where the catalog has no regions.
 */
int token_endpoint(const struct token *token, const char *type, const char *interface,
                   const char *region, char **ret_url, char **ret_region, struct error *err);

/* The path of the newest version 3 in a reply of Keystone's root: "/identity/v3"; NULL: none. */
char *token_version_path(const char *text, size_t size);

#endif
