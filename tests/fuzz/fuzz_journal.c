/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a journal: either it is refused at a line of the file, or what it says is within its
 * limits, and it can be gone on with: what is written then is there again.
 */
#include "publish/journal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

#define ID "0123456789abcdef"
#define VALUE "a \xe2\x82\xac\x1b"

/* In memory where that can be: every line waits for the disk. Made once, for all inputs. */
static char in_memory[] = "/dev/shm/fuzz-journal-XXXXXX", on_disk[] = "/tmp/fuzz-journal-XXXXXX";
static char *directory, *path;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void remove_directory(void)
{
    struct error err = {0};

    (void)file_remove_tree(directory, &err);
    free(path);
}

static void make_directory(void)
{
    directory = mkdtemp(in_memory);
    directory = directory != NULL ? directory : mkdtemp(on_disk);
    require(directory != NULL && atexit(remove_directory) == 0);
    path = xprintf("%s/lab." ID ".journal", directory);
}

static void check_refusal(const struct error *err)
{
    require(err->kind == FAIL_ERROR);
    require(text_starts(err->message, path) && err->message[strlen(path)] == ':');
    require(strstr(err->hint, "from the beginning") != NULL);
}

static void check_value(void *data, const char *key, const char *value)
{
    const char **before = data;

    require(*before == NULL || strcmp(*before, key) < 0);
    require(strlen(key) <= 128 && strlen(value) <= 16 << 10);
    require(text_is_utf8(value, strlen(value)));
    *before = key;
}

/* Blocks are counted as they are found, as far as the input can have named them. */
static void check_blocks(const struct journal *journal, size_t size)
{
    uint64_t count = journal_block_count(journal);

    require(count <= size * 256);
    require(!journal_has_block(journal, 1 << 27));
}

static void go_on(struct journal *journal)
{
    static const uint64_t blocks[] = {5, 134217727, 6};
    uint64_t missing = (journal_has_block(journal, 5) ? 0 : 1) +
                       (journal_has_block(journal, 6) ? 0 : 1) +
                       (journal_has_block(journal, 134217727) ? 0 : 1);
    uint64_t count = journal_block_count(journal) + missing;
    unsigned attempt = journal_attempt(journal);
    SCOPED(journal_freep) struct journal *back = NULL;
    struct error err = {0};

    require(journal_set(journal, "key", VALUE, &err) == 0);
    require(journal_add_blocks(journal, blocks, COUNT(blocks), &err) == 0);
    require(journal_read(path, &back, &err) == 0 && back != NULL);
    require(journal_block_count(back) == count && journal_attempt(back) == attempt);
    require(strcmp(journal_get(back, "key"), VALUE) == 0);
    require(json_equal(journal_head(back), journal_head(journal)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(journal_freep) struct journal *journal = NULL, *opened = NULL;
    const char *before = NULL;
    struct error err = {0};

    if (directory == NULL) {
        make_directory();
    }
    require(file_write(path, data, size, &err) == 0);
    if (journal_read(path, &journal, &err) < 0) {
        check_refusal(&err);
        return 0;
    }
    if (journal == NULL) {
        return 0;
    }
    journal_each(journal, check_value, &before);
    check_blocks(journal, size);
    require(journal_open(directory, "lab", ID, journal_head(journal), &opened, &err) == 0);
    go_on(opened);
    return 0;
}
