/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/scope.h"
#include "base/stop.h"

enum { POLL_MS = 200, SETUP_FAILED = 126 };

/* What comes through the pipe, before the result. */
struct report {
    bool good;
    struct error err;
};

/* --- the process ----------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes every descriptor but those of CONFINE and REPORT. */
static int close_others(const struct confine *confine, int report)
{
    SCOPED_FREE int *keep = xcalloc(confine->fd_count + 1, sizeof(*keep));
    size_t count = confine->fd_count + 1;
    unsigned from = 0;

    for (size_t i = 0; i < confine->fd_count; i++) {
        keep[i] = confine->fds[i];
    }
    keep[confine->fd_count] = report;
    qsort(keep, count, sizeof(*keep), by_number);
    for (size_t i = 0; i < count; i++) {
        unsigned fd = (unsigned)keep[i];

        if (fd > from && close_range(from, fd - 1, 0) < 0) {
            return -1;
        }
        from = fd + 1;
    }
    return close_range(from, ~0U, 0);
}

#ifndef CONFINE_SANITIZED
/* Bytes of address space that this process has: the first number of proc(5), statm, in pages. */
static uint64_t memory_now(void)
{
    SCOPED_FD int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[64] = "";

    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0) {
        return 0; /* and so a limit that is tight */
    }
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int limit_memory(void)
{
    uint64_t bytes = memory_now() + CONFINE_MEMORY;
    struct rlimit limit = {bytes, bytes};

    return setrlimit(RLIMIT_AS, &limit);
}

/* What reading, writing, and the allocator need; a program that runs on nothing else. */
static int filter_calls(void)
{
    static const int calls[] = {
        SCMP_SYS(read),          SCMP_SYS(pread64),         SCMP_SYS(write),
        SCMP_SYS(brk),           SCMP_SYS(munmap),          SCMP_SYS(mremap),
        SCMP_SYS(madvise),       SCMP_SYS(futex),           SCMP_SYS(getrandom),
        SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(exit_group),    SCMP_SYS(rt_sigprocmask),  SCMP_SYS(getpid),
        SCMP_SYS(gettid),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int result = filter == NULL ? -ENOMEM : 0;

    for (size_t i = 0; i < COUNT(calls) && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    }
    /* Memory, and none that a program could be put into. */
    result = result != 0
                 ? result
                 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                                    SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    result = result != 0 ? result
                         : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* It may end itself by abort(), as it does without memory. */
    result = result != 0 ? result
                         : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 2,
                                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0),
                                            SCMP_A2(SCMP_CMP_EQ, SIGABRT, 0));
    if (result == 0) {
        result = seccomp_load(filter);
    }
    errno = -result;
    return result == 0 ? 0 : -1;
}
#else
/* AddressSanitizer has terabytes of addresses, and system calls of its own when it reports. */
static int limit_memory(void)
{
    return 0;
}

static int filter_calls(void)
{
    return 0;
}
#endif

/* From here on there is nothing but memory, the descriptors that are left, and an end to both. */
static int lock_in(const struct confine *confine, int report)
{
    struct rlimit cpu = {confine->cpu_s, confine->cpu_s}, none = {0, 0};

    return limit_memory() < 0 || close_others(confine, report) < 0 ||
                   setrlimit(RLIMIT_CPU, &cpu) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
                   prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
                   prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || filter_calls() < 0
               ? -1
               : 0;
}

/* A crash is to end it: no handler of the process that it comes from runs here. */
static void take_no_handlers(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

    for (size_t i = 0; i < COUNT(numbers); i++) {
        (void)signal(numbers[i], SIG_DFL);
    }
}

