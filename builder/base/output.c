/* SPDX-License-Identifier: Apache-2.0 */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"

static char *partial_name(const char *path)
{
    char *name = xprintf("%s.partial-%ld", path, (long)getpid());

    /* A leftover of a killed process that had our number would be in the way. */
    (void)unlink(name);
    return name;
}

static int open_nameless(const char *path)
{
    SCOPED_FREE char *dir = file_dir(path);

    /* It gets its name by way of /proc. */
    return access("/proc/self/fd", X_OK) < 0 ? -1
                                             : open(dir, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
}

int output_open(struct output *output, const char *path, struct error *err)
{
    SCOPED_FREE char *name = NULL;
    int fd = open_nameless(path);

    if (fd < 0) {
        name = partial_name(path);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (fd < 0) {
        return fail_os(err, "create '%s'", path);
    }
    *output = (struct output){.path = path, .partial = TAKE(name), .fd = fd};
    return 0;
}

/* 1: the file is PATH now; 0: it is PARTIAL, because PATH exists. */
static int give_name(struct output *output, struct error *err)
{
    SCOPED_FREE char *self = xprintf("/proc/self/fd/%d", output->fd);
    SCOPED_FREE char *name = NULL;

    if (linkat(AT_FDCWD, self, AT_FDCWD, output->path, AT_SYMLINK_FOLLOW) == 0) {
        return 1;
    }
    if (errno != EEXIST) {
        return fail_os(err, "create '%s'", output->path);
    }
    name = partial_name(output->path);
    if (linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0) {
        return fail_os(err, "create '%s'", name);
    }
    output->partial = TAKE(name);
    return 0;
}

int output_commit(struct output *output, struct error *err)
{
    int named = output->partial != NULL ? 0 : give_name(output, err);

    if (named < 0) {
        return -1;
    }
    if (close(TAKE_FD(output->fd)) < 0) {
        fail_os(err, "write '%s'", output->path);
        if (named == 1) {
            (void)unlink(output->path);
        }
        return -1;
    }
    if (named == 0 && rename(output->partial, output->path) < 0) {
        return fail_os(err, "rename '%s' to '%s'", output->partial, output->path);
    }
    free(TAKE(output->partial));
    return 0;
}

void output_done(struct output *output)
{
    if (output->path == NULL) {
        return;
    }
    scope_fd(&output->fd);
    if (output->partial != NULL) {
        (void)unlink(output->partial);
    }
    free(output->partial);
    *output = (struct output){.fd = -1};
}
