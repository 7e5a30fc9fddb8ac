/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signature of a request to AWS, version 4
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html). Pure: time and
 * keys are given.
 */
#ifndef AWS_SIGN_H
#define AWS_SIGN_H

#include <stdint.h>

struct aws_keys;     /* aws/keys.h */
struct http_headers; /* http/http.h */

struct aws_signing {
    const char *method;
    const char *url;            /* complete and encoded; its query in any order */
    const char *const *headers; /* further ones that are sent; all get signed; NULL: none */
    const uint8_t *sha256;      /* of the body */
    const char *service, *region;
    int64_t time; /* seconds since 1970 */
    const struct aws_keys *keys;
};

/*
 * Adds to RET, which must be empty: Host, X-Amz-Date, X-Amz-Content-SHA256, X-Amz-Security-Token
 * when the keys have one, Authorization. The path is signed as all services but S3 want it: without
 * empty and dot segments, and what is encoded in it is encoded once more (S3 wants it as it is).
 */
void aws_sign(const struct aws_signing *signing, struct http_headers *ret);

#endif
