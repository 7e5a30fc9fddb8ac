/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/ui.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "ui/progress.h"

/* How often what may appear, milliseconds. */
enum { REDRAW_MS = 100, TICK_MS = 500, EVENT_MS = 500, PLAIN_LINE_MS = 10000 };

struct ui {
    struct ui_options options;
    bool terminal; /* stderr can redraw a line */
    bool color;
    pthread_mutex_t lock; /* all that follows */

    char *phase; /* NULL: none is on */
    char *item;
    uint64_t done_bytes, total_bytes;
    uint64_t start_ms, drawn_ms, event_ms;
    bool drawn; /* the terminal's last line is ours */

    bool stdout_used;
    int stdout_errno; /* of the first write that failed; nothing is written after it */

    bool ticking, ending;
    pthread_t ticker;
    pthread_cond_t wake; /* ENDING was set */
};

/* Writes all of it, waiting where somebody made the terminal non-blocking; 0 or errno. */
static int put(int fd, const char *data, size_t size)
{
    while (size != 0) {
        ssize_t written = write(fd, data, size);

        if (written >= 0) {
            data += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};

            (void)poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

/* The one place where foreign bytes become text. */
static void escape(struct buf *buf, const char *text, bool keep_newlines)
{
    text_escape(buf, text, strlen(text), keep_newlines);
}

static char *formatted(const char *format, va_list args)
{
    char *text;

    if (vasprintf(&text, format, args) < 0) {
        return xstrdup(format);
    }
    return text;
}

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && value[0] != '\0';
}

static bool is_dumb(void)
{
    const char *term = getenv("TERM");

    return term == NULL || strcmp(term, "dumb") == 0;
}

/* Columns that may be used: one less than there are, for a full line wraps on some terminals. */
static unsigned line_width(void)
{
    struct winsize size = {0};
    const char *columns = getenv("COLUMNS");
    unsigned long width = 0;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) {
        width = size.ws_col;
    } else if (columns != NULL) {
        width = strtoul(columns, NULL, 10);
    }
    return width > 1 && width <= 4096 ? (unsigned)width - 1 : 79;
}

/* ---- stderr; the lock is held ---- */

static void erase(struct ui *ui)
{
    static const char sequence[] = "\r\033[K";

    if (ui->drawn) {
        (void)put(STDERR_FILENO, sequence, sizeof(sequence) - 1);
        ui->drawn = false;
    }
}

/* Nothing can be said about a stderr that fails: its errors are not looked at. */
static void put_line(struct ui *ui, struct buf *line)
{
    erase(ui);
    buf_putc(line, '\n');
    (void)put(STDERR_FILENO, line->data, line->size);
}

static struct progress standing(const struct ui *ui, uint64_t now)
{
    return (struct progress){.phase = ui->phase,
                             .item = ui->item,
                             .done_bytes = ui->done_bytes,
                             .total_bytes = ui->total_bytes,
                             .elapsed_ms = now - ui->start_ms};
}

static void draw(struct ui *ui, uint64_t now)
{
    SCOPED(buf_done) struct buf line = {0};
    struct progress progress = standing(ui, now);

    ui->drawn_ms = now;
    if (!ui->terminal) {
        progress_line(&line, &progress, 0);
        put_line(ui, &line);
        return;
    }
    buf_puts(&line, "\r");
    progress_line(&line, &progress, line_width());
    buf_puts(&line, "\033[K");
    (void)put(STDERR_FILENO, line.data, line.size);
    ui->drawn = true;
}

/* ---- stdout; the lock is held ---- */

static void put_result(struct ui *ui, const char *data, size_t size)
{
    if (ui->stdout_errno == 0) {
        erase(ui);
        ui->stdout_used = true;
        ui->stdout_errno = put(STDOUT_FILENO, data, size);
    }
}

