/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/peek.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 512
#define TYPE 156
#define SIZE 124
#define MAGIC 257

void peek_start(struct peek *peek, uint64_t from)
{
    peek->from = from;
    peek->have = 0;
}

void peek_feed(struct peek *peek, const char *data, size_t size, uint64_t at)
{
    uint64_t next = peek->from + peek->have;
    size_t skip, take;

    if (next < at || next - at >= size) {
        return;
    }
    skip = (size_t)(next - at);
    take = size - skip < PEEK_SIZE - peek->have ? size - skip : PEEK_SIZE - peek->have;
    memcpy(peek->bytes + peek->have, data + skip, take);
    peek->have += take;
}

static bool has_type(const struct peek *peek, char type)
{
    return peek->have >= BLOCK && peek->bytes[TYPE] == type &&
           memcmp(peek->bytes + MAGIC, "ustar", 5) == 0;
}

/* The bytes of records that were seen; *RET_WHOLE when that is all of them. */
static size_t records_size(const struct peek *peek, bool *ret_whole)
{
    char field[13] = {0};
    unsigned long long size;

    memcpy(field, peek->bytes + SIZE, 12);
    size = strtoull(field, NULL, 8);
    *ret_whole = size <= peek->have - BLOCK;
    return *ret_whole ? (size_t)size : peek->have - BLOCK;
}

/* The record at *AT: its text behind the length, and *AT behind it. False at the end. */
static bool next_record(const struct peek *peek, size_t size, size_t *at, const char **ret,
                        size_t *ret_size)
{
    const char *records = peek->bytes + BLOCK;
    size_t length = 0, i = *at;

    for (; i < size && records[i] >= '0' && records[i] <= '9' && length < PEEK_SIZE; i++) {
        length = length * 10 + (size_t)(records[i] - '0');
    }
    if (i >= size || records[i] != ' ' || length <= i + 1 - *at || length > size - *at) {
        return false;
    }
    *ret = records + i + 1;
    *ret_size = length - (i + 1 - *at);
    *at += length;
    return true;
}

static bool starts_with(const char *text, size_t size, const char *start)
{
    return size >= strlen(start) && memcmp(text, start, strlen(start)) == 0;
}

int peek_check(const struct peek *peek, const char *label, struct error *err)
{
    const char *record;
    size_t size, at = 0, length;
    bool whole;

    if (!has_type(peek, 'g')) {
        return 0;
    }
    size = records_size(peek, &whole);
    while (next_record(peek, size, &at, &record, &length)) {
        if (!starts_with(record, length, "comment=")) {
            whole = false;
            break;
        }
    }
    if (!whole || at != size) {
        fail(err, FAIL_ERROR, "%s: a global pax header with more than a comment", label);
        return fail_hint(err, "pack it again without (GNU tar: no globexthdr in --pax-option)");
    }
    return 0;
}

bool peek_just_before_1970(const struct peek *peek)
{
    const char *record;
    size_t size, at = 0, length;
    bool whole, before = false;

    if (!has_type(peek, 'x')) {
        return false;
    }
    size = records_size(peek, &whole);
    while (next_record(peek, size, &at, &record, &length)) {
        if (starts_with(record, length, "mtime=")) {
            before = starts_with(record, length, "mtime=-0.");
        }
    }
    return before;
}
