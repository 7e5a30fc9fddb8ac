/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* kiln has one of its own */
#define complain(...) (print_error(__VA_ARGS__), _fail(__FILE__, __LINE__))

#include "base/buf.h"
#include "base/file.h"
#include "ui/progress.h"
#include "ui/ui.h"

/* What would be lines of their own: a forged entry, a forged hint. */
#define FORGED "a\n  hint: b\r\x1e\x1b[31mc\n"
#define FORGED_SHOWN "a\\x0a  hint: b\\x0d\\x1e\\x1b[31mc\\x0a"

/* Colour, bell, a C1 control, a right-to-left override, and bytes that are not UTF-8. */
#define EVIL "e\x1b[31m\a\xc2\x9b\xe2\x80\xae\xff.tar"
#define EVIL_SHOWN "e\\x1b[31m\\x07\\xc2\\x9b\\xe2\\x80\\xae\\xff.tar"

typedef int (*scenario)(struct ui *ui);

struct said {
    struct buf out, err;
    int status;
    uint64_t took_ms;
};

static void said_done(struct said *said)
{
    buf_done(&said->out);
    buf_done(&said->err);
}

static void pause_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&time, NULL);
}

static uint64_t clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void slurp(int fd, struct buf *buf)
{
    ssize_t got;

    while ((got = read(fd, buf_reserve(buf, 4096), 4096)) > 0) {
        buf->size += (size_t)got;
    }
    buf_puts(buf, "");
    (void)close(fd);
}

static _Noreturn void play(scenario run, const struct ui_options *options, int out)
{
    struct ui *ui;
    int result;

    (void)signal(SIGPIPE, SIG_IGN);
    if (dup2(out, STDOUT_FILENO) < 0) {
        _exit(99);
    }
    ui = ui_new(options);
    result = run(ui);
    ui_free(ui);
    _exit(result);
}

/* Runs it in a process whose stdout and stderr are files. */
static struct said on_files(scenario run, struct ui_options options)
{
    struct said said = {.took_ms = clock_ms()};
    int out = memfd_create("out", 0), err = memfd_create("err", 0);
    pid_t pid = fork();

    if (pid == 0) {
        if (dup2(err, STDERR_FILENO) < 0) {
            _exit(99);
        }
        play(run, &options, out);
    }
    assert_int_equal(waitpid(pid, &said.status, 0), pid);
    assert_true(WIFEXITED(said.status));
    said.status = WEXITSTATUS(said.status);
    said.took_ms = clock_ms() - said.took_ms;
    assert_int_equal(lseek(out, 0, SEEK_SET), 0);
    assert_int_equal(lseek(err, 0, SEEK_SET), 0);
    slurp(out, &said.out);
    slurp(err, &said.err);
    return said;
}

/* Runs it in a process whose stderr is a terminal of COLUMNS columns. */
static struct said on_terminal(scenario run, struct ui_options options, unsigned short columns)
{
    struct said said = {.took_ms = clock_ms()};
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    int out = memfd_create("out", 0), master;
    pid_t pid = forkpty(&master, NULL, NULL, &size);

    assert_true(pid >= 0);
    if (pid == 0) {
        play(run, &options, out);
    }
    slurp(master, &said.err);
    assert_int_equal(waitpid(pid, &said.status, 0), pid);
    assert_true(WIFEXITED(said.status));
    said.status = WEXITSTATUS(said.status);
    said.took_ms = clock_ms() - said.took_ms;
    assert_int_equal(lseek(out, 0, SEEK_SET), 0);
    slurp(out, &said.out);
    return said;
}

static void assert_has(const struct buf *buf, const char *part)
{
    if (strstr(buf->data, part) == NULL) {
        complain("'%s' is not in:\n%s\n", part, buf->data);
    }
}

static void assert_lacks(const struct buf *buf, const char *part)
{
    if (strstr(buf->data, part) != NULL) {
        complain("'%s' is in:\n%s\n", part, buf->data);
    }
}

