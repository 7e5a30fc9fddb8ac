/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "bundle/blocks.h"

#include <cmocka.h> /* last: it has a macro fail() */

struct place {
    char dir[32], disk[64], index[64];
};

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));

    strcpy(place->dir, "/tmp/kiln-blocks-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->disk, sizeof(place->disk), "%s/disk.raw", place->dir);
    (void)snprintf(place->index, sizeof(place->index), "%s/blocks.index", place->dir);
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

/* A sparse file of SIZE bytes with the runs of data given; what it reads as goes into *RET. */
struct run {
    uint64_t offset, size;
};

static char *make_disk(const struct place *place, uint64_t size, const struct run *runs,
                       size_t count)
{
    int fd = open(place->disk, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *content = xcalloc(1, size);
    struct error err = {0};
    unsigned random = 1;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (size_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < runs[i].size; k++) {
            random = random * 1103515245 + 12345;
            content[runs[i].offset + k] = (char)(random >> 16);
        }
        assert_int_equal(file_pwrite(fd, content + runs[i].offset, runs[i].size, runs[i].offset,
                                     place->disk, &err),
                         0);
    }
    assert_int_equal(close(fd), 0);
    return content;
}

/* The index as the format says, made the plain way. */
static void expect(const char *content, uint64_t size, struct buf *index, uint8_t digest[HASH_SIZE])
{
    struct hash *all = hash_new();
    char *block = xmalloc(BLOCK_SIZE);

    buf_printf(index, "kiln-blocks 1 524288 %llu\n", (unsigned long long)size);
    for (uint64_t at = 0; at < size; at += BLOCK_SIZE) {
        uint64_t there = size - at < BLOCK_SIZE ? size - at : BLOCK_SIZE;
        uint8_t one[HASH_SIZE];
        char hex[HASH_HEX_MAX];

        memset(block, 0, BLOCK_SIZE);
        memcpy(block, content + at, there);
        hash_bytes(block, BLOCK_SIZE, one);
        hash_add(all, one, sizeof(one));
        buf_printf(index, "%s\n", hash_hex(one, hex));
    }
    hash_end(all, digest);
    hash_free(all);
    free(block);
}

static void index_is_what_its_format_says(void **state)
{
    static const struct {
        uint64_t size;
        struct run runs[3];
    } cases[] = {
        {0, {{0}}},
        {1, {{0, 1}}},
        {BLOCK_SIZE, {{0}}},
        {BLOCK_SIZE, {{0, BLOCK_SIZE}}},
        {BLOCK_SIZE + 1, {{BLOCK_SIZE, 1}}},
        {40ULL * BLOCK_SIZE + 777, {{0}}},
        {40ULL * BLOCK_SIZE + 777, {{40ULL * BLOCK_SIZE + 700, 77}}},
        /* data in the middle of a block, over a border, and up to the end */
        {23ULL * BLOCK_SIZE,
         {{3 * BLOCK_SIZE + 65536, 4096},
          {7 * BLOCK_SIZE - 8192, 2 * BLOCK_SIZE},
          {22 * BLOCK_SIZE, BLOCK_SIZE}}},
        {17ULL * BLOCK_SIZE, {{0, 17ULL * BLOCK_SIZE}}},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct place *place = *state;
        char *content = make_disk(place, cases[i].size, cases[i].runs, 3);
        SCOPED(buf_done) struct buf expected = {0};
        SCOPED(buf_done) struct buf index = {0};
        uint8_t digest[HASH_SIZE], expected_digest[HASH_SIZE];
        struct error err = {0};

        expect(content, cases[i].size, &expected, expected_digest);
        assert_int_equal(blocks_write(place->disk, NULL, place->index, NULL, NULL, digest, &err),
                         0);
        assert_int_equal(file_read(place->index, 1 << 20, &index, &err), 0);
        assert_string_equal(index.data, expected.data);
        assert_memory_equal(digest, expected_digest, HASH_SIZE);
        free(content);
    }
}

static void holes_and_written_zeros_are_the_same(void **state)
{
    const struct place *place = *state;
    uint8_t digests[2][HASH_SIZE];
    struct error err = {0};
    char *zeros = make_disk(place, 3ULL * BLOCK_SIZE, NULL, 0);

    assert_int_equal(blocks_write(place->disk, NULL, place->index, NULL, NULL, digests[0], &err),
                     0);
    assert_int_equal(file_write(place->disk, zeros, 3ULL * BLOCK_SIZE, &err), 0);
    assert_int_equal(blocks_write(place->disk, NULL, place->index, NULL, NULL, digests[1], &err),
                     0);
    assert_memory_equal(digests[0], digests[1], HASH_SIZE);
    free(zeros);
}

static void a_flipped_bit_changes_one_line_and_the_digest(void **state)
{
    const struct place *place = *state;
    SCOPED(buf_done) struct buf before = {0}, after = {0};
    uint8_t digests[2][HASH_SIZE];
    struct error err = {0};
    const struct run run = {0, 4ULL * BLOCK_SIZE};
    char *content = make_disk(place, run.size, &run, 1);
    size_t changed = 0, header;

    assert_int_equal(blocks_write(place->disk, NULL, place->index, NULL, NULL, digests[0], &err),
                     0);
    assert_int_equal(file_read(place->index, 1 << 20, &before, &err), 0);
    content[2 * BLOCK_SIZE + 5] ^= 1;
    assert_int_equal(file_write(place->disk, content, run.size, &err), 0);
    assert_int_equal(blocks_write(place->disk, NULL, place->index, NULL, NULL, digests[1], &err),
                     0);
    assert_int_equal(file_read(place->index, 1 << 20, &after, &err), 0);
    header = strcspn(before.data, "\n") + 1;
    for (size_t i = 0; i < 4; i++) {
        changed += memcmp(before.data + header + 65 * i, after.data + header + 65 * i, 65) != 0;
    }
    assert_int_equal(changed, 1);
    assert_memory_not_equal(digests[0], digests[1], HASH_SIZE);
    free(content);
}

struct seen {
    uint64_t last;
    unsigned calls;
    bool back;
};

static void see(void *data, uint64_t done_bytes)
{
    struct seen *seen = data;

    seen->back = seen->back || done_bytes < seen->last;
    seen->last = done_bytes;
    seen->calls++;
}

static void progress_rises_to_the_size_of_the_disk(void **state)
{
    const struct place *place = *state;
    const struct run run = {0, 30ULL * BLOCK_SIZE};
    struct seen seen = {0};
    uint8_t digest[HASH_SIZE];
    struct error err = {0};

    free(make_disk(place, 64ULL * BLOCK_SIZE + 3, &run, 1));
    assert_int_equal(blocks_write(place->disk, NULL, place->index, see, &seen, digest, &err), 0);
    assert_false(seen.back);
    assert_int_equal(seen.last, 64ULL * BLOCK_SIZE + 3);
    assert_true(seen.calls >= 2);
}

static void what_cannot_be_read_or_written_is_an_error(void **state)
{
    const struct place *place = *state;
    uint8_t digest[HASH_SIZE];
    struct error err = {0};

    assert_int_equal(blocks_write(place->disk, NULL, place->index, NULL, NULL, digest, &err), -1);
    assert_non_null(strstr(err.message, "disk.raw': No such file"));
    fail_clear(&err);
    assert_int_equal(blocks_write(place->dir, NULL, place->index, NULL, NULL, digest, &err), -1);
    assert_non_null(strstr(err.message, "not a regular file"));
    fail_clear(&err);
    free(make_disk(place, 2ULL * BLOCK_SIZE, NULL, 0));
    assert_int_equal(blocks_write(place->disk, NULL, "/dev/full", NULL, NULL, digest, &err), -1);
    assert_non_null(strstr(err.message, "write '/dev/full': No space left"));
    fail_clear(&err);
    /* so many lines that they are written before the file is closed */
    free(make_disk(place, 200ULL * BLOCK_SIZE, NULL, 0));
    assert_int_equal(blocks_write(place->disk, NULL, "/dev/full", NULL, NULL, digest, &err), -1);
}

static void plant(struct blocks *blocks, uint64_t block, uint8_t with)
{
    uint8_t digest[HASH_SIZE];

    memset(digest, with, sizeof(digest));
    blocks_set(blocks, block, digest);
}

static bool planted(const struct blocks *blocks, uint64_t block, uint8_t with)
{
    const uint8_t *digest = blocks_digest(blocks, block);

    for (size_t i = 0; i < HASH_SIZE; i++) {
        if (digest[i] != with) {
            return false;
        }
    }
    return true;
}

/* Wrong digests planted come out again where they are still known, and nowhere else. */
static void known_blocks_are_not_read_and_forgotten_ones_are(void **state)
{
    enum { BLOCKS = 11 };
    static const uint64_t kept[] = {0, 3, 5, 10};
    const struct place *place = *state;
    const uint64_t size = (BLOCKS - 1) * (uint64_t)BLOCK_SIZE + 100;
    const struct run run = {0, 8ULL * BLOCK_SIZE}; /* blocks 8 to 10 are a hole */
    SCOPED(blocks_freep) struct blocks *blocks = blocks_new(size), *fresh = blocks_new(size);
    uint8_t total[HASH_SIZE], digest[HASH_SIZE];
    struct error err = {0};
    int fd;

    free(make_disk(place, size, &run, 1));
    assert_int_equal(blocks_count(blocks), BLOCKS);
    assert_false(blocks_known(blocks, 0));
    for (uint64_t i = 0; i < BLOCKS; i++) {
        plant(blocks, i, (uint8_t)(i + 1));
    }
    blocks_forget(blocks, BLOCK_SIZE, 2ULL * BLOCK_SIZE);      /* 1 and 2, whole */
    blocks_forget(blocks, 5ULL * BLOCK_SIZE - 1, 1);           /* 4, its last byte */
    blocks_forget(blocks, 7ULL * BLOCK_SIZE - 1, 2);           /* 6 and 7, over the border */
    blocks_forget(blocks, 8ULL * BLOCK_SIZE, BLOCK_SIZE + 1U); /* 8 and 9, holes */
    blocks_forget(blocks, 10ULL * BLOCK_SIZE, 0);              /* nothing */
    fd = open(place->disk, O_RDONLY | O_CLOEXEC);
    assert_int_equal(blocks_complete(fresh, fd, "disk", NULL, NULL, &err), 0);
    assert_int_equal(blocks_complete(blocks, fd, "disk", NULL, NULL, &err), 0);
    assert_int_equal(close(fd), 0);
    for (uint64_t i = 0, k = 0; i < BLOCKS; i++) {
        bool keep = k < COUNT(kept) && kept[k] == i;

        assert_true(planted(blocks, i, (uint8_t)(i + 1)) == keep);
        if (!keep) {
            assert_memory_equal(blocks_digest(blocks, i), blocks_digest(fresh, i), HASH_SIZE);
        }
        k += keep;
    }
    /* The index is made from what is known, and so is the digest. */
    assert_int_equal(blocks_write(place->disk, blocks, place->index, NULL, NULL, digest, &err), 0);
    blocks_total(blocks, total);
    assert_memory_equal(digest, total, HASH_SIZE);
    hash_bytes(blocks_all(blocks), BLOCKS * HASH_SIZE, digest);
    assert_memory_equal(digest, total, HASH_SIZE);
}

static void a_file_of_another_size_is_refused(void **state)
{
    const struct place *place = *state;
    SCOPED(blocks_freep) struct blocks *blocks = blocks_new(BLOCK_SIZE + 1U);
    uint8_t digest[HASH_SIZE];
    struct error err = {0};

    free(make_disk(place, BLOCK_SIZE, NULL, 0));
    plant(blocks, 0, 1);
    plant(blocks, 1, 1);
    assert_int_equal(blocks_write(place->disk, blocks, place->index, NULL, NULL, digest, &err), -1);
    assert_non_null(strstr(err.message, "524288 bytes instead of 524289"));
    assert_false(file_exists(place->index));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(index_is_what_its_format_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(holes_and_written_zeros_are_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flipped_bit_changes_one_line_and_the_digest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(progress_rises_to_the_size_of_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_or_written_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(known_blocks_are_not_read_and_forgotten_ones_are, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_another_size_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
