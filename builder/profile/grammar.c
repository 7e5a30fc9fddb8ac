/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/grammar.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

/* --- words ----------------------------------------------------------------------------------- */

const struct word architecture_words[] = {
    {.name = "x86_64", .value = ARCH_X86_64}, {.name = "aarch64", .value = ARCH_AARCH64},
    {.name = "amd64", .instead = "x86_64"},   {.name = "x86-64", .instead = "x86_64"},
    {.name = "arm64", .instead = "aarch64"},  {.name = NULL},
};

const struct word engine_words[] = {
    {.name = "auto", .value = ENGINE_AUTO},
    {.name = "guestfs", .value = ENGINE_GUESTFS},
    {.name = "native", .value = ENGINE_NATIVE},
    {.name = "libguestfs", .instead = "guestfs"},
    {.name = NULL},
};

const struct word format_words[] = {
    {.name = "raw", .value = FORMAT_RAW},
    {.name = "qcow2", .value = FORMAT_QCOW2},
    {.name = "vhd", .value = FORMAT_VHD},
    {.name = "gcp", .value = FORMAT_GCP},
    {.name = "vmdk", .value = FORMAT_VMDK},
    {.name = "qcow", .instead = "qcow2"},
    {.name = "vpc", .instead = "vhd"},
    {.name = "vhdx", .instead = "vhd"},
    {.name = "tar.gz", .instead = "gcp"},
    {.name = "tar", .instead = "gcp"},
    {.name = NULL},
};

static const struct word compression_words[] = {
    {.name = "zlib", .value = COMPRESSION_ZLIB},
    {.name = "zstd", .value = COMPRESSION_ZSTD},
    {.name = "deflate", .instead = "zlib"},
    {.name = "gzip", .instead = "zlib"},
    {.name = NULL},
};

const struct word firmware_words[] = {
    {.name = "bios", .value = FIRMWARE_BIOS},
    {.name = "uefi", .value = FIRMWARE_UEFI},
    {.name = "efi", .instead = "uefi"},
    {.name = NULL},
};

const struct word filesystem_words[] = {
    {.name = "ext4", .value = FS_EXT4},
    {.name = "xfs", .value = FS_XFS},
    {.name = "btrfs", .value = FS_BTRFS},
    {.name = "vfat", .value = FS_VFAT},
    {.name = "fat", .instead = "vfat"},
    {.name = "fat32", .instead = "vfat"},
    {.name = "ext2", .instead = "ext4"},
    {.name = "ext3", .instead = "ext4"},
    {.name = NULL},
};

const struct word partition_type_words[] = {
    {.name = "bios-boot", .value = PART_BIOS_BOOT},
    {.name = "esp", .value = PART_ESP},
    {.name = "root", .value = PART_ROOT},
    {.name = "data", .value = PART_DATA},
    {.name = "efi", .instead = "esp"},
    {.name = "linux", .instead = "data"},
    {.name = NULL},
};

const char *word_name(const struct word *words, unsigned value)
{
    while (words->name != NULL && (words->value != value || words->instead != NULL)) {
        words++;
    }
    assert(words->name != NULL);
    return words->name;
}

/* --- text ------------------------------------------------------------------------------------ */

static bool has_control_characters(const char *text)
{
    while (*text != '\0' && (unsigned char)*text >= 0x20 && *text != 0x7f) {
        text++;
    }
    return *text != '\0';
}

const char *profile_check_name(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > 63 || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != size ||
        text[0] == '-') {
        return "must be 1 to 63 of a-z, 0-9 and '-', and must not begin with '-'";
    }
    return NULL;
}

/* It becomes a part of the bundle's directory name. */
const char *profile_check_version(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > 64 || !text_is_made_of(text, "._+~-") || text[0] == '.' ||
        text[0] == '-') {
        return "must be 1 to 64 letters, digits and any of '._+~-', and must not begin with '.' or "
               "'-'";
    }
    return NULL;
}

static const char *check_seed(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > 255) {
        return "must be 1 to 255 bytes";
    }
    return has_control_characters(text) ? "must not hold control characters" : NULL;
}

/*
 * The line goes into grub.cfg as it is, where these split commands, expand or quote (GRUB manual,
 * "Quoting" and "Shell-like scripting"), and into /etc/default/grub, which a shell reads.
 */
