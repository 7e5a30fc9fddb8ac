/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     http [OPTION VALUE]... METHOD URL...
 *
 * Sends requests as kiln does, one after the other with the same struct http, told from outside. On
 * stdout, a line each: "retrying LINE", "status 200", "header LINE", "body BYTES", "error KIND
 * MESSAGE", "hint HINT", and at the end "inherited CONNECTIONS", "sent BYTES", "renewed TIMES",
 * "rewound TIMES", "throttled TIMES", "memory KIB" (its highest). Foreign bytes are escaped.
 *
 * memory SIZE, stream SIZE: a body (byte number N is N * 7 mod 251). file PATH: the stream is what
 * is in there. cut N: the stream breaks after N bytes. slow MS: it waits so long before each piece.
 * header LINE, changing LINE (by prepare). token TEXT: prepare sends it; renew puts an n behind it.
 * ca FILE, rate BYTES, give-up S, stalled S, timeout S, tries N, reply-max BYTES, direct 1, secret
 * 1, ask-first 1, threads N, times N (each URL).
 */
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/secret.h"
#include "base/stop.h"
#include "base/text.h"
#include "http/http.h"
#include "http/rate.h"

enum { HEADERS_MAX = 16, THREADS_MAX = 64 };

struct job {
    struct http *http;
    struct rate *rate;
    struct http_options options;
    struct http_call call;
    const char *headers[HEADERS_MAX + 1], *changing, *ca;
    size_t header_count;
    uint64_t memory, stream, cut;
    int file;
    unsigned slow_ms, threads, times;
    char **urls;
    atomic_int_least64_t sent;
    atomic_uint renewed, rewound, failed;
    pthread_mutex_t lock; /* stdout */
    char token[64];       /* one thread only */
    bool quiet;
};

/* A stream's position; one a thread. */
struct stream {
    struct job *job;
    uint64_t position;
};

static void say(struct job *job, const char *what, const char *text)
{
    SCOPED(buf_done) struct buf line = {0};

    text_escape(&line, text, strlen(text), false);
    pthread_mutex_lock(&job->lock);
    printf("%s %s\n", what, line.size != 0 ? line.data : "");
    (void)fflush(stdout);
    pthread_mutex_unlock(&job->lock);
}

static void fill(char *bytes, uint64_t from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)((from + i) * 7 % 251);
    }
}

static int stream_read(void *context, void *buffer, size_t size, size_t *ret, struct error *err)
{
    struct stream *stream = context;
    struct job *job = stream->job;

    if (job->slow_ms != 0) {
        stop_sleep(job->slow_ms);
    }
    if (job->cut != 0 && stream->position >= job->cut) {
        return fail(err, FAIL_MISMATCH, "the stream broke");
    }
    size = size < 65536 || job->slow_ms == 0 ? size : 65536;
    if (job->file < 0) {
        fill(buffer, stream->position, size);
    } else if (pread(job->file, buffer, size, (off_t)stream->position) != (ssize_t)size) {
        return fail_os(err, "read");
    }
    stream->position += size;
    *ret = size;
    return 0;
}

static int stream_rewind(void *context, struct error *err)
{
    struct stream *stream = context;

    (void)err;
    if (stream->position != 0) {
        atomic_fetch_add(&stream->job->rewound, 1);
    }
    stream->position = 0;
    return 0;
}

static int prepare(void *data, struct http_headers *headers, struct error *err)
{
    struct job *job = data;

    (void)err;
    if (job->changing != NULL) {
        http_headers_add(headers, "%s", job->changing);
    }
    if (job->token[0] != '\0') {
        http_headers_add(headers, "Authorization: Bearer %s", job->token);
    }
    return 0;
}

static int renew(void *data, struct error *err)
{
    struct job *job = data;
    size_t size = strlen(job->token);

    atomic_fetch_add(&job->renewed, 1);
    if (size + 1 >= sizeof(job->token)) {
        return fail(err, FAIL_REMOTE, "no new token");
    }
    job->token[size] = 'n';
    return 0;
}

static void on_sent(void *data, int64_t bytes)
{
    struct job *job = data;

    atomic_fetch_add(&job->sent, bytes);
}

static void on_retrying(void *data, const char *line)
{
    say(data, "retrying", line);
}

static void show_error(struct job *job, const struct error *err)
{
    SCOPED_FREE char *text = xprintf("%d %s", (int)err->kind, err->message);

    say(job, "error", text);
    if (err->hint[0] != '\0') {
        say(job, "hint", err->hint);
    }
    atomic_fetch_add(&job->failed, 1);
}

static void send_one(struct job *job, const char *url, const struct http_body *body)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    struct http_call call = job->call;
    struct error err = {0};

    call.url = url;
    call.body = body;
    if (http_send(job->http, &call, &reply, &err) < 0) {
        show_error(job, &err);
        return;
    }
    if (!job->quiet || reply.status >= 300) {
        SCOPED_FREE char *status = xprintf("%u", reply.status);

        say(job, "status", status);
    }
    for (size_t i = 0; i < reply.headers.count && !job->quiet; i++) {
        say(job, "header", reply.headers.lines[i]);
    }
    if (!job->quiet) {
        say(job, "body", reply.body.size < 1000 ? reply.body.data : "long");
    }
}

