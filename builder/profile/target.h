/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets: where an image is to be published, as 'targets:' of a profile and as targets.json of a
 * bundle, which are read by the same tables. A target names no endpoint, no credential and no file
 * of the user's: these are his own, see publish/.
 */
#ifndef PROFILE_TARGET_H
#define PROFILE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"
#include "profile/profile.h"

/* Of decode.h, yaml.h and problem.h, which only the profile's own files need. */
struct shape;
struct node;
struct problems;

#define TARGETS_NAME "targets.json" /* in a bundle */

enum {
    TARGETS_MAX = 64,          /* of an image */
    TARGETS_TEXT_MAX = 1 << 20 /* bytes of targets.json: what a profile may have */
};

enum cloud_kind { CLOUD_AWS, CLOUD_OPENSTACK, CLOUD_DIRECTORY };
enum { CLOUDS = 3 };

struct pair {
    struct mark mark;
    char *key, *value;
};

enum boot_mode { BOOT_MODE_AUTO, BOOT_MODE_UEFI, BOOT_MODE_UEFI_PREFERRED, BOOT_MODE_BIOS };

/* profile/target_aws.c */
struct target_aws {
    char *region; /* NULL: AWS_REGION, AWS_DEFAULT_REGION or the user's configuration */
    char *name;   /* of the image, 3 to 128; NULL: NAME-VERSION */
    char *description;
    enum boot_mode boot_mode; /* AUTO: from the image's firmware */
    bool tpm;                 /* NitroTPM: boot_mode uefi only */
    bool imds_optional;       /* also IMDSv1 */
    char **share_with;        /* account numbers of 12 digits, or "all" alone */
    size_t share_count;
    char **copy_to; /* regions */
    size_t copy_count;
    bool has_deprecate_at;
    int64_t deprecate_at; /* seconds since 1970 */
    struct pair *tags;
    size_t tag_count;
};

enum visibility { VISIBILITY_PRIVATE, VISIBILITY_SHARED, VISIBILITY_COMMUNITY, VISIBILITY_PUBLIC };

/* profile/target_openstack.c */
struct target_openstack {
    char *os_cloud;          /* entry of the user's clouds.yaml; NULL: OS_CLOUD or OS_* */
    char *region;            /* NULL: the user's, else the catalog's only one */
    char *name;              /* NULL: NAME-VERSION */
    enum format disk_format; /* FORMAT_QCOW2 (default) or FORMAT_RAW */
    enum visibility visibility;
    bool is_protected;
    uint64_t min_ram_bytes; /* whole MiB; 0: none */
    char **share_with;      /* project ids; visibility shared */
    size_t share_count;
    struct pair *properties; /* over those that follow from the image */
    size_t property_count;
    char **tags;
    size_t tag_count;
};

/* profile/target_directory.c */
struct target_directory {
    char *path;       /* of the catalog, as written; NULL: $XDG_DATA_HOME/kiln/images */
    unsigned formats; /* bits; 0: all that the bundle has */
};

struct target {
    struct mark mark;
    char *name; /* [a-z0-9][a-z0-9-]{0,62} */
    enum cloud_kind cloud;
    union {
        struct target_aws aws;
        struct target_openstack openstack;
        struct target_directory directory;
    };
    char *attributes; /* all that was written of it, as canonical JSON: for its publish id */
};

struct targets {
    struct target *items; /* in the order of the file */
    size_t count;
    char *text; /* targets.json; NULL before it was decoded, or when it could not be */
};

/* One cloud's row: the shape is that of its struct. */
struct target_kind {
    const char *name; /* as in 'cloud:' */
    const char *summary;
    const struct shape *shape;
    /*
     * Defaults, and what takes more than one field to tell; may be NULL. NODE is the target's map,
     * which decoded well.
     */
    void (*check)(struct target *target, const struct node *node, struct problems *problems);
    void (*done)(struct target *target);            /* frees what the struct has */
    unsigned (*takes)(const struct target *target); /* formats the bundle must have: bits */
    /* What is wrong with it for a disk that starts under FIRMWARE (bits), or NULL. May be NULL. */
    const char *(*misfit)(const struct target *target, unsigned firmware);
};

extern const struct target_kind *const target_kinds[CLOUDS]; /* by enum cloud_kind */
extern const struct target_kind target_kind_aws, target_kind_openstack, target_kind_directory;

/* The value of 'targets:', a map; RET is complete only when no problem was added. */
void targets_decode(struct node *node, struct targets *ret, struct problems *problems);

/*
 * Reads PATH, a bundle's targets.json, or the TEXT of one (PATH is for messages), as strictly as a
 * profile: FAIL_USAGE with file, line and column. RET must be zeroed.
 */
int targets_read(const char *path, struct targets *ret, struct error *err);
int targets_parse(const char *path, const char *text, size_t size, struct targets *ret,
                  struct error *err);

/* The kind's misfit. */
const char *target_misfit(const struct target *target, unsigned firmware);

/* Also the cleaner for SCOPED. */
void targets_done(struct targets *targets);

#endif
