/* SPDX-License-Identifier: Apache-2.0 */
/* FAT32 as fsck.fat, mtools and file see it, and names as Microsoft's specification wants them. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "disk/fat.h"
#include "disk/fat_name.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

enum { MTIME = 1700000001 }; /* 2023-11-14 22:13:21 UTC */

/* A new image of SIZE bytes behind OFFSET bytes of nothing, and a writer for it. */
static int begin(const char *path, uint64_t offset, uint64_t size, struct fat **ret)
{
    struct error err = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(offset + size)), 0);
    if (fat_new(fd, offset, size, 0x1234abcd, "ESP", "esp", ret, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return fd;
}

static void end(int fd, struct fat *fat)
{
    struct error err = {0};

    if (fat_finish(fat, &err) < 0) {
        fail_msg("%s", err.message);
    }
    fat_free(fat);
    assert_int_equal(close(fd), 0);
}

static void add_dir(struct fat *fat, const char *path)
{
    struct error err = {0};

    if (fat_directory(fat, path, MTIME, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

/* Bytes that depend on the place, with a hole in every third run of 64 KiB. */
static void fill(uint8_t *data, size_t size)
{
    uint32_t x = 2463534242;

    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        data[i] = i / 65536 % 3 == 2 ? 0 : (uint8_t)x;
    }
}

static void add_file(struct fat *fat, const char *path, size_t size)
{
    static const size_t steps[] = {1, 511, 512, 4097, 65536, 1 << 20};
    SCOPED_FREE uint8_t *data = xmalloc(size);
    struct error err = {0};

    fill(data, size);
    if (fat_file(fat, path, MTIME, size, &err) < 0) {
        fail_msg("%s", err.message);
    }
    for (size_t at = 0, i = 0; at < size; i++) {
        size_t step = steps[i % COUNT(steps)];

        step = step < size - at ? step : size - at;
        if (fat_data(fat, data + at, step, &err) < 0) {
            fail_msg("%s", err.message);
        }
        at += step;
    }
}

static const struct {
    const char *path;
    size_t size; /* SIZE_MAX: a directory */
} tree[] = {
    {"EFI", SIZE_MAX},
    {"EFI/BOOT", SIZE_MAX},
    {"EFI/BOOT/BOOTX64.EFI", 4182016},
    {"EFI/BOOT/grubx64.efi", 700001},
    {"EFI/BOOT/fbx64.efi", 1},
    {"EFI/debian", SIZE_MAX},
    {"EFI/debian/grub.cfg", 511},
    {"EFI/debian/shimx64.efi.signed", 512},
    {"EFI/debian/BOOTX64.CSV", 513},
    {"empty", 0},
    {"EMPTY2.TXT", 0},
    {"loader", SIZE_MAX},
    {"loader/entries", SIZE_MAX},
    {"loader/entries/a very long name indeed, with blanks + signs = [and] more.conf", 4096},
    {"loader/entries/thirteen.char", 13}, /* 13 units: no room for an end mark */
    {"loader/entries/.hidden", 7},
    {"loader/entries/Grüße aus Köln.txt", 100},
    {"loader/entries/日本語の名前", 200},
    {"loader/empty-directory", SIZE_MAX},
    {"a.b.c.d", 5},
    {"UPPER.EFI", 6},
    {"Mixed.Efi", 7},
    {"12345678.123", 8},
    {"123456789.123", 9},
    {"12345678.1234", 10},
};

/* Makes the image, and beside it what it has to hold as files of the host. */
static void write_tree(const char *path, uint64_t offset, uint64_t size)
{
    struct fat *fat = NULL;
    int fd = begin(path, offset, size, &fat);

    for (size_t i = 0; i < COUNT(tree); i++) {
        if (tree[i].size == SIZE_MAX) {
            add_dir(fat, tree[i].path);
        } else {
            add_file(fat, tree[i].path, tree[i].size);
        }
    }
    end(fd, fat);
}

static void write_reference(const char *dir)
{
    struct error err = {0};

    for (size_t i = 0; i < COUNT(tree); i++) {
        SCOPED_FREE char *path = xprintf("%s/%s", dir, tree[i].path);
        bool is_dir = tree[i].size == SIZE_MAX;
        SCOPED_FREE uint8_t *data = xmalloc(is_dir ? 1 : tree[i].size);

        if (is_dir) {
            assert_int_equal(file_make_dirs(path, &err), 0);
        } else {
            fill(data, tree[i].size);
            assert_int_equal(file_write(path, data, tree[i].size, &err), 0);
        }
    }
}

/* A clean file system makes fsck.fat print two lines: its version, and counts. */
static void assert_clean(const char *path)
{
    SCOPED_FREE char *said = RUN("fsck.fat", "-n", path);
    const char *second = strchr(said, '\n');

    assert_non_null(second);
    assert_non_null(strstr(second, " files, "));
    second = strchr(second + 1, '\n');
    if (second == NULL || second[1] != '\0') {
        fail_msg("fsck.fat says more than it should: %s", said);
    }
}

static void fsck_finds_it_clean_at_every_size(void **state)
{
    static const uint64_t sizes[] = {34 * MIB, 64 * MIB, 260 * MIB, 300 * MIB + 512, 9 * GIB};

    (void)state;
    need_tool("fsck.fat");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        write_tree("fsck.img", 0, sizes[i]);
        assert_clean("fsck.img");
    }
}

static void an_empty_one_is_clean(void **state)
{
    struct fat *fat = NULL;
    int fd;

    (void)state;
    need_tool("fsck.fat");
    fd = begin("empty.img", 0, FAT_SIZE_MIN, &fat);
    end(fd, fat);
    assert_clean("empty.img");
}

static void fsck_finds_a_broken_one(void **state)
{
    static const uint8_t next[4] = {0xff, 0xff, 0xff, 0x0f};
    struct error err = {0};
    int fd;

    (void)state;
    need_tool("fsck.fat");
    write_tree("broken.img", 0, FAT_SIZE_MIN);
    fd = open("broken.img", O_RDWR | O_CLOEXEC);
    /* Ends BOOTX64.EFI's chain at its second cluster, in the first FAT. */
    assert_int_equal(file_pwrite(fd, next, 4, 32 * 512 + 4 * 4, "broken.img", &err), 0);
    close(fd);
    free(RUN("sh", "-c", "! fsck.fat -n broken.img"));
}

static void mtools_reads_back_names_and_contents(void **state)
{
    (void)state;
    need_tool("mcopy");
    write_tree("read.img", 2 * MIB, 64 * MIB);
    write_reference("expected");
    free(RUN("mkdir", "read"));
    free(RUN("mcopy", "-s", "-Q", "-i", "read.img@@2097152", "::*", "read/"));
    free(RUN("diff", "-r", "expected", "read"));
    /* diff -r takes an empty directory for none only on one side; count them all. */
    free(RUN("sh", "-c",
             "(cd expected && find . | sort) > a && (cd read && find . | sort) > b && cmp a b"));
}

static void only_names_that_need_it_have_a_long_one(void **state)
{
    SCOPED_FREE char *root = NULL, *entries = NULL;

    (void)state;
    need_tool("mdir");
    write_tree("names.img", 0, FAT_SIZE_MIN);
    root = RUN("mdir", "-a", "-i", "names.img", "::");
    assert_non_null(strstr(root, "Volume in drive : is ESP        \n"));
    assert_non_null(strstr(root, "Volume Serial Number is 1234-ABCD\n"));
    assert_non_null(strstr(root, "\nUPPER    EFI         6 2023-11-14  22:13 \n"));
    assert_non_null(strstr(root, "\nMIXED    EFI         7 2023-11-14  22:13  Mixed.Efi\n"));
    assert_non_null(strstr(root, "\nEFI          <DIR>     2023-11-14  22:13 \n"));
    assert_non_null(strstr(root, "\nLOADER       <DIR>     2023-11-14  22:13  loader\n"));
    assert_non_null(strstr(root, "\n12345678 123         8 2023-11-14  22:13 \n"));
    assert_non_null(strstr(root, "\n123456~1 123         9 2023-11-14  22:13  123456789.123\n"));
    assert_non_null(strstr(root, "\n123456~2 123        10 2023-11-14  22:13  12345678.1234\n"));
    assert_non_null(strstr(root, "\nABC~1    D           5 2023-11-14  22:13  a.b.c.d\n"));
    entries = RUN("mdir", "-a", "-i", "names.img", "::loader/entries");
    assert_non_null(strstr(entries, "\nTHIRTE~1 CHA        13 2023-11-14  22:13  thirteen.char\n"));
    assert_non_null(strstr(entries, "\nHIDDEN~1             7 2023-11-14  22:13  .hidden\n"));
    assert_non_null(strstr(entries, "  Grüße aus Köln.txt\n"));
    assert_non_null(strstr(entries, "  日本語の名前\n"));
}

/* mtools has no characters beyond 16 bits: look at the entry itself. */
static void characters_beyond_16_bits_are_surrogate_pairs(void **state)
{
    static const uint8_t expected[] = {0x41, 'c',  0, 'l', 0,    'e',  0,    'f',  0, ' ',
                                       0,    0x0f, 0, 0,   0x34, 0xd8, 0x1e, 0xdd, 0, 0};
    const uint64_t root = (32 + 2 * 540) * 512;
    struct error err = {0};
    struct fat *fat = NULL;
    uint8_t entries[4 * 32];
    int fd = begin("pair.img", 0, FAT_SIZE_MIN, &fat);

    (void)state;
    add_file(fat, "clef \xf0\x9d\x84\x9e", 0);
    end(fd, fat);
    fd = open("pair.img", O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_pread(fd, entries, sizeof(entries), root, "pair.img", &err), 0);
    close(fd);
    assert_memory_equal(entries, "ESP        \x08", 12);
    entries[32 + 13] = 0; /* the checksum, which fsck.fat looks after */
    assert_memory_equal(entries + 32, expected, sizeof(expected));
    assert_memory_equal(entries + 64, "CLEF_~1    \x20", 12);
    assert_int_equal(entries[96], 0);
}

static void file_knows_it_for_fat32(void **state)
{
    SCOPED_FREE char *said = NULL;

    (void)state;
    need_tool("file");
    write_tree("file.img", 0, FAT_SIZE_MIN);
    said = RUN("file", "-b", "file.img");
    assert_non_null(strstr(said, "FAT (32 bit)"));
    assert_non_null(strstr(said, "serial number 0x1234abcd"));
    assert_non_null(strstr(said, "label: \"ESP        \""));
}

static void time_zone_and_umask_change_no_byte(void **state)
{
    static const char *const zones[] = {"UTC", "Asia/Tokyo", "America/New_York", ":nowhere"};
    mode_t old = umask(022);

    (void)state;
    write_tree("same0.img", MIB, FAT_SIZE_MIN);
    for (size_t i = 0; i < COUNT(zones); i++) {
        setenv("TZ", zones[i], 1);
        tzset();
        (void)umask(i % 2 == 0 ? 077 : 0);
        write_tree("same1.img", MIB, FAT_SIZE_MIN);
        free(RUN("cmp", "same0.img", "same1.img"));
    }
    unsetenv("TZ");
    tzset();
    (void)umask(old);
}

static void the_cluster_size_follows_microsofts_table(void **state)
{
    static const struct {
        uint64_t size;
        unsigned sectors;
    } rows[] = {
        {34 * MIB, 1}, {260 * MIB, 1},       {261 * MIB, 8},       {8 * GIB, 8},
        {9 * GIB, 16}, {16 * GIB + MIB, 32}, {32 * GIB + MIB, 64},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = {0};
        struct fat *fat = NULL;
        uint8_t sector[512], backup[512];
        int fd = begin("cluster.img", 3 * MIB, rows[i].size, &fat);

        end(fd, fat);
        fd = open("cluster.img", O_RDONLY | O_CLOEXEC);
        assert_int_equal(file_pread(fd, sector, 512, 3 * MIB, "x", &err), 0);
        assert_int_equal(file_pread(fd, backup, 512, 3 * MIB + 6 * 512, "x", &err), 0);
        close(fd);
        assert_int_equal(sector[13], rows[i].sectors);
        assert_memory_equal(sector, backup, 512);
        assert_int_equal(sector[28] | sector[29] << 8, 3 * MIB / 512); /* hidden sectors */
        assert_int_equal(sector[24], 63);
        assert_int_equal(sector[26], 255);
        assert_int_equal(sector[510] | sector[511] << 8, 0xaa55);
    }
}

static void zeros_take_no_space_on_the_host(void **state)
{
    SCOPED_FREE uint8_t *zeros = xcalloc(1, MIB);
    struct error err = {0};
    struct fat *fat = NULL;
    struct stat st;
    int fd = begin("sparse.img", 0, 9 * GIB, &fat);

    (void)state;
    assert_int_equal(fat_file(fat, "zeros", MTIME, 64 * MIB, &err), 0);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(fat_data(fat, zeros, MIB, &err), 0);
    }
    end(fd, fat);
    assert_int_equal(stat("sparse.img", &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 < MIB);
}

static void times_are_kept_between_1980_and_2107(void **state)
{
    static const struct {
        const char *name;
        int64_t mtime;
        const char *line;
    } rows[] = {
        {"BEFORE", -5, "BEFORE               0 1980-01-01   0:00"},
        {"FIRST", 315532860, "FIRST                0 1980-01-01   0:01"},
        {"LEAP", 1709210096, "LEAP                 0 2024-02-29  12:34"},
        {"LAST", 4354819199, "LAST                 0 2107-12-31  23:59"},
        {"AFTER", INT64_MAX, "AFTER                0 2107-12-31  23:59"},
    };
    SCOPED_FREE char *seen = NULL;
    struct error err = {0};
    struct fat *fat = NULL;
    int fd;

    (void)state;
    need_tool("mdir");
    fd = begin("times.img", 0, FAT_SIZE_MIN, &fat);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(fat_file(fat, rows[i].name, rows[i].mtime, 0, &err), 0);
    }
    end(fd, fat);
    seen = RUN("mdir", "-i", "times.img", "::");
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_non_null(strstr(seen, rows[i].line));
    }
}