static void *work(void *data)
{
    struct job *job = data;
    struct stream stream = {.job = job};
    SCOPED_FREE char *memory = job->memory != 0 ? xmalloc(job->memory) : NULL;
    struct http_body body = {.data = memory,
                             .size = memory != NULL ? job->memory : job->stream,
                             .read = stream_read,
                             .rewind = stream_rewind,
                             .context = &stream};

    if (memory != NULL) {
        fill(memory, 0, job->memory);
    }
    for (char **url = job->urls; *url != NULL; url++) {
        for (unsigned i = 0; i < job->times; i++) {
            send_one(job, *url, body.size != 0 ? &body : NULL);
        }
    }
    return NULL;
}

static void take_file(struct job *job, const char *path)
{
    job->file = open(path, O_RDONLY | O_CLOEXEC);
    job->stream = job->file < 0 ? 0 : (uint64_t)lseek(job->file, 0, SEEK_END);
}

static void take_option(struct job *job, const char *name, char *value)
{
    struct {
        const char *name;
        uint64_t *large;
        unsigned *small;
        bool *flag;
    } const numbers[] = {
        {"memory", &job->memory, NULL, NULL},
        {"stream", &job->stream, NULL, NULL},
        {"cut", &job->cut, NULL, NULL},
        {"slow", NULL, &job->slow_ms, NULL},
        {"give-up", NULL, &job->options.give_up_s, NULL},
        {"stalled", NULL, &job->options.stalled_s, NULL},
        {"timeout", NULL, &job->call.timeout_s, NULL},
        {"tries", NULL, &job->call.tries, NULL},
        {"reply-max", &job->call.reply_max, NULL, NULL},
        {"threads", NULL, &job->threads, NULL},
        {"times", NULL, &job->times, NULL},
        {"direct", NULL, NULL, &job->call.direct},
        {"secret", NULL, NULL, &job->call.secret_url},
        {"ask-first", NULL, NULL, &job->call.ask_first},
        {"quiet", NULL, NULL, &job->quiet},
    };
    uint64_t number = strtoull(value, NULL, 10);

    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            if (numbers[i].large != NULL) {
                *numbers[i].large = number;
            } else if (numbers[i].small != NULL) {
                *numbers[i].small = (unsigned)number;
            } else {
                *numbers[i].flag = number != 0;
            }
            return;
        }
    }
    if (strcmp(name, "header") == 0 && job->header_count < HEADERS_MAX) {
        job->headers[job->header_count++] = value;
    } else if (strcmp(name, "changing") == 0) {
        job->changing = value;
    } else if (strcmp(name, "token") == 0) {
        (void)snprintf(job->token, sizeof(job->token), "%s", value);
    } else if (strcmp(name, "file") == 0) {
        take_file(job, value);
    } else if (strcmp(name, "ca") == 0) {
        job->options.ca_file = value;
    } else if (strcmp(name, "rate") == 0) {
        job->rate = rate_new(number);
        job->options.rate = job->rate;
    } else {
        (void)fprintf(stderr, "http: no option %s\n", name);
        exit(2);
    }
}

/* Not getrusage, which counts what was before exec as well. */
static unsigned long highest_memory_kib(void)
{
    SCOPED_FILE FILE *file = fopen("/proc/self/status", "re");
    char line[200];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (text_starts(line, "VmHWM:")) {
            return strtoul(line + 6, NULL, 10);
        }
    }
    return 0;
}

/* How many connections a program started now would inherit. */
static unsigned inherited(void)
{
    unsigned count = 0;

    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof(address);

        count += getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
                 address.ss_family != AF_UNIX && (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
    }
    return count;
}

static void say_end(struct job *job)
{
    printf("inherited %u\n", inherited());
    printf("sent %lld\nrenewed %u\nrewound %u\nthrottled %llu\nmemory %lu\n",
           (long long)atomic_load(&job->sent), atomic_load(&job->renewed),
           atomic_load(&job->rewound), (unsigned long long)http_throttled(job->http),
           highest_memory_kib());
}

int main(int argc, char **argv)
{
    struct job job = {.threads = 1, .times = 1, .file = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    struct error err = {0};
    int at = 1;

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    stop_init();
    secret_no_core();
    for (; at + 1 < argc && argv[at][0] >= 'a'; at += 2) {
        take_option(&job, argv[at], argv[at + 1]);
    }
    job.call.method = argv[at];
    job.urls = argv + at + 1;
    job.call.headers = job.headers;
    job.call.prepare = prepare;
    job.call.renew = job.token[0] != '\0' ? renew : NULL;
    job.call.data = &job;
    job.options.sent = on_sent;
    job.options.retrying = on_retrying;
    job.options.data = &job;
    if (job.call.method == NULL || job.threads > THREADS_MAX ||
        http_new(&job.options, &job.http, &err) < 0) {
        show_error(&job, &err);
        return fail_status(&err);
    }
    for (unsigned i = 1; i < job.threads; i++) {
        (void)pthread_create(&threads[i], NULL, work, &job);
    }
    (void)work(&job);
    for (unsigned i = 1; i < job.threads; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    say_end(&job);
    http_free(job.http);
    rate_free(job.rate);
    return job.failed != 0 ? 1 : 0;
}
