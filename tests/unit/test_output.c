/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "base/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

/* Names in the directory. */
static char *names(void)
{
    return RUN("ls", "-A");
}

static void must_write(struct output *output, const char *text)
{
    assert_int_equal(write(output->fd, text, strlen(text)), (int)strlen(text));
}

static void it_appears_when_it_is_committed(void **state)
{
    SCOPED(output_done) struct output output = {0};
    SCOPED(buf_done) struct buf found = {0};
    struct error err = {0};

    (void)state;
    assert_int_equal(output_open(&output, "a", &err), 0);
    must_write(&output, "text");
    assert_false(file_exists("a"));
    assert_int_equal(output_commit(&output, &err), 0);
    assert_int_equal(file_read("a", 100, &found, &err), 0);
    assert_string_equal(found.data, "text");
}

static void what_is_there_is_replaced(void **state)
{
    SCOPED(output_done) struct output output = {0};
    SCOPED(buf_done) struct buf found = {0};
    SCOPED_FREE char *listing = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(file_write("a", "old text", 8, &err), 0);
    assert_int_equal(output_open(&output, "a", &err), 0);
    must_write(&output, "new");
    assert_int_equal(output_commit(&output, &err), 0);
    assert_int_equal(file_read("a", 100, &found, &err), 0);
    assert_string_equal(found.data, "new");
    listing = names();
    assert_string_equal(listing, "a\n");
}

static void what_is_not_committed_leaves_nothing(void **state)
{
    struct output output = {0};
    SCOPED_FREE char *listing = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(output_open(&output, "b", &err), 0);
    must_write(&output, "text");
    output_done(&output);
    output_done(&output); /* nothing more to drop */
    assert_false(file_exists("b"));
    listing = names();
    assert_null(strstr(listing, "b"));
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    struct output output = {0};
    struct error err = {0};

    (void)state;
    assert_int_equal(output_open(&output, "none/a", &err), -1);
    assert_string_equal(err.message, "create 'none/a': No such file or directory");
    output_done(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_appears_when_it_is_committed),
        cmocka_unit_test(what_is_there_is_replaced),
        cmocka_unit_test(what_is_not_committed_leaves_nothing),
        cmocka_unit_test(a_directory_that_is_not_there_is_an_error),
    };

    return cmocka_run_group_tests_name("output", tests, enter_scratch, leave_scratch);
}
