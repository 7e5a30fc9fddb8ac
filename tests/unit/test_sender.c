/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "publish/sender.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "publish/job.h"
#include "publish/pace.h"
#include "small_bundle.h"
#include "tools.h"

enum { BLOCKS = 300 };

/* A publication on its way, and a server that takes blocks. */
struct place {
    struct ui *ui;
    struct board board;
    struct target target;
    struct job job;
    struct reader *bundle;
    uint64_t blocks[BLOCKS];
    struct sender sender;

    pthread_mutex_t lock; /* all that follows */
    unsigned puts[BLOCKS];
    unsigned under_way, most, finished;
    unsigned over;       /* how often more were under way than the pace allows */
    unsigned wanted;     /* put takes its time, and waits until so many were under way; 0: not */
    uint64_t fails_at;   /* a block; BLOCKS: none */
    unsigned disordered; /* blocks after a later one */
    uint64_t highest;
};

static void open_journal(struct place *place)
{
    SCOPED(json_decrefp) json_t *head = json_object();
    struct error err = {0};

    journal_free(place->job.pub.journal);
    place->job.pub.journal = NULL;
    assert_int_equal(
        journal_open("publish", "lab", "0123456789abcdef", head, &place->job.pub.journal, &err), 0);
}

/* Takes a block, and looks whether it is what the bundle says. */
static int put(void *data, uint64_t block, const void *bytes, const uint8_t digest[HASH_SIZE],
               struct error *err)
{
    struct place *place = data;
    uint8_t found[HASH_SIZE];
    bool fails;

    hash_bytes(bytes, BLOCK_SIZE, found);
    assert_memory_equal(found, digest, HASH_SIZE);
    assert_memory_equal(digest, place->bundle->digests[block], HASH_SIZE);
    pthread_mutex_lock(&place->lock);
    place->under_way++;
    place->most = place->under_way > place->most ? place->under_way : place->most;
    /* One more for each round that went well. */
    place->over += place->under_way > place->sender.start + place->finished / place->sender.start;
    do {
        struct timespec pause = {.tv_nsec = place->wanted != 0 ? 1000000 : 0};

        /* Time for the one that failed to say so. */
        pause.tv_nsec = block > place->fails_at ? 20000000 : pause.tv_nsec;

        pthread_mutex_unlock(&place->lock);
        (void)nanosleep(&pause, NULL);
        pthread_mutex_lock(&place->lock);
    } while (place->most < place->wanted);
    place->disordered += block < place->highest ? 1 : 0;
    place->highest = block > place->highest ? block : place->highest;
    place->puts[block]++;
    place->under_way--;
    place->finished++;
    fails = block == place->fails_at;
    pthread_mutex_unlock(&place->lock);
    return fails ? (fail)(err, FAIL_REMOTE, "the server is on fire") : 0;
}

static int set_up(void **state)
{
    static const struct small_block contents[] = {{0, "a"}, {3, "b"}, {256, "c"}, {299, "d"}};
    static char name[] = "lab";
    struct place *place = xcalloc(1, sizeof(*place));
    struct error err = {0};

    assert_int_equal(file_remove_tree("publish", &err), 0);
    place->bundle = small_bundle_open(&(struct small_bundle){.dir = "bundle",
                                                             .name = "web",
                                                             .version = "1",
                                                             .gib = 1,
                                                             .blocks = contents,
                                                             .count = COUNT(contents)});
    place->ui = ui_new(&(struct ui_options){.quiet = true});
    board_init(&place->board, place->ui);
    place->target.name = name;
    place->job.pub =
        (struct publication){.bundle = place->bundle, .target = &place->target, .job = &place->job};
    board_join(&place->board, &place->job.share, name);
    open_journal(place);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        place->blocks[i] = i;
    }
    pthread_mutex_init(&place->lock, NULL);
    place->fails_at = BLOCKS;
    place->sender = (struct sender){.pub = &place->job.pub,
                                    .blocks = place->blocks,
                                    .count = BLOCKS,
                                    .start = 4,
                                    .max = 16,
                                    .put = put,
                                    .data = place};
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;

    journal_free(place->job.pub.journal);
    board_done(&place->board);
    ui_free(place->ui);
    reader_free(place->bundle);
    pthread_mutex_destroy(&place->lock);
    free(place);
    return 0;
}