/* The only sequence allowed is "erase to the end of the line". */
static void assert_tame(const struct buf *buf)
{
    for (size_t i = 0; i < buf->size; i++) {
        unsigned char c = (unsigned char)buf->data[i];

        if (c == 0x1b) {
            assert_memory_equal(buf->data + i, "\033[K", 3);
        } else if (c < 0x20) {
            assert_true(c == '\n' || c == '\r');
        }
    }
    assert_lacks(buf, "\xc2\x9b");
    assert_lacks(buf, "\xe2\x80\xae");
    assert_lacks(buf, "\xff");
}

/* Columns of the longest line drawn, a character counted as one. */
static unsigned widest(const struct buf *buf)
{
    unsigned widest = 0, now = 0;

    for (size_t i = 0; i < buf->size; i++) {
        unsigned char c = (unsigned char)buf->data[i];

        if (c == '\r' || c == '\n') {
            now = 0;
        } else if (c == 0x1b) {
            i += 2;
        } else if ((c & 0xc0) != 0x80) {
            now++;
            widest = now > widest ? now : widest;
        }
    }
    return widest;
}

/* Every line must be one JSON object; returns them as an array. */
static json_t *parse_lines(const struct buf *buf)
{
    json_t *lines = json_array();
    const char *at = buf->data;

    while (*at != '\0') {
        const char *end = strchr(at, '\n');
        json_t *line;

        assert_non_null(end);
        line = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(line));
        json_array_append_new(lines, line);
        at = end + 1;
    }
    return lines;
}

static const json_t *find_event(const json_t *lines, const char *name)
{
    size_t i;
    json_t *line;

    json_array_foreach(lines, i, line)
    {
        const char *event = json_string_value(json_object_get(line, "event"));

        if (event != NULL && strcmp(event, name) == 0) {
            return line;
        }
    }
    complain("no event '%s'\n", name);
    return NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    assert_non_null(text);
    return text;
}

/* ---- scenarios ---- */

static int everything(struct ui *ui)
{
    struct error err = {0};

    ui_note(ui, "found '%s'", EVIL);
    ui_detail(ui, "looked at '%s'", EVIL);
    ui_phase(ui, "reading layers " EVIL, 1000000);
    ui_progress(ui, EVIL, 250000);
    pause_ms(120);
    ui_progress(ui, EVIL, 500000);
    ui_note(ui, "in between");
    ui_phase(ui, "writing disk", 0);
    ui_phase_end(ui);
    ui_print(ui, "result of %s\n", EVIL);
    ui_text(ui, "help\nsecond line\n");
    ui_json(ui, json_pack("{ss so so}", "event", "result", "name", ui_string(EVIL), "raw",
                          ui_string("\xc2\x9b\xe2\x80\xae\x1b")));
    (void)fail_lines(&err, FAIL_MISMATCH,
                     "web.yaml:1:2: bad '" EVIL_SHOWN "'\nweb.yaml:3:4: worse");
    (void)fail_hint(&err, "look at '%s' again", EVIL);
    ui_error(ui, &err);
    return 0;
}

static int only_result(struct ui *ui)
{
    struct error err = {0};

    ui_print(ui, "result\n");
    if (ui_finish(ui, &err) < 0) {
        ui_error(ui, &err);
        return err.kind;
    }
    return 0;
}

static int result_to_full_disk(struct ui *ui)
{
    int fd = open("/dev/full", O_WRONLY);

    return dup2(fd, STDOUT_FILENO) < 0 ? 99 : only_result(ui);
}

static int result_to_closed_pipe(struct ui *ui)
{
    int fds[2];

    if (pipe(fds) < 0 || dup2(fds[1], STDOUT_FILENO) < 0) {
        return 99;
    }
    (void)close(fds[0]);
    return only_result(ui);
}

static int nothing_to_closed_stdout(struct ui *ui)
{
    (void)close(STDOUT_FILENO);
    return ui_finish(ui, NULL) < 0 ? 1 : 0;
}

