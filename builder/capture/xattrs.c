/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/xattrs.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/le.h"
#include "layer/acl.h"

/* Documentation/filesystems/ext4/attributes.rst */
enum {
    MAGIC_SIZE = 4, /* before the entries in an inode */
    BLOCK_HEADER = 32,
    ENTRY = 16, /* without the name */
    END = 4,    /* of the list of entries: zeros */
    /* An ACL's version, entry, and entry that names nobody. */
    ACL_VERSION = 1,
    ACL_HEADER = 4,
    ACL_ENTRY = 8,
    ACL_SHORT = 4,
};
static const uint32_t MAGIC = 0xea020000;

/* By the number that stands for the namespace. */
static const char *const spaces[] = {
    [1] = "user.", [2] = ACL_ACCESS, [3] = ACL_DEFAULT, [4] = "trusted.", [6] = "security.",
};

struct list {
    struct xattr *items;
    size_t count, space;
};

/* Where entries lie, and what their values' offsets count from. */
struct area {
    const uint8_t *base, *entries, *end;
};

static int fail_format(struct error *err)
{
    return fail(err, FAIL_ERROR, "its extended attributes make no sense");
}

/* --- ACLs ------------------------------------------------------------------------------------ */

static int by_tag(const void *a, const void *b)
{
    const struct posix_acl_xattr_entry *x = a, *y = b;
    uint16_t x_tag = le16toh(x->e_tag), y_tag = le16toh(y->e_tag);
    uint32_t x_id = le32toh(x->e_id), y_id = le32toh(y->e_id);

    return x_tag != y_tag ? (x_tag < y_tag ? -1 : 1) : x_id < y_id ? -1 : x_id > y_id;
}

/* Into the form that the kernel takes; its order of ids is whatever somebody set. */
static int read_acl(const uint8_t *value, size_t size, struct buf *ret, struct error *err)
{
    struct posix_acl_xattr_header header = {htole32(POSIX_ACL_XATTR_VERSION)};
    const uint8_t *at = value + ACL_HEADER, *end = value + size;

    if (size < ACL_HEADER || get32(value) != ACL_VERSION) {
        return fail_format(err);
    }
    buf_add(ret, &header, sizeof(header));
    while (at < end) {
        struct posix_acl_xattr_entry entry = {.e_id = htole32((uint32_t)ACL_UNDEFINED_ID)};
        bool named = end - at >= ACL_SHORT && (get16(at) == ACL_USER || get16(at) == ACL_GROUP);
        int length = named ? ACL_ENTRY : ACL_SHORT;

        if (end - at < length) {
            return fail_format(err);
        }
        memcpy(&entry, at, (size_t)length);
        buf_add(ret, &entry, sizeof(entry));
        at += length;
    }
    qsort(ret->data + sizeof(header), (ret->size - sizeof(header)) / ACL_ENTRY, ACL_ENTRY, by_tag);
    return acl_check(ret->data, ret->size, err);
}

/* --- entries --------------------------------------------------------------------------------- */

static int add_entry(struct list *list, const uint8_t *entry, const uint8_t *value, size_t size,
                     struct error *err)
{
    size_t length = entry[0], index = entry[1];
    const char *space = index < COUNT(spaces) ? spaces[index] : NULL;
    bool acl = index == 2 || index == 3;
    SCOPED(buf_done) struct buf bytes = {0};

    if (space == NULL) {
        return fail(err, FAIL_ERROR, "an extended attribute of unknown kind %zu", index);
    }
    if ((length == 0) != acl || memchr(entry + ENTRY, '\0', length) != NULL) {
        return fail_format(err);
    }
    if (acl && read_acl(value, size, &bytes, err) < 0) {
        return -1;
    }
    if (!acl) {
        buf_add(&bytes, value, size);
    }
    grow(&list->items, list->count, &list->space, sizeof(*list->items));
    list->items[list->count++] = (struct xattr){
        xprintf("%s%.*s", space, (int)length, (const char *)entry + ENTRY),
        xmemdup(bytes.data, bytes.size),
        bytes.size,
    };
    return 0;
}

static int read_entries(struct list *list, const struct area *area, struct error *err)
{
    const uint8_t *at = area->entries;

    while (area->end - at >= END && get32(at) != 0) {
        size_t room = (size_t)(area->end - area->base), offset, size;
        ptrdiff_t length;

        if (area->end - at < ENTRY) {
            return fail_format(err);
        }
        length = ENTRY + ((at[0] + 3) & ~3);
        offset = get16(at + 2);
        size = get32(at + 8);
        if (area->end - at < length || get32(at + 4) != 0 || offset > room ||
            size > room - offset) {
            return fail_format(err);
        }
        if (add_entry(list, at, area->base + offset, size, err) < 0) {
            return -1;
        }
        at += length;
    }
    return area->end - at >= END ? 0 : fail_format(err);
}

static int read_inline(struct list *list, const struct scratch_inode *inode, struct error *err)
{
    const uint8_t *area =
        (const uint8_t *)inode + EXT2_GOOD_OLD_INODE_SIZE + inode->fields.i_extra_isize;
    const uint8_t *end = (const uint8_t *)(inode + 1);

    if (end - area < MAGIC_SIZE || get32(area) != MAGIC) {
        return 0;
    }
    area += MAGIC_SIZE;
    return read_entries(list, &(struct area){area, area, end}, err);
}

static int read_block(struct list *list, struct scratch *scratch, uint64_t number,
                      struct error *err)
{
    SCOPED_FREE uint8_t *block = xmalloc(VOLUME_BLOCK);

    if (number == 0) {
        return 0;
    }
    if (scratch_block(scratch, number, block, err) < 0) {
        return -1;
    }
    if (get32(block) != MAGIC || get32(block + 8) != 1) {
        return fail_format(err);
    }
    return read_entries(list, &(struct area){block, block + BLOCK_HEADER, block + VOLUME_BLOCK},
                        err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct xattr *)a)->name, ((const struct xattr *)b)->name);
}

static int sort(struct list *list, struct error *err)
{
    if (list->count != 0) {
        qsort(list->items, list->count, sizeof(*list->items), by_name);
    }
    for (size_t i = 1; i < list->count; i++) {
        if (by_name(&list->items[i - 1], &list->items[i]) == 0) {
            return fail_format(err);
        }
    }
    return 0;
}

int xattrs_read(struct scratch *scratch, const struct scratch_inode *inode, struct xattr **ret,
                size_t *ret_count, struct error *err)
{
    uint64_t block =
        (uint64_t)inode->fields.osd2.linux2.l_i_file_acl_high << 32 | inode->fields.i_file_acl;
    struct list list = {0};

    if (read_inline(&list, inode, err) < 0 || read_block(&list, scratch, block, err) < 0 ||
        sort(&list, err) < 0) {
        xattrs_free(list.items, list.count);
        return -1;
    }
    *ret = list.items;
    *ret_count = list.count;
    return 0;
}

void xattrs_free(struct xattr *xattrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(xattrs[i].name);
        free(xattrs[i].value);
    }
    free(xattrs);
}
