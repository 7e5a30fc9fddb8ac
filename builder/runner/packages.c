/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/packages.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/file.h"

/* apt's lists and caches go where they vanish; local files need neither. A configuration file that
 * was changed below stays as it is, as nobody can be asked. (apt.conf(5), dpkg(1)) */
static const char *const apt_get[] = {
    "/usr/bin/apt-get",
    "-y",
    "--no-download",
    "--no-install-recommends",
    "--allow-downgrades",
    "--reinstall",
    "-oAPT::Sandbox::User=root",
    "-oDir::Etc::SourceList=/dev/null",
    "-oDir::Etc::SourceParts=/dev/null",
    "-oDir::State::Lists=" COMMAND_DIRECTORY "/lists",
    "-oDir::Cache=" COMMAND_DIRECTORY "/cache",
    "-oDpkg::Use-Pty=0",
    "-oDpkg::Options::=--force-confdef",
    "-oDpkg::Options::=--force-confold",
    "-oAcquire::Languages=none",
    "install",
    NULL,
};

static const char *const dpkg[] = {"/usr/bin/dpkg", "--force-confdef", "--force-confold", "-i",
                                   NULL};

static const char *const rpm[] = {"/usr/bin/rpm", "-Uvh", "--oldpackage", "--replacepkgs", NULL};

static int is_package(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The words of PROGRAM and then the COUNT packages, by path. */
static char **words(const char *const *program, struct dirent **packages, size_t count)
{
    size_t used = 0;
    char **argv;

    while (program[used] != NULL) {
        used++;
    }
    argv = calloc(used + count + 1, sizeof(*argv));
    if (argv == NULL) {
        return NULL;
    }
    memcpy(argv, program, used * sizeof(*argv));
    for (size_t i = 0; i < count; i++) {
        if (asprintf(&argv[used + i], COMMAND_PACKAGES "/%s", packages[i]->d_name) < 0) {
            return NULL;
        }
    }
    return argv;
}

static int load(struct command *command, const struct task *task, const char *const *program,
                struct outcome *outcome)
{
    char path[PATH_MAX];
    struct dirent **packages;
    int count;

    (void)snprintf(path, sizeof(path), "%s/packages", task->step);
    count = scandir(path, &packages, is_package, by_name);
    if (count <= 0) {
        errno = count == 0 ? ENOENT : errno;
        return outcome_fail_os(outcome, "read '%s'", path);
    }
    command->packages = true;
    command->argv = words(program, packages, (size_t)count);
    return command->argv != NULL ? 0 : outcome_fail_os(outcome, "read '%s'", path);
}

int packages_load_deb(struct command *command, const struct task *task, int root,
                      struct outcome *outcome)
{
    if (file_is_program(root, apt_get[0])) {
        return load(command, task, apt_get, outcome);
    }
    return file_is_program(root, dpkg[0])
               ? load(command, task, dpkg, outcome)
               : outcome_fail(outcome, "the image has neither apt-get nor dpkg");
}

int packages_load_rpm(struct command *command, const struct task *task, int root,
                      struct outcome *outcome)
{
    return file_is_program(root, rpm[0]) ? load(command, task, rpm, outcome)
                                         : outcome_fail(outcome, "the image has no rpm");
}