static const char *check_command_line(const char *text)
{
    size_t size = strlen(text);

    if (size > 1024) {
        return "longer than 1024 bytes";
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            return "must be printable ASCII";
        }
        if (strchr("\"'`\\$;|&<>{}#", text[i]) != NULL) {
            return "must not hold quotes, backslashes or any of '$;|&<>{}#', which mean something "
                   "to GRUB";
        }
    }
    return NULL;
}

static const char *check_host_path(const char *text)
{
    size_t size = strlen(text);

    return size == 0 ? "must not be empty" : size > 4095 ? "longer than 4095 bytes" : NULL;
}

const char *profile_image_path(const char *text)
{
    if (text[0] != '/') {
        return "must be absolute";
    }
    if (strlen(text) > 4095) {
        return "longer than 4095 bytes";
    }
    for (const char *s = text; *s != '\0' && text[1] != '\0';) {
        size_t length = strcspn(++s, "/");

        if (length == 2 && s[0] == '.' && s[1] == '.') {
            return "must not hold '..'";
        }
        if (length == 0 || (length == 1 && s[0] == '.')) {
            return "must be written without '.', '//' and a '/' at its end";
        }
        if (length > 255) {
            return "a name in it is longer than 255 bytes";
        }
        s += length;
    }
    return NULL;
}

static bool is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return text_starts(path, directory) && (path[length] == '\0' || path[length] == '/');
}

/* Where the running system mounts something of its own. */
static bool is_of_the_system(const char *path)
{
    static const char *const taken[] = {"/proc", "/sys", "/dev", "/run"};

    for (size_t i = 0; i < COUNT(taken); i++) {
        if (is_below(path, taken[i])) {
            return true;
        }
    }
    return false;
}

/* Written to fstab, in which white space would need escapes that not every reader knows. */
static const char *check_mount(const char *text)
{
    const char *wrong = profile_image_path(text);

    if (wrong != NULL) {
        return wrong;
    }
    if (!text_is_made_of(text, "/._+@-")) {
        return "may only hold letters, digits and any of '/._+@-'";
    }
    if (is_below(text, "/etc")) {
        return "must be on the root file system, which fstab is read from";
    }
    return is_of_the_system(text) ? "the system mounts a file system of its own there" : NULL;
}

/* Where a step sees a directory of the host; handed to the appliance as a line. */
static const char *check_step_mount(const char *text)
{
    const char *wrong = profile_image_path(text);

    if (wrong != NULL) {
        return wrong;
    }
    if (has_control_characters(text)) {
        return "must not hold control characters";
    }
    if (strcmp(text, "/") == 0) {
        return "would hide the whole image (give a directory below it, like /mnt)";
    }
    return is_of_the_system(text) ? "the system mounts a file system of its own there" : NULL;
}

/* A pattern: an absolute path, in whose names only two characters are special. */
static const char *check_leave_out(const char *text)
{
    size_t size = strlen(text);
    bool below = size > 1 && text[size - 1] == '/';
    SCOPED_FREE char *path = xstrndup(text, below ? size - 1 : size);

    if (strcmp(path, "/") == 0) {
        return "must name something below '/'";
    }
    if (strpbrk(path, "[\\") != NULL) {
        return "must not hold '[' or a backslash (only '*' and '?' are special)";
    }
    return size > 4095 ? "longer than 4095 bytes" : profile_image_path(path);
}

/* A text of one line is the path of a script; check.c tells them apart. */
static const char *check_script(const char *text)
{
    return text[strspn(text, " \t\n")] == '\0' ? "must not be empty" : NULL;
}

static const char *check_partition_name(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > 36 || !text_is_made_of(text, "_-")) {
        return "must be 1 to 36 letters, digits, '_' and '-'";
    }
    return NULL;
}

static const char *check_symlink(const char *text)
{
    size_t size = strlen(text);

    return size == 0 ? "must not be empty" : size > 4095 ? "longer than 4095 bytes" : NULL;
}

/* --- tables ---------------------------------------------------------------------------------- */

