/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer sources: an archive, an OCI image or docker-save archive, a directory, inline files, and
 * steps, which have no content until somebody has captured it. A layer has one or more parts (an
 * OCI image one for each of its layers), read one after another, each as a stream of entries;
 * nothing is unpacked to the disk. A layer may be read more than once and must be the same each
 * time.
 */
#ifndef LAYER_LAYER_H
#define LAYER_LAYER_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"
#include "layer/entry.h"
#include "profile/profile.h"

/* How a part's entries meet what lies below (DESIGN, "Layers and the tree"). */
enum layer_rules {
    RULES_MERGE, /* parent symlinks are followed within the tree */
    RULES_OCI,   /* exactly what overlayfs would show */
};

struct layer;
struct layer_reader;

/* What reads archives, with its version. Static. */
const char *layer_library(void);

/*
 * Finds out what SPEC is (for an archive: by its content) and reads what indexes it has, not its
 * data. SPEC is borrowed for the layer's life. ARCHITECTURE picks from an OCI index.
 */
int layer_open(const struct profile_layer *spec, enum architecture architecture, struct layer **ret,
               struct error *err);
void layer_free(struct layer *layer);
SCOPE_DEFINE(layer, layer_free)

const char *layer_name(const struct layer *layer);   /* for messages, borrowed */
const char *layer_label(const struct layer *layer);  /* profile_layer_label's, borrowed */
const char *layer_format(const struct layer *layer); /* "archive", "oci", "docker", "directory",
                                                      * "files", "packages", "run" */
unsigned layer_parts(const struct layer *layer);
enum layer_rules layer_rules(const struct layer *layer);

/* True for layers whose times are the profile's epoch: their entries carry none. */
bool layer_untimed(const struct layer *layer);

/* True for packages and run. Reading one fails until it was captured. */
bool layer_is_step(const struct layer *layer);

/*
 * Gives a step the content that was captured under KEY: the tar.zst at PATH (copied), whose
 * uncompressed bytes digest to DIGEST and are SIZE bytes long, which is what layer_digest says of
 * it. Reading verifies it: FAIL_MISMATCH. With PATH NULL it is known, and cannot be read; with
 * DIGEST NULL as well, nothing but its key is known.
 */
void layer_capture(struct layer *layer, const uint8_t key[HASH_SIZE], const char *path,
                   const uint8_t *digest, uint64_t size);

/* The key of a step; NULL before it has one, and for any other layer. Borrowed. */
const uint8_t *layer_step_key(const struct layer *layer);

/* True once layer_digest is valid. */
bool layer_is_known(const struct layer *layer);

/* Reads the captured layer at PATH for the digest and size of its uncompressed bytes. */
int layer_measure(const char *path, uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size,
                  struct error *err);

/*
 * The digest and size in bytes of what was read: of an archive file or OCI manifest as it lies
 * there, of the normal form of a directory or files layer (the tar that 'layer pack' writes,
 * before compression). Valid once every part was read to its end. Of a step: what layer_capture
 * was told.
 */
void layer_digest(const struct layer *layer, uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size);

/*
 * Finds the digest out without reading an archive: 1, or 0 when only that tells, or of a step that
 * was not captured. A directory or files layer is read for it, an image says it in its index.
 */
int layer_learn(struct layer *layer, struct error *err);

/* Says what the digest is without reading; FAIL_MISMATCH when it is not the profile's. */
int layer_assume(struct layer *layer, const uint8_t digest[HASH_SIZE], uint64_t size,
                 struct error *err);

/* Takes back what layer_assume was told: the archive will be read, whatever it is by now. */
void layer_doubt(struct layer *layer);

/*
 * The newest time of any entry, rounded up to a whole second as tree_newest does; -1: it has none.
 * Reads the layer, without its data, unless it is untimed or a step, which bring no times.
 */
int layer_newest(struct layer *layer, int64_t *ret, struct error *err);

/* The path of a plain archive file, borrowed; NULL for any other layer. */
const char *layer_archive(const struct layer *layer);

/*
 * What the archive file was before its first byte was read the last time, and when that was
 * (seconds); false when it has not been read.
 */
bool layer_identity(const struct layer *layer, struct stat *ret_stat, int64_t *ret_began_s);

/* Bytes that the source occupies on the host, for progress; 0 when not known. */
uint64_t layer_size_hint(const struct layer *layer);

/* Starts reading part PART from its beginning. */
int layer_reader_open(struct layer *layer, unsigned part, struct layer_reader **ret,
                      struct error *err);
void layer_reader_free(struct layer_reader *reader);
SCOPE_DEFINE(layer_reader, layer_reader_free)

/*
 * The next entry: 1 and RET (borrowed until the next call), 0 at the end, -1 on error. At the end
 * everything was read, also what follows the last entry, and every digest was verified: a wrong
 * one is FAIL_MISMATCH.
 */
int layer_reader_next(struct layer_reader *reader, struct entry *ret, struct error *err);

/*
 * The next piece of the current entry's data: 1 and the piece (borrowed until the next call), 0
 * at the end, -1 on error. Pieces come in order; what lies between them is a hole.
 */
int layer_reader_data(struct layer_reader *reader, const void **ret_data, size_t *ret_size,
                      uint64_t *ret_offset, struct error *err);

/* Bytes of the source consumed so far, for progress. */
uint64_t layer_reader_position(const struct layer_reader *reader);

#endif
