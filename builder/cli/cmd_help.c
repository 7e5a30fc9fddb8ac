/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cli/args.h"
#include "cli/cmd.h"

static int run(const struct invocation *invocation, struct error *err)
{
    const char *first = invocation->arguments[0], *second = invocation->arguments[1];
    SCOPED_FREE char *name = first == NULL ? NULL
                                           : xprintf("%s%s%s", first, second != NULL ? " " : "",
                                                     second != NULL ? second : "");
    const struct command *command = name != NULL ? args_find(name) : NULL;
    SCOPED(buf_done) struct buf text = {0};

    if (name != NULL && command == NULL) {
        fail(err, FAIL_USAGE, "unknown command '%s'", name);
        return fail_hint(err, "'kiln help' lists the commands");
    }
    args_help(command, &text);
    ui_text(invocation->ui, text.data);
    return 0;
}

const struct command cmd_help = {
    .name = "help",
    .arguments = "[COMMAND] [WORD]",
    .summary = "show the commands, or one command's options",
    .run = run,
};
