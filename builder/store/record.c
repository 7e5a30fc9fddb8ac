/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blocks.h"

#define HEADER "kiln-state 1\n"

bool record_is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz", others[] = "0123456789._-";
    size_t length = strlen(name);

    if (length == 0 || length >= RECORD_NAME_MAX || strchr(letters, name[0]) == NULL) {
        return false;
    }
    for (const char *s = name; *s != '\0'; s++) {
        if (strchr(letters, *s) == NULL && strchr(others, *s) == NULL) {
            return false;
        }
    }
    return true;
}

bool record_is_group(const char *group)
{
    return strlen(group) <= RECORD_GROUP_MAX && strchr(group, '\n') == NULL;
}

void record_identify(const struct stat *st, struct record_identity *ret)
{
    *ret = (struct record_identity){
        .size_bytes = (uint64_t)st->st_size,
        .inode = st->st_ino,
        .mtime_s = st->st_mtim.tv_sec,
        .ctime_s = st->st_ctim.tv_sec,
        .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
        .ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
    };
}

bool record_same(const struct record_identity *a, const struct record_identity *b)
{
    return a->size_bytes == b->size_bytes && a->inode == b->inode && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns && a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;
}

uint64_t record_blocks(const struct record_file *file)
{
    uint64_t size = file->identity.size_bytes;

    return size / BLOCK_SIZE + (size % BLOCK_SIZE != 0);
}

/* ---- packing ---- */

static void pack_file(const struct record_file *file, struct buf *ret)
{
    const struct record_identity *identity = &file->identity;
    char hex[HASH_HEX_MAX];

    buf_printf(ret, "%s %s %llu %lld %u %lld %u %llu%s%s\n",
               file->blocks != NULL ? "disk" : "plain", file->name,
               (unsigned long long)identity->size_bytes, (long long)identity->mtime_s,
               identity->mtime_ns, (long long)identity->ctime_s, identity->ctime_ns,
               (unsigned long long)identity->inode, file->blocks != NULL ? "" : " ",
               file->blocks != NULL ? "" : hash_hex(file->digest, hex));
}

void record_pack(const struct record *record, struct buf *ret)
{
    buf_printf(ret, HEADER "group %s\n", record->group);
    for (size_t i = 0; i < record->count; i++) {
        pack_file(&record->files[i], ret);
    }
    buf_putc(ret, '\n');
    for (size_t i = 0; i < record->count; i++) {
        const struct record_file *file = &record->files[i];

        if (file->blocks != NULL) {
            buf_add(ret, file->blocks, record_blocks(file) * HASH_SIZE);
        }
    }
}

/* ---- unpacking ---- */

/* The next word of a line: what is before a space, or the rest. Advances *LINE; "" at the end. */
static const char *next_word(char **line)
{
    char *word = *line, *space = strchr(word, ' ');

    *line = space != NULL ? space + 1 : word + strlen(word);
    if (space != NULL) {
        *space = '\0';
    }
    return word;
}

/* A decimal number as printf writes it, at most MAX. */
static bool take_number(char **line, uint64_t max, uint64_t *ret)
{
    const char *word = next_word(line);
    uint64_t number = 0;

    if (word[0] == '\0' || (word[0] == '0' && word[1] != '\0')) {
        return false;
    }
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*word - '0'), &number)) {
            return false;
        }
    }
    *ret = number;
    return number <= max;
}

static bool take_time(char **line, int64_t *ret_s, uint32_t *ret_ns)
{
    bool negative = **line == '-';
    uint64_t seconds, ns;

    *line += negative;
    if (!take_number(line, INT64_MAX, &seconds) || (negative && seconds == 0) ||
        !take_number(line, 999999999, &ns)) {
        return false;
    }
    *ret_s = negative ? -(int64_t)seconds : (int64_t)seconds;
    *ret_ns = (uint32_t)ns;
    return true;
}

