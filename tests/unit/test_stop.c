/* SPDX-License-Identifier: Apache-2.0 */
/* Which signals stop the work, and which do not. Each in a process of its own. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/stop.h"

#include <cmocka.h> /* last: it has a macro fail() */

static int in_child(int (*run)(int number), int number)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        for (int i = 1; i < 32; i++) {
            (void)signal(i, SIG_DFL);
        }
        _exit(run(number));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* 0 when a stop comes within MS. */
static int stops_within(int ms)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    for (; ms > 0 && !stop_requested(); ms--) {
        (void)nanosleep(&pause, NULL);
    }
    return stop_requested() ? 0 : 1;
}

static int send(int number)
{
    stop_init();
    (void)kill(getpid(), number);
    return stops_within(5000);
}

static int send_ignored(int number)
{
    (void)signal(number, SIG_IGN);
    stop_init();
    (void)kill(getpid(), number);
    if (stops_within(100) == 0) {
        return 2;
    }
    /* The others still work. */
    (void)kill(getpid(), number == SIGTERM ? SIGINT : SIGTERM);
    return stops_within(5000);
}

static void *send_soon(void *unused)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    (void)unused;
    (void)nanosleep(&pause, NULL);
    (void)kill(getpid(), SIGINT);
    return NULL;
}

/* Without the signal it would not end before the test is given up. */
static int sleep_long(int unused)
{
    pthread_t thread;

    (void)unused;
    stop_init();
    stop_sleep(10);
    if (stop_requested() || pthread_create(&thread, NULL, send_soon, NULL) != 0) {
        return 2;
    }
    stop_sleep(1000000);
    stop_sleep(1000000); /* nor does it begin to any more */
    return stop_requested() && pthread_join(thread, NULL) == 0 ? 0 : 1;
}

static void a_signal_ends_a_sleep(void **state)
{
    (void)state;
    assert_int_equal(in_child(sleep_long, 0), 0);
}

static void these_signals_stop_the_work(void **state)
{
    (void)state;
    assert_int_equal(in_child(send, SIGINT), 0);
    assert_int_equal(in_child(send, SIGTERM), 0);
    assert_int_equal(in_child(send, SIGHUP), 0);
}

static void what_was_ignored_at_the_start_stays_so(void **state)
{
    (void)state;
    assert_int_equal(in_child(send_ignored, SIGINT), 0);
    assert_int_equal(in_child(send_ignored, SIGTERM), 0);
    assert_int_equal(in_child(send_ignored, SIGHUP), 0);
}

static int write_beyond(int limit)
{
    const struct rlimit size = {.rlim_cur = (rlim_t)limit, .rlim_max = (rlim_t)limit};
    SCOPED_FILE FILE *file = tmpfile();
    int fd = file != NULL ? fileno(file) : -1;

    stop_init();
    if (fd < 0 || setrlimit(RLIMIT_FSIZE, &size) < 0) {
        return 99;
    }
    return pwrite(fd, "x", 1, limit) < 0 && errno == EFBIG ? 0 : 1;
}

static void a_file_that_grows_too_large_is_an_error_to_report(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_beyond, 4096), 0);
}

static int write_to_nobody(int unused)
{
    int fds[2];

    (void)unused;
    stop_init();
    if (pipe(fds) < 0 || close(fds[0]) < 0) {
        return 99;
    }
    return write(fds[1], "x", 1) < 0 && errno == EPIPE ? 0 : 1;
}

static void a_pipe_that_closes_is_an_error_to_report(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_to_nobody, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(these_signals_stop_the_work),
        cmocka_unit_test(a_signal_ends_a_sleep),
        cmocka_unit_test(what_was_ignored_at_the_start_stays_so),
        cmocka_unit_test(a_file_that_grows_too_large_is_an_error_to_report),
        cmocka_unit_test(a_pipe_that_closes_is_an_error_to_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
