/* SPDX-License-Identifier: Apache-2.0 */
/* The disk in the formats asked for: every one holds the same bytes as disk.raw. */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "export/clusters.h"
#include "profile/profile.h"

/* Told what is written and how far it is: bytes of clusters with data. From the caller's thread. */
typedef void (*export_progress)(void *data, const char *file, uint64_t done_bytes);

/* What formats are made of. */
struct export_job {
    const struct profile *profile;
    const struct clusters *clusters; /* of disk.raw */
    const uint8_t *disk_digest;      /* HASH_SIZE bytes: identifiers follow from it */
    int64_t epoch;                   /* seconds since 1970 */
    const char *directory;           /* where the files go */
    unsigned threads;         /* 0: as many as there are CPUs; the bytes do not depend on it */
    export_progress progress; /* may be NULL */
    void *data;
};

/* A format that is made of the disk's clusters one after the other. */
struct export_stream {
    enum compression (*compression)(const struct profile *profile);

    /* Begins the empty file FD called PATH, both the caller's; NULL on error. */
    void *(*begin)(const struct export_job *job, int fd, const char *path, struct error *err);
    int (*put)(void *stream, const struct cluster *cluster, struct error *err);
    int (*end)(void *stream, struct error *err);
    void (*done)(void *stream); /* always, in the end */
};

/* One format: a row. It has one of STREAM and WRITE; neither: it is disk.raw itself. */
struct export_format {
    const char *name; /* as in the profile */
    const char *file; /* "disk.qcow2" */
    enum format bit;
    bool is_disk; /* it begins with the disk as it is, holes included: see blocks.index */

    const struct export_stream *stream;
    /* Writes PATH in its own way, on a thread of its own. */
    int (*write)(const struct export_job *job, const char *path, struct error *err);

    /* What compresses it, for the manifest, since its bytes follow it: a new string. May be NULL.
     */
    int (*maker)(const struct profile *profile, char **ret, struct error *err);
};

/* All of them, ended by a row without a name. */
extern const struct export_format export_formats[];

/* The row of a file, or NULL. */
const struct export_format *export_find(const char *file);

/* True of files that begin with the disk as it is. */
bool export_is_disk(const char *file);

/* Which files the profile asks for beside disk.raw: "disk.qcow2, disk.vhd", NULL for none. */
char *export_list(const struct profile *profile);

/*
 * Writes all of them, side by side: each cluster is read and compressed once, by all threads. After
 * a failure what there is of them is worthless.
 */
int export_all(const struct export_job *job, struct error *err);

/* Rows of the table; each in a file of its own. */
extern const struct export_stream export_qcow2, export_gcp;
int export_vhd(const struct export_job *job, const char *path, struct error *err);
int export_vmdk(const struct export_job *job, const char *path, struct error *err);
int export_qcow2_maker(const struct profile *profile, char **ret, struct error *err);
int export_gcp_maker(const struct profile *profile, char **ret, struct error *err);
int export_vmdk_maker(const struct profile *profile, char **ret, struct error *err);

#endif
