/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/space.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* Sorted and apart; runs that were used up stay, empty, until the next time it is put in order. */
struct list {
    struct run *items;
    size_t count, space;
};

struct space {
    struct run zone;
    struct list all; /* both, for space_runs */
    struct list free[2];
    struct list given;
    uint64_t cursor; /* data: the first block that may be next */
    size_t next[2];  /* the item that is looked at first; never before what is free */
};

static void list_add(struct list *list, struct run run)
{
    struct run *last = list->count != 0 ? &list->items[list->count - 1] : NULL;

    if (last != NULL && last->block + last->count == run.block) {
        last->count += run.count;
        return;
    }
    grow(&list->items, list->count, &list->space, sizeof(*list->items));
    list->items[list->count++] = run;
}

static int by_block(const void *a, const void *b)
{
    const struct run *x = a, *y = b;

    return x->block < y->block ? -1 : x->block > y->block;
}

/* Sorts, merges what touches and leaves out what is empty. */
static void list_order(struct list *list)
{
    size_t count = list->count;

    if (count != 0) {
        qsort(list->items, count, sizeof(*list->items), by_block);
    }
    list->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct run run = list->items[i];

        if (run.count != 0) {
            list_add(list, run);
        }
    }
}

static uint64_t list_blocks(const struct list *list)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < list->count; i++) {
        sum += list->items[i].count;
    }
    return sum;
}

struct space *space_new(struct run zone)
{
    struct space *space = xcalloc(1, sizeof(*space));

    space->zone = zone;
    return space;
}

void space_free(struct space *space)
{
    if (space != NULL) {
        free(space->all.items);
        free(space->free[SPACE_DATA].items);
        free(space->free[SPACE_METADATA].items);
        free(space->given.items);
        free(space);
    }
}

/* Adds to the list of data or metadata, in two or three pieces where RUN crosses the zone's ends.
 */
static void sort_in(struct space *space, struct run run)
{
    uint64_t zone_end = space->zone.block + space->zone.count;

    while (run.count != 0) {
        bool inside = run.block >= space->zone.block && run.block < zone_end;
        uint64_t border = inside                          ? zone_end
                          : run.block < space->zone.block ? space->zone.block
                                                          : UINT64_MAX;
        uint64_t piece = border - run.block < run.count ? border - run.block : run.count;

        list_add(&space->free[inside ? SPACE_METADATA : SPACE_DATA],
                 (struct run){run.block, piece});
        run.block += piece;
        run.count -= piece;
    }
}

void space_add(struct space *space, struct run run)
{
    sort_in(space, run);
}

/* From ITEM, at or after FROM within it. */
static bool cut(struct list *list, size_t index, uint64_t from, uint64_t wanted, struct run *ret)
{
    struct run *item = &list->items[index];
    uint64_t end = item->block + item->count;
    uint64_t start = item->block > from ? item->block : from;

    if (start >= end) {
        return false;
    }
    *ret = (struct run){start, end - start < wanted ? end - start : wanted};
    if (start == item->block) {
        item->block += ret->count;
        item->count -= ret->count;
    } else {
        /* What lies before the cursor stays free: it is the front that comes when all else went. */
        struct run after = {ret->block + ret->count, end - ret->block - ret->count};

        item->count = start - item->block;
        if (after.count != 0) {
            grow(&list->items, list->count, &list->space, sizeof(*list->items));
            item = &list->items[index];
            memmove(item + 2, item + 1, (list->count - index - 1) * sizeof(*item));
            item[1] = after;
            list->count++;
        }
    }
    return true;
}

static bool take_from(struct space *space, enum space_use list_of, uint64_t from, uint64_t wanted,
                      struct run *ret)
{
    struct list *list = &space->free[list_of];

    for (; space->next[list_of] < list->count; space->next[list_of]++) {
        if (cut(list, space->next[list_of], from, wanted, ret)) {
            return true;
        }
    }
    space->next[list_of] = 0;
    return false;
}

static bool take_data(struct space *space, uint64_t wanted, struct run *ret)
{
    if (!take_from(space, SPACE_DATA, space->cursor, wanted, ret)) {
        space->cursor = 0;
        if (!take_from(space, SPACE_DATA, 0, wanted, ret)) {
            return false;
        }
    }
    space->cursor = ret->block + ret->count;
    return true;
}

bool space_take(struct space *space, enum space_use use, uint64_t wanted, struct run *ret)
{
    if (use == SPACE_DATA) {
        return take_data(space, wanted, ret) || take_from(space, SPACE_METADATA, 0, wanted, ret);
    }
    return take_from(space, SPACE_METADATA, 0, wanted, ret) || take_data(space, wanted, ret);
}

bool space_claim(struct space *space, const struct run *runs, size_t count)
{
    SCOPED_FREE struct run *sorted = xmemdup(runs, count * sizeof(*runs));
    struct list left = {0};
    size_t number, next = 0;
    bool ok = true;

    if (count != 0) {
        qsort(sorted, count, sizeof(*sorted), by_block);
    }
    (void)space_runs(space, &number);
    for (size_t i = 0; i < number && ok; i++) {
        struct run run = space->all.items[i];

        for (; next < count && sorted[next].block < run.block + run.count; next++) {
            uint64_t before = sorted[next].block - run.block;

            /* Also what begins before the run, or in one that came before it: not free. */
            if (sorted[next].block < run.block || sorted[next].count == 0 ||
                sorted[next].count > run.count - before) {
                ok = false;
                break;
            }
            if (before != 0) {
                list_add(&left, (struct run){run.block, before});
            }
            run.block += before + sorted[next].count;
            run.count -= before + sorted[next].count;
        }
        if (run.count != 0) {
            list_add(&left, run);
        }
    }
    ok = ok && next == count;
    if (ok) {
        space->free[SPACE_DATA].count = space->free[SPACE_METADATA].count = 0;
        space->next[SPACE_DATA] = space->next[SPACE_METADATA] = 0;
        for (size_t i = 0; i < left.count; i++) {
            sort_in(space, left.items[i]);
        }
    }
    free(left.items);
    return ok;
}

void space_give(struct space *space, struct run run)
{
    if (run.count != 0) {
        list_add(&space->given, run);
    }
}

const struct run *space_given(struct space *space, size_t *ret_count)
{
    list_order(&space->given);
    *ret_count = space->given.count;
    return space->given.items;
}

void space_settle(struct space *space)
{
    for (size_t i = 0; i < space->given.count; i++) {
        sort_in(space, space->given.items[i]);
    }
    space->given.count = 0;
    list_order(&space->free[SPACE_DATA]);
    list_order(&space->free[SPACE_METADATA]);
    space->next[SPACE_DATA] = space->next[SPACE_METADATA] = 0;
}

uint64_t space_cursor(const struct space *space)
{
    return space->cursor;
}

void space_set_cursor(struct space *space, uint64_t block)
{
    space->cursor = block;
    space->next[SPACE_DATA] = 0;
}

uint64_t space_free_blocks(const struct space *space)
{
    return list_blocks(&space->free[SPACE_DATA]) + list_blocks(&space->free[SPACE_METADATA]);
}

const struct run *space_runs(struct space *space, size_t *ret_count)
{
    space->all.count = 0;
    for (int use = SPACE_DATA; use <= SPACE_METADATA; use++) {
        for (size_t i = 0; i < space->free[use].count; i++) {
            grow(&space->all.items, space->all.count, &space->all.space, sizeof(struct run));
            space->all.items[space->all.count++] = space->free[use].items[i];
        }
    }
    list_order(&space->all);
    *ret_count = space->all.count;
    return space->all.items;
}
