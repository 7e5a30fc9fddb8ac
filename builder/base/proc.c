/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/stop.h"

enum { STDERR_KEPT = 2048, EXEC_FAILED = 127, POLL_MS = 200, GRACE_MS = 200 };

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *proc_find(const char *program)
{
    const char *path = getenv("PATH");
    SCOPED_FREE char *dirs = xprintf("%s:/usr/sbin:/sbin", path != NULL ? path : "/usr/bin:/bin");
    char *rest = dirs;

    if (strchr(program, '/') != NULL) {
        return is_program(program) ? xstrdup(program) : NULL;
    }
    for (char *dir = strsep(&rest, ":"); dir != NULL; dir = strsep(&rest, ":")) {
        SCOPED_FREE char *file = xprintf("%s/%s", dir[0] != '\0' ? dir : ".", program);

        if (is_program(file)) {
            return TAKE(file);
        }
    }
    return NULL;
}

static void child(const struct proc *proc, const char *path, pid_t parent, int out, int err_fd,
                  int exec_fd)
{
    struct rlimit memory = {proc->memory_max, proc->memory_max};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;
    int os;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0) {
        _exit(EXEC_FAILED);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGXFSZ, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(proc->input != 0 ? proc->input : null, 0) < 0 || dup2(out >= 0 ? out : null, 1) < 0 ||
        dup2(err_fd, 2) < 0 || (proc->memory_max != 0 && setrlimit(RLIMIT_AS, &memory) < 0)) {
        _exit(EXEC_FAILED);
    }
    for (const char *const *env = proc->env; env != NULL && *env != NULL; env++) {
        (void)putenv((char *)*env);
    }
    execvp(path, (char *const *)proc->argv);
    os = errno;
    if (write(exec_fd, &os, sizeof(os)) < 0) {
        _exit(EXEC_FAILED);
    }
    _exit(EXEC_FAILED);
}

/* Adds what FD has to BUF; closes FD and sets it to -1 at its end. */
static void drain(int *fd, struct buf *buf)
{
    ssize_t got = read(*fd, buf_reserve(buf, 4096), 4096);

    if (got > 0) {
        buf->size += (size_t)got;
        buf->data[buf->size] = '\0';
    } else if (got == 0 || errno != EINTR) {
        (void)close(*fd);
        *fd = -1;
    }
}

/* Only the end of what a program says matters, and it may say gigabytes. */
static void keep_tail(struct buf *buf)
{
    if (buf->size > 4 * (size_t)STDERR_KEPT) {
        memmove(buf->data, buf->data + buf->size - STDERR_KEPT, STDERR_KEPT + 1);
        buf->size = STDERR_KEPT;
    }
}

/* What ends a program that does not end by itself. */
struct watch {
    pid_t pid;
    int64_t deadline_ms;
    bool late, killed;
    int64_t killed_ms;
};

/* Kills the program on interruption or when its time is up. */
static void watch_it(struct watch *watch)
{
    watch->late = watch->late || monotonic_ms() >= watch->deadline_ms;
    if (!watch->killed && (watch->late || stop_requested())) {
        (void)kill(watch->pid, SIGKILL);
        watch->killed = true;
        watch->killed_ms = monotonic_ms();
    }
}

/* Reads both pipes until they close. */
static void collect(const struct proc *proc, struct watch *watch, int out, int err_fd,
                    struct buf *said)
{
    while (out >= 0 || err_fd >= 0) {
        struct pollfd fds[] = {{.fd = out, .events = POLLIN}, {.fd = err_fd, .events = POLLIN}};
        int ready;

        watch_it(watch);
        ready = poll(fds, 2, POLL_MS);
        /* A grandchild that keeps the pipe open, or fills it, must not keep kiln as well. */
        if (watch->killed && (ready <= 0 || monotonic_ms() - watch->killed_ms > GRACE_MS)) {
            break;
        }
        if (ready <= 0) {
            continue;
        }
        if (fds[0].revents != 0) {
            drain(&out, proc->output);
            if (proc->output_max != 0 && proc->output->size > proc->output_max) {
                proc->output->size = proc->output_max;
                proc->output->data[proc->output->size] = '\0';
            }
        }
        if (fds[1].revents != 0) {
            drain(&err_fd, said);
            keep_tail(said);
        }
    }
    scope_fd(&out);
    scope_fd(&err_fd);
}

