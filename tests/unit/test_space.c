/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#include <cmocka.h> /* last: it has a macro fail() */

enum { BLOCKS = 3000, OPERATIONS = 100000 };

static const struct run ZONE = {1000, 400};

/* Free to begin with: not all of it, and the zone lies within one of the runs. */
static const struct run INITIAL[] = {{7, 100}, {120, 1}, {200, 1900}, {2150, 800}};

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

/* --- the model: what space.h says, block by block ------------------------------------------ */

enum what { USED, FREE, GIVEN };

struct model {
    enum what blocks[BLOCKS];
    uint64_t cursor;
};

static bool in_zone(uint64_t block)
{
    return block >= ZONE.block && block < ZONE.block + ZONE.count;
}

static bool is_free(const struct model *model, uint64_t block, enum space_use use)
{
    return block < BLOCKS && model->blocks[block] == FREE &&
           in_zone(block) == (use == SPACE_METADATA);
}

static bool model_take_from(struct model *model, enum space_use use, uint64_t from, uint64_t wanted,
                            struct run *ret)
{
    while (from < BLOCKS && !is_free(model, from, use)) {
        from++;
    }
    *ret = (struct run){from, 0};
    while (ret->count < wanted && is_free(model, from + ret->count, use)) {
        model->blocks[from + ret->count++] = USED;
    }
    return ret->count != 0;
}

static bool model_take_data(struct model *model, uint64_t wanted, struct run *ret)
{
    if (!model_take_from(model, SPACE_DATA, model->cursor, wanted, ret)) {
        model->cursor = 0;
        if (!model_take_from(model, SPACE_DATA, 0, wanted, ret)) {
            return false;
        }
    }
    model->cursor = ret->block + ret->count;
    return true;
}

static bool model_take(struct model *model, enum space_use use, uint64_t wanted, struct run *ret)
{
    if (use == SPACE_DATA && model_take_data(model, wanted, ret)) {
        return true;
    }
    return model_take_from(model, SPACE_METADATA, 0, wanted, ret) ||
           (use == SPACE_METADATA && model_take_data(model, wanted, ret));
}

static void model_fill(struct model *model, struct run run, enum what what)
{
    for (uint64_t i = 0; i < run.count; i++) {
        model->blocks[run.block + i] = what;
    }
}

static void model_settle(struct model *model)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        model->blocks[i] = model->blocks[i] == GIVEN ? FREE : model->blocks[i];
    }
}

static bool model_claim(struct model *model, const struct run *runs, size_t count)
{
    struct model after = *model;

    for (size_t i = 0; i < count; i++) {
        if (runs[i].count == 0) {
            return false;
        }
        for (uint64_t j = 0; j < runs[i].count; j++) {
            uint64_t block = runs[i].block + j;

            if (block >= BLOCKS || after.blocks[block] != FREE) {
                return false;
            }
            after.blocks[block] = USED;
        }
    }
    *model = after;
    return true;
}

/* --- both at once -------------------------------------------------------------------------- */

static struct space *fresh(struct model *model)
{
    struct space *space = space_new(ZONE);

    memset(model, 0, sizeof(*model));
    for (size_t i = 0; i < COUNT(INITIAL); i++) {
        space_add(space, INITIAL[i]);
        model_fill(model, INITIAL[i], FREE);
    }
    return space;
}

static void assert_same(struct space *space, const struct model *model)
{
    size_t count, at = 0;
    uint64_t sum = 0;
    const struct run *runs = space_runs(space, &count);

    for (size_t i = 0; i < count; i++) {
        for (; at < runs[i].block; at++) {
            assert_int_not_equal(model->blocks[at], FREE);
        }
        assert_true(runs[i].count != 0 && runs[i].block + runs[i].count <= BLOCKS);
        for (; at < runs[i].block + runs[i].count; at++) {
            assert_int_equal(model->blocks[at], FREE);
        }
        sum += runs[i].count;
        /* Merged: there is something between two runs. */
        assert_true(at == BLOCKS || model->blocks[at] != FREE);
    }
    for (; at < BLOCKS; at++) {
        assert_int_not_equal(model->blocks[at], FREE);
    }
    assert_int_equal(space_free_blocks(space), sum);
    assert_int_equal(space_cursor(space), model->cursor);
}

