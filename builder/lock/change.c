/* SPDX-License-Identifier: Apache-2.0 */
#include "lock/change.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void changes_done(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        free(changes->items[i].text);
    }
    free(changes->items);
    *changes = (struct changes){0};
}

/* TEXT is given away. */
static void add(struct changes *changes, struct change change, char *text)
{
    grow(&changes->items, changes->count, &changes->space, sizeof(struct change));
    change.text = text;
    changes->items[changes->count++] = change;
}

/* --- heads ------------------------------------------------------------------------------------ */

static void compare_heads(const struct lock *before, const struct lock *now,
                          struct changes *changes)
{
    char old[TEXT_TIME_MAX], new[TEXT_TIME_MAX];

    if (before->disk_format != now->disk_format) {
        add(changes, (struct change){.what = "disk_format", .change = "changed"},
            xprintf("disk_format changed: %" PRIu32 " → %" PRIu32, before->disk_format,
                    now->disk_format));
    }
    if (strcmp(before->seed, now->seed) != 0) {
        add(changes, (struct change){.what = "seed", .change = "changed"},
            xprintf("seed changed: '%s' → '%s'", before->seed, now->seed));
    }
    if (before->epoch != now->epoch) {
        add(changes, (struct change){.what = "epoch", .change = "changed"},
            xprintf("epoch changed: %s → %s", text_time(before->epoch, old),
                    text_time(now->epoch, new)));
    }
}

/* --- layers ----------------------------------------------------------------------------------- */

static const size_t NOBODY = SIZE_MAX;

/* Which layer of one lock is which of the other; NOBODY where it has none. */
struct pairs {
    const struct lock *before, *now;
    size_t *of_before, *of_now;
};

static bool same_layer(const struct lock_layer *a, const struct lock_layer *b, bool digest)
{
    return strcmp(a->format, b->format) == 0 && strcmp(a->name, b->name) == 0 &&
           (!digest || (!b->pending && memcmp(a->sha256, b->sha256, HASH_SIZE) == 0));
}

static void pair_up(struct pairs *pairs, bool digest)
{
    for (size_t i = 0; i < pairs->now->layer_count; i++) {
        for (size_t k = 0; k < pairs->before->layer_count && pairs->of_now[i] == NOBODY; k++) {
            if (pairs->of_before[k] == NOBODY &&
                same_layer(&pairs->before->layers[k], &pairs->now->layers[i], digest)) {
                pairs->of_before[k] = i;
                pairs->of_now[i] = k;
            }
        }
    }
}

/* What a layer is called here: inline ones have no name of their own. */
static char *call(const struct lock_layer *layer, size_t number)
{
    return strcmp(layer->format, layer->name) == 0
               ? xprintf("%s (layer %zu)", layer->format, number)
               : xprintf("%s '%s'", layer->format, layer->name);
}

/* Enough of a digest to tell it from another. Returns OUT. */
static const char *short_digest(const struct lock_layer *layer, char out[HASH_HEX_MAX])
{
    static const char more[] = "…";

    hash_hex(layer->sha256, out);
    memcpy(out + 12, more, sizeof(more));
    return out;
}

/* A layer that only one of the two has. */
static void add_single(struct changes *changes, const struct lock *lock, size_t i, bool added)
{
    const struct lock_layer *layer = &lock->layers[i];
    SCOPED_FREE char *name = call(layer, i + 1);
    struct change change = {.what = "layer", .change = added ? "added" : "removed"};
    char digest[HASH_HEX_MAX];

    if (added) {
        change.after = layer;
        change.after_number = i + 1;
    } else {
        change.before = layer;
        change.before_number = i + 1;
    }
    add(changes, change,
        layer->pending
            ? xprintf("%s %s: it has to run", name, change.change)
            : xprintf("%s %s: sha256:%s", name, change.change, short_digest(layer, digest)));
}

/* A layer that both have, at K and at I. */
static void compare_pair(struct changes *changes, const struct pairs *pairs, size_t k, size_t i,
                         bool moved)
{
    const struct lock_layer *old = &pairs->before->layers[k], *new = &pairs->now->layers[i];
    SCOPED_FREE char *name = call(new, i + 1);
    struct change change = {.what = "layer",
                            .change = "changed",
                            .before = old,
                            .after = new,
                            .before_number = k + 1,
                            .after_number = i + 1};
    char a[HASH_HEX_MAX], b[HASH_HEX_MAX];

    if (new->pending) {
        add(changes, change, xprintf("inputs of %s changed: it has to run", name));
    } else if (memcmp(old->sha256, new->sha256, HASH_SIZE) != 0) {
        add(changes, change,
            xprintf("%s changed: sha256:%s → sha256:%s", name, short_digest(old, a),
                    short_digest(new, b)));
    } else if (old->size_bytes != new->size_bytes) {
        add(changes, change,
            xprintf("%s changed: %" PRIu64 " → %" PRIu64 " bytes", name, old->size_bytes,
                    new->size_bytes));
    } else if (new->is_step && memcmp(old->step, new->step, HASH_SIZE) != 0) {
        add(changes, change, xprintf("inputs of %s changed", name));
    }
    if (moved) {
        change.change = "moved";
        add(changes, change, xprintf("%s moved: layer %zu → layer %zu", name, k + 1, i + 1));
    }
}

