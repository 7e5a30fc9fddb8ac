/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/attributes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/le.h"
#include "base/text.h"

enum {
    MAGIC_SIZE = 4, /* before the entries in an inode */
    BLOCK_HEADER = 32,
    ENTRY = 16, /* without the name */
    END = 4,    /* of the list of entries: zeros */
    /* Versions of an ACL: the kernel's interface, and on the disk. */
    ACL_HEADER = 4,
    ACL_ENTRY = 8,
    ACL_SHORT = 4,
    ACL_USER = 2,
    ACL_GROUP = 8,
};
static const uint32_t MAGIC = 0xea020000;

/* One attribute as the disk has it. */
struct attribute {
    uint8_t index; /* of the namespace */
    const char *name;
    size_t length;
    uint8_t *value; /* owned */
    size_t size;
};

static const struct {
    const char *prefix;
    uint8_t index;
    bool whole; /* nothing follows: the index says it all */
} spaces[] = {
    {"system.posix_acl_access", 2, true},
    {"system.posix_acl_default", 3, true},
    {"user.", 1, false},
    {"trusted.", 4, false},
    {"security.", 6, false},
    {"system.", 7, false},
};

static bool find_index(const char *name, struct attribute *ret)
{
    for (size_t i = 0; i < COUNT(spaces); i++) {
        size_t length = strlen(spaces[i].prefix);

        if (spaces[i].whole ? strcmp(name, spaces[i].prefix) == 0
                            : text_starts(name, spaces[i].prefix)) {
            ret->index = spaces[i].index;
            ret->name = name + length;
            ret->length = strlen(name) - length;
            return true;
        }
    }
    return false;
}

bool attributes_are_possible(const struct inode *inode)
{
    struct attribute ignored;

    for (size_t i = 0; i < inode->xattr_count; i++) {
        if (!find_index(inode->xattrs[i].name, &ignored)) {
            return false;
        }
    }
    return true;
}

/* An ACL: only entries that name somebody have a number on the disk (fs/ext4/acl.h). */
static void put_acl(const uint8_t *value, size_t size, struct attribute *ret)
{
    uint8_t *at = ret->value = xcalloc(1, size);

    put32(at, 1);
    at += ACL_HEADER;
    for (size_t i = ACL_HEADER; i + ACL_ENTRY <= size; i += ACL_ENTRY) {
        uint16_t tag = get16(value + i);

        memcpy(at, value + i, ACL_SHORT);
        at += ACL_SHORT;
        if (tag == ACL_USER || tag == ACL_GROUP) {
            memcpy(at, value + i + ACL_SHORT, 4);
            at += 4;
        }
    }
    ret->size = (size_t)(at - ret->value);
}

static struct attribute convert(const struct xattr *xattr)
{
    struct attribute attribute = {0};

    (void)find_index(xattr->name, &attribute);
    if (attribute.index == 2 || attribute.index == 3) {
        put_acl(xattr->value, xattr->size, &attribute);
    } else {
        attribute.value = xmemdup(xattr->value, xattr->size);
        attribute.size = xattr->size;
    }
    return attribute;
}

/* The order that Linux searches a block in. */
static int by_key(const void *a, const void *b)
{
    const struct attribute *x = a, *y = b;

    if (x->index != y->index) {
        return x->index < y->index ? -1 : 1;
    }
    if (x->length != y->length) {
        return x->length < y->length ? -1 : 1;
    }
    return memcmp(x->name, y->name, x->length);
}

