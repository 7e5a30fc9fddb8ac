/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fail.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/text.h"

static void fill(struct error *err, enum fail_kind kind, int os, const char *format, va_list args)
{
    assert(err->kind == FAIL_NONE);
    err->kind = kind;
    err->os = os;
    err->lines = false;
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

int fail_lines(struct error *err, enum fail_kind kind, const char *text)
{
    (void)fail(err, kind, "%s", text);
    err->lines = true;
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
    SCOPED(buf_done) struct buf safe = {0};
    char context[1024];
    size_t length, kept;
    va_list args;

    assert(err->kind != FAIL_NONE);
    va_start(args, format);
    (void)vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    if (err->lines) { /* its newlines are kiln's: a foreign one must not come among them */
        text_escape(&safe, context, strlen(context), false);
    } else {
        buf_puts(&safe, context);
    }
    buf_puts(&safe, ": ");
    length = safe.size;
    kept = strlen(err->message);
    if (kept > sizeof(err->message) - 1 - length) {
        kept = sizeof(err->message) - 1 - length;
    }
    memmove(err->message + length, err->message, kept);
    memcpy(err->message, safe.data, length);
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

int fail_status(const struct error *err)
{
    return err->kind != FAIL_NONE ? (int)err->kind : FAIL_ERROR;
}

void fail_clear(struct error *err)
{
    err->lines = false;
    err->kind = FAIL_NONE;
    err->os = 0;
    err->message[0] = '\0';
    err->hint[0] = '\0';
}
