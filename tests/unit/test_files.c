/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "bundle/files.h"

#include <cmocka.h> /* last: it has a macro fail() */

enum { EPOCH = 1790000000 };

struct place {
    char dir[32], index[64];
};

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));

    strcpy(place->dir, "/tmp/kiln-files-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->index, sizeof(place->index), "%s/files.index", place->dir);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place);
    return 0;
}

/* Every kind of thing, in layer 0 and layer 1. */
#define ODD_NAME "a b#c=d\\e*f?g[h,i\n\t\x01\x7f\xff\xc3\xa4"

static const struct xattr odd_xattrs[] = {
    {.name = (char *)"security.capability", .value = (void *)"\x01\x00\x00\x02", .size = 4},
    {.name = (char *)"user.a,b=c d", .value = (void *)"hello", .size = 5},
    {.name = (char *)"user.empty", .value = (void *)"", .size = 0},
};

static const struct entry lower[] = {
    {.path = ".", .type = ENTRY_DIRECTORY, .mode = 0755},
    {.path = "dir", .type = ENTRY_DIRECTORY, .mode = 01777, .uid = 1, .gid = 2, .mtime = 5},
    {.path = "dir/" ODD_NAME,
     .type = ENTRY_FILE,
     .mode = 06755,
     .uid = 4294967294U,
     .gid = 4000000000U,
     .mtime = 1234567890,
     .mtime_ns = 5,
     .size = 6,
     .xattrs = odd_xattrs,
     .xattr_count = COUNT(odd_xattrs)},
    {.path = "a", .type = ENTRY_HARDLINK, .target = "dir/" ODD_NAME},
    {.path = "char", .type = ENTRY_CHARACTER, .mode = 0600, .major = 4000, .minor = 70000},
    {.path = "block", .type = ENTRY_BLOCK, .mode = 0660, .major = 8, .minor = 1},
    {.path = "fifo", .type = ENTRY_FIFO, .mode = 0644, .mtime = 1},
    {.path = "old", .type = ENTRY_FILE, .mode = 0, .mtime = -5, .mtime_ns = 999999999},
};
static const struct entry upper[] = {
    {.path = "link", .type = ENTRY_SYMLINK, .mode = 0777, .target = "../x y\xff#=\\ -> z"},
    {.path = "large", .type = ENTRY_FILE, .mode = 0400, .size = 1ULL << 41},
};

static void apply(struct tree *tree, const struct entry *entries, size_t count)
{
    struct error err = {0};

    for (size_t i = 0; i < count; i++) {
        struct inode *inode;

        if (tree_apply(tree, &entries[i], i, &inode, &err) < 0) {
            print_error("%s\n", err.message);
            assert_true(false);
        }
        if (inode != NULL) {
            hash_bytes(entries[i].path, strlen(entries[i].path), inode->sha256);
        }
    }
}

static struct tree *make_tree(void)
{
    struct tree *tree = tree_new(NULL);

    tree_begin(tree, 0, 0, "lower", RULES_MERGE, false);
    apply(tree, lower, COUNT(lower));
    tree_begin(tree, 1, 1, "upper", RULES_MERGE, false);
    apply(tree, upper, COUNT(upper));
    tree_settle(tree, EPOCH);
    return tree;
}

static void must_write(const struct place *place, struct buf *ret)
{
    SCOPED(tree_freep) struct tree *tree = make_tree();
    struct error err = {0};

    assert_int_equal(files_write(tree, place->index, &err), 0);
    assert_int_equal(file_read(place->index, 1 << 20, ret, &err), 0);
}

static const struct entry *find_entry(const char *path)
{
    for (size_t i = 0; i < COUNT(lower); i++) {
        if (strcmp(lower[i].path, path) == 0) {
            return &lower[i];
        }
    }
    for (size_t i = 0; i < COUNT(upper); i++) {
        if (strcmp(upper[i].path, path) == 0) {
            return &upper[i];
        }
    }
    return NULL;
}

static mode_t file_type(enum entry_type type)
{
    static const mode_t types[] = {
        [ENTRY_FILE] = AE_IFREG,      [ENTRY_DIRECTORY] = AE_IFDIR, [ENTRY_SYMLINK] = AE_IFLNK,
        [ENTRY_CHARACTER] = AE_IFCHR, [ENTRY_BLOCK] = AE_IFBLK,     [ENTRY_FIFO] = AE_IFIFO,
    };

    return types[type];
}