static int work(struct ui *ui, uint64_t steps)
{
    ui_phase(ui, "writing the disk", 3ULL << 30);
    for (uint64_t i = 0; i <= steps; i++) {
        ui_progress(ui,
                    "a layer with quite a long name and umlauts \xc3\xa4\xc3\xb6\xc3\xbc, "
                    "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97.tar.zst",
                    i << 20);
        pause_ms(2);
    }
    ui_phase_end(ui);
    return 0;
}

static int busy(struct ui *ui)
{
    return work(ui, 120);
}

static int longer_busy(struct ui *ui)
{
    return work(ui, 350);
}

static int silent_phase(struct ui *ui)
{
    ui_phase(ui, "starting the appliance", 0);
    pause_ms(1250);
    ui_phase_end(ui);
    return 0;
}

static int failing_phase(struct ui *ui)
{
    struct error err = {0};

    ui_phase(ui, "writing the disk", 100);
    ui_progress(ui, NULL, 50);
    (void)fail(&err, FAIL_STOPPED, "interrupted");
    ui_error(ui, &err);
    return 0;
}

static void *chatter(void *data)
{
    for (unsigned i = 0; i < 200; i++) {
        ui_progress(data, i % 2 != 0 ? "odd" : "even", i);
        ui_note(data, "note of many words %03u", i);
    }
    return NULL;
}

static int many_threads(struct ui *ui)
{
    pthread_t threads[4];

    ui_phase(ui, "phase", 200);
    for (size_t i = 0; i < COUNT(threads); i++) {
        if (pthread_create(&threads[i], NULL, chatter, ui) != 0) {
            return 99;
        }
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        (void)pthread_join(threads[i], NULL);
    }
    ui_phase_end(ui);
    return 0;
}

/* ---- tests ---- */

static void foreign_bytes_never_reach_a_file_raw(void **state)
{
    SCOPED(said_done) struct said said = on_files(everything, (struct ui_options){.verbose = true});

    (void)state;
    assert_tame(&said.out);
    assert_tame(&said.err);
    assert_string_equal(said.out.data, "result of " EVIL_SHOWN "\nhelp\nsecond line\n");
    assert_has(&said.err, "found '" EVIL_SHOWN "'\n");
    assert_has(&said.err, "looked at '" EVIL_SHOWN "'\n");
    assert_has(&said.err, "reading layers " EVIL_SHOWN ": 488.3 KiB in 0.");
    assert_has(&said.err, "writing disk: 0.0 s\n");
    assert_lacks(&said.err, "\r");
    assert_lacks(&said.err, "\033");
}

static void foreign_bytes_never_reach_a_terminal_raw(void **state)
{
    SCOPED(said_done)
    struct said said =
        on_terminal(everything, (struct ui_options){.verbose = true, .color = COLOR_NEVER}, 120);

    (void)state;
    assert_tame(&said.err);
    assert_has(&said.err, EVIL_SHOWN);
    assert_has(&said.err, "\r\033[Kin between");
}

static void errors_keep_their_lines_and_end_with_the_hint(void **state)
{
    SCOPED(said_done) struct said said = on_files(everything, (struct ui_options){0});

    (void)state;
    assert_has(&said.err, "\nkiln: web.yaml:1:2: bad '" EVIL_SHOWN "'\n"
                          "web.yaml:3:4: worse\n"
                          "  hint: look at '" EVIL_SHOWN "' again\n");
}

static int forged_lines(struct ui *ui)
{
    struct error err = {0};

    ui_note(ui, "note '%s'", FORGED);
    ui_phase(ui, FORGED, 0);
    ui_phase_end(ui);
    ui_print(ui, "entry %s\n", FORGED);
    ui_print(ui, "entry at its end %s\n", FORGED);
    (void)fail(&err, FAIL_ERROR, "open '%s'", FORGED);
    (void)fail_while(&err, "layer '%s'", FORGED);
    (void)fail_hint(&err, "look at '%s'", FORGED);
    ui_error(ui, &err);
    fail_clear(&err);
    (void)fail_lines(&err, FAIL_ERROR, "one\ntwo");
    (void)fail_while(&err, "layer '%s'", FORGED);
    ui_error(ui, &err);
    return 0;
}

