/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one step inside the appliance:
 *
 *     runner STEP_DIR DEVICE EPOCH_S TIMEOUT_S MEMORY_BYTES shell|-
 *
 * It is started by libguestfs's daemon in the root directory of the inputs disk. The step's output
 * goes to the virtio port kiln.output; how the step ended is the one line on stdout, and the exit
 * status is 0 whatever that line says. builder/step/ has the other end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/clock.h"
#include "runner/command.h"
#include "runner/environment.h"
#include "runner/group.h"
#include "runner/init.h"
#include "runner/isolation.h"
#include "runner/memory.h"
#include "runner/mounts.h"
#include "runner/outcome.h"
#include "runner/points.h"
#include "runner/policy.h"
#include "runner/process.h"
#include "runner/relay.h"
#include "runner/scratch.h"
#include "runner/shell.h"
#include "runner/task.h"
#include "runner/watch.h"

/* Starts the step's first process, with its output on the pipe. */
static pid_t start(const struct task *task, const struct command *command, const struct init *init,
                   int group, int output, int root, struct outcome *outcome)
{
    struct environment environment;
    const struct process process = {.argv = command->argv,
                                    .environment = environment.words,
                                    .mounts = init->mounts,
                                    .group = group,
                                    .output = output,
                                    .terminal = -1};
    int exec_errno;
    pid_t pid;

    environment_make(&environment, task->epoch_s, false);
    pid = process_start(&process, &exec_errno, outcome);
    if (exec_errno != 0) {
        command_failed(command, root, exec_errno, outcome);
    }
    return pid;
}

/* From the step's first process to the end of its last. */
static int run_step(const struct task *task, const struct command *command, const struct init *init,
                    int group, int root, const struct memory *memory, struct outcome *outcome)
{
    int port = open("/dev/virtio-ports/kiln.output", O_WRONLY | O_NONBLOCK | O_CLOEXEC), pipes[2];
    struct relay relay = {.to = port, .lossy = true};
    struct watch watch = {.output = &relay, .memory = memory};
    int result;

    if (port < 0 || pipe2(pipes, O_CLOEXEC) < 0) {
        return outcome_fail_os(outcome, "open the port for the step's output");
    }
    relay.from = pipes[0];
    watch.deadline_ms = clock_ms() + (int64_t)task->timeout_s * 1000;
    watch.pid = start(task, command, init, group, pipes[1], root, outcome);
    (void)close(pipes[1]);
    (void)fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    result = watch.pid < 0 ? -1 : watch_step(&watch, outcome);
    (void)close(pipes[0]);
    (void)close(port);
    return result;
}

static int run_isolated(const struct task *task, const struct command *command,
                        const struct policy *policy, int root, struct outcome *outcome)
{
    struct init init = {.pid = -1, .mounts = -1};
    struct memory memory = {0};
    int group = group_make(outcome), result;

    result = group < 0 || init_start(&init, task, command, policy, outcome) < 0 ||
                     memory_limit(&memory, task->memory_bytes, outcome) < 0
                 ? -1
                 : run_step(task, command, &init, group, root, &memory, outcome);
    memory_release(&memory);
    if (task->shell && init.mounts >= 0 && strcmp(outcome->line, "exit 0") != 0) {
        shell_run(&init, task->epoch_s);
    }
    init_stop(&init);
    if (group >= 0) {
        (void)close(group);
        group_remove();
    }
    return result;
}

/* With the scratch disk mounted: what is made in the image for the step is removed again. */
static void run_in_image(const struct task *task, struct outcome *outcome)
{
    struct command command = {0};
    struct points points = {0};
    struct policy policy = {.directory = -1};
    int root = open(SCRATCH_MOUNT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (root < 0) {
        (void)outcome_fail_os(outcome, "open the image");
        return;
    }
    if (command_load(&command, task, root, outcome) == 0 &&
        mounts_prepare(task, root, &points, outcome) == 0 &&
        policy_make(&policy, root, outcome) == 0) {
        (void)run_isolated(task, &command, &policy, root, outcome);
    }
    policy_remove(&policy);
    points_remove(&points);
    (void)close(root);
}

static void run(const struct task *task, struct outcome *outcome)
{
    if (clock_start(task->epoch_s, outcome) < 0 || isolation_enter(outcome) < 0 ||
        scratch_mount(task->device, outcome) < 0) {
        return;
    }
    run_in_image(task, outcome);
    (void)scratch_unmount(task->device, outcome);
}

int main(int argc, char **argv)
{
    struct outcome outcome = {0};
    struct task task;

    if (task_parse(argc, argv, &task) < 0) {
        (void)fprintf(stderr, "usage: runner STEP_DIR DEVICE EPOCH_S TIMEOUT_S MEMORY_BYTES "
                              "shell|-\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(0);
    (void)setpriority(PRIO_PROCESS, 0, -20); /* four thousand busy processes must not stop us */
    run(&task, &outcome);
    return puts(outcome.line) < 0 || fflush(stdout) != 0 ? 1 : 0;
}
