/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's configuration of AWS: environment variables over the shared files
 * (https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html). Nothing of it ever
 * comes out of a profile of kiln's or a bundle.
 */
#ifndef AWS_CONFIG_H
#define AWS_CONFIG_H

#include <stdbool.h>

#include "base/fail.h"
#include "base/scope.h"

struct aws_config;

/*
 * Reads ~/.aws/config and ~/.aws/credentials (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE) for the
 * profile of AWS_PROFILE (or AWS_DEFAULT_PROFILE), which must be in one of them, or "default".
 * Files that are not there are empty.
 */
int aws_config_load(struct aws_config **ret, struct error *err);
void aws_config_free(struct aws_config *config);
SCOPE_DEFINE(aws_config, aws_config_free)

/* The chosen profile's name, and whether the user chose it. Borrowed. */
const char *aws_config_profile(const struct aws_config *config, bool *ret_chosen);

/* True when either file has a section of PROFILE. */
bool aws_config_has_profile(const struct aws_config *config, const char *profile);

/* Both files, for people: "'/home/ci/.aws/credentials' and '/home/ci/.aws/config'". Borrowed. */
const char *aws_config_files(const struct aws_config *config);

/* KEY of the section of PROFILE in either file (credentials first); borrowed; NULL: not there, or
 * empty. */
const char *aws_config_value(const struct aws_config *config, const char *profile, const char *key);

/* A variable of the environment, or NULL when it is not set or empty. */
const char *aws_config_env(const char *name);

/* The variable NAME of the environment, else KEY of the chosen profile (NULL: none), as "true" or
 * "false", whichever way these are written; neither: false. */
int aws_config_flag(const struct aws_config *config, const char *name, const char *key, bool *ret,
                    struct error *err);

/* The user's region: AWS_REGION, AWS_DEFAULT_REGION, the profile's; or NULL. */
const char *aws_config_region(const struct aws_config *config);

/* AWS_CA_BUNDLE, or the profile's ca_bundle, or NULL. */
const char *aws_config_ca(const struct aws_config *config);

/*
 * Where SERVICE ("ebs", "ec2", "sts") is in REGION: AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, the
 * profile's services section and endpoint_url (unless AWS_IGNORE_CONFIGURED_ENDPOINT_URLS), else
 * Amazon's own for the partition, with AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT. A new
 * string, without a slash at its end; an error when the user's is no URL, or REGION no name of a
 * region ([a-z0-9-]: it becomes a part of a host name).
 */
int aws_config_endpoint(const struct aws_config *config, const char *service, const char *region,
                        char **ret, struct error *err);

#endif
