/* SPDX-License-Identifier: Apache-2.0 */
/* What a step said, and how it is told to have ended. */
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
#include <unistd.h>

#include "base/file.h"
#include "step/transcript.h"
#include "step/room.h"

#include <cmocka.h> /* last: it has a macro fail() */

/* --- output ------------------------------------------------------------------------------- */

struct said {
    struct buf log, tail;
};

static void said_done(struct said *said)
{
    buf_done(&said->log);
    buf_done(&said->tail);
}

/* What becomes of SIZE bytes of TEXT that a step writes, COUNT times. */
static void say(const char *text, size_t size, size_t count, struct said *ret)
{
    char directory[] = "/tmp/kiln-room-XXXXXX";
    SCOPED(ui_freep) struct ui *ui = ui_new(&(struct ui_options){.quiet = true});
    SCOPED_FREE char *fifo = NULL, *log = NULL;
    struct transcript *output = NULL;
    struct error err = {0};
    int fd;

    assert_non_null(mkdtemp(directory));
    fifo = xprintf("%s/fifo", directory);
    log = xprintf("%s/log", directory);
    assert_int_equal(transcript_new(fifo, ui, &output, &err), 0);
    fd = open(fifo, O_WRONLY | O_CLOEXEC);
    assert_int_equal(transcript_begin(output, "step", log, &err), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(file_write_all(fd, text, size, fifo, &err), 0);
    }
    assert_int_equal(transcript_end(output, &ret->tail, &err), 0);
    assert_int_equal(file_read(log, TRANSCRIPT_LOG_MAX + 4096, &ret->log, &err), 0);
    (void)close(fd);
    transcript_free(output);
    assert_int_equal(file_remove_tree(directory, &err), 0);
}

static void check_said(const char *text, size_t size, const char *expected)
{
    struct said said = {0};

    say(text, size, 1, &said);
    assert_string_equal(said.log.data != NULL ? said.log.data : "", expected);
    assert_string_equal(said.tail.data != NULL ? said.tail.data : "", expected);
    said_done(&said);
}

#define SAID(text, expected) check_said(text, sizeof(text) - 1, expected)

static void output_is_kept_by_the_line(void **state)
{
    (void)state;
    SAID("", "");
    SAID("one\ntwo\n", "one\ntwo\n");
    SAID("one\n\ntwo", "one\n\ntwo\n");
    SAID("of\r\nDOS\r\n", "of\nDOS\n");
    SAID("5%\r10%\rdone\n", "5%\n10%\ndone\n");
    SAID("\ta\tb\n", "        a       b\n");
    SAID("\033[31mred\007\0\n", "\\x1b[31mred\\x07\\x00\n");
    SAID("\303\251 \342\200\256 \377\n", "\303\251 \\xe2\\x80\\xae \\xff\n");
}

/* What is in the log; of a long line the tail has the end. */
static void check_log(const struct buf *text, const struct buf *expected)
{
    struct said said = {0};

    say(text->data, text->size, 1, &said);
    assert_int_equal(said.log.size, expected->size);
    assert_memory_equal(said.log.data, expected->data, expected->size);
    said_done(&said);
}

static void long_lines_are_cut(void **state)
{
    SCOPED(buf_done) struct buf text = {0}, expected = {0};

    (void)state;
    for (size_t i = 0; i < 2 * TRANSCRIPT_LINE_MAX + 5; i++) {
        buf_puts(&expected, i != 0 && i % TRANSCRIPT_LINE_MAX == 0 ? "\n" : "");
        buf_putc(&text, 'x');
        buf_putc(&expected, 'x');
    }
    buf_putc(&expected, '\n');
    check_log(&text, &expected);
    /* One that is as long as may be is no two. */
    text.size = TRANSCRIPT_LINE_MAX;
    buf_putc(&text, '\n');
    expected.size = TRANSCRIPT_LINE_MAX;
    buf_putc(&expected, '\n');
    check_log(&text, &expected);
}