/* Waits for the end; a program may close its output long before. */
static int await(struct watch *watch)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int status = 0;

    for (;;) {
        pid_t got = waitpid(watch->pid, &status, watch->killed ? 0 : WNOHANG);

        if (got == watch->pid || (got < 0 && errno != EINTR)) {
            return status;
        }
        watch_it(watch);
        if (got == 0 && !watch->killed) {
            (void)nanosleep(&pause, NULL);
        }
    }
}

/* The end of it as one line: a message has no more. */
static const char *tail(struct buf *said)
{
    SCOPED(buf_done) struct buf line = {0};
    char *rest;

    buf_puts(said, "");
    rest = said->data;
    if (said->size > STDERR_KEPT) {
        rest += said->size - STDERR_KEPT;
    }
    for (const char *part; (part = strsep(&rest, "\r\n")) != NULL;) {
        if (part[0] != '\0') {
            buf_printf(&line, "%s%s", line.size != 0 ? "; " : "", part);
        }
    }
    buf_clear(said);
    buf_puts(said, line.size != 0 ? line.data : "");
    return said->data;
}

static int judge(const struct proc *proc, int status, bool late, int exec_errno, struct buf *said,
                 struct error *err)
{
    const char *name = proc->argv[0], *words;

    if (exec_errno != 0) {
        errno = exec_errno;
        fail_os(err, "run '%s'", name);
        err->kind = exec_errno == ENOENT ? FAIL_MISSING : FAIL_ERROR;
        return fail_hint(err, "'kiln doctor' lists the programs kiln needs");
    }
    if (stop_check(err) < 0) {
        return -1;
    }
    if (late) {
        return fail(err, FAIL_ERROR, "'%s' did not end within %g s", name,
                    proc->timeout_ms / 1000.0);
    }
    words = tail(said);
    if (WIFSIGNALED(status)) {
        return fail(err, FAIL_ERROR, "'%s' was killed by signal %d (%s)%s%s", name,
                    WTERMSIG(status), strsignal(WTERMSIG(status)), words[0] != '\0' ? ": " : "",
                    words);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return fail(err, FAIL_ERROR, "'%s' ended with status %d%s%s", name, WEXITSTATUS(status),
                    words[0] != '\0' ? ": " : "", words);
    }
    return 0;
}

/* Both ends, or neither: descriptors from -1. */
static int open_pipes(const struct proc *proc, int pipes[3][2])
{
    for (size_t i = proc->output != NULL ? 0 : 1; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0) {
            return -1;
        }
    }
    return 0;
}

static void close_ends(int pipes[3][2], int end)
{
    for (size_t i = 0; i < 3; i++) {
        scope_fd(&pipes[i][end]);
        pipes[i][end] = -1;
    }
}

int proc_run(const struct proc *proc, struct error *err)
{
    SCOPED(buf_done) struct buf said = {0};
    SCOPED_FREE char *path = proc_find(proc->argv[0]);
    struct watch watch = {.deadline_ms = proc->timeout_ms != 0 ? monotonic_ms() + proc->timeout_ms
                                                               : INT64_MAX};
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}; /* stdout, stderr, why exec failed */
    int status, exec_errno = 0;
    pid_t parent = getpid();

    watch.pid = open_pipes(proc, pipes) < 0 ? -1 : fork();
    if (watch.pid == 0) {
        /* What is not found is tried all the same: the system says best why not. */
        child(proc, path != NULL ? path : proc->argv[0], parent, pipes[0][1], pipes[1][1],
              pipes[2][1]);
    }
    if (watch.pid < 0) {
        fail_os(err, "run '%s'", proc->argv[0]);
        close_ends(pipes, 0);
        close_ends(pipes, 1);
        return -1;
    }
    close_ends(pipes, 1);
    if (read(pipes[2][0], &exec_errno, sizeof(exec_errno)) != sizeof(exec_errno)) {
        exec_errno = 0; /* the pipe closed on exec */
    }
    scope_fd(&pipes[2][0]);
    collect(proc, &watch, pipes[0][0], pipes[1][0], &said);
    status = await(&watch);
    return judge(proc, status, watch.late, exec_errno, &said, err);
}
