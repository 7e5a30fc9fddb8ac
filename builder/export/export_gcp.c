/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Google's importer takes: one member called disk.raw in a tar archive of GNU's old format,
 * which may be sparse, in one gzip member.
 */
#include "export/export.h"

#include "base/buf.h"
#include "base/scope.h"
#include "export/compress.h"
#include "export/gzip.h"
#include "export/sparse_tar.h"

struct stream {
    struct gzip gzip;
    uint64_t size_bytes; /* of the archive so far */
};

static enum compression compression(const struct profile *profile)
{
    (void)profile;
    return COMPRESSION_ZLIB;
}

/* What is no cluster: the beginning and the end of the archive. */
static int put_bytes(struct stream *stream, const char *data, size_t size, struct error *err)
{
    SCOPED(compressor_freep) struct compressor *compressor = compressor_new(COMPRESSION_ZLIB);
    SCOPED_FREE char *packed = xmalloc(COMPRESS_ROOM(CLUSTER));

    for (size_t at = 0, part; at < size; at += part) {
        size_t packed_size;

        part = size - at < CLUSTER ? size - at : CLUSTER;
        packed_size = compressor_run(compressor, data + at, part, packed);
        if (gzip_put(&stream->gzip, data + at, part, packed, packed_size, err) < 0) {
            return -1;
        }
    }
    stream->size_bytes += size;
    return 0;
}

static void *begin(const struct export_job *job, int fd, const char *path, struct error *err)
{
    SCOPED_FREE struct stream *stream = xcalloc(1, sizeof(*stream));
    SCOPED(buf_done) struct buf head = {0};

    sparse_tar_head(&head, "disk.raw", job->clusters);
    if (gzip_begin(&stream->gzip, fd, path, err) < 0 ||
        put_bytes(stream, head.data, head.size, err) < 0) {
        return NULL;
    }
    return TAKE(stream);
}

static int put(void *stream_, const struct cluster *cluster, struct error *err)
{
    struct stream *stream = stream_;

    stream->size_bytes += CLUSTER;
    return gzip_put(&stream->gzip, cluster->plain, CLUSTER, cluster->packed[COMPRESSION_ZLIB],
                    cluster->packed_size[COMPRESSION_ZLIB], err);
}

static int end(void *stream_, struct error *err)
{
    struct stream *stream = stream_;
    size_t size = sparse_tar_padding(stream->size_bytes);
    SCOPED_FREE char *zeros = xcalloc(1, size);

    return put_bytes(stream, zeros, size, err) < 0 ? -1 : gzip_end(&stream->gzip, err);
}

const struct export_stream export_gcp = {
    .compression = compression,
    .begin = begin,
    .put = put,
    .end = end,
    .done = free,
};

int export_gcp_maker(const struct profile *profile, char **ret, struct error *err)
{
    (void)profile;
    (void)err;
    *ret = compressor_name(COMPRESSION_ZLIB);
    return 0;
}
