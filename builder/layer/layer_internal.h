/* SPDX-License-Identifier: Apache-2.0 */
/* What the layer sources share; nobody else includes this. */
#ifndef LAYER_LAYER_INTERNAL_H
#define LAYER_LAYER_INTERNAL_H

#include <sys/types.h>

#include "base/buf.h"
#include "layer/layer.h"
#include "layer/pax.h"

/* A name longer than this is no name: Linux takes 4095 bytes, an archive up to a million. */
#define NAME_LIMIT (64u << 10)

struct layer_ops {
    const char *format;
    enum layer_rules rules;
    bool untimed;
    enum { DIGEST_BY_READING, DIGEST_BY_LISTING, DIGEST_KNOWN, DIGEST_CAPTURED } digest;
    int (*open_part)(struct layer *layer, unsigned part, struct layer_reader **ret,
                     struct error *err);
    void (*free)(struct layer *layer);
};

/* Sources embed this as their first member. */
struct layer {
    const struct layer_ops *ops;
    const struct profile_layer *spec;
    unsigned parts;
    uint64_t size_hint;
    bool settled; /* the digest is known */
    uint8_t digest[HASH_SIZE];
    uint64_t digest_size;

    /* Of an archive file: see layer_identity. */
    struct stat identity;
    int64_t began_s; /* 0: not read */
};

struct reader_ops {
    int (*next)(struct layer_reader *reader, struct entry *ret, struct error *err);
    int (*data)(struct layer_reader *reader, const void **ret_data, size_t *ret_size,
                uint64_t *ret_offset, struct error *err);
    uint64_t (*position)(const struct layer_reader *reader);
    void (*free)(struct layer_reader *reader);
};

/* Readers embed this as their first member. */
struct layer_reader {
    const struct reader_ops *ops;
    struct layer *layer;
};

/*
 * A layer was read to its end and has this digest: compares it with the profile's and with that of
 * the reading before.
 */
int layer_settle(struct layer *layer, const uint8_t digest[HASH_SIZE], uint64_t size,
                 struct error *err);

/* FAIL_MISMATCH, "WHAT: its SHA-256 is FOUND, not EXPECTED". */
int layer_mismatch(const char *what, const uint8_t expected[HASH_SIZE],
                   const uint8_t found[HASH_SIZE], struct error *err);

/* Opens a regular file for reading; WHAT starts the message. */
int layer_open_file(const char *what, int dir, const char *path, int *ret_fd, uint64_t *ret_size,
                    struct error *err);

/* --- archives ------------------------------------------------------------------------------- */

/* What an archive was, once everything was read. */
struct archive_sum {
    uint8_t digest[HASH_SIZE]; /* of the bytes as they lie there */
    uint64_t size;
    uint8_t content[HASH_SIZE]; /* of the uncompressed bytes; valid only where it was asked for */
    uint64_t content_size;
};

/* Where the bytes of one archive lie, and who wants to know what they were. */
struct archive_input {
    int fd; /* given away */
    uint64_t offset, size;
    char *label;       /* starts every message; given away */
    bool whole_file;   /* the file ends where the archive does */
    bool hash_content; /* also the digest of the uncompressed bytes */
    /* Called once, after everything was read. */
    int (*finish)(void *data, const struct archive_sum *sum, struct error *err);
    void *data;
};

/* Takes INPUT's descriptor and label, also when it fails. */
int archive_reader_open(struct layer *layer, const struct archive_input *input,
                        struct layer_reader **ret, struct error *err);

/* Names in an archive that may be an image in a tar, as far as they tell. */
enum image_shape {
    SHAPE_OPEN,  /* nothing against it yet */
    SHAPE_IMAGE, /* only images have this */
    SHAPE_OTHER, /* no image has this */
};
enum image_shape image_shape(const char *path);

/* True when the archive at FD is compressed and its first members are those of an image. */
int scan_packed_image(int fd, const char *label, bool *ret, struct error *err);

/*
 * Calls VISIT for each member of the uncompressed tar at FD, until it returns other than 0 or the
 * tar goes wrong: whoever misses a member then says so.
 */
struct member {
    const char *path;
    const char *target; /* of a symbolic or hard link, else NULL */
    bool hard;          /* TARGET counts from the archive's root */
    bool file;
    uint64_t offset, size; /* of the data in the archive */
};
int scan_index(int fd, const char *label, int (*visit)(void *data, const struct member *member),
               void *data, struct error *err);

int layer_new_archive(const struct profile_layer *spec, struct layer **ret, struct error *err);

/* --- images --------------------------------------------------------------------------------- */

/* 1 and the layer when SPEC's path is an OCI layout or docker-save directory or tar, else 0. */
int layer_new_image(const struct profile_layer *spec, enum architecture architecture,
                    struct layer **ret, struct error *err);

/* --- steps ---------------------------------------------------------------------------------- */

struct layer *layer_new_captured(const struct profile_layer *spec);

/* --- directories and inline files ------------------------------------------------------------ */

int layer_new_directory(const struct profile_layer *spec, struct layer **ret, struct error *err);
int layer_new_files(const struct profile_layer *spec, struct layer **ret, struct error *err);

/* The digest of a normal form, made while its entries go by. */
struct normal;
struct normal *normal_new(void);
void normal_free(struct normal *normal);
int normal_entry(struct normal *normal, const struct entry *entry, struct error *err);
int normal_data(struct normal *normal, const void *data, size_t size, struct error *err);
int normal_end(struct normal *normal, struct layer *layer, struct error *err);

#endif