/* A stretch of used blocks, some of what was handed out. */
static bool pick_used(const struct model *model, const bool *taken, uint64_t *seed, struct run *ret)
{
    uint64_t at = next_random(seed) % BLOCKS, wanted = 1 + next_random(seed) % 60;

    for (size_t tries = 0; tries < BLOCKS && !(model->blocks[at] == USED && taken[at]); tries++) {
        at = (at + 1) % BLOCKS;
    }
    *ret = (struct run){at, 0};
    while (ret->count < wanted && at + ret->count < BLOCKS &&
           model->blocks[at + ret->count] == USED && taken[at + ret->count]) {
        ret->count++;
    }
    return ret->count != 0;
}

/* A state that is read back: what is used is claimed, in any order, and the cursor set. */
static struct space *rebuild(const struct model *model, const bool *taken)
{
    static struct model ignored;
    struct space *space = fresh(&ignored);
    SCOPED_FREE struct run *runs = xcalloc(BLOCKS, sizeof(*runs));
    size_t count = 0;

    for (size_t at = BLOCKS; at-- > 0;) {
        if (taken[at] && model->blocks[at] == USED) {
            runs[count++] = (struct run){at, 1};
        }
    }
    space_set_cursor(space, model->cursor);
    assert_true(space_claim(space, runs, count));
    return space;
}

struct play {
    struct space *space;
    struct model model;
    bool taken[BLOCKS];
    uint64_t seed;
    size_t steps, wraps, overflows[2], refused, claimed;
};

static void note_taken(struct play *play, struct run run)
{
    for (uint64_t i = 0; i < run.count; i++) {
        play->taken[run.block + i] = true;
    }
}

static void play_take(struct play *play)
{
    enum space_use use = next_random(&play->seed) % 3 == 0 ? SPACE_METADATA : SPACE_DATA;
    uint64_t wanted = 1 + next_random(&play->seed) % 80, cursor = play->model.cursor;
    struct run got = {0}, expected = {0};
    bool ok = space_take(play->space, use, wanted, &got);

    assert_int_equal(ok, model_take(&play->model, use, wanted, &expected));
    if (!ok) {
        play->refused++;
        return;
    }
    assert_true(got.block == expected.block && got.count == expected.count);
    note_taken(play, got);
    play->wraps += play->model.cursor < cursor;
    play->overflows[use] += in_zone(got.block) != (use == SPACE_METADATA);
}

static void play_give(struct play *play)
{
    struct run run;

    if (pick_used(&play->model, play->taken, &play->seed, &run)) {
        space_give(play->space, run);
        model_fill(&play->model, run, GIVEN);
    }
}

static void play_settle(struct play *play)
{
    size_t count;
    const struct run *runs = space_given(play->space, &count);

    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || runs[i - 1].block + runs[i - 1].count < runs[i].block);
        for (uint64_t j = 0; j < runs[i].count; j++) {
            assert_int_equal(play->model.blocks[runs[i].block + j], GIVEN);
        }
    }
    space_settle(play->space);
    model_settle(&play->model);
}

static void play_claim(struct play *play)
{
    struct run runs[3];
    size_t count = 1 + next_random(&play->seed) % COUNT(runs);
    bool ok;

    for (size_t i = 0; i < count; i++) {
        runs[i] =
            (struct run){next_random(&play->seed) % (BLOCKS + 10), next_random(&play->seed) % 5};
    }
    ok = space_claim(play->space, runs, count);
    assert_int_equal(ok, model_claim(&play->model, runs, count));
    for (size_t i = 0; i < count && ok; i++) {
        note_taken(play, runs[i]);
    }
    play->claimed += ok;
}

static void play_one(struct play *play)
{
    uint32_t dice = next_random(&play->seed) % 100;
    /* By turns it fills up and empties. */
    uint32_t taking = play->steps++ / 500 % 2 == 0 ? 60 : 25;

    if (dice < taking) {
        play_take(play);
    } else if (dice < 94) {
        play_give(play);
    } else if (dice < 97) {
        play_settle(play);
    } else if (dice < 99) {
        play_claim(play);
    } else {
        play_settle(play);
        space_free(play->space);
        play->space = rebuild(&play->model, play->taken);
    }
}

