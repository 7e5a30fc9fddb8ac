/* SPDX-License-Identifier: Apache-2.0 */
/* What is made in an account: its id, and the tags on it. */
#ifndef AWS_RESOURCE_H
#define AWS_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>

enum { AWS_ID_MAX = 65 }; /* with its NUL */

struct aws_tag {
    const char *key, *value; /* borrowed */
};

struct aws_tags {
    const struct aws_tag *items; /* borrowed */
    size_t count;
};

/* True when TEXT is an id of KIND ("snap", "ami"): KIND, a hyphen, hex digits, not too long. */
bool aws_is_id(const char *text, const char *kind);

/* Copies what aws_is_id has found to be one. */
void aws_copy_id(char ret[AWS_ID_MAX], const char *id);

#endif
