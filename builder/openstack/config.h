/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's configuration of an OpenStack cloud, read as openstacksdk does: an entry of
 * clouds.yaml with secure.yaml over it, or the OS_* variables
 * (https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html). Nothing of it
 * ever comes out of a profile or a bundle, but for the name of the entry.
 */
#ifndef OPENSTACK_CONFIG_H
#define OPENSTACK_CONFIG_H

#include "base/fail.h"
#include "base/scope.h"

enum openstack_auth {
    OPENSTACK_PASSWORD,
    OPENSTACK_APPLICATION_CREDENTIAL,
    OPENSTACK_TOKEN,
};

/* Everything may be NULL but what is said not to be; what is empty in the file is NULL here. */
struct openstack_config {
    char *source; /* for people: "cloud 'lab' of /home/me/clouds.yaml", "the environment" */
    enum openstack_auth auth;
    char *auth_url; /* never NULL; not checked yet whether it is a URL */
    char *username, *user_id;
    char *user_domain_name, *user_domain_id; /* "default", where only a name was given */
    char *password;                          /* not NULL with OPENSTACK_PASSWORD */
    char *project_name, *project_id;         /* one of them but with an application credential */
    char *project_domain_name, *project_domain_id;
    char *credential_name, *credential_id;
    char *credential_secret; /* not NULL with OPENSTACK_APPLICATION_CREDENTIAL */
    char *token;             /* not NULL with OPENSTACK_TOKEN */
    char *region;
    char *interface; /* never NULL: "public", "internal" or "admin" */
    char *ca_file;
    char *image_endpoint; /* instead of the catalog's */
};

/*
 * Reads the entry CLOUD, or, when it is NULL, that of OS_CLOUD, else OS_*, else the only one that
 * clouds.yaml has. FAIL_USAGE with file, line and column where the file is wrong, and what is
 * missing where it is not complete. A configuration that would not verify certificates is refused.
 */
int openstack_config_load(const char *cloud, struct openstack_config **ret, struct error *err);

/* Overwrites what is secret. */
void openstack_config_free(struct openstack_config *config);
SCOPE_DEFINE(openstack_config, openstack_config_free)

#endif