static void check_read_back(struct archive_entry *read, const struct entry *wanted)
{
    assert_int_equal(archive_entry_filetype(read), file_type(wanted->type));
    assert_int_equal(archive_entry_perm(read), wanted->mode);
    assert_int_equal(archive_entry_uid(read), wanted->uid);
    assert_int_equal(archive_entry_gid(read), wanted->gid);
    assert_int_equal(archive_entry_mtime(read), wanted->mtime);
    assert_int_equal(archive_entry_mtime_nsec(read), wanted->mtime_ns);
    if (wanted->type == ENTRY_FILE) {
        uint8_t digest[HASH_SIZE];

        hash_bytes(wanted->path, strlen(wanted->path), digest);
        assert_int_equal(archive_entry_size(read), wanted->size);
        assert_memory_equal(archive_entry_digest(read, ARCHIVE_ENTRY_DIGEST_SHA256), digest,
                            HASH_SIZE);
        assert_int_equal(archive_entry_nlink(read), wanted->xattr_count != 0 ? 2 : 1);
    }
    if (wanted->type == ENTRY_SYMLINK) {
        assert_string_equal(archive_entry_symlink(read), wanted->target);
    }
    if (wanted->type == ENTRY_CHARACTER || wanted->type == ENTRY_BLOCK) {
        assert_int_equal(major(archive_entry_rdev(read)), wanted->major);
        assert_int_equal(minor(archive_entry_rdev(read)), wanted->minor);
    }
}

static void libarchive_reads_back_every_field(void **state)
{
    SCOPED(buf_done) struct buf index = {0};
    struct archive *archive = archive_read_new();
    struct archive_entry *read;
    size_t count = 0;
    int result;

    must_write(*state, &index);
    assert_int_equal(archive_read_support_format_mtree(archive), ARCHIVE_OK);
    assert_int_equal(archive_read_open_memory(archive, index.data, index.size), ARCHIVE_OK);
    /* ARCHIVE_WARN would be a word it does not know. */
    while ((result = archive_read_next_header(archive, &read)) == ARCHIVE_OK) {
        const char *path = archive_entry_pathname(read);
        const struct entry *wanted;

        path += strncmp(path, "./", 2) == 0 ? 2 : 0;
        wanted = find_entry(path);
        assert_non_null(wanted);
        if (wanted->type == ENTRY_HARDLINK) {
            wanted = find_entry(wanted->target);
        }
        check_read_back(read, wanted);
        count++;
    }
    if (result != ARCHIVE_EOF) {
        print_error("%s\n", archive_error_string(archive));
    }
    assert_int_equal(result, ARCHIVE_EOF);
    assert_int_equal(count, COUNT(lower) + COUNT(upper));
    assert_int_equal(archive_read_free(archive), ARCHIVE_OK);
}

static void only_plain_ascii_reaches_the_index(void **state)
{
    SCOPED(buf_done) struct buf index = {0};

    must_write(*state, &index);
    for (size_t i = 0; i < index.size; i++) {
        unsigned char c = (unsigned char)index.data[i];

        assert_true(c == '\n' || (c >= ' ' && c < 0x7f));
    }
    assert_int_equal(strncmp(index.data, "#mtree v2.0\n. type=dir ", 23), 0);
}

static void lines_are_sorted_and_the_same_each_time(void **state)
{
    static const char *const order[] = {"\n. ",      "\n./a ",    "\n./block ", "\n./char ",
                                        "\n./dir ",  "\n./dir/a", "\n./fifo ",  "\n./large ",
                                        "\n./link ", "\n./old "};
    SCOPED(buf_done) struct buf index = {0}, again = {0};
    const char *at;

    must_write(*state, &index);
    must_write(*state, &again);
    assert_string_equal(index.data, again.data);
    at = index.data;
    for (size_t i = 0; i < COUNT(order); i++) {
        at = strstr(at, order[i]);
        assert_non_null(at);
    }
}

static void tags_hold_layer_xattrs_and_first_name(void **state)
{
    static const char xattrs[] = ",xattr.security.capability:AQAAAg=="
                                 ",xattr.user.a\\054b\\075c\\040d:aGVsbG8="
                                 ",xattr.user.empty:";
    SCOPED(buf_done) struct buf index = {0};
    SCOPED(buf_done) struct buf first = {0}, second = {0};

    must_write(*state, &index);
    buf_printf(&first, "\n./a type=file size=6 ");
    assert_non_null(strstr(index.data, first.data));
    buf_printf(&second, " tags=layer:0%s\n", xattrs);
    assert_non_null(strstr(index.data, second.data));
    buf_clear(&second);
    buf_printf(&second, " tags=layer:0%s,hardlink:./a\n", xattrs);
    assert_non_null(strstr(index.data, second.data));
    assert_non_null(strstr(index.data, "./large type=file size=2199023255552 "));
    assert_non_null(strstr(index.data, " mode=0777 uid=0 gid=0 time=0.000000000 nlink=1 "
                                       "tags=layer:1\n"));
}

static void an_index_that_cannot_be_written_is_an_error(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make_tree();
    struct error err = {0};

    (void)state;
    assert_int_equal(files_write(tree, "/dev/full", &err), -1);
    assert_non_null(strstr(err.message, "write '/dev/full': No space left"));
    fail_clear(&err);
    assert_int_equal(files_write(tree, "/proc/kiln/files.index", &err), -1);
    assert_non_null(strstr(err.message, "create '/proc/kiln/files.index'"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(libarchive_reads_back_every_field),
        CASE(only_plain_ascii_reaches_the_index),
        CASE(lines_are_sorted_and_the_same_each_time),
        CASE(tags_hold_layer_xattrs_and_first_name),
        CASE(an_index_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
