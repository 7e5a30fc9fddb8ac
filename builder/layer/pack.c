/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"
#include "base/text.h"
#include "layer/layer.h"
#include "layer/pax.h"

#define LEVEL 9

struct packer {
    const char *out;
    char *partial; /* the name of an unfinished file, NULL while there is none */
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
    return file_write_all(packer->fd, data, size, packer->out, err);
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
            return fail(err, FAIL_ERROR, "compress '%s': %s", packer->out, ZSTD_getErrorName(left));
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

/* --- the file -------------------------------------------------------------------------------- */

static char *partial_name(const char *out)
{
    char *name = xprintf("%s.partial-%ld", out, (long)getpid());

    /* A leftover of a killed process that had our number would be in the way. */
    (void)unlink(name);
    return name;
}

/* Whoever has no name leaves nothing behind, however it is killed; not all file systems can. */
static int open_nameless(const char *out)
{
    SCOPED_FREE char *dir = file_dir(out);

    /* It gets its name by way of /proc. */
    return access("/proc/self/fd", X_OK) < 0 ? -1
                                             : open(dir, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
}

static int start_file(struct packer *packer, struct error *err)
{
    SCOPED_FREE char *name = NULL;

    packer->hash = hash_new();
    packer->fd = open_nameless(packer->out);
    if (packer->fd >= 0) {
        return 0;
    }
    name = partial_name(packer->out);
    packer->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (packer->fd < 0) {
        return fail_os(err, "create '%s'", packer->out);
    }
    packer->partial = TAKE(name);
    return 0;
}

/* 1: the file is OUT now; 0: it is PARTIAL, because OUT exists. */
static int give_name(struct packer *packer, struct error *err)
{
    SCOPED_FREE char *self = xprintf("/proc/self/fd/%d", packer->fd);
    SCOPED_FREE char *name = NULL;

    if (linkat(AT_FDCWD, self, AT_FDCWD, packer->out, AT_SYMLINK_FOLLOW) == 0) {
        return 1;
    }
    if (errno != EEXIST) {
        return fail_os(err, "create '%s'", packer->out);
    }
    name = partial_name(packer->out);
    if (linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0) {
        return fail_os(err, "create '%s'", name);
    }
    packer->partial = TAKE(name);
    return 0;
}

static int finish_file(struct packer *packer, struct error *err)
{
    int named = packer->partial != NULL ? 0 : give_name(packer, err);

    if (named < 0) {
        return -1;
    }
    if (close(TAKE_FD(packer->fd)) < 0) {
        fail_os(err, "write '%s'", packer->out);
        if (named == 1) {
            (void)unlink(packer->out);
        }
        return -1;
    }
    if (named == 0 && rename(packer->partial, packer->out) < 0) {
        return fail_os(err, "rename '%s' to '%s'", packer->partial, packer->out);
    }
    free(TAKE(packer->partial));
    return 0;
}

/* --- packing --------------------------------------------------------------------------------- */

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

static int finish(struct packer *packer, struct error *err)
{
    if (packer->zstd != NULL && compress(packer, "", 0, ZSTD_e_end, err) < 0) {
        return -1;
    }
    return finish_file(packer, err);
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

static int check_arguments(const char *dir, const char *to, const char *out, struct error *err)
{
    const char *wrong = to == NULL ? NULL : profile_image_path(to);

    if (!text_ends(out, ".tar.zst") && !text_ends(out, ".tar")) {
        fail(err, FAIL_USAGE, "'%s' ends neither in .tar nor in .tar.zst", out);
        return fail_hint(err, "the name says how the layer is packed");
    }
    if (wrong != NULL) {
        return fail(err, FAIL_USAGE, "path in the image '%s': %s", to, wrong);
    }
    return check_apart(dir, out, err);
}

int pack_directory(const char *dir, const char *to, int64_t epoch, const char *out,
                   uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size, struct error *err)
{
    struct profile_layer spec = {
        .kind = LAYER_DIRECTORY, .name = (char *)dir, .path = (char *)dir, .to = (char *)to};
    SCOPED(packer_done) struct packer packer = {.out = out, .fd = -1};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(pax_freep) struct pax *pax = NULL;

    if (check_arguments(dir, to, out, err) < 0 || layer_open(&spec, ARCH_X86_64, &layer, err) < 0 ||
        start_file(&packer, err) < 0 ||
        (text_ends(out, ".tar.zst") && start_zstd(&packer, err) < 0)) {
        return -1;
    }
    pax = pax_new(sink, &packer);
    if (copy(layer, pax, epoch, err) < 0 || finish(&packer, err) < 0) {
        return -1;
    }
    hash_end(packer.hash, ret_digest);
    *ret_size = packer.size;
    return 0;
}
