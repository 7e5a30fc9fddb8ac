/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that end well, badly, late or never, and what is told of them. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/proc.h"
#include "base/scope.h"
#include "base/stop.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Runs a line of shell, with the output it has to have. */
static void must_print(const char *line, const char *const *env, const char *expected)
{
    SCOPED(buf_done) struct buf output = {0};
    const struct proc proc = {.argv = ARGV("sh", "-c", line, "sh"), .env = env, .output = &output};
    struct error err = {0};

    if (proc_run(&proc, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(output.data != NULL ? output.data : "", expected);
}

static void must_fail(const char *line, const char *message)
{
    const struct proc proc = {.argv = ARGV("sh", "-c", line)};
    struct error err = {0};

    assert_int_equal(proc_run(&proc, &err), -1);
    assert_int_equal(err.kind, FAIL_ERROR);
    assert_string_equal(err.message, message);
}

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void output_is_collected_and_arguments_are_not_words(void **state)
{
    SCOPED(buf_done) struct buf output = {0};
    const struct proc proc = {.argv = ARGV("printf", "%s|", "a b", "$HOME", "", "*"),
                              .output = &output};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), 0);
    assert_string_equal(output.data, "a b|$HOME||*|");
    must_print(":", NULL, "");
}

static void more_output_than_a_pipe_holds_is_whole(void **state)
{
    SCOPED(buf_done) struct buf output = {0};
    const struct proc proc = {
        .argv = ARGV("sh", "-c", "head -c 1000000 /dev/zero; head -c 500000 /dev/zero >&2"),
        .output = &output};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), 0);
    assert_int_equal(output.size, 1000000);
}

static void the_environment_is_added_to(void **state)
{
    static const char *const env[] = {"KILN_A=one two", "KILN_B=", NULL};

    (void)state;
    setenv("KILN_A", "before", 1);
    setenv("KILN_C", "kept", 1);
    must_print("printf '%s|%s|%s' \"$KILN_A\" \"${KILN_B-unset}\" \"$KILN_C\"", env,
               "one two||kept");
    assert_string_equal(getenv("KILN_A"), "before");
    assert_null(getenv("KILN_B"));
}

static void input_is_empty_and_output_may_go_nowhere(void **state)
{
    const struct proc proc = {.argv = ARGV("sh", "-c", "test -z \"$(cat)\" && echo dropped")};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), 0);
}

static void a_descriptor_becomes_the_input(void **state)
{
    SCOPED(buf_done) struct buf output = {0};
    struct proc proc = {.argv = ARGV("cat"), .output = &output};
    struct error err = {0};
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], "text", 4), 4);
    (void)close(pipes[1]);
    proc.input = pipes[0];
    assert_int_equal(proc_run(&proc, &err), 0);
    assert_string_equal(output.data, "text");
    (void)close(pipes[0]);
}

static void output_beyond_its_end_is_dropped(void **state)
{
    SCOPED(buf_done) struct buf output = {0};
    const struct proc proc = {.argv = ARGV("seq", "100000"), .output = &output, .output_max = 5};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), 0);
    assert_int_equal(output.size, 5);
    assert_string_equal(output.data, "1\n2\n3");
}

static void memory_has_an_end(void **state)
{
    const struct proc proc = {.argv = ARGV("python3", "-c", "bytearray(1 << 30)"),
                              .memory_max = 512 << 20};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), -1);
    assert_non_null(strstr(err.message, "MemoryError"));
}

static void a_status_is_an_error_with_the_last_words(void **state)
{
    (void)state;
    must_fail("exit 3", "'sh' ended with status 3");
    must_fail("echo out; echo one >&2; echo two >&2; echo >&2; exit 1",
              "'sh' ended with status 1: one; two");
    /* It is one line of a message, whatever a program prints. */
    must_fail("printf 'a\\r\\n\\n  hint: b\\n' >&2; exit 1",
              "'sh' ended with status 1: a;   hint: b");
}

