/* SPDX-License-Identifier: Apache-2.0 */
/* disk_check: what the file systems of a plan cannot hold. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/text.h"
#include "disk/disk.h"
#include "disk/ext4.h"

static int refuse(const struct disk *disk, const struct node *node, struct error *err,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

static int refuse(const struct disk *disk, const struct node *node, struct error *err,
                  const char *format, ...)
{
    SCOPED(buf_done) struct buf path = {0};
    char reason[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    node_path(node, &path);
    return fail(err, FAIL_ERROR, "layer '%s': '%s': %s", stack_owner(disk->stack, node->inode),
                path.data, reason);
}

/* FAT knows files and directories, and nobody owns them. */
static int check_vfat(const struct disk *disk, const struct plan_partition *home,
                      const struct node *node, struct error *err)
{
    const struct inode *inode = node->inode;
    const char *what = inode->type == ENTRY_SYMLINK ? "a symlink"
                       : inode->type != ENTRY_FILE && inode->type != ENTRY_DIRECTORY
                           ? "a special file"
                       : inode->xattr_count != 0            ? "an extended attribute"
                       : inode->uid != 0 || inode->gid != 0 ? "an owner other than 0:0"
                       : inode->links > 1                   ? "a hard link"
                       : inode->size > UINT32_MAX           ? "a file of 4 GiB or more"
                       : inode->extent_count != 0 || (inode->size != 0 && inode->data_bytes == 0)
                           ? "a file with holes"
                           : NULL;

    if (what == NULL) {
        return 0;
    }
    return refuse(disk, node, err, "%s cannot be kept on partition '%s', which is vfat", what,
                  home->spec->name);
}

/* --- extended attributes ----------------------------------------------------------------- */

/* ext4 stores names without their namespace, which is a number. */
static size_t bare_length(const char *name)
{
    const char *dot = strchr(name, '.');

    return text_starts(name, "system.") ? 0 : strlen(dot != NULL ? dot + 1 : name);
}

/* What Linux lets a file of this type have (xattr(7)); the tar in the appliance would drop it. */
static int check_name(const struct disk *disk, const struct node *node, const struct xattr *xattr,
                      struct error *err)
{
    const struct inode *inode = node->inode;

    if (text_starts(xattr->name, "user.") && inode->type != ENTRY_FILE &&
        inode->type != ENTRY_DIRECTORY) {
        return refuse(disk, node, err,
                      "extended attribute '%.64s': only files and directories have user.*",
                      xattr->name);
    }
    if (text_starts(xattr->name, "system.") &&
        strcmp(xattr->name, "system.posix_acl_access") != 0 &&
        strcmp(xattr->name, "system.posix_acl_default") != 0) {
        return refuse(disk, node, err,
                      "extended attribute '%.64s': of system.* only ACLs can be kept", xattr->name);
    }
    return 0;
}

/*
 * ext4: one block at most (Documentation/filesystems/ext4/attributes.rst): a header of 32 bytes, 4
 * zeros, and for each 16 bytes, the name and the value, padded to 4. btrfs: each within a leaf of
 * 16 KiB, whose headers take less than 512 bytes. xfs takes what Linux takes.
 */
static int check_xattrs(const struct disk *disk, const struct plan_partition *home,
                        const struct node *node, struct error *err)
{
    const struct inode *inode = node->inode;
    size_t room = EXT4_BLOCK - 32 - 4, leaf = (16 << 10) - 512, used = 0;

    for (size_t i = 0; i < inode->xattr_count; i++) {
        const struct xattr *xattr = &inode->xattrs[i];

        if (check_name(disk, node, xattr, err) < 0) {
            return -1;
        }
        used +=
            16 + ((bare_length(xattr->name) + 3) & ~(size_t)3) + ((xattr->size + 3) & ~(size_t)3);
        if (home->spec->filesystem == FS_BTRFS && strlen(xattr->name) + xattr->size > leaf) {
            return refuse(disk, node, err,
                          "extended attribute '%.64s' of %zu bytes; btrfs has room for %zu",
                          xattr->name, xattr->size, leaf);
        }
    }
    if (home->spec->filesystem == FS_EXT4 && used > room) {
        return refuse(disk, node, err, "%zu bytes of extended attributes; ext4 has room for %zu",
                      used, room);
    }
    return 0;
}

/* --- numbers that ext4 keeps ------------------------------------------------------------- */

/*
 * Of an inode's 16 bits for links 65000 are used (EXT4_LINK_MAX), of a file's blocks all that 32
 * bits count but the last (EXT_MAX_BLOCKS).
 */
