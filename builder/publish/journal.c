/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/partial.h"
#include "base/text.h"
#include "bundle/bundle.h"

#define FORMAT_KEY "journal" /* of the head */

enum {
    FORMAT = 1,
    FILE_MAX = 64 << 20,
    KEY_MAX = 128,
    VALUE_MAX = 16 << 10,
    ATTEMPT_MAX = 1000000,
    BLOCKS_MAX = 1 << 27, /* of 512 KiB: 64 TiB */
    LINE_BLOCKS = 256,    /* at most, in one line */
    WHY_MAX = 4 << 10,
    ID_DIGITS = 16,
};

struct journal {
    char *path;
    int fd;             /* -1: it was only read */
    uint64_t size;      /* of all complete lines */
    bool broken;        /* what an append that failed left could not be taken back */
    json_t *head;       /* NULL: not even that was written */
    unsigned attempt;   /* from 1 */
    json_t *values;     /* of this attempt */
    uint8_t *bits;      /* of the blocks that are up */
    size_t bits_size;   /* bytes */
    uint64_t bit_count; /* that are set */
    pthread_mutex_t lock;
};

static struct journal *new_journal(const char *path)
{
    struct journal *journal = xcalloc(1, sizeof(*journal));

    journal->path = xstrdup(path);
    journal->fd = -1;
    journal->attempt = 1;
    journal->values = json_object();
    pthread_mutex_init(&journal->lock, NULL);
    return journal;
}

void journal_free(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    scope_fd(&journal->fd);
    json_decref(journal->head);
    json_decref(journal->values);
    pthread_mutex_destroy(&journal->lock);
    free(journal->bits);
    free(journal->path);
    free(journal);
}

/* ---- blocks; the lock is held ---- */

static bool has_bit(const struct journal *journal, uint64_t block)
{
    return block / 8 < journal->bits_size && (journal->bits[block / 8] >> block % 8 & 1) != 0;
}

static void set_bit(struct journal *journal, uint64_t block)
{
    size_t byte = block / 8;

    if (byte >= journal->bits_size) {
        size_t size = byte < 1024 ? 1024 : byte * 2;

        journal->bits = xrealloc(journal->bits, size);
        memset(journal->bits + journal->bits_size, 0, size - journal->bits_size);
        journal->bits_size = size;
    }
    if (!has_bit(journal, block)) {
        journal->bits[byte] |= (uint8_t)(1U << block % 8);
        journal->bit_count++;
    }
}

static void forget_attempt(struct journal *journal)
{
    (void)json_object_clear(journal->values);
    free(TAKE(journal->bits));
    journal->bits_size = 0;
    journal->bit_count = 0;
}

/* ---- reading: what is wrong with a line, or NULL ---- */

static bool is_key(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.:_-");

    return length != 0 && length <= KEY_MAX && text[length] == '\0';
}

static const char *apply_head(struct journal *journal, json_t *line)
{
    json_t *format = json_object_get(line, FORMAT_KEY), *value;
    const char *key;

    if (!json_is_integer(format)) {
        return "no head of a journal";
    }
    if (json_integer_value(format) != FORMAT) {
        return "a journal of another version of kiln";
    }
    json_object_foreach(line, key, value)
    {
        if (value != format && !json_is_string(value)) {
            return "no head of a journal";
        }
    }
    journal->head = json_incref(line);
    return NULL;
}

static const char *apply_attempt(struct journal *journal, json_t *line)
{
    json_int_t attempt = 0;
    const char *why;

    if (json_unpack(line, "{s:I, s:s !}", "attempt", &attempt, "why", &why) < 0) {
        return "no attempt";
    }
    if (attempt != (json_int_t)journal->attempt + 1 || attempt > ATTEMPT_MAX) {
        return "an attempt out of order";
    }
    journal->attempt = (unsigned)attempt;
    forget_attempt(journal);
    return NULL;
}

static const char *apply_value(struct journal *journal, json_t *line)
{
    const char *key, *value;

    if (json_unpack(line, "{s:s, s:s !}", "key", &key, "value", &value) < 0 || !is_key(key) ||
        strlen(value) > VALUE_MAX) {
        return "no value";
    }
    (void)json_object_set(journal->values, key, json_object_get(line, "value"));
    return NULL;
}

