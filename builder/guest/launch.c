/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/launch.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"

#define CONSOLE_KEPT ((size_t)4096) /* bytes; twice as many for moments */

enum {
    ERRORS_KEPT = 64 << 10,
    POLL_MS = 100,
    SPACE_MIN = 8 << 20, /* bytes that must stay free where the appliance writes */
    BUILD_LIMIT_S = 600, /* supermin: 10 s here, minutes on a slow disk or behind another build */
    PROCESSORS_MAX = 4,
    PROGRAMS_MAX = 32,
};

struct launch {
    guestfs_h *handle;
    struct launch_report *report; /* only until the launch is over */
    pthread_t thread, sentry;
    bool has_thread, has_sentry;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char *temporary; /* absolute, or NULL */
    pid_t tid;       /* 0 until the thread runs */
    bool returned;   /* guestfs_launch has, with: */
    int result;
    bool full;    /* the host's disk was, and the appliance is ended for it */
    bool closing; /* the sentry may go */
    bool release; /* the thread may go */
};

/*
 * What the child of fork does first when the forking thread is one that launches. The atfork
 * handler takes no argument, hence the thread's own variable: 0 in every other thread.
 */
static __thread pid_t launching;

static void tie_child(void)
{
    if (launching != 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != launching) {
            _exit(127);
        }
    }
}

static void tie_children(void)
{
    (void)pthread_atfork(NULL, NULL, tie_child);
}

void launch_report_done(struct launch_report *report)
{
    buf_done(&report->errors);
    buf_done(&report->console);
}

/* --- the programs of a launch --- */

static size_t children_listed(const char *text, pid_t *ret, size_t max)
{
    size_t count = 0;

    while (count < max) {
        char *end;
        long pid = strtol(text, &end, 10);

        if (end == text || pid <= 0) {
            break;
        }
        ret[count++] = (pid_t)pid;
        text = end;
    }
    return count;
}

/* The parent that /proc/PID/stat names after the command's closing parenthesis; 0 when unknown. */
static pid_t parent_of(long pid)
{
    SCOPED_FREE char *path = xprintf("/proc/%ld/stat", pid);
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};
    const char *after;

    if (file_read(path, 4096, &text, &err) < 0) {
        return 0;
    }
    after = strrchr(text.data, ')');
    return after == NULL || strlen(after) < 5 ? 0 : (pid_t)strtol(after + 4, NULL, 10);
}

static char *process_command(pid_t pid)
{
    SCOPED_FREE char *path = xprintf("/proc/%d/comm", (int)pid);
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};

    if (file_read(path, 256, &text, &err) < 0) {
        return xstrdup("");
    }
    text.data[strcspn(text.data, "\n")] = '\0';
    return buf_take(&text);
}

/* For kernels that keep no list of children: those of the whole process that bear these names. */
static size_t children_scanned(pid_t *ret, size_t max)
{
    SCOPED_DIR DIR *dir = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;

    while (dir != NULL && count < max && (entry = readdir(dir)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        SCOPED_FREE char *command = NULL;

        if (pid <= 0 || parent_of(pid) != getpid()) {
            continue;
        }
        command = process_command((pid_t)pid);
        if (strncmp(command, "qemu-", 5) == 0 || strcmp(command, "supermin") == 0) {
            ret[count++] = (pid_t)pid;
        }
    }
    return count;
}

/* False for a child that has not called exec, for a zombie, and for what is gone. */
static bool runs_a_program(pid_t pid)
{
    char own[4096], its[4096];
    SCOPED_FREE char *path = xprintf("/proc/%d/exe", (int)pid);
    ssize_t own_size = readlink("/proc/self/exe", own, sizeof(own));
    ssize_t its_size = readlink(path, its, sizeof(its));

    return its_size > 0 && (its_size != own_size || memcmp(own, its, (size_t)its_size) != 0);
}

size_t launch_programs(pid_t tid, pid_t *ret_pids, size_t max)
{
    SCOPED_FREE char *path = xprintf("/proc/self/task/%d/children", (int)tid);
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};
    size_t count, kept = 0;

    count = file_read(path, 64 << 10, &text, &err) < 0 ? children_scanned(ret_pids, max)
                                                       : children_listed(text.data, ret_pids, max);
    for (size_t i = 0; i < count; i++) {
        if (runs_a_program(ret_pids[i])) {
            ret_pids[kept++] = ret_pids[i];
        }
    }
    return kept;
}

void launch_kill(pid_t pid)
{
    /* A wrapper script around qemu has children of its own. */
    if (getpgid(pid) == pid) {
        (void)kill(-pid, SIGKILL);
    }
    (void)kill(pid, SIGKILL);
}

