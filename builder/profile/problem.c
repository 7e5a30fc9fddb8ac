/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void problems_done(struct problems *problems)
{
    for (size_t i = 0; i < problems->kept; i++) {
        free(problems->items[i].message);
    }
    free(problems->items);
    *problems = (struct problems){0};
}

bool problems_full(const struct problems *problems)
{
    return problems->kept >= PROBLEMS_KEPT;
}

void problem_add(struct problems *problems, struct mark mark, const char *format, ...)
{
    char text[2048];
    struct buf line = {0};
    va_list args;

    problems->count++;
    if (problems_full(problems)) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    text_escape(&line, text, strlen(text), false);

    grow(&problems->items, problems->kept, &problems->space, sizeof(struct problem));
    problems->items[problems->kept] =
        (struct problem){.mark = mark, .number = problems->kept, .message = buf_take(&line)};
    problems->kept++;
}

/* The file itself first, then the others by name. */
static int compare_files(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a == b ? 0 : a == NULL ? -1 : 1;
    }
    return strcmp(a, b);
}

static int compare(const void *a, const void *b)
{
    const struct problem *x = a, *y = b;
    int order = compare_files(x->mark.file, y->mark.file);

    if (order != 0) {
        return order;
    }
    if (x->mark.line != y->mark.line) {
        return x->mark.line < y->mark.line ? -1 : 1;
    }
    if (x->mark.column != y->mark.column) {
        return x->mark.column < y->mark.column ? -1 : 1;
    }
    return x->number < y->number ? -1 : 1;
}

static const char *file_of(const struct problems *problems, struct mark mark)
{
    return mark.file != NULL ? mark.file : problems->path;
}

int problems_fail(struct problems *problems, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0}, line = {0};
    const size_t room = sizeof(err->message) - 64; /* for the line that counts the others */
    size_t shown = 0;

    if (problems->count == 0) {
        return 0;
    }
    qsort(problems->items, problems->kept, sizeof(struct problem), compare);
    for (; shown < problems->kept && shown < PROBLEMS_SHOWN; shown++) {
        const struct problem *problem = &problems->items[shown];
        const char *file = file_of(problems, problem->mark);

        buf_clear(&line);
        buf_puts(&line, shown == 0 ? "" : "\n");
        text_escape(&line, file, strlen(file), false);
        if (problem->mark.line != 0) { /* else about a default, which is nowhere in the file */
            buf_printf(&line, ":%u:%u", problem->mark.line, problem->mark.column);
        }
        buf_printf(&line, ": %s", problem->message);
        if (shown != 0 && text.size + line.size > room) {
            break;
        }
        buf_add(&text, line.data, line.size);
    }
    if (shown < problems->count) {
        buf_printf(&text, "\n%zu more problem%s", problems->count - shown,
                   problems->count - shown == 1 ? "" : "s");
    }
    return fail_lines(err, FAIL_USAGE, text.data);
}

const char *place(char out[PLACE_MAX], const struct problems *problems, struct mark mark)
{
    const char *path = file_of(problems, mark);
    size_t size = strlen(path);

    /* The end of a long path tells files apart better than its beginning. */
    if (size > PLACE_MAX - 32) {
        path += size - (PLACE_MAX - 32);
    }
    (void)snprintf(out, PLACE_MAX, "%s:%u:%u", path, mark.line, mark.column);
    return out;
}

const char *quote(char out[QUOTE_MAX], const char *text, size_t size)
{
    static const char more[] = "…";
    const size_t room = QUOTE_MAX - sizeof("''") - sizeof(more);
    SCOPED(buf_done) struct buf safe = {0};
    bool cut;

    /* Escaping never shortens: no need to look at more than fits. */
    text_escape(&safe, text, size < QUOTE_MAX ? size : QUOTE_MAX, false);
    cut = safe.size > room || size > QUOTE_MAX;
    if (safe.size > room) {
        safe.size = room;
        while (safe.size > 0 && ((unsigned char)safe.data[safe.size] & 0xc0) == 0x80) {
            safe.size--;
        }
    }
    (void)snprintf(out, QUOTE_MAX, "'%.*s%s'", (int)safe.size, safe.size != 0 ? safe.data : "",
                   cut ? more : "");
    return out;
}
