/* SPDX-License-Identifier: Apache-2.0 */
/* What pax.c writes, GNU tar and bsdtar must read back exactly. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "layer/acl.h"
#include "layer/pax.h"

#include <cmocka.h> /* last: it has a macro fail() */

static char directory[] = "/tmp/test_pax.XXXXXX";

static int collect(void *data, const void *bytes, size_t size, struct error *err)
{
    (void)err;
    buf_add(data, bytes, size);
    return 0;
}

static int refuse(void *data, const void *bytes, size_t size, struct error *err)
{
    (void)data;
    (void)bytes;
    (void)size;
    return (fail)(err, FAIL_ERROR, "the disk is full"); /* in brackets: not the macro */
}

static void must(int result, const struct error *err)
{
    if (result < 0) {
        fail_msg("%s", err->message);
    }
}

/* access: user 1000 may read; default: group 7 may read and enter. */
static const uint8_t access_acl[] = {2,   0,   0,   0,   1,   0,    6,  0,   255, 255, 255,
                                     255, 2,   0,   4,   0,   0xe8, 3,  0,   0,   4,   0,
                                     4,   0,   255, 255, 255, 255,  16, 0,   4,   0,   255,
                                     255, 255, 255, 32,  0,   4,    0,  255, 255, 255, 255};
static const uint8_t default_acl[] = {
    2, 0, 0, 0, 1, 0, 7,  0, 255, 255, 255, 255, 4,   0,   5,  0, 255, 255, 255, 255, 8,   0,
    5, 0, 7, 0, 0, 0, 16, 0, 5,   0,   255, 255, 255, 255, 32, 0, 5,   0,   255, 255, 255, 255};
static const uint8_t capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

struct sample {
    struct entry entry;
    const char *data;
    struct extent extents[6];
    size_t extent_count;
    bool sparse;
};

static char long_name[256], long_path[600], raw_name[256];

static struct xattr all_xattrs[] = {
    {(char *)"security.capability", (void *)capability, sizeof(capability)},
    {(char *)"trusted.overlay", (void *)"y", 1},
    {(char *)"user.bytes", (void *)"a\0b\n=c\xff", 7},
    {(char *)"user.empty", (void *)"", 0},
    {(char *)"user.k=%25", (void *)"v", 1},
};
static struct xattr user_xattrs[] = {
    {(char *)"user.bytes", (void *)"a\0b\n=c\xff", 7},
    {(char *)"user.empty", (void *)"", 0},
    {(char *)"user.k=%25", (void *)"v", 1},
};
static struct xattr acl_xattrs[] = {{(char *)ACL_ACCESS, (void *)access_acl, sizeof(access_acl)}};
static struct xattr default_xattrs[] = {
    {(char *)ACL_DEFAULT, (void *)default_acl, sizeof(default_acl)}};