static void foreign_newlines_forge_no_line(void **state)
{
    SCOPED(said_done) struct said said = on_files(forged_lines, (struct ui_options){0});

    (void)state;
    assert_string_equal(said.out.data,
                        "entry " FORGED_SHOWN "\nentry at its end " FORGED_SHOWN "\n");
    assert_has(&said.err, "note '" FORGED_SHOWN "'\n" FORGED_SHOWN ": 0.0 s\n"
                          "kiln: layer '" FORGED_SHOWN "': open '" FORGED_SHOWN "'\n"
                          "  hint: look at '" FORGED_SHOWN "'\n"
                          "kiln: layer '" FORGED_SHOWN "': one\ntwo\n");
}

static void foreign_newlines_forge_no_line_of_a_json_text(void **state)
{
    SCOPED(said_done) struct said said = on_files(forged_lines, (struct ui_options){.json = true});
    json_t *lines = parse_lines(&said.out);
    const json_t *event = find_event(lines, "error");

    (void)state;
    assert_string_equal(text_of(find_event(lines, "note"), "text"), "note '" FORGED_SHOWN "'");
    assert_string_equal(text_of(event, "message"),
                        "layer '" FORGED_SHOWN "': open '" FORGED_SHOWN "'");
    assert_string_equal(text_of(event, "hint"), "look at '" FORGED_SHOWN "'");
    json_decref(lines);
}

static int no_json(struct ui *ui)
{
    const struct rlimit none = {0};

    (void)setrlimit(RLIMIT_CORE, &none);
    ui_json(ui, NULL);
    return 0;
}

