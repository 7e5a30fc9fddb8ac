/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/fat_name.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/text.h"

enum { BASE_SIZE = 8, EXTENSION_SIZE = 3, PLAIN_TRIES = 4 };

/* Decodes one character of valid UTF-8 and returns its length in bytes. */
static size_t decode(const uint8_t *s, uint32_t *ret)
{
    static const uint8_t first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = s[0] & first_bits[length];

    for (size_t i = 1; i < length; i++) {
        c = c << 6 | (s[i] & 0x3f);
    }
    *ret = c;
    return length;
}

/* Returns the count of units, or more than FAT_LONG_MAX when they are too many. */
static size_t to_utf16(const char *text, size_t size, uint16_t units[FAT_LONG_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < size;) {
        uint32_t c;

        i += decode((const uint8_t *)text + i, &c);
        if (count + (c > 0xffff ? 2 : 1) > FAT_LONG_MAX) {
            return FAT_LONG_MAX + 1;
        }
        if (c > 0xffff) {
            units[count++] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
            units[count++] = (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff));
        } else {
            units[count++] = (uint16_t)c;
        }
    }
    return count;
}

/*
 * Upper case of one unit: ASCII, Latin, Greek and Cyrillic, which is where firmware and Windows
 * agree. A name that only they hold for equal would hide a file from one of them.
 */
static uint16_t fold(uint16_t unit)
{
    static const struct {
        uint16_t first, last, step, down;
    } ranges[] = {
        {'a', 'z', 1, 32},     {0xe0, 0xf6, 1, 32},   {0xf8, 0xfe, 1, 32},   {0x101, 0x12f, 2, 1},
        {0x133, 0x137, 2, 1},  {0x13a, 0x148, 2, 1},  {0x14b, 0x177, 2, 1},  {0x17a, 0x17e, 2, 1},
        {0x3ac, 0x3ac, 1, 38}, {0x3ad, 0x3af, 1, 37}, {0x3b1, 0x3c1, 1, 32}, {0x3c2, 0x3c2, 1, 31},
        {0x3c3, 0x3cb, 1, 32}, {0x3cc, 0x3cc, 1, 64}, {0x3cd, 0x3ce, 1, 63}, {0x430, 0x44f, 1, 32},
        {0x450, 0x45f, 1, 80}, {0x461, 0x481, 2, 1},  {0x48b, 0x4bf, 2, 1},
    };

    if (unit == 0xff) {
        return 0x178;
    }
    for (size_t i = 0; i < COUNT(ranges); i++) {
        if (unit >= ranges[i].first && unit <= ranges[i].last &&
            (unit - ranges[i].first) % ranges[i].step == 0) {
            return (uint16_t)(unit - ranges[i].down);
        }
    }
    return unit;
}

/* What an 8.3 name may have in upper case; code pages differ in all that is not ASCII. */
static bool is_short_unit(uint16_t unit)
{
    return (unit >= 'A' && unit <= 'Z') || (unit >= '0' && unit <= '9') ||
           (unit != 0 && unit < 0x80 && strchr("$%'-_@~`!(){}^#&", unit) != NULL);
}

/* The index of the last dot, COUNT when there is none. */
static size_t find_extension(const struct fat_name *name)
{
    for (size_t i = name->count; i > 0; i--) {
        if (name->units[i - 1] == '.') {
            return i - 1;
        }
    }
    return name->count;
}

static void classify(struct fat_name *name)
{
    size_t dot = find_extension(name);

    name->is_plain = true;
    name->is_short = dot > 0 && dot <= BASE_SIZE &&
                     (dot == name->count || name->count - dot - 1 <= EXTENSION_SIZE);
    for (size_t i = 0; i < name->count; i++) {
        uint16_t unit = name->units[i];

        if (i != dot && !is_short_unit(unit)) {
            bool lower = unit >= 'a' && unit <= 'z';

            name->is_plain = false;
            name->is_short = name->is_short && lower;
        }
    }
    name->is_plain = name->is_plain && name->is_short;
}

