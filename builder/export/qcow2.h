/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qcow2 file, version 3 (QEMU's docs/interop/qcow2.txt), written in the order of the disk:
 * header, L1 table, then data and L2 tables as they come, reference counts at the end. Clusters
 * that are never put are not allocated and read as zeros. Memory: the L1 table (8 bytes for 512 MiB
 * of disk), one L2 table, and 2 bytes for each cluster of the file.
 */
#ifndef EXPORT_QCOW2_H
#define EXPORT_QCOW2_H

#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "export/clusters.h"
#include "profile/profile.h"

#define QCOW2_CLUSTER CLUSTER /* of the disk and of the file */

struct qcow2 {
    int fd;           /* the caller's */
    const char *name; /* for messages; the caller's */
    enum compression compression;
    uint64_t size_bytes; /* of the disk, whole sectors */

    uint64_t next_cluster; /* of the file: the first that nothing has taken */
    uint64_t packed_end;   /* offset in the file behind the last compressed data; 0: none yet */
    uint16_t *refcounts;   /* of each cluster of the file */
    size_t refcount_space;

    uint64_t *l1; /* entries as on disk, but in the CPU's order */
    size_t l1_count;
    uint64_t *l2;        /* of the L1 entry that the last cluster went to, big-endian */
    uint64_t l2_offset;  /* in the file; 0: none yet */
    uint64_t l2_current; /* which L1 entry that is */
};

/*
 * Begins the image of a disk of SIZE_BYTES (rounded up to sectors, at most 64 TiB) in the empty
 * file FD. qcow2_done releases IMAGE whatever the result; the descriptor stays open.
 */
int qcow2_begin(struct qcow2 *image, int fd, const char *name, uint64_t size_bytes,
                enum compression compression, struct error *err);

/*
 * Cluster number CLUSTER of the disk, higher than the one before: DATA as it is when SIZE is
 * QCOW2_CLUSTER, compressed when it is less.
 */
int qcow2_put(struct qcow2 *image, uint64_t cluster, const void *data, size_t size,
              struct error *err);

/* The tables; the header last, so that the file is none before it is whole. */
int qcow2_end(struct qcow2 *image, struct error *err);

void qcow2_done(struct qcow2 *image);

#endif
