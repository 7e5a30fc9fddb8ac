/* SPDX-License-Identifier: Apache-2.0 */
/* An access key of AWS with its secret: what signs, and must be shown nowhere. */
#ifndef AWS_KEYS_H
#define AWS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"

struct aws_keys {
    char *access_key, *secret_key, *session_token; /* session_token may be NULL */
    int64_t expires;                               /* seconds since 1970; 0: never */
};

/* Overwrites and frees what KEYS has; also the cleaner for SCOPED. */
void aws_keys_done(struct aws_keys *keys);

/* Makes RET, which must be empty, a copy. */
void aws_keys_copy(const struct aws_keys *keys, struct aws_keys *ret);

/* True when both sign alike, whenever they expire. */
bool aws_keys_same(const struct aws_keys *a, const struct aws_keys *b);

/* Fails when one of them cannot be a key, as it is empty or has a blank, a control character or one
 * beyond ASCII: they are pasted by hand, and a server would only say that they do not match. */
int aws_keys_check(const struct aws_keys *keys, struct error *err);

/*
 * Reads keys as credential_process, containers and instances give them: JSON with AccessKeyId,
 * SecretAccessKey, TOKEN_NAME ("SessionToken", "Token") and Expiration, the last two optional. No
 * message has any of the text.
 */
int aws_keys_parse(const char *text, size_t size, const char *token_name, struct aws_keys *ret,
                   struct error *err);

/* Seconds since 1970 of "2026-11-01T00:00:00Z", with any fraction and offset (RFC 3339). */
bool aws_keys_time(const char *text, int64_t *ret);

#endif
