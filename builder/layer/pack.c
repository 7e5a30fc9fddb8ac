/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"
#include "layer/layer.h"
#include "layer/pax.h"

#define LEVEL 9

struct packer {
    char *partial; /* where the file grows; NULL once it has its name */
    int fd;
    struct hash *hash;
    uint64_t size;
    ZSTD_CCtx *zstd; /* NULL for a plain tar */
    char *buffer;
    size_t buffer_size;
};

static void packer_done(struct packer *packer)
{
    scope_fd(&packer->fd);
    if (packer->partial != NULL) {
        (void)unlink(packer->partial);
    }
    free(packer->partial);
    hash_free(packer->hash);
    (void)ZSTD_freeCCtx(packer->zstd);
    free(packer->buffer);
}

static int put(struct packer *packer, const void *data, size_t size, struct error *err)
{
    hash_add(packer->hash, data, size);
    packer->size += size;
    return file_write_all(packer->fd, data, size, packer->partial, err);
}

static int compress(struct packer *packer, const void *data, size_t size, ZSTD_EndDirective end,
                    struct error *err)
{
    ZSTD_inBuffer in = {data, size, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {packer->buffer, packer->buffer_size, 0};

        left = ZSTD_compressStream2(packer->zstd, &out, &in, end);
        if (ZSTD_isError(left)) {
            return fail(err, FAIL_ERROR, "compress '%s': %s", packer->partial,
                        ZSTD_getErrorName(left));
        }
        if (put(packer, out.dst, out.pos, err) < 0) {
            return -1;
        }
    } while (in.pos < in.size || (end == ZSTD_e_end && left != 0));
    return 0;
}

static int sink(void *data, const void *bytes, size_t size, struct error *err)
{
    struct packer *packer = data;

    return packer->zstd == NULL ? put(packer, bytes, size, err)
                                : compress(packer, bytes, size, ZSTD_e_continue, err);
}

/* One frame with a checksum, by one thread: the bytes depend on libzstd's version alone. */
static int start_zstd(struct packer *packer, struct error *err)
{
    packer->zstd = ZSTD_createCCtx();
    packer->buffer_size = ZSTD_CStreamOutSize();
    packer->buffer = xmalloc(packer->buffer_size);
    if (packer->zstd == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_checksumFlag, 1))) {
        return fail(err, FAIL_ERROR, "libzstd does not start");
    }
    return 0;
}

static int start_file(struct packer *packer, const char *out, struct error *err)
{
    packer->partial = xprintf("%s.partial-%ld", out, (long)getpid());
    /* A leftover of a killed process that had our number would be in the way. */
    (void)unlink(packer->partial);
    packer->fd = open(packer->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (packer->fd < 0) {
        int os = errno;

        free(TAKE(packer->partial));
        errno = os;
        return fail_os(err, "create '%s'", out);
    }
    packer->hash = hash_new();
    return 0;
}

static int copy_data(struct reader *reader, struct pax *pax, struct error *err)
{
    const void *data;
    size_t size;
    uint64_t offset;
    int more;

    while ((more = reader_data(reader, &data, &size, &offset, err)) == 1) {
        if (pax_data(pax, data, size, err) < 0) {
            return -1;
        }
    }
    return more;
}

static int copy(struct layer *layer, struct pax *pax, int64_t epoch, struct error *err)
{
    SCOPED(reader_freep) struct reader *reader = NULL;
    struct entry entry;
    int more;

    if (reader_open(layer, 0, &reader, err) < 0) {
        return -1;
    }
    while ((more = reader_next(reader, &entry, err)) == 1) {
        entry.mtime = epoch;
        if (pax_entry(pax, &entry, NULL, 0, err) < 0 || copy_data(reader, pax, err) < 0) {
            return -1;
        }
    }
    return more < 0 ? -1 : pax_end(pax, err);
}

static int finish(struct packer *packer, const char *out, struct error *err)
{
    if (packer->zstd != NULL && compress(packer, "", 0, ZSTD_e_end, err) < 0) {
        return -1;
    }
    if (close(TAKE_FD(packer->fd)) < 0) {
        return fail_os(err, "write '%s'", out);
    }
    if (rename(packer->partial, out) < 0) {
        return fail_os(err, "rename '%s' to '%s'", packer->partial, out);
    }
    free(TAKE(packer->partial));
    return 0;
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);

    return length > tail && strcmp(text + length - tail, end) == 0;
}

/* An archive in the directory that it is made of would be part of itself. */
static int check_apart(const char *dir, const char *out, struct error *err)
{
    SCOPED_FREE char *parent = file_dir(out);
    SCOPED_FREE char *real_parent = realpath(parent, NULL);
    SCOPED_FREE char *real_dir = realpath(dir, NULL);
    size_t length;

    if (real_parent == NULL || real_dir == NULL) {
        return 0; /* opening it says why */
    }
    length = strlen(real_dir);
    if (strncmp(real_parent, real_dir, length) == 0 &&
        (length == 1 || real_parent[length] == '\0' || real_parent[length] == '/')) {
        return fail(err, FAIL_USAGE, "'%s' lies in '%s', which it is to hold", out, dir);
    }
    return 0;
}

int pack_directory(const char *dir, const char *to, int64_t epoch, const char *out,
                   uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size, struct error *err)
{
    struct profile_layer spec = {
        .kind = LAYER_DIRECTORY, .name = (char *)dir, .path = (char *)dir, .to = (char *)to};
    SCOPED(packer_done) struct packer packer = {.fd = -1};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(pax_freep) struct pax *pax = NULL;
    bool compressed = ends_in(out, ".tar.zst");

    if (!compressed && !ends_in(out, ".tar")) {
        fail(err, FAIL_USAGE, "'%s' ends neither in .tar nor in .tar.zst", out);
        return fail_hint(err, "the name says how the layer is packed");
    }
    if (layer_open(&spec, ARCH_X86_64, &layer, err) < 0 || check_apart(dir, out, err) < 0 ||
        start_file(&packer, out, err) < 0 || (compressed && start_zstd(&packer, err) < 0)) {
        return -1;
    }
    pax = pax_new(sink, &packer);
    if (copy(layer, pax, epoch, err) < 0 || finish(&packer, out, err) < 0) {
        return -1;
    }
    hash_end(packer.hash, ret_digest);
    *ret_size = packer.size;
    return 0;
}
