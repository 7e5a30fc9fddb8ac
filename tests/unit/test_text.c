/* SPDX-License-Identifier: Apache-2.0 */
/* Text from and for people: what is let through, what is escaped, what is taken for a size. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/scope.h"
#include "base/text.h"

#include <cmocka.h> /* last: it has a macro fail() */

static void foreign_text_reaches_no_terminal_raw(void **state)
{
    static const struct {
        const char *text, *escaped;
    } rows[] = {
        {"", ""},
        {"plain ~ text", "plain ~ text"},
        {"Grüße 日本 🙂", "Grüße 日本 🙂"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"a\nb\tc\r", "a\\x0ab\\x09c\\x0d"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* the one-character CSI */
        {"a\xe2\x80\xae"
         "b",
         "a\\xe2\\x80\\xaeb"},                        /* right-to-left override */
        {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},          /* left-to-right isolate */
        {"\xe2\x80\x8b", "\\xe2\\x80\\x8b"},          /* zero-width space */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},          /* line separator */
        {"\xef\xbb\xbf", "\\xef\\xbb\\xbf"},          /* byte order mark */
        {"\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"}, /* a tag character */
        {"\xff\xfe", "\\xff\\xfe"},
        {"ok\xc3", "ok\\xc3"}, /* cut short */
        {"\xe2\x28\xa1", "\\xe2(\\xa1"},
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(buf_done) struct buf buf = {0};

        text_escape(&buf, rows[i].text, strlen(rows[i].text), false);
        assert_string_equal(buf.data != NULL ? buf.data : "", rows[i].escaped);
    }
}

static void newlines_stay_when_they_are_wanted(void **state)
{
    SCOPED(buf_done) struct buf buf = {0};

    (void)state;
    text_escape(&buf, "a\nb\rc\0d", 7, true);
    assert_string_equal(buf.data, "a\nb\\x0dc\\x00d");
}

static void text_is_cut_at_its_size(void **state)
{
    SCOPED(buf_done) struct buf buf = {0};

    (void)state;
    text_escape(&buf, "ü", 1, false);
    assert_string_equal(buf.data, "\\xc3");
}

static void valid_utf8_is_told_from_what_is_not(void **state)
{
    static const char *const must_work[] = {
        "",
        "ascii",
        "ü",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    static const char *const must_not_work[] = {
        "\x80",
        "a\xc3",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xe2\x82",
        "\xe2\x82z",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        assert_true(text_is_utf8(must_work[i], strlen(must_work[i])));
    }
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        assert_false(text_is_utf8(must_not_work[i], strlen(must_not_work[i])));
    }
    assert_true(text_is_utf8("a\0b", 3));
}

static void printable_is_what_needs_no_escape(void **state)
{
    static const char *const must_work[] = {"", " ", "~", "é", "日本語", "😀", "\u00a0", "\ufffd"};
    static const char *const must_not_work[] = {
        "\n",           "\t",           "\x7f",     "\x80",         "a\xc3",
        "\xc2\x85",     "\u200b",       "\u2028",   "\u202e",       "\ufeff",
        "\xef\xbf\xbe", "\xef\xbf\xbf", "a\u2066b", "\xed\xa0\x80", "\xf3\xa0\x80\x81",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        assert_true(text_is_printable(must_work[i], strlen(must_work[i])));
    }
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        SCOPED(buf_done) struct buf escaped = {0};

        assert_false(text_is_printable(must_not_work[i], strlen(must_not_work[i])));
        text_escape(&escaped, must_not_work[i], strlen(must_not_work[i]), false);
        assert_string_not_equal(escaped.data, must_not_work[i]);
    }
    assert_false(text_is_printable("a\0b", 3));
}

static void what_a_text_is_made_of_is_told(void **state)
{
    (void)state;
    assert_true(text_is_made_of("", ""));
    assert_true(text_is_made_of("azAZ09", ""));
    assert_true(text_is_made_of("a-b_c", "_-"));
    assert_false(text_is_made_of("a-b_c", "_"));
    assert_false(text_is_made_of("é", ""));
    assert_false(text_is_made_of("a b", "_-"));
}

static void the_nearest_word_is_suggested(void **state)
{
    static const char *const words[] = {"archive", "directory", "packages", "run",
                                        "files",   "sha256",    "to",       NULL};
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"archive", "archive"},
        {"archve", "archive"},
        {"archiev", "archive"},
        {"Files", "files"},
        {"file", "files"},
        {"directories", "directory"},
        {"package", "packages"},
        {"sha265", "sha256"},
        {"rnu", "run"},
        {"xyz", NULL},
        {"", NULL},
        {"ab", NULL},
        {"mountpoint", NULL},
    };
    char endless[200];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *nearest = text_nearest(rows[i].word, words);

        if (rows[i].nearest == NULL) {
            assert_null(nearest);
        } else {
            assert_non_null(nearest);
            assert_string_equal(nearest, rows[i].nearest);
        }
    }
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_null(text_nearest(endless, words));
}

