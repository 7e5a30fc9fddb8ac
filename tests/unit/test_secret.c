/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "base/scope.h"
#include "base/secret.h"

#include <cmocka.h> /* last: it has a macro fail() */

static void keeps_a_secret_whole_while_it_grows(void **state)
{
    SCOPED(secret_done) struct buf buf = {0};
    SCOPED(buf_done) struct buf same = {0};

    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        SCOPED_FREE char *piece = xprintf("%u,", i * i);

        secret_add(&buf, piece, strlen(piece));
        buf_puts(&same, piece);
    }
    assert_int_equal(buf.size, same.size);
    assert_string_equal(buf.data, same.data);
    secret_free(NULL);
    secret_free(xstrdup("geheim"));
}

static void overwrites_all_there_is_room_for(void **state)
{
    char bytes[64], zero[64] = {0};
    struct buf buf = {.data = bytes, .size = 5, .space = sizeof(bytes)};

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    secret_wipe(buf.data, buf.space);
    assert_memory_equal(bytes, zero, sizeof(bytes));
    secret_wipe(NULL, 0);
}

static void lets_no_core_be_written(void **state)
{
    struct rlimit limit;

    (void)state;
    secret_no_core();
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_cur, 1);
    assert_int_equal(limit.rlim_max, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_secret_whole_while_it_grows),
        cmocka_unit_test(overwrites_all_there_is_room_for),
        cmocka_unit_test(lets_no_core_be_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