/* ASCII only: what JSON leaves alone, a terminal might still obey. */
static void put_json(struct ui *ui, json_t *object)
{
    SCOPED_FREE char *text = NULL;
    SCOPED(buf_done) struct buf line = {0};

    assert(object != NULL); /* json_pack took its format or a string amiss */
    text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(object);
    assert(text != NULL);
    buf_printf(&line, "%s\n", text);
    put_result(ui, line.data, line.size);
}

static json_t *escaped_lines(const char *text, bool keep_newlines)
{
    SCOPED(buf_done) struct buf buf = {0};

    escape(&buf, text, keep_newlines);
    return json_string(buf.size != 0 ? buf.data : "");
}

static json_t *escaped_string(const char *text)
{
    return escaped_lines(text, false);
}

static bool sends_events(const struct ui *ui)
{
    return ui->options.json && !ui->options.quiet;
}

static void progress_event(struct ui *ui, uint64_t now)
{
    json_t *event =
        json_pack("{ss so sI sI}", "event", "progress", "phase", escaped_string(ui->phase), "done",
                  (json_int_t)ui->done_bytes, "total", (json_int_t)ui->total_bytes);

    if (ui->item != NULL) {
        (void)json_object_set_new(event, "item", escaped_string(ui->item));
    }
    ui->event_ms = now;
    put_json(ui, event);
}

/* ---- phases; the lock is held ---- */

static void forget_phase(struct ui *ui)
{
    erase(ui);
    free(TAKE(ui->phase));
    free(TAKE(ui->item));
}

static void finish_phase(struct ui *ui)
{
    SCOPED(buf_done) struct buf line = {0};
    struct progress progress;

    if (ui->phase == NULL) {
        return;
    }
    progress = standing(ui, monotonic_ms());
    if (sends_events(ui)) {
        put_json(ui,
                 json_pack("{ss so sf sI}", "event", "phase-done", "name",
                           escaped_string(ui->phase), "seconds", (double)progress.elapsed_ms / 1000,
                           "bytes", (json_int_t)ui->done_bytes));
    }
    if (!ui->options.quiet) {
        progress_done(&line, &progress);
        put_line(ui, &line);
    }
    forget_phase(ui);
}

/* Draws again where it is time to. */
static void refresh(struct ui *ui, uint64_t pause_ms)
{
    uint64_t now = monotonic_ms();

    pause_ms = ui->terminal ? pause_ms : PLAIN_LINE_MS;
    if (!ui->options.quiet && now - ui->drawn_ms >= pause_ms) {
        draw(ui, now);
    }
}

/* Keeps the line alive through calls that report nothing for long. */
static void *tick(void *data)
{
    struct ui *ui = data;

    pthread_mutex_lock(&ui->lock);
    while (!ui->ending) {
        struct timespec until;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&ui->wake, &ui->lock, &until);
        if (!ui->ending && ui->phase != NULL) {
            refresh(ui, TICK_MS);
        }
    }
    pthread_mutex_unlock(&ui->lock);
    return NULL;
}

