/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/attributes.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/le.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#include "image.h"

static struct xattr text(const char *name, const char *value)
{
    return (struct xattr){(char *)name, (void *)value, strlen(value)};
}

static bool needs_block(const struct xattr *xattrs, size_t count)
{
    struct inode inode = {.xattrs = (struct xattr *)xattrs, .xattr_count = count};

    return attributes_need_block(&inode);
}

static void the_inode_takes_what_fits_exactly(void **state)
{
    static char value[100];
    struct xattr one = {"user.name", value, 68}; /* 16 for the entry, 4 for the name */
    struct xattr two[] = {{"user.a", value, 24}, {"user.b", value, 24}};

    (void)state;
    assert_false(needs_block(NULL, 0));
    assert_false(needs_block(&one, 1));
    one.size = 69;
    assert_true(needs_block(&one, 1));
    one = (struct xattr){"user.names", value, 64};
    assert_false(needs_block(&one, 1));
    one.size = 65;
    assert_true(needs_block(&one, 1));
    assert_false(needs_block(two, 2));
    two[1].size = 25;
    assert_true(needs_block(two, 2));
}

/* --- judged by others ---------------------------------------------------------------------- */

static void add(struct image *image, const char *path, enum entry_type type,
                const struct xattr *xattrs, size_t count)
{
    image_add(image,
              (struct entry){.path = path,
                             .type = type,
                             .target = type == ENTRY_SYMLINK ? "to" : NULL,
                             .xattrs = xattrs,
                             .xattr_count = count},
              NULL, 0);
}

/* debugfs leaves ids out of ACL entries that need none; the kernel says -1. */
static void mend_acl(const char *name, struct buf *value)
{
    for (size_t i = 4; strncmp(name, "system.posix_acl", 16) == 0 && i + 8 <= value->size; i += 8) {
        uint8_t *entry = (uint8_t *)value->data + i;

        if (get16(entry) != 2 && get16(entry) != 8) {
            put32(entry + 4, UINT32_MAX);
        }
    }
}

/* debugfs finds these values in PATH, and no attribute besides. */
static void must_have(const struct image *image, const char *path, const struct xattr *xattrs,
                      size_t count)
{
    SCOPED_FREE char *command = xprintf("ea_list %s", path);
    SCOPED_FREE char *list = image_debugfs(image, command);
    size_t lines = 0;

    for (const char *at = list; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, count == 0 ? 0 : count + 1); /* with a heading */
    for (size_t i = 0; i < count; i++) {
        SCOPED_FREE char *get = xprintf("ea_get -f value %s %s", path, xattrs[i].name);
        SCOPED_FREE char *output = NULL;
        SCOPED(buf_done) struct buf value = {0};
        struct error err = {0};

        (void)unlink("value");
        output = image_debugfs(image, get);
        if (file_read("value", 1 << 20, &value, &err) < 0) {
            fail_msg("%s: %s: %s", path, xattrs[i].name, output);
        }
        mend_acl(xattrs[i].name, &value);
        assert_int_equal(value.size, xattrs[i].size);
        if (value.size != 0) {
            assert_memory_equal(value.data, xattrs[i].value, value.size);
        }
    }
}

static void values_of_all_namespaces_come_back(void **state)
{
    static const char capability[20] = {1, 0, 0, 2, 0, 4};
    const struct xattr few[] = {
        {"security.capability", (void *)capability, sizeof(capability)},
        text("security.selinux", "system_u:object_r:bin_t:s0"),
        text("trusted.overlay.opaque", "y"),
        text("user.empty", ""),
        text("user.long.name.that.is.not.short.at.all", "value"),
        text("user.\xc3\xbc", "\x01\xff"),
    };
    const struct xattr label = text("security.selinux", "system_u:object_r:lib_t:s0");
    struct image image;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    add(&image, "file", ENTRY_FILE, few, COUNT(few));
    add(&image, "directory", ENTRY_DIRECTORY, few, COUNT(few));
    add(&image, "symlink", ENTRY_SYMLINK, &label, 1);
    add(&image, "fifo", ENTRY_FIFO, &label, 1);
    add(&image, "plain", ENTRY_FILE, NULL, 0);
    for (size_t i = 0; i < COUNT(few); i++) {
        SCOPED_FREE char *path = xprintf("one%zu", i);

        add(&image, path, ENTRY_FILE, &few[i], 1);
    }
    image_finish(&image);
    must_have(&image, "file", few, COUNT(few));
    must_have(&image, "directory", few, COUNT(few));
    must_have(&image, "symlink", &label, 1);
    must_have(&image, "fifo", &label, 1);
    must_have(&image, "plain", NULL, 0);
    for (size_t i = 0; i < COUNT(few); i++) {
        SCOPED_FREE char *path = xprintf("one%zu", i);

        must_have(&image, path, &few[i], 1);
    }
    image_done(&image);
}

