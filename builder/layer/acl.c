/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/acl.h"

#include <archive_entry.h>
#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"

struct ace {
    uint16_t tag;
    uint16_t perm;
    uint32_t id;
};

static size_t ace_count(size_t size)
{
    return (size - sizeof(struct posix_acl_xattr_header)) / sizeof(struct posix_acl_xattr_entry);
}

static struct ace ace_at(const void *value, size_t i)
{
    struct posix_acl_xattr_entry raw;

    memcpy(&raw, (const char *)value + sizeof(struct posix_acl_xattr_header) + i * sizeof(raw),
           sizeof(raw));
    return (struct ace){le16toh(raw.e_tag), le16toh(raw.e_perm), le32toh(raw.e_id)};
}

static int ace_compare(const void *left, const void *right)
{
    const struct ace *a = left, *b = right;

    if (a->tag != b->tag) {
        return a->tag < b->tag ? -1 : 1;
    }
    return a->id < b->id ? -1 : a->id > b->id;
}

static void encode(struct ace *aces, size_t count, struct buf *ret)
{
    struct posix_acl_xattr_header header = {htole32(POSIX_ACL_XATTR_VERSION)};

    qsort(aces, count, sizeof(*aces), ace_compare);
    buf_add(ret, &header, sizeof(header));
    for (size_t i = 0; i < count; i++) {
        struct posix_acl_xattr_entry raw = {htole16(aces[i].tag), htole16(aces[i].perm),
                                            htole32(aces[i].id)};

        buf_add(ret, &raw, sizeof(raw));
    }
}

int acl_check(const void *value, size_t size, struct error *err)
{
    struct posix_acl_xattr_header header;
    struct ace last = {0};
    unsigned seen = 0;

    if (size < sizeof(header) ||
        (size - sizeof(header)) % sizeof(struct posix_acl_xattr_entry) != 0) {
        return fail(err, FAIL_ERROR, "an ACL of %zu bytes is none", size);
    }
    memcpy(&header, value, sizeof(header));
    if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION) {
        return fail(err, FAIL_ERROR, "an ACL of unknown version %u", le32toh(header.a_version));
    }
    for (size_t i = 0; i < ace_count(size); i++) {
        struct ace ace = ace_at(value, i);
        bool named = ace.tag == ACL_USER || ace.tag == ACL_GROUP;

        if (ace.tag == 0 || ace.tag > ACL_OTHER || (ace.tag & (ace.tag - 1)) != 0 || ace.perm > 7 ||
            named != (ace.id != (uint32_t)ACL_UNDEFINED_ID)) {
            return fail(err, FAIL_ERROR, "an ACL entry that Linux does not know");
        }
        if (i != 0 && ace_compare(&last, &ace) >= 0) {
            return fail(err, FAIL_ERROR, "an ACL with double or unsorted entries");
        }
        last = ace;
        seen |= ace.tag;
    }
    if ((seen & (ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER)) !=
            (ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER) ||
        ((seen & (ACL_USER | ACL_GROUP)) != 0 && (seen & ACL_MASK) == 0)) {
        return fail(err, FAIL_ERROR, "an ACL without its owner, group, mask or other entry");
    }
    return 0;
}

/* One entry of libarchive's list. */
static int from_archive_one(int tag, int permset, int id, const char *name, struct ace *ret,
                            struct error *err)
{
    static const struct {
        int archive;
        uint16_t kernel;
        bool named;
    } tags[] = {
        {ARCHIVE_ENTRY_ACL_USER_OBJ, ACL_USER_OBJ, false},
        {ARCHIVE_ENTRY_ACL_USER, ACL_USER, true},
        {ARCHIVE_ENTRY_ACL_GROUP_OBJ, ACL_GROUP_OBJ, false},
        {ARCHIVE_ENTRY_ACL_GROUP, ACL_GROUP, true},
        {ARCHIVE_ENTRY_ACL_MASK, ACL_MASK, false},
        {ARCHIVE_ENTRY_ACL_OTHER, ACL_OTHER, false},
    };

    for (size_t i = 0; i < COUNT(tags); i++) {
        if (tags[i].archive != tag) {
            continue;
        }
        if (tags[i].named && id < 0) {
            fail(err, FAIL_ERROR, "an ACL names '%s' without a number", name == NULL ? "" : name);
            return fail_hint(err, "pack it with bsdtar, which adds the number (GNU tar writes only "
                                  "the name), or without ACLs");
        }
        /* libarchive keeps ids as int, and what is larger as the largest. */
        if (tags[i].named && id == INT_MAX) {
            return fail(err, FAIL_ERROR, "an ACL for an id of 2147483647 or more cannot be read");
        }
        *ret = (struct ace){tags[i].kernel, (uint16_t)(permset & 7),
                            tags[i].named ? (uint32_t)id : (uint32_t)ACL_UNDEFINED_ID};
        return 0;
    }
    return fail(err, FAIL_ERROR, "an ACL entry of unknown kind %d", tag);
}

int acl_from_archive(struct archive_entry *entry, int type, struct buf *ret, struct error *err)
{
    SCOPED_FREE struct ace *aces = NULL;
    size_t count = 0, space = 0;
    int found, permset, tag, id;
    const char *name;

    if (archive_entry_acl_reset(entry, type) == 0) {
        return 0;
    }
    while (archive_entry_acl_next(entry, type, &found, &permset, &tag, &id, &name) == 0) {
        grow(&aces, count, &space, sizeof(*aces));
        if (from_archive_one(tag, permset, id, name, &aces[count], err) < 0) {
            return -1;
        }
        count++;
    }
    if (count == 0) {
        return 0;
    }
    encode(aces, count, ret);
    return acl_check(ret->data, ret->size, err);
}

uint32_t acl_mode(const void *value, size_t size, uint32_t mode)
{
    uint32_t user = 0, group = 0, other = 0;

    for (size_t i = 0; i < ace_count(size); i++) {
        struct ace ace = ace_at(value, i);

        if (ace.tag == ACL_USER_OBJ) {
            user = ace.perm;
        } else if (ace.tag == ACL_GROUP_OBJ || ace.tag == ACL_MASK) {
            /* The mask comes later in the order, and is what the mode's group bits show. */
            group = ace.perm;
        } else if (ace.tag == ACL_OTHER) {
            other = ace.perm;
        }
    }
    return (mode & 07000) | user << 6 | group << 3 | other;
}

void acl_text(const void *value, size_t size, struct buf *ret)
{
    for (size_t i = 0; i < ace_count(size); i++) {
        struct ace ace = ace_at(value, i);
        const char *word = ace.tag == ACL_USER_OBJ || ace.tag == ACL_USER     ? "user"
                           : ace.tag == ACL_GROUP_OBJ || ace.tag == ACL_GROUP ? "group"
                           : ace.tag == ACL_MASK                              ? "mask"
                                                                              : "other";

        buf_printf(ret, "%s%s:", i == 0 ? "" : ",", word);
        if (ace.tag == ACL_USER || ace.tag == ACL_GROUP) {
            buf_printf(ret, "%u", ace.id);
        }
        buf_printf(ret, ":%c%c%c", (ace.perm & ACL_READ) != 0 ? 'r' : '-',
                   (ace.perm & ACL_WRITE) != 0 ? 'w' : '-',
                   (ace.perm & ACL_EXECUTE) != 0 ? 'x' : '-');
    }
}