/* Numbers in pairs: the first and the last block of a run. */
static const char *apply_blocks(struct journal *journal, json_t *line)
{
    const json_t *runs = json_object_get(line, "blocks");
    size_t count = json_array_size(runs);
    json_int_t blocks = 0;

    if (json_object_size(line) != 1 || count == 0 || count % 2 != 0) {
        return "no blocks";
    }
    for (size_t i = 0; i < count; i += 2) {
        const json_t *from = json_array_get(runs, i), *to = json_array_get(runs, i + 1);
        json_int_t first = json_integer_value(from), last = json_integer_value(to);

        if (!json_is_integer(from) || !json_is_integer(to) || first < 0 || last < first ||
            last >= BLOCKS_MAX || (blocks += last - first + 1) > LINE_BLOCKS) {
            return "no blocks";
        }
        for (json_int_t block = first; block <= last; block++) {
            set_bit(journal, (uint64_t)block);
        }
    }
    return NULL;
}

static const char *apply_line(struct journal *journal, const char *text, size_t size)
{
    json_error_t problem;
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    const char *wrong;

    if (!json_is_object(line)) {
        wrong = "no line of a journal";
    } else if (journal->head == NULL) {
        wrong = apply_head(journal, line);
    } else if (json_object_get(line, "attempt") != NULL) {
        wrong = apply_attempt(journal, line);
    } else if (json_object_get(line, "blocks") != NULL) {
        wrong = apply_blocks(journal, line);
    } else {
        wrong = apply_value(journal, line);
    }
    json_decref(line);
    return wrong;
}

/*
 * True for what a crash may leave at the end of a file: a line without its end, or one of which a
 * part never reached the disk and reads as zeros.
 */
static bool is_torn(const char *line, const char *end, const char *newline)
{
    return newline == NULL || (newline + 1 == end && memchr(line, '\0', (size_t)(end - line)));
}

static int parse(struct journal *journal, const char *text, size_t size, struct error *err)
{
    const char *end = text + size;
    size_t number = 1;

    for (const char *line = text; line < end; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *wrong;

        if (is_torn(line, end, newline)) {
            break;
        }
        wrong = apply_line(journal, line, (size_t)(newline - line));
        if (wrong != NULL) {
            fail(err, FAIL_ERROR, "%s:%zu: %s", journal->path, number, wrong);
            return fail_hint(err, "with the file away it is published from the beginning; what an "
                                  "unfinished publish left in the cloud then stays there");
        }
        line = newline + 1;
        journal->size = (uint64_t)(line - text);
    }
    return 0;
}

static int read_all(struct journal *journal, int fd, struct error *err)
{
    SCOPED_FREE char *text = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", journal->path);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, FAIL_ERROR, "'%s' is not a regular file", journal->path);
    }
    if (st.st_size > FILE_MAX) {
        return fail(err, FAIL_ERROR, "'%s' is too large for a journal", journal->path);
    }
    text = xmalloc((size_t)st.st_size + 1);
    if (file_pread(fd, text, (size_t)st.st_size, 0, journal->path, err) < 0) {
        return -1;
    }
    return parse(journal, text, (size_t)st.st_size, err);
}

int journal_read(const char *path, struct journal **ret, struct error *err)
{
    SCOPED(journal_freep) struct journal *journal = new_journal(path);
    SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0) {
        return fail_os(err, "open '%s'", path);
    }
    if (read_all(journal, fd, err) < 0) {
        return -1;
    }
    *ret = journal->head != NULL ? TAKE(journal) : NULL;
    return 0;
}

/* ---- appending; the lock is held ---- */

static void take_back(struct journal *journal)
{
    journal->broken = ftruncate(journal->fd, (off_t)journal->size) < 0;
}

/* Takes LINE, which is NULL when it could not be made of foreign text. */
static int append(struct journal *journal, json_t *line, struct error *err)
{
    SCOPED_FREE char *text = NULL;
    SCOPED(buf_done) struct buf buf = {0};

    assert(journal->fd >= 0); /* not one of journal_read */
    text = line != NULL ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(line);
    if (text == NULL) {
        return fail(err, FAIL_ERROR, "'%s': what is to be written is not UTF-8", journal->path);
    }
    buf_printf(&buf, "%s\n", text);
    if (journal->broken || journal->size + buf.size > FILE_MAX) {
        return fail(err, FAIL_ERROR, "'%s' %s", journal->path,
                    journal->broken ? "could not be written before" : "is full");
    }
    if (file_write_all(journal->fd, buf.data, buf.size, journal->path, err) < 0) {
        take_back(journal);
        return -1;
    }
    if (fdatasync(journal->fd) < 0) {
        fail_os(err, "write '%s' to the disk", journal->path);
        take_back(journal);
        return -1;
    }
    journal->size += buf.size;
    return 0;
}