static void of_long_words_only_the_end_is_kept(void **state)
{
    const struct proc proc = {
        .argv =
            ARGV("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 9")};
    struct error err = {0};
    size_t length;

    (void)state;
    assert_int_equal(proc_run(&proc, &err), -1);
    length = strlen(err.message);
    assert_true(length > 1000 && length < 2100);
    assert_memory_equal(err.message, "'sh' ended with status 9: xxx", 29);
    assert_string_equal(err.message + length - 4, "xEND");
}

static void a_signal_is_an_error(void **state)
{
    (void)state;
    must_fail("echo why >&2; kill -SEGV $$",
              "'sh' was killed by signal 11 (Segmentation fault): why");
    must_fail("kill -KILL $$", "'sh' was killed by signal 9 (Killed)");
}

static void signals_reach_it_unblocked_and_unchanged(void **state)
{
    sigset_t all, old;
    void (*pipe_action)(int) = signal(SIGPIPE, SIG_IGN);
    void (*size_action)(int) = signal(SIGXFSZ, SIG_IGN);

    (void)state;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    /* Bit 31 is the C library's own signal, which a parent's posix_spawn may have left ignored. */
    must_print("for set in SigBlk SigIgn; do"
               " hex=$(sed -n \"s/^$set:.//p\" /proc/self/status);"
               " echo $set $((0x$hex & 0x7fffffff)); done",
               NULL, "SigBlk 0\nSigIgn 0\n");
    sigprocmask(SIG_SETMASK, &old, NULL);
    (void)signal(SIGPIPE, pipe_action);
    (void)signal(SIGXFSZ, size_action);
}

static void a_program_that_is_not_there_is_missing(void **state)
{
    const struct proc proc = {.argv = ARGV("no-such-program-anywhere")};
    const struct proc denied = {.argv = ARGV("/etc/passwd")};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), -1);
    assert_int_equal(err.kind, FAIL_MISSING);
    assert_string_equal(err.message, "run 'no-such-program-anywhere': No such file or directory");
    assert_string_not_equal(err.hint, "");
    fail_clear(&err);
    assert_int_equal(proc_run(&denied, &err), -1);
    assert_int_equal(err.kind, FAIL_ERROR);
    assert_string_equal(err.message, "run '/etc/passwd': Permission denied");
}

