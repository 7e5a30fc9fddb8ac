/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of sparse files. */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include <stdint.h>

#include "base/fail.h"

/*
 * Makes TO, a new and empty file, what FROM is, SIZE_BYTES long: by reflink where the file system
 * can, else by copying the runs of data. No hole of FROM is data of TO. What lies beyond SIZE_BYTES
 * is left out; what FROM lacks is a hole. NAME is for messages. After a failure TO is worthless.
 */
int copy_sparse(int from, int to, uint64_t size_bytes, const char *name, struct error *err);

#endif
