/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
/* First: cmocka has a macro called fail. */
#include "cli/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Splits a command line at blanks and parses it. */
static int parse(const char *line, struct args *ret, struct error *err)
{
    static char copy[256], *words[32];
    int count = 0;

    (void)snprintf(copy, sizeof(copy), "kiln %s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    *err = (struct error){0};
    return args_parse(count, words, ret, err);
}

static void finds_commands_options_and_arguments(void **state)
{
    struct args args;
    struct error err;

    (void)state;
    assert_int_equal(parse("build web.yaml -o out --force", &args, &err), 0);
    assert_ptr_equal(args.command, &cmd_build);
    assert_string_equal(args.invocation.arguments[0], "web.yaml");
    assert_string_equal(args.invocation.values[0], "out");
    assert_non_null(args.invocation.values[4]);
    assert_null(args.invocation.values[3]);
    assert_int_equal(parse("layer pack --to=/etc dir -oX.tar -qv --json", &args, &err), 0);
    assert_ptr_equal(args.command, &cmd_layer_pack);
    assert_string_equal(args.invocation.values[0], "X.tar");
    assert_string_equal(args.invocation.values[1], "/etc");
    assert_true(args.ui.quiet && args.ui.verbose && args.ui.json);
    assert_int_equal(parse("plan -- -odd.yaml", &args, &err), 0);
    assert_string_equal(args.invocation.arguments[0], "-odd.yaml");
    assert_int_equal(parse("--version", &args, &err), 0);
    assert_true(args.version);
    assert_int_equal(parse("build --help", &args, &err), 0);
    assert_true(args.help);
    assert_int_equal(parse("help layer pack", &args, &err), 0);
}

static void joins_what_may_be_given_again(void **state)
{
    struct args args;
    struct error err;

    (void)state;
    assert_int_equal(parse("publish b --target one --target=two,three --target four", &args, &err),
                     0);
    assert_string_equal(args.invocation.values[0], "one,two,three,four");
    args_done(&args);
    assert_int_equal(parse("publish b --parent one --parent two", &args, &err), 0);
    assert_string_equal(args.invocation.values[1], "two");
    args_done(&args);
}

static void refuses_with_usage_and_a_hint(void **state)
{
    static const struct {
        const char *line, *message, *hint;
    } cases[] = {
        {"", "no command given", "'kiln help' lists the commands"},
        {"biuld x", "unknown command 'biuld'", "did you mean 'kiln build'?"},
        {"layer pakc x", "unknown command 'layer pakc'", "did you mean 'kiln layer pack'?"},
        {"build", "usage: kiln build [OPTION]… PROFILE", ""},
        {"build a b", "one argument too many: 'b'", "usage: kiln build PROFILE"},
        {"build --forse a", "unknown option '--forse'", "did you mean '--force'?"},
        {"build -x a", "unknown option '-x'", "'kiln help build' lists the options"},
        {"build --force=yes a", "option '--force' takes no value", ""},
        {"build a -o", "option '-o' needs DIR", ""},
        {"build a --color blue", "--color is auto, always or never, not 'blue'", ""},
        {"show --force x", "unknown option '--force'", "'kiln help show' lists the options"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct args args;
        struct error err;

        assert_int_equal(parse(cases[i].line, &args, &err), -1);
        assert_int_equal(err.kind, FAIL_USAGE);
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(err.hint, cases[i].hint);
    }
}

static void help_of_everything_fits_a_terminal(void **state)
{
    (void)state;
    for (size_t i = 0; i == 0 || commands[i - 1] != NULL; i++) {
        struct buf text = {0};
        size_t columns = 0;

        args_help(i == 0 ? NULL : commands[i - 1], &text);
        for (size_t k = 0; k < text.size; k++) {
            columns = text.data[k] == '\n' ? 0 : columns + ((text.data[k] & 0xc0) != 0x80);
            assert_true(columns <= 80);
        }
        buf_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_commands_options_and_arguments),
        cmocka_unit_test(joins_what_may_be_given_again),
        cmocka_unit_test(refuses_with_usage_and_a_hint),
        cmocka_unit_test(help_of_everything_fits_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
