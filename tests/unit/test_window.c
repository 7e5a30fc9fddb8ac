/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "layer/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t window(const char *bytes, size_t size)
{
    uint8_t start[WINDOW_BYTES] = {0};

    memcpy(start, bytes, size);
    return window_of(start);
}

#define WINDOW(text) window(text, sizeof(text) - 1)

/* The bytes are what zstd 1.5.4 and xz 5.4.1 write. */
static void windows_are_what_the_headers_say(void **state)
{
    (void)state;
    assert_int_equal(WINDOW("\x28\xb5\x2f\xfd\x04\x58"), 2 << 20);             /* zstd -3 */
    assert_int_equal(WINDOW("\x28\xb5\x2f\xfd\x04\xa8"), 2ULL << 30);          /* zstd --long=31 */
    assert_int_equal(WINDOW("\x28\xb5\x2f\xfd\x24\x05"), 5);                   /* one segment */
    assert_int_equal(WINDOW("\x28\xb5\x2f\xfd\xa4\x00\x00\x00\x10"), 1 << 28); /* a large one */
    assert_int_equal(WINDOW("\xfd"
                            "7zXZ\0\0\4\xe6\xd6\xb4\x46\2\0\x21\1\x16"),
                     8 << 20); /* xz -6 */
    assert_int_equal(WINDOW("\xfd"
                            "7zXZ\0\0\4\xe6\xd6\xb4\x46\2\0\x21\1\x25"),
                     1536ULL << 20); /* xz --lzma2=dict=1536MiB */
    assert_int_equal(WINDOW("\xfd"
                            "7zXZ\0\0\4\xe6\xd6\xb4\x46\4\xc1\x80\2\x90\5\3\1\0\x21\1\x28"),
                     UINT32_MAX); /* two sizes and a delta filter before it */
    assert_int_equal(WINDOW("\x5d\0\0\x80\0"), 8 << 20); /* xz --format=lzma */
    assert_int_equal(WINDOW("\x1f\x8b\x08"), 0);
    assert_int_equal(WINDOW(""), 0);
}

/* A filter that claims to reach beyond what is looked at must not be followed. */
static void damaged_headers_are_not_followed(void **state)
{
    uint8_t start[WINDOW_BYTES];

    (void)state;
    for (int fill = 0; fill < 256; fill++) {
        memset(start, fill, sizeof(start));
        memcpy(start,
               "\xfd"
               "7zXZ\0",
               6);
        (void)window_of(start);
        start[13] = 3;
        (void)window_of(start);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_what_the_headers_say),
        cmocka_unit_test(damaged_headers_are_not_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
