/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/stop.h"

enum { HASH_PIECE = 1 << 20 };

/* Reads the rest of FD, at most LIMIT bytes. */
static int read_all(int fd, const char *path, size_t limit, struct buf *ret, struct error *err)
{
    for (;;) {
        ssize_t got = read(fd, buf_reserve(ret, 64 << 10), 64 << 10);

        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail_os(err, "read '%s'", path);
        }
        if (got == 0) {
            buf_add(ret, "", 0);
            return 0;
        }
        ret->size += (size_t)got;
        if (ret->size > limit) {
            return fail(err, FAIL_ERROR, "'%s' is larger than %zu bytes", path, limit);
        }
    }
}

int file_read(const char *path, size_t limit, struct buf *ret, struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? fail_os(err, "open '%s'", path) : read_all(fd, path, limit, ret, err);
}

int file_open_regular(const char *path, int *ret_fd, uint64_t *ret_size_bytes, struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno != ELOOP) {
        return fail_os(err, "open '%s'", path);
    }
    if (fd >= 0 && fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", path);
    }
    if (fd < 0 || !S_ISREG(st.st_mode)) {
        return fail(err, FAIL_ERROR, "'%s' is not a regular file", path);
    }
    *ret_size_bytes = (uint64_t)st.st_size;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int file_read_regular(const char *path, size_t limit, struct buf *ret, struct error *err)
{
    SCOPED_FD int fd = -1;
    uint64_t size;

    return file_open_regular(path, &fd, &size, err) < 0 ? -1 : read_all(fd, path, limit, ret, err);
}

int file_write(const char *path, const void *data, size_t size, struct error *err)
{
    SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0) {
        return fail_os(err, "create '%s'", path);
    }
    if (file_write_all(fd, data, size, path, err) < 0) {
        return -1;
    }
    if (close(TAKE_FD(fd)) < 0) {
        return fail_os(err, "write '%s'", path);
    }
    return 0;
}

/* Makes PATH.partial-XXXXXX, beside what it is to replace; its name, or NULL. */
static char *create_partial(const char *path, int *ret_fd, struct error *err)
{
    for (;;) {
        SCOPED_FREE char *name = NULL;
        unsigned number;
        int fd;

        if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
            fail_os(err, "read random bytes");
            return NULL;
        }
        name = xprintf("%s.partial-%06x", path, number & 0xffffffU);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            *ret_fd = fd;
            return TAKE(name);
        }
        if (errno != EEXIST) {
            fail_os(err, "write '%s': create '%s'", path, name);
            return NULL;
        }
    }
}

int file_sync_directory(const char *path, struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return fail_os(err, "open directory '%s'", path);
    }
    /* Not every file system can, and then none of its names is safer for it. */
    return fsync(fd) < 0 && errno != EINVAL ? fail_os(err, "write '%s' to the disk", path) : 0;
}

static int sync_directory_of(const char *path, struct error *err)
{
    SCOPED_FREE char *dir = file_dir(path);

    return file_sync_directory(dir, err) < 0
               ? fail_while(err, "'%s' is written, but a power cut could undo that", path)
               : 0;
}

static int write_and_rename(const char *path, const char *partial, int fd, const void *data,
                            size_t size, struct error *err)
{
    if (file_write_all(fd, data, size, partial, err) < 0) {
        return -1;
    }
    if (fsync(fd) < 0) {
        return fail_os(err, "write '%s' to the disk", partial);
    }
    return rename(partial, path) < 0 ? fail_os(err, "rename '%s' to '%s'", partial, path) : 0;
}

int file_replace(const char *path, const void *data, size_t size, struct error *err)
{
    SCOPED_FD int fd = -1;
    SCOPED_FREE char *partial = create_partial(path, &fd, err);

    if (partial == NULL) {
        return -1;
    }
    if (write_and_rename(path, partial, fd, data, size, err) < 0) {
        (void)unlink(partial);
        return -1;
    }
    return sync_directory_of(path, err);
}

