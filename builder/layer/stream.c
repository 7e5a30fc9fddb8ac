/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/stop.h"
#include "layer/window.h"

#define STEP (1u << 20) /* bytes per read */

struct stream {
    struct archive_input input;
    struct archive *archive;
    char *buffer;
    uint64_t at; /* bytes of the input read */
    struct hash *hash;
    struct hash *content_hash; /* NULL unless asked for */
    struct error failed;       /* what the read callback met */
    uint64_t produced;
    uint64_t last_data;
};

/* libarchive speaks in sentences; ours start small. */
static const char *lower_first(const char *text, char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "%s", text);
    if (isupper((unsigned char)buffer[0]) && islower((unsigned char)buffer[1])) {
        buffer[0] = (char)tolower((unsigned char)buffer[0]);
    }
    return buffer;
}

int fail_archive(const char *label, struct archive *archive, struct error *err)
{
    const char *text = archive_error_string(archive);
    char buffer[512];

    if (text == NULL) {
        return fail(err, FAIL_ERROR, "%s: truncated or damaged", label);
    }
    if (strstr(text, "runcated") != NULL || strstr(text, "End of file") != NULL ||
        strstr(text, "remature end") != NULL) {
        return fail(err, FAIL_ERROR, "%s: truncated", label);
    }
    return fail(err, FAIL_ERROR, "%s: %s", label, lower_first(text, buffer, sizeof(buffer)));
}

int enable_archive(struct archive *archive, int (*enable)(struct archive *archive),
                   const char *label, struct error *err)
{
    /* ARCHIVE_WARN would mean that libarchive wants to run gzip, xz or zstd of the host. */
    if (enable(archive) != ARCHIVE_OK) {
        fail(err, FAIL_MISSING, "%s: this libarchive was built without a compression: %s", label,
             archive_version_details());
        return fail_hint(err, "use a libarchive with zlib, liblzma, libzstd, liblz4 and libbz2");
    }
    return 0;
}

static la_ssize_t feed(struct archive *archive, void *data, const void **ret)
{
    struct stream *stream = data;
    uint64_t left = stream->input.size - stream->at;
    size_t size = left < STEP ? (size_t)left : STEP;

    if (stream->failed.kind != FAIL_NONE) {
        return -1;
    }
    if (size == 0) {
        return 0;
    }
    if (stop_check(&stream->failed) < 0 ||
        file_pread(stream->input.fd, stream->buffer, size, stream->input.offset + stream->at,
                   stream->input.label, &stream->failed) < 0) {
        archive_set_error(archive, EIO, "read");
        return -1;
    }
    hash_add(stream->hash, stream->buffer, size);
    stream->at += size;
    *ret = stream->buffer;
    return (la_ssize_t)size;
}

static int fail_stream(struct stream *stream, struct error *err)
{
    if (stream->failed.kind != FAIL_NONE) {
        *err = stream->failed;
        return -1;
    }
    return fail_archive(stream->input.label, stream->archive, err);
}

/* The first piece could not be had, of which libarchive often says only that it knows no format. */
static int fail_first(struct stream *stream, struct error *err)
{
    const char *filter = archive_filter_name(stream->archive, 0);

    if (stream->failed.kind != FAIL_NONE) {
        return fail_stream(stream, err);
    }
    return fail(err, FAIL_ERROR, "%s: truncated, damaged or empty %s data", stream->input.label,
                filter == NULL || archive_filter_code(stream->archive, 0) == ARCHIVE_FILTER_NONE
                    ? "compressed"
                    : filter);
}

/* A few bytes can ask for gigabytes of memory. */
static int check_window(const struct stream *stream, struct error *err)
{
    uint8_t bytes[WINDOW_BYTES] = {0};

    if (pread(stream->input.fd, bytes, sizeof(bytes), (off_t)stream->input.offset) < 0) {
        return fail_os(err, "%s: read", stream->input.label);
    }
    if (window_of(bytes) > WINDOW_MAX) {
        fail(err, FAIL_ERROR, "%s: its decompression window is larger than %llu MiB",
             stream->input.label, WINDOW_MAX >> 20);
        return fail_hint(err, "compress it again with a smaller one (zstd --long=27, xz -9)");
    }
    return 0;
}

