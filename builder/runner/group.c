/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/clock.h"
#include "runner/file.h"

#define GROUP "cgroup/step"

enum { END_MS = 120000, TRY_MS = 10 };

int group_make(struct outcome *outcome)
{
    int fd;

    if (mount("cgroup2", "cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
        return outcome_fail_os(outcome, "mount control groups");
    }
    if (file_write("cgroup/cgroup.subtree_control", "+pids") < 0 ||
        (mkdir(GROUP, 0755) < 0 && errno != EEXIST) || file_write(GROUP "/pids.max", "4096") < 0) {
        return outcome_fail_os(outcome, "make a control group");
    }
    /* All of a step together get as much time as the runner: a thousand processes do not keep it
     * from ending them. Not every kernel has that. */
    (void)file_write("cgroup/cgroup.subtree_control", "+cpu");
    fd = open(GROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
    return fd >= 0 ? fd : outcome_fail_os(outcome, "open the control group");
}

/* Without the dead that nobody has waited for yet: the kernel leaves them out. */
bool group_is_empty(void)
{
    char pid[2];

    return file_read(GROUP "/cgroup.procs", pid, sizeof(pid)) <= 0;
}

int group_kill(struct outcome *outcome)
{
    const int64_t deadline_ms = clock_ms() + END_MS;

    if (file_write(GROUP "/cgroup.kill", "1") < 0) {
        return outcome_fail_os(outcome, "kill the step's processes");
    }
    while (!group_is_empty()) {
        if (clock_ms() > deadline_ms) {
            return outcome_fail(outcome, "the step's processes do not end");
        }
        clock_pause(TRY_MS);
    }
    return 0;
}

/* Appends the name of process PID, if it is still there. */
static void add_name(char *names, size_t size, const char *pid)
{
    char path[64], name[32];
    const size_t used = strlen(names);

    (void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    if (file_read(path, name, sizeof(name)) <= 0) {
        return;
    }
    name[strcspn(name, "\n")] = '\0';
    for (char *c = name; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            *c = '?';
        }
    }
    if (used + 1 + strlen(name) < size) {
        (void)snprintf(names + used, size - used, "%s%s", used != 0 ? " " : "", name);
    }
}

void group_names(char *names, size_t size)
{
    char pids[4096], *rest = pids;

    names[0] = '\0';
    (void)file_read(GROUP "/cgroup.procs", pids, sizeof(pids));
    for (const char *pid; (pid = strsep(&rest, "\n")) != NULL && rest != NULL;) {
        add_name(names, size, pid);
    }
}

void group_remove(void)
{
    (void)rmdir(GROUP);
}
