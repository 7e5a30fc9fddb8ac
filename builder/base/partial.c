/* SPDX-License-Identifier: Apache-2.0 */
#include "base/partial.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"

#define PARTIAL ".partial-"

enum {
    RANDOM_SIZE = 6,    /* of mkdtemp's name */
    YOUNG_SECONDS = 60, /* a directory that its maker has had no time to lock */
};

_Static_assert(sizeof(PARTIAL_TEMPLATE) == sizeof(PARTIAL) + RANDOM_SIZE, "one ending");

int partial_flock(int fd, int operation)
{
    int result;

    do {
        result = flock(fd, operation);
    } while (result < 0 && errno == EINTR);
    return result;
}

/*
 * It appears under its name with the lock held already, so whoever can take a lock file found by
 * that name knows that its maker is gone.
 */
int partial_lock(const char *dir, int *ret_fd, struct error *err)
{
    SCOPED_FREE char *draft = file_join(dir, PARTIAL_LOCK ".new");
    SCOPED_FREE char *final = file_join(dir, PARTIAL_LOCK);
    SCOPED_FD int fd = open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        return fail_os(err, "create '%s'", draft);
    }
    if (partial_flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return fail_os(err, "lock '%s'", draft);
    }
    if (rename(draft, final) < 0) {
        return fail_os(err, "rename '%s'", draft);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

bool partial_is_name(const char *name, const char *of)
{
    size_t length = strlen(name), ending = sizeof(PARTIAL) - 1 + RANDOM_SIZE;
    const char *end;

    if (length < ending) {
        return false;
    }
    end = name + length - ending;
    if (of != NULL && (strlen(of) != length - ending || memcmp(name, of, length - ending) != 0)) {
        return false;
    }
    if (memcmp(end, PARTIAL, sizeof(PARTIAL) - 1) != 0) {
        return false;
    }
    for (const char *s = end + sizeof(PARTIAL) - 1; *s != '\0'; s++) {
        if (!isalnum((unsigned char)*s)) {
            return false;
        }
    }
    return true;
}

/*
 * Whether the process that made the directory is gone; then *RET_LOCK is its lock, or -1 where it
 * has none. One without a lock is just beginning, or just ending: both change the directory, so its
 * change time tells them from one killed at that moment. What belongs to somebody else is never
 * ours to judge (nor safe to walk through, in a shared directory).
 */
static bool is_abandoned(const char *path, int *ret_lock)
{
    SCOPED_FREE char *name = file_join(path, PARTIAL_LOCK);
    SCOPED_FD int fd = -1;
    struct stat st, named;

    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        return false;
    }
    fd = open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT && st.st_ctime <= time(NULL) - YOUNG_SECONDS;
    }
    if (partial_flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || lstat(name, &named) < 0 ||
        st.st_ino != named.st_ino || st.st_dev != named.st_dev) {
        return false;
    }
    *ret_lock = TAKE_FD(fd);
    return true;
}

int partial_sweep(const char *parent, const char *of, struct error *err)
{
    SCOPED_DIR DIR *dir = opendir(parent);
    struct dirent *entry;
    int result = 0;

    if (dir == NULL) {
        /* A parent that cannot be listed can be written to: nothing of ours is to be seen there. */
        return errno == EACCES ? 0 : fail_os(err, "open directory '%s'", parent);
    }
    while ((entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *left = file_join(parent, entry->d_name);
        SCOPED_FD int lock = -1;
        struct error later = {0};

        if (partial_is_name(entry->d_name, of) && is_abandoned(left, &lock) &&
            file_remove_tree(left, result == 0 ? err : &later) < 0) {
            result = -1;
        }
    }
    return result < 0 ? fail_while(err, "remove what an interrupted build left") : 0;
}
