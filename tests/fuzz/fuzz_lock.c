/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a lock: either it is refused with places in the file, or it is whole, its text is
 * read back as the same lock, and whatever it is compared with has an answer. */
#include <stdlib.h>
#include <string.h>

#include "lock/change.h"
#include "lock/lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Every line of a refusal begins with the file, but for the one that counts the others. */
static void check_refusal(const struct error *err)
{
    require(err->kind == FAIL_USAGE || err->kind == FAIL_MISMATCH);
    for (const char *line = err->message; line != NULL;) {
        const char *end = strchr(line, '\n');
        bool last = end == NULL;

        require(strncmp(line, "fuzz.lock:", 10) == 0 ||
                (last && line != err->message && strstr(line, " more problem") != NULL));
        for (const char *s = line; *s != '\0' && s != end; s++) {
            require((unsigned char)*s >= 0x20 && *s != 0x7f);
        }
        line = last ? NULL : end + 1;
    }
}

/* All that is written is what a terminal and a diff can show. */
static void check_text(const struct buf *text)
{
    for (size_t i = 0; i < text->size; i++) {
        unsigned char c = (unsigned char)text->data[i];

        require((c >= 0x20 || c == '\n') && c != 0x7f);
    }
}

static void check_same(const struct lock *lock, const struct lock *back)
{
    SCOPED(changes_done) struct changes changes = {0};

    changes_find(lock, back, &changes);
    require(changes.count == 0 && lock_same_archives(lock, back));
    for (size_t i = 0; i < lock->layer_count; i++) {
        const struct lock_layer *layer = &back->layers[i];
        struct error err = {0};

        require(lock_check_layer(lock, i, layer->name, layer->format, layer->sha256,
                                 layer->size_bytes, &err) == 0);
        require(!layer->is_step || lock_check_step(lock, i, layer->name, layer->step, &err) == 0);
    }
}

/* The text of a lock of many long names that must be escaped may be too large to be a lock. */
static void check_round(const struct lock *lock)
{
    SCOPED(lock_freep) struct lock *back = NULL;
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};

    lock_text(lock, &text);
    check_text(&text);
    if (lock_parse("fuzz.lock", text.data, text.size, &back, &err) < 0) {
        require(text.size > 1 << 20);
        return;
    }
    check_same(lock, back);
}

/* Against itself upside down: every layer is there, whatever moved. */
static void check_moves(const struct lock *lock)
{
    SCOPED(lock_freep) struct lock *turned = lock_new("fuzz.lock", lock->seed, lock->epoch);
    SCOPED(changes_done) struct changes changes = {0};

    for (size_t i = lock->layer_count; i-- > 0;) {
        const struct lock_layer *layer = &lock->layers[i];

        lock_add(turned, layer->name, layer->format, layer->sha256, layer->size_bytes,
                 layer->is_step ? layer->step : NULL);
    }
    changes_find(lock, turned, &changes);
    for (size_t i = 0; i < changes.count; i++) {
        require(strcmp(changes.items[i].change, "added") != 0 &&
                strcmp(changes.items[i].change, "removed") != 0);
    }
}

static void check_profile(const struct lock *lock)
{
    struct profile_layer layers[] = {{.kind = LAYER_ARCHIVE, .name = (char *)"base.tar"},
                                     {.kind = LAYER_DIRECTORY, .name = (char *)"conf"},
                                     {.kind = LAYER_FILES, .name = (char *)"files:1"},
                                     {.kind = LAYER_PACKAGES, .name = (char *)"debs"},
                                     {.kind = LAYER_RUN, .name = (char *)"setup.sh"}};
    struct profile profile = {
        .seed = (char *)"web", .layers = layers, .layer_count = COUNT(layers)};
    struct error err = {0};

    if (lock_check_profile(lock, &profile, &err) < 0) {
        require(err.kind == FAIL_MISMATCH && strncmp(err.message, "fuzz.lock:", 10) == 0);
    } else {
        require(lock->layer_count == COUNT(layers));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(lock_freep) struct lock *lock = NULL;
    struct error err = {0};

    if (lock_parse("fuzz.lock", (const char *)data, size, &lock, &err) < 0) {
        require(lock == NULL);
        check_refusal(&err);
        return 0;
    }
    require(lock->disk_format == DISK_FORMAT && lock->layer_count != 0);
    check_round(lock);
    check_moves(lock);
    check_profile(lock);
    return 0;
}