static void make_program(const char *dir, const char *name)
{
    SCOPED_FREE char *path = xprintf("%s/%s", dir, name);
    struct error err = {0};

    assert_int_equal(file_write(path, "#!/bin/sh\n", 10, &err), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

static void programs_are_found_where_the_path_of_a_user_does_not_reach(void **state)
{
    const struct proc proc = {.argv = ARGV("mke2fs", "-V")};
    SCOPED_FREE char *before = xstrdup(getenv("PATH")), *found = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    found = proc_find("mke2fs");
    assert_non_null(found);
    assert_non_null(strstr(found, "sbin/mke2fs"));
    assert_int_equal(proc_run(&proc, &err), 0);
    assert_int_equal(setenv("PATH", before, 1), 0);
}

static void the_path_comes_first_and_only_programs_count(void **state)
{
    char dir[] = "/tmp/kiln-proc-XXXXXX";
    SCOPED_FREE char *before = xstrdup(getenv("PATH")), *found = NULL, *expect = NULL, *path = NULL,
                     *folder = NULL;
    struct error err = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    make_program(dir, "mke2fs");
    folder = xprintf("%s/folder/mke2fs", dir); /* a directory is no program */
    assert_int_equal(file_make_dirs(folder, &err), 0);
    path = xprintf("%s/folder:%s:%s", dir, dir, before);
    assert_int_equal(setenv("PATH", path, 1), 0);
    found = proc_find("mke2fs");
    expect = xprintf("%s/mke2fs", dir);
    assert_string_equal(found, expect);
    free(TAKE(found));
    found = proc_find(expect); /* with a slash it is what it is */
    assert_string_equal(found, expect);
    assert_null(proc_find(folder));
    assert_null(proc_find("no-such-program-anywhere"));
    assert_int_equal(setenv("PATH", before, 1), 0);
    assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void its_own_status_127_is_not_a_missing_program(void **state)
{
    (void)state;
    must_fail("exit 127", "'sh' ended with status 127");
}

/* Lines of shell that would go on for longer than a test may. */
static void it_is_killed_when_its_time_is_up(void **state)
{
    static const char *const lines[] = {
        "exec sleep 9",                 /* says nothing */
        "exec sleep 9 >&- 2>&-",        /* has closed its output */
        "trap '' TERM; exec sleep 9",   /* does not listen */
        "sleep 9 & wait",               /* a child keeps the pipes open */
        "timeout 9 yes & exec sleep 9", /* a child fills them */
        "timeout 9 yes >&2 & exec sleep 9",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        SCOPED(buf_done) struct buf output = {0};
        const struct proc proc = {
            .argv = ARGV("sh", "-c", lines[i]), .output = &output, .timeout_ms = 100};
        struct error err = {0};
        double start = seconds();

        assert_int_equal(proc_run(&proc, &err), -1);
        assert_string_equal(err.message, "'sh' did not end within 0.1 s");
        assert_true(seconds() - start < 6);
    }
}

static void one_that_is_in_time_is_let_be(void **state)
{
    const struct proc proc = {.argv = ARGV("sleep", "0.05"), .timeout_ms = 20000};
    struct error err = {0};

    (void)state;
    assert_int_equal(proc_run(&proc, &err), 0);
}

static void no_descriptor_is_left_open(void **state)
{
    SCOPED(buf_done) struct buf output = {0};
    const struct proc good = {.argv = ARGV("true"), .output = &output};
    const struct proc missing = {.argv = ARGV("no-such-program-anywhere"), .output = &output};
    int before = dup(0), after;

    (void)state;
    close(before);
    for (int i = 0; i < 3; i++) {
        struct error err = {0};

        assert_int_equal(proc_run(&good, &err), 0);
        assert_int_equal(proc_run(&missing, &err), -1);
    }
    after = dup(0);
    close(after);
    assert_int_equal(after, before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* and no child */
}

/* In a process of its own: an interruption is for good. */
static int run_interrupted(void)
{
    const struct proc proc = {.argv = ARGV("sleep", "9")};
    struct error err = {0};

    stop_init();
    if (fork() == 0) {
        (void)usleep(100000);
        (void)kill(getppid(), SIGTERM);
        _exit(0);
    }
    return proc_run(&proc, &err) == -1 && err.kind == FAIL_STOPPED &&
                   strcmp(err.message, "interrupted") == 0
               ? 0
               : 1;
}

static void it_is_killed_when_the_user_interrupts(void **state)
{
    double start = seconds();
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        _exit(run_interrupted());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(seconds() - start < 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_is_collected_and_arguments_are_not_words),
        cmocka_unit_test(more_output_than_a_pipe_holds_is_whole),
        cmocka_unit_test(the_environment_is_added_to),
        cmocka_unit_test(input_is_empty_and_output_may_go_nowhere),
        cmocka_unit_test(a_descriptor_becomes_the_input),
        cmocka_unit_test(output_beyond_its_end_is_dropped),
        cmocka_unit_test(memory_has_an_end),
        cmocka_unit_test(a_status_is_an_error_with_the_last_words),
        cmocka_unit_test(of_long_words_only_the_end_is_kept),
        cmocka_unit_test(a_signal_is_an_error),
        cmocka_unit_test(signals_reach_it_unblocked_and_unchanged),
        cmocka_unit_test(a_program_that_is_not_there_is_missing),
        cmocka_unit_test(programs_are_found_where_the_path_of_a_user_does_not_reach),
        cmocka_unit_test(the_path_comes_first_and_only_programs_count),
        cmocka_unit_test(its_own_status_127_is_not_a_missing_program),
        cmocka_unit_test(it_is_killed_when_its_time_is_up),
        cmocka_unit_test(one_that_is_in_time_is_let_be),
        cmocka_unit_test(no_descriptor_is_left_open),
        cmocka_unit_test(it_is_killed_when_the_user_interrupts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