static void thousands_of_like_names_get_different_short_ones(void **state)
{
    struct fat *fat = NULL;
    int fd;

    (void)state;
    need_tool("fsck.fat");
    need_tool("mdir");
    fd = begin("many.img", 0, FAT_SIZE_MIN, &fat);
    add_dir(fat, "many");
    for (int i = 0; i < 3000; i++) {
        SCOPED_FREE char *path = xprintf("many/a name like many others %d.text", i);
        struct error err = {0};

        assert_int_equal(fat_file(fat, path, MTIME, 0, &err), 0);
    }
    /* Takes the alias that the first one would have got. */
    add_dir(fat, "many/ANAMEL~1.TEX");
    end(fd, fat);
    assert_clean("many.img");
    free(
        RUN("sh", "-c",
            "mdir -i many.img ::many | grep -c '^[A-Z0-9~]* *TEX .* a name like' > seen &&"
            "test $(cat seen) = 3000 &&"
            "mdir -i many.img ::many | grep -q '^ANAMEL~1 TEX <DIR>' &&"
            "mdir -i many.img ::many | grep -q '^ANAMEL~2 TEX .* a name like many others 0.text'"));
}

static void names_fat_cannot_hold_are_refused(void **state)
{
    static const struct {
        const char *path, *message;
    } rows[] = {
        {"a\"b", "partition 'esp': 'a\"b': a name on FAT cannot hold any of \" * / : < > ? \\ |"},
        {"a*b", "cannot hold any of"},
        {"a:b", "cannot hold any of"},
        {"a<b", "cannot hold any of"},
        {"a>b", "cannot hold any of"},
        {"a?b", "cannot hold any of"},
        {"a\\b", "cannot hold any of"},
        {"a|b", "cannot hold any of"},
        {"a\nb", "control characters"},
        {"a\x7f", "control characters"},
        {"a.", "cannot end in a dot or a blank"},
        {"a ", "cannot end in a dot or a blank"},
        {"...", "cannot end in a dot or a blank"},
        {".", "'.': not a name"},
        {"..", "'..': not a name"},
        {"", "'': not a name"},
        {"dir/", "'dir/': not a name"},
        {"/x", "there is no directory for it"},
        {"dir//x", "there is no directory for it"},
        {"a\xff", "not UTF-8"},
        {"\xed\xa0\x80", "not UTF-8"},
        {"missing/x", "partition 'esp': 'missing/x': there is no directory for it"},
        {"FILE/x", "there is no directory for it"},
        {"FILE", "partition 'esp': 'FILE': it is there already"},
        {"file", "partition 'esp': 'FILE' and 'file' differ in case only"},
        {"dir/KÖLN", "'dir/Köln' and 'dir/KÖLN' differ in case only"},
        {"dir/ЖУК", "'dir/жук' and 'dir/ЖУК' differ in case only"},
        {"DIR", "'dir' and 'DIR' differ in case only"},
    };
    struct fat *fat = NULL;
    int fd = begin("refused.img", 0, FAT_SIZE_MIN, &fat);

    (void)state;
    add_dir(fat, "dir");
    add_file(fat, "FILE", 0);
    add_file(fat, "dir/Köln", 0);
    add_file(fat, "dir/жук", 0);
    add_file(fat, "dir/FILE", 0); /* the same name elsewhere is another */
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = {0};

        assert_int_equal(fat_file(fat, rows[i].path, MTIME, 0, &err), -1);
        if (strstr(err.message, rows[i].message) == NULL) {
            fail_msg("'%s': %s", rows[i].path, err.message);
        }
    }
    end(fd, fat);
}

