/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command is a row: its name, its options, the function that runs it. Parsing, --help, the
 * overview and the tests of the man page all read that row.
 */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include <stdbool.h>

#include "base/fail.h"
#include "ui/ui.h"

struct option_row {
    char letter;          /* 0: none */
    const char *name;     /* NULL ends the table */
    const char *argument; /* "DIR"; "NAME…": may be given again, joined by ','; NULL: a flag */
    const char *help;
};

enum { OPTIONS_MAX = 16, ARGUMENTS_MAX = 8 };

struct invocation {
    struct ui *ui;
    const char
        *values[OPTIONS_MAX]; /* by row of the command's table: text, "" for a flag, or NULL */
    const char *arguments[ARGUMENTS_MAX];
};

struct command {
    const char *name;      /* "build", "layer pack" */
    const char *arguments; /* "PROFILE", "[COMMAND]": words in brackets may be left out */
    const char *summary;
    const struct option_row *options; /* beside the common ones; NULL: none */
    int (*run)(const struct invocation *invocation, struct error *err);
};

extern const struct command cmd_build;
extern const struct command cmd_plan;
extern const struct command cmd_lock;
extern const struct command cmd_show;
extern const struct command cmd_publish;
extern const struct command cmd_doctor;
extern const struct command cmd_layer_pack;
extern const struct command cmd_layer_show;
extern const struct command cmd_store_ls;
extern const struct command cmd_store_verify;
extern const struct command cmd_store_gc;
extern const struct command cmd_help;

/* All of them in the order of the overview, ended by NULL. */
extern const struct command *const commands[];

/* The options every command takes. */
extern const struct option_row common_options[];

#endif
