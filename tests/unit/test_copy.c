/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/copy.h"
#include "base/file.h"
#include "base/scope.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define MIB (1ULL << 20)

struct place {
    int from, to;
};

static int nameless(const char *dir)
{
    int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    return fd;
}

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));

    place->from = nameless("/var/tmp");
    place->to = nameless("/var/tmp");
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;

    assert_int_equal(close(place->from), 0);
    assert_int_equal(close(place->to), 0);
    free(place);
    return 0;
}

static void put(int fd, uint64_t offset, uint64_t size)
{
    SCOPED_FREE char *data = xmalloc(size);
    struct error err = {0};

    for (uint64_t i = 0; i < size; i++) {
        data[i] = (char)((offset + i) * 2654435761U >> 13);
    }
    assert_int_equal(file_pwrite(fd, data, size, offset, "from", &err), 0);
}

static char *content(int fd, uint64_t size)
{
    char *data = xmalloc(size + 1);
    struct error err = {0};
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(file_pread(fd, data, size, 0, "file", &err), 0);
    return data;
}

static void a_copy_has_the_same_bytes_and_no_more_data(void **state)
{
    const uint64_t size = 40 * MIB + 12345;
    const struct place *place = *state;
    SCOPED_FREE char *expected = NULL, *got = NULL;
    struct error err = {0};
    struct stat from, to;

    assert_int_equal(ftruncate(place->from, (off_t)size), 0);
    put(place->from, 64 << 10, 4096);
    put(place->from, 3 * MIB - 8192, 5 * MIB + 16384); /* over the borders of chunks */
    for (unsigned i = 0; i < 20; i++) {
        put(place->from, 20 * MIB + i * 12288, 4096);
    }
    put(place->from, size - 100, 100);
    assert_int_equal(copy_sparse(place->from, place->to, size, "disk", &err), 0);
    expected = content(place->from, size);
    got = content(place->to, size);
    assert_memory_equal(got, expected, size);
    /* Block by block: no hole became data. */
    for (uint64_t at = 0; at < size; at += 4096) {
        off_t data = lseek(place->to, (off_t)at, SEEK_DATA);

        if (data == (off_t)at) {
            assert_int_equal(lseek(place->from, (off_t)at, SEEK_DATA), at);
        }
    }
    assert_int_equal(fstat(place->from, &from), 0);
    assert_int_equal(fstat(place->to, &to), 0);
    assert_true(to.st_blocks <= from.st_blocks + 16);
}

static void nothing_but_a_hole_and_nothing_at_all_are_copied(void **state)
{
    const struct place *place = *state;
    struct error err = {0};
    struct stat st;

    assert_int_equal(ftruncate(place->from, (off_t)(64 * MIB)), 0);
    assert_int_equal(copy_sparse(place->from, place->to, 64 * MIB, "disk", &err), 0);
    assert_int_equal(fstat(place->to, &st), 0);
    assert_int_equal(st.st_size, 64 * MIB);
    assert_int_equal(st.st_blocks, 0);
    assert_int_equal(ftruncate(place->from, 0), 0);
    assert_int_equal(ftruncate(place->to, 0), 0);
    assert_int_equal(copy_sparse(place->from, place->to, 0, "disk", &err), 0);
    assert_int_equal(fstat(place->to, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void the_size_asked_for_is_the_size_got(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *shorter = NULL, *longer = NULL;
    SCOPED_FD int other = nameless("/var/tmp");
    struct error err = {0};

    put(place->from, 0, 3 * MIB);
    assert_int_equal(copy_sparse(place->from, place->to, MIB + 5, "disk", &err), 0);
    shorter = content(place->to, MIB + 5);
    assert_int_equal(copy_sparse(place->from, other, 4 * MIB, "disk", &err), 0);
    longer = content(other, 4 * MIB);
    assert_memory_equal(shorter, longer, MIB + 5);
    for (uint64_t i = 3 * MIB; i < 4 * MIB; i++) {
        assert_int_equal(longer[i], 0);
    }
}

static void what_cannot_be_read_or_written_is_an_error(void **state)
{
    const struct place *place = *state;
    SCOPED_FD int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit before, limit;
    struct error err = {0};

    put(place->from, 0, 8 * MIB);
    assert_int_equal(copy_sparse(place->from, read_only, 8 * MIB, "a disk", &err), -1);
    assert_non_null(strstr(err.message, "'a disk'"));
    fail_clear(&err);
    /* A file that may not grow so far, in the midst of the copy. */
    assert_int_equal(ftruncate(place->to, (off_t)(8 * MIB)), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 4 * MIB;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(copy_sparse(place->from, place->to, 8 * MIB, "a disk", &err), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(err.message, "copy 'a disk': "));
    assert_non_null(strstr(err.message, "File too large"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_copy_has_the_same_bytes_and_no_more_data, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nothing_but_a_hole_and_nothing_at_all_are_copied, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_size_asked_for_is_the_size_got, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_or_written_is_an_error, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