static void child(const struct confine *confine, pid_t parent, int report_fd)
{
    struct report *report = xcalloc(1, sizeof(*report));
    struct error ignored = {0};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(SETUP_FAILED);
    }
    take_no_handlers();
    if (lock_in(confine, report_fd) < 0) {
        fail_os(&report->err, "start a confined process");
    } else {
        report->good = confine->work(confine->data, confine->result, &report->err) == 0;
    }
    (void)file_write_all(report_fd, report, sizeof(*report), "pipe", &ignored);
    (void)file_write_all(report_fd, confine->result, confine->result_size, "pipe", &ignored);
    _exit(0);
}

/* --- its parent ------------------------------------------------------------------------------ */

/*
 * What the process says, SIZE bytes at most. Less comes when it ends, or has to: true in *RET_LATE
 * when because of the time.
 */
static size_t listen_to(int fd, int64_t end_s, char *at, size_t size, bool *ret_late)
{
    size_t got = 0;

    while (got < size && !stop_requested() && !*ret_late) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t count = 0;

        *ret_late = monotonic_ms() / 1000 >= end_s;
        if (poll(&ready, 1, POLL_MS) <= 0) {
            continue;
        }
        count = read(fd, at + got, size - got);
        if (count == 0 || (count < 0 && errno != EINTR)) {
            break;
        }
        got += count > 0 ? (size_t)count : 0;
    }
    return got;
}

static int await(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* Everything in it is the process's word: a text of the length that errors have, and no more. */
static int pass_on(struct report *report, struct error *err)
{
    struct error *said = &report->err;
    bool known = said->kind == FAIL_ERROR || said->kind == FAIL_MISMATCH;

    said->message[sizeof(said->message) - 1] = '\0';
    said->hint[sizeof(said->hint) - 1] = '\0';
    fail(err, known ? said->kind : FAIL_ERROR, "%s", said->message);
    return said->hint[0] != '\0' ? fail_hint(err, "%s", said->hint) : -1;
}

/* It did not say what it had to. */
static int fail_silent(const struct confine *confine, int status, struct error *err)
{
    int number = WTERMSIG(status);

    if (WIFSIGNALED(status)) {
        fail(err, FAIL_ERROR, "%s failed (signal %d, %s)", confine->what, number,
             strsignal(number));
        return number == SIGABRT || number == SIGSEGV || number == SIGXCPU || number == SIGKILL
                   ? fail_hint(err, "it may take %llu MiB of memory and %u s of computing",
                               CONFINE_MEMORY >> 20, confine->cpu_s)
                   : -1;
    }
    return fail(err, FAIL_ERROR, "%s failed without a word (status %d)", confine->what,
                WEXITSTATUS(status));
}

static int judge(const struct confine *confine, char *said, struct error *err)
{
    struct report *report = (struct report *)said;

    if (*(const unsigned char *)&report->good != true) {
        return pass_on(report, err);
    }
    memcpy(confine->result, said + sizeof(*report), confine->result_size);
    return 0;
}

int confine_run(const struct confine *confine, struct error *err)
{
    size_t size = sizeof(struct report) + confine->result_size, got;
    SCOPED_FREE char *said = xcalloc(1, size);
    bool late = false;
    int pipes[2], status;
    pid_t parent = getpid(), pid;

    if (pipe2(pipes, O_CLOEXEC) < 0) {
        return fail_os(err, "%s", confine->what);
    }
    pid = fork();
    if (pid == 0) {
        child(confine, parent, pipes[1]);
    }
    (void)close(pipes[1]);
    if (pid < 0) {
        (void)close(pipes[0]);
        return fail_os(err, "%s", confine->what);
    }
    got = listen_to(pipes[0], monotonic_ms() / 1000 + confine->wall_s, said, size, &late);
    (void)close(pipes[0]);
    if (got == size || late || stop_requested()) {
        (void)kill(pid, SIGKILL); /* it has said all, or nobody waits for it any more */
    }
    status = await(pid);
    if (stop_check(err) < 0) {
        return -1;
    }
    if (late) {
        return fail(err, FAIL_ERROR, "%s did not end within %u s", confine->what, confine->wall_s);
    }
    return got == size ? judge(confine, said, err) : fail_silent(confine, status, err);
}
