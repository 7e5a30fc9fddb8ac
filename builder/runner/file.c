/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t file_read(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t have = 0;
    ssize_t got = fd < 0 ? -1 : 1;

    while (got > 0 && have < size - 1) {
        got = read(fd, buffer + have, size - 1 - have);
        have += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    buffer[have] = '\0';
    return got < 0 ? -1 : (ssize_t)have;
}

int file_write_all(int fd, const void *data, size_t size)
{
    const char *rest = data;

    while (size > 0) {
        ssize_t put = write(fd, rest, size);

        if (put < 0 && errno != EINTR) {
            return -1;
        }
        rest += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
    }
    return 0;
}

int file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), result, os;

    if (fd < 0) {
        return -1;
    }
    result = file_write_all(fd, text, strlen(text));
    os = errno;
    (void)close(fd);
    errno = os;
    return result;
}

struct timespec file_changed(int fd)
{
    struct stat st = {0};

    (void)fstat(fd, &st);
    return st.st_mtim;
}

void file_set_changed(int fd, struct timespec changed)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, changed};

    (void)futimens(fd, times);
}

int file_open_inside(int root, const char *path, int flags)
{
    const struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

bool file_is_program(int root, const char *path)
{
    int fd = file_open_inside(root, path, O_PATH);
    struct stat st;
    bool is;

    if (fd < 0) {
        return false;
    }
    is = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0;
    (void)close(fd);
    return is;
}
