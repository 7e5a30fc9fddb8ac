/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/outcome.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(struct outcome *outcome, const char *format, va_list args)
{
    (void)vsnprintf(outcome->line, sizeof(outcome->line), format, args);
    for (char *c = outcome->line; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
}

void outcome_set(struct outcome *outcome, const char *format, ...)
{
    va_list args;

    if (!outcome->failed) {
        va_start(args, format);
        put(outcome, format, args);
        va_end(args);
    }
}

static void fail(struct outcome *outcome, const char *os, const char *format, va_list args)
{
    char text[512];

    if (!outcome->failed) {
        (void)vsnprintf(text, sizeof(text), format, args);
        outcome_set(outcome, "failed %s%s%s", text, os != NULL ? ": " : "", os != NULL ? os : "");
        outcome->failed = true;
    }
}

int outcome_fail(struct outcome *outcome, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(outcome, NULL, format, args);
    va_end(args);
    return -1;
}

int outcome_fail_os(struct outcome *outcome, const char *format, ...)
{
    const char *os = strerror(errno);
    va_list args;

    va_start(args, format);
    fail(outcome, os, format, args);
    va_end(args);
    return -1;
}
