/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/packages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/file.h"
#include "runner/mounts.h"
#include "runner/points.h"

/* apt's lists and caches go where they vanish: without sources it knows of nothing but these files.
 * (With --no-download it would not even take those.) A configuration file that was changed below
 * stays as it is, as nobody can be asked. (apt.conf(5), dpkg(1)) */
static const char *const apt_get[] = {
    "/usr/bin/apt-get",
    "-y",
    "--no-install-recommends",
    "--allow-downgrades",
    "--reinstall",
    "-oAPT::Sandbox::User=root",
    "-oDir::Etc::SourceList=/dev/null",
    "-oDir::Etc::SourceParts=/dev/null",
    "-oDir::State::Lists=/run/kiln/lists",
    "-oDir::Cache=/run/kiln/cache",
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

/* Where apt downloads to, if it did. */
static const char *const partial[] = {"/run/kiln/lists/partial",
                                      "/run/kiln/cache/archives/partial"};

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

int packages_place(const struct task *task, int root, struct outcome *outcome)
{
    char source[PATH_MAX];

    for (size_t i = 0; i < sizeof(partial) / sizeof(*partial); i++) {
        if (points_make(NULL, root, partial[i], outcome) < 0) {
            return -1;
        }
    }
    (void)snprintf(source, sizeof(source), "%s/packages", task->step);
    return points_make(NULL, root, COMMAND_PACKAGES, outcome) < 0
               ? -1
               : mounts_bind(open(source, O_PATH | O_CLOEXEC), root, COMMAND_PACKAGES, outcome);
}
