/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/extents.h"

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

static void long_pieces_take_several_extents(void **state)
{
    const struct piece pieces[] = {
        {0, 100, 1}, {1, 200, 32768}, {40000, 40000, 32769}, {90000, 1ULL << 33, 1ULL << 32}};

    (void)state;
    assert_int_equal(extents_count(pieces, 0), 0);
    assert_int_equal(extents_count(pieces, 1), 1);
    assert_int_equal(extents_count(pieces, 2), 2);
    assert_int_equal(extents_count(pieces, 3), 4);
    assert_int_equal(extents_count(pieces, 4), 4 + 131072);
}

static void the_tree_is_as_large_as_it_has_to_be(void **state)
{
    static const struct {
        size_t extents, blocks;
    } cases[] = {
        {0, 0},
        {1, 0},
        {4, 0},
        {5, 1},
        {340, 1},
        {341, 2},
        {1360, 4},
        {1361, 5 + 1},
        {340 * 340, 340 + 1},
        {340 * 340 + 1, 341 + 2},
        {340 * 340 * 4, 1360 + 4},
        {340 * 340 * 4 + 1, 1361 + 5 + 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(extents_blocks(cases[i].extents), cases[i].blocks);
    }
}

/* A file of COUNT blocks of data, each followed by a hole: as many extents. */
static void add_holed(struct image *image, const char *path, size_t count)
{
    SCOPED_FREE struct data *data = xcalloc(count, sizeof(*data));
    uint8_t block[4096];

    memset(block, 'x', sizeof(block));
    for (size_t i = 0; i < count; i++) {
        data[i] = (struct data){i * 8192, block, sizeof(block)};
    }
    image_add(image, (struct entry){.path = path, .type = ENTRY_FILE, .size = count * 8192}, data,
              count);
}

/* Extents that debugfs finds in a file; the levels of the tree in *RET_LEVELS. */
static size_t count_extents(const struct image *image, const char *path, unsigned *ret_levels)
{
    SCOPED_FREE char *command = xprintf("dump_extents -l %s", path);
    SCOPED_FREE char *text = image_debugfs(image, command);
    char *rest = text;
    size_t count = 0;

    *ret_levels = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        unsigned level, last;

        if (sscanf(line, " %u/ %u", &level, &last) == 2) {
            count++;
            *ret_levels = last;
        }
    }
    return count;
}

/* Holes are read as zeros, data as what it is. */
static void must_read_back(const struct image *image, const char *path, size_t count)
{
    SCOPED_FREE char *command = xprintf("dump %s out", path);
    SCOPED_FREE char *text = image_debugfs(image, command);
    SCOPED(buf_done) struct buf buf = {0};
    struct error err = {0};

    assert_int_equal(file_read("out", SIZE_MAX / 2, &buf, &err), 0);
    assert_int_equal(buf.size, count * 8192);
    for (size_t i = 0; i < buf.size; i += 512) {
        assert_int_equal(buf.data[i], i % 8192 < 4096 ? 'x' : 0);
    }
}

static void files_of_any_number_of_extents_are_found_whole(void **state)
{
    static const size_t counts[] = {1, 4, 5, 340, 341, 1360, 1361};
    static const unsigned levels[] = {0, 0, 1, 1, 1, 1, 2};
    struct image image;
    unsigned found;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    image_file(&image, "none", NULL, 0);
    for (size_t i = 0; i < COUNT(counts); i++) {
        SCOPED_FREE char *path = xprintf("f%zu", counts[i]);

        add_holed(&image, path, counts[i]);
    }
    image_finish(&image);
    for (size_t i = 0; i < COUNT(counts); i++) {
        SCOPED_FREE char *path = xprintf("f%zu", counts[i]);

        assert_int_equal(count_extents(&image, path, &found), counts[i]);
        assert_int_equal(found, levels[i]);
        must_read_back(&image, path, counts[i]);
    }
    assert_int_equal(count_extents(&image, "none", &found), 0);
    image_done(&image);
}

static void a_tree_of_three_levels_is_found_whole(void **state)
{
    enum { MANY = 340 * 340 + 1 };
    struct image image;
    unsigned levels;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "2GiB", NULL);
    add_holed(&image, "f", MANY);
    image_finish(&image);
    assert_int_equal(count_extents(&image, "f", &levels), MANY);
    assert_int_equal(levels, 2);
    image_done(&image);
}

static int store(void *data, uint64_t block, const uint8_t *bytes, struct error *err)
{
    uint8_t *blocks = data;

    (void)err;
    memcpy(blocks + block * VOLUME_BLOCK, bytes, VOLUME_BLOCK);
    return 0;
}

