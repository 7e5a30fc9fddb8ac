/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts bytes on the disk file and digests them beside that. What comes in one after another is
 * gathered into chunks of a block; a thread digests what files and blocks have in one and writes it
 * out while it is still in its core's cache (written first, and by another thread than the digest,
 * it took twice the time). Where the thread falls behind, the caller digests some blocks himself.
 */
#ifndef DISK_WRITER_H
#define DISK_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/blocks.h"
#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"

struct writer;

/* FD and NAME (for messages) and BLOCKS are borrowed; BLOCKS is told what becomes of each block.
 * NULL, with errno, when there is no thread to be had. */
struct writer *writer_new(int fd, const char *name, struct blocks *blocks);
void writer_free(struct writer *writer);
SCOPE_DEFINE(writer, writer_free)

/* SIZE bytes at OFFSET, bytes of the disk. They are copied. An error may come later, from any call.
 */
int writer_put(struct writer *writer, uint64_t offset, const void *data, size_t size,
               struct error *err);

/* The same for bytes that go on with the current file: its digest takes them in. */
int writer_put_file(struct writer *writer, uint64_t offset, const void *data, size_t size,
                    struct error *err);

/* SIZE zeros of the current file that are not written: a hole. */
int writer_hole(struct writer *writer, uint64_t size, struct error *err);

/* Ends the current file. *RET_DIGEST is there after writer_flush. */
int writer_end_file(struct writer *writer, uint8_t *ret_digest, struct error *err);

/* Waits until all of it is written and digested. */
int writer_flush(struct writer *writer, struct error *err);

#endif
