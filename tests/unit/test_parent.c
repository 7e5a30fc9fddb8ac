/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "publish/parent.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bundle/bundle.h"
#include "publish/journal.h"
#include "small_bundle.h"
#include "tools.h"

#define PLACE "state/kiln/published/web/lab"
#define RECORD PLACE "/record.json"

static const struct small_block old_blocks[] = {{0, "a"}, {1, "b"}, {5, "c"}};
static const struct small_block new_blocks[] = {{0, "a"}, {1, "B"}, {7, "d"}};

static struct reader *make_bundle(const char *dir, unsigned gib, const struct small_block *blocks,
                                  size_t count)
{
    return small_bundle_open(&(struct small_bundle){
        .dir = dir, .name = "web", .version = "1", .gib = gib, .blocks = blocks, .count = count});
}

static int start_test(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(file_remove_tree("state", &err), 0);
    assert_int_equal(file_remove_tree("old", &err), 0);
    return file_remove_tree("new", &err);
}

static void must_save(const struct reader *bundle, const char *snapshot)
{
    SCOPED(json_decrefp) json_t *result = json_pack("{s:s}", "snapshot", snapshot);
    struct error err = {0};

    if (parent_save(bundle, "lab", "aws/1", result, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

static struct parent *must_load(const char *scope)
{
    struct parent *parent = NULL;
    struct error err = {0};

    if (parent_load("web", "lab", scope, &parent, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return parent;
}

static void must_not_load(const char *message)
{
    struct parent *parent = NULL;
    struct error err = {0};

    assert_int_equal(parent_load("web", "lab", "aws/1", &parent, &err), -1);
    assert_null(parent);
    if (strstr(err.message, message) == NULL) {
        fail_msg("%s", err.message);
    }
}

static void expect_parent(const struct parent *parent, const struct reader *bundle,
                          const char *snapshot)
{
    assert_non_null(parent);
    assert_string_equal(parent->scope, "aws/1");
    assert_string_equal(json_string_value(json_object_get(parent->result, "snapshot")), snapshot);
    assert_memory_equal(parent->disk_digest, bundle->disk_digest, HASH_SIZE);
    assert_int_equal(parent->size_bytes, bundle->size_bytes);
    assert_int_equal(parent->block_count, bundle->block_count);
    assert_memory_equal(parent->digests, bundle->digests, bundle->block_count * HASH_SIZE);
}

/* Copies a file, as a crash may leave some of them old and some new. */
static void copy_file(const char *from, const char *to)
{
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};

    assert_int_equal(file_read(from, 1 << 20, &text, &err), 0);
    assert_int_equal(file_write(to, text.data, text.size, &err), 0);
}

static char *index_of(const struct reader *bundle)
{
    char hex[HASH_HEX_MAX];

    return xprintf(PLACE "/%s.index", hash_hex(bundle->disk_digest, hex));
}

static void the_last_one_published_is_the_parent(void **state)
{
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    SCOPED(reader_freep) struct reader *new = make_bundle("new", 1, new_blocks, 3);
    SCOPED(parent_freep) struct parent *first = NULL, *second = NULL;
    SCOPED_FREE char *index = index_of(old);

    (void)state;
    assert_null(must_load("aws/1"));
    must_save(old, "snap-1");
    first = must_load("aws/1");
    expect_parent(first, old, "snap-1");
    must_save(new, "snap-2");
    second = must_load(NULL);
    expect_parent(second, new, "snap-2");
    assert_false(file_exists(index));
}

static void another_account_has_another_parent(void **state)
{
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    struct parent *parent = NULL;
    struct error err = {0};

    (void)state;
    must_save(old, "snap-1");
    assert_null(must_load("aws/2"));
    assert_int_equal(parent_load("web", "other", "aws/1", &parent, &err), 0);
    assert_null(parent);
    assert_int_equal(parent_load("db", "lab", "aws/1", &parent, &err), 0);
    assert_null(parent);
}

static void whoever_is_killed_while_saving_leaves_the_old_one(void **state)
{
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    SCOPED(reader_freep) struct reader *new = make_bundle("new", 1, new_blocks, 3);
    SCOPED(parent_freep) struct parent *before = NULL, *after = NULL;
    SCOPED_FREE char *old_index = index_of(old);
    SCOPED_FREE char *new_index = index_of(new);

    (void)state;
    must_save(new, "snap-2");
    copy_file(new_index, "kept.index");
    copy_file(RECORD, "kept.json");
    assert_int_equal(unlink(new_index), 0);
    must_save(old, "snap-1");
    /* The new index is there, the record is not yet. */
    copy_file("kept.index", new_index);
    before = must_load("aws/1");
    expect_parent(before, old, "snap-1");
    /* The record is there, too; the old index is not gone yet. */
    copy_file("kept.json", RECORD);
    assert_true(file_exists(old_index));
    after = must_load("aws/1");
    expect_parent(after, new, "snap-2");
}

static void what_is_damaged_is_an_error(void **state)
{
    static const char *const records[] = {
        "",
        "{}",
        "[]",
        "{\"parent\": 1, \"scope\": \"aws/1\", \"disk_digest\": \"12\", \"result\": {}}",
        "{\"parent\": 1, \"scope\": \"aws/1\", \"disk_digest\": \"12\"}",
    };
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    SCOPED(reader_freep) struct reader *new = make_bundle("new", 1, new_blocks, 3);
    SCOPED_FREE char *index = index_of(old);
    SCOPED_FREE char *other = file_join(new->path, INDEX_NAME);
    struct error err = {0};

    (void)state;
    must_save(old, "snap-1");
    for (size_t i = 0; i < COUNT(records); i++) {
        assert_int_equal(file_write(RECORD, records[i], strlen(records[i]), &err), 0);
        must_not_load(RECORD "' is no record of a publish");
    }
    must_save(old, "snap-1");
    copy_file(other, index);
    must_not_load("is not the index of its disk");
    assert_int_equal(unlink(index), 0);
    must_not_load(".index");
}

static void only_absolute_places_count(void **state)
{
    SCOPED_FREE char *home = getcwd(NULL, 0);
    SCOPED_FREE char *before = xstrdup(getenv("XDG_STATE_HOME"));
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    struct parent *parent = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(setenv("XDG_STATE_HOME", "state", 1), 0);
    assert_int_equal(setenv("HOME", home, 1), 0);
    must_save(old, "snap-1");
    assert_false(file_exists("state"));
    assert_true(file_exists(".local/" RECORD));
    assert_int_equal(setenv("HOME", "", 1), 0);
    assert_int_equal(parent_load("web", "lab", "aws/1", &parent, &err), -1);
    assert_non_null(strstr(err.hint, "XDG_STATE_HOME"));
    assert_int_equal(setenv("XDG_STATE_HOME", before, 1), 0);
}

/* ---- out of another bundle ---- */

/* A journal in BUNDLE, of another publish id each time. */
static void add_journal(const struct reader *bundle, const char *target, const char *scope,
                        const char *snapshot)
{
    static unsigned number;
    SCOPED_FREE char *dir = file_join(bundle->path, BUNDLE_JOURNALS);
    SCOPED_FREE char *id = xprintf("%08u%056u", number++, 0);
    char hex[HASH_HEX_MAX];
    SCOPED(json_decrefp)
    json_t *head = json_pack("{s:s, s:s, s:s}", "target", target, "scope", scope, "disk_digest",
                             hash_hex(bundle->disk_digest, hex));
    SCOPED(journal_freep) struct journal *journal = NULL;
    SCOPED_FREE char *result = xprintf("{\"snapshot\": \"%s\"}", snapshot);
    struct error err = {0};

    if (journal_open(dir, target, id, head, &journal, &err) < 0) {
        fail_msg("%s", err.message);
    }
    if (snapshot[0] != '\0') {
        assert_int_equal(journal_set(journal, JOURNAL_PUBLISHED, result, &err), 0);
    }
}

static void another_bundle_is_the_parent_once_it_is_published(void **state)
{
    struct parent *parent = NULL;
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    struct error err = {0};

    (void)state;
    add_journal(old, "lab", "aws/1", "");
    add_journal(old, "lab", "aws/2", "snap-other-account");
    add_journal(old, "prod", "aws/1", "snap-other-target");
    assert_int_equal(parent_from_bundle("old", "lab", "aws/1", &parent, &err), -1);
    assert_string_equal(err.message, "'old' was never published to target 'lab' as 'aws/1'");
    add_journal(old, "lab", "aws/1", "snap-1");
    fail_clear(&err);
    assert_int_equal(parent_from_bundle("old", "lab", "aws/1", &parent, &err), 0);
    expect_parent(parent, old, "snap-1");
    parent_free(parent);
}

static void of_several_publishes_the_latest_counts(void **state)
{
    static const struct timespec later[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 2000000000}};
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    struct error err = {0};

    (void)state;
    add_journal(old, "lab", "aws/1", "snap-0");
    add_journal(old, "lab", "aws/1", "snap-1");
    add_journal(old, "lab", "aws/1", "snap-2");
    assert_int_equal(journal_list("old/" BUNDLE_JOURNALS, &paths, &err), 0);
    assert_int_equal(paths.count, 3);
    for (size_t i = 0; i < paths.count; i++) {
        SCOPED_FREE char *snapshot = xprintf("snap-%zu", i);
        struct timespec times[2] = {later[0], later[1]};
        struct parent *parent = NULL;

        times[1].tv_nsec = (long)i;
        assert_int_equal(utimensat(AT_FDCWD, paths.items[i], times, 0), 0);
        assert_int_equal(parent_from_bundle("old", "lab", "aws/1", &parent, &err), 0);
        expect_parent(parent, old, snapshot);
        parent_free(parent);
    }
}

static void a_journal_of_another_disk_does_not_count(void **state)
{
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    SCOPED(reader_freep) struct reader *rebuilt = NULL;
    struct parent *parent = NULL;
    struct error err = {0};

    (void)state;
    add_journal(old, "lab", "aws/1", "snap-1");
    rebuilt = make_bundle("old", 1, new_blocks, 3);
    assert_int_equal(parent_from_bundle("old", "lab", NULL, &parent, &err), -1);
    assert_string_equal(err.message, "'old' was never published to target 'lab'");
}

/* ---- what to send ---- */

static void expect_changes(const struct reader *bundle, const struct parent *parent,
                           const uint64_t *wanted, size_t count)
{
    SCOPED_FREE uint64_t *blocks = NULL;
    size_t found = 0;

    parent_changes(bundle, parent, &blocks, &found);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(blocks[i], wanted[i]);
    }
}

static void changes_are_what_differs_zeros_included(void **state)
{
    static const uint64_t all[] = {0, 1, 7}, changed[] = {1, 5, 7}, grown[] = {1, 5, 7, 3000};
    static const struct small_block large_blocks[] = {{0, "a"}, {1, "B"}, {7, "d"}, {3000, "e"}};
    SCOPED(reader_freep) struct reader *old = make_bundle("old", 1, old_blocks, 3);
    SCOPED(reader_freep) struct reader *new = make_bundle("new", 1, new_blocks, 3);
    SCOPED(reader_freep) struct reader *large = make_bundle("new", 2, large_blocks, 4);
    SCOPED(parent_freep) struct parent *parent = NULL;

    (void)state;
    must_save(old, "snap-1");
    parent = must_load("aws/1");
    expect_changes(new, NULL, all, COUNT(all));
    expect_changes(new, parent, changed, COUNT(changed));
    expect_changes(old, parent, NULL, 0);
    expect_changes(large, parent, grown, COUNT(grown));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_last_one_published_is_the_parent, start_test),
        cmocka_unit_test_setup(another_account_has_another_parent, start_test),
        cmocka_unit_test_setup(whoever_is_killed_while_saving_leaves_the_old_one, start_test),
        cmocka_unit_test_setup(what_is_damaged_is_an_error, start_test),
        cmocka_unit_test_setup(only_absolute_places_count, start_test),
        cmocka_unit_test_setup(another_bundle_is_the_parent_once_it_is_published, start_test),
        cmocka_unit_test_setup(of_several_publishes_the_latest_counts, start_test),
        cmocka_unit_test_setup(a_journal_of_another_disk_does_not_count, start_test),
        cmocka_unit_test_setup(changes_are_what_differs_zeros_included, start_test),
    };

    return cmocka_run_group_tests(tests, enter_with_state, leave_scratch);
}
