/* SPDX-License-Identifier: Apache-2.0 */
/* The disk in the formats asked for: every one holds the same bytes as disk.raw. */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "base/fail.h"
#include "profile/profile.h"

/* One format: a row. RAW is a path, as is the file to write. */
struct export_format {
    const char *name; /* as in the profile */
    const char *file; /* "disk.qcow2" */
    enum format bit;
    int (*write)(const char *raw, const char *path,
                 struct error *err); /* NULL: it is disk.raw itself */

    /* What writes it, for the manifest, since its bytes follow it: a new string. May be NULL. */
    int (*maker)(char **ret, struct error *err);
};

/* All of them, ended by a row without a name. */
extern const struct export_format export_formats[];

/* Rows of the table; each in a file of its own. */
int export_qcow2(const char *raw, const char *path, struct error *err);
int export_qcow2_maker(char **ret, struct error *err);

#endif
