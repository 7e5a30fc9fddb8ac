/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing bytes, and allocation that cannot fail: kiln is a batch program, so running out of
 * memory aborts here and nowhere else.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

/* DATA is always NUL-terminated once anything was added; SIZE does not count the NUL. */
struct buf {
    char *data;
    size_t size;
    size_t space;
};

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *memory, size_t size);
char *xstrdup(const char *string);
char *xstrndup(const char *string, size_t size);
void *xmemdup(const void *data, size_t size);
char *xprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

void buf_add(struct buf *buf, const void *data, size_t size);
void buf_puts(struct buf *buf, const char *string);
void buf_putc(struct buf *buf, char byte);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for SIZE more bytes and returns where they go; the caller adds to buf->size. */
char *buf_reserve(struct buf *buf, size_t size);

/* Empties BUF and keeps its memory. */
void buf_clear(struct buf *buf);

/* Releases BUF's memory; also the cleaner for SCOPED(buf_done). */
void buf_done(struct buf *buf);

/* Hands the string over (never NULL) and leaves BUF empty. */
char *buf_take(struct buf *buf);

/* Grows the array *ITEMS of *SPACE items of ITEM_SIZE bytes so that item COUNT exists. */
void grow(void *items, size_t count, size_t *space, size_t item_size);

#endif