static const struct field set_fields[] = {
    {.name = "mode",
     .type = FIELD_MODE,
     .value = PLACE_OF(struct profile_set, attributes.mode),
     .has = PLACE_OF(struct profile_set, attributes.has_mode),
     .help = "permissions, octal, like \"0640\""},
    {.name = "owner",
     .type = FIELD_OWNER,
     .value = PLACE_OF(struct profile_set, attributes.uid),
     .second = PLACE_OF(struct profile_set, attributes.gid),
     .has = PLACE_OF(struct profile_set, attributes.has_owner),
     .help = "numbers of user and group, like \"0:33\""},
    {.name = NULL},
};

static const struct shape set_shape = {
    .noun = "a path of 'set'",
    .fields = set_fields,
    .size = sizeof(struct profile_set),
    .mark = PLACE_OF(struct profile_set, mark),
    .key = PLACE_OF(struct profile_set, path),
    .key_name = "PATH",
    .key_check = profile_image_path,
    .any_of = NAMES("mode", "owner"),
};

static const struct field file_fields[] = {
    {.name = "content",
     .type = FIELD_BYTES,
     .value = PLACE_OF(struct profile_file, content),
     .second = PLACE_OF(struct profile_file, content_size),
     .help = "makes a file of this text"},
    {.name = "symlink",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile_file, symlink),
     .check = check_symlink,
     .help = "makes a symbolic link to this path"},
    {.name = "directory",
     .type = FIELD_TRUE,
     .value = PLACE_OF(struct profile_file, directory),
     .help = "makes a directory"},
    {.name = "remove",
     .type = FIELD_TRUE,
     .value = PLACE_OF(struct profile_file, remove),
     .help = "removes what lower layers have there"},
    {.name = "mode",
     .type = FIELD_MODE,
     .value = PLACE_OF(struct profile_file, attributes.mode),
     .has = PLACE_OF(struct profile_file, attributes.has_mode),
     .with = NAMES("content", "directory"),
     .standard = "0644, for a directory 0755",
     .help = "permissions, octal, like \"0640\""},
    {.name = "owner",
     .type = FIELD_OWNER,
     .value = PLACE_OF(struct profile_file, attributes.uid),
     .second = PLACE_OF(struct profile_file, attributes.gid),
     .has = PLACE_OF(struct profile_file, attributes.has_owner),
     .with = NAMES("content", "symlink", "directory"),
     .standard = "0:0",
     .help = "numbers of user and group, like \"0:33\""},
    {.name = NULL},
};

static const struct shape file_shape = {
    .noun = "a path of 'files'",
    .fields = file_fields,
    .size = sizeof(struct profile_file),
    .mark = PLACE_OF(struct profile_file, mark),
    .key = PLACE_OF(struct profile_file, path),
    .key_name = "PATH",
    .key_check = profile_image_path,
    .one_of = NAMES("content", "symlink", "directory", "remove"),
};

/* The one value of a row of 'mount'. */
static const struct field mount_fields[] = {
    {.name = "mount",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile_mount, target),
     .check = check_step_mount},
    {.name = NULL},
};

static const struct shape mount_shape = {
    .noun = "a row of 'mount'",
    .fields = mount_fields,
    .size = sizeof(struct profile_mount),
    .mark = PLACE_OF(struct profile_mount, mark),
    .key = PLACE_OF(struct profile_mount, name),
    .key_name = "DIRECTORY",
    .key_check = check_host_path,
};