static struct sample samples[] = {
    {.entry = {.path = "dir", .type = ENTRY_DIRECTORY, .mode = 01777, .mtime = 1}},
    {.entry = {.path = "dir/plain", .type = ENTRY_FILE, .mode = 0640, .mtime = 1000, .size = 5},
     .data = "hello"},
    {.entry = {.path = "empty", .type = ENTRY_FILE, .mode = 04755}},
    {.entry = {.path = "nanoseconds",
               .type = ENTRY_FILE,
               .mode = 0600,
               .mtime = 1700000000,
               .mtime_ns = 123456789}},
    {.entry = {.path = "before-1970",
               .type = ENTRY_FILE,
               .mode = 0600,
               .mtime = -2,
               .mtime_ns = 500000000}},
    {.entry = {.path = "far", .type = ENTRY_FILE, .mode = 0600, .mtime = 8589934592}},
    {.entry = {.path = "link", .type = ENTRY_SYMLINK, .mode = 0777, .target = "dir/plain"}},
    {.entry = {.path = "long-link", .type = ENTRY_SYMLINK, .mode = 0777, .target = long_path}},
    {.entry = {.path = "hard",
               .type = ENTRY_HARDLINK,
               .mode = 0640,
               .target = "dir/plain",
               .mtime = 1000,
               .size = 5}},
    {.entry = {.path = "fifo", .type = ENTRY_FIFO, .mode = 0600}},
    {.entry = {.path = long_name, .type = ENTRY_FILE, .mode = 0600, .size = 1}, .data = "x"},
    {.entry = {.path = long_path, .type = ENTRY_FILE, .mode = 0600, .size = 1}, .data = "y"},
    {.entry = {.path = raw_name, .type = ENTRY_FILE, .mode = 0600}},
    {.entry = {.path = "e\xcc\x81", .type = ENTRY_FILE, .mode = 0600, .mtime_ns = 1}},
    {.entry = {.path = "sparse", .type = ENTRY_FILE, .mode = 0600, .size = 1 << 20, .mtime = 7},
     .data = "headtail",
     .extents = {{8192, 4}, {500000, 4}},
     .extent_count = 2,
     .sparse = true},
    {.entry = {.path = "odd-sparse", .type = ENTRY_FILE, .mode = 0600, .size = 100003},
     .data = "abbccdeeee",
     .extents = {{1, 1}, {700, 2}, {1023, 2}, {50001, 1}, {99999, 4}, {100003, 0}},
     .extent_count = 6,
     .sparse = true},
    {.entry = {.path = "hole", .type = ENTRY_FILE, .mode = 0600, .size = 3 << 20}, .sparse = true},
};
static struct sample root_samples[] = {
    {.entry =
         {.path = "owned", .type = ENTRY_FILE, .mode = 0600, .uid = 3000000000, .gid = 4294967294}},
    {.entry = {.path = "null", .type = ENTRY_CHARACTER, .mode = 0666, .major = 1, .minor = 3}},
    {.entry = {.path = "disk", .type = ENTRY_BLOCK, .mode = 0660, .major = 259, .minor = 1048575}},
    {.entry = {.path = "attributes",
               .type = ENTRY_FILE,
               .mode = 0755,
               .size = 1,
               .xattrs = all_xattrs,
               .xattr_count = 5},
     .data = "a"},
    {.entry =
         {.path = "acl", .type = ENTRY_FILE, .mode = 0644, .xattrs = acl_xattrs, .xattr_count = 1}},
    {.entry = {.path = "acl-dir",
               .type = ENTRY_DIRECTORY,
               .mode = 0755,
               .xattrs = default_xattrs,
               .xattr_count = 1}},
};
static struct sample user_samples[] = {
    {.entry = {.path = "attributes",
               .type = ENTRY_FILE,
               .mode = 0755,
               .size = 1,
               .xattrs = user_xattrs,
               .xattr_count = 3},
     .data = "a"},
};

static void put_sample(struct pax *pax, const struct sample *sample)
{
    struct error err = {0};
    struct entry entry = sample->entry;

    if (entry.uid == 0 && getuid() != 0) {
        entry.uid = getuid();
        entry.gid = getgid();
    }
    must(
        pax_entry(pax, &entry, sample->sparse ? sample->extents : NULL, sample->extent_count, &err),
        &err);
    if (sample->data != NULL) {
        must(pax_data(pax, sample->data, strlen(sample->data), &err), &err);
    }
}

static void check_xattrs(const char *path, const struct entry *entry)
{
    for (size_t i = 0; i < entry->xattr_count; i++) {
        const struct xattr *xattr = &entry->xattrs[i];
        char value[256];
        ssize_t size = lgetxattr(path, xattr->name, value, sizeof(value));

        if (size != (ssize_t)xattr->size || memcmp(value, xattr->value, xattr->size) != 0) {
            fail_msg("'%s': '%s' came back with %zd bytes", entry->path, xattr->name, size);
        }
    }
}

static void check_content(const char *path, const struct sample *sample, const struct stat *st)
{
    struct buf content = {0};
    struct error err = {0};
    char *wanted = xcalloc(1, sample->entry.size + 1);
    size_t at = 0;

    if (sample->sparse) {
        for (size_t i = 0; i < sample->extent_count; i++) {
            memcpy(wanted + sample->extents[i].offset, sample->data + at, sample->extents[i].size);
            at += sample->extents[i].size;
        }
        assert_true(st->st_size < 1 << 20 || st->st_blocks * 512 < st->st_size / 2);
    } else if (sample->data != NULL) {
        memcpy(wanted, sample->data, sample->entry.size);
    }
    must(file_read(path, 8 << 20, &content, &err), &err);
    assert_int_equal(content.size, sample->entry.size);
    assert_memory_equal(content.data, wanted, content.size);
    buf_done(&content);
    free(wanted);
}

