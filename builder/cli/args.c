/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <string.h>

#include "base/scope.h"
#include "base/text.h"

const struct option_row common_options[] = {
    {0, "json", NULL, "events and results as JSON lines on stdout"},
    {'q', "quiet", NULL, "say nothing but results and errors"},
    {'v', "verbose", NULL, "say more"},
    {0, "color", "WHEN", "auto, always or never"},
    {'h', "help", NULL, "show this help"},
    {0, NULL, NULL, NULL},
};

enum { COMMON_JSON, COMMON_QUIET, COMMON_VERBOSE, COMMON_COLOR, COMMON_HELP };

const struct command *const commands[] = {
    &cmd_build,    &cmd_plan,         &cmd_lock,     &cmd_show,    &cmd_layer_pack, &cmd_layer_show,
    &cmd_store_ls, &cmd_store_verify, &cmd_store_gc, &cmd_publish, &cmd_doctor,     &cmd_help,
    NULL,
};

const struct command *args_find(const char *name)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

/* --- help -------------------------------------------------------------------------------- */

static size_t columns_of(const char *text)
{
    size_t columns = 0;

    for (; *text != '\0'; text++) {
        columns += ((unsigned char)*text & 0xc0) != 0x80 ? 1 : 0;
    }
    return columns;
}

static void add_options(struct buf *out, const struct option_row *row)
{
    for (; row->name != NULL; row++) {
        char text[64];
        char letter[5] = "    ";

        if (row->letter != 0) {
            (void)snprintf(letter, sizeof(letter), "-%c, ", row->letter);
        }
        (void)snprintf(text, sizeof(text), "%s--%s%s%s", letter, row->name,
                       row->argument != NULL ? " " : "",
                       row->argument != NULL ? row->argument : "");
        buf_printf(out, "  %-*s %s\n", (int)(22 + strlen(text) - columns_of(text)), text,
                   row->help);
    }
}

static void add_overview(struct buf *out)
{
    buf_puts(out, "usage: kiln COMMAND [OPTION]… ARGUMENT…\n\n"
                  "kiln bakes machine images offline: a YAML profile and a stack of tarballs\n"
                  "become a disk that boots.\n\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        char text[64];

        (void)snprintf(text, sizeof(text), "%s %s", commands[i]->name, commands[i]->arguments);
        buf_printf(out, "  %-22s %s\n", text, commands[i]->summary);
    }
    buf_puts(out, "\noptions of every command:\n");
    add_options(out, common_options);
    buf_puts(out, "      --version          show the version\n\n"
                  "'kiln help COMMAND' shows a command's own options; kiln(1) and kiln-profile(5)\n"
                  "tell the rest.\n");
}

void args_help(const struct command *command, struct buf *out)
{
    if (command == NULL) {
        add_overview(out);
        return;
    }
    buf_printf(out, "usage: kiln %s%s%s%s\n\n%s\n\noptions:\n", command->name,
               command->options != NULL ? " [OPTION]…" : "",
               command->arguments[0] != '\0' ? " " : "", command->arguments, command->summary);
    if (command->options != NULL) {
        add_options(out, command->options);
    }
    add_options(out, common_options);
}

/* --- parsing ----------------------------------------------------------------------------- */

struct parse {
    struct args *args;
    const char *common[OPTIONS_MAX];
    char **argv;
    int argc, at;
    int given; /* arguments so far */
};

/* One word of the command line as an option: where its row is and where its value goes. */
struct match {
    const struct option_row *row;
    const char **value;
};

static struct match find_option(struct parse *parse, const char *name, size_t length, char letter)
{
    const struct option_row *tables[] = {
        parse->args->command != NULL ? parse->args->command->options : NULL, common_options};
    const char **values[] = {parse->args->invocation.values, parse->common};

