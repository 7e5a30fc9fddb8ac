/* SPDX-License-Identifier: Apache-2.0 */
/* kiln store ls, kiln store verify, kiln store gc */
#include <stdlib.h>

#include "base/scope.h"
#include "base/text.h"
#include "cli/cmd.h"
#include "store/store.h"

/* Opens the store and lists it. */
static int list(struct store **ret, struct store_items *items, struct error *err)
{
    SCOPED(store_freep) struct store *store = NULL;

    if (store_open(&store, err) < 0 || store_list(store, items, err) < 0) {
        return -1;
    }
    *ret = TAKE(store);
    return 0;
}

/* --- ls ---------------------------------------------------------------------------------- */

static void show_item(struct ui *ui, const struct store_item *item)
{
    char size[TEXT_SIZE_MAX], used[TEXT_TIME_MAX];
    const char *kind = store_kind_name(item->kind);

    text_time(item->used.tv_sec, used);
    ui_print(ui, "%-8s%s %10s %s%s%s\n", kind, item->key, text_size(item->size_bytes, size), used,
             item->group != NULL ? " " : "", item->group != NULL ? item->group : "");
    ui_json(ui, json_pack("{s:s, s:s, s:s, s:o*, s:I, s:s}", "event", "stored", "kind", kind, "key",
                          item->key, "group", item->group != NULL ? ui_string(item->group) : NULL,
                          "size", (json_int_t)item->size_bytes, "used", used));
}

static int run_ls(const struct invocation *invocation, struct error *err)
{
    SCOPED(store_freep) struct store *store = NULL;
    SCOPED(store_items_done) struct store_items items = {0};
    struct ui *ui = invocation->ui;
    char size[TEXT_SIZE_MAX];
    uint64_t total = 0;

    if (list(&store, &items, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < items.count; i++) {
        show_item(ui, &items.items[i]);
        total += items.items[i].size_bytes;
    }
    ui_print(ui, "%zu in '%s', %s\n", items.count, store_path(store), text_size(total, size));
    ui_json(ui, json_pack("{s:s, s:o, s:I, s:I}", "event", "store", "path",
                          ui_string(store_path(store)), "entries", (json_int_t)items.count, "size",
                          (json_int_t)total));
    return 0;
}

const struct command cmd_store_ls = {
    .name = "store ls",
    .arguments = "",
    .summary = "list what is kept for the next build",
    .run = run_ls,
};

/* --- verify ------------------------------------------------------------------------------ */

static void show_damage(struct ui *ui, const struct store_item *item, const char *problem)
{
    const char *kind = store_kind_name(item->kind);

    ui_print(ui, "damaged %s %s: %s\n", kind, item->key, problem);
    ui_json(ui, json_pack("{s:s, s:s, s:s, s:o}", "event", "damaged", "kind", kind, "key",
                          item->key, "problem", ui_string(problem)));
}

static int verify_all(struct ui *ui, const struct store *store, const struct store_items *items,
                      size_t *ret_damaged, struct error *err)
{
    uint64_t done = 0;

    for (size_t i = 0; i < items->count; i++) {
        const struct store_item *item = &items->items[i];
        SCOPED_FREE char *problem = NULL;
        int whole = store_verify(store, item, &problem, err);

        if (whole < 0) {
            return fail_while(err, "verify %s %s", store_kind_name(item->kind), item->key);
        }
        if (whole == 0) {
            show_damage(ui, item, problem);
            (*ret_damaged)++;
        }
        done += item->size_bytes;
        ui_progress(ui, NULL, done);
    }
    return 0;
}

static int run_verify(const struct invocation *invocation, struct error *err)
{
    SCOPED(store_freep) struct store *store = NULL;
    SCOPED(store_items_done) struct store_items items = {0};
    struct ui *ui = invocation->ui;
    size_t damaged = 0;
    uint64_t total = 0;

    if (list(&store, &items, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < items.count; i++) {
        total += items.items[i].size_bytes;
    }
    ui_phase(ui, "verifying the store", total);
    if (verify_all(ui, store, &items, &damaged, err) < 0) {
        return -1;
    }
    ui_phase_end(ui);
    if (damaged != 0) {
        fail(err, FAIL_ERROR, "%zu of %zu entries are damaged", damaged, items.count);
        return fail_hint(err, "they will not be used: the next build makes them again");
    }
    ui_print(ui, "%zu verified\n", items.count);
    ui_json(ui, json_pack("{s:s, s:I}", "event", "verified", "entries", (json_int_t)items.count));
    return 0;
}

const struct command cmd_store_verify = {
    .name = "store verify",
    .arguments = "",
    .summary = "read it all, remove what is damaged",
    .run = run_verify,
};

/* --- gc ---------------------------------------------------------------------------------- */

enum { GC_MAX, GC_ALL };

static const struct option_row gc_options[] = {
    [GC_MAX] = {0, "max", "SIZE", "keep so much in all (default 10GiB)"},
    [GC_ALL] = {0, "all", NULL, "keep nothing"},
    {0, NULL, NULL, NULL},
};

static int run_gc(const struct invocation *invocation, struct error *err)
{
    const char *max = invocation->values[GC_MAX];
    struct store_limits limits = {STORE_MAX_BYTES, STORE_STATES_PER_GROUP};
    SCOPED(store_freep) struct store *store = NULL;
    struct store_removed removed;
    char size[TEXT_SIZE_MAX];

    if (max != NULL && invocation->values[GC_ALL] != NULL) {
        return fail(err, FAIL_USAGE, "--max and --all exclude each other");
    }
    if (max != NULL && !text_parse_size(max, &limits.max_bytes)) {
        return fail(err, FAIL_USAGE, "--max is '%s', not a size like 10GiB", max);
    }
    if (invocation->values[GC_ALL] != NULL) {
        limits = (struct store_limits){0};
    }
    if (store_open(&store, err) < 0 || store_collect(store, &limits, &removed, err) < 0) {
        return -1;
    }
    ui_print(invocation->ui, "%zu removed, %s\n", removed.count,
             text_size(removed.size_bytes, size));
    if (removed.busy != 0) {
        ui_note(invocation->ui, "%zu more would go, but are in use", removed.busy);
    }
    ui_json(invocation->ui,
            json_pack("{s:s, s:I, s:I, s:I}", "event", "collected", "removed",
                      (json_int_t)removed.count, "size", (json_int_t)removed.size_bytes, "busy",
                      (json_int_t)removed.busy));
    return 0;
}

const struct command cmd_store_gc = {
    .name = "store gc",
    .arguments = "",
    .summary = "remove the least recently used above a size",
    .options = gc_options,
    .run = run_gc,
};
