/* SPDX-License-Identifier: Apache-2.0 */
#include "step/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/file.h"

struct shell {
    struct ui *ui;
    pthread_t thread;
    bool running;
    int to, from;   /* the FIFOs, as the shell sees them: its input, its output */
    int closing;    /* eventfd */
    size_t greeted; /* bytes of the greeting that have come */
    bool raw;
    struct termios before;
};

bool shell_possible(void)
{
    return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
}

static void take_terminal(struct shell *shell)
{
    struct termios raw;

    ui_phase_end(shell->ui);
    ui_note(shell->ui, "a shell in the appliance, where the step failed; 'exit' goes on");
    if (tcgetattr(STDIN_FILENO, &shell->before) == 0) {
        raw = shell->before;
        cfmakeraw(&raw);
        shell->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
    }
}

static void give_terminal(struct shell *shell)
{
    if (shell->raw) {
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &shell->before);
        shell->raw = false;
    }
}

/* Moves what FROM has to TO: false at the end of either. */
static bool move(int from, int to)
{
    struct error ignored = {0};
    char data[4096];
    ssize_t got = read(from, data, sizeof(data));

    return got > 0 ? file_write_all(to, data, (size_t)got, "the shell", &ignored) == 0
                   : got < 0 && (errno == EINTR || errno == EAGAIN);
}

/* Before the greeting nothing of it is the user's. */
static void greet(struct shell *shell)
{
    char byte;

    while (shell->greeted < strlen(SHELL_GREETING) && read(shell->from, &byte, 1) == 1) {
        shell->greeted = byte == SHELL_GREETING[shell->greeted] ? shell->greeted + 1 : 0;
    }
    if (shell->greeted == strlen(SHELL_GREETING)) {
        take_terminal(shell);
    }
}

/* A pipe that can be written to takes a page whole (pipe(7)), which is as much as is moved. */
static bool has_room(int pipe)
{
    struct pollfd wanted = {.fd = pipe, .events = POLLOUT};

    return poll(&wanted, 1, 0) == 1;
}

static void *run(void *data)
{
    struct shell *shell = data;

    for (bool open = true; open;) {
        bool talking = shell->greeted == strlen(SHELL_GREETING), room = has_room(shell->to);
        struct pollfd fds[] = {
            {.fd = shell->closing, .events = POLLIN},
            {.fd = shell->from, .events = POLLIN},
            {.fd = room ? STDIN_FILENO : shell->to, .events = room ? POLLIN : POLLOUT}};

        (void)poll(fds, talking ? 3 : 2, -1);
        if (fds[1].revents != 0 && !talking) {
            greet(shell);
        } else if (fds[1].revents != 0) {
            open = move(shell->from, STDERR_FILENO);
        } else if (talking && room && fds[2].revents != 0) {
            open = move(STDIN_FILENO, shell->to);
        } else {
            open = fds[0].revents == 0;
        }
    }
    give_terminal(shell);
    return NULL;
}

static int open_fifo(const char *path, const char *end, int *ret, struct error *err)
{
    SCOPED_FREE char *name = xprintf("%s.%s", path, end);

    *ret = mkfifo(name, 0600) < 0 ? -1 : open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return *ret < 0 ? fail_os(err, "make the pipe '%s'", name) : 0;
}

int shell_new(const char *path, struct ui *ui, struct shell **ret, struct error *err)
{
    SCOPED(shell_freep) struct shell *shell = xcalloc(1, sizeof(*shell));

    shell->ui = ui;
    shell->to = shell->from = -1;
    shell->closing = eventfd(0, EFD_CLOEXEC);
    if (shell->closing < 0) {
        return fail_os(err, "make an eventfd");
    }
    if (open_fifo(path, "in", &shell->to, err) < 0 ||
        open_fifo(path, "out", &shell->from, err) < 0) {
        return -1;
    }
    errno = pthread_create(&shell->thread, NULL, run, shell);
    if (errno != 0) {
        return fail_os(err, "start a thread");
    }
    shell->running = true;
    *ret = TAKE(shell);
    return 0;
}

void shell_free(struct shell *shell)
{
    uint64_t one = 1;

    if (shell == NULL) {
        return;
    }
    if (shell->running) {
        (void)!write(shell->closing, &one, sizeof(one));
        (void)pthread_join(shell->thread, NULL);
    }
    scope_fd(&shell->to);
    scope_fd(&shell->from);
    scope_fd(&shell->closing);
    free(shell);
}
