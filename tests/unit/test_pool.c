/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/pool.h"
#include "base/stop.h"

#include <cmocka.h>
#undef fail /* cmocka's macro */

enum { THREADS_MOST = 8, NEVER = -1 };

struct item {
    int number;
    int squared;
};

/* The functions fail or interrupt at these numbers. */
struct line {
    int count;
    int fill_fails, work_fails, take_fails, stop_at;
    unsigned threads;
    bool slow;         /* all items take long */
    int filled, taken; /* by one thread only: the sanitizers would tell */
    int most_waiting;
    atomic_int worked, begun_late;
    atomic_bool failing; /* take has failed, or is about to */
    atomic_bool busy[THREADS_MOST];
    atomic_bool broken; /* what must not be was seen */
};

static int make(void *data, void *item_, struct error *err)
{
    struct line *line = data;
    struct item *item = item_;

    if (line->filled == line->fill_fails) {
        return fail(err, FAIL_ERROR, "fill %d", line->filled);
    }
    if (line->filled == line->count) {
        return 0;
    }
    item->number = line->filled++;
    item->squared = -1;
    if (line->filled - line->taken > line->most_waiting) {
        line->most_waiting = line->filled - line->taken;
    }
    return 1;
}

/* The first of every seven takes long, so that others overtake it. */
static int square(void *data, unsigned thread, void *item_, struct error *err)
{
    struct line *line = data;
    struct item *item = item_;

    if (thread >= line->threads || atomic_exchange(&line->busy[thread], true)) {
        atomic_store(&line->broken, true);
        return fail(err, FAIL_ERROR, "thread %u is not one of its own", thread);
    }
    if (atomic_load(&line->failing)) {
        (void)atomic_fetch_add(&line->begun_late, 1);
        (void)usleep(200000);
    }
    (void)usleep(line->slow || item->number % 7 == 0 ? 2000 : 50);
    item->squared = item->number * item->number;
    (void)atomic_fetch_add(&line->worked, 1);
    atomic_store(&line->busy[thread], false);
    if (line->work_fails != NEVER && item->number >= line->work_fails) {
        return fail(err, FAIL_MISMATCH, "work %d", item->number);
    }
    return 0;
}

static int take(void *data, void *item_, struct error *err)
{
    struct line *line = data;
    const struct item *item = item_;

    assert_int_equal(item->number, line->taken);
    assert_int_equal(item->squared, item->number * item->number);
    if (line->taken == line->take_fails) {
        atomic_store(&line->failing, true);
        return fail(err, FAIL_ERROR, "take %d", line->taken);
    }
    if (line->taken == line->stop_at) {
        assert_int_equal(kill(getpid(), SIGINT), 0);
    }
    line->taken++;
    return 0;
}

static int run(struct line *line, unsigned threads, struct error *err)
{
    const struct pool pool = {
        .threads = threads,
        .item_bytes = sizeof(struct item),
        .data = line,
        .fill = make,
        .work = square,
        .take = take,
    };
    int result;

    line->threads = threads;
    result = pool_run(&pool, err);
    assert_false(atomic_load(&line->broken));
    return result;
}

static struct line line_of(int count)
{
    return (struct line){
        .count = count,
        .fill_fails = NEVER,
        .work_fails = NEVER,
        .take_fails = NEVER,
        .stop_at = NEVER,
    };
}

static void items_come_out_in_the_order_they_went_in(void **state)
{
    static const int counts[] = {0, 1, 2, 3, 200};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        for (unsigned threads = 1; threads <= THREADS_MOST; threads++) {
            struct line line = line_of(counts[i]);
            struct error err = {0};

            assert_int_equal(run(&line, threads, &err), 0);
            assert_int_equal(line.taken, counts[i]);
            assert_int_equal(atomic_load(&line.worked), counts[i]);
        }
    }
}

static void few_items_wait(void **state)
{
    struct line line = line_of(500);
    struct error err = {0};

    (void)state;
    assert_int_equal(run(&line, 3, &err), 0);
    assert_in_range(line.most_waiting, 2, 3 * 4);
}

