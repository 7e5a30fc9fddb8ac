/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

enum { SIZE = 24 << 20, MIB = 1 << 20 };

struct bench {
    struct blocks *blocks;
    struct writer *writer;
    uint8_t *shadow; /* what the file must hold */
    int fd;
    uint64_t seed;
    struct error err;
};

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

static void bench_new(struct bench *bench, int flags)
{
    memset(bench, 0, sizeof(*bench));
    bench->seed = 7;
    bench->fd = open("disk", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(bench->fd >= 0);
    assert_int_equal(ftruncate(bench->fd, SIZE), 0);
    if (flags != O_RDWR) {
        (void)close(bench->fd);
        bench->fd = open("disk", flags | O_CLOEXEC);
    }
    bench->shadow = xcalloc(1, SIZE);
    bench->blocks = blocks_new(SIZE);
    bench->writer = writer_new(bench->fd, "disk", bench->blocks);
    assert_non_null(bench->writer);
}

static void bench_done(struct bench *bench)
{
    writer_free(bench->writer);
    blocks_free(bench->blocks);
    free(bench->shadow);
    (void)close(bench->fd);
}

static void put(struct bench *bench, uint64_t offset, size_t size)
{
    uint8_t *at = bench->shadow + offset;

    for (size_t i = 0; i < size; i += 1 + next_random(&bench->seed) % 4096) {
        at[i] = (uint8_t)next_random(&bench->seed);
    }
    if (writer_put(bench->writer, offset, at, size, &bench->err) < 0) {
        fail_msg("%s", bench->err.message);
    }
}

static void flush(struct bench *bench)
{
    if (writer_flush(bench->writer, &bench->err) < 0) {
        fail_msg("%s", bench->err.message);
    }
}

/* The file is what the shadow is, and no digest that is known is wrong; returns how many are. */
static size_t check(struct bench *bench)
{
    SCOPED_FREE uint8_t *there = xmalloc(SIZE);
    size_t known = 0;

    assert_int_equal(file_pread(bench->fd, there, SIZE, 0, "disk", &bench->err), 0);
    assert_memory_equal(there, bench->shadow, SIZE);
    for (uint64_t i = 0; i < blocks_count(bench->blocks); i++) {
        uint8_t digest[HASH_SIZE];

        if (blocks_known(bench->blocks, i)) {
            hash_bytes(bench->shadow + i * BLOCK_SIZE, BLOCK_SIZE, digest);
            assert_memory_equal(blocks_digest(bench->blocks, i), digest, HASH_SIZE);
            known++;
        }
    }
    return known;
}

static void what_is_put_in_a_row_is_there_and_digested(void **state)
{
    struct bench bench;

    (void)state;
    bench_new(&bench, O_RDWR);
    for (uint64_t at = 0; at < SIZE;) {
        uint64_t size = 1 + next_random(&bench.seed) % 300000;

        size = size < SIZE - at ? size : SIZE - at;
        put(&bench, at, size);
        at += size;
    }
    flush(&bench);
    assert_int_equal(check(&bench), SIZE / BLOCK_SIZE);
    bench_done(&bench);
}

/* Anywhere and over one another, also across the borders of blocks and pieces. */
static void what_is_put_anywhere_is_there_and_no_digest_is_wrong(void **state)
{
    static const uint64_t borders[] = {BLOCK_SIZE, MIB, 5 * MIB, 5 * MIB + BLOCK_SIZE, 12 * MIB};
    struct bench bench;

    (void)state;
    bench_new(&bench, O_RDWR);
    for (size_t round = 0; round < 40; round++) {
        for (size_t i = 0; i < 12; i++) {
            uint64_t offset = next_random(&bench.seed) % (SIZE - 2 * MIB);
            size_t size = 1 + next_random(&bench.seed) % (i == 0 ? 2 * MIB : 100000);

            if (i % 3 == 1) {
                offset = borders[next_random(&bench.seed) % COUNT(borders)] -
                         next_random(&bench.seed) % 3;
            }
            put(&bench, offset, size);
        }
        flush(&bench);
        (void)check(&bench);
    }
    bench_done(&bench);
}

static void a_block_written_again_in_part_is_unknown(void **state)
{
    struct bench bench;

    (void)state;
    bench_new(&bench, O_RDWR);
    for (size_t i = 0; i < 20; i++) {
        put(&bench, 8 * MIB, 6 * MIB); /* keeps the threads busy */
        put(&bench, 4 * MIB, MIB);
        put(&bench, 4 * MIB + 100, 4);
        flush(&bench);
        assert_false(blocks_known(bench.blocks, 4 * MIB / BLOCK_SIZE));
        assert_true(blocks_known(bench.blocks, 4 * MIB / BLOCK_SIZE + 1));
        (void)check(&bench);
    }
    bench_done(&bench);
}

static void files_are_digested_with_their_holes(void **state)
{
    enum { FILES = 300 };
    static uint8_t digests[FILES][HASH_SIZE], expected[FILES][HASH_SIZE];
    static const uint8_t zeros[200000];
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct bench bench;
    uint64_t at = 0;

    (void)state;
    bench_new(&bench, O_RDWR);
    for (size_t i = 0; i < FILES; i++) {
        for (size_t step = next_random(&bench.seed) % 6; step > 0; step--) {
            size_t size = next_random(&bench.seed) % 40000;

            if (next_random(&bench.seed) % 3 == 0) {
                size = next_random(&bench.seed) % sizeof(zeros);
                assert_int_equal(writer_hole(bench.writer, size, &bench.err), 0);
                hash_add(hash, zeros, size);
                continue;
            }
            memset(bench.shadow + at, (int)(i + step + 1), size);
            assert_int_equal(writer_put_file(bench.writer, at, bench.shadow + at, size, &bench.err),
                             0);
            hash_add(hash, bench.shadow + at, size);
            at += size + next_random(&bench.seed) % 2 * 4096;
            if (next_random(&bench.seed) % 2 == 0) { /* what is none of the file's */
                put(&bench, at, 1000);
                at += 1000;
            }
        }
        hash_end(hash, expected[i]);
        assert_int_equal(writer_end_file(bench.writer, digests[i], &bench.err), 0);
        assert_true(at < SIZE - 2 * MIB);
    }
    flush(&bench);
    for (size_t i = 0; i < FILES; i++) {
        assert_memory_equal(digests[i], expected[i], HASH_SIZE);
    }
    (void)check(&bench);
    bench_done(&bench);
}

static void more_empty_files_than_a_piece_has_steps(void **state)
{
    enum { FILES = 20000 };
    SCOPED_FREE uint8_t *digests = xcalloc(FILES, HASH_SIZE);
    uint8_t empty[HASH_SIZE];
    struct bench bench;

    (void)state;
    hash_bytes("", 0, empty);
    bench_new(&bench, O_RDWR);
    for (size_t i = 0; i < FILES; i++) {
        assert_int_equal(writer_end_file(bench.writer, digests + i * HASH_SIZE, &bench.err), 0);
    }
    flush(&bench);
    for (size_t i = 0; i < FILES; i++) {
        assert_memory_equal(digests + i * HASH_SIZE, empty, HASH_SIZE);
    }
    bench_done(&bench);
}

static void a_flush_of_nothing_returns(void **state)
{
    struct bench bench;

    (void)state;
    bench_new(&bench, O_RDWR);
    flush(&bench);
    put(&bench, 0, 1);
    flush(&bench);
    flush(&bench);
    (void)check(&bench);
    put(&bench, 0, 5 * MIB); /* and nobody flushes it */
    bench_done(&bench);
}

/* Puts until it fails: the error is that of the system, comes again, and nothing hangs. */
static void must_fail(struct bench *bench, int os)
{
    uint8_t digest[HASH_SIZE];
    struct error again = {0};
    int result = 0;

    for (uint64_t at = 0; at < 20 * MIB && result == 0; at += 300000) {
        result = writer_put_file(bench->writer, at, bench->shadow, 300000, &bench->err);
    }
    result = result < 0 ? -1 : writer_flush(bench->writer, &bench->err);
    assert_int_equal(result, -1);
    assert_int_equal(bench->err.os, os);
    assert_non_null(strstr(bench->err.message, "'disk'"));
    assert_int_equal(writer_end_file(bench->writer, digest, &again), -1);
    again = (struct error){0};
    assert_int_equal(writer_flush(bench->writer, &again), -1);
    assert_string_equal(again.message, bench->err.message);
}

static void a_file_that_cannot_be_written_is_an_error(void **state)
{
    struct bench bench;

    (void)state;
    bench_new(&bench, O_RDONLY);
    must_fail(&bench, EBADF);
    bench_done(&bench);
}

static void a_disk_that_is_full_is_an_error(void **state)
{
    struct rlimit old, limit;
    struct bench bench;
    void (*handler)(int);

    (void)state;
    bench_new(&bench, O_RDWR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){10 * MIB, old.rlim_max};
    handler = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    must_fail(&bench, EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    bench_done(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_in_a_row_is_there_and_digested),
        cmocka_unit_test(what_is_put_anywhere_is_there_and_no_digest_is_wrong),
        cmocka_unit_test(a_block_written_again_in_part_is_unknown),
        cmocka_unit_test(files_are_digested_with_their_holes),
        cmocka_unit_test(more_empty_files_than_a_piece_has_steps),
        cmocka_unit_test(a_flush_of_nothing_returns),
        cmocka_unit_test(a_file_that_cannot_be_written_is_an_error),
        cmocka_unit_test(a_disk_that_is_full_is_an_error),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
