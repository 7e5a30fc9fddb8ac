/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "capture/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"

#include <cmocka.h>

/* Goes down PATH name by name, as whoever reads a disk does. */
static bool left_out(const char *const *patterns, size_t count, const char *path)
{
    SCOPED_FREE char *names = xstrdup(path + 1);
    char *rest = names;
    struct noise noise;
    bool out = false;

    noise_begin(patterns, count, &noise);
    for (const char *name; !out && (name = strsep(&rest, "/")) != NULL;) {
        struct noise below = {0};

        out = noise_enter(&noise, name, &below);
        assert_int_equal(noise_enter(&noise, name, NULL), out);
        noise_done(&noise);
        noise = below;
    }
    noise_done(&noise);
    return out;
}

static void patterns_leave_out_what_they_name(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool out;
    } cases[] = {
        {"/a", "/a", true},           {"/a", "/a/b", true},
        {"/a", "/ab", false},         {"/a", "/b/a", false},
        {"/a/", "/a", false},         {"/a/", "/a/b", true},
        {"/a/", "/a/b/c", true},      {"/a/b", "/a", false},
        {"/a/b", "/a/b/c", true},     {"/*", "/a", true},
        {"/*/x", "/a/x", true},       {"/*/x", "/x", false},
        {"/a*", "/a", true},          {"/a*c", "/abcbc", true},
        {"/a*c", "/abcb", false},     {"/*a*b*", "/xxaxxbxx", true},
        {"/*a*b*", "/xxbxxa", false}, {"/a?", "/a", false},
        {"/a?", "/ab", true},         {"/a?", "/a/b", false},
        {"/a*b", "/a/b", false},      {"/[a]", "/a", false},
        {"/[a]", "/[a]", true},       {"/\\*", "/\\x", true},
        {"//a//b", "/a/b", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (left_out(&cases[i].pattern, 1, cases[i].path) != cases[i].out) {
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].path);
        }
    }
}

static void some_is_left_out_always(void **state)
{
    static const char *const pattern = "/x";

    (void)state;
    assert_true(left_out(&pattern, 1, "/proc"));
    assert_true(left_out(&pattern, 1, "/tmp/x/y"));
    assert_true(left_out(&pattern, 0, "/lost+found"));
    assert_false(left_out(&pattern, 0, "/var/tmp"));
}

static void the_standard_list_is_for_who_has_none(void **state)
{
    static const char *const pattern = "/x";

    (void)state;
    assert_true(left_out(NULL, 0, "/var/lib/apt/lists/x"));
    assert_false(left_out(NULL, 0, "/var/lib/apt/lists"));
    assert_true(left_out(NULL, 0, "/etc/machine-id"));
    assert_false(left_out(NULL, 0, "/var/lib/dpkg/status"));
    assert_true(left_out(NULL, 0, "/var/lib/dpkg/status-old"));
    assert_false(left_out(&pattern, 1, "/etc/machine-id"));
    for (size_t i = 0; noise_standard[i] != NULL; i++) {
        assert_int_equal(noise_standard[i][0], '/');
    }
}

/* One that took time by the power of its stars would take forever. */
static void many_stars_are_quick(void **state)
{
    SCOPED(buf_done) struct buf pattern = {0}, path = {0};

    (void)state;
    buf_putc(&pattern, '/');
    buf_putc(&path, '/');
    for (unsigned i = 0; i < 100; i++) {
        buf_puts(&pattern, "*a");
        buf_puts(&path, "aa");
    }
    buf_putc(&pattern, 'b');
    assert_false(left_out((const char *const *)&pattern.data, 1, path.data));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_leave_out_what_they_name),
        cmocka_unit_test(some_is_left_out_always),
        cmocka_unit_test(the_standard_list_is_for_who_has_none),
        cmocka_unit_test(many_stars_are_quick),
    };

    return cmocka_run_group_tests_name("noise", tests, NULL, NULL);
}