static const struct field layer_fields[] = {
    {.name = "archive",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile_layer, name),
     .check = check_host_path,
     .help = "a tar or cpio archive with any compression, or an OCI image (layout or docker save)"},
    {.name = "directory",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile_layer, name),
     .check = check_host_path,
     .help = "a directory of files, taken as git would keep it"},
    {.name = "files",
     .type = FIELD_MAP,
     .value = PLACE_OF(struct profile_layer, files),
     .second = PLACE_OF(struct profile_layer, file_count),
     .shape = &file_shape,
     .help = "files written here in the profile, by their paths in the image"},
    {.name = "packages",
     .type = FIELD_STRINGS, /* patterns, which check.c turns into files */
     .filled = true,
     .check = check_host_path,
     .help = "files, patterns or directories of .deb or .rpm packages that the image's own manager "
             "installs"},
    {.name = "run",
     .type = FIELD_BYTES,
     .value = PLACE_OF(struct profile_layer, script),
     .second = PLACE_OF(struct profile_layer, script_size),
     .check = check_script,
     .help = "a script that runs as root in the image: its file, or its text as a block scalar"},
    {.name = "sha256",
     .type = FIELD_SHA256,
     .value = PLACE_OF(struct profile_layer, sha256),
     .mark = PLACE_OF(struct profile_layer, sha256_mark),
     .has = PLACE_OF(struct profile_layer, has_sha256),
     .with = NAMES("archive", "directory"),
     .help = "what the archive's bytes, or the directory's normal form, must digest to"},
    {.name = "to",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile_layer, to),
     .with = NAMES("directory"),
     .check = profile_image_path,
     .standard = "/",
     .help = "where in the image the directory goes"},
    {.name = "set",
     .type = FIELD_MAP,
     .value = PLACE_OF(struct profile_layer, sets),
     .second = PLACE_OF(struct profile_layer, set_count),
     .with = NAMES("directory"),
     .shape = &set_shape,
     .help = "modes and owners other than git keeps, by path in the image"},
    {.name = "mount",
     .type = FIELD_PAIRS,
     .value = PLACE_OF(struct profile_layer, mounts),
     .second = PLACE_OF(struct profile_layer, mount_count),
     .with = NAMES("run"),
     .shape = &mount_shape,
     .help = "directories that the script may read, and where in the image it finds them"},
    {.name = "timeout",
     .type = FIELD_DURATION,
     .value = PLACE_OF(struct profile_layer, timeout_s),
     .with = NAMES("packages", "run"),
     .standard = "30min",
     .help = "how long it may take, like 90s, 30min or 2h; at most 24h"},
    {.name = "memory",
     .type = FIELD_SIZE,
     .value = PLACE_OF(struct profile_layer, memory_bytes),
     .with = NAMES("packages", "run"),
     .standard = "1GiB",
     .help = "how much memory it may use, from 64MiB to 64GiB"},
    {.name = "leave_out",
     .type = FIELD_STRINGS,
     .value = PLACE_OF(struct profile_layer, leave_out),
     .second = PLACE_OF(struct profile_layer, leave_out_count),
     .has = PLACE_OF(struct profile_layer, has_leave_out),
     .with = NAMES("packages", "run"),
     .check = check_leave_out,
     .standard = "what only carries noise",
     .help = "patterns of paths whose changes are not kept, like /var/log/*.log or /var/cache/"},
    {.name = NULL},
};

static const struct shape layer_shape = {
    .noun = "a layer",
    .fields = layer_fields,
    .size = sizeof(struct profile_layer),
    .mark = PLACE_OF(struct profile_layer, mark),
    .one_of = NAMES("archive", "directory", "files", "packages", "run"),
};

static const struct field partition_fields[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .required = true,
     .value = PLACE_OF(struct profile_partition, name),
     .check = check_partition_name,
     .help = "what the partition is called, also in the partition table"},
    {.name = "type",
     .type = FIELD_WORD,
     .required = true,
     .value = PLACE_OF(struct profile_partition, type),
     .words = partition_type_words,
     .help = "bios-boot, esp, root or data"},
    {.name = "size",
     .type = FIELD_SIZE,
     .required = true,
     .rest = true,
     .value = PLACE_OF(struct profile_partition, size_bytes),
     .mark = PLACE_OF(struct profile_partition, size_mark),
     .help = "whole MiB, or 'rest' for all that is left"},
    {.name = "filesystem",
     .type = FIELD_WORD,
     .value = PLACE_OF(struct profile_partition, filesystem),
     .words = filesystem_words,
     .help = "ext4, xfs or btrfs for root, vfat for esp, any or none for data"},
    {.name = "mount",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile_partition, mount),
     .mark = PLACE_OF(struct profile_partition, mount_mark),
     .check = check_mount,
     .help = "where it is mounted; '/' for root"},
    {.name = NULL},
};

static const struct shape partition_shape = {
    .noun = "a partition",
    .fields = partition_fields,
    .size = sizeof(struct profile_partition),
    .mark = PLACE_OF(struct profile_partition, mark),
};