static size_t pad(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

static size_t cost(const struct attribute *attribute)
{
    return ENTRY + pad(attribute->length) + pad(attribute->size);
}

struct shared_out {
    struct attribute *items; /* those for the inode first, both parts in order */
    size_t count, inside;
};

static void attributes_done(struct shared_out *attributes)
{
    for (size_t i = 0; i < attributes->count; i++) {
        free(attributes->items[i].value);
    }
    free(attributes->items);
}

/* In order, each into the inode that still fits there. */
static void share_out(const struct inode *inode, struct shared_out *ret)
{
    SCOPED_FREE struct attribute *all = xcalloc(inode->xattr_count, sizeof(*all));
    size_t room = ATTRIBUTES_INLINE - MAGIC_SIZE - END, rest = 0;
    struct attribute *outside = xcalloc(inode->xattr_count, sizeof(*outside));

    *ret = (struct shared_out){.items = xcalloc(inode->xattr_count, sizeof(*ret->items))};
    for (size_t i = 0; i < inode->xattr_count; i++) {
        all[i] = convert(&inode->xattrs[i]);
    }
    if (inode->xattr_count != 0) {
        qsort(all, inode->xattr_count, sizeof(*all), by_key);
    }
    for (size_t i = 0; i < inode->xattr_count; i++) {
        if (cost(&all[i]) <= room) {
            room -= cost(&all[i]);
            ret->items[ret->count++] = all[i];
        } else {
            outside[rest++] = all[i];
        }
    }
    ret->inside = ret->count;
    memcpy(ret->items + ret->count, outside, rest * sizeof(*outside));
    ret->count += rest;
    free(outside);
}

bool attributes_need_block(const struct inode *inode)
{
    SCOPED(attributes_done) struct shared_out attributes = {0};

    if (inode->xattr_count == 0) {
        return false;
    }
    share_out(inode, &attributes);
    return attributes.inside < attributes.count;
}

/* ext4_xattr_hash_entry: of the name, and of the value in words of four bytes. */
static uint32_t hash_attribute(const struct attribute *attribute)
{
    uint32_t hash = 0;

    for (size_t i = 0; i < attribute->length; i++) {
        hash = hash << 5 ^ hash >> 27 ^ (uint8_t)attribute->name[i];
    }
    for (size_t i = 0; i < pad(attribute->size); i += 4) {
        uint8_t word[4] = {0};
        size_t left = attribute->size - i;

        memcpy(word, attribute->value + i, left < 4 ? left : 4);
        hash = hash << 16 ^ hash >> 16 ^ get32(word);
    }
    return hash;
}

/*
 * Entries from ENTRIES on, values from the end of AREA down; offsets count from BASE. The hashes
 * are a block's only, an inode's are 0.
 */
static void put_entries(const struct attribute *items, size_t count, uint8_t *entries,
                        const uint8_t *base, uint8_t *end, bool hashed)
{
    for (size_t i = 0; i < count; i++) {
        const struct attribute *item = &items[i];

        end -= pad(item->size);
        assert(entries + ENTRY + pad(item->length) + END <= end);
        if (item->size != 0) {
            memcpy(end, item->value, item->size);
        }
        entries[0] = (uint8_t)item->length;
        entries[1] = item->index;
        put16(entries + 2, item->size != 0 ? (uint32_t)(end - base) : 0);
        put32(entries + 8, (uint32_t)item->size);
        put32(entries + 12, hashed ? hash_attribute(item) : 0);
        memcpy(entries + ENTRY, item->name, item->length);
        entries += ENTRY + pad(item->length);
    }
}

void attributes_put_inline(const struct inode *inode, uint8_t area[ATTRIBUTES_INLINE])
{
    SCOPED(attributes_done) struct shared_out attributes = {0};

    memset(area, 0, ATTRIBUTES_INLINE);
    if (inode->xattr_count == 0) {
        return;
    }
    share_out(inode, &attributes);
    if (attributes.inside != 0) {
        put32(area, MAGIC);
        put_entries(attributes.items, attributes.inside, area + MAGIC_SIZE, area + MAGIC_SIZE,
                    area + ATTRIBUTES_INLINE, false);
    }
}

void attributes_put_block(const struct volume *volume, const struct inode *inode, uint64_t block,
                          uint8_t bytes[VOLUME_BLOCK])
{
    SCOPED(attributes_done) struct shared_out attributes = {0};
    uint32_t hash = 0;

    share_out(inode, &attributes);
    memset(bytes, 0, VOLUME_BLOCK);
    put_entries(attributes.items + attributes.inside, attributes.count - attributes.inside,
                bytes + BLOCK_HEADER, bytes, bytes + VOLUME_BLOCK, true);
    for (size_t i = attributes.inside; i < attributes.count; i++) {
        uint32_t one = hash_attribute(&attributes.items[i]);

        if (one == 0) { /* Linux does not share a block with such an entry */
            hash = 0;
            break;
        }
        hash = hash << 16 ^ hash >> 16 ^ one;
    }
    put32(bytes, MAGIC);
    put32(bytes + 4, 1); /* inodes that use it */
    put32(bytes + 8, 1); /* its blocks */
    put32(bytes + 12, hash);
    volume_seal_attributes(volume, block, bytes);
}