static int check_ext4(const struct disk *disk, const struct node *node, struct error *err)
{
    enum { LINKS_MAX = 65000 };
    const struct inode *inode = node->inode;
    char size[TEXT_SIZE_MAX];

    if (inode->links > LINKS_MAX) {
        return refuse(disk, node, err, "%u hard links; ext4 has room for %d", inode->links,
                      LINKS_MAX);
    }
    if (inode->size > EXT4_FILE_MAX) {
        return refuse(disk, node, err, "a file of %s; ext4 takes less than 16 TiB",
                      text_size(inode->size, size));
    }
    return 0;
}

/* Linux has 12 bits for a device's major number and 20 for the minor. */
static int check_device(const struct disk *disk, const struct node *node, struct error *err)
{
    const struct inode *inode = node->inode;

    return inode->major < 1U << 12 && inode->minor < 1U << 20
               ? 0
               : refuse(disk, node, err, "device %u:%u, which Linux cannot have", inode->major,
                        inode->minor);
}

/* --- the rest ---------------------------------------------------------------------------- */

/*
 * The times a file system can write down, seconds: ext4 34 bits from 1901, xfs with bigtime to
 * 2486, FAT to 2107 (earlier than 1980 becomes 1980).
 */
static int check_time(const struct disk *disk, const struct plan_partition *home,
                      const struct node *node, struct error *err)
{
    static const struct {
        int64_t first, last;
    } ranges[] = {
        [FS_NONE] = {INT64_MIN, INT64_MAX},  [FS_EXT4] = {INT32_MIN, 15032385535},
        [FS_XFS] = {INT32_MIN, 16299260425}, [FS_BTRFS] = {INT64_MIN, INT64_MAX},
        [FS_VFAT] = {INT64_MIN, 4354819199},
    };
    const struct inode *inode = node->inode;
    char time[TEXT_TIME_MAX];

    if (inode->untimed || (inode->mtime >= ranges[home->spec->filesystem].first &&
                           inode->mtime <= ranges[home->spec->filesystem].last)) {
        return 0;
    }
    return refuse(disk, node, err, "its time, %s, cannot be kept by %s",
                  text_time(inode->mtime, time), filesystem_name(home->spec->filesystem));
}

static int check_links(const struct disk *disk, const struct plan_partition *home,
                       const struct node *node, struct error *err)
{
    for (const struct node *name = node->inode->names; name != NULL; name = name->same) {
        SCOPED(buf_done) struct buf path = {0};

        if (disk_home(disk->plan, name, &path) != home) {
            return refuse(disk, node, err, "a hard link to '%s', on another partition", path.data);
        }
    }
    return 0;
}

/* Bytes of data by partition: more than it has is found out without looking at the disk. */
struct checking {
    const struct disk *disk;
    uint64_t *bytes;
};

static int check_room(const struct checking *checking, const struct plan_partition *home,
                      const struct node *node, struct error *err)
{
    uint64_t *bytes = &checking->bytes[home->number - 1];
    char room[TEXT_SIZE_MAX];

    if (__builtin_add_overflow(*bytes, node->inode->data_bytes, bytes) ||
        *bytes > home->size_bytes) {
        refuse(checking->disk, node, err,
               "the image does not fit: with it, partition '%s' has more than its %s",
               home->spec->name, text_size(home->size_bytes, room));
        return fail_hint(err, "raise 'size' under 'disk' in %s", checking->disk->profile->path);
    }
    return 0;
}

static int check_node(void *data, struct node *node, struct error *err)
{
    const struct checking *checking = data;
    const struct disk *disk = checking->disk;
    SCOPED(buf_done) struct buf path = {0};
    const struct plan_partition *home = disk_home(disk->plan, node, &path);
    bool first = node->inode->first == node;

    if (check_time(disk, home, node, err) < 0 ||
        (first && check_room(checking, home, node, err) < 0)) {
        return -1;
    }
    if (disk_is_vfat(disk->plan, node)) {
        return check_vfat(disk, home, node, err);
    }
    if (check_xattrs(disk, home, node, err) < 0 || check_device(disk, node, err) < 0 ||
        (home->spec->filesystem == FS_EXT4 && check_ext4(disk, node, err) < 0)) {
        return -1;
    }
    return first && node->inode->links > 1 ? check_links(disk, home, node, err) : 0;
}

int disk_check(const struct disk *disk, struct error *err)
{
    SCOPED_FREE uint64_t *bytes = xcalloc(disk->plan->partition_count, sizeof(*bytes));
    struct checking checking = {disk, bytes};

    return tree_walk(disk->stack->tree, check_node, &checking, err);
}
