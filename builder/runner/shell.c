/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/environment.h"
#include "runner/file.h"
#include "runner/process.h"
#include "runner/relay.h"

enum { FLUSH_MS = 2000, GRACE_MS = 500 };

static const char hello[] = "kiln-shell\n";

/* Opens a terminal of the step's own devpts, so that it has a name there. */
static int open_terminal(const struct init *init, int *ret_slave)
{
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    char path[64];
    int root, master;

    (void)snprintf(path, sizeof(path), "/proc/%d/root", (int)init->pid);
    root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    master = file_open_inside(root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
    (void)close(root);
    if (master < 0) {
        return -1;
    }
    *ret_slave = unlockpt(master) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0
                     ? -1
                     : ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*ret_slave < 0) {
        (void)close(master);
        return -1;
    }
    return master;
}

static pid_t start(const struct init *init, uint64_t epoch_s, int terminal)
{
    static const char *const argv[] = {"/bin/sh", "-i", NULL};
    struct environment environment;
    struct process process = {.argv = (char *const *)argv,
                              .environment = environment.words,
                              .mounts = init->mounts,
                              .group = -1,
                              .output = -1,
                              .terminal = terminal};
    struct outcome outcome = {0};
    int exec_errno;

    environment_make(&environment, epoch_s, true);
    return process_start(&process, &exec_errno, &outcome);
}

static void carry(int master, int port, int end)
{
    struct relay to_host = {.from = master, .to = port}, from_host = {.from = port, .to = master};

    (void)memcpy(to_host.data, hello, strlen(hello));
    to_host.end = strlen(hello);
    while (!to_host.ended && !from_host.ended) {
        struct pollfd fds[] = {
            relay_wants(&to_host), relay_wants(&from_host), {.fd = end, .events = POLLIN}};

        if (poll(fds, 3, -1) < 0 && errno != EINTR) {
            return;
        }
        relay_move(&to_host, fds[0].revents);
        relay_move(&from_host, fds[1].revents);
        if (fds[2].revents != 0) {
            break;
        }
    }
    relay_finish(&to_host, FLUSH_MS);
}

/* The terminal is closed by now; a shell that does not care is killed. */
static void stop(pid_t pid, int end)
{
    struct pollfd wait = {.fd = end, .events = POLLIN};

    if (poll(&wait, 1, GRACE_MS) == 0) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

void shell_run(const struct init *init, uint64_t epoch_s)
{
    int port = open("/dev/virtio-ports/kiln.shell", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int slave = -1, master = port < 0 ? -1 : open_terminal(init, &slave), end = -1;
    pid_t pid = master < 0 ? -1 : start(init, epoch_s, slave);

    if (slave >= 0) {
        (void)close(slave);
    }
    if (pid > 0) {
        end = pidfd_open(pid, 0);
        carry(master, port, end);
    }
    if (master >= 0) {
        (void)close(master);
    }
    if (pid > 0) {
        stop(pid, end);
    }
    if (port >= 0) {
        (void)close(port);
    }
}
