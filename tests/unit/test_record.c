/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/blocks.h"
#include "base/scope.h"
#include "store/record.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PLAIN "plain tree 5 -1 999999999 1700000001 2 42 " HEX "\n"
#define DISK "disk disk.raw 524289 1700000000 1 1700000001 2 43\n"
#define HEAD "kiln-state 1\ngroup web\n"

static bool unpacks(const char *data, size_t size)
{
    SCOPED(record_done) struct record record = {0};
    SCOPED(buf_done) struct buf again = {0};

    if (!record_unpack(data, size, &record)) {
        assert_null(record.group);
        return false;
    }
    record_pack(&record, &again);
    assert_int_equal(again.size, size);
    assert_memory_equal(again.data, data, size);
    return true;
}

/* A record with blocks: the two of DISK. */
static void make(struct buf *ret, const char *text)
{
    buf_puts(ret, text);
    for (int i = 0; i < 2 * HASH_SIZE; i++) {
        buf_putc(ret, (char)i);
    }
}

static void a_record_says_what_was_put_in(void **state)
{
    SCOPED(record_done) struct record record = {0};
    SCOPED(buf_done) struct buf data = {0};
    const struct record_file *file;

    (void)state;
    make(&data, HEAD PLAIN DISK "\n");
    assert_true(unpacks(data.data, data.size));
    assert_true(record_unpack(data.data, data.size, &record));
    assert_string_equal(record.group, "web");
    assert_int_equal(record.count, 2);
    file = &record.files[0];
    assert_string_equal(file->name, "tree");
    assert_null(file->blocks);
    assert_int_equal(file->digest[1], 0x23);
    assert_int_equal(file->identity.size_bytes, 5);
    assert_int_equal(file->identity.mtime_s, -1);
    assert_int_equal(file->identity.mtime_ns, 999999999);
    assert_int_equal(file->identity.ctime_s, 1700000001);
    assert_int_equal(file->identity.inode, 42);
    file = &record.files[1];
    assert_int_equal(record_blocks(file), 2);
    assert_int_equal(file->blocks[33], 33);
}

static void every_shorter_or_longer_one_is_refused(void **state)
{
    SCOPED(buf_done) struct buf data = {0};

    (void)state;
    make(&data, HEAD PLAIN DISK "\n");
    for (size_t size = 0; size < data.size; size++) {
        SCOPED_FREE char *copy = xmemdup(data.data, size);

        assert_false(unpacks(copy, size));
    }
    assert_false(unpacks(data.data, data.size + 1));
}

static void there_is_one_way_to_write_it(void **state)
{
    static const char *const good[] = {
        HEAD "\n",
        HEAD PLAIN "\n",
        HEAD PLAIN PLAIN "\n",
        "kiln-state 1\ngroup \n\n",
        "kiln-state 1\ngroup a b  \xff\n\n",
        HEAD "plain a 0 0 0 0 0 18446744073709551615 " HEX "\n\n",
        HEAD "disk a 0 0 0 0 0 0\n\n",
    };
    static const char *const bad[] = {
        "",
        "kiln-state 2\ngroup web\n\n",
        "kiln-state 1\ngrop web\n\n",
        HEAD "\nx",
        HEAD "plain\n\n",
        HEAD "plain  5 0 0 0 0 1 " HEX "\n\n",
        HEAD "other a 5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain ../a 5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain .lock 5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain A 5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a 05 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a +5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a -5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a  5 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a 5 -0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a 5 0 1000000000 0 0 1 " HEX "\n\n",
        HEAD "plain a 9223372036854775808 0 0 0 0 1 " HEX "\n\n",
        HEAD "plain a 5 0 0 0 0 18446744073709551616 " HEX "\n\n",
        HEAD "plain a 5 0 0 0 0 1\n\n",
        HEAD "plain a 5 0 0 0 0 1 " HEX " \n\n",
        HEAD "plain a 5 0 0 0 0 1 " HEX "0\n\n",
        HEAD "plain a 5 0 0 0 0 1 "
             "ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\n",
        HEAD "disk a 0 0 0 0 0 0 \n\n",
        HEAD "disk a 1 0 0 0 0 0\n\n",
        HEAD "disk a 9223372036854775807 0 0 0 0 0\n\n",
        HEAD PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN PLAIN
            PLAIN PLAIN PLAIN "\n",
    };
    static const char nul[] = "kiln-state 1\ngroup w\0b\n\n";

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(unpacks(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (unpacks(bad[i], strlen(bad[i]))) {
            print_error("unpacked: %s\n", bad[i]);
            assert_true(false);
        }
    }
    assert_false(unpacks(nul, sizeof(nul) - 1));
}

static void names_are_plain(void **state)
{
    char name[RECORD_NAME_MAX + 1];

    (void)state;
    memset(name, 'a', sizeof(name));
    name[RECORD_NAME_MAX] = '\0';
    assert_false(record_is_name(name));
    name[RECORD_NAME_MAX - 1] = '\0';
    assert_true(record_is_name(name));
    assert_true(record_is_name("disk.raw"));
    assert_false(record_is_name(""));
    assert_false(record_is_name("a/b"));
    assert_false(record_is_name("a\x1b"));
    assert_false(record_is_name(".."));
    assert_true(record_is_group("any \x1b thing"));
    assert_false(record_is_group("a\nb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_says_what_was_put_in),
        cmocka_unit_test(every_shorter_or_longer_one_is_refused),
        cmocka_unit_test(there_is_one_way_to_write_it),
        cmocka_unit_test(names_are_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
