/* SPDX-License-Identifier: Apache-2.0 */
/* disk_check: what the file systems of a plan cannot hold. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
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
                       : inode->extent_count != 0 || (inode->size != 0 && inode->data_bytes == 0)
                           ? "a file with holes"
                           : NULL;

    if (what == NULL) {
        return 0;
    }
    return refuse(disk, node, err, "%s cannot be kept on partition '%s', which is vfat", what,
                  home->spec->name);
}

/* Attribute names are stored without their namespace, which is a number. */
static size_t bare_length(const char *name)
{
    const char *dot = strchr(name, '.');

    return strncmp(name, "system.", 7) == 0 ? 0 : strlen(dot != NULL ? dot + 1 : name);
}

/*
 * Attributes live in one block at most (Documentation/filesystems/ext4/attributes.rst): a header
 * of 32 bytes, 4 zeros, and for each 16 bytes, the name and the value, padded to 4.
 */
static int check_ext4(const struct disk *disk, const struct node *node, struct error *err)
{
    const struct inode *inode = node->inode;
    size_t room = EXT4_BLOCK - 32 - 4, used = 0;

    for (size_t i = 0; i < inode->xattr_count; i++) {
        used += 16 + ((bare_length(inode->xattrs[i].name) + 3) & ~(size_t)3) +
                ((inode->xattrs[i].size + 3) & ~(size_t)3);
    }
    if (used > room) {
        return refuse(disk, node, err, "%zu bytes of extended attributes; ext4 has room for %zu",
                      used, room);
    }
    return 0;
}

static int check_links(const struct disk *disk, const struct plan_partition *home,
                       const struct node *node, struct error *err)
{
    for (const struct node *name = node->inode->names; name != NULL; name = name->same) {
        SCOPED(buf_done) struct buf path = {0};
        SCOPED_FREE char *absolute = NULL;

        node_path(name, &path);
        absolute = xprintf("/%s", path.data);
        if (plan_mount(disk->plan, absolute) != home) {
            return refuse(disk, node, err, "a hard link to '%s', on another partition", path.data);
        }
    }
    return 0;
}

static int check_node(void *data, struct node *node, struct error *err)
{
    const struct disk *disk = data;
    const struct inode *inode = node->inode;
    SCOPED(buf_done) struct buf path = {0};
    SCOPED_FREE char *absolute = NULL;
    const struct plan_partition *home;

    node_path(node, &path);
    absolute = node->parent == NULL ? xstrdup("/") : xprintf("/%s", path.data);
    home = plan_mount(disk->plan, absolute);
    if (disk_is_vfat(disk->plan, path.data)) {
        return check_vfat(disk, home, node, err);
    }
    /* Another file system's root must be a directory to be mounted on. */
    if (home->spec->type != PART_ROOT && strcmp(home->spec->mount, absolute) == 0 &&
        inode->type != ENTRY_DIRECTORY) {
        return refuse(disk, node, err, "partition '%s' is mounted there, so it must be a directory",
                      home->spec->name);
    }
    if (home->spec->filesystem == FS_EXT4 && check_ext4(disk, node, err) < 0) {
        return -1;
    }
    return inode->first == node && inode->links > 1 ? check_links(disk, home, node, err) : 0;
}

int disk_check(const struct disk *disk, struct error *err)
{
    return tree_walk(disk->stack->tree, check_node, (void *)disk, err);
}