static void names_of_255_units_are_the_longest(void **state)
{
    struct error err = {0};
    struct fat *fat = NULL;
    char ascii[257], wide[2 * 255 + 1], pairs[128 * 4 + 1];
    int fd;

    (void)state;
    need_tool("fsck.fat");
    fd = begin("long.img", 0, FAT_SIZE_MIN, &fat);
    memset(ascii, 'n', 256);
    ascii[256] = '\0';
    for (int i = 0; i < 255; i++) {
        memcpy(wide + 2 * i, "ü", 3);
    }
    for (int i = 0; i < 128; i++) {
        memcpy(pairs + 4 * i, "\xf0\x9d\x84\x9e", 5);
    }
    assert_int_equal(fat_file(fat, ascii, MTIME, 0, &err), -1);
    assert_non_null(strstr(err.message, "longer than the 255 UTF-16 units"));
    fail_clear(&err);
    assert_int_equal(fat_file(fat, pairs, MTIME, 0, &err), -1);
    assert_non_null(strstr(err.message, "longer than the 255 UTF-16 units"));
    ascii[255] = '\0';
    pairs[4 * 127] = '\0';
    add_file(fat, ascii, 0);
    add_file(fat, wide, 0);
    add_file(fat, pairs, 0);
    end(fd, fat);
    assert_clean("long.img");
}

