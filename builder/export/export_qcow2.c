/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "export/compress.h"
#include "export/qcow2.h"

struct stream {
    struct qcow2 image;
    char packed[QCOW2_CLUSTER];
};

static void done(void *stream)
{
    qcow2_done(&((struct stream *)stream)->image);
    free(stream);
}

static enum compression compression(const struct profile *profile)
{
    return profile->qcow2_compression;
}

static void *begin(const struct export_job *job, int fd, const char *path, struct error *err)
{
    struct stream *stream = xcalloc(1, sizeof(*stream));

    if (qcow2_begin(&stream->image, fd, path, job->clusters->size_bytes, compression(job->profile),
                    err) < 0) {
        done(stream);
        return NULL;
    }
    return stream;
}

/* Deflate needs its end in every cluster. What does not shrink is stored. */
static int put(void *stream_, const struct cluster *cluster, struct error *err)
{
    struct stream *stream = stream_;
    enum compression by = stream->image.compression;
    size_t size = cluster->packed_size[by], end = by == COMPRESSION_ZLIB ? DEFLATE_END_SIZE : 0;

    if (size + end >= QCOW2_CLUSTER) {
        return qcow2_put(&stream->image, cluster->number, cluster->plain, QCOW2_CLUSTER, err);
    }
    memcpy(stream->packed, cluster->packed[by], size);
    memcpy(stream->packed + size, DEFLATE_END, end);
    return qcow2_put(&stream->image, cluster->number, stream->packed, size + end, err);
}

static int end(void *stream, struct error *err)
{
    return qcow2_end(&((struct stream *)stream)->image, err);
}

const struct export_stream export_qcow2 = {
    .compression = compression,
    .begin = begin,
    .put = put,
    .end = end,
    .done = done,
};

int export_qcow2_maker(const struct profile *profile, char **ret, struct error *err)
{
    (void)err;
    *ret = compressor_name(profile->qcow2_compression);
    return 0;
}
