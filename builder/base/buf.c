/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(void)
{
    static const char text[] = "kiln: out of memory\n";

    (void)fwrite(text, 1, sizeof(text) - 1, stderr);
    abort();
}

void *xmalloc(size_t size)
{
    void *memory = malloc(size != 0 ? size : 1);

    if (memory == NULL) {
        out_of_memory();
    }
    return memory;
}

void *xcalloc(size_t count, size_t size)
{
    void *memory = calloc(count != 0 ? count : 1, size != 0 ? size : 1);

    if (memory == NULL) {
        out_of_memory();
    }
    return memory;
}

void *xrealloc(void *memory, size_t size)
{
    memory = realloc(memory, size != 0 ? size : 1);
    if (memory == NULL) {
        out_of_memory();
    }
    return memory;
}

char *xstrdup(const char *string)
{
    return xmemdup(string, strlen(string) + 1);
}

char *xstrndup(const char *string, size_t size)
{
    size_t length = strnlen(string, size);
    char *copy = xmalloc(length + 1);

    memcpy(copy, string, length);
    copy[length] = '\0';
    return copy;
}

void *xmemdup(const void *data, size_t size)
{
    void *copy = xmalloc(size);

    if (size != 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static void add_formatted(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    int length;

    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        out_of_memory();
    }
    (void)vsnprintf(buf_reserve(buf, (size_t)length), (size_t)length + 1, format, args);
    buf->size += (size_t)length;
}

char *xprintf(const char *format, ...)
{
    struct buf buf = {0};
    va_list args;

    va_start(args, format);
    add_formatted(&buf, format, args);
    va_end(args);
    return buf_take(&buf);
}

char *buf_reserve(struct buf *buf, size_t size)
{
    size_t needed;

    if (__builtin_add_overflow(buf->size, size, &needed) ||
        __builtin_add_overflow(needed, 1, &needed)) {
        out_of_memory();
    }
    if (needed > buf->space) {
        buf->space = needed < 64 ? 64 : needed + needed / 2;
        buf->data = xrealloc(buf->data, buf->space);
        buf->data[buf->size] = '\0'; /* whoever reserves may find nothing to add */
    }
    return buf->data + buf->size;
}

void buf_add(struct buf *buf, const void *data, size_t size)
{
    char *end = buf_reserve(buf, size);

    assert(buf->data != NULL);
    if (size != 0) {
        memcpy(end, data, size);
    }
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void buf_puts(struct buf *buf, const char *string)
{
    buf_add(buf, string, strlen(string));
}

void buf_putc(struct buf *buf, char byte)
{
    buf_add(buf, &byte, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_formatted(buf, format, args);
    va_end(args);
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}

void buf_done(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

char *buf_take(struct buf *buf)
{
    char *data;

    buf_add(buf, "", 0);
    data = buf->data;
    *buf = (struct buf){0};
    return data;
}

void grow(void *items, size_t count, size_t *space, size_t item_size)
{
    void *memory;

    if (count < *space) {
        return;
    }
    memcpy(&memory, items, sizeof(memory));
    *space = count < 8 ? 8 : count + count / 2;
    if (*space > SIZE_MAX / item_size) {
        out_of_memory();
    }
    memory = xrealloc(memory, *space * item_size);
    memcpy(items, &memory, sizeof(memory));
}
