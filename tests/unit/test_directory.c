/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/directory.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#include "image.h"

enum { LEAF = 3063 /* bytes of names in a leaf at first */ };

/* Adds COUNT empty files with names of LENGTH bytes, the last one of LAST. */
static void add_names(struct image *image, const char *directory, size_t count, size_t length,
                      size_t last)
{
    image_directory(image, directory);
    for (size_t i = 0; i < count; i++) {
        SCOPED_FREE char *path =
            xprintf("%s/%0*zu", directory, (int)(i + 1 < count ? length : last), i);

        image_file(image, path, NULL, 0);
    }
}

/* Names in DIRECTORY as debugfs lists them, "." and ".." left out; *RET_BLOCKS is its size. */
static size_t count_names(const struct image *image, const char *directory)
{
    SCOPED_FREE char *command = xprintf("ls -p %s", directory);
    SCOPED_FREE char *text = image_debugfs(image, command);
    size_t count = 0;

    /* What hides the index has inode 0. */
    for (const char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        count += at[0] == '/' && at[1] != '0';
    }
    return count - 2;
}

static size_t count_blocks(const struct image *image, const char *directory)
{
    SCOPED_FREE char *command = xprintf("stat %s", directory);
    SCOPED_FREE char *text = image_debugfs(image, command);
    const char *size = strstr(text, "Size: ");
    const char *flags = strstr(text, "Flags: ");
    size_t blocks;

    assert_true(size != NULL && flags != NULL);
    blocks = (size_t)(strtoul(size + 6, NULL, 10) / 4096);
    /* More than one block: with an index. */
    assert_int_equal(strtoul(flags + 7, NULL, 16), blocks > 1 ? 0x81000 : 0x80000);
    return blocks;
}

static void blocks_follow_from_the_bytes(void **state)
{
    (void)state;
    assert_int_equal(directory_entry_bytes(1), 12);
    assert_int_equal(directory_entry_bytes(4), 12);
    assert_int_equal(directory_entry_bytes(5), 16);
    assert_int_equal(directory_entry_bytes(255), 264);
    assert_int_equal(directory_blocks(0), 1);
    assert_int_equal(directory_blocks(4060), 1);
    assert_int_equal(directory_blocks(4064), 3);
    assert_int_equal(directory_blocks(2 * LEAF), 3);
    assert_int_equal(directory_blocks(2 * LEAF + 1), 4);
    assert_int_equal(directory_blocks(507 * LEAF), 508);
    assert_int_equal(directory_blocks(507 * LEAF + 1), 1 + 1 + 508);
    assert_int_equal(directory_blocks(510 * LEAF), 1 + 1 + 510);
    assert_int_equal(directory_blocks(510 * LEAF + 1), 1 + 2 + 511);
    assert_true(directory_is_possible(508));
    assert_true(directory_is_possible(507 * 510));
    assert_false(directory_is_possible(507 * 510 + 1));
}

static void directories_of_any_size_are_found_whole(void **state)
{
    static const struct {
        size_t count, length, last, blocks;
    } cases[] = {
        {1, 1, 1, 1},         {2, 1, 1, 1},
        {3, 255, 255, 1},     {16, 255, 92, 1}, /* exactly full */
        {16, 255, 93, 3},                       /* one byte too many */
        {16, 255, 255, 3},                      /* leaves of few long names */
        {382, 5, 5, 3},                         /* 6112 bytes: two leaves as full as they become */
        {383, 5, 5, 4},                         /* and one name more */
        {5000, 20, 20, 47},   {5883, 255, 84, 508}, /* as many leaves as the root takes */
        {5883, 255, 85, 510},                       /* one more: two levels */
    };
    struct image image;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "2GiB", NULL);
    image_directory(&image, "empty");
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *name = xprintf("d%zu", i);

        add_names(&image, name, cases[i].count, cases[i].length, cases[i].last);
    }
    image_finish(&image);
    assert_int_equal(count_names(&image, "empty"), 0);
    assert_int_equal(count_blocks(&image, "empty"), 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *name = xprintf("d%zu", i);

        assert_int_equal(count_names(&image, name), cases[i].count);
        assert_int_equal(count_blocks(&image, name), cases[i].blocks);
    }
    image_done(&image);
}

static void names_by_the_hundred_thousand(void **state)
{
    struct image image;
    SCOPED_FREE char *text = NULL;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "4GiB", NULL);
    add_names(&image, "d", 200000, 8, 8);
    image_finish(&image);
    assert_int_equal(count_names(&image, "d"), 200000);
    text = image_debugfs(&image, "htree_dump d");
    assert_non_null(strstr(text, "Indirect levels: 1"));
    image_done(&image);
}

/* --- hashes -------------------------------------------------------------------------------- */

struct hashed {
    uint32_t hash;
    uint32_t number;
};

static int by_hash(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;

    return x->hash != y->hash       ? (x->hash < y->hash ? -1 : 1)
           : x->number != y->number ? (x->number < y->number ? -1 : 1)
                                    : 0;
}

static char *name_of(uint32_t number)
{
    return xprintf("%08u", number);
}

static struct hashed *hash_names(const struct volume *volume, size_t count)
{
    struct hashed *all = xcalloc(count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        SCOPED_FREE char *name = name_of((uint32_t)i);
        uint32_t minor;

        volume_hash_name(volume, name, strlen(name), &all[i].hash, &minor);
        all[i].number = (uint32_t)i;
    }
    qsort(all, count, sizeof(*all), by_hash);
    return all;
}