static int start(struct stream *stream, struct error *err)
{
    static int (*const parts[])(struct archive *) = {
        archive_read_support_filter_gzip, archive_read_support_filter_xz,
        archive_read_support_filter_lzma, archive_read_support_filter_zstd,
        archive_read_support_filter_lz4,  archive_read_support_filter_bzip2,
        archive_read_support_format_raw,
    };
    struct archive_entry *entry;

    if (check_window(stream, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (enable_archive(stream->archive, parts[i], stream->input.label, err) < 0) {
            return -1;
        }
    }
    if (archive_read_open2(stream->archive, stream, NULL, feed, NULL, NULL) != ARCHIVE_OK) {
        return fail_first(stream, err);
    }
    if (archive_filter_count(stream->archive) > 2) {
        fail(err, FAIL_ERROR, "%s: compressed more than once", stream->input.label);
        return fail_hint(err, "decompress it once");
    }
    if (archive_read_next_header(stream->archive, &entry) != ARCHIVE_OK) {
        return fail_first(stream, err);
    }
    return 0;
}

int stream_open(const struct archive_input *input, struct stream **ret, struct error *err)
{
    SCOPED(stream_freep) struct stream *stream = xcalloc(1, sizeof(*stream));

    stream->input = *input;
    stream->archive = archive_read_new();
    stream->hash = hash_new();
    stream->content_hash = input->hash_content ? hash_new() : NULL;
    stream->buffer = xmalloc(STEP);
    if (stream->archive == NULL) {
        return fail(err, FAIL_ERROR, "%s: libarchive does not start", input->label);
    }
    if (input->size == 0) {
        return fail(err, FAIL_ERROR, "%s: the file is empty", input->label);
    }
    (void)posix_fadvise(input->fd, (off_t)input->offset, (off_t)input->size, POSIX_FADV_SEQUENTIAL);
    if (start(stream, err) < 0) {
        return -1;
    }
    *ret = TAKE(stream);
    return 0;
}

void stream_free(struct stream *stream)
{
    if (stream != NULL) {
        (void)archive_read_free(stream->archive);
        hash_free(stream->hash);
        hash_free(stream->content_hash);
        free(stream->buffer);
        free(stream->input.label);
        (void)close(stream->input.fd);
        free(stream);
    }
}

/* Padding is zeros, and content mostly ends in something else: this is cheap either way. */
static void note_last_data(struct stream *stream, const char *data, size_t size)
{
    for (size_t i = size; i > 0; i--) {
        if (data[i - 1] != 0) {
            stream->last_data = stream->produced + i;
            return;
        }
    }
}

int stream_read(struct stream *stream, const void **ret_data, size_t *ret_size, struct error *err)
{
    const void *data;
    size_t size;
    la_int64_t offset;

    do {
        int result;

        /* One step of input can unpack to gigabytes, so asking where it is read is not enough. */
        if (stop_check(err) < 0) {
            return -1;
        }
        result = archive_read_data_block(stream->archive, &data, &size, &offset);
        if (result == ARCHIVE_EOF) {
            return 0;
        }
        if (result != ARCHIVE_OK) {
            return fail_stream(stream, err);
        }
    } while (size == 0);
    if (stream->content_hash != NULL) {
        hash_add(stream->content_hash, data, size);
    }
    note_last_data(stream, data, size);
    stream->produced += size;
    *ret_data = data;
    *ret_size = size;
    return 1;
}

/* A decompressor stops where its data ends; only zeros may follow, as tapes pad. */
static int check_rest(struct stream *stream, struct error *err)
{
    uint64_t at = (uint64_t)archive_filter_bytes(stream->archive, -1);

    if (archive_filter_count(stream->archive) < 2) {
        return 0;
    }
    while (at < stream->input.size) {
        size_t size = stream->input.size - at < STEP ? (size_t)(stream->input.size - at) : STEP;

        if (file_pread(stream->input.fd, stream->buffer, size, stream->input.offset + at,
                       stream->input.label, err) < 0) {
            return -1;
        }
        for (size_t i = 0; i < size; i++) {
            if (stream->buffer[i] != 0) {
                return fail(err, FAIL_ERROR, "%s: something follows the end of the %s data",
                            stream->input.label, archive_filter_name(stream->archive, 0));
            }
        }
        at += size;
    }
    return 0;
}

static int check_length(struct stream *stream, struct error *err)
{
    struct stat st;

    if (fstat(stream->input.fd, &st) < 0) {
        return fail_os(err, "%s: stat", stream->input.label);
    }
    if (stream->input.whole_file && (uint64_t)st.st_size != stream->input.size) {
        return fail(err, FAIL_MISMATCH, "%s: changed while it was being read", stream->input.label);
    }
    return 0;
}

int stream_finish(struct stream *stream, struct error *err)
{
    struct archive_sum sum = {.size = stream->input.size};
    const void *data;
    size_t size;
    int more;

    while ((more = stream_read(stream, &data, &size, err)) == 1) {
    }
    if (more < 0) {
        return -1;
    }
    while (stream->at < stream->input.size) {
        if (feed(stream->archive, stream, &data) < 0) {
            return fail_stream(stream, err);
        }
    }
    if (check_rest(stream, err) < 0 || check_length(stream, err) < 0) {
        return -1;
    }
    hash_end(stream->hash, sum.digest);
    if (stream->content_hash != NULL) {
        hash_end(stream->content_hash, sum.content);
    }
    sum.content_size = stream->produced;
    return stream->input.finish(stream->input.data, &sum, err);
}

uint64_t stream_produced(const struct stream *stream)
{
    return stream->produced;
}

uint64_t stream_last_data(const struct stream *stream)
{
    return stream->last_data;
}

uint64_t stream_position(const struct stream *stream)
{
    return stream->at;
}

const char *stream_label(const struct stream *stream)
{
    return stream->input.label;
}
