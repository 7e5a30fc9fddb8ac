/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile: what one YAML file says the image is, decoded, checked and with a place in the file
 * for everything a later stage may complain about. Nothing here looks at layers or disks.
 */
#ifndef PROFILE_PROFILE_H
#define PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "base/scope.h"

/* A place in the profile, from 1; line 0: not written there, a default. */
struct mark {
    unsigned line;
    unsigned column;
    const char *file; /* NULL: the profile itself; else one of its parents, borrowed */
};

enum { PROFILE_FILES_MAX = 8 }; /* the profile and what it extends */

enum architecture { ARCH_X86_64, ARCH_AARCH64 };
enum engine_kind { ENGINE_AUTO, ENGINE_NATIVE, ENGINE_GUESTFS };
/* Bits. */
enum format {
    FORMAT_RAW = 1,
    FORMAT_QCOW2 = 2,
    FORMAT_VHD = 4,
    FORMAT_GCP = 8,
    FORMAT_VMDK = 16,
};
enum firmware { FIRMWARE_BIOS = 1, FIRMWARE_UEFI = 2 }; /* bits; 0: the disk need not boot */
enum compression { COMPRESSION_ZLIB, COMPRESSION_ZSTD };
enum filesystem { FS_NONE, FS_EXT4, FS_XFS, FS_BTRFS, FS_VFAT };
enum partition_type { PART_BIOS_BOOT, PART_ESP, PART_ROOT, PART_DATA };
enum layer_kind { LAYER_ARCHIVE, LAYER_DIRECTORY, LAYER_FILES, LAYER_PACKAGES, LAYER_RUN };

/* mode and owner given to one path, of a directory layer ('set') or a files layer. */
struct attributes {
    bool has_mode, has_owner;
    uint32_t mode; /* 07777 at most; of a files layer also the default, without has_mode */
    uint32_t uid, gid;
};

struct profile_set {
    struct mark mark;
    char *path; /* absolute in the image */
    struct attributes attributes;
};

/* One path of a files layer: exactly one of content, symlink, directory or remove. */
struct profile_file {
    struct mark mark;
    char *path; /* absolute in the image */
    bool remove;
    bool directory;
    char *content; /* owned; NULL unless a regular file */
    size_t content_size;
    char *source;  /* of content that is a file of the host, its path: kiln's own use only */
    char *symlink; /* target; NULL unless a symbolic link */
    struct attributes attributes;
};

/* A directory of the host that a step sees, read-only. */
struct profile_mount {
    struct mark mark;
    char *name;   /* as written */
    char *path;   /* usable from the current directory */
    char *target; /* absolute in the image */
};

/* A package file that a pattern named. */
struct profile_package {
    struct mark mark;
    char *name; /* its base name */
    char *path; /* usable from the current directory */
};

struct profile_layer {
    struct mark mark;
    enum layer_kind kind;
    /*
     * For messages: the path as written, or "files:LINE", "packages:LINE", "run:LINE"; what a
     * parent has is "files:FILE:LINE" and so on.
     */
    char *name;
    char *path; /* archive, directory, script file: usable from the current directory; else NULL */
    bool has_sha256;
    uint8_t
        sha256[HASH_SIZE]; /* of the archive file as it lies there; of a directory's normal form */
    struct mark sha256_mark;
    char *to; /* directory: absolute in the image, "/" by default */
    struct profile_set *sets;
    size_t set_count;
    struct profile_file *files;
    size_t file_count;
    struct profile_package *packages; /* packages: at least one, sorted by name, each name once */
    size_t package_count;
    char *script; /* run: inline text; NULL when 'path' names a script file */
    size_t script_size;
    struct profile_mount *mounts; /* run: sorted by target */
    size_t mount_count;
    uint32_t timeout_s;    /* steps */
    uint64_t memory_bytes; /* steps */
    bool has_leave_out;    /* steps: patterns instead of the standard list, perhaps none at all */
    char **leave_out;
    size_t leave_out_count;
};

