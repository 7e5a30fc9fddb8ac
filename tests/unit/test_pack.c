/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and bytes written and read back; nothing is read behind the end. */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/pack.h"
#include "base/scope.h"

#include <cmocka.h>

static struct unpack reading(const struct buf *buf)
{
    const uint8_t *data = (const uint8_t *)buf->data;

    return (struct unpack){.at = data, .end = data + buf->size};
}

static void numbers_are_little_endian(void **state)
{
    static const uint8_t expected[] = {0x81, 0x82, 0x01, 0x84, 0x03, 0x02, 0x01, 0x88,
                                       0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x81};
    SCOPED(buf_done) struct buf buf = {0};

    (void)state;
    pack_u8(&buf, 0x81);
    pack_u16(&buf, 0x0182);
    pack_u32(&buf, 0x01020384);
    pack_u64(&buf, 0x8102030405060788);
    assert_int_equal(buf.size, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
}

static void what_was_packed_is_unpacked(void **state)
{
    SCOPED(buf_done) struct buf buf = {0};
    struct unpack in;
    const void *bytes;
    size_t size;

    (void)state;
    pack_u8(&buf, UINT8_MAX);
    pack_bytes(&buf, "a\0b", 3);
    pack_u16(&buf, UINT16_MAX);
    pack_bytes(&buf, NULL, 0);
    pack_u32(&buf, UINT32_MAX);
    pack_u64(&buf, UINT64_MAX - 1);
    in = reading(&buf);
    assert_int_equal(unpack_u8(&in), UINT8_MAX);
    assert_true(unpack_bytes(&in, &bytes, &size));
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "a\0b", 3);
    assert_ptr_equal(bytes, buf.data + 5); /* borrowed */
    assert_int_equal(unpack_u16(&in), UINT16_MAX);
    assert_true(unpack_bytes(&in, &bytes, &size));
    assert_int_equal(size, 0);
    assert_int_equal(unpack_u32(&in), UINT32_MAX);
    assert_true(unpack_u64(&in) == UINT64_MAX - 1);
    assert_false(in.bad);
    assert_ptr_equal(in.at, in.end);
}

/* Everything one byte too short, in memory of exactly that size for a sanitizer to watch. */
static void what_is_short_is_bad_and_zero(void **state)
{
    const uint8_t ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};

    (void)state;
    for (size_t size = 0; size < sizeof(ones); size++) {
        SCOPED_FREE uint8_t *copy = xmemdup(ones, size);
        struct unpack in[] = {[0 ... 3] = {.at = copy, .end = copy + size}};

        assert_int_equal(unpack_u8(&in[0]), size >= 1 ? 1 : 0);
        assert_int_equal(unpack_u16(&in[1]), size >= 2 ? 0x0101 : 0);
        assert_int_equal(unpack_u32(&in[2]), size >= 4 ? 0x01010101 : 0);
        assert_true(unpack_u64(&in[3]) == 0);
        assert_int_equal(in[0].bad, size < 1);
        assert_int_equal(in[1].bad, size < 2);
        assert_int_equal(in[2].bad, size < 4);
        assert_true(in[3].bad);
    }
}

static void what_is_bad_stays_bad(void **state)
{
    SCOPED(buf_done) struct buf buf = {0};
    struct unpack in;
    const void *bytes = "x";
    size_t size = 1;

    (void)state;
    pack_u32(&buf, 0);
    in = reading(&buf);
    assert_true(unpack_u64(&in) == 0);
    assert_true(in.bad);
    assert_int_equal(unpack_u8(&in), 0);
    assert_int_equal(unpack_u32(&in), 0);
    assert_int_equal(unpack_count(&in, 1), 0);
    assert_false(unpack_bytes(&in, &bytes, &size));
    assert_null(bytes);
    assert_int_equal(size, 0);
    assert_true(in.bad);
}

static void bytes_longer_than_the_input_are_bad(void **state)
{
    static const uint32_t claims[] = {4, UINT32_MAX, UINT32_MAX - 3};

    (void)state;
    for (size_t i = 0; i < COUNT(claims); i++) {
        SCOPED(buf_done) struct buf buf = {0};
        struct unpack in;
        const void *bytes;
        size_t size;

        pack_u32(&buf, claims[i]);
        buf_add(&buf, "abc", 3);
        in = reading(&buf);
        assert_false(unpack_bytes(&in, &bytes, &size));
        assert_true(in.bad);
        assert_null(bytes);
        assert_int_equal(size, 0);
    }
}

static void counts_need_input_for_every_item(void **state)
{
    static const struct {
        uint32_t count;
        size_t item_min;
        bool good;
    } rows[] = {
        {0, 1, true},
        {0, SIZE_MAX, true},
        {12, 1, true},
        {13, 1, false},
        {3, 4, true},
        {4, 4, false},
        {2, 5, true},
        {1, 12, true},
        {1, 13, false},
        {UINT32_MAX, 1, false},
        {6, 3, false},
        {1, SIZE_MAX, false},
        {2, SIZE_MAX / 2 + 1, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(buf_done) struct buf buf = {0};
        struct unpack in;

        pack_u32(&buf, rows[i].count);
        buf_add(&buf, "twelve bytes", 12);
        in = reading(&buf);
        assert_int_equal(unpack_count(&in, rows[i].item_min), rows[i].good ? rows[i].count : 0);
        assert_int_equal(in.bad, !rows[i].good);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(what_was_packed_is_unpacked),
        cmocka_unit_test(what_is_short_is_bad_and_zero),
        cmocka_unit_test(what_is_bad_stays_bad),
        cmocka_unit_test(bytes_longer_than_the_input_are_bad),
        cmocka_unit_test(counts_need_input_for_every_item),
    };

    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
