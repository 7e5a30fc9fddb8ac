/* SPDX-License-Identifier: Apache-2.0 */
#include "step/transcript.h"

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

struct transcript {
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

static void keep_log(struct transcript *transcript, const char *data, size_t size)
{
    size_t room = TRANSCRIPT_LOG_MAX - transcript->logged;
    size_t part = size < room ? size : room;

    if (transcript->error.kind == FAIL_NONE &&
        file_write_all(transcript->log, data, part, "the step's log", &transcript->error) == 0) {
        transcript->logged += part;
    }
    transcript->lost += size - part;
}

static void keep_tail(struct transcript *transcript, const char *data, size_t size)
{
    struct buf *tail = &transcript->tail;

    buf_add(tail, data, size);
    if (tail->size > 2 * (size_t)TAIL_BYTES) {
        memmove(tail->data, tail->data + tail->size - TAIL_BYTES, TAIL_BYTES + 1);
        tail->size = TAIL_BYTES;
    }
}

static void end_line(struct transcript *transcript)
{
    SCOPED(buf_done) struct buf text = {0};

    text_escape(&text, transcript->line.data, transcript->line.size, false);
    buf_putc(&text, '\n');
    keep_log(transcript, text.data, text.size);
    keep_tail(transcript, text.data, text.size);
    text.data[text.size - 1] = '\0';
    ui_detail(transcript->ui, "%s: %s", transcript->name, text.data);
    buf_clear(&transcript->line);
}

/* A line that is written over is a line of its own here; one that does not end is cut. */
static void add_byte(struct transcript *transcript, char byte)
{
    struct buf *line = &transcript->line;
    bool ends = byte == '\n' || byte == '\r', second = byte == '\n' && transcript->returned;

    transcript->returned = byte == '\r';
    if (!second && (ends || line->size >= TRANSCRIPT_LINE_MAX)) {
        end_line(transcript);
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
static bool take(struct transcript *transcript)
{
    char data[16 << 10];
    ssize_t got = read(transcript->fifo, data, sizeof(data));

    if (got <= 0) {
        return got < 0 && errno == EINTR;
    }
    for (ssize_t i = 0; i < got && transcript->log >= 0; i++) {
        add_byte(transcript, data[i]);
    }
    return true;
}

static void *run(void *data)
{
    struct transcript *transcript = data;
    bool closing = false;

    while (!closing) {
        struct pollfd fds[] = {{.fd = transcript->fifo, .events = POLLIN},
                               {.fd = transcript->wake, .events = POLLIN}};
        uint64_t count;

        (void)poll(fds, 2, -1);
        (void)pthread_mutex_lock(&transcript->lock);
        while (take(transcript)) {
        }
        if (read(transcript->wake, &count, sizeof(count)) > 0) {
            closing = transcript->closing;
            transcript->drain = false;
            (void)pthread_cond_broadcast(&transcript->changed);
        }
        (void)pthread_mutex_unlock(&transcript->lock);
    }
    return NULL;
}

static void wake(struct transcript *transcript)
{
    uint64_t one = 1;

    (void)!write(transcript->wake, &one, sizeof(one));
}

/* --- from outside ------------------------------------------------------------------------ */

int transcript_new(const char *path, struct ui *ui, struct transcript **ret, struct error *err)
{
    SCOPED(transcript_freep) struct transcript *transcript = xcalloc(1, sizeof(*transcript));

    transcript->ui = ui;
    transcript->log = -1;
    transcript->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&transcript->lock, NULL);
    (void)pthread_cond_init(&transcript->changed, NULL);
    /* Open for writing as well, so that it has no end whoever comes and goes. */
    transcript->fifo = mkfifo(path, 0600) < 0 ? -1 : open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (transcript->fifo < 0 || transcript->wake < 0) {
        return fail_os(err, "make the pipe '%s'", path);
    }
    errno = pthread_create(&transcript->thread, NULL, run, transcript);
    if (errno != 0) {
        return fail_os(err, "start a thread");
    }
    transcript->running = true;
    *ret = TAKE(transcript);
    return 0;
}

void transcript_free(struct transcript *transcript)
{
    if (transcript == NULL) {
        return;
    }
    if (transcript->running) {
        (void)pthread_mutex_lock(&transcript->lock);
        transcript->closing = true;
        (void)pthread_mutex_unlock(&transcript->lock);
        wake(transcript);
        (void)pthread_join(transcript->thread, NULL);
    }
    scope_fd(&transcript->fifo);
    scope_fd(&transcript->wake);
    scope_fd(&transcript->log);
    (void)pthread_mutex_destroy(&transcript->lock);
    (void)pthread_cond_destroy(&transcript->changed);
    free(transcript->name);
    buf_done(&transcript->tail);
    buf_done(&transcript->line);
    free(transcript);
}

int transcript_begin(struct transcript *transcript, const char *name, const char *log,
                     struct error *err)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0) {
        return fail_os(err, "create '%s'", log);
    }
    (void)pthread_mutex_lock(&transcript->lock);
    while (take(transcript)) { /* of nobody */
    }
    free(transcript->name);
    transcript->name = xstrdup(name);
    transcript->log = fd;
    transcript->logged = transcript->lost = 0;
    buf_clear(&transcript->tail);
    buf_clear(&transcript->line);
    transcript->returned = false;
    transcript->error = (struct error){0};
    (void)pthread_mutex_unlock(&transcript->lock);
    return 0;
}

/* The last lines, as many as a message has room for. */
static void add_tail(const struct transcript *transcript, struct buf *ret)
{
    const struct buf *tail = &transcript->tail;
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

static int close_log(struct transcript *transcript, struct error *err)
{
    if (transcript->lost != 0) {
        SCOPED_FREE char *line =
            xprintf("\n[%llu bytes more are left out]\n", (unsigned long long)transcript->lost);

        (void)file_write_all(transcript->log, line, strlen(line), "the step's log",
                             &transcript->error);
    }
    if (close(TAKE_FD(transcript->log)) < 0 && transcript->error.kind == FAIL_NONE) {
        (void)fail_os(&transcript->error, "write the step's log");
    }
    if (transcript->error.kind != FAIL_NONE) {
        *err = transcript->error;
        return -1;
    }
    return 0;
}

int transcript_end(struct transcript *transcript, struct buf *tail, struct error *err)
{
    int result;

    (void)pthread_mutex_lock(&transcript->lock);
    transcript->drain = true;
    wake(transcript);
    while (transcript->drain) {
        (void)pthread_cond_wait(&transcript->changed, &transcript->lock);
    }
    if (transcript->line.size != 0) {
        end_line(transcript);
    }
    add_tail(transcript, tail);
    result = close_log(transcript, err);
    (void)pthread_mutex_unlock(&transcript->lock);
    return result;
}