    for (size_t t = 0; t < COUNT(tables); t++) {
        for (size_t i = 0; tables[t] != NULL && tables[t][i].name != NULL; i++) {
            const struct option_row *row = &tables[t][i];
            bool same = letter != 0
                            ? row->letter == letter
                            : strlen(row->name) == length && strncmp(row->name, name, length) == 0;

            if (same) {
                return (struct match){row, &values[t][i]};
            }
        }
    }
    return (struct match){NULL, NULL};
}

static int unknown_option(struct parse *parse, const char *word, struct error *err)
{
    const char *names[2 * OPTIONS_MAX] = {0};
    const struct option_row *own =
        parse->args->command != NULL ? parse->args->command->options : NULL;
    const char *near;
    size_t n = 0;

    for (const struct option_row *row = own; row != NULL && row->name != NULL; row++) {
        names[n++] = row->name;
    }
    for (const struct option_row *row = common_options; row->name != NULL; row++) {
        names[n++] = row->name;
    }
    fail(err, FAIL_USAGE, "unknown option '%s'", word);
    near = text_starts(word, "--") ? text_nearest(word + 2, names) : NULL;
    if (near != NULL) {
        return fail_hint(err, "did you mean '--%s'?", near);
    }
    return fail_hint(err, "'kiln help%s%s' lists the options",
                     parse->args->command != NULL ? " " : "",
                     parse->args->command != NULL ? parse->args->command->name : "");
}

/* One more value for an option of the command that may be given several times. */
static const char *join(struct parse *parse, struct match match, const char *text)
{
    char **place = &parse->args->joined[match.value - parse->args->invocation.values];
    char *joined = xprintf("%s,%s", *match.value, text);

    free(*place);
    *place = joined;
    return joined;
}

/* TEXT is what is attached to the option ("=value", "-ovalue"), or NULL. */
static int take_value(struct parse *parse, struct match match, const char *word, const char *text,
                      struct error *err)
{
    if (match.row->argument == NULL) {
        if (text != NULL) {
            return fail(err, FAIL_USAGE, "option '--%s' takes no value", match.row->name);
        }
        *match.value = "";
        return 0;
    }
    if (text == NULL && parse->at + 1 < parse->argc) {
        text = parse->argv[++parse->at];
    }
    if (text == NULL) {
        return fail(err, FAIL_USAGE, "option '%s' needs %s", word, match.row->argument);
    }
    *match.value = *match.value != NULL && text_ends(match.row->argument, "…")
                       ? join(parse, match, text)
                       : text;
    return 0;
}

static int parse_long(struct parse *parse, const char *word, struct error *err)
{
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    struct match match = find_option(parse, word + 2, length, 0);

    if (match.row == NULL) {
        return unknown_option(parse, word, err);
    }
    return take_value(parse, match, word, equals != NULL ? equals + 1 : NULL, err);
}

static int parse_letters(struct parse *parse, const char *word, struct error *err)
{
    for (const char *s = word + 1; *s != '\0'; s++) {
        struct match match = find_option(parse, NULL, 0, *s);

        if (match.row == NULL) {
            return unknown_option(parse, word, err);
        }
        if (match.row->argument != NULL) {
            return take_value(parse, match, word, s[1] != '\0' ? s + 1 : NULL, err);
        }
        *match.value = "";
    }
    return 0;
}

static int unknown_command(const char *word, struct error *err)
{
    const char *names[32] = {0};
    const char *near;

    for (size_t i = 0; commands[i] != NULL; i++) {
        names[i] = commands[i]->name;
    }
    near = text_nearest(word, names);
    fail(err, FAIL_USAGE, "unknown command '%s'", word);
    return near != NULL ? fail_hint(err, "did you mean 'kiln %s'?", near)
                        : fail_hint(err, "'kiln help' lists the commands");
}

/* True for the first word of names that have two. */
static bool is_first_word(const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strncmp(commands[i]->name, word, length) == 0 && commands[i]->name[length] == ' ') {
            return true;
        }
    }
    return false;
}

