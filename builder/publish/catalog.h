/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of images, and an index of them:
 *
 *     CATALOG/index.json
 *     CATALOG/NAME/ARCHITECTURE/VERSION/   disk.qcow2, …, manifest.json, image.json, SHA256SUMS
 *     CATALOG/NAME/ARCHITECTURE/latest     a link to the version that came last
 *
 * An image is a JSON object, in the index and as its own image.json: "name", "architecture",
 * "version", "path" in the catalog, "disk_digest", "disk_size", "publish_id" and "files". Its
 * directory appears by rename, whole or not at all, and never changes to another disk. Several
 * kilns may add to a catalog at once.
 */
#ifndef PUBLISH_CATALOG_H
#define PUBLISH_CATALOG_H

#include <jansson.h>
#include <stdbool.h>

#include "base/fail.h"
#include "base/scope.h"

#define CATALOG_LATEST "latest"

/* OWN ("/srv/images", "~/images") as an absolute path; NULL: $XDG_DATA_HOME/kiln/images. */
int catalog_path(const char *own, char **ret, struct error *err);

/* Refuses what is no catalog: it may be missing, or empty. Makes nothing. */
int catalog_check(const char *path, struct error *err);

/* Removes what killed kilns left unfinished. */
int catalog_sweep(const char *path, struct error *err);

/* Where IMAGE is, or would be: a new string. */
char *catalog_place(const char *path, const json_t *image);

/*
 * Is IMAGE there, listed or not, with all its files? -1 when its place has something else: another
 * disk of that version.
 */
int catalog_has(const char *path, const json_t *image, bool *ret, struct error *err);

/* Is it in the index as well? */
int catalog_lists(const char *path, const json_t *image, bool *ret, struct error *err);

/* Lists IMAGE, which is there, and makes it the latest. */
int catalog_list(const char *path, const json_t *image, struct error *err);

/* Removes IMAGE if it is there under this very publish id and not in the index. */
int catalog_remove_unlisted(const char *path, const json_t *image, struct error *err);

/* An image that is being filled. */
struct draft {
    char *catalog;
    char *holder; /* a directory that is removed in the end, and by others if we are killed */
    char *dir;    /* in it: what becomes the image */
    int lock;
};

/* Makes the catalog if it is missing. DRAFT begins as {.lock = -1}. */
int draft_begin(struct draft *draft, const char *path, struct error *err);

/* Writes its image.json and SHA256SUMS, waits for the disk, puts it in its place, and lists it. */
int draft_commit(struct draft *draft, const json_t *image, struct error *err);

/* Removes what was not committed; also the cleaner for SCOPED. */
void draft_done(struct draft *draft);

#endif
