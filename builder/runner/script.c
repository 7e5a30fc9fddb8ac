/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/script.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/file.h"

void script_interpreter(const char *head, char interpreter[PATH_MAX])
{
    const char *name;

    interpreter[0] = '\0';
    if (strncmp(head, "#!", 2) == 0) {
        name = head + 2 + strspn(head + 2, " \t");
        (void)snprintf(interpreter, PATH_MAX, "%.*s", (int)strcspn(name, " \t\n"), name);
    }
}

/* The only entry of the directory SCRIPTS. */
static int find(const char *scripts, char name[NAME_MAX + 1])
{
    DIR *dir = opendir(scripts);
    int count = 0;

    if (dir == NULL) {
        return -1;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
            count++;
        }
    }
    (void)closedir(dir);
    errno = EINVAL;
    return count == 1 ? 0 : -1;
}

/* Where the script is among the inputs. */
static void source_path(const struct command *command, const struct task *task, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/script/%s", task->step, command->script);
}

int script_load(struct command *command, const struct task *task, struct outcome *outcome)
{
    char path[PATH_MAX], head[256], *place = NULL;
    size_t next = 0;

    source_path(command, task, path);
    if (find(path, command->script) < 0) {
        return outcome_fail_os(outcome, "read '%s'", path);
    }
    source_path(command, task, path);
    command->argv = calloc(4, sizeof(*command->argv));
    if (command->argv == NULL || file_read(path, head, sizeof(head)) < 0 ||
        asprintf(&place, COMMAND_DIRECTORY "/%s", command->script) < 0) {
        return outcome_fail_os(outcome, "read '%s'", path);
    }
    script_interpreter(head, command->interpreter);
    if (strncmp(head, "#!", 2) != 0) {
        command->argv[next++] = (char *)"/bin/sh";
        command->argv[next++] = (char *)"-e";
    }
    command->argv[next] = place;
    return 0;
}

static int copy(int from, int to)
{
    char data[16384];
    ssize_t got;

    while ((got = read(from, data, sizeof(data))) > 0) {
        if (file_write_all(to, data, (size_t)got) < 0) {
            return -1;
        }
    }
    return (int)got;
}

int script_place(const struct command *command, const struct task *task, int root,
                 struct outcome *outcome)
{
    int run = file_open_inside(root, COMMAND_DIRECTORY, O_RDONLY | O_DIRECTORY), from, to, result;
    char path[PATH_MAX];

    source_path(command, task, path);
    from = open(path, O_RDONLY | O_CLOEXEC);
    to = run < 0 ? -1
                 : openat(run, command->script,
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
    result = from < 0 || to < 0 ? -1 : copy(from, to);
    if (result < 0) {
        (void)outcome_fail_os(outcome, "copy the script to '%s'", COMMAND_DIRECTORY);
    }
    (void)close(run);
    (void)close(from);
    (void)close(to);
    return result;
}
