/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fail.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(struct error *err, enum fail_kind kind, int os, const char *format, va_list args)
{
    assert(err->kind == FAIL_NONE);
    err->kind = kind;
    err->os = os;
    err->hint[0] = '\0';
    (void)vsnprintf(err->message, sizeof(err->message), format, args);
}

int fail(struct error *err, enum fail_kind kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fill(err, kind, 0, format, args);
    va_end(args);
    return -1;
}

int fail_os(struct error *err, const char *format, ...)
{
    int os = errno;
    va_list args;
    size_t used;

    va_start(args, format);
    fill(err, FAIL_ERROR, os, format, args);
    va_end(args);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s", strerror(os));
    return -1;
}

int fail_while(struct error *err, const char *format, ...)
{
    char context[1024];
    size_t length, kept;
    va_list args;

    assert(err->kind != FAIL_NONE);
    va_start(args, format);
    (void)vsnprintf(context, sizeof(context) - 2, format, args);
    va_end(args);
    strcat(context, ": "); /* two bytes were left for it */

    length = strlen(context);
    kept = strlen(err->message);
    if (kept > sizeof(err->message) - 1 - length) {
        kept = sizeof(err->message) - 1 - length;
    }
    memmove(err->message + length, err->message, kept);
    memcpy(err->message, context, length);
    err->message[length + kept] = '\0';
    return -1;
}

int fail_hint(struct error *err, const char *format, ...)
{
    va_list args;

    assert(err->kind != FAIL_NONE);
    if (err->hint[0] == '\0') {
        va_start(args, format);
        (void)vsnprintf(err->hint, sizeof(err->hint), format, args);
        va_end(args);
    }
    return -1;
}

void fail_clear(struct error *err)
{
    err->kind = FAIL_NONE;
    err->os = 0;
    err->message[0] = '\0';
    err->hint[0] = '\0';
}
