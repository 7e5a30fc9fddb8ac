/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/scope.h"

/* Decodes one character; returns its length in bytes, 0 when it is not valid UTF-8. */
static size_t decode(const unsigned char *s, size_t size, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80       ? 1
                    : s[0] >> 5 == 6  ? 2
                    : s[0] >> 4 == 14 ? 3
                    : s[0] >> 3 == 30 ? 4
                                      : 0;
    uint32_t c;

    if (length == 0 || length > size) {
        return 0;
    }
    c = length == 1 ? s[0] : s[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }
    *ret = c;
    return length;
}

/* Unicode's controls, line separators, and the Bidi_Control and default-ignorable formats; and what
 * is no character at all, which YAML does not let in. */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) ||
           c == 0xfffe || c == 0xffff || (c >= 0xe0000 && c <= 0xe0fff);
}

void text_escape(struct buf *buf, const char *text, size_t size, bool keep_newlines)
{
    for (size_t i = 0; i < size;) {
        const unsigned char *s = (const unsigned char *)text + i;
        uint32_t c = 0;
        size_t length = decode(s, size - i, &c);

        if (length != 0 && (!is_unsafe(c) || (c == '\n' && keep_newlines))) {
            buf_add(buf, s, length);
        } else {
            length = length == 0 ? 1 : length;
            for (size_t k = 0; k < length; k++) {
                buf_printf(buf, "\\x%02x", s[k]);
            }
        }
        i += length;
    }
}

bool text_is_utf8(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint32_t c;
        size_t length = decode((const unsigned char *)text + i, size - i, &c);

        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

bool text_is_printable(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint32_t c = 0;
        size_t length = decode((const unsigned char *)text + i, size - i, &c);

        if (length == 0 || is_unsafe(c)) {
            return false;
        }
        i += length;
    }
    return true;
}

bool text_is_made_of(const char *text, const char *extra)
{
    static const char letters_and_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789";

    while (*text != '\0' &&
           (strchr(letters_and_digits, *text) != NULL || strchr(extra, *text) != NULL)) {
        text++;
    }
    return *text == '\0';
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
    size_t size = strlen(text), end = strlen(suffix);

    return size >= end && memcmp(text + size - end, suffix, end) == 0;
}

/* Edit distance with transpositions (optimal string alignment), for words of at most 63 bytes. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[3][64];
    size_t n = strlen(a), m = strlen(b);

    if (n > 63 || m > 63) {
        return 64;
    }
    for (unsigned j = 0; j <= m; j++) {
        row[0][j] = j;
    }
    for (unsigned i = 1; i <= n; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

        now[0] = i;
        for (unsigned j = 1; j <= m; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *text_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    unsigned limit = (unsigned)(strlen(word) / 3 + 1);

    for (; *words != NULL; words++) {
        unsigned d = distance(word, *words);

        if (d <= limit && d < strlen(*words)) {
            limit = d == 0 ? 0 : d - 1;
            best = *words;
            if (d == 0) {
                break;
            }
        }
    }
    return best;
}

bool text_parse_size(const char *text, uint64_t *ret)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", 1ULL << 10},
        {"MiB", 1ULL << 20},
        {"GiB", 1ULL << 30},
        {"TiB", 1ULL << 40},
        {"KB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"TB", 1000000000000},
    };
    uint64_t number = 0;
    const char *s = text;

    if (!isdigit((unsigned char)*s)) {
        return false;
    }
    for (; isdigit((unsigned char)*s); s++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*s - '0'), &number)) {
            return false;
        }
    }
    for (size_t i = 0; i < COUNT(units); i++) {
        if (strcmp(s, units[i].unit) == 0) {
            if (__builtin_mul_overflow(number, units[i].bytes, &number)) {
                return false;
            }
            *ret = number;
            return true;
        }
    }
    return false;
}

bool text_parse_duration(const char *text, uint32_t *ret)
{
    static const struct {
        const char *unit;
        uint64_t seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}};
    uint64_t number = 0;
    const char *s = text;

    for (; isdigit((unsigned char)*s); s++) {
        number = number * 10 + (uint64_t)(*s - '0');
        if (number > UINT32_MAX) {
            return false;
        }
    }
    for (size_t i = 0; s != text && i < COUNT(units); i++) {
        if (strcmp(s, units[i].unit) == 0) {
            number *= units[i].seconds;
            *ret = number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
            return true;
        }
    }
    return false;
}

const char *text_size(uint64_t bytes, char out[TEXT_SIZE_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.95 && unit + 1 < COUNT(units)) {
        value /= 1024;
        unit++;
    }
    if (value == (double)(uint64_t)value) {
        (void)snprintf(out, TEXT_SIZE_MAX, "%.0f %s", value, units[unit]);
    } else {
        (void)snprintf(out, TEXT_SIZE_MAX, "%.1f %s", value, units[unit]);
    }
    return out;
}

/* strptime would take blanks and signs for digits. */
static bool looks_like(const char *text, const char *shape)
{
    for (; *shape != '\0'; shape++, text++) {
        if (*shape == '0' ? !isdigit((unsigned char)*text) : *text != *shape) {
            return false;
        }
    }
    return *text == '\0';
}

bool text_parse_time(const char *text, int64_t *ret)
{
    struct tm tm = {0}, given, back;
    time_t seconds;

    if (!looks_like(text, "0000-00-00T00:00:00Z") ||
        strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL) {
        return false;
    }
    given = tm;
    seconds = timegm(&tm);
    /* timegm makes the 2nd of March of a 30th of February: what does not come back is no date. */
    if (gmtime_r(&seconds, &back) == NULL || back.tm_mon != given.tm_mon ||
        back.tm_mday != given.tm_mday || back.tm_hour != given.tm_hour ||
        back.tm_min != given.tm_min || back.tm_sec != given.tm_sec || seconds < 0) {
        return false;
    }
    *ret = seconds;
    return true;
}

const char *text_time(int64_t seconds, char out[TEXT_TIME_MAX])
{
    time_t time = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&time, &tm) == NULL ||
        strftime(out, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        (void)snprintf(out, TEXT_TIME_MAX, "@%lld", (long long)seconds);
    }
    return out;
}
