/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files ~/.aws/config and ~/.aws/credentials
 * (https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html): sections of "key = value";
 * lines that begin with "#" or ";" are comments, and so is what follows " #" or " ;" in a value. A
 * line that is indented further than the key above it goes on with its value, or, when that was
 * empty, is a "key = value" of its own below it. What is wrong is refused by file and line, and no
 * message has anything of the line in it, which may be a secret.
 */
#ifndef AWS_INI_H
#define AWS_INI_H

#include <stddef.h>

#include "base/fail.h"
#include "base/scope.h"

enum { INI_MAX = 1 << 20 }; /* bytes of a file */

struct ini_entry {
    char *key;   /* lower case; of a nested one "ec2.endpoint_url" */
    char *value; /* may be empty */
    unsigned line;
};

struct ini_section {
    char *name; /* "profile web", with one blank and without quotes */
    struct ini_entry *entries;
    size_t count, space;
};

struct ini {
    struct ini_section *sections; /* each name once */
    size_t count, space;
};

/* Reads SIZE bytes of TEXT; NAME is the file's, for messages. RET is written on success only. */
int ini_parse(const char *name, const char *text, size_t size, struct ini **ret, struct error *err);

/* Overwrites and frees all of it; NULL is fine. */
void ini_free(struct ini *ini);
SCOPE_DEFINE(ini, ini_free)

/* Borrowed, or NULL when it is not there. */
const struct ini_section *ini_section(const struct ini *ini, const char *name);
const char *ini_value(const struct ini *ini, const char *section, const char *key);

#endif
