/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: what is put together, what is kept apart, and the status it leads to. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/fail.h"

#include <cmocka.h>
#undef fail /* kiln has one of its own */

static void context_goes_before_the_message(void **state)
{
    struct error err = {0};

    (void)state;
    errno = ENOSPC;
    assert_int_equal(fail_os(&err, "write '%s'", "disk.raw"), -1);
    assert_int_equal(fail_while(&err, "format '%s'", "raw"), -1);
    assert_string_equal(err.message, "format 'raw': write 'disk.raw': No space left on device");
    assert_int_equal(err.os, ENOSPC);
    assert_false(err.lines);
}

static void only_lines_of_its_own_make_an_error_of_lines(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(fail_lines(&err, FAIL_USAGE, "a:1:1: 100%s\na:2:1: no"), -1);
    assert_true(err.lines);
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_string_equal(err.message, "a:1:1: 100%s\na:2:1: no");
    fail_clear(&err);
    assert_false(err.lines);
    err.lines = true; /* as a struct that was not cleared might have it */
    assert_int_equal(fail(&err, FAIL_ERROR, "'%s'", "a\nb"), -1);
    assert_false(err.lines);
}

static void context_adds_no_line_to_lines(void **state)
{
    struct error err = {0};

    (void)state;
    (void)fail_lines(&err, FAIL_USAGE, "one\ntwo");
    (void)fail_while(&err, "in '%s'", "x\n  hint: y");
    assert_string_equal(err.message, "in 'x\\x0a  hint: y': one\ntwo");
}

static void long_context_keeps_its_bounds(void **state)
{
    struct error err = {0};
    char long_text[3000];

    (void)state;
    memset(long_text, '\n', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    (void)fail_lines(&err, FAIL_USAGE, "the cause");
    for (int i = 0; i < 12; i++) {
        (void)fail_while(&err, "%s", long_text);
    }
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_memory_equal(err.message, "\\x0a\\x0a", 8);
}

static void a_failure_never_has_the_status_of_success(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(fail_status(&err), 1);
    (void)fail(&err, FAIL_MISMATCH, "digest");
    assert_int_equal(fail_status(&err), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_goes_before_the_message),
        cmocka_unit_test(only_lines_of_its_own_make_an_error_of_lines),
        cmocka_unit_test(context_adds_no_line_to_lines),
        cmocka_unit_test(long_context_keeps_its_bounds),
        cmocka_unit_test(a_failure_never_has_the_status_of_success),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