static void an_object_that_could_not_be_made_is_no_empty_line(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        struct ui_options options = {.json = true};
        int null = open("/dev/null", O_WRONLY);

        (void)signal(SIGABRT, SIG_DFL);
        if (null < 0 || dup2(null, STDERR_FILENO) < 0) {
            _exit(99);
        }
        play(no_json, &options, null);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void details_are_for_verbose_only(void **state)
{
    SCOPED(said_done) struct said said = on_files(everything, (struct ui_options){0});

    (void)state;
    assert_lacks(&said.err, "looked at");
    assert_has(&said.err, "found");
}

static void quiet_leaves_results_and_errors(void **state)
{
    SCOPED(said_done)
    struct said said = on_files(everything, (struct ui_options){.quiet = true, .verbose = true});
    SCOPED(said_done)
    struct said drawn = on_terminal(everything, (struct ui_options){.quiet = true}, 80);

    (void)state;
    assert_int_equal(strncmp(said.err.data, "kiln: ", 6), 0);
    assert_has(&said.out, "second line\n");
    assert_lacks(&drawn.err, "reading");
    assert_has(&drawn.err, "web.yaml:3:4");
}

static void json_is_one_object_a_line_and_nothing_else(void **state)
{
    SCOPED(said_done)
    struct said said = on_files(everything, (struct ui_options){.json = true, .verbose = true});
    json_t *lines = parse_lines(&said.out);
    const json_t *event;

    (void)state;
    assert_tame(&said.out);
    assert_string_equal(text_of(find_event(lines, "note"), "text"), "found '" EVIL_SHOWN "'");
    assert_string_equal(text_of(find_event(lines, "detail"), "text"), "looked at '" EVIL_SHOWN "'");
    event = find_event(lines, "phase");
    assert_string_equal(text_of(event, "name"), "reading layers " EVIL_SHOWN);
    assert_int_equal(json_integer_value(json_object_get(event, "total")), 1000000);
    event = find_event(lines, "phase-done");
    assert_true(json_real_value(json_object_get(event, "seconds")) >= 0.1);
    assert_int_equal(json_integer_value(json_object_get(event, "bytes")), 500000);
    assert_string_equal(text_of(find_event(lines, "result"), "name"), EVIL_SHOWN);
    assert_string_equal(text_of(find_event(lines, "result"), "raw"), "\xc2\x9b\xe2\x80\xae\x1b");
    event = find_event(lines, "error");
    assert_string_equal(text_of(event, "kind"), "mismatch");
    assert_int_equal(json_integer_value(json_object_get(event, "status")), 4);
    assert_string_equal(text_of(event, "message"),
                        "web.yaml:1:2: bad '" EVIL_SHOWN "'\nweb.yaml:3:4: worse");
    assert_non_null(strstr(text_of(event, "hint"), "' again"));
    assert_has(&said.err, "found '");
    json_decref(lines);
}

static void quiet_json_is_the_result_and_the_error(void **state)
{
    SCOPED(said_done)
    struct said said = on_files(everything, (struct ui_options){.json = true, .quiet = true});
    json_t *lines = parse_lines(&said.out);

    (void)state;
    assert_int_equal(json_array_size(lines), 2);
    (void)find_event(lines, "result");
    (void)find_event(lines, "error");
    json_decref(lines);
}

static void progress_events_come_at_most_twice_a_second(void **state)
{
    SCOPED(said_done) struct said said = on_files(longer_busy, (struct ui_options){.json = true});
    json_t *lines = parse_lines(&said.out);
    const json_t *event = find_event(lines, "progress");

    (void)state;
    assert_in_range(json_array_size(lines), 3, 2 + said.took_ms / 500);
    assert_string_equal(text_of(event, "phase"), "writing the disk");
    assert_int_equal(strncmp(text_of(event, "item"), "a layer", 7), 0);
    assert_true(json_integer_value(json_object_get(event, "done")) > 0);
    json_decref(lines);
}

static size_t count_of(const struct buf *buf, const char *part)
{
    size_t count = 0;

    for (const char *at = buf->data; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

static void terminal_lines_fit_and_redraw_ten_times_a_second(void **state)
{
    static const unsigned short widths[] = {80, 40, 12, 2};

    (void)state;
    for (size_t i = 0; i < COUNT(widths); i++) {
        SCOPED(said_done)
        struct said said = on_terminal(busy, (struct ui_options){0}, widths[i]);
        const char *last = strrchr(said.err.data, '\r');
        size_t redraws = count_of(&said.err, "\033[K");

        /* What is left of the phase in the end is a line of text and may wrap. */
        assert_non_null(strstr(said.err.data, "writing the disk: 120 MiB in "));
        last = strstr(said.err.data, "\r\033[Kwriting the disk: 120 MiB in ");
        assert_non_null(last);
        said.err.size = (size_t)(last - said.err.data);
        assert_true(widest(&said.err) < widths[i]);
        assert_in_range(redraws, 3, 4 + said.took_ms / 100);
    }
}

static void columns_stand_in_for_a_terminal_without_a_size(void **state)
{
    (void)state;
    assert_int_equal(setenv("COLUMNS", "33", 1), 0);
    {
        SCOPED(said_done) struct said said = on_terminal(busy, (struct ui_options){0}, 0);
        char *last = strstr(said.err.data, "\r\033[Kwriting the disk: 120 MiB in ");

        assert_non_null(last);
        said.err.size = (size_t)(last - said.err.data);
        assert_int_equal(widest(&said.err), 32);
    }
    assert_int_equal(unsetenv("COLUMNS"), 0);
}

static void a_phase_that_reports_nothing_still_moves(void **state)
{
    SCOPED(said_done) struct said said = on_terminal(silent_phase, (struct ui_options){0}, 80);

    (void)state;
    assert_has(&said.err, "starting the appliance  0:00");
    assert_has(&said.err, "starting the appliance  0:01");
    assert_has(&said.err, "starting the appliance: 1.");
}

static void a_failed_phase_leaves_no_line(void **state)
{
    SCOPED(said_done) struct said said = on_terminal(failing_phase, (struct ui_options){0}, 80);
    const char *error = strstr(said.err.data, "\r\033[K");

    (void)state;
    assert_non_null(error);
    assert_non_null(strstr(said.err.data, "interrupted\r\n"));
    assert_lacks(&said.err, " in 0.");
}

static void color_follows_option_environment_and_terminal(void **state)
{
    static const char red[] = "\033[1;31mkiln:";

    (void)state;
    {
        SCOPED(said_done) struct said said = on_terminal(failing_phase, (struct ui_options){0}, 80);
        SCOPED(said_done) struct said file = on_files(failing_phase, (struct ui_options){0});
        SCOPED(said_done)
        struct said always = on_files(failing_phase, (struct ui_options){.color = COLOR_ALWAYS});

        assert_has(&said.err, red);
        assert_lacks(&file.err, red);
        assert_has(&always.err, red);
    }
    assert_int_equal(setenv("NO_COLOR", "1", 1), 0);
    {
        SCOPED(said_done) struct said said = on_terminal(failing_phase, (struct ui_options){0}, 80);

        assert_lacks(&said.err, red);
        assert_has(&said.err, "\033[K");
    }
    assert_int_equal(unsetenv("NO_COLOR"), 0);
}

static void a_dumb_terminal_gets_plain_lines(void **state)
{
    (void)state;
    assert_int_equal(setenv("TERM", "dumb", 1), 0);
    {
        SCOPED(said_done) struct said said = on_terminal(everything, (struct ui_options){0}, 80);

        assert_lacks(&said.err, "\033");
        assert_has(&said.err, "writing disk: 0.0 s\r\n");
    }
    assert_int_equal(setenv("TERM", "xterm", 1), 0);
}

static void lost_results_are_an_error_in_the_end(void **state)
{
    SCOPED(said_done) struct said good = on_files(only_result, (struct ui_options){0});
    SCOPED(said_done) struct said full = on_files(result_to_full_disk, (struct ui_options){0});
    SCOPED(said_done) struct said pipe = on_files(result_to_closed_pipe, (struct ui_options){0});
    SCOPED(said_done)
    struct said none = on_files(nothing_to_closed_stdout, (struct ui_options){0});

    (void)state;
    assert_int_equal(good.status, 0);
    assert_int_equal(full.status, 1);
    assert_has(&full.err, "kiln: write to standard output: No space left on device\n");
    assert_int_equal(pipe.status, 1);
    assert_has(&pipe.err, "Broken pipe");
    assert_int_equal(none.status, 0);
}

static void threads_do_not_mix_their_lines(void **state)
{
    SCOPED(said_done) struct said said = on_files(many_threads, (struct ui_options){.json = true});
    json_t *lines = parse_lines(&said.out);

    (void)state;
    assert_in_range(json_array_size(lines), 802, 802 + said.took_ms / 500);
    assert_int_equal(count_of(&said.err, "note of many words"), 800);
    assert_int_equal(count_of(&said.err, "note of many words 199\n"), 4);
    json_decref(lines);
}

static void progress_text_gives_way_in_order(void **state)
{
    static const struct {
        unsigned width;
        const char *text;
    } cases[] = {
        {0, "writing disk: base.tar.zst  10 MiB of 40 MiB (25%)  5.0 MiB/s  0:06 left"},
        {72, "writing disk: base.tar.zst  10 MiB of 40 MiB (25%)  5.0 MiB/s  0:06 left"},
        {71, "writing disk: base.tar...  10 MiB of 40 MiB (25%)  5.0 MiB/s  0:06 left"},
        {30, "writing disk  10 MiB of 40 ..."},
        {8, "writi..."},
        {3, ""},
    };
    struct progress progress = {.phase = "writing disk",
                                .item = "base.tar.zst",
                                .done_bytes = 10 << 20,
                                .total_bytes = 40 << 20,
                                .elapsed_ms = 2000};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED(buf_done) struct buf buf = {0};
        unsigned columns;

        buf_puts(&buf, "");
        progress_line(&buf, &progress, cases[i].width);
        assert_string_equal(buf.data, cases[i].text);
        (void)progress_fit(buf.data, buf.size, UINT32_MAX, &columns);
        assert_true(cases[i].width == 0 || columns <= cases[i].width);
    }
}

static void progress_numbers_stay_sane(void **state)
{
    static const struct {
        struct progress progress;
        const char *text;
    } cases[] = {
        {{.phase = "p", .elapsed_ms = 3725000}, "p  1:02:05"},
        {{.phase = "p", .done_bytes = 2048, .elapsed_ms = 10}, "p  2 KiB"},
        {{.phase = "p", .total_bytes = 1024, .elapsed_ms = 9000}, "p  0 B of 1 KiB (0%)"},
        {{.phase = "p", .done_bytes = 4096, .total_bytes = 1024, .elapsed_ms = 10},
         "p  4 KiB of 1 KiB (100%)"},
        {{.phase = "p", .done_bytes = 1000, .total_bytes = UINT64_MAX, .elapsed_ms = 999},
         "p  1000 B of 16 EiB (0%)  1000 B/s"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED(buf_done) struct buf buf = {0};

        progress_line(&buf, &cases[i].progress, 0);
        assert_string_equal(buf.data, cases[i].text);
    }
}

static void json_strings_take_any_bytes(void **state)
{
    json_t *good = ui_string("gr\xc3\xbc\xc3\x9f"
                             "e"),
           *bad = ui_string("a\xff"
                            "b"),
           *empty = ui_string("");

    (void)state;
    assert_string_equal(json_string_value(good), "gr\xc3\xbc\xc3\x9f"
                                                 "e");
    assert_string_equal(json_string_value(bad), "a\\xffb");
    assert_string_equal(json_string_value(empty), "");
    json_decref(good);
    json_decref(bad);
    json_decref(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_bytes_never_reach_a_file_raw),
        cmocka_unit_test(foreign_bytes_never_reach_a_terminal_raw),
        cmocka_unit_test(errors_keep_their_lines_and_end_with_the_hint),
        cmocka_unit_test(foreign_newlines_forge_no_line),
        cmocka_unit_test(foreign_newlines_forge_no_line_of_a_json_text),
        cmocka_unit_test(an_object_that_could_not_be_made_is_no_empty_line),
        cmocka_unit_test(details_are_for_verbose_only),
        cmocka_unit_test(quiet_leaves_results_and_errors),
        cmocka_unit_test(json_is_one_object_a_line_and_nothing_else),
        cmocka_unit_test(quiet_json_is_the_result_and_the_error),
        cmocka_unit_test(progress_events_come_at_most_twice_a_second),
        cmocka_unit_test(terminal_lines_fit_and_redraw_ten_times_a_second),
        cmocka_unit_test(columns_stand_in_for_a_terminal_without_a_size),
        cmocka_unit_test(a_phase_that_reports_nothing_still_moves),
        cmocka_unit_test(a_failed_phase_leaves_no_line),
        cmocka_unit_test(color_follows_option_environment_and_terminal),
        cmocka_unit_test(a_dumb_terminal_gets_plain_lines),
        cmocka_unit_test(lost_results_are_an_error_in_the_end),
        cmocka_unit_test(threads_do_not_mix_their_lines),
        cmocka_unit_test(progress_text_gives_way_in_order),
        cmocka_unit_test(progress_numbers_stay_sane),
        cmocka_unit_test(json_strings_take_any_bytes),
    };

    (void)setenv("TERM", "xterm", 1);
    (void)unsetenv("NO_COLOR");
    (void)unsetenv("COLUMNS");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