static void short_names_follow_the_rules(void **state)
{
    static const struct {
        const char *name;
        unsigned try; /* 0: is_short, with no alias */
        const char *expected;
    } rows[] = {
        {"EFI", 0, "EFI        "},         {"efi", 0, "EFI        "},
        {"bootx64.efi", 0, "BOOTX64 EFI"}, {"A$%'-_@~", 0, "A$%'-_@~   "},
        {"grub.d", 0, "GRUB    D  "},      {"longer.than", 1, "LONGER~1THA"},
        {"abcdefghi", 1, "ABCDEF~1   "},   {"a b", 1, "AB~1       "},
        {"a+b=[c]", 1, "A_B__C~1   "},     {".profile", 1, "PROFIL~1   "},
        {"..a.b", 1, "A~1     B  "},       {"ä", 1, "_~1        "},
        {"x.tar.gz", 1, "XTAR~1  GZ "},    {"x.tar.gz", 4, "XTAR~4  GZ "},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fat_name name = {0};
        uint8_t out[FAT_SHORT_SIZE];

        assert_null(fat_name_parse(rows[i].name, strlen(rows[i].name), &name));
        assert_int_equal(name.is_short, rows[i].try == 0);
        if (name.is_short) {
            fat_name_short(&name, out);
        } else {
            fat_name_alias(&name, rows[i].try, out);
        }
        assert_memory_equal(out, rows[i].expected, FAT_SHORT_SIZE);
        free(name.units);
    }
}