/* However much had to be escaped, the end of it has room in a message. */
static void tail_is_the_end(void **state)
{
    struct said said = {0};

    (void)state;
    say("a\nb\nc\n", 6, 100, &said);
    assert_int_equal(said.tail.size, 40);
    assert_string_equal(said.tail.data + 34, "a\nb\nc\n");
    said_done(&said);
    said = (struct said){0};
    say("\377\377\377\377\377\377\377\n", 8, 5000, &said);
    assert_in_range(said.tail.size, 100, 4096);
    assert_string_equal(said.tail.data + said.tail.size - 5, "\\xff\n");
    said_done(&said);
}

static void log_has_an_end(void **state)
{
    static char line[64 << 10];
    struct said said = {0};

    (void)state;
    memset(line, 'x', sizeof(line));
    for (size_t i = 1; i <= 64; i++) {
        line[i * 1024 - 1] = '\n';
    }
    say(line, sizeof(line), TRANSCRIPT_LOG_MAX / sizeof(line) + 1, &said);
    assert_in_range(said.log.size, TRANSCRIPT_LOG_MAX, TRANSCRIPT_LOG_MAX + 100);
    assert_non_null(strstr(said.log.data + TRANSCRIPT_LOG_MAX, "[65536 bytes more are left out]"));
    said_done(&said);
}

/* --- how it ended ------------------------------------------------------------------------- */

static void check_judged(const char *result, const char *tail, const char *message,
                         const char *hint)
{
    const struct room_step step = {
        .name = "a\033b", .number = 1, .timeout_s = 7, .memory_bytes = 64 << 20};
    struct error err = {0};

    assert_int_equal(room_judge(&step, result, tail, &err), -1);
    assert_int_equal(err.kind, FAIL_ERROR);
    assert_string_equal(err.message, message);
    assert_non_null(strstr(err.hint, hint));
}

#define STEP "step 'a\\x1bb' "

static void end_of_a_step_is_told(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(room_judge(&(struct room_step){.name = "x"}, "exit 0\n", "said", &err), 0);
    check_judged("exit 3\n", "", STEP "ended with status 3", "--debug-shell");
    check_judged("exit 3\n", "one\ntwo\n", STEP "ended with status 3; the last it said:\none\ntwo",
                 "-v");
    check_judged("signal 11\n", "", STEP "was killed by signal 11 (Segmentation fault)", "-v");
    check_judged("timeout\n", "", STEP "did not end within its 'timeout' of 7 seconds",
                 "more 'timeout'");
    check_judged("memory\n", "", STEP "used up its 'memory' of 64 MiB", "more 'memory'");
    check_judged("left nginx\n", "", STEP "left processes running: nginx", "start at boot");
    check_judged("failed run '/bin/x': No such file\n", "",
                 STEP "could not be run: run '/bin/x': No such file", "-v");
}

/* The line comes from where a hostile step has been. */
static void nonsense_is_no_success(void **state)
{
    static const char *const results[] = {
        "",          "exit",     "exit ",  "exit 00",    "exit -1",   "exit 0x", "exit 0 ",
        "exit 1000", "signal 0", "EXIT 0", "\nexit 0\n", "signal 1 ", "time"};

    (void)state;
    for (size_t i = 0; i < COUNT(results); i++) {
        struct error err = {0};

        assert_int_equal(room_judge(&(struct room_step){.name = "x"}, results[i], "", &err), -1);
        assert_non_null(strstr(err.message, "an answer that means nothing"));
    }
    check_judged("left a\033[31m\n", "", STEP "left processes running: a\\x1b[31m", "start");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_is_kept_by_the_line),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(tail_is_the_end),
        cmocka_unit_test(log_has_an_end),
        cmocka_unit_test(end_of_a_step_is_told),
        cmocka_unit_test(nonsense_is_no_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