static void it_does_what_a_bitmap_would(void **state)
{
    SCOPED_FREE struct play *play = xcalloc(1, sizeof(*play));

    (void)state;
    play->seed = 1;
    play->space = fresh(&play->model);
    for (size_t i = 0; i < OPERATIONS; i++) {
        play_one(play);
        if (i % 64 == 0) {
            assert_same(play->space, &play->model);
        }
    }
    space_free(play->space);
    /* The walk has been everywhere. */
    assert_true(play->wraps > 100 && play->refused > 100 && play->claimed > 100);
    assert_true(play->overflows[SPACE_DATA] > 10 && play->overflows[SPACE_METADATA] > 100);
}

static void a_claim_takes_all_of_it_or_nothing(void **state)
{
    static const struct {
        struct run runs[2];
        size_t count;
    } bad[] = {
        {{{200, 10}, {209, 1}}, 2},       /* overlap */
        {{{200, 10}, {200, 10}}, 2},      /* the same */
        {{{6, 2}}, 1},                    /* begins before */
        {{{106, 2}}, 1},                  /* ends behind */
        {{{100, 150}}, 1},                /* over what is not free */
        {{{200, 0}}, 1},                  /* empty */
        {{{5000, 0}}, 1},                 /* and far away */
        {{{2950, 1}}, 1},                 /* behind all */
        {{{UINT64_MAX, 2}}, 1},           /* wraps */
        {{{200, UINT64_MAX}}, 1},         /* the same */
        {{{200, UINT64_MAX - 199}}, 1},   /* to exactly 0 */
        {{{7, 100}, {UINT64_MAX, 1}}, 2}, /* one good, one bad */
    };
    struct model model;
    SCOPED(space_freep) struct space *space = fresh(&model);
    const struct run all[] = {{200, 1900}, {7, 100}, {2150, 800}, {120, 1}};
    struct run run;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(space_claim(space, bad[i].runs, bad[i].count));
        assert_same(space, &model);
    }
    assert_true(space_claim(space, NULL, 0));
    assert_same(space, &model);
    assert_true(space_claim(space, all, COUNT(all)));
    assert_int_equal(space_free_blocks(space), 0);
    assert_false(space_take(space, SPACE_DATA, 1, &run));
    assert_false(space_take(space, SPACE_METADATA, 1, &run));
}

/* After the zone was used up and pieces of it came back, a claim must not hide what is free. */
static void a_claim_forgets_no_free_block(void **state)
{
    struct space *space = space_new((struct run){0, 10});
    const struct run claimed = {100, 1};
    struct run run;

    (void)state;
    space_add(space, (struct run){0, 200});
    assert_true(space_take(space, SPACE_METADATA, 10, &run));
    for (uint64_t block = 0; block < 10; block += 3) {
        space_give(space, (struct run){block, 1});
    }
    space_settle(space);
    for (size_t i = 0; i < 3; i++) {
        assert_true(space_take(space, SPACE_METADATA, 1, &run));
        assert_int_equal(run.block, 3 * i);
    }
    assert_true(space_claim(space, &claimed, 1));
    assert_true(space_take(space, SPACE_METADATA, 1, &run));
    assert_int_equal(run.block, 9);
    space_free(space);
}

static void numbers_beyond_32_bits_are_whole(void **state)
{
    const uint64_t far = 1ULL << 34; /* 64 TiB in blocks */
    SCOPED(space_freep) struct space *space = space_new((struct run){far, 8});
    struct run run;

    (void)state;
    space_add(space, (struct run){far - 100, 200});
    assert_true(space_take(space, SPACE_METADATA, 1, &run));
    assert_true(run.block == far);
    assert_true(space_take(space, SPACE_DATA, UINT64_MAX, &run));
    assert_true(run.block == far - 100 && run.count == 100);
    assert_true(space_take(space, SPACE_DATA, UINT64_MAX, &run));
    assert_true(run.block == far + 8 && run.count == 92);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_what_a_bitmap_would),
        cmocka_unit_test(a_claim_takes_all_of_it_or_nothing),
        cmocka_unit_test(a_claim_forgets_no_free_block),
        cmocka_unit_test(numbers_beyond_32_bits_are_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
