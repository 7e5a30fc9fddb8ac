/* SPDX-License-Identifier: Apache-2.0 */
/* From argv to an invocation of a command. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "base/buf.h"
#include "base/fail.h"
#include "cli/cmd.h"
#include "ui/ui.h"

struct args {
    const struct command *command; /* NULL with version, or help without a command */
    struct invocation invocation;  /* its ui is the caller's to set */
    struct ui_options ui;          /* what was understood of it so far, also on failure */
    bool help, version;
    char *joined[OPTIONS_MAX]; /* values of options that were given several times, by row */
};

/* argv is borrowed for the life of RET. Errors are FAIL_USAGE; also then RET is to be done with. */
int args_parse(int argc, char **argv, struct args *ret, struct error *err);

/* The cleaner for SCOPED. */
void args_done(struct args *args);

/* The command called NAME ("layer pack"), or NULL. */
const struct command *args_find(const char *name);

/* Help: of one command, or, with NULL, the overview. */
void args_help(const struct command *command, struct buf *out);

#endif