static void aliases_stay_in_bounds_whatever_the_try(void **state)
{
    struct fat_name name = {0};
    uint8_t out[FAT_SHORT_SIZE];

    (void)state;
    assert_null(fat_name_parse("x.tar.gz", 8, &name));
    for (unsigned try = 1; try < 200000; try += 997) {
        fat_name_alias(&name, try, out);
        assert_memory_equal(out + 8, "GZ ", 3);
        assert_true(try < 5 || (out[6] == '~' && out[7] >= '1' && out[7] <= '9'));
    }
    free(name.units);
}

static void a_full_one_says_who_needs_how_much(void **state)
{
    struct error err = {0};
    struct fat *fat = NULL;
    SCOPED_FREE uint8_t *byte = xcalloc(1, 1);
    int fd = begin("full.img", 0, FAT_SIZE_MIN, &fat);

    (void)state;
    assert_int_equal(fat_file(fat, "BIG", MTIME, 40 * MIB, &err), -1);
    assert_string_equal(err.message,
                        "partition 'esp': full: 'BIG' needs 40 MiB, 33.5 MiB are left");
    fail_clear(&err);
    /* All but one cluster, which the directory then lacks. */
    assert_int_equal(fat_file(fat, "FITS", MTIME, (68520 - 2) * 512, &err), 0);
    for (unsigned i = 0; i < (68520 - 2) * 512; i += 512) {
        static const uint8_t sector[512];

        assert_int_equal(fat_data(fat, sector, 512, &err), 0);
    }
    add_dir(fat, "d1");
    add_dir(fat, "d2");
    assert_int_equal(fat_finish(fat, &err), -1);
    assert_string_equal(err.message, "partition 'esp': full: 'd2' needs 512 B, 0 B are left");
    fat_free(fat);
    close(fd);
}

