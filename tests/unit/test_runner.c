/* SPDX-License-Identifier: Apache-2.0 */
/* What of the runner can be tested outside the appliance: nothing here needs root. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/file.h"
#include "runner/outcome.h"
#include "runner/points.h"
#include "runner/policy.h"
#include "runner/relay.h"
#include "runner/script.h"
#include "runner/task.h"

#include <cmocka.h> /* last: it has a macro fail() */

static char work[] = "/tmp/kiln-runner-XXXXXX";

/* Opens a fresh directory that stands for an image; SETUP is a line of shell executed there. */
static int image(const char *setup)
{
    char line[1024];

    (void)snprintf(line, sizeof(line), "rm -rf %s/image && mkdir %s/image && cd %s/image && %s",
                   work, work, work, setup);
    assert_int_equal(system(line), 0);
    (void)snprintf(line, sizeof(line), "%s/image", work);
    return open(line, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Executed in the image's directory, LINE must succeed. */
static void must_hold(const char *line)
{
    char whole[1024];

    (void)snprintf(whole, sizeof(whole), "cd %s/image && %s", work, line);
    if (system(whole) != 0) {
        fail_msg("does not hold: %s", line);
    }
}

static void arguments_are_read_strictly(void **state)
{
    static const char *const good[] = {"runner",     "/steps/3", "/dev/disk/guestfs/scratch",
                                       "1700000000", "1800",     "1073741824",
                                       "shell",      NULL};
    static const struct {
        int index;
        const char *value;
    } bad[] = {
        {1, "steps/3"}, {1, "/etc"}, {2, "scratch"}, {3, "-1"}, {3, ""},
        {3, "1x"},      {3, "0x10"}, {3, " 1"},      {3, "+1"}, {3, "17179869184"},
        {4, "0"},       {4, "1e3"},  {4, "1000001"}, {5, "0"},  {5, "99999999999999999999"},
        {6, ""},        {6, "--"},   {6, "yes"},
    };
    struct task task;

    (void)state;
    assert_int_equal(task_parse(7, (char **)good, &task), 0);
    assert_string_equal(task.step, "steps/3");
    assert_string_equal(task.device, "/dev/disk/guestfs/scratch");
    assert_true(task.epoch_s == 1700000000 && task.timeout_s == 1800 && task.shell);
    assert_true(task.memory_bytes == 1073741824);
    assert_int_equal(task_parse(6, (char **)good, &task), -1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const char *argv[8];

        memcpy(argv, good, sizeof(good));
        argv[bad[i].index] = bad[i].value;
        if (task_parse(7, (char **)argv, &task) == 0) {
            fail_msg("argument %d: '%s' was taken", bad[i].index, bad[i].value);
        }
    }
}

static void interpreter_is_the_first_word_after_the_mark(void **state)
{
    static const char *const cases[][2] = {
        {"#!/bin/sh\necho\n", "/bin/sh"},
        {"#! \t/usr/bin/env python3\n", "/usr/bin/env"},
        {"#!/bin/sh", "/bin/sh"},
        {"#!/bin/sh -e", "/bin/sh"},
        {"echo\n#!/bin/sh\n", ""},
        {" #!/bin/sh\n", ""},
        {"#!\n/bin/sh\n", ""},
        {"", ""},
    };
    char interpreter[PATH_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        script_interpreter(cases[i][0], interpreter);
        assert_string_equal(interpreter, cases[i][1]);
    }
}

static void first_failure_stays_and_is_one_line(void **state)
{
    struct outcome outcome = {0};

    (void)state;
    outcome_set(&outcome, "exit %d", 0);
    assert_string_equal(outcome.line, "exit 0");
    assert_int_equal(outcome_fail(&outcome, "run '%s'", "/a\nexit 0\x1b[m"), -1);
    assert_string_equal(outcome.line, "failed run '/a?exit 0?[m'");
    outcome_set(&outcome, "exit 0");
    assert_int_equal(outcome_fail(&outcome, "later"), -1);
    assert_string_equal(outcome.line, "failed run '/a?exit 0?[m'");
}

static void links_do_not_lead_out_of_the_image(void **state)
{
    int root = image("ln -s / top && ln -s ../../../etc up && mkdir etc && echo in >etc/hostname");
    char text[8] = "";
    int fd;

    (void)state;
    assert_int_equal(file_open_inside(root, "/top/usr", O_PATH), -1);
    fd = file_open_inside(root, "/top/up/hostname", O_RDONLY);
    assert_int_equal(read(fd, text, sizeof(text) - 1), 3);
    assert_string_equal(text, "in\n");
    (void)close(fd);
    (void)close(root);
}

static void mount_points_leave_no_trace(void **state)
{
    struct outcome outcome = {0};
    struct points points = {0};
    int root =
        image("mkdir -p srv deep/er && ln -s deep l && touch -d @1000000000 srv deep/er deep .");

    (void)state;
    assert_int_equal(points_make(&points, root, "/srv/a/b/c", &outcome), 0);
    assert_int_equal(points_make(&points, root, "/l/er/x", &outcome), 0);
    assert_int_equal(points_make(&points, root, "/new", &outcome), 0);
    assert_int_equal(points_make(&points, root, "/srv", &outcome), 0);
    must_hold("test -d srv/a/b/c && test -d deep/er/x && test -d new");
    must_hold("test \"$(stat -c %Y srv deep/er . | sort -u)\" = 1000000000");
    points_remove(&points);
    must_hold("test ! -e srv/a && test ! -e deep/er/x && test ! -e new && test -d srv");
    must_hold("test \"$(stat -c %Y srv deep/er deep . | sort -u)\" = 1000000000");
    (void)close(root);
}

static void mount_points_a_step_has_used_or_moved_are_its_own(void **state)
{
    struct outcome outcome = {0};
    struct points points = {0};
    int root = image("mkdir srv");

    (void)state;
    assert_int_equal(points_make(&points, root, "/srv/full/x", &outcome), 0);
    assert_int_equal(points_make(&points, root, "/srv/moved/x", &outcome), 0);
    must_hold("touch srv/full/file && mv srv/moved elsewhere && ln -s / srv/moved");
    points_remove(&points);
    must_hold("test -e srv/full/file && test ! -e srv/full/x");
    must_hold("test -d elsewhere && test ! -e elsewhere/x && test -L srv/moved");
    (void)close(root);
}

static void must_refuse_point(const char *setup, const char *path, const char *line)
{
    struct outcome outcome = {0};
    struct points points = {0};
    int root = image(setup);

    assert_int_equal(points_make(&points, root, path, &outcome), -1);
    assert_string_equal(outcome.line, line);
    points_remove(&points);
    must_hold("test ! -e made");
    (void)close(root);
}

static void mount_points_that_cannot_be_are_refused(void **state)
{
    (void)state;
    must_refuse_point("touch f", "/f", "failed mount point '/f': Not a directory");
    must_refuse_point("touch f", "/f/x", "failed mount point '/f/x': Not a directory");
    must_refuse_point("ln -s loop loop", "/loop/x",
                      "failed mount point '/loop/x': Too many levels of symbolic links");
    must_refuse_point("ln -s /nowhere l", "/l/x",
                      "failed mount point '/l/x': '/l' is a symbolic link that leads nowhere");
    must_refuse_point("ln -s /nowhere l", "/made/../l",
                      "failed mount point '/made/../l': '/made/../l' is a symbolic link that leads "
                      "nowhere");
}

/* Makes the policy in an image, lets CHANGE happen, and removes it again. */
static void with_policy(const char *setup, const char *change)
{
    struct outcome outcome = {0};
    struct policy policy;
    int root = image(setup);

    assert_int_equal(policy_make(&policy, root, &outcome), 0);
    must_hold(change);
    policy_remove(&policy);
    (void)close(root);
}

static void policy_is_there_and_gone_again(void **state)
{
    (void)state;
    with_policy("mkdir -p usr/sbin && touch -d @1000000000 usr/sbin",
                "sh usr/sbin/policy-rc.d; test $? = 101 && test -x usr/sbin/policy-rc.d && "
                "test $(stat -c %Y usr/sbin) = 1000000000");
    must_hold("test ! -e usr/sbin/policy-rc.d && test $(stat -c %Y usr/sbin) = 1000000000");
    with_policy("mkdir usr", "test ! -e usr/sbin");
}

static void policy_of_the_image_or_the_step_stays(void **state)
{
    static const char *const changes[] = {
        "echo mine >usr/sbin/policy-rc.d", /* written to, and replaced by the same and by others */
        "printf '#!/bin/sh\\nexit 100\\n' >usr/sbin/policy-rc.d",
        "cp usr/sbin/policy-rc.d new && mv new usr/sbin/policy-rc.d",
        "ln -sf /etc/x usr/sbin/policy-rc.d",
        "rm usr/sbin/policy-rc.d && mkfifo usr/sbin/policy-rc.d",
        "rm usr/sbin/policy-rc.d && mkdir usr/sbin/policy-rc.d",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        with_policy("mkdir -p usr/sbin", changes[i]);
        must_hold("ls usr/sbin/policy-rc.d >/dev/null");
    }
    with_policy("mkdir -p usr/sbin && echo own >usr/sbin/policy-rc.d", "true");
    must_hold("grep -q own usr/sbin/policy-rc.d");
}

/* Carries TEXT from one pipe to another and returns the reading end of that. */
static int carry(struct relay *relay, int from[2], int to[2], const char *text)
{
    assert_int_equal(pipe2(from, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(to, O_CLOEXEC | O_NONBLOCK), 0);
    relay->from = from[0];
    relay->to = to[1];
    assert_int_equal(file_write_all(from[1], text, strlen(text)), 0);
    return to[0];
}

static void output_is_carried_while_somebody_keeps_the_pipe_open(void **state)
{
    struct relay relay = {.lossy = true};
    int from[2], to[2], out = carry(&relay, from, to, "no newline");
    char text[32] = "";

    (void)state;
    relay_finish(&relay, 0);
    assert_false(relay.ended);
    assert_int_equal(read(out, text, sizeof(text) - 1), 10);
    assert_string_equal(text, "no newline");
    (void)close(from[1]);
    relay_finish(&relay, 0);
    assert_true(relay.ended);
    (void)close(from[0]);
    (void)close(to[0]);
    (void)close(to[1]);
}

static void output_nobody_takes_is_dropped(void **state)
{
    struct relay relay = {.lossy = true};
    int from[2], to[2];

    (void)state;
    (void)close(carry(&relay, from, to, "x"));
    relay_finish(&relay, 0);
    assert_false(relay.ended);
    assert_true(relay.start == relay.end);
    (void)close(from[0]);
    (void)close(from[1]);
    (void)close(to[1]);
}

static int make_work(void **state)
{
    (void)state;
    return mkdtemp(work) != NULL ? 0 : -1;
}

static int remove_work(void **state)
{
    char line[64];

    (void)state;
    (void)snprintf(line, sizeof(line), "rm -rf %s", work);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_read_strictly),
        cmocka_unit_test(interpreter_is_the_first_word_after_the_mark),
        cmocka_unit_test(first_failure_stays_and_is_one_line),
        cmocka_unit_test(links_do_not_lead_out_of_the_image),
        cmocka_unit_test(mount_points_leave_no_trace),
        cmocka_unit_test(mount_points_a_step_has_used_or_moved_are_its_own),
        cmocka_unit_test(mount_points_that_cannot_be_are_refused),
        cmocka_unit_test(policy_is_there_and_gone_again),
        cmocka_unit_test(policy_of_the_image_or_the_step_stays),
        cmocka_unit_test(output_is_carried_while_somebody_keeps_the_pipe_open),
        cmocka_unit_test(output_nobody_takes_is_dropped),
    };

    return cmocka_run_group_tests(tests, make_work, remove_work);
}