static const struct field disk_fields[] = {
    {.name = "size",
     .type = FIELD_SIZE,
     .value = PLACE_OF(struct profile, disk_size_bytes),
     .mark = PLACE_OF(struct profile, disk_size_mark),
     .standard = "4GiB",
     .help = "of the disk, rounded up to whole GiB, which every cloud can start"},
    {.name = "inodes",
     .type = FIELD_COUNT,
     .value = PLACE_OF(struct profile, inodes),
     .standard = "what mke2fs chooses for the size",
     .help = "how many files an ext4 root file system has room for"},
    {.name = "formats",
     .type = FIELD_WORDS,
     .filled = true,
     .value = PLACE_OF(struct profile, formats),
     .mark = PLACE_OF(struct profile, formats_mark),
     .words = format_words,
     .standard = "[raw, qcow2]",
     .help = "the disk files to write; disk.raw is always there"},
    {.name = "qcow2_compression",
     .type = FIELD_WORD,
     .value = PLACE_OF(struct profile, qcow2_compression),
     .words = compression_words,
     .standard = "zlib",
     .help = "zlib, which every QEMU reads, or zstd, smaller and sooner read, from QEMU 5.1 on"},
    {.name = "firmware",
     .type = FIELD_WORDS,
     .value = PLACE_OF(struct profile, firmware),
     .mark = PLACE_OF(struct profile, firmware_mark),
     .words = firmware_words,
     .standard = "[bios, uefi], on aarch64 [uefi]",
     .help = "what the disk starts under; [] for a disk that need not start"},
    {.name = "kernel_command_line",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile, kernel_command_line),
     .check = check_command_line,
     .standard = "console=tty0 console=ttyS0, on aarch64 console=tty0 console=ttyAMA0",
     .help = "what the kernel is started with, besides root="},
    {.name = "engine",
     .type = FIELD_WORD,
     .value = PLACE_OF(struct profile, engine),
     .words = engine_words,
     .standard = "auto",
     .help = "what writes the file systems"},
    {.name = "partitions",
     .type = FIELD_LIST,
     .filled = true,
     .value = PLACE_OF(struct profile, partitions),
     .second = PLACE_OF(struct profile, partition_count),
     .shape = &partition_shape,
     .standard = "bios-boot of 1MiB, esp of 64MiB at /boot/efi, ext4 root of the rest",
     .help = "in the order of the disk, root last"},
    {.name = NULL},
};

static const struct shape disk_shape = {.noun = "the disk", .fields = disk_fields};

static const struct field profile_rows[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .required = true,
     .value = PLACE_OF(struct profile, name),
     .check = profile_check_name,
     .help = "what the image is called"},
    {.name = "version",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile, version),
     .check = profile_check_version,
     .standard = "0",
     .help = "the image's version"},
    {.name = "architecture",
     .type = FIELD_WORD,
     .required = true,
     .value = PLACE_OF(struct profile, architecture),
     .mark = PLACE_OF(struct profile, architecture_mark),
     .words = architecture_words,
     .help = "x86_64 or aarch64"},
    {.name = "extends",
     .type = FIELD_STRING, /* which extends.c follows */
     .check = check_host_path,
     .help = "a profile to start from, into which this one is merged"},
    {.name = "seed",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct profile, seed),
     .check = check_seed,
     .standard = "NAME/ARCHITECTURE",
     .help = "what every identifier on the disk is derived from"},
    {.name = "epoch",
     .type = FIELD_TIME,
     .value = PLACE_OF(struct profile, epoch),
     .has = PLACE_OF(struct profile, has_epoch),
     .standard = "SOURCE_DATE_EPOCH, else the newest time in the archives",
     .help = "no file in the image is newer, like 2026-11-01T00:00:00Z"},
    {.name = "layers",
     .type = FIELD_LIST,
     .required = true,
     .filled = true,
     .value = PLACE_OF(struct profile, layers),
     .second = PLACE_OF(struct profile, layer_count),
     .mark = PLACE_OF(struct profile, layers_mark),
     .shape = &layer_shape,
     .help = "what goes into the image, bottom first"},
    {.name = "disk",
     .type = FIELD_STRUCT,
     .shape = &disk_shape,
     .help = "the disk and its partitions"},
    {.name = "tests", .type = FIELD_UNSUPPORTED, .help = "what must hold in the running image"},
    {.name = "check", .type = FIELD_UNSUPPORTED, .help = "findings to allow"},
    {.name = "targets",
     .type = FIELD_TARGETS,
     .help = "where to publish the image, by names of your own"},
    {.name = NULL},
};

const struct shape profile_shape = {.noun = "a profile", .fields = profile_rows};
