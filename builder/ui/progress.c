/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/text.h"

/* A rate of the first moments says nothing. */
enum { RATE_AFTER_MS = 500 };

static size_t character_size(const char *text, size_t size)
{
    size_t length = 1;

    while (length < size && ((unsigned char)text[length] & 0xc0) == 0x80) {
        length++;
    }
    return length;
}

/*
 * Which characters take two columns depends on the terminal's tables, so every one from U+1100 (the
 * first that Unicode calls wide; three or four bytes of UTF-8) on is taken for two: a line that is
 * too short does no harm, one that wraps cannot be erased.
 */
static unsigned character_columns(const char *text)
{
    unsigned first = (unsigned char)text[0], second = (unsigned char)text[1];

    return first > 0xe1 || (first == 0xe1 && second >= 0x84) ? 2 : 1;
}

size_t progress_fit(const char *text, size_t size, unsigned width, unsigned *ret_columns)
{
    size_t at = 0;
    unsigned columns = 0;

    while (at < size) {
        unsigned more = character_columns(text + at);

        if (more > width - columns) {
            break;
        }
        columns += more;
        at += character_size(text + at, size - at);
    }
    *ret_columns = columns;
    return at;
}

static uint64_t rate(const struct progress *p)
{
    return (uint64_t)((double)p->done_bytes * 1000 / (double)(p->elapsed_ms + 1));
}

/* "0:05", "12:40", "1:02:03" */
static void add_clock(struct buf *buf, uint64_t seconds)
{
    unsigned long long hours = seconds / 3600, minutes = seconds / 60 % 60, rest = seconds % 60;

    if (hours != 0) {
        buf_printf(buf, "%llu:%02llu:%02llu", hours, minutes, rest);
    } else {
        buf_printf(buf, "%llu:%02llu", minutes, rest);
    }
}

static void add_left(struct buf *buf, const struct progress *p)
{
    double left = (double)(p->total_bytes - p->done_bytes) * (double)p->elapsed_ms /
                  (double)p->done_bytes / 1000;

    /* Beyond a few days it is no estimate. */
    if (left < 360000) {
        buf_puts(buf, "  ");
        add_clock(buf, (uint64_t)(left + 0.5));
        buf_puts(buf, " left");
    }
}

/* The numbers of a running phase, each with two spaces before it. */
static void add_numbers(struct buf *buf, const struct progress *p)
{
    bool fast = p->elapsed_ms >= RATE_AFTER_MS && p->done_bytes != 0;
    char text[TEXT_SIZE_MAX];

    if (p->done_bytes == 0 && p->total_bytes == 0) {
        buf_puts(buf, "  ");
        add_clock(buf, p->elapsed_ms / 1000);
        return;
    }
    buf_printf(buf, "  %s", text_size(p->done_bytes, text));
    if (p->total_bytes != 0) {
        double percent = (double)p->done_bytes / (double)p->total_bytes * 100;

        buf_printf(buf, " of %s (%.0f%%)", text_size(p->total_bytes, text),
                   percent > 100 ? 100.0 : percent);
    }
    if (fast) {
        buf_printf(buf, "  %s/s", text_size(rate(p), text));
        if (p->total_bytes > p->done_bytes) {
            add_left(buf, p);
        }
    }
}

/* Appends TEXT cut to WIDTH columns, the cut shown by dots. Returns the columns used. */
static unsigned add_cut(struct buf *buf, const char *text, size_t size, unsigned width)
{
    static const char dots[] = "...";
    unsigned columns;

    if (progress_fit(text, size, width, &columns) == size) {
        buf_add(buf, text, size);
        return columns;
    }
    if (width <= sizeof(dots) - 1) {
        return 0;
    }
    buf_add(buf, text, progress_fit(text, size, width - (unsigned)(sizeof(dots) - 1), &columns));
    buf_puts(buf, dots);
    return columns + (unsigned)(sizeof(dots) - 1);
}

void progress_line(struct buf *buf, const struct progress *progress, unsigned width)
{
    SCOPED(buf_done) struct buf head = {0}, item = {0}, numbers = {0};
    unsigned left = width != 0 ? width : UINT32_MAX, numbers_columns;

    text_escape(&head, progress->phase, strlen(progress->phase), false);
    add_numbers(&numbers, progress);
    (void)progress_fit(numbers.data, numbers.size, UINT32_MAX, &numbers_columns);

    left -= add_cut(buf, head.data, head.size, left);
    if (progress->item != NULL && left > numbers_columns + 2) {
        buf_puts(&item, ": ");
        text_escape(&item, progress->item, strlen(progress->item), false);
        left -= add_cut(buf, item.data, item.size, left - numbers_columns);
    }
    (void)add_cut(buf, numbers.data, numbers.size, left);
}

void progress_done(struct buf *buf, const struct progress *progress)
{
    char text[TEXT_SIZE_MAX];

    text_escape(buf, progress->phase, strlen(progress->phase), false);
    buf_puts(buf, ": ");
    if (progress->done_bytes != 0) {
        buf_printf(buf, "%s in ", text_size(progress->done_bytes, text));
    }
    buf_printf(buf, "%.1f s", (double)progress->elapsed_ms / 1000);
    if (progress->done_bytes != 0 && progress->elapsed_ms >= RATE_AFTER_MS) {
        buf_printf(buf, ", %s/s", text_size(rate(progress), text));
    }
}