/* ---- opening ---- */

static int sync_directory(const char *path, struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0) {
        return fail_os(err, "write directory '%s' to the disk", path);
    }
    return 0;
}

static int cannot_write(const char *what, const char *path, struct error *err)
{
    int os = errno;

    fail_os(err, "%s '%s'", what, path);
    if (os == EROFS || os == EACCES || os == EPERM) {
        fail_hint(err, "what was done so far is kept in the bundle: publish a copy of it that you "
                       "may write to");
    }
    return -1;
}

static int make_directory(const char *dir, struct error *err)
{
    SCOPED_FREE char *parent = file_dir(dir);
    struct stat st;

    if (mkdir(dir, 0777) == 0) {
        return sync_directory(parent, err);
    }
    if (errno != EEXIST) {
        return cannot_write("make directory", dir, err);
    }
    if (lstat(dir, &st) < 0) {
        return fail_os(err, "stat '%s'", dir);
    }
    /* A bundle from elsewhere may have a link there, to a place of its choice. */
    return S_ISDIR(st.st_mode) ? 0 : fail(err, FAIL_ERROR, "'%s' is not a directory", dir);
}

static int open_locked(struct journal *journal, const char *target, struct error *err)
{
    SCOPED_FD int fd = open(
        journal->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);

    if (fd < 0) {
        return cannot_write("open", journal->path, err);
    }
    if (partial_flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) {
            return fail_os(err, "lock '%s'", journal->path);
        }
        return fail(err, FAIL_ERROR, "'%s' is being published by another kiln", target);
    }
    journal->fd = TAKE_FD(fd);
    return 0;
}

/* Compares the first line, or writes it. */
static int begin(struct journal *journal, const char *dir, const json_t *head, struct error *err)
{
    SCOPED(json_decrefp) json_t *wanted = json_copy((json_t *)head);

    (void)json_object_set_new(wanted, FORMAT_KEY, json_integer(FORMAT));
    if (ftruncate(journal->fd, (off_t)journal->size) < 0) {
        return fail_os(err, "shorten '%s'", journal->path);
    }
    if (journal->head != NULL) {
        return json_equal(journal->head, wanted)
                   ? 0
                   : fail(err, FAIL_ERROR, "'%s' is the journal of another publish", journal->path);
    }
    if (append(journal, json_incref(wanted), err) < 0 || sync_directory(dir, err) < 0) {
        return -1;
    }
    journal->head = TAKE(wanted);
    return 0;
}

static char *name_of(const char *target, const char *publish_id)
{
    return xprintf("%s.%.*s" BUNDLE_JOURNAL, target, ID_DIGITS, publish_id);
}

bool journal_is_named(const char *path, const char *target, const char *publish_id)
{
    SCOPED_FREE char *name = name_of(target, publish_id);
    const char *slash = strrchr(path, '/');

    return strcmp(slash != NULL ? slash + 1 : path, name) == 0;
}

int journal_open(const char *dir, const char *target, const char *publish_id, const json_t *head,
                 struct journal **ret, struct error *err)
{
    SCOPED_FREE char *name = name_of(target, publish_id);
    SCOPED_FREE char *path = file_join(dir, name);
    SCOPED(journal_freep) struct journal *journal = new_journal(path);

    if (make_directory(dir, err) < 0 || open_locked(journal, target, err) < 0 ||
        read_all(journal, journal->fd, err) < 0 || begin(journal, dir, head, err) < 0) {
        return -1;
    }
    *ret = TAKE(journal);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int journal_list(const char *dir, struct journal_paths *ret, struct error *err)
{
    SCOPED_DIR DIR *stream = opendir(dir);
    struct dirent *entry;

    if (stream == NULL) {
        return errno == ENOENT ? 0 : fail_os(err, "open directory '%s'", dir);
    }
    while ((errno = 0, entry = readdir(stream)) != NULL) {
        if (entry->d_name[0] != '.' && text_ends(entry->d_name, BUNDLE_JOURNAL)) {
            grow(&ret->items, ret->count, &ret->space, sizeof(*ret->items));
            ret->items[ret->count++] = file_join(dir, entry->d_name);
        }
    }
    if (errno != 0) {
        return fail_os(err, "read directory '%s'", dir);
    }
    if (ret->count != 0) {
        qsort(ret->items, ret->count, sizeof(*ret->items), by_text);
    }
    return 0;
}

void journal_paths_done(struct journal_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->items[i]);
    }
    free(paths->items);
    *paths = (struct journal_paths){0};
}