static void every_cluster_can_be_used(void **state)
{
    static const uint8_t sector[512] = {1};
    struct error err = {0};
    struct fat *fat = NULL;
    int fd;

    (void)state;
    need_tool("fsck.fat");
    fd = begin("brim.img", 0, FAT_SIZE_MIN, &fat);
    assert_int_equal(fat_file(fat, "FITS", MTIME, (68520 - 1) * 512, &err), 0);
    for (unsigned i = 0; i < 68520 - 1; i++) {
        assert_int_equal(fat_data(fat, sector, 512, &err), 0);
    }
    end(fd, fat);
    assert_clean("brim.img");
}

static void a_directory_holds_65536_entries(void **state)
{
    struct error err = {0};
    struct fat *fat = NULL;
    int fd = begin("entries.img", 0, FAT_SIZE_MIN, &fat);
    char path[32];

    (void)state;
    add_dir(fat, "D");
    for (unsigned i = 0; i < 65534; i++) {
        (void)snprintf(path, sizeof(path), "D/F%u", i);
        assert_int_equal(fat_file(fat, path, MTIME, 0, &err), 0);
    }
    assert_int_equal(fat_file(fat, "D/ONE", MTIME, 0, &err), -1);
    assert_non_null(strstr(err.message, "'D/ONE': its directory has 65536 entries"));
    end(fd, fat);
}

