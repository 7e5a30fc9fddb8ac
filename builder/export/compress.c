/* SPDX-License-Identifier: Apache-2.0 */
#include "export/compress.h"

#include <assert.h>
#include <limits.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"

/*
 * Level 4 is the first that looks for a longer match one byte on: it takes a fifth longer than
 * level 1, and what it leaves is a twentieth smaller; the default level would take half as long
 * again for the seventieth part. The window is QEMU's: it inflates with one of 4 KiB
 * (block/qcow2-threads.c). A hash of 64 KiB (memory level 8) stays in a core's own cache.
 */
enum { ZLIB_LEVEL = 4, ZLIB_WINDOW_BITS = 12, ZLIB_MEMORY = 8 };

/* QEMU's own level, too: the next ones take twice as long for a thirtieth. */
enum { ZSTD_LEVEL = 3 };

struct compressor {
    enum compression compression;
    z_stream zlib;
    ZSTD_CCtx *zstd;
};

static void start_zlib(z_stream *zlib)
{
    /* A negative number of bits: deflate without zlib's header and sum. */
    int result = deflateInit2(zlib, ZLIB_LEVEL, Z_DEFLATED, -ZLIB_WINDOW_BITS, ZLIB_MEMORY,
                              Z_DEFAULT_STRATEGY);

    /* Only memory can be wanting, and then kiln ends here as in base/buf.c. */
    assert(result == Z_OK || result == Z_MEM_ERROR);
    if (result != Z_OK) {
        abort();
    }
}

static ZSTD_CCtx *start_zstd(void)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();

    if (zstd == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL))) {
        abort();
    }
    return zstd;
}

struct compressor *compressor_new(enum compression compression)
{
    struct compressor *compressor = xcalloc(1, sizeof(*compressor));

    compressor->compression = compression;
    if (compression == COMPRESSION_ZSTD) {
        compressor->zstd = start_zstd();
    } else {
        start_zlib(&compressor->zlib);
    }
    return compressor;
}

void compressor_free(struct compressor *compressor)
{
    if (compressor == NULL) {
        return;
    }
    if (compressor->compression == COMPRESSION_ZLIB) {
        (void)deflateEnd(&compressor->zlib);
    }
    ZSTD_freeCCtx(compressor->zstd);
    free(compressor);
}

static size_t run_zlib(z_stream *zlib, const void *data, size_t size, void *ret)
{
    size_t room = COMPRESS_ROOM(size);
    int result;

    assert(size != 0 && room <= UINT_MAX);
    (void)deflateReset(zlib);
    zlib->next_in = (z_const Bytef *)data;
    zlib->avail_in = (uInt)size;
    zlib->next_out = ret;
    zlib->avail_out = (uInt)room;
    result = deflate(zlib, Z_SYNC_FLUSH);
    /* Output that is left unused says that nothing is held back. */
    assert(result == Z_OK && zlib->avail_in == 0 && zlib->avail_out != 0);
    return room - zlib->avail_out;
}

static size_t run_zstd(ZSTD_CCtx *zstd, const void *data, size_t size, void *ret)
{
    size_t result = ZSTD_compress2(zstd, ret, COMPRESS_ROOM(size), data, size);

    /* Only memory can be wanting. */
    if (ZSTD_isError(result)) {
        abort();
    }
    return result;
}

size_t compressor_run(struct compressor *compressor, const void *data, size_t size, void *ret)
{
    return compressor->compression == COMPRESSION_ZSTD
               ? run_zstd(compressor->zstd, data, size, ret)
               : run_zlib(&compressor->zlib, data, size, ret);
}

char *compressor_name(enum compression compression)
{
    return compression == COMPRESSION_ZSTD
               ? xprintf("zstd %s, level %d", ZSTD_versionString(), ZSTD_LEVEL)
               : xprintf("zlib %s, level %d", zlibVersion(), ZLIB_LEVEL);
}
