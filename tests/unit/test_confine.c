/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "capture/confine.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/stop.h"
#include "base/text.h"

static int refuse(struct error *err)
{
    fail(err, FAIL_MISMATCH, "it is '%s'", "wrong");
    return fail_hint(err, "do it again");
}

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

static unsigned wall_s = 60;

typedef int (*work)(void *data, void *result, struct error *err);

static int run(work function, void *data, int *result, const int *fds, size_t count,
               struct error *err)
{
    const struct confine confine = {
        .what = "the work",
        .fds = fds,
        .fd_count = count,
        .cpu_s = 1,
        .wall_s = wall_s,
        .work = function,
        .data = data,
        .result = result,
        .result_size = sizeof(*result),
    };

    return confine_run(&confine, err);
}

static int answer(void *data, void *result, struct error *err)
{
    (void)err;
    *(int *)result = *(int *)data + 1;
    *(int *)data = 0;
    return 0;
}

static void the_result_comes_back_and_nothing_else(void **state)
{
    struct error err = {0};
    int given = 41, got = 0;

    (void)state;
    assert_int_equal(run(answer, &given, &got, NULL, 0, &err), 0);
    assert_int_equal(got, 42);
    assert_int_equal(given, 41);
}

static int fail_it(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    return refuse(err);
}

static void an_error_comes_back(void **state)
{
    struct error err = {0};
    int result;

    (void)state;
    assert_int_equal(run(fail_it, NULL, &result, NULL, 0, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_string_equal(err.message, "it is 'wrong'");
    assert_string_equal(err.hint, "do it again");
}

/* A process that somebody has taken over says what it likes. */
static int lie(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    err->kind = (enum fail_kind)77;
    err->lines = true;
    memset(err->message, 'x', sizeof(err->message));
    memset(err->hint, 'y', sizeof(err->hint));
    return -1;
}

static void an_error_is_a_text_and_no_more(void **state)
{
    struct error err = {0};
    int result;

    (void)state;
    assert_int_equal(run(lie, NULL, &result, NULL, 0, &err), -1);
    assert_int_equal(err.kind, FAIL_ERROR);
    assert_false(err.lines);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
}

static int write_to(void *data, void *result, struct error *err)
{
    (void)result;
    (void)err;
    return write(*(int *)data, "x", 1) == 1 ? 0 : -1;
}

static void only_what_is_given_is_open(void **state)
{
    struct error err = {0};
    int pipes[2], result;
    char byte;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(run(write_to, &pipes[1], &result, &pipes[1], 1, &err), 0);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(run(write_to, &pipes[1], &result, NULL, 0, &err), -1);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

static void must_die(work function, const char *expected)
{
    struct error err = {0};
    int result;

    assert_int_equal(run(function, NULL, &result, NULL, 0, &err), -1);
    if (!text_starts(err.message, expected)) {
        fail_msg("%s", err.message);
    }
}

static int crash(void *data, void *result, struct error *err)
{
    (void)result;
    (void)err;
    return **(int *volatile *)data;
}

static int leave(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    _exit(0);
}

static void an_end_without_a_word_is_an_error(void **state)
{
    (void)state;
    must_die(leave, "the work failed without a word");
}

#ifndef CONFINE_SANITIZED
static int open_file(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int start_process(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    return fork();
}

static int make_socket(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int kill_parent(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    return kill(getppid(), SIGTERM);
}

static int map_program(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED
               ? 0
               : -1;
}

static void other_system_calls_end_it(void **state)
{
    static const work works[] = {open_file, start_process, make_socket, kill_parent, map_program};

    (void)state;
    for (size_t i = 0; i < COUNT(works); i++) {
        must_die(works[i], "the work failed (signal 31, Bad system call)");
    }
}

static int eat_memory(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    for (size_t i = 0; i < SIZE_MAX; i++) {
        memset(xmalloc(1 << 20), 1, 1 << 12);
    }
    return 0;
}

static int spin(void *data, void *result, struct error *err)
{
    (void)data;
    (void)result;
    (void)err;
    for (volatile uint64_t i = 0; i < UINT64_MAX; i++) {
    }
    return 0;
}

/* On a futex of its own, which takes no computing at all. */
static int wait_forever(void *data, void *result, struct error *err)
{
    static int never;

    (void)data;
    (void)result;
    (void)err;
    (void)syscall(SYS_futex, &never, FUTEX_WAIT, 0, NULL, NULL, 0);
    return 0;
}

static void memory_and_time_have_an_end(void **state)
{
    (void)state;
    must_die(eat_memory, "the work failed (signal 6, Aborted)");
    must_die(spin, "the work failed (signal 9, Killed)");
    wall_s = 1;
    must_die(wait_forever, "the work did not end within 1 s");
    wall_s = 60;
}
#endif

static void a_crash_is_an_error(void **state)
{
    static int *nowhere;
    struct error err = {0};
    int result;

    (void)state;
    assert_int_equal(run(crash, &nowhere, &result, NULL, 0, &err), -1);
#ifdef CONFINE_SANITIZED
    assert_true(text_starts(err.message, "the work failed"));
#else
    assert_string_equal(err.message, "the work failed (signal 11, Segmentation fault)");
#endif
}

static int wait_for_it(void *data, void *result, struct error *err)
{
    char byte;

    (void)result;
    (void)err;
    return (int)read(*(int *)data, &byte, 1);
}

/* In a process of its own: what is interrupted once stays so. */
static int interrupt(void)
{
    struct error err = {0};
    int pipes[2];
    struct confine confine = {.what = "the work",
                              .fds = pipes,
                              .fd_count = 1,
                              .cpu_s = 3600,
                              .wall_s = 3600,
                              .work = wait_for_it,
                              .data = pipes};

    stop_init();
    if (pipe(pipes) < 0 || kill(getpid(), SIGTERM) < 0) {
        return 1;
    }
    return confine_run(&confine, &err) < 0 && err.kind == FAIL_STOPPED ? 0 : 2;
}

static void it_ends_when_the_user_interrupts(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        _exit(interrupt());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_result_comes_back_and_nothing_else),
        cmocka_unit_test(an_error_comes_back),
        cmocka_unit_test(an_error_is_a_text_and_no_more),
        cmocka_unit_test(only_what_is_given_is_open),
        cmocka_unit_test(an_end_without_a_word_is_an_error),
        cmocka_unit_test(a_crash_is_an_error),
        cmocka_unit_test(it_ends_when_the_user_interrupts),
#ifndef CONFINE_SANITIZED
        cmocka_unit_test(other_system_calls_end_it),
        cmocka_unit_test(memory_and_time_have_an_end),
#endif
    };

    return cmocka_run_group_tests_name("confine", tests, enter_scratch, leave_scratch);
}
