/* SPDX-License-Identifier: Apache-2.0 */
#include "step/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

enum { TAIL_BYTES = 4096, TAIL_LINES = 20, TAB_COLUMNS = 8 };

struct output {
    struct ui *ui;
    pthread_t thread;
    bool running;
    int fifo;
    int wake; /* eventfd: somebody waits for the thread */

    pthread_mutex_t lock; /* over all below */
    pthread_cond_t changed;
    bool closing, drain; /* asked for */
    char *name;
    int log; /* -1 between steps */
    uint64_t logged, lost;
    struct buf tail, line; /* escaped; not yet */
    bool returned;         /* a carriage return came last */
    struct error error;    /* of writing the log */
};

/* --- the thread -------------------------------------------------------------------------- */

static void keep_log(struct output *output, const char *data, size_t size)
{
    size_t room = OUTPUT_LOG_MAX - output->logged;
    size_t part = size < room ? size : room;

    if (output->error.kind == FAIL_NONE &&
        file_write_all(output->log, data, part, "the step's log", &output->error) == 0) {
        output->logged += part;
    }
    output->lost += size - part;
}

static void keep_tail(struct output *output, const char *data, size_t size)
{
    struct buf *tail = &output->tail;

    buf_add(tail, data, size);
    if (tail->size > 2 * (size_t)TAIL_BYTES) {
        memmove(tail->data, tail->data + tail->size - TAIL_BYTES, TAIL_BYTES + 1);
        tail->size = TAIL_BYTES;
    }
}

static void end_line(struct output *output)
{
    SCOPED(buf_done) struct buf text = {0};

    text_escape(&text, output->line.data, output->line.size, false);
    buf_putc(&text, '\n');
    keep_log(output, text.data, text.size);
    keep_tail(output, text.data, text.size);
    text.data[text.size - 1] = '\0';
    ui_detail(output->ui, "%s: %s", output->name, text.data);
    buf_clear(&output->line);
}

/* A line that is written over is a line of its own here; one that does not end is cut. */
static void add_byte(struct output *output, char byte)
{
    struct buf *line = &output->line;
    bool ends = byte == '\n' || byte == '\r', second = byte == '\n' && output->returned;

    output->returned = byte == '\r';
    if (!second && (ends || line->size >= OUTPUT_LINE_MAX)) {
        end_line(output);
    }
    if (byte == '\t') {
        do {
            buf_putc(line, ' ');
        } while (line->size % TAB_COLUMNS != 0);
    } else if (!ends) {
        buf_putc(line, byte);
    }
}

/* Takes what there is: false when there is nothing. */
static bool take(struct output *output)
{
    char data[16 << 10];
    ssize_t got = read(output->fifo, data, sizeof(data));

    if (got <= 0) {
        return got < 0 && errno == EINTR;
    }
    for (ssize_t i = 0; i < got && output->log >= 0; i++) {
        add_byte(output, data[i]);
    }
    return true;
}

static void *run(void *data)
{
    struct output *output = data;
    bool closing = false;

    while (!closing) {
        struct pollfd fds[] = {{.fd = output->fifo, .events = POLLIN},
                               {.fd = output->wake, .events = POLLIN}};
        uint64_t count;

        (void)poll(fds, 2, -1);
        (void)pthread_mutex_lock(&output->lock);
        while (take(output)) {
        }
        if (read(output->wake, &count, sizeof(count)) > 0) {
            closing = output->closing;
            output->drain = false;
            (void)pthread_cond_broadcast(&output->changed);
        }
        (void)pthread_mutex_unlock(&output->lock);
    }
    return NULL;
}

static void wake(struct output *output)
{
    uint64_t one = 1;

    (void)!write(output->wake, &one, sizeof(one));
}

/* --- from outside ------------------------------------------------------------------------ */

int output_new(const char *path, struct ui *ui, struct output **ret, struct error *err)
{
    SCOPED(output_freep) struct output *output = xcalloc(1, sizeof(*output));

    output->ui = ui;
    output->log = -1;
    output->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&output->lock, NULL);
    (void)pthread_cond_init(&output->changed, NULL);
    /* Open for writing as well, so that it has no end whoever comes and goes. */
    output->fifo = mkfifo(path, 0600) < 0 ? -1 : open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (output->fifo < 0 || output->wake < 0) {
        return fail_os(err, "make the pipe '%s'", path);
    }
    errno = pthread_create(&output->thread, NULL, run, output);
    if (errno != 0) {
        return fail_os(err, "start a thread");
    }
    output->running = true;
    *ret = TAKE(output);
    return 0;
}

void output_free(struct output *output)
{
    if (output == NULL) {
        return;
    }
    if (output->running) {
        (void)pthread_mutex_lock(&output->lock);
        output->closing = true;
        (void)pthread_mutex_unlock(&output->lock);
        wake(output);
        (void)pthread_join(output->thread, NULL);
    }
    scope_fd(&output->fifo);
    scope_fd(&output->wake);
    scope_fd(&output->log);
    (void)pthread_mutex_destroy(&output->lock);
    (void)pthread_cond_destroy(&output->changed);
    free(output->name);
    buf_done(&output->tail);
    buf_done(&output->line);
    free(output);
}

int output_begin(struct output *output, const char *name, const char *log, struct error *err)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0) {
        return fail_os(err, "create '%s'", log);
    }
    (void)pthread_mutex_lock(&output->lock);
    while (take(output)) { /* of nobody */
    }
    free(output->name);
    output->name = xstrdup(name);
    output->log = fd;
    output->logged = output->lost = 0;
    buf_clear(&output->tail);
    buf_clear(&output->line);
    output->returned = false;
    output->error = (struct error){0};
    (void)pthread_mutex_unlock(&output->lock);
    return 0;
}

/* The last lines, as many as a message has room for. */
static void add_tail(const struct output *output, struct buf *ret)
{
    const struct buf *tail = &output->tail;
    const char *start, *end, *at;
    unsigned lines = 0;

    if (tail->size == 0) {
        return;
    }
    end = tail->data + tail->size;
    start = tail->size > TAIL_BYTES ? end - TAIL_BYTES : tail->data;
    at = end;
    while (at > start && (at[-1] != '\n' || at == end || ++lines < TAIL_LINES)) {
        at--;
    }
    buf_add(ret, at, (size_t)(end - at));
}

static int close_log(struct output *output, struct error *err)
{
    if (output->lost != 0) {
        SCOPED_FREE char *line =
            xprintf("\n[%llu bytes more are left out]\n", (unsigned long long)output->lost);

        (void)file_write_all(output->log, line, strlen(line), "the step's log", &output->error);
    }
    if (close(TAKE_FD(output->log)) < 0 && output->error.kind == FAIL_NONE) {
        (void)fail_os(&output->error, "write the step's log");
    }
    if (output->error.kind != FAIL_NONE) {
        *err = output->error;
        return -1;
    }
    return 0;
}

int output_end(struct output *output, struct buf *tail, struct error *err)
{
    int result;

    (void)pthread_mutex_lock(&output->lock);
    output->drain = true;
    wake(output);
    while (output->drain) {
        (void)pthread_cond_wait(&output->changed, &output->lock);
    }
    if (output->line.size != 0) {
        end_line(output);
    }
    add_tail(output, tail);
    result = close_log(output, err);
    (void)pthread_mutex_unlock(&output->lock);
    return result;
}
