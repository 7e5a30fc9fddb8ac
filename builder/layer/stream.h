/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an archive, decompressed and digested as they pass: libarchive's filters without
 * its formats. What the format reader does not want (the rest after the end of the archive) is
 * read here too, for a digest covers all of the file.
 */
#ifndef LAYER_STREAM_H
#define LAYER_STREAM_H

#include "layer/layer_internal.h"

struct archive;
struct stream;

/* Takes INPUT's descriptor and label, also when it fails. */
int stream_open(const struct archive_input *input, struct stream **ret, struct error *err);
void stream_free(struct stream *stream);
SCOPE_DEFINE(stream, stream_free)

/* The next uncompressed bytes: 1 and the piece (borrowed until the next call), 0 at the end. */
int stream_read(struct stream *stream, const void **ret_data, size_t *ret_size, struct error *err);

/* Reads what is left and hands the digests to the input's finish(). */
int stream_finish(struct stream *stream, struct error *err);

/* Uncompressed bytes so far, and where among them the last one that is not zero ends. */
uint64_t stream_produced(const struct stream *stream);
uint64_t stream_last_data(const struct stream *stream);

/* Bytes of the input read so far. */
uint64_t stream_position(const struct stream *stream);

const char *stream_label(const struct stream *stream);

/* Translates what libarchive says of ARCHIVE; LABEL starts the message. */
int fail_archive(const char *label, struct archive *archive, struct error *err);

/* Enables the one filter or format that ENABLE stands for; it must not need another program. */
int enable_archive(struct archive *archive, int (*enable)(struct archive *archive),
                   const char *label, struct error *err);

#endif
