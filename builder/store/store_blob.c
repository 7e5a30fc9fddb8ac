/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/partial.h"
#include "store/store_internal.h"

#define MAGIC "kiln-store 1\n"

struct header {
    char magic[sizeof(MAGIC) - 1];
    uint8_t digest[HASH_SIZE];
};

/* Kind and key are in it: a file that came under another name is not what that name asks for. */
static void make_header(enum store_kind kind, const char *key, const void *data, size_t size,
                        struct header *ret)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    const char *name = store_kind_name(kind);

    memcpy(ret->magic, MAGIC, sizeof(ret->magic));
    hash_add(hash, name, strlen(name) + 1);
    hash_add(hash, key, strlen(key) + 1);
    hash_add(hash, data, size);
    hash_end(hash, ret->digest);
}

static int write_fd(int fd, const struct header *header, const void *data, size_t size,
                    const char *path, struct error *err)
{
    if (file_write_all(fd, header, sizeof(*header), path, err) < 0) {
        return -1;
    }
    return file_write_all(fd, data, size, path, err);
}

/* Not synced: what a power cut leaves of it fails the digest. */
int blob_write(const char *path, enum store_kind kind, const char *key, const void *data,
               size_t size, struct error *err)
{
    SCOPED_FREE char *partial = xprintf("%s" PARTIAL_TEMPLATE, path);
    SCOPED_FD int fd = mkostemp(partial, O_CLOEXEC);
    struct header header;
    int result;

    if (fd < 0) {
        return fail_os(err, "create '%s'", partial);
    }
    make_header(kind, key, data, size, &header);
    result = write_fd(fd, &header, data, size, path, err);
    if (result == 0 && (close(TAKE_FD(fd)) < 0 || rename(partial, path) < 0)) {
        result = fail_os(err, "write '%s'", path);
    }
    if (result < 0) {
        (void)unlink(partial);
    }
    return result;
}

static int read_fd(int fd, const char *name, size_t limit, struct header *ret_header,
                   struct buf *ret, struct error *err)
{
    struct stat st;
    size_t size;

    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", name);
    }
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(*ret_header)) {
        return fail(err, FAIL_ERROR, "'%s' is not of the store's making", name);
    }
    if ((uint64_t)st.st_size - sizeof(*ret_header) > limit) {
        return fail(err, FAIL_ERROR, "'%s' is larger than %zu bytes", name, limit);
    }
    size = (size_t)st.st_size - sizeof(*ret_header);
    if (file_pread(fd, ret_header, sizeof(*ret_header), 0, name, err) < 0 ||
        file_pread(fd, buf_reserve(ret, size), size, sizeof(*ret_header), name, err) < 0) {
        return -1;
    }
    ret->size = size;
    buf_add(ret, "", 0);
    return 0;
}

int blob_read(int dir, const char *name, enum store_kind kind, const char *key, size_t limit,
              struct buf *ret, int *ret_fd, struct error *err)
{
    SCOPED_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct header header = {0}, expected;

    if (fd < 0) {
        return fail_os(err, "open '%s'", name);
    }
    if (read_fd(fd, name, limit, &header, ret, err) < 0) {
        return -1;
    }
    make_header(kind, key, ret->data, ret->size, &expected);
    if (memcmp(&header, &expected, sizeof(header)) != 0) {
        return fail(err, FAIL_ERROR, "'%s' does not hold what was stored", name);
    }
    if (ret_fd != NULL) {
        *ret_fd = TAKE_FD(fd);
    }
    return 0;
}

bool store_get(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
               size_t limit, struct buf *ret)
{
    char hex[HASH_HEX_MAX];
    SCOPED_FREE char *path = file_join(store->dirs[kind], hash_hex(key, hex));
    SCOPED_FD int fd = -1;
    struct error err = {0};
    struct timespec times[2];

    if (blob_read(AT_FDCWD, path, kind, hex, limit, ret, &fd, &err) < 0) {
        buf_clear(ret);
        if (store_is_damage(&err) && err.os != ENOENT) {
            fail_clear(&err);
            (void)file_remove_tree(path, &err);
        }
        return false;
    }
    times[0] = times[1] = store_now();
    (void)futimens(fd, times);
    return true;
}

int store_put(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
              const void *data, size_t size, struct error *err)
{
    char hex[HASH_HEX_MAX];
    SCOPED_FREE char *path = file_join(store->dirs[kind], hash_hex(key, hex));

    return blob_write(path, kind, hex, data, size, err) < 0 ? fail_while(err, "save in the store")
                                                            : 0;
}