/* Two that wait for each other can only end side by side. */
static int meet(void *data, unsigned thread, void *item, struct error *err)
{
    struct line *line = data;

    (void)thread;
    (void)item;
    (void)atomic_fetch_add(&line->worked, 1);
    for (int i = 0; atomic_load(&line->worked) < 2; i++) {
        if (i == 5000) {
            return fail(err, FAIL_ERROR, "nobody came");
        }
        (void)usleep(1000);
    }
    ((struct item *)item)->squared = ((struct item *)item)->number * ((struct item *)item)->number;
    return 0;
}

static void threads_work_side_by_side(void **state)
{
    struct line line = line_of(2);
    const struct pool pool = {
        .threads = 2,
        .item_bytes = sizeof(struct item),
        .data = &line,
        .fill = make,
        .work = meet,
        .take = take,
    };
    struct error err = {0};

    (void)state;
    assert_int_equal(pool_run(&pool, &err), 0);
    assert_int_equal(line.taken, 2);
}

static void an_error_ends_it(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= THREADS_MOST; threads++) {
        struct line filling = line_of(100);
        struct line taking = line_of(100);
        struct error err = {0};

        filling.fill_fails = 40;
        taking.take_fails = 41;
        assert_int_equal(run(&filling, threads, &err), -1);
        assert_string_equal(err.message, "fill 40");
        assert_in_range(filling.taken, 0, 40);
        fail_clear(&err);
        assert_int_equal(run(&taking, threads, &err), -1);
        assert_string_equal(err.message, "take 41");
        assert_int_equal(taking.taken, 41);
        assert_in_range(taking.filled, 41, 41 + 1 + 4 * threads);
    }
}

/* Of the seven items that wait a thread may have begun one, and another before it hears of it. */
static void nothing_is_begun_after_an_error(void **state)
{
    struct line line = line_of(100);
    struct error err = {0};

    (void)state;
    line.take_fails = 0;
    line.slow = true;
    assert_int_equal(run(&line, 2, &err), -1);
    assert_in_range(atomic_load(&line.begun_late), 0, 2);
    assert_in_range(line.filled, 1, 8);
}

/* From the 43rd on all fail; 49 and others are ready before 42 is. */
static void the_first_error_in_the_order_of_items_is_told(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= THREADS_MOST; threads++) {
        struct line line = line_of(100);
        struct error err = {0};

        line.work_fails = 42;
        assert_int_equal(run(&line, threads, &err), -1);
        assert_string_equal(err.message, "work 42");
        assert_int_equal(err.kind, FAIL_MISMATCH);
        assert_int_equal(line.taken, 42);
        assert_in_range(line.filled, 42, 42 + 4 * threads);
    }
}

/* In a process of its own: a stop is for ever. */
static int interrupted(void)
{
    struct line line = line_of(1000000);
    struct error err = {0};

    line.stop_at = 10;
    stop_init();
    return run(&line, 3, &err) == -1 && err.kind == FAIL_STOPPED && line.taken > 10 &&
                   line.taken < 100000
               ? 0
               : 1;
}

static void an_interrupt_ends_it(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGINT, SIG_DFL);
        (void)alarm(60);
        _exit(interrupted());
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void cpus_are_those_allowed(void **state)
{
    cpu_set_t before, one;
    int cpu = 0;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_in_range(pool_cpus(), 1, CPU_COUNT(&before));
    while (!CPU_ISSET(cpu, &before)) {
        cpu++;
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(pool_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_the_order_they_went_in),
        cmocka_unit_test(few_items_wait),
        cmocka_unit_test(threads_work_side_by_side),
        cmocka_unit_test(an_error_ends_it),
        cmocka_unit_test(nothing_is_begun_after_an_error),
        cmocka_unit_test(the_first_error_in_the_order_of_items_is_told),
        cmocka_unit_test(an_interrupt_ends_it),
        cmocka_unit_test(cpus_are_those_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
