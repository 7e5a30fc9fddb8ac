/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer is made of: one entry at a time, whatever it was packed in. */
#ifndef LAYER_ENTRY_H
#define LAYER_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#define WHITEOUT ".wh." /* begins the name of what removes the file with the rest of its name */

enum entry_type {
    ENTRY_FILE,
    ENTRY_DIRECTORY,
    ENTRY_SYMLINK,
    ENTRY_HARDLINK,
    ENTRY_CHARACTER,
    ENTRY_BLOCK,
    ENTRY_FIFO,
};

/*
 * One extended attribute, the name with its namespace. POSIX ACLs are the attributes
 * "system.posix_acl_access" and "system.posix_acl_default" with the value the kernel takes
 * (linux/posix_acl_xattr.h, version 2, numeric ids, entries sorted).
 */
struct xattr {
    char *name;
    void *value;
    size_t size;
};

struct entry {
    const char *path; /* as the source has it: unchecked bytes, not empty, no NUL */
    enum entry_type type;
    uint32_t mode; /* permission, setuid, setgid and sticky bits */
    uint32_t uid, gid;
    int64_t mtime;
    uint32_t mtime_ns;
    uint32_t major, minor; /* devices */
    uint64_t size;         /* files: apparent size; hard links: that of data they bring, or 0 */
    const char *target;    /* symlinks: the text; hard links: a path as in PATH */
    const struct xattr *xattrs; /* sorted by name, each once */
    size_t xattr_count;
};

/* The first whole second at or after the time of ENTRY. */
static inline int64_t entry_time_up(const struct entry *entry)
{
    return entry->mtime + (entry->mtime_ns > 0 && entry->mtime < INT64_MAX);
}

#endif
