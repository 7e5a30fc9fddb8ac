/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/blocks.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/scope.h"

static int write_index(const struct blocks *blocks, uint64_t size_bytes, const char *path,
                       struct error *err)
{
    SCOPED_FILE FILE *file = fopen(path, "we");
    char hex[HASH_HEX_MAX];
    bool ok;

    if (file == NULL) {
        return fail_os(err, "create '%s'", path);
    }
    ok = fprintf(file, "kiln-blocks 1 %u %llu\n", BLOCK_SIZE, (unsigned long long)size_bytes) > 0;
    for (uint64_t i = 0; ok && i < blocks_count(blocks); i++) {
        ok = fprintf(file, "%s\n", hash_hex(blocks_digest(blocks, i), hex)) > 0;
    }
    if (!ok || fclose(TAKE(file)) != 0) {
        return fail_os(err, "write '%s'", path);
    }
    return 0;
}

static int open_disk(const char *disk, int *ret_fd, uint64_t *ret_size, struct error *err)
{
    SCOPED_FD int fd = open(disk, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        return fail_os(err, "open '%s'", disk);
    }
    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", disk);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, FAIL_ERROR, "'%s' is not a regular file", disk);
    }
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int blocks_write(const char *disk, struct blocks *known, const char *index,
                 blocks_progress progress, void *data, uint8_t ret_digest[HASH_SIZE],
                 struct error *err)
{
    SCOPED(blocks_freep) struct blocks *own = NULL;
    SCOPED_FD int fd = -1;
    uint64_t size = 0;

    if (open_disk(disk, &fd, &size, err) < 0) {
        return -1;
    }
    if (known == NULL) {
        own = blocks_new(size);
        known = own;
    }
    if (blocks_complete(known, fd, disk, progress, data, err) < 0 ||
        write_index(known, size, index, err) < 0) {
        return -1;
    }
    blocks_total(known, ret_digest);
    return 0;
}
