/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/file.h"
#include "runner/packages.h"
#include "runner/script.h"

int command_load(struct command *command, const struct task *task, int root,
                 struct outcome *outcome)
{
    char path[PATH_MAX], kind[16];

    (void)snprintf(path, sizeof(path), "%s/kind", task->step);
    if (file_read(path, kind, sizeof(kind)) < 0) {
        return outcome_fail_os(outcome, "read '%s'", path);
    }
    if (strcmp(kind, "run\n") == 0) {
        return script_load(command, task, outcome);
    }
    if (strcmp(kind, "deb\n") == 0) {
        return packages_load_deb(command, task, root, outcome);
    }
    if (strcmp(kind, "rpm\n") == 0) {
        return packages_load_rpm(command, task, root, outcome);
    }
    return outcome_fail(outcome, "unknown kind of step '%s'", kind);
}

int command_place(const struct command *command, const struct task *task, int root,
                  struct outcome *outcome)
{
    return command->packages ? packages_place(task, root, outcome)
                             : script_place(command, task, root, outcome);
}

void command_failed(const struct command *command, int root, int os, struct outcome *outcome)
{
    const char *interpreter = command->interpreter;

    /* Executing a script fails the same way when its interpreter cannot be executed. */
    if (os == ENOENT && interpreter[0] != '\0' && !file_is_program(root, interpreter)) {
        (void)outcome_fail(outcome, "the interpreter '%s' of the script is not in the image",
                           interpreter);
        return;
    }
    errno = os;
    (void)outcome_fail_os(outcome, "run '%s'",
                          interpreter[0] != '\0' ? interpreter : command->argv[0]);
}
