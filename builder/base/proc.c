/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/stop.h"

enum { STDERR_KEPT = 2048, EXEC_FAILED = 127 };

static void child(const struct proc *proc, pid_t parent, int out, int err_fd, int exec_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;
    int os;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0) {
        _exit(EXEC_FAILED);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(null, 0) < 0 || dup2(out >= 0 ? out : null, 1) < 0 || dup2(err_fd, 2) < 0) {
        _exit(EXEC_FAILED);
    }
    for (const char *const *env = proc->env; env != NULL && *env != NULL; env++) {
        (void)putenv((char *)*env);
    }
    execvp(proc->argv[0], (char *const *)proc->argv);
    os = errno;
    if (write(exec_fd, &os, sizeof(os)) < 0) {
        _exit(EXEC_FAILED);
    }
    _exit(EXEC_FAILED);
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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
    if (buf->size > 4 * STDERR_KEPT) {
        memmove(buf->data, buf->data + buf->size - STDERR_KEPT, STDERR_KEPT + 1);
        buf->size = STDERR_KEPT;
    }
}

/* Reads both pipes until they close; kills the child on interruption or when its time is up. */
static bool collect(const struct proc *proc, pid_t pid, int out, int err_fd, struct buf *said)
{
    int64_t deadline = proc->timeout_ms != 0 ? now_ms() + proc->timeout_ms : INT64_MAX;
    bool late = false, killed = false;

    while (out >= 0 || err_fd >= 0) {
        struct pollfd fds[] = {{.fd = out, .events = POLLIN}, {.fd = err_fd, .events = POLLIN}};

        late = late || now_ms() >= deadline;
        if (!killed && (late || stop_requested())) {
            (void)kill(pid, SIGKILL);
            killed = true;
        }
        if (poll(fds, 2, 200) <= 0) {
            /* A grandchild that keeps the pipe open must not keep kiln as well. */
            if (killed) {
                break;
            }
            continue;
        }
        if (fds[0].revents != 0) {
            drain(&out, proc->output);
        }
        if (fds[1].revents != 0) {
            drain(&err_fd, said);
            keep_tail(said);
        }
    }
    scope_fd(&out);
    scope_fd(&err_fd);
    return late;
}

static const char *tail(struct buf *said)
{
    char *text = said->data == NULL ? (buf_puts(said, ""), said->data) : said->data;

    while (said->size != 0 && text[said->size - 1] == '\n') {
        text[--said->size] = '\0';
    }
    return said->size > STDERR_KEPT ? text + said->size - STDERR_KEPT : text;
}

static int judge(const struct proc *proc, int status, bool late, int exec_errno, struct buf *said,
                 struct error *err)
{
    const char *name = proc->argv[0];

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
        return fail(err, FAIL_ERROR, "'%s' did not end within %u s", name, proc->timeout_ms / 1000);
    }
    if (WIFSIGNALED(status)) {
        return fail(err, FAIL_ERROR, "'%s' was killed by signal %d (%s)%s%s", name,
                    WTERMSIG(status), strsignal(WTERMSIG(status)), said->size != 0 ? ": " : "",
                    tail(said));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return fail(err, FAIL_ERROR, "'%s' ended with status %d%s%s", name, WEXITSTATUS(status),
                    said->size != 0 ? ": " : "", tail(said));
    }
    return 0;
}

int proc_run(const struct proc *proc, struct error *err)
{
    SCOPED(buf_done) struct buf said = {0};
    int out[2] = {-1, -1}, err_pipe[2], exec_pipe[2];
    int status = 0, exec_errno = 0;
    pid_t parent = getpid(), pid;
    bool late;

    if ((proc->output != NULL && pipe2(out, O_CLOEXEC) < 0) || pipe2(err_pipe, O_CLOEXEC) < 0 ||
        pipe2(exec_pipe, O_CLOEXEC) < 0) {
        return fail_os(err, "run '%s': pipe", proc->argv[0]);
    }
    pid = fork();
    if (pid == 0) {
        child(proc, parent, out[1], err_pipe[1], exec_pipe[1]);
    }
    scope_fd(&out[1]);
    scope_fd(&err_pipe[1]);
    scope_fd(&exec_pipe[1]);
    if (pid < 0) {
        scope_fd(&out[0]);
        scope_fd(&err_pipe[0]);
        scope_fd(&exec_pipe[0]);
        return fail_os(err, "run '%s': fork", proc->argv[0]);
    }
    if (read(exec_pipe[0], &exec_errno, sizeof(exec_errno)) != sizeof(exec_errno)) {
        exec_errno = 0; /* the pipe closed on exec */
    }
    scope_fd(&exec_pipe[0]);
    late = collect(proc, pid, out[0], err_pipe[0], &said);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return judge(proc, status, late, exec_errno, &said, err);
}