static void must_send(struct place *place)
{
    struct error err = {0};

    if (sender_run(&place->sender, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

/* ---- sending ---- */

static void every_block_goes_out_once(void **state)
{
    struct place *place = *state;

    must_send(place);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_int_equal(place->puts[i], 1);
    }
    assert_int_equal(place->board.expected_bytes, (uint64_t)BLOCKS * BLOCK_SIZE);
    open_journal(place);
    assert_int_equal(journal_block_count(place->job.pub.journal), BLOCKS);
}

static void blocks_are_handed_out_in_their_order(void **state)
{
    struct place *place = *state;

    place->sender.max = 1;
    must_send(place);
    assert_int_equal(place->disordered, 0);
    assert_int_equal(place->most, 1);
}

static void what_the_journal_has_is_not_sent_again(void **state)
{
    static const uint64_t there[] = {0, 1, 2, 150, 299};
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(journal_add_blocks(place->job.pub.journal, there, COUNT(there), &err), 0);
    must_send(place);
    for (size_t i = 0, k = 0; i < BLOCKS; i++) {
        bool has = k < COUNT(there) && there[k] == i;

        assert_int_equal(place->puts[i], has ? 0 : 1);
        k += has ? 1 : 0;
    }
    assert_int_equal(place->board.expected_bytes, (uint64_t)(BLOCKS - COUNT(there)) * BLOCK_SIZE);
    must_send(place);
    assert_int_equal(place->puts[3], 1);
}

static void many_go_at_once_but_not_more_than_the_limit(void **state)
{
    struct place *place = *state;

    place->wanted = 4;
    must_send(place);
    assert_in_range(place->most, 4, 16);
    assert_int_equal(place->over, 0);
}

static void the_first_error_stops_all_and_names_its_block(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    unsigned sent = 0;

    place->fails_at = 100;
    assert_int_equal(sender_run(&place->sender, &err), -1);
    assert_int_equal(err.kind, FAIL_REMOTE);
    assert_string_equal(err.message, "block 100: the server is on fire");
    for (size_t i = 0; i < BLOCKS; i++) {
        sent += place->puts[i];
    }
    assert_in_range(sent, 101, BLOCKS - 1);
    /* What was sent is not sent again. */
    place->fails_at = BLOCKS;
    open_journal(place);
    assert_false(journal_has_block(place->job.pub.journal, 100));
    must_send(place);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_int_equal(place->puts[i], i == 100 ? 2 : 1);
    }
}

static void a_block_that_is_not_the_bundles_is_not_sent(void **state)
{
    struct place *place = *state;
    SCOPED_FD int fd = open("bundle/disk.raw", O_WRONLY | O_CLOEXEC);
    struct error err = {0};

    assert_int_equal(pwrite(fd, "x", 1, 200 * (off_t)BLOCK_SIZE + 7), 1); /* was zero */
    assert_int_equal(sender_run(&place->sender, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_non_null(strstr(err.message, "block 200"));
    assert_int_equal(place->puts[200], 0);
}

static void a_journal_that_cannot_be_written_stops_it(void **state)
{
    struct place *place = *state;
    struct rlimit before, small;
    struct error err = {0};

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(sender_run(&place->sender, &err), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err.os, EFBIG);
    assert_true(place->puts[BLOCKS - 1] == 0);
}

/* ---- the pace ---- */

static void the_pace_grows_by_one_a_round(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, 2, 4, 0);
    pace_done(&pace, 0, 1, 1);
    assert_int_equal(pace.limit, 2);
    pace_done(&pace, 0, 2, 1);
    assert_int_equal(pace.limit, 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(pace.limit, 3);
        pace_done(&pace, 0, 3 + i, 1);
    }
    assert_int_equal(pace.limit, 4);
    for (uint64_t i = 0; i < 100; i++) {
        pace_done(&pace, 0, 10 + i, 1);
    }
    assert_int_equal(pace.limit, 4);
}

static void the_pace_halves_once_for_a_crowd(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, 64, 64, 7);
    pace_done(&pace, 7, 1000, 100);
    assert_int_equal(pace.limit, 64);
    pace_done(&pace, 8, 1100, 100);
    assert_int_equal(pace.limit, 32);
    pace_done(&pace, 20, 1200, 100); /* the others of the same moment */
    pace_done(&pace, 30, 2099, 100);
    assert_int_equal(pace.limit, 32);
    pace_done(&pace, 31, 2100, 100);
    assert_int_equal(pace.limit, 16);
    /* What took longer than a second was asked before. */
    pace_done(&pace, 32, 6000, 5000);
    assert_int_equal(pace.limit, 16);
    pace_done(&pace, 33, 7100, 5000);
    assert_int_equal(pace.limit, 8);
    for (uint64_t i = 0; i < 10; i++) {
        pace_done(&pace, 34 + i, 10000 + i * 2000, 1);
    }
    assert_int_equal(pace.limit, 1);
    pace_done(&pace, 43, 90000, 1);
    assert_int_equal(pace.limit, 2);
}

static void the_pace_stays_where_more_only_wait(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, 2, 64, 0);
    pace_done(&pace, 0, 10, 10);
    pace_done(&pace, 0, 20, 50); /* as quick as it gets and a slow one: three times the quickest */
    assert_int_equal(pace.limit, 3);
    for (uint64_t i = 0; i < 30; i++) {
        pace_done(&pace, 0, 100 + i, 31);
    }
    assert_int_equal(pace.limit, 3);
    for (uint64_t i = 0; i < 3; i++) {
        pace_done(&pace, 0, 200 + i, 30);
    }
    assert_int_equal(pace.limit, 4);
}

static void the_pace_starts_within_its_limits(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, 0, 0, 0);
    assert_int_equal(pace.limit, 1);
    pace_init(&pace, 100, 8, 0);
    assert_int_equal(pace.limit, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_block_goes_out_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(blocks_are_handed_out_in_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_journal_has_is_not_sent_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_go_at_once_but_not_more_than_the_limit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_first_error_stops_all_and_names_its_block, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_block_that_is_not_the_bundles_is_not_sent, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_journal_that_cannot_be_written_stops_it, set_up,
                                        tear_down),
        cmocka_unit_test(the_pace_grows_by_one_a_round),
        cmocka_unit_test(the_pace_halves_once_for_a_crowd),
        cmocka_unit_test(the_pace_stays_where_more_only_wait),
        cmocka_unit_test(the_pace_starts_within_its_limits),
    };

    return cmocka_run_group_tests(tests, enter_fast_scratch, leave_scratch);
}
