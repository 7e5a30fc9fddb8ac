/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/file.h"
#include "runner/memory.h"

#define BIT(capability) (UINT64_C(1) << (capability))

/* What Docker gives a container by default. (https://docs.docker.com/engine/containers/run/) */
static const uint64_t capabilities = BIT(CAP_AUDIT_WRITE) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) |
                                     BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) |
                                     BIT(CAP_MKNOD) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_RAW) |
                                     BIT(CAP_SETFCAP) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) |
                                     BIT(CAP_SETUID) | BIT(CAP_SYS_CHROOT);

/* Which call failed in the child, and how. */
struct trouble {
    int os;
    char call[28]; /* "" for exec */
};

static int enter(const struct process *process)
{
    if (process->group >= 0 && file_write_all(process->group, "0", 1) < 0) {
        return -1;
    }
    return memory_expose() < 0 ? -1 : setns(process->mounts, CLONE_NEWNS);
}

static int set_limits(void)
{
    const struct rlimit files = {.rlim_cur = 1024, .rlim_max = 524288}, core = {0};

    return setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0
               ? -1
               : setpriority(PRIO_PROCESS, 0, 0);
}

static int set_stdio(const struct process *process)
{
    int in = process->terminal >= 0 ? process->terminal : open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = process->terminal >= 0 ? process->terminal : process->output;

    if (setsid() < 0 || (process->terminal >= 0 && ioctl(in, TIOCSCTTY, 0) < 0)) {
        return -1;
    }
    return in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 ? -1 : 0;
}

static int reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* fails for SIGKILL and SIGSTOP, and glibc's own */
    }
    (void)sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Executing anything as root gives all that the bounding set has, so that is what counts. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    for (unsigned i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
        if ((capabilities & BIT(i)) == 0 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(capabilities >> (32 * i));
        data[i].permitted = data[i].effective;
    }
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0
               ? -1
               : (int)syscall(SYS_capset, &header, data);
}

static int new_keyring(void)
{
    return syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS ? -1 : 0;
}

/* Everything before exec; returns the name of what failed, or NULL. */
static const char *become(const struct process *process)
{
    (void)umask(022);
    return enter(process) < 0        ? "enter the step"
           : chdir("/") < 0          ? "enter the image"
           : set_limits() < 0        ? "set limits"
           : set_stdio(process) < 0  ? "set up output"
           : new_keyring() < 0       ? "make a keyring"
           : setgroups(0, NULL) < 0  ? "drop groups"
           : reset_signals() < 0     ? "reset signals"
           : drop_capabilities() < 0 ? "drop capabilities"
                                     : NULL;
}

static void child(const struct process *process, int report)
{
    struct trouble trouble = {0};
    const char *call = become(process);

    if (call != NULL) {
        (void)snprintf(trouble.call, sizeof(trouble.call), "%s", call);
    } else {
        (void)execve(process->argv[0], process->argv, (char *const *)process->environment);
    }
    trouble.os = errno;
    (void)file_write_all(report, &trouble, sizeof(trouble));
    _exit(127);
}

pid_t process_start(const struct process *process, int *ret_exec, struct outcome *outcome)
{
    struct trouble trouble = {0};
    int report[2] = {-1, -1};
    pid_t pid;
    ssize_t got;

    *ret_exec = 0;
    if (pipe2(report, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        return outcome_fail_os(outcome, "start a process");
    }
    if (pid == 0) {
        child(process, report[1]);
    }
    (void)close(report[1]);
    got = read(report[0], &trouble, sizeof(trouble));
    (void)close(report[0]);
    if (got == 0) {
        return pid; /* the descriptor was closed by exec */
    }
    (void)waitpid(pid, NULL, 0);
    errno = trouble.os;
    if (trouble.call[0] != '\0') {
        return outcome_fail_os(outcome, "%s", trouble.call);
    }
    *ret_exec = trouble.os;
    return -1;
}