static void what_is_not_its_size_is_an_error(void **state)
{
    struct error err = {0};
    struct fat *fat = NULL;
    int fd = begin("size.img", 0, FAT_SIZE_MIN, &fat);

    (void)state;
    assert_int_equal(fat_file(fat, "HUGE", MTIME, 4 * GIB, &err), -1);
    assert_string_equal(err.message,
                        "partition 'esp': 'HUGE' has 4 GiB; FAT holds files of less than 4 GiB");
    fail_clear(&err);
    assert_int_equal(fat_file(fat, "MORE", MTIME, 2, &err), 0);
    assert_int_equal(fat_data(fat, "abc", 3, &err), -1);
    assert_string_equal(err.message, "partition 'esp': 'MORE': more bytes came than it has");
    fail_clear(&err);
    assert_int_equal(fat_data(fat, "a", 1, &err), 0);
    assert_int_equal(fat_file(fat, "NEXT", MTIME, 0, &err), -1);
    assert_string_equal(err.message, "partition 'esp': 'MORE': 1 bytes came of 2");
    fail_clear(&err);
    assert_int_equal(fat_file(fat, "LAST", MTIME, 9, &err), 0);
    assert_int_equal(fat_finish(fat, &err), -1);
    assert_string_equal(err.message, "partition 'esp': 'LAST': 0 bytes came of 9");
    fat_free(fat);
    close(fd);
}

static void sizes_that_cannot_be_fat32_are_refused(void **state)
{
    struct error err = {0};
    struct fat *fat = NULL;

    (void)state;
    assert_int_equal(fat_new(-1, 0, 33 * MIB, 1, "", "esp", &fat, &err), -1);
    assert_string_equal(err.message, "partition 'esp': 34603008 bytes cannot be FAT32");
    fail_clear(&err);
    assert_int_equal(fat_new(-1, 0, 2048 * GIB, 1, "", "esp", &fat, &err), -1);
    assert_null(fat);
}

static void a_disk_that_cannot_be_written_is_an_error(void **state)
{
    struct error err = {0};
    struct fat *fat = NULL;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(fat_new(fd, 0, FAT_SIZE_MIN, 1, "", "esp", &fat, &err), 0);
    assert_int_equal(fat_finish(fat, &err), -1);
    assert_string_equal(err.message, "partition 'esp': write 'FAT': No space left on device");
    fat_free(fat);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fsck_finds_it_clean_at_every_size),
        cmocka_unit_test(an_empty_one_is_clean),
        cmocka_unit_test(fsck_finds_a_broken_one),
        cmocka_unit_test(mtools_reads_back_names_and_contents),
        cmocka_unit_test(only_names_that_need_it_have_a_long_one),
        cmocka_unit_test(characters_beyond_16_bits_are_surrogate_pairs),
        cmocka_unit_test(file_knows_it_for_fat32),
        cmocka_unit_test(time_zone_and_umask_change_no_byte),
        cmocka_unit_test(the_cluster_size_follows_microsofts_table),
        cmocka_unit_test(zeros_take_no_space_on_the_host),
        cmocka_unit_test(times_are_kept_between_1980_and_2107),
        cmocka_unit_test(thousands_of_like_names_get_different_short_ones),
        cmocka_unit_test(names_fat_cannot_hold_are_refused),
        cmocka_unit_test(names_of_255_units_are_the_longest),
        cmocka_unit_test(short_names_follow_the_rules),
        cmocka_unit_test(aliases_stay_in_bounds_whatever_the_try),
        cmocka_unit_test(a_full_one_says_who_needs_how_much),
        cmocka_unit_test(every_cluster_can_be_used),
        cmocka_unit_test(a_directory_holds_65536_entries),
        cmocka_unit_test(what_is_not_its_size_is_an_error),
        cmocka_unit_test(sizes_that_cannot_be_fat32_are_refused),
        cmocka_unit_test(a_disk_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
