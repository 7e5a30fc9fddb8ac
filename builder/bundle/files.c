/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/files.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

struct index {
    FILE *file;
    const char *name;
    struct buf line;
};

/* mtree's own words for the types (mtree(5), "type"). */
static const char *type_name(enum entry_type type)
{
    switch (type) {
    case ENTRY_FILE:
    case ENTRY_HARDLINK:
        return "file";
    case ENTRY_DIRECTORY:
        return "dir";
    case ENTRY_SYMLINK:
        return "link";
    case ENTRY_CHARACTER:
        return "char";
    case ENTRY_BLOCK:
        return "block";
    case ENTRY_FIFO:
        return "fifo";
    }
    return "file";
}

/*
 * Blanks, controls and all but ASCII as \ooo; so what means something to a reader: the comment
 * sign, '=', the escape itself, the patterns of fnmatch(3), and the commas of our lists.
 */
static void add_escaped(struct buf *buf, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0'; s++) {
        if (*s <= ' ' || *s >= 0x7f || strchr("#=\\*?[,", *s) != NULL) {
            buf_printf(buf, "\\%03o", *s);
        } else {
            buf_putc(buf, (char)*s);
        }
    }
}

static void add_path(struct buf *buf, const struct node *node)
{
    SCOPED(buf_done) struct buf path = {0};

    node_path(node, &path);
    if (strcmp(path.data, ".") != 0) {
        buf_puts(buf, "./");
    }
    add_escaped(buf, path.data);
}

static void add_base64(struct buf *buf, const struct xattr *xattr)
{
    size_t space = (xattr->size + 2) / 3 * 4;
    char *end = buf_reserve(buf, space);

    if (xattr->size != 0) {
        (void)EVP_EncodeBlock((unsigned char *)end, xattr->value, (int)xattr->size);
        buf->size += space;
    }
}

static void add_tags(struct buf *buf, const struct node *node)
{
    const struct inode *inode = node->inode;

    buf_printf(buf, " tags=layer:%u", inode->layer);
    for (size_t i = 0; i < inode->xattr_count; i++) {
        buf_puts(buf, ",xattr.");
        add_escaped(buf, inode->xattrs[i].name);
        buf_putc(buf, ':');
        add_base64(buf, &inode->xattrs[i]);
    }
    if (inode->links > 1 && inode->type != ENTRY_DIRECTORY && inode->first != NULL &&
        inode->first != node) {
        buf_puts(buf, ",hardlink:");
        add_path(buf, inode->first);
    }
}

static void add_type(struct buf *buf, const struct inode *inode)
{
    char hex[HASH_HEX_MAX];

    buf_printf(buf, " type=%s", type_name(inode->type));
    switch (inode->type) {
    case ENTRY_FILE:
    case ENTRY_HARDLINK:
        buf_printf(buf, " size=%llu sha256digest=%s", (unsigned long long)inode->size,
                   hash_hex(inode->sha256, hex));
        break;
    case ENTRY_SYMLINK:
        buf_puts(buf, " link=");
        add_escaped(buf, inode->target);
        break;
    case ENTRY_CHARACTER:
    case ENTRY_BLOCK:
        /* "native": the others split a number of too few bits. */
        buf_printf(buf, " device=native,%u,%u", inode->major, inode->minor);
        break;
    case ENTRY_DIRECTORY:
    case ENTRY_FIFO:
        break;
    }
}

/* Of directories the number of links is the file system's affair. */
static int write_node(void *data, struct node *node, struct error *err)
{
    struct index *index = data;
    const struct inode *inode = node->inode;

    buf_clear(&index->line);
    add_path(&index->line, node);
    add_type(&index->line, inode);
    buf_printf(&index->line, " mode=%04o uid=%u gid=%u time=%lld.%09u", inode->mode, inode->uid,
               inode->gid, (long long)inode->mtime, inode->mtime_ns);
    if (inode->type != ENTRY_DIRECTORY) {
        buf_printf(&index->line, " nlink=%u", inode->links);
    }
    add_tags(&index->line, node);
    buf_putc(&index->line, '\n');
    if (fwrite(index->line.data, 1, index->line.size, index->file) != index->line.size) {
        return fail_os(err, "write '%s'", index->name);
    }
    return 0;
}

int files_write(const struct tree *tree, const char *path, struct error *err)
{
    SCOPED_FILE FILE *file = fopen(path, "we");
    struct index index = {.file = file, .name = path};
    int result;

    if (file == NULL) {
        return fail_os(err, "create '%s'", path);
    }
    if (fputs("#mtree v2.0\n", file) < 0) {
        return fail_os(err, "write '%s'", path);
    }
    result = tree_walk(tree, write_node, &index, err);
    buf_done(&index.line);
    if (result < 0) {
        return -1;
    }
    if (fclose(TAKE(file)) != 0) {
        return fail_os(err, "write '%s'", path);
    }
    return 0;
}