static void sizes_are_exact_or_none(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } must_work[] = {
        {"0", 0},
        {"4096", 4096},
        {"12B", 12},
        {"64KiB", 65536},
        {"512MiB", 512ULL << 20},
        {"4GiB", 4ULL << 30},
        {"2TiB", 2ULL << 40},
        {"10KB", 10000},
        {"10GB", 10000000000},
        {"1TB", 1000000000000},
        {"18446744073709551615", UINT64_MAX},
        {"16777215TiB", 16777215ULL << 40},
    };
    static const char *const must_not_work[] = {
        "",
        "GiB",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1 GiB",
        "1gib",
        "1GIB",
        "1G",
        "1.5GiB",
        "0x10",
        "1e3",
        "18446744073709551616",
        "16777216TiB",
        "99999999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        uint64_t bytes = 1;

        assert_true(text_parse_size(must_work[i].text, &bytes));
        assert_true(bytes == must_work[i].bytes);
    }
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        uint64_t bytes = 77;

        assert_false(text_parse_size(must_not_work[i], &bytes));
        assert_int_equal(bytes, 77); /* written only on success */
    }
}

static void durations_have_a_unit(void **state)
{
    static const struct {
        const char *text;
        uint32_t seconds;
    } must_work[] = {{"90s", 90}, {"30min", 1800}, {"2h", 7200},
                     {"0s", 0},   {"0007s", 7},    {"4294967295h", UINT32_MAX}};
    static const char *const must_not_work[] = {"",
                                                "s",
                                                "90",
                                                "1m",
                                                "1.5h",
                                                "-1s",
                                                " 1s",
                                                "1s ",
                                                "1 s",
                                                "4294967296s",
                                                "99999999999999999999999s"};

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        uint32_t seconds = 1;

        assert_true(text_parse_duration(must_work[i].text, &seconds));
        assert_int_equal(seconds, must_work[i].seconds);
    }
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        uint32_t seconds;

        assert_false(text_parse_duration(must_not_work[i], &seconds));
    }
}

static void sizes_are_short_for_people(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {1048575, "1.0 MiB"},
        {1ULL << 20, "1 MiB"},
        {(4ULL << 30) + (1 << 30) / 4, "4.2 GiB"},
        {1ULL << 60, "1 EiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char out[TEXT_SIZE_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_string_equal(text_size(rows[i].bytes, out), rows[i].text);
    }
}

static void times_go_there_and_back(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2000-02-29T23:59:59Z", 951868799},
        {"2026-11-01T00:00:00Z", 1793491200},
        {"2038-01-19T03:14:08Z", 2147483648},
        {"9999-12-31T23:59:59Z", 253402300799},
    };
    static const char *const zones[] = {"UTC", "Asia/Tokyo", "America/New_York"};
    char out[TEXT_TIME_MAX];

    (void)state;
    for (size_t zone = 0; zone < COUNT(zones); zone++) {
        setenv("TZ", zones[zone], 1);
        tzset();
        for (size_t i = 0; i < COUNT(rows); i++) {
            int64_t seconds = -1;

            assert_true(text_parse_time(rows[i].text, &seconds));
            assert_int_equal(seconds, rows[i].seconds);
            assert_string_equal(text_time(seconds, out), rows[i].text);
        }
    }
    unsetenv("TZ");
    tzset();
    assert_string_equal(text_time(INT64_MAX, out), "@9223372036854775807");
}

static void what_is_no_time_is_none(void **state)
{
    static const char *const must_not_work[] = {
        "",
        "2026-11-01",
        "2026-11-01T00:00:00",
        "2026-11-01T00:00:00Z ",
        " 2026-11-01T00:00:0Z",
        "2026-11-01 00:00:00Z",
        "2026-11-01T00:00:00+00:00",
        "2026-11-01T00:00:00.5Z",
        "2026-11- 1T00:00:00Z",
        "2026-11-+1T00:00:00Z",
        "+026-11-01T00:00:00Z",
        "2026-1-01T00:00:000Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "1969-12-31T23:59:59Z",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        int64_t seconds = 77;

        if (text_parse_time(must_not_work[i], &seconds)) {
            fail_msg("taken for a time: '%s'", must_not_work[i]);
        }
        assert_int_equal(seconds, 77);
    }
}

static void beginnings_and_ends_are_told(void **state)
{
    (void)state;
    assert_true(text_starts("--force", "--"));
    assert_true(text_starts("--", "--"));
    assert_true(text_starts("x", ""));
    assert_false(text_starts("-", "--"));
    assert_false(text_starts("a--", "--"));
    assert_true(text_ends("layer.tar", ".tar"));
    assert_true(text_ends(".tar", ".tar"));
    assert_true(text_ends("", ""));
    assert_false(text_ends("tar", ".tar"));
    assert_false(text_ends("layer.tar.zst", ".tar"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_text_reaches_no_terminal_raw),
        cmocka_unit_test(newlines_stay_when_they_are_wanted),
        cmocka_unit_test(text_is_cut_at_its_size),
        cmocka_unit_test(durations_have_a_unit),
        cmocka_unit_test(valid_utf8_is_told_from_what_is_not),
        cmocka_unit_test(printable_is_what_needs_no_escape),
        cmocka_unit_test(what_a_text_is_made_of_is_told),
        cmocka_unit_test(the_nearest_word_is_suggested),
        cmocka_unit_test(beginnings_and_ends_are_told),
        cmocka_unit_test(sizes_are_exact_or_none),
        cmocka_unit_test(sizes_are_short_for_people),
        cmocka_unit_test(times_go_there_and_back),
        cmocka_unit_test(what_is_no_time_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