/* Among the layers that stay, one has moved when it is another one's turn. */
static void compare_layers(const struct pairs *pairs, struct changes *changes)
{
    size_t turn = 0;

    for (size_t k = 0; k < pairs->before->layer_count; k++) {
        if (pairs->of_before[k] == NOBODY) {
            add_single(changes, pairs->before, k, false);
        }
    }
    for (size_t i = 0; i < pairs->now->layer_count; i++) {
        if (pairs->of_now[i] == NOBODY) {
            add_single(changes, pairs->now, i, true);
            continue;
        }
        while (pairs->of_before[turn] == NOBODY) {
            turn++;
        }
        compare_pair(changes, pairs, pairs->of_now[i], i, pairs->of_now[i] != turn);
        turn++;
    }
}

void changes_find(const struct lock *before, const struct lock *now, struct changes *changes)
{
    static const struct lock nothing;
    struct pairs pairs = {.before = before != NULL ? before : &nothing, .now = now};

    pairs.of_before = xmalloc(pairs.before->layer_count * sizeof(size_t));
    pairs.of_now = xmalloc(now->layer_count * sizeof(size_t));
    memset(pairs.of_before, 0xff, pairs.before->layer_count * sizeof(size_t));
    memset(pairs.of_now, 0xff, now->layer_count * sizeof(size_t));
    if (before != NULL) {
        compare_heads(before, now, changes);
    }
    pair_up(&pairs, true);
    pair_up(&pairs, false);
    compare_layers(&pairs, changes);
    free(pairs.of_before);
    free(pairs.of_now);
}

/* --- saying and saving ------------------------------------------------------------------------ */

static json_t *layer_json(const struct lock_layer *layer, size_t number)
{
    char hex[HASH_HEX_MAX], step[HASH_HEX_MAX];

    if (layer == NULL) {
        return json_null();
    }
    if (layer->pending) {
        return json_pack("{s:I, s:o, s:s, s:n, s:n}", "number", (json_int_t)number, "name",
                         ui_string(layer->name), "format", layer->format, "sha256", "size");
    }
    return json_pack("{s:I, s:o, s:s, s:s*, s:s, s:I}", "number", (json_int_t)number, "name",
                     ui_string(layer->name), "format", layer->format, "step",
                     layer->is_step ? hash_hex(layer->step, step) : NULL, "sha256",
                     hash_hex(layer->sha256, hex), "size", (json_int_t)layer->size_bytes);
}

static void say_change(struct ui *ui, const struct change *change)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "event", "change", "what", change->what,
                               "change", change->change, "text", ui_string(change->text));

    if (change->before != NULL || change->after != NULL) {
        json_object_set_new(object, "before", layer_json(change->before, change->before_number));
        json_object_set_new(object, "after", layer_json(change->after, change->after_number));
    }
    ui_print(ui, "%s\n", change->text);
    ui_json(ui, object);
}

static void say_lock(struct ui *ui, const struct lock *lock, bool written)
{
    json_t *layers = json_array();
    char epoch[TEXT_TIME_MAX];

    for (size_t i = 0; i < lock->layer_count; i++) {
        json_array_append_new(layers, layer_json(&lock->layers[i], i + 1));
    }
    ui_print(ui, "%s %s\n", lock->path, written ? "written" : "is up to date");
    ui_json(ui, json_pack("{s:s, s:o, s:b, s:I, s:o, s:s, s:o}", "event", "lock", "path",
                          ui_string(lock->path), "written", written, "disk_format",
                          (json_int_t)lock->disk_format, "seed", ui_string(lock->seed), "epoch",
                          text_time(lock->epoch, epoch), "layers", layers));
}

/* Names the first change; the lines before this one have them all. */
static int not_up_to_date(const struct lock *before, const struct lock *now,
                          const struct changes *changes, struct error *err)
{
    if (before == NULL) {
        fail(err, FAIL_MISMATCH, "there is no lock '%s'", now->path);
    } else if (changes->count == 1) {
        fail(err, FAIL_MISMATCH, "'%s' is not up to date: %s", now->path, changes->items[0].text);
    } else {
        fail(err, FAIL_MISMATCH, "'%s' is not up to date: %s, and %zu more", now->path,
             changes->items[0].text, changes->count - 1);
    }
    return fail_hint(err, "run 'kiln lock' if the change is intended");
}

int lock_update(const struct lock *before, const struct lock *now, bool check, struct ui *ui,
                struct error *err)
{
    SCOPED(changes_done) struct changes changes = {0};

    changes_find(before, now, &changes);
    if (!check && changes.count != 0 && lock_save(now, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < changes.count; i++) {
        say_change(ui, &changes.items[i]);
    }
    if (check && changes.count != 0) {
        return not_up_to_date(before, now, &changes, err);
    }
    say_lock(ui, now, changes.count != 0);
    return 0;
}
