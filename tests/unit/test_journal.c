/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "publish/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tools.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME "lab.0123456789abcdef.journal"

static json_t *make_head(const char *target)
{
    return json_pack("{s:s, s:s}", "id", ID, "target", target);
}

static int try_open(const char *dir, const char *target, struct journal **ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *head = make_head(target);

    *err = (struct error){0};
    return journal_open(dir, "lab", ID, head, ret, err);
}

static struct journal *must_open(const char *dir)
{
    struct journal *journal = NULL;
    struct error err;

    if (try_open(dir, "lab", &journal, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return journal;
}

static void must_refuse(const char *dir, const char *message)
{
    struct journal *journal = NULL;
    struct error err;

    assert_int_equal(try_open(dir, "lab", &journal, &err), -1);
    assert_null(journal);
    if (strstr(err.message, message) == NULL) {
        fail_msg("'%s' instead of '%s'", err.message, message);
    }
}

static void must_set(struct journal *journal, const char *key, const char *value)
{
    struct error err = {0};

    assert_int_equal(journal_set(journal, key, value, &err), 0);
}

static void must_add(struct journal *journal, const uint64_t *blocks, size_t count)
{
    struct error err = {0};

    assert_int_equal(journal_add_blocks(journal, blocks, count, &err), 0);
}

static char *path_in(const char *dir)
{
    return xprintf("%s/" NAME, dir);
}

static void read_file(const char *path, struct buf *ret)
{
    struct error err = {0};

    assert_int_equal(file_read(path, 1 << 20, ret, &err), 0);
}

static void write_file(const char *path, const void *data, size_t size)
{
    struct error err = {0};

    assert_int_equal(file_write(path, data, size, &err), 0);
}

/* A directory with a journal that has TEXT. */
static void make_journal(const char *dir, const void *text, size_t size)
{
    SCOPED_FREE char *path = path_in(dir);

    if (mkdir(dir, 0777) < 0) {
        assert_int_equal(errno, EEXIST);
    }
    write_file(path, text, size);
}

static void what_was_written_is_there_again(void **state)
{
    static const uint64_t blocks[] = {7, 3, 4, 5, 1000000, 5};
    SCOPED(journal_freep) struct journal *journal = must_open("again");

    (void)state;
    assert_int_equal(journal_attempt(journal), 1);
    assert_null(journal_get(journal, "snapshot"));
    must_set(journal, "snapshot", "snap-1");
    must_set(journal, "phase.upload", "done");
    must_set(journal, "snapshot", "snap-\xc3\xa9\n\x1b");
    must_add(journal, blocks, COUNT(blocks));
    for (int i = 0; i < 2; i++) {
        assert_string_equal(journal_get(journal, "snapshot"), "snap-\xc3\xa9\n\x1b");
        assert_string_equal(journal_get(journal, "phase.upload"), "done");
        assert_null(journal_get(journal, "phase"));
        assert_int_equal(journal_block_count(journal), 5);
        assert_true(journal_has_block(journal, 4) && journal_has_block(journal, 1000000));
        assert_false(journal_has_block(journal, 6) || journal_has_block(journal, 1000001));
        assert_false(journal_has_block(journal, UINT64_MAX));
        assert_string_equal(json_string_value(json_object_get(journal_head(journal), "id")), ID);
        journal_free(journal);
        journal = must_open("again");
    }
}

static void is_text_that_no_terminal_obeys(void **state)
{
    static const uint64_t blocks[] = {9, 2, 3, 1};
    SCOPED(journal_freep) struct journal *journal = must_open("text");
    SCOPED(buf_done) struct buf text = {0};

    (void)state;
    must_set(journal, "key", "a\x1b[31m\xe2\x80\xae");
    must_add(journal, blocks, COUNT(blocks));
    read_file("text/" NAME, &text);
    assert_string_equal(text.data, "{\"id\":\"" ID "\",\"target\":\"lab\",\"journal\":1}\n"
                                   "{\"key\":\"key\",\"value\":\"a\\u001B[31m\\u202E\"}\n"
                                   "{\"blocks\":[1,3,9,9]}\n");
}

static void an_attempt_forgets_the_one_before(void **state)
{
    static const uint64_t block = 3;
    SCOPED(journal_freep) struct journal *journal = must_open("attempt");
    struct error err = {0};

    (void)state;
    must_set(journal, "snapshot", "snap-1");
    must_add(journal, &block, 1);
    assert_int_equal(journal_next_attempt(journal, "it \xff is\ngone", &err), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(journal_attempt(journal), 2);
        assert_null(journal_get(journal, "snapshot"));
        assert_int_equal(journal_block_count(journal), 0);
        assert_false(journal_has_block(journal, 3));
        journal_free(journal);
        journal = must_open("attempt");
    }
    assert_int_equal(journal_next_attempt(journal, "", &err), 0);
    assert_int_equal(journal_attempt(journal), 3);
}

static void visit_key(void *data, const char *key, const char *value)
{
    buf_printf(data, "%s=%s ", key, value);
}

static void values_come_in_the_order_of_their_keys(void **state)
{
    SCOPED(journal_freep) struct journal *journal = must_open("order");
    SCOPED(buf_done) struct buf seen = {0};

    (void)state;
    must_set(journal, "b", "1");
    must_set(journal, "c", "2");
    must_set(journal, "a.x-y:z_0", "3");
    must_set(journal, "b", "4");
    journal_each(journal, visit_key, &seen);
    assert_string_equal(seen.data, "a.x-y:z_0=3 b=4 c=2 ");
}

/* ---- what a crash leaves ---- */

/* How many lines of TEXT are complete in its first SIZE bytes. */
static int complete_lines(const struct buf *text, size_t size)
{
    int lines = 0;

    for (size_t i = 0; i < size; i++) {
        lines += text->data[i] == '\n';
    }
    return lines;
}

/* What a journal of so many lines knows; see the test below. */
static void check_lines(const struct journal *journal, int lines)
{
    const char *a = journal_get(journal, "a");

    assert_int_equal(journal_attempt(journal), lines >= 4 ? 2 : 1);
    assert_int_equal(journal_block_count(journal), lines == 3 ? 2 : lines >= 6 ? 1 : 0);
    if (lines == 2 || lines == 3) {
        assert_string_equal(a, "first");
    } else if (lines >= 5) {
        assert_string_equal(a, "second \xe2\x82\xac");
    } else {
        assert_null(a);
    }
}

static void a_line_cut_off_anywhere_is_dropped(void **state)
{
    static const uint64_t blocks[] = {1, 2}, block = 9;
    SCOPED(buf_done) struct buf text = {0};
    struct journal *journal = must_open("whole");
    struct error err = {0};

    (void)state;
    must_set(journal, "a", "first");
    must_add(journal, blocks, 2);
    assert_int_equal(journal_next_attempt(journal, "why", &err), 0);
    must_set(journal, "a", "second \xe2\x82\xac");
    must_add(journal, &block, 1);
    journal_free(journal);
    read_file("whole/" NAME, &text);
    for (size_t size = 0; size <= text.size; size++) {
        int lines = complete_lines(&text, size);

        make_journal("torn", text.data, size);
        assert_int_equal(journal_read("torn/" NAME, &journal, &err), 0);
        if (lines == 0) {
            assert_null(journal);
        } else {
            check_lines(journal, lines);
            journal_free(journal);
        }
        if (size % 3 != 0) { /* each takes its time: it waits for the disk */
            continue;
        }
        journal = must_open("torn");
        check_lines(journal, lines);
        must_set(journal, "next", "one");
        journal_free(journal);
        journal = must_open("torn");
        check_lines(journal, lines);
        assert_string_equal(journal_get(journal, "next"), "one");
        journal_free(journal);
    }
}

static void a_last_line_with_unwritten_parts_is_dropped(void **state)
{
    static const char text[] = "{\"id\":\"" ID "\",\"target\":\"lab\",\"journal\":1}\n"
                               "{\"key\":\"a\",\"value\":\"1\"}\n"
                               "{\"key\":\"a\",\0\0\0\0\0\0\0\0\0\0\0\n";
    struct journal *journal;

    (void)state;
    make_journal("zeros", text, sizeof(text) - 1);
    journal = must_open("zeros");
    assert_string_equal(journal_get(journal, "a"), "1");
    must_set(journal, "b", "2");
    journal_free(journal);
    journal = must_open("zeros");
    assert_string_equal(journal_get(journal, "b"), "2");
    journal_free(journal);
}

/* ---- what somebody else wrote ---- */

#define HEAD "{\"id\":\"" ID "\",\"target\":\"lab\",\"journal\":1}\n"
#define LAST "{\"key\":\"z\",\"value\":\"1\"}\n"

static void a_line_that_is_wrong_is_an_error_at_its_place(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"\n", ":1: no line of a journal"},
        {"{}\n" LAST, ":1: no head"},
        {"{\"journal\":2}\n", ":1: a journal of another version of kiln"},
        {"{\"journal\":1,\"id\":5}\n", ":1: no head"},
        {"[\"journal\"]\n", ":1: no line of a journal"},
        {HEAD "{\"key\":\"a\",\"value\":\"1\"\n" LAST, ":2: no line of a journal"},
        {HEAD LAST "\n" LAST, ":3: no line of a journal"},
        {HEAD "{\"key\":\"a\",\"value\":\"1\",\"more\":1}\n" LAST, ":2: no value"},
        {HEAD "{\"key\":\"A\",\"value\":\"1\"}\n" LAST, ":2: no value"},
        {HEAD "{\"key\":\"a/b\",\"value\":\"1\"}\n" LAST, ":2: no value"},
        {HEAD "{\"key\":\"\",\"value\":\"1\"}\n" LAST, ":2: no value"},
        {HEAD "{\"key\":\"a\",\"value\":1}\n" LAST, ":2: no value"},
        {HEAD "{\"key\":\"a\",\"key\":\"b\",\"value\":\"\"}\n" LAST, ":2: no line of a journal"},
        {HEAD "{\"key\":\"a\",\"value\":\"\\u0000\"}\n" LAST, ":2: no line of a journal"},
        {HEAD "{\"key\":\"a\",\"value\":\"\xff\"}\n" LAST, ":2: no line of a journal"},
        {HEAD "{\"attempt\":1,\"why\":\"\"}\n", ":2: an attempt out of order"},
        {HEAD "{\"attempt\":3,\"why\":\"\"}\n", ":2: an attempt out of order"},
        {HEAD "{\"attempt\":2}\n", ":2: no attempt"},
        {HEAD "{\"attempt\":\"2\",\"why\":\"\"}\n", ":2: no attempt"},
        {HEAD "{\"blocks\":[]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[1]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[2,1]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[-1,1]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[1,1.5]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[0,134217727]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[134217728,134217728]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[9223372036854775807,9223372036854775807]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[-9223372036854775808,9223372036854775807]}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":[1,1],\"more\":1}\n", ":2: no blocks"},
        {HEAD "{\"blocks\":7}\n", ":2: no blocks"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *place = xprintf("wrong/" NAME "%s", cases[i].message);
        struct journal *journal = NULL;
        struct error err = {0};

        make_journal("wrong", cases[i].text, strlen(cases[i].text));
        must_refuse("wrong", place);
        assert_int_equal(journal_read("wrong/" NAME, &journal, &err), -1);
        assert_non_null(strstr(err.message, place));
        assert_non_null(strstr(err.hint, "published from the beginning"));
    }
}

static void a_value_that_is_too_long_is_refused(void **state)
{
    struct journal *journal = must_open("long");
    SCOPED_FREE char *value = xcalloc(1, (16 << 10) + 2);
    struct error err = {0};

    (void)state;
    memset(value, '\x01', (16 << 10) + 1);
    assert_int_equal(journal_set(journal, "a", value, &err), -1);
    assert_non_null(strstr(err.message, "a is too long"));
    fail_clear(&err);
    assert_int_equal(journal_set(journal, "a", "\xff", &err), -1);
    assert_non_null(strstr(err.message, "not UTF-8"));
    value[16 << 10] = '\0';
    must_set(journal, "a", value);
    journal_free(journal);
    journal = must_open("long");
    assert_string_equal(journal_get(journal, "a"), value);
    journal_free(journal);
}

static void a_journal_of_another_publish_is_refused(void **state)
{
    static const char *const heads[] = {
        "{\"id\":\"" ID "\",\"target\":\"other\",\"journal\":1}\n",
        "{\"id\":\"" ID "\",\"journal\":1}\n",
        "{\"id\":\"" ID "\",\"target\":\"lab\",\"journal\":1,\"more\":\"\"}\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(heads); i++) {
        make_journal("foreign", heads[i], strlen(heads[i]));
        must_refuse("foreign", "is the journal of another publish");
    }
}

static void only_a_file_in_a_directory_is_opened(void **state)
{
    (void)state;
    assert_int_equal(mkdir("real", 0777), 0);
    assert_int_equal(symlink("real", "linked"), 0);
    must_refuse("linked", "'linked' is not a directory");
    assert_int_equal(symlink("../elsewhere", "real/" NAME), 0);
    must_refuse("real", "real/" NAME);
    assert_int_equal(access("elsewhere", F_OK), -1);
    assert_int_equal(unlink("real/" NAME), 0);
    assert_int_equal(mkfifo("real/" NAME, 0666), 0);
    must_refuse("real", "is not a regular file");
    assert_int_equal(unlink("real/" NAME), 0);
    make_journal("real", "", 0);
    assert_int_equal(truncate("real/" NAME, 1 << 30), 0);
    must_refuse("real", "is too large for a journal");
}

/* ---- several at once ---- */

static void a_journal_is_one_kilns_at_a_time(void **state)
{
    struct journal *first = must_open("locked");

    (void)state;
    must_refuse("locked", "'lab' is being published by another kiln");
    journal_free(first);
    journal_free(must_open("locked"));
}

static void a_journal_that_is_removed_is_begun_anew(void **state)
{
    struct journal *journal = must_open("removed");

    (void)state;
    must_set(journal, "a", "1");
    assert_int_equal(unlink("removed/" NAME), 0);
    journal_free(journal);
    journal = must_open("removed");
    assert_null(journal_get(journal, "a"));
    journal_free(journal);
}

enum { THREADS = 4, EACH = 10 };

struct adder {
    struct journal *journal;
    uint64_t first;
};

static void *add_some(void *data)
{
    struct adder *adder = data;

    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t block = adder->first + i * THREADS;
        struct error err = {0};

        if (journal_add_blocks(adder->journal, &block, 1, &err) < 0 ||
            !journal_has_block(adder->journal, block)) {
            return data;
        }
    }
    return NULL;
}

