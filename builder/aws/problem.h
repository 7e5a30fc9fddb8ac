/* SPDX-License-Identifier: Apache-2.0 */
/* What a reply of AWS says went wrong, and whether the same call may succeed later. Pure. */
#ifndef AWS_PROBLEM_H
#define AWS_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/aws.h"

/*
 * Reads code, message and request id of a reply whose status is not 2xx, out of its headers and its
 * JSON or XML. SECRET is a token of the request, or NULL: a message that repeats it, or the request
 * as the server would have signed it, has that left out.
 */
void problem_read(const struct http_reply *reply, const char *secret, struct aws_error *ret);

/* RETRY_CODES: what may pass in this call beside those that always may; NULL: none. */
enum http_verdict problem_verdict(unsigned status, const char *code,
                                  const char *const *retry_codes);

/*
 * True when EBS gave up waiting for a block: the line is slow, or too much is on it at once. It
 * answers that with 400 and codes that it has for requests that are wrong, too.
 */
bool problem_is_slow_line(const struct aws_error *problem);

/* By how many seconds the server's clock is ahead of NOW, which the request was signed with, when
 * CODE may come from that and it is more than five minutes; else 0. */
int64_t problem_skew(const struct http_reply *reply, const char *code, int64_t now);

#endif
