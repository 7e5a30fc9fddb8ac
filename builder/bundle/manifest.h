/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.json, what went in and what came out, and SHA256SUMS. Both say the same for the same
 * inputs: no clock, no user, no host path (layers are named as the profile names them).
 */
#ifndef BUNDLE_MANIFEST_H
#define BUNDLE_MANIFEST_H

#include <jansson.h>

#include "base/fail.h"
#include "base/hash.h"
#include "disk/plan.h"
#include "layer/layer.h"
#include "profile/profile.h"

/* Files of a bundle. */
#define MANIFEST_NAME "manifest.json"
#define SUMS_NAME "SHA256SUMS"
#define RAW_NAME "disk.raw"
#define FOOTER_KEY "footer_sha256" /* of a file in the manifest, instead of "sha256" */
#define INDEX_NAME "blocks.index"

struct manifest {
    const struct profile *profile;
    const struct plan *plan;
    struct layer *const *layers; /* read to their ends */
    size_t layer_count;
    int64_t epoch;
    size_t paths;              /* of the image */
    const char *engine;        /* "guestfs" */
    const char *engine_reason; /* why this one: "asked for" */
    const char *engine_detail; /* "libguestfs 1.48.6, appliance kernel 6.1.0-…" */
    const char *boot; /* a line on how it boots ("GRUB, BIOS and UEFI (signed shim)"), NULL: not */
    const char *kernel; /* path of the kernel in the image, or NULL */
    uint8_t disk_digest[HASH_SIZE];
};

/* The plan as JSON ("size", "uuid", "partitions": […]), also what 'kiln plan --json' shows. */
json_t *manifest_plan(const struct plan *plan);

/* The layers as JSON: name, format, sha256, size. */
json_t *manifest_layers(struct layer *const *layers, size_t count);

/*
 * Writes DIR/manifest.json, keys sorted, with name, version, architecture, seed, epoch,
 * disk_format 1, kiln's version, and for every other file in DIR (but SHA256SUMS and directories)
 * its size, and its sha256 except for disk.raw and disk.vhd (the same and a footer): their digest
 * is "disk": {"digest": …}.
 */
int manifest_write(const struct manifest *manifest, const char *dir, struct error *err);

/*
 * Writes DIR/SHA256SUMS: every file of DIR but itself and those two, sorted, as sha256sum -c reads.
 */
int manifest_sums(const char *dir, struct error *err);

/* Reads a bundle's manifest for 'kiln show'; a new reference. */
int manifest_read(const char *dir, json_t **ret, struct error *err);

#endif
