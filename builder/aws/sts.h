/* SPDX-License-Identifier: Apache-2.0 */
/* The Security Token Service: who keys belong to, and keys of a role
 * (https://docs.aws.amazon.com/STS/latest/APIReference/). */
#ifndef AWS_STS_H
#define AWS_STS_H

#include "aws/aws.h"

struct sts_role {
    const char *arn, *session_name;
    const char *external_id; /* NULL: none */
    const char *duration_s;  /* digits; NULL: an hour */
};

/* STS signs with keys that may assume it. */
int sts_assume_role(const struct aws_service *sts, const struct sts_role *role,
                    struct aws_keys *ret, struct error *err);

/* STS does not sign: TOKEN, of an identity provider that the role trusts, is enough. */
int sts_assume_role_with_web_identity(const struct aws_service *sts, const struct sts_role *role,
                                      const char *token, struct aws_keys *ret, struct error *err);

struct sts_identity {
    char *account; /* "123456789012" */
    char *arn;     /* "arn:aws:iam::123456789012:user/ci" */
};

int sts_get_caller_identity(const struct aws_service *sts, struct sts_identity *ret,
                            struct error *err);

/* Also the cleaner for SCOPED. */
void sts_identity_done(struct sts_identity *identity);

#endif