static void check_sample(const char *dir, const struct sample *sample, bool ours)
{
    static const mode_t types[] = {
        [ENTRY_FILE] = S_IFREG,     [ENTRY_DIRECTORY] = S_IFDIR, [ENTRY_SYMLINK] = S_IFLNK,
        [ENTRY_HARDLINK] = S_IFREG, [ENTRY_CHARACTER] = S_IFCHR, [ENTRY_BLOCK] = S_IFBLK,
        [ENTRY_FIFO] = S_IFIFO,
    };
    const struct entry *entry = &sample->entry;
    char *path = xprintf("%s/%s", dir, entry->path);
    char target[1024] = {0};
    struct stat st;

    if (lstat(path, &st) < 0) {
        fail_msg("'%s' is not there", entry->path);
    }
    assert_int_equal(st.st_mode & S_IFMT, types[entry->type]);
    if (entry->type != ENTRY_SYMLINK) {
        assert_int_equal(st.st_mode & 07777, entry->mode);
    }
    if (getuid() == 0) {
        assert_int_equal(st.st_uid, entry->uid);
        assert_int_equal(st.st_gid, entry->gid);
    }
    /* A directory's time is of no use: what is unpacked into it comes later with some programs. */
    if (ours || entry->mtime >= 0) {
        assert_int_equal(st.st_mtim.tv_sec, entry->mtime);
        assert_int_equal(st.st_mtim.tv_nsec, entry->mtime_ns);
    }
    if (entry->type == ENTRY_SYMLINK) {
        assert_true(readlink(path, target, sizeof(target) - 1) > 0);
        assert_string_equal(target, entry->target);
    }
    if (entry->type == ENTRY_CHARACTER || entry->type == ENTRY_BLOCK) {
        assert_int_equal(major(st.st_rdev), entry->major);
        assert_int_equal(minor(st.st_rdev), entry->minor);
    }
    if (entry->type == ENTRY_FILE) {
        check_content(path, sample, &st);
    }
    check_xattrs(path, entry);
    free(path);
}

