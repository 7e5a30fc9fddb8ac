/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose keys a call is signed with, found where the SDKs find them and in their order: environment,
 * shared files and profiles (static keys, assume-role chains, web identity, credential_process),
 * containers, the instance's metadata service (IMDSv2). Keys that expire are renewed in time.
 */
#ifndef AWS_CREDENTIALS_H
#define AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/config.h"
#include "base/fail.h"
#include "base/scope.h"
#include "http/http.h"

struct aws_keys {
    char *access_key, *secret_key, *session_token; /* session_token may be NULL */
    int64_t expires;                               /* seconds since 1970; 0: never */
};

/* Overwrites and frees what KEYS has; also the cleaner for SCOPED. */
void aws_keys_done(struct aws_keys *keys);

struct aws_credentials;

/*
 * Finds keys and gets them once. HTTP and CONFIG are borrowed for its life. What was looked for and
 * where is in the error when there are none.
 */
int aws_credentials_find(const struct aws_config *config, struct http *http,
                         struct aws_credentials **ret, struct error *err);
void aws_credentials_free(struct aws_credentials *credentials);
SCOPE_DEFINE(aws_credentials, aws_credentials_free)

/* Where they came from, for people: "the environment", "profile 'ci' of ~/.aws/config (role …)". */
const char *aws_credentials_source(const struct aws_credentials *credentials);

/* The keys of now, as copies, renewed five minutes before they expire; RENEW: at once. Any thread.
 */
int aws_credentials_get(struct aws_credentials *credentials, bool renew, struct aws_keys *ret,
                        struct error *err);

#endif