/* Two names of one hash, the last of a leaf and the first of the next: the index says so. */
static void names_of_one_hash_in_two_leaves(void **state)
{
    enum { NAMES = 400000, AROUND = 150 };
    SCOPED_FREE struct hashed *all = NULL;
    SCOPED_FREE char *text = NULL, *odd = NULL;
    struct image image;
    size_t pair = AROUND;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    all = hash_names(image_volume(&image), NAMES);
    while (pair + AROUND < NAMES &&
           (all[pair].hash != all[pair + 1].hash || all[pair - 1].hash == all[pair].hash)) {
        pair++;
    }
    assert_true(pair + AROUND < NAMES);
    image_directory(&image, "d");
    for (size_t i = pair - AROUND; i < pair + 2 + AROUND; i++) {
        SCOPED_FREE char *name = name_of(all[i].number);
        SCOPED_FREE char *path = xprintf("d/%s", name);

        image_file(&image, path, NULL, 0);
    }
    image_finish(&image);
    assert_int_equal(count_names(&image, "d"), 2 * AROUND + 2);
    assert_int_equal(count_blocks(&image, "d"), 3);
    text = image_debugfs(&image, "htree_dump d");
    odd = xprintf("Hash 0x%08x, block 2", all[pair].hash | 1);
    assert_non_null(strstr(text, odd));
    image_done(&image);
}

/* e2fsck computes every hash again, with the sign of char that the superblock names. */
static void bytes_beyond_ascii_are_hashed_as_signed(void **state)
{
    struct image image;
    unsigned count = 0;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    image_directory(&image, "d");
    for (unsigned a = 1; a < 256; a += 3) {
        for (unsigned b = 128; b < 256; b += 4) {
            char path[8] = {'d', '/', (char)a, (char)b, (char)(a ^ b), '\0'};

            if (a != '/' && (a ^ b) != '/' && (a ^ b) != 0) {
                image_file(&image, path, NULL, 0);
                count++;
            }
        }
    }
    assert_true(count > 2000);
    image_finish(&image);
    assert_true(count_blocks(&image, "d") > 3);
    image_done(&image);
}

/* The whole of what is known about the algorithm: what debugfs computes with the same seed. */
static void hashes_are_those_of_debugfs(void **state)
{
    static const char *const names[] = {"a", "passwd", "\xc3\xbc\xff\x80", "x86_64-linux-gnu",
                                        "0123456789012345678901234567890123456789"};
    struct image image;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    for (size_t i = 0; i < COUNT(names); i++) {
        char seed[UUID_TEXT_MAX];
        SCOPED_FREE char *command =
            xprintf("dx_hash -h half_md4 -s %s %s",
                    uuid_text(&image.plan->partitions[0].hash_seed, seed), names[i]);
        SCOPED_FREE char *text = RUN("debugfs", "-R", command);
        SCOPED_FREE char *expected = NULL;
        uint32_t hash, minor;

        volume_hash_name(image_volume(&image), names[i], strlen(names[i]), &hash, &minor);
        expected = xprintf("is 0x%08x (minor 0x%08x)", hash, minor);
        if (strstr(text, expected) == NULL) {
            fail_msg("%s is not: %s", expected, text);
        }
    }
    image_done(&image);
}

static void the_order_of_arrival_does_not_matter_to_an_index(void **state)
{
    enum { COUNT_OF = 600 };
    struct image image;
    SCOPED_FREE uint8_t *a = NULL, *b = NULL;
    SCOPED_FREE struct name *names = xcalloc(COUNT_OF, sizeof(*names));
    char texts[COUNT_OF][8];
    size_t blocks = directory_blocks(COUNT_OF * directory_entry_bytes(5));

    (void)state;
    image_new(&image, "a.img", "1GiB", NULL);
    for (size_t i = 0; i < COUNT_OF; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%05zu", i);
        names[i] = (struct name){texts[i], 5, 1, (uint32_t)(100 + i)};
    }
    a = xcalloc(blocks, VOLUME_BLOCK);
    b = xcalloc(blocks, VOLUME_BLOCK);
    directory_build(image_volume(&image), 12, 2, names, COUNT_OF, a, blocks);
    for (size_t i = 0; i < COUNT_OF; i++) {
        size_t at = i * 7 % COUNT_OF; /* 7 and 600 have no common factor */

        names[i] = (struct name){texts[at], 5, 1, (uint32_t)(100 + at)};
    }
    for (size_t i = 0; i < COUNT_OF / 2; i++) {
        struct name other = names[i];

        names[i] = names[COUNT_OF - 1 - i];
        names[COUNT_OF - 1 - i] = other;
    }
    directory_build(image_volume(&image), 12, 2, names, COUNT_OF, b, blocks);
    assert_memory_equal(a, b, blocks * VOLUME_BLOCK);
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_follow_from_the_bytes),
        cmocka_unit_test(directories_of_any_size_are_found_whole),
        cmocka_unit_test(names_by_the_hundred_thousand),
        cmocka_unit_test(names_of_one_hash_in_two_leaves),
        cmocka_unit_test(bytes_beyond_ascii_are_hashed_as_signed),
        cmocka_unit_test(hashes_are_those_of_debugfs),
        cmocka_unit_test(the_order_of_arrival_does_not_matter_to_an_index),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