static bool is_qemu_running(pid_t tid)
{
    pid_t pids[PROGRAMS_MAX];
    size_t count = launch_programs(tid, pids, PROGRAMS_MAX);

    for (size_t i = 0; i < count; i++) {
        SCOPED_FREE char *command = process_command(pids[i]);

        if (strcmp(command, "supermin") != 0) {
            return true;
        }
    }
    return false;
}

/* TID may be 0, when the thread has not come so far. */
static void kill_programs(pid_t tid)
{
    pid_t pids[PROGRAMS_MAX];
    size_t count = tid == 0 ? 0 : launch_programs(tid, pids, PROGRAMS_MAX);

    for (size_t i = 0; i < count; i++) {
        launch_kill(pids[i]);
    }
}

/* --- the handle --- */

static void keep_error(guestfs_h *handle, void *data, const char *message)
{
    struct launch *launch = data;

    (void)handle;
    if (launch->report->errors.size < ERRORS_KEPT) {
        buf_printf(&launch->report->errors, "%s\n", message);
    }
}

/* A registered callback silences libguestfs, so what LIBGUESTFS_DEBUG asked for is shown here. */
static void show(const char *text, size_t size)
{
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    text_escape(&out, text, size, true);
    if (out.size != 0) {
        (void)file_write_all(STDERR_FILENO, out.data, out.size, "stderr", &err);
    }
}

static void keep_console(guestfs_h *handle, void *data, uint64_t event, int event_handle, int flags,
                         const char *text, size_t size, const uint64_t *array, size_t array_size)
{
    struct launch *launch = data;
    struct buf *console = &launch->report->console;

    (void)event_handle;
    (void)flags;
    (void)array;
    (void)array_size;
    buf_add(console, text, size);
    if (event == GUESTFS_EVENT_WARNING) {
        buf_putc(console, '\n');
    }
    if (console->size > 2 * CONSOLE_KEPT) {
        size_t gone = console->size - CONSOLE_KEPT;

        memmove(console->data, console->data + gone, CONSOLE_KEPT + 1);
        console->size = CONSOLE_KEPT;
    }
    if (guestfs_get_verbose(handle) > 0) {
        show(text, size);
    }
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0';
}

/* A missing $XDG_RUNTIME_DIR is usual after su, is read last, and /tmp is used instead. */
static int parse_environment(struct launch *launch)
{
    const char *said;

    if (guestfs_parse_environment(launch->handle) == 0) {
        return 0;
    }
    said = guestfs_last_error(launch->handle);
    if (said == NULL || strstr(said, "XDG_RUNTIME_DIR") == NULL) {
        return -1;
    }
    buf_clear(&launch->report->errors);
    return 0;
}

static int processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    return online < 1 ? 1 : online > PROCESSORS_MAX ? PROCESSORS_MAX : (int)online;
}

/*
 * What is written is scratch until it has its name: flushes would only slow it down, and what the
 * appliance discards becomes a hole.
 */
static int add_drives(struct launch *launch, const struct guest_options *options)
{
    for (size_t i = 0; i < options->drive_count; i++) {
        const struct guest_drive *drive = &options->drives[i];
        struct guestfs_add_drive_opts_argv args = {
            .bitmask =
                GUESTFS_ADD_DRIVE_OPTS_READONLY_BITMASK | GUESTFS_ADD_DRIVE_OPTS_FORMAT_BITMASK |
                GUESTFS_ADD_DRIVE_OPTS_LABEL_BITMASK | GUESTFS_ADD_DRIVE_OPTS_CACHEMODE_BITMASK |
                GUESTFS_ADD_DRIVE_OPTS_DISCARD_BITMASK,
            .readonly = drive->read_only,
            .format = drive->format,
            .label = drive->label,
            .cachemode = drive->read_only ? "writeback" : "unsafe",
            .discard = drive->read_only ? "disable" : "besteffort",
        };

        if (drive->label == NULL) {
            args.bitmask &= ~GUESTFS_ADD_DRIVE_OPTS_LABEL_BITMASK;
        }
        if (guestfs_add_drive_opts_argv(launch->handle, drive->path, &args) < 0) {
            return -1;
        }
    }
    return 0;
}

/* qemu's options are lists with commas: one in a value is written twice. */
static char *qemu_value(const char *text)
{
    struct buf value = {0};

    buf_puts(&value, "");
    for (; *text != '\0'; text++) {
        buf_puts(&value, *text == ',' ? ",," : (char[]){*text, '\0'});
    }
    return buf_take(&value);
}