static void several_threads_add_blocks(void **state)
{
    struct journal *journal = must_open("threads");
    struct adder adders[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        adders[i] = (struct adder){journal, i};
        assert_int_equal(pthread_create(&threads[i], NULL, add_some, &adders[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed = NULL;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    journal_free(journal);
    journal = must_open("threads");
    assert_int_equal(journal_block_count(journal), THREADS * EACH);
    journal_free(journal);
}

static void many_blocks_take_little_room(void **state)
{
    enum { MANY = 100000 };
    SCOPED_FREE uint64_t *blocks = xcalloc(MANY, sizeof(*blocks));
    struct journal *journal = must_open("many");
    struct stat st;

    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        blocks[i] = MANY - i;
    }
    must_add(journal, blocks, MANY);
    journal_free(journal);
    assert_int_equal(stat("many/" NAME, &st), 0);
    assert_true(st.st_size < 20000);
    journal = must_open("many");
    assert_int_equal(journal_block_count(journal), MANY);
    assert_false(journal_has_block(journal, 0));
    journal_free(journal);
}

/* ---- a full disk ---- */

static void what_could_not_be_written_does_not_spoil_the_next(void **state)
{
    struct journal *journal = must_open("full");
    struct rlimit before, small;
    struct error err = {0};

    (void)state;
    must_set(journal, "a", "1");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 150, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(journal_set(journal, "b", "a value that no longer fits there", &err), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_null(journal_get(journal, "b"));
    must_set(journal, "c", "3");
    journal_free(journal);
    journal = must_open("full");
    assert_string_equal(journal_get(journal, "a"), "1");
    assert_null(journal_get(journal, "b"));
    assert_string_equal(journal_get(journal, "c"), "3");
    journal_free(journal);
}

static void journals_are_listed_by_name(void **state)
{
    SCOPED(journal_paths_done) struct journal_paths none = {0}, some = {0};
    struct error err = {0};

    (void)state;
    assert_int_equal(journal_list("nowhere", &none, &err), 0);
    assert_int_equal(none.count, 0);
    assert_int_equal(mkdir("list", 0777), 0);
    write_file("list/b.1.journal", "", 0);
    write_file("list/a.2.journal", "", 0);
    write_file("list/a.2.journal.bak", "", 0);
    write_file("list/.hidden.journal", "", 0);
    assert_int_equal(journal_list("list", &some, &err), 0);
    assert_int_equal(some.count, 2);
    assert_string_equal(some.items[0], "list/a.2.journal");
    assert_string_equal(some.items[1], "list/b.1.journal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_there_again),
        cmocka_unit_test(is_text_that_no_terminal_obeys),
        cmocka_unit_test(an_attempt_forgets_the_one_before),
        cmocka_unit_test(values_come_in_the_order_of_their_keys),
        cmocka_unit_test(a_line_cut_off_anywhere_is_dropped),
        cmocka_unit_test(a_last_line_with_unwritten_parts_is_dropped),
        cmocka_unit_test(a_line_that_is_wrong_is_an_error_at_its_place),
        cmocka_unit_test(a_value_that_is_too_long_is_refused),
        cmocka_unit_test(a_journal_of_another_publish_is_refused),
        cmocka_unit_test(only_a_file_in_a_directory_is_opened),
        cmocka_unit_test(a_journal_is_one_kilns_at_a_time),
        cmocka_unit_test(a_journal_that_is_removed_is_begun_anew),
        cmocka_unit_test(several_threads_add_blocks),
        cmocka_unit_test(many_blocks_take_little_room),
        cmocka_unit_test(what_could_not_be_written_does_not_spoil_the_next),
        cmocka_unit_test(journals_are_listed_by_name),
    };

    return cmocka_run_group_tests(tests, enter_fast_scratch, leave_scratch);
}
