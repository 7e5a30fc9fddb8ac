/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/file.h"
#include "runner/isolation.h"
#include "runner/mounts.h"
#include "runner/scratch.h"

static int set_up(const struct task *task, const struct command *command,
                  const struct policy *policy, struct outcome *outcome)
{
    int root;

    if (unshare(CLONE_NEWNS) < 0) {
        return outcome_fail_os(outcome, "unshare mounts");
    }
    root = open(SCRATCH_MOUNT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0) {
        return outcome_fail_os(outcome, "open the image");
    }
    if (mounts_make(task, root, outcome) < 0 || command_place(command, task, root, outcome) < 0 ||
        policy_cover(policy, root, outcome) < 0) {
        return -1;
    }
    return isolation_set_root(root, outcome);
}

/* Nobody in the step may look into it or hold on to what it had open. */
static void reap(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)signal(SIGCHLD, SIG_IGN); /* the kernel does the waiting then */
    (void)close_range(0, ~0U, 0);
    for (;;) {
        (void)pause();
    }
}

static void run(const struct task *task, const struct command *command, const struct policy *policy,
                int ready)
{
    struct outcome outcome = {0};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (set_up(task, command, policy, &outcome) < 0) {
        (void)file_write_all(ready, outcome.line, strlen(outcome.line));
        _exit(1);
    }
    reap();
}

/* Reads what went wrong until the descriptor closes; nothing, if all is well. */
static int await_ready(int fd, struct outcome *outcome)
{
    char line[sizeof(outcome->line)] = "";
    size_t have = 0;
    ssize_t got;

    while ((got = read(fd, line + have, sizeof(line) - 1 - have)) > 0 ||
           (got < 0 && errno == EINTR)) {
        have += got > 0 ? (size_t)got : 0;
    }
    return have == 0 ? 0 : outcome_fail(outcome, "%s", line + strlen("failed "));
}

int init_start(struct init *init, const struct task *task, const struct command *command,
               const struct policy *policy, struct outcome *outcome)
{
    char path[64];
    int ready[2];

    init->pid = -1;
    if (pipe2(ready, O_CLOEXEC) < 0 || (init->pid = fork()) < 0) {
        return outcome_fail_os(outcome, "start process 1");
    }
    if (init->pid == 0) {
        (void)close(ready[0]);
        run(task, command, policy, ready[1]);
    }
    (void)close(ready[1]);
    if (await_ready(ready[0], outcome) < 0) {
        return -1;
    }
    (void)close(ready[0]);
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)init->pid);
    init->mounts = open(path, O_RDONLY | O_CLOEXEC);
    return init->mounts >= 0 ? 0 : outcome_fail_os(outcome, "open the step's mounts");
}

void init_stop(struct init *init)
{
    if (init->pid <= 0) {
        return;
    }
    (void)kill(init->pid, SIGKILL);
    while (waitpid(init->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    if (init->mounts >= 0) {
        (void)close(init->mounts);
    }
}