static int refuse(void *data, uint64_t block, const uint8_t *bytes, struct error *err)
{
    size_t *calls = data;

    (void)block;
    (void)bytes;
    ++*calls;
    err->kind = FAIL_ERROR;
    return -1;
}

/* What no small image can have: blocks beyond 2^32, the last block of a file. */
static void block_numbers_of_48_bits_are_whole(void **state)
{
    const uint64_t far = (1ULL << 34) + 5; /* of a file system of 64 TiB */
    const struct piece pieces[] = {{7, far, 40000}, {UINT32_MAX - 1ULL, 3, 1}};
    uint8_t root[EXTENTS_ROOT];
    struct image image;
    struct error err = {0};

    (void)state;
    image_new(&image, "a.img", "1GiB", NULL);
    assert_int_equal(extents_write(image_volume(&image), 12, pieces, COUNT(pieces), NULL, NULL,
                                   NULL, root, &err),
                     0);
    assert_int_equal(get16(root), 0xf30a);
    assert_int_equal(get16(root + 2), 3);
    assert_int_equal(get16(root + 4), 4);
    assert_int_equal(get16(root + 6), 0);
    assert_int_equal(get32(root + 12), 7);
    assert_int_equal(get16(root + 16), 32768);
    assert_int_equal(get16(root + 18), far >> 32);
    assert_int_equal(get32(root + 20), 5);
    assert_int_equal(get32(root + 24), 7 + 32768);
    assert_int_equal(get16(root + 28), 40000 - 32768);
    assert_int_equal(get16(root + 30), far >> 32);
    assert_int_equal(get32(root + 32), 5 + 32768);
    assert_int_equal(get32(root + 36), UINT32_MAX - 1U);
    image_done(&image);
}

/* Every extent is found from the root: four levels, which would be a file of 462401 pieces. */
static void four_levels_point_to_everything(void **state)
{
    enum { MANY = 340 * 340 * 4 + 1 };
    SCOPED_FREE struct piece *pieces = xcalloc(MANY, sizeof(*pieces));
    SCOPED_FREE uint64_t *numbers = NULL;
    SCOPED_FREE uint8_t *blocks = NULL;
    size_t count, calls = 0, at = 0;
    uint8_t root[EXTENTS_ROOT];
    struct image image;
    struct error err = {0};

    (void)state;
    image_new(&image, "a.img", "1GiB", NULL);
    for (size_t i = 0; i < MANY; i++) {
        pieces[i] = (struct piece){2 * i, 1000000 + 2 * i, 1};
    }
    count = extents_blocks(MANY);
    numbers = xcalloc(count, sizeof(*numbers));
    blocks = xcalloc(count, VOLUME_BLOCK);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = i;
    }
    assert_int_equal(
        extents_write(image_volume(&image), 12, pieces, MANY, numbers, store, blocks, root, &err),
        0);
    assert_int_equal(get16(root + 6), 3);
    assert_int_equal(get16(root + 2), 1);
    for (uint64_t top = get32(root + 16), i = 0; i < get16(blocks + top * VOLUME_BLOCK + 2); i++) {
        const uint8_t *middle =
            blocks + (size_t)get32(blocks + top * VOLUME_BLOCK + 12 + i * 12 + 4) * VOLUME_BLOCK;

        assert_int_equal(get16(middle + 6), 1);
        for (size_t j = 0; j < get16(middle + 2); j++) {
            const uint8_t *leaf = blocks + (size_t)get32(middle + 12 + j * 12 + 4) * VOLUME_BLOCK;

            assert_int_equal(get16(leaf + 6), 0);
            assert_int_equal(get32(middle + 12 + j * 12), 2 * at);
            for (size_t k = 0; k < get16(leaf + 2); k++, at++) {
                assert_int_equal(get32(leaf + 12 + k * 12), 2 * at);
                assert_int_equal(get32(leaf + 12 + k * 12 + 8), 1000000 + 2 * at);
            }
        }
    }
    assert_int_equal(at, MANY);
    assert_int_equal(
        extents_write(image_volume(&image), 12, pieces, MANY, numbers, refuse, &calls, root, &err),
        -1);
    assert_int_equal(calls, 1);
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_pieces_take_several_extents),
        cmocka_unit_test(the_tree_is_as_large_as_it_has_to_be),
        cmocka_unit_test(files_of_any_number_of_extents_are_found_whole),
        cmocka_unit_test(a_tree_of_three_levels_is_found_whole),
        cmocka_unit_test(block_numbers_of_48_bits_are_whole),
        cmocka_unit_test(four_levels_point_to_everything),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