const char *fat_name_parse(const char *text, size_t size, struct fat_name *ret)
{
    uint16_t units[FAT_LONG_MAX];
    size_t count;

    if (size == 0 || (size == 1 && text[0] == '.') || (size == 2 && memcmp(text, "..", 2) == 0)) {
        return "not a name";
    }
    if (!text_is_utf8(text, size)) {
        return "the name is not UTF-8, which FAT needs";
    }
    for (size_t i = 0; i < size; i++) {
        if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f) {
            return "a name on FAT cannot hold control characters";
        }
        if (strchr("\"*/:<>?\\|", text[i]) != NULL) {
            return "a name on FAT cannot hold any of \" * / : < > ? \\ |";
        }
    }
    if (text[size - 1] == '.' || text[size - 1] == ' ') {
        return "a name on FAT cannot end in a dot or a blank";
    }
    count = to_utf16(text, size, units);
    if (count > FAT_LONG_MAX) {
        return "the name is longer than the 255 UTF-16 units that FAT holds";
    }
    *ret = (struct fat_name){.units = xmemdup(units, count * sizeof(*units)), .count = count};
    classify(ret);
    return NULL;
}

int fat_name_compare(const struct fat_name *a, const struct fat_name *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        int difference = (int)fold(a->units[i]) - (int)fold(b->units[i]);

        if (difference != 0) {
            return difference;
        }
    }
    return (a->count > b->count) - (a->count < b->count);
}

/*
 * Copies what an 8.3 name can hold of units FROM to TO, at most SIZE, and returns how many: blanks
 * and dots go, and what is left of other characters is "_".
 */
static size_t squeeze(const struct fat_name *name, size_t from, size_t to, uint8_t *out,
                      size_t size)
{
    size_t used = 0;

    for (size_t i = from; i < to && used < size; i++) {
        uint16_t unit = name->units[i];

        if (unit == ' ' || unit == '.' || (unit >= 0xdc00 && unit <= 0xdfff)) {
            continue; /* of a surrogate pair only the first half counts */
        }
        unit = unit < 0x80 ? fold(unit) : unit;
        out[used++] = is_short_unit(unit) ? (uint8_t)unit : '_';
    }
    return used;
}

/* The extension of ".profile" is none. */
static size_t base_end(const struct fat_name *name)
{
    size_t dot = find_extension(name), leading = 0;

    while (leading < name->count && (name->units[leading] == '.' || name->units[leading] == ' ')) {
        leading++;
    }
    return dot < leading ? name->count : dot;
}

void fat_name_short(const struct fat_name *name, uint8_t out[FAT_SHORT_SIZE])
{
    size_t dot = find_extension(name);

    memset(out, ' ', FAT_SHORT_SIZE);
    (void)squeeze(name, 0, dot, out, BASE_SIZE);
    (void)squeeze(name, dot, name->count, out + BASE_SIZE, EXTENSION_SIZE);
}

/* FNV-1a with a seed, folded to 16 bits. */
static unsigned digest(const struct fat_name *name, uint32_t seed)
{
    uint32_t hash = 2166136261 ^ seed;

    for (size_t i = 0; i < name->count; i++) {
        hash = (hash ^ (name->units[i] & 0xff)) * 16777619;
        hash = (hash ^ (name->units[i] >> 8)) * 16777619;
    }
    return (hash >> 16) ^ (hash & 0xffff);
}

void fat_name_alias(const struct fat_name *name, unsigned try, uint8_t out[FAT_SHORT_SIZE])
{
    size_t end = base_end(name), used, room;
    char tail[BASE_SIZE + 1];
    int length;

    memset(out, ' ', FAT_SHORT_SIZE);
    used = squeeze(name, 0, end, out, BASE_SIZE);
    (void)squeeze(name, end, name->count, out + BASE_SIZE, EXTENSION_SIZE);
    if (try <= PLAIN_TRIES) {
        length = snprintf(tail, sizeof(tail), "~%u", try);
    } else {
        /* Nine of each digest, then another: names made to have one digest part here. */
        unsigned round = (try - PLAIN_TRIES - 1) / 9, last = (try - PLAIN_TRIES - 1) % 9 + 1;

        length = snprintf(tail, sizeof(tail), "%04X~%u", digest(name, round), last);
        used = used < 2 ? used : 2;
    }
    room = BASE_SIZE - (size_t)length;
    used = used < room ? used : room;
    memset(out + used, ' ', BASE_SIZE - used);
    memcpy(out + used, tail, (size_t)length);
}

uint8_t fat_name_checksum(const uint8_t name[FAT_SHORT_SIZE])
{
    uint8_t sum = 0;

    for (size_t i = 0; i < FAT_SHORT_SIZE; i++) {
        sum = (uint8_t)((sum >> 1) + (sum << 7) + name[i]);
    }
    return sum;
}
