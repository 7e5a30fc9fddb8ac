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
#include "aws/keys.h"
#include "base/fail.h"
#include "base/scope.h"
#include "http/http.h"

struct aws_credentials;

/*
 * Finds keys and gets them once; roles are assumed in REGION, that of the target. HTTP and CONFIG
 * are borrowed for its life. What was looked for and where is in the error when there are none.
 */
int aws_credentials_find(const struct aws_config *config, struct http *http, const char *region,
                         struct aws_credentials **ret, struct error *err);

/* Credentials that are always KEYS, a copy of them. */
struct aws_credentials *aws_credentials_fixed(const struct aws_keys *keys);

void aws_credentials_free(struct aws_credentials *credentials);
SCOPE_DEFINE(aws_credentials, aws_credentials_free)

/* Where they came from, for people: "the environment", "profile 'ci' (role arn:…)". */
const char *aws_credentials_source(const struct aws_credentials *credentials);

/*
 * The keys of now, as copies, renewed five minutes before they expire. REFUSED, which may be NULL:
 * keys that a server did not take any more; if they are still the ones of now, these are renewed at
 * once. Any thread: one renews, the others wait for it.
 */
int aws_credentials_get(struct aws_credentials *credentials, const struct aws_keys *refused,
                        struct aws_keys *ret, struct error *err);

/* Seconds since 1970 by the clock of AWS, and how far (in seconds) that is ahead of ours: 0 until a
 * reply shows that our clock is wrong, which then is known for all calls. Any thread. */
int64_t aws_credentials_now(const struct aws_credentials *credentials);
void aws_credentials_set_ahead(struct aws_credentials *credentials, int64_t seconds);

#endif