/* ---- values ---- */

const json_t *journal_head(const struct journal *journal)
{
    return journal->head;
}

unsigned journal_attempt(const struct journal *journal)
{
    return journal->attempt;
}

int journal_next_attempt(struct journal *journal, const char *why, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};
    int result;

    text_escape(&text, why, strnlen(why, WHY_MAX), false);
    pthread_mutex_lock(&journal->lock);
    result = append(journal,
                    json_pack("{s:I, s:s}", "attempt", (json_int_t)journal->attempt + 1, "why",
                              text.size != 0 ? text.data : ""),
                    err);
    if (result == 0) {
        journal->attempt++;
        forget_attempt(journal);
    }
    pthread_mutex_unlock(&journal->lock);
    return result;
}

int journal_set(struct journal *journal, const char *key, const char *value, struct error *err)
{
    SCOPED(json_decrefp) json_t *string = json_string(value);
    int result;

    assert(is_key(key));
    if (strlen(value) > VALUE_MAX) {
        return fail(err, FAIL_ERROR, "'%s': %s is too long", journal->path, key);
    }
    pthread_mutex_lock(&journal->lock);
    result = append(journal, json_pack("{s:s, s:O}", "key", key, "value", string), err);
    if (result == 0) {
        (void)json_object_set(journal->values, key, string);
    }
    pthread_mutex_unlock(&journal->lock);
    return result;
}

const char *journal_get(const struct journal *journal, const char *key)
{
    struct journal *mutable = (struct journal *)journal;
    const char *value;

    pthread_mutex_lock(&mutable->lock);
    value = json_string_value(json_object_get(journal->values, key));
    pthread_mutex_unlock(&mutable->lock);
    return value;
}

void journal_each(const struct journal *journal,
                  void (*visit)(void *data, const char *key, const char *value), void *data)
{
    size_t count = 0;
    SCOPED_FREE const char **keys = xcalloc(json_object_size(journal->values) + 1, sizeof(*keys));
    const char *key;
    json_t *value;

    json_object_foreach(journal->values, key, value)
    {
        keys[count++] = key;
    }
    qsort(keys, count, sizeof(*keys), by_text);
    for (size_t i = 0; i < count; i++) {
        visit(data, keys[i], json_string_value(json_object_get(journal->values, keys[i])));
    }
}

/* ---- blocks ---- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The runs of COUNT sorted blocks. */
static json_t *runs_of(const uint64_t *blocks, size_t count)
{
    json_t *runs = json_array();

    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && blocks[next] <= blocks[next - 1] + 1; next++) {
        }
        (void)json_array_append_new(runs, json_integer((json_int_t)blocks[i]));
        (void)json_array_append_new(runs, json_integer((json_int_t)blocks[next - 1]));
    }
    return runs;
}

int journal_add_blocks(struct journal *journal, const uint64_t *blocks, size_t count,
                       struct error *err)
{
    SCOPED_FREE uint64_t *sorted = xmemdup(blocks, count * sizeof(*blocks));
    int result = 0;

    qsort(sorted, count, sizeof(*sorted), by_number);
    assert(count == 0 || sorted[count - 1] < BLOCKS_MAX);
    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; i < count && result == 0; i += LINE_BLOCKS) {
        size_t some = count - i < LINE_BLOCKS ? count - i : LINE_BLOCKS;

        result = append(journal, json_pack("{s:o}", "blocks", runs_of(sorted + i, some)), err);
        for (size_t k = i; k < i + some && result == 0; k++) {
            set_bit(journal, sorted[k]);
        }
    }
    pthread_mutex_unlock(&journal->lock);
    return result;
}

bool journal_has_block(const struct journal *journal, uint64_t block)
{
    struct journal *mutable = (struct journal *)journal;
    bool has;

    pthread_mutex_lock(&mutable->lock);
    has = has_bit(journal, block);
    pthread_mutex_unlock(&mutable->lock);
    return has;
}

uint64_t journal_block_count(const struct journal *journal)
{
    return journal->bit_count;
}
