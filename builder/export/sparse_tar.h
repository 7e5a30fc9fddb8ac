/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar archive of one sparse file in GNU's old format ("Storing Sparse Files" and "Standard" in
 * the manual of GNU tar): the one that holds a file's holes and that Google's importer takes.
 */
#ifndef EXPORT_SPARSE_TAR_H
#define EXPORT_SPARSE_TAR_H

#include <stdint.h>

#include "base/buf.h"
#include "export/clusters.h"

/*
 * Appends what comes before the data: the header of a file called NAME (of less than 100 bytes)
 * that is the disk, and the map of its CLUSTERS. The data are these clusters one behind the other,
 * the last one whole: what the disk does not have of it belongs to the archive's end.
 */
void sparse_tar_head(struct buf *buf, const char *name, const struct clusters *clusters);

/* How many zeros end an archive whose head and clusters have SIZE bytes: whole records then. */
uint64_t sparse_tar_padding(uint64_t size);

#endif
