/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/watch.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/clock.h"
#include "runner/group.h"

/* How often limits are looked at, how long a step's last processes have to end by themselves, and
 * how long the host may take no output. */
enum { TICK_MS = 100, LEAVE_MS = 2000, FLUSH_MS = 30000 };

static void move_output(struct watch *watch, int end)
{
    struct pollfd fds[] = {relay_wants(watch->output), {.fd = end, .events = POLLIN}};

    if (poll(fds, 2, TICK_MS) > 0) {
        relay_move(watch->output, fds[0].revents);
    }
}

/* Returns true when the first process has ended; else the step must. */
static bool await_end(struct watch *watch, int end, struct outcome *outcome)
{
    int status;

    while (waitpid(watch->pid, &status, WNOHANG) != watch->pid) {
        if (memory_exceeded(watch->memory)) {
            outcome_set(outcome, "memory");
            return false;
        }
        if (clock_ms() >= watch->deadline_ms) {
            outcome_set(outcome, "timeout");
            return false;
        }
        move_output(watch, end);
    }
    watch->pid = -1;
    /* It may have ended because another process was killed for that. */
    if (memory_exceeded(watch->memory)) {
        outcome_set(outcome, "memory");
        return false;
    }
    if (WIFSIGNALED(status)) {
        outcome_set(outcome, "signal %d", WTERMSIG(status));
    } else {
        outcome_set(outcome, "exit %d", WEXITSTATUS(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A step that ended well must leave nobody behind: what they would still do is not in the image. */
static void await_others(struct watch *watch, struct outcome *outcome)
{
    const int64_t deadline_ms = clock_ms() + LEAVE_MS;
    char names[200];

    while (!group_is_empty() && !memory_exceeded(watch->memory)) {
        group_names(names, sizeof(names));
        if (clock_ms() >= deadline_ms && names[0] != '\0') {
            outcome_set(outcome, "left %s", names);
            return;
        }
        move_output(watch, -1);
    }
    if (memory_exceeded(watch->memory)) {
        outcome_set(outcome, "memory");
    }
}

int watch_step(struct watch *watch, struct outcome *outcome)
{
    int end = pidfd_open(watch->pid, 0), result;

    if (end < 0) {
        return outcome_fail_os(outcome, "watch the step");
    }
    if (await_end(watch, end, outcome)) {
        await_others(watch, outcome);
    }
    (void)close(end);
    result = group_kill(outcome);
    while (result == 0 && watch->pid > 0 && waitpid(watch->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    relay_finish(watch->output, FLUSH_MS);
    return result;
}