/* Sizes around each border: of the inode, of a word, of the block. */
static void values_of_all_sizes_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 3, 4, 67, 68, 69, 70, 1000, 4039, 4040};
    uint8_t value[4040];
    struct image image;

    (void)state;
    need_tool("debugfs");
    for (size_t i = 0; i < sizeof(value); i++) {
        value[i] = (uint8_t)(i * 7 + 1);
    }
    image_new(&image, "a.img", "1GiB", NULL);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct xattr one = {"user.name", value, sizes[i]};
        SCOPED_FREE char *path = xprintf("f%zu", sizes[i]);

        add(&image, path, ENTRY_FILE, &one, 1);
    }
    image_finish(&image);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct xattr one = {"user.name", value, sizes[i]};
        SCOPED_FREE char *path = xprintf("f%zu", sizes[i]);
        SCOPED_FREE char *command = xprintf("stat %s", path);
        SCOPED_FREE char *stat = NULL;

        must_have(&image, path, &one, 1);
        stat = image_debugfs(&image, command);
        assert_int_equal(strstr(stat, "File ACL: 0\n") != NULL, sizes[i] <= 68);
    }
    image_done(&image);
}

/* Entries of a block lie by index, length and name: Linux searches no further than it must. */
static void a_block_is_in_order_and_sealed(void **state)
{
    static char value[60];
    const struct xattr many[] = {
        {"security.a", value, 60},  {"security.bb", value, 60}, {"trusted.zz", value, 60},
        {"trusted.zzz", value, 60}, {"user.aaa", value, 60},    {"user.b", value, 60},
        {"user.c", value, 60},
    };
    static const char *const order[] = {"c", "aaa", "zz", "zzz", "a", "bb"};
    struct inode inode = {.xattrs = (struct xattr *)many, .xattr_count = COUNT(many)};
    uint8_t block[VOLUME_BLOCK], again[VOLUME_BLOCK];
    const uint8_t *at = block + 32;
    struct image image;

    (void)state;
    image_new(&image, "a.img", "1GiB", NULL);
    attributes_put_block(image_volume(&image), &inode, 1ULL << 33, block);
    attributes_put_block(image_volume(&image), &inode, 1ULL << 34, again);
    assert_memory_not_equal(block + 16, again + 16, 4); /* the number of the block is sealed in */
    for (size_t i = 0; i < COUNT(order); i++) {
        assert_int_equal(at[0], strlen(order[i]));
        assert_memory_equal(at + 16, order[i], strlen(order[i]));
        at += 16 + ((strlen(order[i]) + 3) & ~(size_t)3);
    }
    assert_int_equal(get32(at), 0);
    image_done(&image);
}

static void put_entry(struct buf *acl, unsigned tag, unsigned perm, uint32_t id)
{
    uint8_t entry[8];

    put16(entry, tag);
    put16(entry + 2, perm);
    put32(entry + 4, id);
    buf_add(acl, entry, sizeof(entry));
}

static void make_acl(struct buf *acl, size_t named)
{
    uint8_t version[4];

    put32(version, 2);
    buf_add(acl, version, sizeof(version));
    put_entry(acl, 1, 7, UINT32_MAX);
    for (size_t i = 0; i < named; i++) {
        put_entry(acl, 2, 5, (uint32_t)(1000 + i));
    }
    put_entry(acl, 4, 5, UINT32_MAX);
    for (size_t i = 0; i < named; i++) {
        put_entry(acl, 8, 4, (uint32_t)(70000 + i));
    }
    put_entry(acl, 16, 5, UINT32_MAX);
    put_entry(acl, 32, 0, UINT32_MAX);
}

/* debugfs turns the short form on the disk into what the kernel hands out, which is what came. */
static void acls_come_back(void **state)
{
    static const size_t named[] = {0, 1, 2, 100};
    struct image image;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < COUNT(named); i++) {
            SCOPED_FREE char *path = xprintf("d%zu", named[i]);
            SCOPED(buf_done) struct buf acl = {0};
            struct xattr xattrs[2];

            make_acl(&acl, named[i]);
            xattrs[0] = (struct xattr){"system.posix_acl_access", acl.data, acl.size};
            xattrs[1] = (struct xattr){"system.posix_acl_default", acl.data, acl.size};
            if (pass == 0) {
                add(&image, path, ENTRY_DIRECTORY, xattrs, COUNT(xattrs));
            } else {
                must_have(&image, path, xattrs, COUNT(xattrs));
            }
        }
        if (pass == 0) {
            image_finish(&image);
        }
    }
    image_done(&image);
}

/* Taken away by an upper layer: no block is left behind, which e2fsck would find. */
static void a_block_goes_with_its_attributes(void **state)
{
    static char value[2000];
    const struct xattr large = {"user.large", value, sizeof(value)}, small = {"user.s", value, 3};
    struct image image;
    SCOPED_FREE char *stat = NULL;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    add(&image, "d", ENTRY_DIRECTORY, &large, 1);
    add(&image, "e", ENTRY_DIRECTORY, &small, 1);
    image_layer(&image);
    add(&image, "d", ENTRY_DIRECTORY, &small, 1);
    add(&image, "e", ENTRY_DIRECTORY, &large, 1);
    image_finish(&image);
    must_have(&image, "d", &small, 1);
    must_have(&image, "e", &large, 1);
    stat = image_debugfs(&image, "stat d");
    assert_non_null(strstr(stat, "File ACL: 0\n"));
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_inode_takes_what_fits_exactly),
        cmocka_unit_test(values_of_all_namespaces_come_back),
        cmocka_unit_test(values_of_all_sizes_come_back),
        cmocka_unit_test(a_block_is_in_order_and_sealed),
        cmocka_unit_test(acls_come_back),
        cmocka_unit_test(a_block_goes_with_its_attributes),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
