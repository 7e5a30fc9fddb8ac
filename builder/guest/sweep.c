/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"

enum {
    SOCKETS_AGE_S = 5,
    EMPTY_AGE_S = 3600,
    BUSY_AGE_S = 3600,
    ANY_AGE_S = INT32_MIN,
    NEVER_S = INT32_MAX
};

/* START, then COUNT letters and digits, then END. */
static bool is_named(const char *name, const char *start, size_t count, const char *end)
{
    size_t length = strlen(start);

    if (strncmp(name, start, length) != 0) {
        return false;
    }
    name += length;
    length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    return length == count && strcmp(name + length, end) == 0;
}

/* Descriptor of a real directory of ours, at least AGE seconds old, or -1. */
static int open_own(int parent, const char *name, time_t now, time_t age)
{
    SCOPED_FD int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || now - st.st_mtim.tv_sec < age) {
        return -1;
    }
    return TAKE_FD(fd);
}

/* Whether SOCKETS, whose lines end in a path, lists PATH. A connected socket keeps its path. */
static bool is_open(const char *sockets, const char *path)
{
    size_t length = strlen(path);

    for (const char *at = sockets; (at = strstr(at, path)) != NULL; at += length) {
        if ((at == sockets || at[-1] == ' ') && (at[length] == '\n' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Names of what is in the directory, or false when something is no socket or is open. */
static bool all_dead(int fd, const char *path, const char *sockets, size_t *ret_count)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    SCOPED_DIR DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    size_t count = 0;

    if (dir == NULL) {
        scope_fd(&copy);
        return false;
    }
    while ((entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *file = NULL;
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        file = xprintf("%s/%s", path, entry->d_name);
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode) ||
            is_open(sockets, file)) {
            return false;
        }
        count++;
    }
    *ret_count = count;
    return true;
}

static void unlink_sockets(int fd)
{
    /* The only two that libguestfs makes; anything else stays and keeps its directory. */
    (void)unlinkat(fd, "guestfsd.sock", 0);
    (void)unlinkat(fd, "console.sock", 0);
}

static void sweep_one(int parent, const char *dir, const char *name, const char *sockets,
                      time_t empty_age, time_t now)
{
    SCOPED_FREE char *path = xprintf("%s/%s", dir, name);
    SCOPED_FD int fd = open_own(parent, name, now, SOCKETS_AGE_S);
    struct stat st;
    size_t count;

    if (fd < 0 || !all_dead(fd, path, sockets, &count)) {
        return;
    }
    if (count == 0 && (fstat(fd, &st) < 0 || now - st.st_mtim.tv_sec < empty_age)) {
        return;
    }
    unlink_sockets(fd);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

void sweep_sockets(const char *dir, const char *sockets, bool alone, time_t now)
{
    SCOPED_FREE char *start = xprintf("%s/libguestfs", dir);
    SCOPED_DIR DIR *stream = opendir(dir);
    /* A running libguestfs's scratch directory may be empty for hours. */
    time_t empty_age = alone                            ? SOCKETS_AGE_S
                       : strstr(sockets, start) != NULL ? NEVER_S
                                                        : EMPTY_AGE_S;
    struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        if (is_named(entry->d_name, "libguestfs", 6, "")) {
            sweep_one(dirfd(stream), dir, entry->d_name, sockets, empty_age, now);
        }
    }
}

/* Whether process PID has libguestfs's library; one that may not be looked at is another user's. */
static bool has_library(const char *pid)
{
    SCOPED_FREE char *path = xprintf("/proc/%s/maps", pid);
    SCOPED(buf_done) struct buf maps = {0};
    struct error ignored = {0};

    return file_read(path, 64 << 20, &maps, &ignored) == 0 && maps.size != 0 &&
           strstr(maps.data, "/libguestfs.so") != NULL;
}

/* From within a container the machine's other processes are not to be seen, but /tmp may be. */
static bool sees_all(void)
{
    static const char first[] = "pid:[4026531836]"; /* PROC_PID_INIT_INO, linux/proc_ns.h */
    char space[64];
    ssize_t size = readlink("/proc/self/ns/pid", space, sizeof(space));

    return size == (ssize_t)strlen(first) && memcmp(space, first, strlen(first)) == 0;
}

bool sweep_is_alone(void)
{
    SCOPED_DIR DIR *dir = opendir("/proc");
    SCOPED_FREE char *own = xprintf("%ld", (long)getpid());
    struct dirent *entry;

    if (dir == NULL || !sees_all()) {
        return false;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strcmp(entry->d_name, own) != 0 &&
            has_library(entry->d_name)) {
            return false;
        }
    }
    return true;
}

static void sweep_trees(const char *dir, const char *start, size_t count, const char *end,
                        time_t now, time_t age)
{
    SCOPED_DIR DIR *stream = opendir(dir);
    struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        SCOPED_FREE char *path = NULL;
        SCOPED_FD int fd = -1;
        struct error err = {0};

        if (!is_named(entry->d_name, start, count, end)) {
            continue;
        }
        fd = open_own(dirfd(stream), entry->d_name, now, age);
        if (fd >= 0) {
            path = xprintf("%s/%s", dir, entry->d_name);
            (void)file_remove_tree(path, &err);
        }
    }
}

void sweep_appliances(const char *cache)
{
    SCOPED_FREE char *path = xprintf("%s/lock", cache);
    SCOPED_FD int own = open_own(AT_FDCWD, cache, time(NULL), ANY_AGE_S);
    SCOPED_FD int fd = -1;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (own < 0) {
        return;
    }
    /* supermin builds under this lock (lockf), so what it guards is ours while we hold it. */
    fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0) {
        sweep_trees(cache, "appliance.d.", 8, "", time(NULL), ANY_AGE_S);
    }
}

/* Whether process PID of this user is named so; a zombie has no program any more. */
static bool is_process(const char *pid, const char *command)
{
    SCOPED_FREE char *comm = xprintf("/proc/%s/comm", pid), *exe = xprintf("/proc/%s/exe", pid);
    SCOPED_FREE char *line = xprintf("%s\n", command);
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};
    struct stat st;
    char target[8];

    return stat(comm, &st) == 0 && st.st_uid == geteuid() &&
           file_read(comm, 256, &text, &err) == 0 && strcmp(text.data, line) == 0 &&
           readlink(exe, target, sizeof(target)) > 0;
}

static bool is_running(const char *command)
{
    SCOPED_DIR DIR *dir = opendir("/proc");
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            is_process(entry->d_name, command)) {
            return true;
        }
    }
    return false;
}

void sweep_scratch(const char *dir, time_t now, time_t age_s)
{
    if (age_s < BUSY_AGE_S && is_running("supermin")) {
        age_s = BUSY_AGE_S;
    }
    sweep_trees(dir, "supermin", 6, ".tmpdir", now, age_s);
}
