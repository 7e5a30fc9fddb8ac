/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/packer.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"

#define LEVEL 9

struct packer {
    int fd;
    const char *name;
    struct pax *pax;
    struct hash *tar, *file; /* FILE is NULL for a plain tar */
    uint64_t tar_size, file_size;
    ZSTD_CCtx *zstd; /* NULL for a plain tar */
    char *buffer;
    size_t buffer_size;
};

static int compress(struct packer *packer, const void *data, size_t size, ZSTD_EndDirective end,
                    struct error *err)
{
    ZSTD_inBuffer in = {data, size, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {packer->buffer, packer->buffer_size, 0};

        left = ZSTD_compressStream2(packer->zstd, &out, &in, end);
        if (ZSTD_isError(left)) {
            return fail(err, FAIL_ERROR, "compress '%s': %s", packer->name,
                        ZSTD_getErrorName(left));
        }
        hash_add(packer->file, out.dst, out.pos);
        packer->file_size += out.pos;
        if (file_write_all(packer->fd, out.dst, out.pos, packer->name, err) < 0) {
            return -1;
        }
    } while (in.pos < in.size || (end == ZSTD_e_end && left != 0));
    return 0;
}

static int sink(void *data, const void *bytes, size_t size, struct error *err)
{
    struct packer *packer = data;

    hash_add(packer->tar, bytes, size);
    packer->tar_size += size;
    return packer->zstd == NULL ? file_write_all(packer->fd, bytes, size, packer->name, err)
                                : compress(packer, bytes, size, ZSTD_e_continue, err);
}

/* One frame with a checksum, by one thread: the bytes depend on libzstd's version alone. */
static int start_zstd(struct packer *packer, struct error *err)
{
    packer->file = hash_new();
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

int packer_new(int fd, const char *name, bool compressed, struct packer **ret, struct error *err)
{
    SCOPED(packer_freep) struct packer *packer = xcalloc(1, sizeof(*packer));

    packer->fd = fd;
    packer->name = name;
    packer->tar = hash_new();
    packer->pax = pax_new(sink, packer);
    if (compressed && start_zstd(packer, err) < 0) {
        return -1;
    }
    *ret = TAKE(packer);
    return 0;
}

void packer_free(struct packer *packer)
{
    if (packer != NULL) {
        pax_free(packer->pax);
        hash_free(packer->tar);
        hash_free(packer->file);
        (void)ZSTD_freeCCtx(packer->zstd);
        free(packer->buffer);
        free(packer);
    }
}

struct pax *packer_pax(struct packer *packer)
{
    return packer->pax;
}

int packer_end(struct packer *packer, struct packed *ret, struct error *err)
{
    if (pax_end(packer->pax, err) < 0 ||
        (packer->zstd != NULL && compress(packer, "", 0, ZSTD_e_end, err) < 0)) {
        return -1;
    }
    hash_end(packer->tar, ret->tar_digest);
    ret->tar_size = ret->file_size = packer->tar_size;
    memcpy(ret->file_digest, ret->tar_digest, HASH_SIZE);
    if (packer->zstd != NULL) {
        hash_end(packer->file, ret->file_digest);
        ret->file_size = packer->file_size;
    }
    return 0;
}