/* Lower-case hex only: a record has one way to be written. */
static bool take_digest(char **line, uint8_t ret[HASH_SIZE])
{
    const char *word = next_word(line);

    return word[strcspn(word, "ABCDEF")] == '\0' && hash_parse(word, ret);
}

/* The blocks of a disk are allocated and filled later. */
static bool unpack_file(char *line, struct record_file *ret, bool *ret_disk)
{
    struct record_identity *identity = &ret->identity;
    const char *kind = next_word(&line), *name = next_word(&line);

    *ret_disk = strcmp(kind, "disk") == 0;
    if ((!*ret_disk && strcmp(kind, "plain") != 0) || !record_is_name(name)) {
        return false;
    }
    (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
    return take_number(&line, INT64_MAX, &identity->size_bytes) &&
           take_time(&line, &identity->mtime_s, &identity->mtime_ns) &&
           take_time(&line, &identity->ctime_s, &identity->ctime_ns) &&
           take_number(&line, UINT64_MAX, &identity->inode) &&
           (*ret_disk || take_digest(&line, ret->digest)) && line[0] == '\0' &&
           line[-1] != '\0'; /* no space at the end */
}

struct reader {
    const char *at;
    size_t left;
};

/* The next line without its end, a new string; NULL: there is none, or a NUL is in it. */
static char *take_line(struct reader *reader)
{
    const char *end = memchr(reader->at, '\n', reader->left);
    size_t length = end != NULL ? (size_t)(end - reader->at) : 0;
    char *line;

    if (end == NULL || memchr(reader->at, '\0', length) != NULL) {
        return NULL;
    }
    line = xstrndup(reader->at, length);
    reader->at += length + 1;
    reader->left -= length + 1;
    return line;
}

static bool take_header(struct reader *reader, struct record *ret)
{
    SCOPED_FREE char *line = NULL;
    size_t length = sizeof(HEADER) - 1;

    if (reader->left < length || memcmp(reader->at, HEADER, length) != 0) {
        return false;
    }
    reader->at += length;
    reader->left -= length;
    line = take_line(reader);
    if (line == NULL || strncmp(line, "group ", 6) != 0 || !record_is_group(line + 6)) {
        return false;
    }
    ret->group = xstrdup(line + 6);
    return true;
}

static bool take_files(struct reader *reader, struct record *ret, bool *disks)
{
    for (;;) {
        SCOPED_FREE char *line = take_line(reader);

        if (line == NULL) {
            return false;
        }
        if (line[0] == '\0') {
            return true;
        }
        if (ret->count == RECORD_FILES_MAX ||
            !unpack_file(line, &ret->files[ret->count], &disks[ret->count])) {
            return false;
        }
        ret->count++;
    }
}

/* Sizes are compared with what is there before memory is taken for them. */
static bool take_blocks(struct reader *reader, struct record_file *file)
{
    uint64_t count = record_blocks(file);

    if (count > reader->left / HASH_SIZE) {
        return false;
    }
    file->blocks = xmalloc(count * HASH_SIZE + 1);
    memcpy(file->blocks, reader->at, count * HASH_SIZE);
    reader->at += count * HASH_SIZE;
    reader->left -= count * HASH_SIZE;
    return true;
}

bool record_unpack(const char *data, size_t size, struct record *ret)
{
    struct reader reader = {data, size};
    bool disks[RECORD_FILES_MAX] = {false};
    bool whole;

    *ret = (struct record){0};
    whole = take_header(&reader, ret) && take_files(&reader, ret, disks);
    for (size_t i = 0; whole && i < ret->count; i++) {
        whole = !disks[i] || take_blocks(&reader, &ret->files[i]);
    }
    if (!whole || reader.left != 0) {
        record_done(ret);
        return false;
    }
    return true;
}

void record_done(struct record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        free(record->files[i].blocks);
    }
    free(record->group);
    *record = (struct record){0};
}
