/* SPDX-License-Identifier: Apache-2.0 */
/* The disk in the formats asked for: every one holds the same bytes as disk.raw. */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include <stdint.h>

#include "base/fail.h"
#include "profile/profile.h"

/* Told how far it is: bytes of the disk's data, holes not counted. From the caller's thread. */
typedef void (*export_progress)(void *data, uint64_t done_bytes);

/* What a writer is asked for. */
struct export_job {
    const struct profile *profile;
    const char *raw;          /* path of disk.raw */
    const char *path;         /* of the file to write */
    unsigned threads;         /* 0: as many as there are CPUs; the bytes do not depend on it */
    export_progress progress; /* may be NULL */
    void *data;
};

/* One format: a row. */
struct export_format {
    const char *name; /* as in the profile */
    const char *file; /* "disk.qcow2" */
    enum format bit;
    int (*write)(const struct export_job *job, struct error *err); /* NULL: it is disk.raw itself */

    /* What compresses it, for the manifest, since its bytes follow it: a new string. May be NULL.
     */
    char *(*maker)(const struct profile *profile);
};

/* All of them, ended by a row without a name. */
extern const struct export_format export_formats[];

/* How many bytes of data RAW has between its holes: what progress goes up to. */
int export_data_bytes(const char *raw, uint64_t *ret, struct error *err);

/* Rows of the table; each in a file of its own. */
int export_qcow2(const struct export_job *job, struct error *err);
char *export_qcow2_maker(const struct profile *profile);

#endif