int file_pwrite(int fd, const void *data, size_t size, uint64_t offset, const char *name,
                struct error *err)
{
    const char *at = data;

    while (size != 0) {
        ssize_t put = pwrite(fd, at, size, (off_t)offset);

        if (put < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail_os(err, "write '%s'", name);
        }
        at += put;
        size -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

int file_pread(int fd, void *data, size_t size, uint64_t offset, const char *name,
               struct error *err)
{
    char *at = data;

    while (size != 0) {
        ssize_t got = pread(fd, at, size, (off_t)offset);

        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail_os(err, "read '%s'", name);
        }
        if (got == 0) {
            return fail(err, FAIL_ERROR, "read '%s': it ends too early", name);
        }
        at += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int file_hash(int fd, const char *name, uint8_t ret[HASH_SIZE], struct error *err)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    SCOPED_FREE char *buffer = xmalloc(HASH_PIECE);
    uint64_t at = 0;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", name);
    }
    while (at < (uint64_t)st.st_size) {
        uint64_t left = (uint64_t)st.st_size - at, size = left < HASH_PIECE ? left : HASH_PIECE;

        if (stop_check(err) < 0 || file_pread(fd, buffer, size, at, name, err) < 0) {
            return -1;
        }
        hash_add(hash, buffer, size);
        at += size;
    }
    hash_end(hash, ret);
    return 0;
}

int file_write_all(int fd, const void *data, size_t size, const char *name, struct error *err)
{
    const char *at = data;

    while (size != 0) {
        ssize_t put = write(fd, at, size);

        if (put < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail_os(err, "write '%s'", name);
        }
        at += put;
        size -= (size_t)put;
    }
    return 0;
}

int file_next_data(int fd, uint64_t offset, uint64_t *ret_offset, uint64_t *ret_size,
                   const char *name, struct error *err)
{
    off_t data, hole;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", name);
    }
    if (offset >= (uint64_t)st.st_size) {
        return 0;
    }
    data = lseek(fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
        return 0;
    }
    hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    if (data < 0 || hole < 0) {
        data = (off_t)offset;
        hole = st.st_size;
    }
    *ret_offset = (uint64_t)data;
    *ret_size = (uint64_t)(hole - data);
    return 1;
}

bool file_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* Keeps errno for the message when it is not. */
static bool is_directory(const char *path)
{
    int os = errno;
    bool directory;
    struct stat st;

    directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    errno = os;
    return directory;
}

int file_make_dirs(const char *path, struct error *err)
{
    SCOPED_FREE char *copy = xstrdup(path);

    for (char *s = copy + 1; copy[0] != '\0'; s++) {
        bool last = *s == '\0';

        if (*s == '/' || last) {
            *s = '\0';
            if (mkdir(copy, 0777) < 0 && !(errno == EEXIST && is_directory(copy))) {
                return fail_os(err, "make directory '%s'", copy);
            }
            if (last) {
                break;
            }
            *s = '/';
        }
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int file_remove_tree(const char *path, struct error *err)
{
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT) {
        return fail_os(err, "remove '%s'", path);
    }
    return 0;
}

char *file_join(const char *dir, const char *path)
{
    return path[0] == '/' ? xstrdup(path) : xprintf("%s/%s", dir, path);
}

char *file_dir(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return xstrdup(".");
    }
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

char *file_beside(const char *file, const char *path)
{
    SCOPED_FREE char *dir = file_dir(file);

    return strchr(file, '/') != NULL ? file_join(dir, path) : xstrdup(path);
}

char *file_user_dir(const char *variable, const char *below_home)
{
    const char *dir = getenv(variable), *home = getenv("HOME");

    if (dir != NULL && dir[0] == '/') {
        return xstrdup(dir);
    }
    return home != NULL && home[0] == '/' ? xprintf("%s/%s", home, below_home) : NULL;
}