static void check_hard_link(const char *dir)
{
    char *one = xprintf("%s/dir/plain", dir), *two = xprintf("%s/hard", dir);
    struct stat a, b;

    assert_int_equal(lstat(one, &a), 0);
    assert_int_equal(lstat(two, &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    free(one);
    free(two);
}

static void run(const char *command)
{
    if (system(command) != 0) {
        fail_msg("failed: %s", command);
    }
}

/* Unpacks the samples by COMMAND (with the archive and the directory to fill) and compares. */
static void round_trip(const char *name, const char *command, bool ours)
{
    struct buf tar = {0};
    struct error err = {0};
    struct pax *pax = pax_new(collect, &tar);
    struct sample *more = getuid() == 0 ? root_samples : user_samples;
    size_t more_count = getuid() == 0 ? COUNT(root_samples) : COUNT(user_samples);
    char *archive = xprintf("%s/%s.tar", directory, name);
    char *dir = xprintf("%s/%s", directory, name);
    char *line = xprintf("mkdir %s && cd %s && %s %s", dir, dir, command, archive);

    for (size_t i = 0; i < COUNT(samples); i++) {
        put_sample(pax, &samples[i]);
    }
    for (size_t i = 0; i < more_count; i++) {
        put_sample(pax, &more[i]);
    }
    must(pax_end(pax, &err), &err);
    pax_free(pax);
    must(file_write(archive, tar.data, tar.size, &err), &err);
    run(line);
    for (size_t i = 0; i < COUNT(samples); i++) {
        check_sample(dir, &samples[i], ours);
    }
    for (size_t i = 0; i < more_count; i++) {
        check_sample(dir, &more[i], ours);
    }
    check_hard_link(dir);
    buf_done(&tar);
    free(archive);
    free(dir);
    free(line);
}

static void gnu_tar_reads_everything_back(void **state)
{
    (void)state;
    round_trip("gnu",
               getuid() == 0
                   ? "LC_ALL=C tar -p --warning=no-timestamp --numeric-owner --xattrs "
                     "--xattrs-include='*' --acls -xf"
                   : "LC_ALL=C tar -p --warning=no-timestamp --xattrs --xattrs-include='*' -xf",
               true);
}

/* It reads names that are no UTF-8, but then ends with status 1. */
static const char raw_names_warn[] = "bsd() { LC_ALL=C bsdtar -xpf $1 2>&1 | "
                                     "sed \"/can't be converted/d; /delayed/d\" | "
                                     "{ ! grep .; }; }; bsd";

/* Its times before 1970 with a fraction are its own mistake (it adds the fraction). */
static void bsdtar_reads_everything_back(void **state)
{
    (void)state;
    if (getuid() == 0) {
        /* It takes names of attributes as they stand, without GNU tar's escapes. */
        all_xattrs[4].name = (char *)"user.plain";
        round_trip("bsd", raw_names_warn, false);
        all_xattrs[4].name = (char *)"user.k=%25";
    } else {
        user_xattrs[2].name = (char *)"user.plain";
        round_trip("bsd", raw_names_warn, false);
        user_xattrs[2].name = (char *)"user.k=%25";
    }
}

/* Writes one member with COUNT zero bytes of data announced and returns the archive. */
static struct buf write_one(const struct entry *entry)
{
    struct buf tar = {0};
    struct error err = {0};
    struct pax *pax = pax_new(collect, &tar);

    must(pax_entry(pax, entry, NULL, 0, &err), &err);
    must(pax_end(pax, &err), &err);
    pax_free(pax);
    return tar;
}

static void what_fits_ustar_has_no_extended_header(void **state)
{
    char path[251];
    struct entry entry = {.path = path,
                          .type = ENTRY_FILE,
                          .mode = 0644,
                          .uid = 07777777,
                          .gid = 07777777,
                          .mtime = 077777777777};
    struct buf tar;

    (void)state;
    memset(path, 'a', sizeof(path));
    path[150] = '/';
    path[250] = '\0';
    tar = write_one(&entry);
    assert_int_equal(tar.size, 512 + 1024);
    assert_int_equal(tar.data[156], '0');
    assert_memory_equal(tar.data + 257, "ustar\00000", 8);
    buf_done(&tar);
}

static void what_does_not_fit_has_one(void **state)
{
    static const struct entry entries[] = {
        {.path = "a", .uid = 010000000}, {.path = "a", .gid = 010000000},
        {.path = "a", .mtime = -1},      {.path = "a", .mtime = 0100000000000},
        {.path = "a", .mtime_ns = 1},    {.path = long_name},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(entries); i++) {
        struct buf tar = write_one(&entries[i]);

        assert_int_equal(tar.size, 512 + 512 + 512 + 1024);
        assert_int_equal(tar.data[156], 'x');
        buf_done(&tar);
    }
}

static void records_count_their_own_length(void **state)
{
    /* 9 + "99" would be 3 digits where 98 + 1 has 2: the lengths around a power of ten. */
    char name[110];
    struct entry entry = {.path = name, .type = ENTRY_FILE};

    (void)state;
    for (size_t length = 101; length < 110; length++) {
        struct buf tar;
        char *end;
        size_t record;

        memset(name, 'n', sizeof(name));
        name[length] = '\0';
        tar = write_one(&entry);
        record = strtoul(tar.data + 512, &end, 10);
        assert_memory_equal(end, " path=", 6);
        assert_int_equal(tar.data[512 + record - 1], '\n');
        assert_int_equal(tar.data[512 + record], '\0');
        assert_int_equal(record, (size_t)(end - (tar.data + 512)) + 6 + length + 1);
        buf_done(&tar);
    }
}

static void sizes_above_8_gib_go_into_a_record(void **state)
{
    struct entry entry = {.path = "big", .type = ENTRY_FILE, .size = 0100000000000};
    struct buf tar = {0};
    struct error err = {0};
    struct pax *pax = pax_new(collect, &tar);

    (void)state;
    must(pax_entry(pax, &entry, NULL, 0, &err), &err);
    assert_int_equal(pax_end(pax, &err), -1);
    assert_string_equal(err.message, "a member has 8589934592 bytes less than its header says");
    pax_free(pax);
    buf_done(&tar);
}

static void wrong_use_is_an_error(void **state)
{
    struct buf tar = {0};
    struct error err = {0};
    struct pax *pax = pax_new(collect, &tar);
    struct entry file = {.path = "f", .type = ENTRY_FILE, .size = 3};
    struct entry device = {.path = "d", .type = ENTRY_BLOCK, .major = 010000000};
    struct entry bad_acl = {
        .path = "a", .type = ENTRY_FILE, .xattrs = acl_xattrs, .xattr_count = 1};
    struct extent overlapping[] = {{0, 2}, {1, 2}}, outside[] = {{2, 2}};

    (void)state;
    must(pax_entry(pax, &file, NULL, 0, &err), &err);
    assert_int_equal(pax_data(pax, "abcd", 4, &err), -1);
    assert_string_equal(err.message, "a member has more bytes than its header says");
    fail_clear(&err);
    must(pax_data(pax, "abc", 3, &err), &err);
    assert_int_equal(pax_entry(pax, &device, NULL, 0, &err), -1);
    assert_string_equal(err.message, "'d': device numbers 2097152:0 do not fit a tar header");
    fail_clear(&err);
    assert_int_equal(pax_entry(pax, &file, overlapping, 2, &err), -1);
    assert_string_equal(err.message, "'f': extents that do not fit the file");
    fail_clear(&err);
    assert_int_equal(pax_entry(pax, &file, outside, 1, &err), -1);
    fail_clear(&err);
    acl_xattrs[0].size--;
    assert_int_equal(pax_entry(pax, &bad_acl, NULL, 0, &err), -1);
    assert_string_equal(err.message, "'a': an ACL of 43 bytes is none");
    acl_xattrs[0].size++;
    pax_free(pax);
    buf_done(&tar);
}

static void errors_of_the_sink_come_through(void **state)
{
    struct error err = {0};
    struct pax *pax = pax_new(refuse, NULL);

    (void)state;
    assert_int_equal(pax_end(pax, &err), -1);
    assert_string_equal(err.message, "the disk is full");
    pax_free(pax);
}

static void acls_become_text(void **state)
{
    struct buf text = {0};
    struct error err = {0};

    (void)state;
    must(acl_check(access_acl, sizeof(access_acl), &err), &err);
    acl_text(access_acl, sizeof(access_acl), &text);
    assert_string_equal(text.data, "user::rw-,user:1000:r--,group::r--,mask::r--,other::r--");
    assert_int_equal(acl_mode(default_acl, sizeof(default_acl), 04000), 04755);
    buf_done(&text);
}

static void acls_the_kernel_refuses_are_refused(void **state)
{
    static const struct {
        unsigned at;
        uint8_t byte;
    } changes[] = {{0, 1}, {4, 3}, {4, 64}, {6, 8}, {12, 1}, {20, 1}, {28, 4}, {36, 16}};
    uint8_t acl[sizeof(access_acl)];
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(changes); i++) {
        memcpy(acl, access_acl, sizeof(acl));
        acl[changes[i].at] = changes[i].byte;
        if (acl_check(acl, sizeof(acl), &err) == 0) {
            fail_msg("change %zu passed", i);
        }
        fail_clear(&err);
    }
    assert_int_equal(acl_check(access_acl, 3, &err), -1);
}

static int set_up(void **state)
{
    (void)state;
    memset(long_name, 'n', 255);
    memset(raw_name, 0xff, 255);
    for (size_t i = 0; i + 1 < sizeof(long_path); i++) {
        long_path[i] = i % 100 == 99 ? '/' : 'p';
    }
    return mkdtemp(directory) == NULL;
}

static int tear_down(void **state)
{
    struct error err = {0};

    (void)state;
    return file_remove_tree(directory, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gnu_tar_reads_everything_back),
        cmocka_unit_test(bsdtar_reads_everything_back),
        cmocka_unit_test(what_fits_ustar_has_no_extended_header),
        cmocka_unit_test(what_does_not_fit_has_one),
        cmocka_unit_test(records_count_their_own_length),
        cmocka_unit_test(sizes_above_8_gib_go_into_a_record),
        cmocka_unit_test(wrong_use_is_an_error),
        cmocka_unit_test(errors_of_the_sink_come_through),
        cmocka_unit_test(acls_become_text),
        cmocka_unit_test(acls_the_kernel_refuses_are_refused),
    };

    (void)umask(022);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