struct profile_partition {
    struct mark mark;
    char *name; /* unique; also the GPT name: 1 to 36 of [A-Za-z0-9_-] */
    enum partition_type type;
    enum filesystem filesystem;
    uint64_t size_bytes; /* 0: the rest; only the last one */
    struct mark size_mark;
    char *mount; /* absolute in the image, "/" for root; NULL when it is not mounted */
    struct mark mount_mark;
};

struct profile {
    char *path;                           /* as given on the command line */
    char *parents[PROFILE_FILES_MAX - 1]; /* what it extends, nearest first; then NULL */
    char *name;
    char *version;
    enum architecture architecture;
    struct mark architecture_mark;
    char *seed; /* default "NAME/ARCHITECTURE" */
    bool has_epoch;
    int64_t epoch;                /* seconds since 1970 */
    struct profile_layer *layers; /* bottom first, at least one */
    size_t layer_count;
    struct mark layers_mark;

    uint64_t disk_size_bytes; /* whole GiB */
    bool disk_size_rounded;   /* the profile's was not: say so */
    struct mark disk_size_mark;
    uint32_t inodes;  /* of the root file system; 0: mke2fs's ratio */
    unsigned formats; /* enum format bits */
    struct mark formats_mark;
    enum compression qcow2_compression;
    unsigned firmware; /* enum firmware bits */
    struct mark firmware_mark;
    char *kernel_command_line;
    enum engine_kind engine;
    struct profile_partition *partitions;
    size_t partition_count;

    struct targets *targets; /* see target.h; NULL: none are written */
};

/*
 * Reads, decodes and checks the profile at PATH with all that it extends. Up to 20 problems come in
 * one error of kind FAIL_USAGE, a line each: "FILE:LINE:COLUMN: message" (with the hint in brackets
 * at its end).
 */
int profile_load(const char *path, struct profile **ret, struct error *err);

/* The same from memory; PATH is for messages and for finding relative paths. */
int profile_parse(const char *path, const char *yaml, size_t size, struct profile **ret,
                  struct error *err);

void profile_free(struct profile *profile);
SCOPE_DEFINE(profile, profile_free)

/* A problem a later stage found with something at MARK; FAIL_USAGE, "FILE:LINE:COLUMN: …". */
int profile_fail(const struct profile *profile, struct mark mark, struct error *err,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * What lock, plan and manifest call a layer: its name, but "files", "packages" or "run" for what is
 * written in the profile, because these say the same as long as only its lines move.
 */
const char *profile_layer_label(const struct profile_layer *layer);

/* True for layers that must run something. */
bool profile_is_step(const struct profile_layer *layer);

/*
 * Every key that a profile can have, in the order of the grammar, for what prints or tests the
 * documentation. Paths are like "disk.partitions[].size" and "layers[].files.PATH.mode".
 */
struct profile_field {
    const char *path;
    const char *type;     /* what it takes: "text", "one of x86_64, aarch64", … */
    const char *standard; /* the default in words; NULL for none */
    const char *help;
    bool required;
    bool supported; /* false: in the grammar, and refused by this version */
};
typedef void profile_visit(const struct profile_field *field, void *data);
void profile_fields(profile_visit *visit, void *data);

/*
 * What is wrong with TEXT as a path in the image ("must be absolute", …), NULL for nothing. There
 * is one way to write each: absolute, no '.' or '..', no '//', no '/' at the end.
 */
const char *profile_image_path(const char *text);

/* What is wrong with TEXT as an image's name (or a target's), and as its version; NULL: nothing. */
const char *profile_check_name(const char *text);
const char *profile_check_version(const char *text);

/* What a command's options say instead of the profile: "raw,vhd", "native". */
int profile_set_formats(struct profile *profile, const char *list, struct error *err);
int profile_set_engine(struct profile *profile, const char *name, struct error *err);

/* The words of the grammar, for messages and files: "x86_64", "ext4", "bios-boot", "qcow2", … */
const char *architecture_name(enum architecture architecture);
const char *filesystem_name(enum filesystem filesystem);
const char *partition_type_name(enum partition_type type);
const char *engine_name(enum engine_kind engine);

#endif