/* The command's name is one word or two ("layer pack"). */
static int parse_command(struct parse *parse, const char *word, struct error *err)
{
    SCOPED_FREE char *two = NULL;

    parse->args->command = args_find(word);
    if (parse->args->command != NULL) {
        return 0;
    }
    two = parse->at + 1 < parse->argc ? xprintf("%s %s", word, parse->argv[parse->at + 1])
                                      : xstrdup(word);
    parse->args->command = args_find(two);
    if (parse->args->command == NULL) {
        return unknown_command(is_first_word(word) ? two : word, err);
    }
    parse->at++;
    return 0;
}

static int count_words(const char *text, bool required_only)
{
    int count = 0;

    for (const char *s = text; *s != '\0'; s++) {
        if ((s == text || s[-1] == ' ') && (*s != '[' || !required_only)) {
            count++;
        }
    }
    return count;
}

static int parse_argument(struct parse *parse, const char *word, struct error *err)
{
    const struct command *command = parse->args->command;

    if (command == NULL) {
        return parse_command(parse, word, err);
    }
    if (parse->given == count_words(command->arguments, false)) {
        fail(err, FAIL_USAGE, "one argument too many: '%s'", word);
        return fail_hint(err, "usage: kiln %s %s", command->name, command->arguments);
    }
    parse->args->invocation.arguments[parse->given++] = word;
    return 0;
}

static int parse_word(struct parse *parse, bool *options_end, struct error *err)
{
    const char *word = parse->argv[parse->at];

    if (*options_end || word[0] != '-' || word[1] == '\0') {
        return parse_argument(parse, word, err);
    }
    if (strcmp(word, "--") == 0) {
        *options_end = true;
        return 0;
    }
    if (parse->args->command == NULL && strcmp(word, "--version") == 0) {
        parse->args->version = true;
        return 0;
    }
    return word[1] == '-' ? parse_long(parse, word, err) : parse_letters(parse, word, err);
}

static int parse_common(struct parse *parse, struct error *err)
{
    static const char *const words[] = {"auto", "never", "always"};
    const char *color = parse->common[COMMON_COLOR];
    struct args *args = parse->args;

    args->ui.json = parse->common[COMMON_JSON] != NULL;
    args->ui.quiet = parse->common[COMMON_QUIET] != NULL;
    args->ui.verbose = parse->common[COMMON_VERBOSE] != NULL;
    args->help = parse->common[COMMON_HELP] != NULL;
    if (color == NULL) {
        return 0;
    }
    for (size_t i = 0; i < COUNT(words); i++) {
        if (strcmp(color, words[i]) == 0) {
            args->ui.color = (enum ui_color)i;
            return 0;
        }
    }
    return fail(err, FAIL_USAGE, "--color is auto, always or never, not '%s'", color);
}

static int check_complete(const struct parse *parse, struct error *err)
{
    const struct command *command = parse->args->command;

    if (parse->args->help || parse->args->version) {
        return 0;
    }
    if (command == NULL) {
        fail(err, FAIL_USAGE, "no command given");
        return fail_hint(err, "'kiln help' lists the commands");
    }
    if (parse->given < count_words(command->arguments, true)) {
        return fail(err, FAIL_USAGE, "usage: kiln %s%s %s", command->name,
                    command->options != NULL ? " [OPTION]…" : "", command->arguments);
    }
    return 0;
}

int args_parse(int argc, char **argv, struct args *ret, struct error *err)
{
    struct parse parse = {.args = ret, .argv = argv, .argc = argc, .at = 1};
    struct error ignored = {0};
    bool options_end = false;

    *ret = (struct args){0};
    for (; parse.at < argc; parse.at++) {
        if (parse_word(&parse, &options_end, err) < 0) {
            /* How to say it (--json, -q) may have been understood already. */
            (void)parse_common(&parse, &ignored);
            return -1;
        }
    }
    return parse_common(&parse, err) < 0 || check_complete(&parse, err) < 0 ? -1 : 0;
}

void args_done(struct args *args)
{
    for (size_t i = 0; i < COUNT(args->joined); i++) {
        free(TAKE(args->joined[i]));
    }
}
