/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/resource.h"

#include <stdio.h>
#include <string.h>

bool aws_is_id(const char *text, const char *kind)
{
    size_t size = strlen(kind);

    if (strncmp(text, kind, size) != 0 || text[size] != '-') {
        return false;
    }
    size_t digits = strspn(text + size + 1, "0123456789abcdef");

    return digits > 0 && text[size + 1 + digits] == '\0' && size + 1 + digits < AWS_ID_MAX;
}

void aws_copy_id(char ret[AWS_ID_MAX], const char *id)
{
    (void)snprintf(ret, AWS_ID_MAX, "%s", id);
}
