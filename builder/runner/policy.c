/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/file.h"
#include "runner/mounts.h"

#define NAME "policy-rc.d"

static const char script[] = "#!/bin/sh\nexit 101\n";

static int write_script(int directory, const char *name, struct stat *ret_st)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
    int result;

    if (fd < 0) {
        return -1;
    }
    result = file_write_all(fd, script, strlen(script)) < 0 || fstat(fd, ret_st) < 0 ? -1 : 0;
    (void)close(fd);
    return result;
}

int policy_make(struct policy *policy, int root, struct outcome *outcome)
{
    struct timespec changed;
    struct stat st;

    policy->made = false;
    policy->directory = file_open_inside(root, "/usr/sbin", O_RDONLY | O_DIRECTORY);
    if (policy->directory < 0 || fstatat(policy->directory, NAME, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return 0;
    }
    changed = file_changed(policy->directory);
    if (write_script(policy->directory, NAME, &st) < 0) {
        return outcome_fail_os(outcome, "write '/usr/sbin/" NAME "'");
    }
    file_set_changed(policy->directory, changed);
    policy->made = true;
    policy->inode = st.st_ino;
    return 0;
}

int policy_cover(const struct policy *policy, int root, struct outcome *outcome)
{
    int target = file_open_inside(root, "/usr/sbin/" NAME, O_PATH), run, result;
    struct stat st;

    /* A link that leads nowhere is as good as none: nothing answers, and there is no init. */
    if (policy->directory < 0 || policy->made || target < 0) {
        return 0;
    }
    (void)close(target);
    run = file_open_inside(root, "/run/kiln", O_RDONLY | O_DIRECTORY);
    result = run < 0 ? -1 : write_script(run, NAME, &st);
    if (result < 0) {
        (void)outcome_fail_os(outcome, "write '/run/kiln/" NAME "'");
    }
    (void)close(run);
    return result < 0 ? -1
                      : mounts_bind(file_open_inside(root, "/run/kiln/" NAME, O_PATH), root,
                                    "/usr/sbin/" NAME, outcome);
}

static bool is_ours(const struct policy *policy)
{
    char text[sizeof(script)] = "";
    struct stat st;
    bool ours;
    int fd;

    if (fstatat(policy->directory, NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
        st.st_ino != policy->inode || st.st_size != (off_t)strlen(script)) {
        return false;
    }
    fd = openat(policy->directory, NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ours = fd >= 0 && read(fd, text, strlen(script)) == (ssize_t)strlen(script) &&
           strcmp(text, script) == 0;
    (void)close(fd);
    return ours;
}

void policy_remove(struct policy *policy)
{
    if (policy->made && is_ours(policy)) {
        const struct timespec changed = file_changed(policy->directory);

        (void)unlinkat(policy->directory, NAME, 0);
        file_set_changed(policy->directory, changed);
    }
    if (policy->directory >= 0) {
        (void)close(policy->directory);
    }
}