/* On the bus that libguestfs has for its own line to the daemon. */
static int add_port(struct launch *launch, const struct guest_port *port, size_t number)
{
    SCOPED_FREE char *path = qemu_value(port->path);
    SCOPED_FREE char *line =
        xprintf("%s,id=kiln%zu,path=%s", port->both ? "pipe" : "file", number, path);
    SCOPED_FREE char *device =
        xprintf("virtserialport,chardev=kiln%zu,name=%s", number, port->name);

    return guestfs_config(launch->handle, "-chardev", line) < 0 ||
                   guestfs_config(launch->handle, "-device", device) < 0
               ? -1
               : 0;
}

static int add_ports(struct launch *launch, const struct guest_options *options)
{
    for (size_t i = 0; i < options->port_count; i++) {
        if (add_port(launch, &options->ports[i], i) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A user who gives the appliance more has a reason. */
static int set_memory(guestfs_h *handle, unsigned memory_mib)
{
    int standard = guestfs_get_memsize(handle);

    return (int)memory_mib > standard ? guestfs_set_memsize(handle, (int)memory_mib) : 0;
}

/* Its own process group keeps a terminal's Ctrl-C from qemu: kiln ends it, in order. */
static int configure(struct launch *launch, const struct launch_request *request)
{
    guestfs_h *handle = launch->handle;
    const char *temporary = request->options->temporary;

    if (parse_environment(launch) < 0 ||
        (request->direct && guestfs_set_backend(handle, "direct") < 0) ||
        (request->emulate && guestfs_set_backend_setting(handle, "force_tcg", "1") < 0) ||
        guestfs_set_smp(handle, processors()) < 0 ||
        set_memory(handle, request->options->memory_mib) < 0 || guestfs_set_pgroup(handle, 1) < 0 ||
        guestfs_set_network(handle, 0) < 0 || guestfs_set_identifier(handle, "kiln") < 0) {
        return -1;
    }
    launch->temporary = temporary != NULL ? realpath(temporary, NULL) : NULL;
    if (temporary != NULL && !is_set("LIBGUESTFS_TMPDIR") &&
        guestfs_set_tmpdir(handle, temporary) < 0) {
        return -1;
    }
    return add_drives(launch, request->options) < 0 ? -1 : add_ports(launch, request->options);
}

/* --- the thread --- */

static void *run(void *data)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct launch *launch = data;
    int result;

    (void)pthread_once(&once, tie_children);
    launching = getpid();
    pthread_mutex_lock(&launch->lock);
    launch->tid = gettid();
    pthread_mutex_unlock(&launch->lock);

    /* libguestfs keeps error handlers by thread. */
    guestfs_set_error_handler(launch->handle, keep_error, launch);
    result = guestfs_launch(launch->handle);
    guestfs_set_error_handler(launch->handle, NULL, NULL);

    pthread_mutex_lock(&launch->lock);
    launch->result = result;
    launch->returned = true;
    pthread_cond_broadcast(&launch->changed);
    while (!launch->release) {
        pthread_cond_wait(&launch->changed, &launch->lock);
    }
    pthread_mutex_unlock(&launch->lock);
    return NULL;
}

/* True when *WHAT, a flag of LAUNCH, is set; waits POLL_MS for it. */
static bool wait_a_little(struct launch *launch, const bool *what)
{
    int64_t until_ms = monotonic_ms() + POLL_MS;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    bool over;

    pthread_mutex_lock(&launch->lock);
    while (!*what &&
           pthread_cond_clockwait(&launch->changed, &launch->lock, CLOCK_MONOTONIC, &until) == 0) {
    }
    over = *what;
    pthread_mutex_unlock(&launch->lock);
    return over;
}

static void set_flag(struct launch *launch, bool *what)
{
    pthread_mutex_lock(&launch->lock);
    *what = true;
    pthread_cond_broadcast(&launch->changed);
    pthread_mutex_unlock(&launch->lock);
}

static bool get_flag(struct launch *launch, const bool *what)
{
    bool value;

    pthread_mutex_lock(&launch->lock);
    value = *what;
    pthread_mutex_unlock(&launch->lock);
    return value;
}

static pid_t thread_of(struct launch *launch)
{
    pid_t tid;

    pthread_mutex_lock(&launch->lock);
    tid = launch->tid;
    pthread_mutex_unlock(&launch->lock);
    return tid;
}

/* --- space on the host --- */

static bool is_low(const char *directory)
{
    struct statvfs st;

    return statvfs(directory, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize < SPACE_MIN;
}

/*
 * Ends the appliance when the host's disk is nearly full: qemu waits for space for ever, with the
 * disk it writes as with the scratch disk it boots from. Kills until it may go, for a child that
 * has not called exec yet is spared the first time.
 */
static void *watch_space(void *data)
{
    struct launch *launch = data;

    while (!wait_a_little(launch, &launch->closing)) {
        if (!get_flag(launch, &launch->full) && is_low(launch->temporary)) {
            set_flag(launch, &launch->full);
        }
        if (get_flag(launch, &launch->full)) {
            kill_programs(thread_of(launch));
        }
    }
    return NULL;
}

static void start_sentry(struct launch *launch)
{
    launch->has_sentry = launch->temporary != NULL &&
                         pthread_create(&launch->sentry, NULL, watch_space, launch) == 0;
}

static void stop_sentry(struct launch *launch)
{
    if (launch->has_sentry) {
        set_flag(launch, &launch->closing);
        (void)pthread_join(launch->sentry, NULL);
        launch->has_sentry = false;
    }
}

/* Kills again and again: a child that has not called exec yet is spared the first time. */
static void supervise(struct launch *launch, unsigned limit_s)
{
    struct launch_report *report = launch->report;
    int64_t start = monotonic_ms(), qemu_start = 0;

    while (!wait_a_little(launch, &launch->returned)) {
        pid_t tid = thread_of(launch);

        if (qemu_start == 0 && tid != 0 && is_qemu_running(tid)) {
            qemu_start = monotonic_ms();
            report->qemu_ran = true;
        }
        if (report->late_s == 0 && qemu_start != 0 &&
            monotonic_ms() - qemu_start >= (int64_t)limit_s * 1000) {
            report->late_s = limit_s;
        }
        if (report->late_s == 0 && qemu_start == 0 &&
            monotonic_ms() - start >= (int64_t)BUILD_LIMIT_S * 1000) {
            report->late_s = BUILD_LIMIT_S;
        }
        if (report->late_s != 0 || stop_requested()) {
            kill_programs(tid);
        }
    }
}

static struct launch *launch_new(struct launch_report *report)
{
    struct launch *launch = xcalloc(1, sizeof(*launch));

    launch->report = report;
    (void)pthread_mutex_init(&launch->lock, NULL);
    (void)pthread_cond_init(&launch->changed, NULL);
    return launch;
}

/*
 * qemu and supermin, killed at the wrong moment, leave files in $TMPDIR, and libguestfs gives them
 * kiln's own environment. So during a launch it names the directory that kiln removes; libguestfs
 * itself has read it before. NULL: unset.
 */
static void use_temporary(const char *directory)
{
    if (directory != NULL) {
        (void)setenv("TMPDIR", directory, 1);
    } else {
        (void)unsetenv("TMPDIR");
    }
}

struct launch *launch_start(const struct launch_request *request, struct launch_report *report)
{
    SCOPED(launch_freep) struct launch *launch = launch_new(report);
    SCOPED_FREE char *temporary = NULL;
    int events = -1, os;

    /* The environment is read later, when its errors can be caught. */
    launch->handle = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT);
    if (launch->handle == NULL) {
        buf_printf(&report->errors, "guestfs_create: %s\n", strerror(errno));
        return NULL;
    }
    guestfs_set_error_handler(launch->handle, keep_error, launch);
    events = guestfs_set_event_callback(launch->handle, keep_console,
                                        GUESTFS_EVENT_APPLIANCE | GUESTFS_EVENT_WARNING, 0, launch);
    if (events < 0 || configure(launch, request) < 0) {
        return NULL;
    }
    temporary = getenv("TMPDIR") != NULL ? xstrdup(getenv("TMPDIR")) : NULL;
    use_temporary(launch->temporary != NULL ? launch->temporary : temporary);
    os = pthread_create(&launch->thread, NULL, run, launch);
    if (os == 0) {
        launch->has_thread = true;
        start_sentry(launch);
        supervise(launch, request->limit_s);
        report->full = launch_is_full(launch);
    }
    use_temporary(temporary);
    if (os != 0) {
        buf_printf(&report->errors, "create a thread: %s\n", strerror(os));
        return NULL;
    }
    guestfs_delete_event_callback(launch->handle, events);
    guestfs_set_error_handler(launch->handle, NULL, NULL);
    return launch->result < 0 || stop_requested() ? NULL : TAKE(launch);
}

guestfs_h *launch_handle(const struct launch *launch)
{
    return launch->handle;
}

bool launch_is_full(struct launch *launch)
{
    return get_flag(launch, &launch->full);
}

void launch_free(struct launch *launch)
{
    if (launch == NULL) {
        return;
    }
    stop_sentry(launch);
    if (launch->handle != NULL) {
        /* Killed first, or closing would wait for an appliance that may hang. */
        if (launch->has_thread) {
            kill_programs(launch->tid);
        }
        guestfs_set_error_handler(launch->handle, NULL, NULL);
        guestfs_close(launch->handle);
    }
    if (launch->has_thread) {
        set_flag(launch, &launch->release);
        (void)pthread_join(launch->thread, NULL);
    }
    (void)pthread_cond_destroy(&launch->changed);
    (void)pthread_mutex_destroy(&launch->lock);
    free(launch->temporary);
    free(launch);
}