/* No signal is the ticker's: kiln takes them in a thread of its own. */
static void start_ticker(struct ui *ui)
{
    sigset_t all, before;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    ui->ticking = pthread_create(&ui->ticker, NULL, tick, ui) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- interface ---- */

struct ui *ui_new(const struct ui_options *options)
{
    struct ui *ui = xcalloc(1, sizeof(*ui));
    pthread_condattr_t attributes;
    bool tty = isatty(STDERR_FILENO) == 1;

    ui->options = *options;
    ui->terminal = tty && !is_dumb();
    ui->color = options->color == COLOR_ALWAYS ||
                (options->color == COLOR_AUTO && ui->terminal && !is_set("NO_COLOR"));
    pthread_mutex_init(&ui->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&ui->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return ui;
}

void ui_free(struct ui *ui)
{
    if (ui == NULL) {
        return;
    }
    pthread_mutex_lock(&ui->lock);
    ui->ending = true;
    forget_phase(ui);
    pthread_cond_signal(&ui->wake);
    pthread_mutex_unlock(&ui->lock);
    if (ui->ticking) {
        pthread_join(ui->ticker, NULL);
    }
    pthread_cond_destroy(&ui->wake);
    pthread_mutex_destroy(&ui->lock);
    free(ui);
}

bool ui_is_json(const struct ui *ui)
{
    return ui->options.json;
}

static void say(struct ui *ui, const char *event, const char *text)
{
    SCOPED(buf_done) struct buf line = {0};

    if (ui->options.quiet) {
        return;
    }
    pthread_mutex_lock(&ui->lock);
    if (sends_events(ui)) {
        put_json(ui, json_pack("{ss so}", "event", event, "text", escaped_string(text)));
    }
    escape(&line, text, false);
    put_line(ui, &line);
    pthread_mutex_unlock(&ui->lock);
}

void ui_note(struct ui *ui, const char *format, ...)
{
    SCOPED_FREE char *text = NULL;
    va_list args;

    va_start(args, format);
    text = formatted(format, args);
    va_end(args);
    say(ui, "note", text);
}

void ui_detail(struct ui *ui, const char *format, ...)
{
    SCOPED_FREE char *text = NULL;
    va_list args;

    if (!ui->options.verbose) {
        return;
    }
    va_start(args, format);
    text = formatted(format, args);
    va_end(args);
    say(ui, "detail", text);
}

void ui_phase(struct ui *ui, const char *name, uint64_t total_bytes)
{
    pthread_mutex_lock(&ui->lock);
    finish_phase(ui);
    ui->phase = xstrdup(name);
    ui->done_bytes = 0;
    ui->total_bytes = total_bytes;
    ui->start_ms = monotonic_ms();
    ui->drawn_ms = ui->start_ms;
    ui->event_ms = ui->start_ms;
    if (sends_events(ui)) {
        put_json(ui, json_pack("{ss so sI}", "event", "phase", "name", escaped_string(name),
                               "total", (json_int_t)total_bytes));
    }
    if (!ui->options.quiet) {
        if (ui->terminal) {
            draw(ui, ui->start_ms);
        }
        if (!ui->ticking) {
            start_ticker(ui);
        }
    }
    pthread_mutex_unlock(&ui->lock);
}

void ui_progress(struct ui *ui, const char *item, uint64_t done_bytes)
{
    pthread_mutex_lock(&ui->lock);
    if (ui->phase != NULL) {
        uint64_t now = monotonic_ms();

        ui->done_bytes = done_bytes;
        if (item == NULL || ui->item == NULL || strcmp(item, ui->item) != 0) {
            free(TAKE(ui->item));
            ui->item = item != NULL ? xstrdup(item) : NULL;
        }
        if (sends_events(ui) && now - ui->event_ms >= EVENT_MS) {
            progress_event(ui, now);
        }
        refresh(ui, REDRAW_MS);
    }
    pthread_mutex_unlock(&ui->lock);
}

void ui_total(struct ui *ui, uint64_t total_bytes)
{
    pthread_mutex_lock(&ui->lock);
    ui->total_bytes = total_bytes;
    pthread_mutex_unlock(&ui->lock);
}

void ui_phase_end(struct ui *ui)
{
    pthread_mutex_lock(&ui->lock);
    finish_phase(ui);
    pthread_mutex_unlock(&ui->lock);
}

void ui_print(struct ui *ui, const char *format, ...)
{
    SCOPED(buf_done) struct buf buf = {0};
    SCOPED_FREE char *text = NULL;
    size_t size;
    va_list args;

    assert(text_ends(format, "\n"));
    if (ui->options.json) {
        return;
    }
    va_start(args, format);
    text = formatted(format, args);
    va_end(args);
    size = strlen(text);
    text_escape(&buf, text, size - 1, false);
    buf_putc(&buf, '\n');
    pthread_mutex_lock(&ui->lock);
    put_result(ui, buf.data, buf.size);
    pthread_mutex_unlock(&ui->lock);
}

void ui_text(struct ui *ui, const char *text)
{
    SCOPED(buf_done) struct buf buf = {0};

    if (ui->options.json) {
        return;
    }
    buf_puts(&buf, "");
    escape(&buf, text, true);
    pthread_mutex_lock(&ui->lock);
    put_result(ui, buf.data, buf.size);
    pthread_mutex_unlock(&ui->lock);
}

void ui_json(struct ui *ui, json_t *object)
{
    if (!ui->options.json) {
        json_decref(object);
        return;
    }
    pthread_mutex_lock(&ui->lock);
    put_json(ui, object);
    pthread_mutex_unlock(&ui->lock);
}

static const char *kind_name(enum fail_kind kind)
{
    switch (kind) {
    case FAIL_NONE:
        return "none";
    case FAIL_ERROR:
        return "error";
    case FAIL_USAGE:
        return "usage";
    case FAIL_MISSING:
        return "missing";
    case FAIL_MISMATCH:
        return "mismatch";
    case FAIL_REMOTE:
        return "remote";
    case FAIL_STOPPED:
        return "stopped";
    }
    return "error";
}

static void add_message(struct ui *ui, struct buf *buf, const char *label, const char *paint,
                        const char *text, bool keep_newlines)
{
    buf_printf(buf, "%s%s%s ", ui->color ? paint : "", label, ui->color ? "\033[0m" : "");
    escape(buf, text, keep_newlines);
}

/* Takes EVENT, which gets what is to be said of ERR; the lock is held. */
static void put_error_event(struct ui *ui, json_t *event, const struct error *err)
{
    if (!ui->options.json) {
        json_decref(event);
        return;
    }
    (void)json_object_set_new(event, "kind", json_string(kind_name(err->kind)));
    (void)json_object_set_new(event, "status", json_integer(err->kind));
    (void)json_object_set_new(event, "message", escaped_lines(err->message, err->lines));
    if (err->hint[0] != '\0') {
        (void)json_object_set_new(event, "hint", escaped_string(err->hint));
    }
    put_json(ui, event);
}

static void put_error(struct ui *ui, const struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    add_message(ui, &text, "kiln:", "\033[1;31m", err->message, err->lines);
    if (err->hint[0] != '\0') {
        buf_putc(&text, '\n');
        add_message(ui, &text, "  hint:", "\033[36m", err->hint, false);
    }
    put_line(ui, &text);
}

void ui_error(struct ui *ui, const struct error *err)
{
    pthread_mutex_lock(&ui->lock);
    forget_phase(ui);
    put_error_event(ui, json_pack("{ss}", "event", "error"), err);
    put_error(ui, err);
    pthread_mutex_unlock(&ui->lock);
}

void ui_failure(struct ui *ui, json_t *event, const struct error *err, bool ends)
{
    pthread_mutex_lock(&ui->lock);
    put_error_event(ui, event, err);
    if (!ends) {
        put_error(ui, err);
    }
    pthread_mutex_unlock(&ui->lock);
}

/* A network file system may say only at close that there was no room. */
static int close_copy(int fd)
{
    int copy = dup(fd);

    return copy >= 0 && close(copy) == 0 ? 0 : errno;
}

int ui_finish(struct ui *ui, struct error *err)
{
    int os;

    pthread_mutex_lock(&ui->lock);
    forget_phase(ui);
    if (ui->stdout_used && ui->stdout_errno == 0) {
        ui->stdout_errno = close_copy(STDOUT_FILENO);
    }
    os = ui->stdout_errno;
    pthread_mutex_unlock(&ui->lock);
    if (os == 0) {
        return 0;
    }
    if (err != NULL) {
        errno = os;
        return fail_os(err, "write to standard output");
    }
    return -1;
}

json_t *ui_string(const char *text)
{
    SCOPED(buf_done) struct buf buf = {0};

    if (text_is_utf8(text, strlen(text))) {
        return json_string(text);
    }
    escape(&buf, text, false);
    return json_string(buf.data);
}
