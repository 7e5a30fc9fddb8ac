/* SPDX-License-Identifier: Apache-2.0 */
#include "lock/lock.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "profile/decode.h"
#include "profile/yaml.h"

char *lock_path(const char *profile)
{
    size_t size = strlen(profile);

    if (text_ends(profile, ".yaml")) {
        size -= strlen(".yaml");
    } else if (text_ends(profile, ".yml")) {
        size -= strlen(".yml");
    }
    return xprintf("%.*s.lock", (int)size, profile);
}

struct lock *lock_new(const char *path, const char *seed, int64_t epoch)
{
    struct lock *lock = xcalloc(1, sizeof(*lock));

    lock->path = xstrdup(path);
    lock->disk_format = DISK_FORMAT;
    lock->seed = xstrdup(seed);
    lock->epoch = epoch;
    return lock;
}

void lock_add(struct lock *lock, const char *name, const char *format, const uint8_t *sha256,
              uint64_t size_bytes, const uint8_t *step)
{
    struct lock_layer *layer;

    grow(&lock->layers, lock->layer_count, &lock->layer_space, sizeof(*lock->layers));
    layer = &lock->layers[lock->layer_count++];
    *layer = (struct lock_layer){.name = xstrdup(name),
                                 .format = xstrdup(format),
                                 .is_step = step != NULL || sha256 == NULL,
                                 .pending = sha256 == NULL,
                                 .size_bytes = size_bytes};
    if (sha256 != NULL) {
        memcpy(layer->sha256, sha256, HASH_SIZE);
    }
    if (step != NULL) {
        memcpy(layer->step, step, HASH_SIZE);
    }
}

void lock_free(struct lock *lock)
{
    if (lock == NULL) {
        return;
    }
    for (size_t i = 0; i < lock->layer_count; i++) {
        free(lock->layers[i].name);
        free(lock->layers[i].format);
    }
    free(lock->layers);
    free(lock->seed);
    free(lock->path);
    free(lock);
}

/* --- the grammar ------------------------------------------------------------------------------ */

/* Which formats a layer of the profile can turn out to have. */
static const struct {
    const char *word;
    enum layer_kind kind;
} formats[] = {
    {"archive", LAYER_ARCHIVE}, {"oci", LAYER_ARCHIVE},
    {"docker", LAYER_ARCHIVE},  {"directory", LAYER_DIRECTORY},
    {"files", LAYER_FILES},     {"packages", LAYER_PACKAGES},
    {"run", LAYER_RUN},
};

static bool is_kind(enum layer_kind kind, const char *format)
{
    for (size_t i = 0; i < COUNT(formats); i++) {
        if (strcmp(format, formats[i].word) == 0) {
            return formats[i].kind == kind;
        }
    }
    return false;
}

/* The first of its formats. */
static const char *kind_name(enum layer_kind kind)
{
    size_t i = 0;

    while (formats[i].kind != kind) {
        i++;
    }
    return formats[i].word;
}

static const char *check_format(const char *text)
{
    for (size_t i = 0; i < COUNT(formats); i++) {
        if (strcmp(text, formats[i].word) == 0) {
            return NULL;
        }
    }
    return "must be archive, oci, docker, directory, files, packages or run";
}

static const char *check_text(const char *text)
{
    size_t size = strlen(text);

    return size == 0 ? "must not be empty" : size > 4095 ? "longer than 4095 bytes" : NULL;
}

#define STEP_HELP "of all that packages or run is made from"

static const struct field layer_fields[] = {
    {.name = "layer",
     .type = FIELD_STRING,
     .required = true,
     .value = PLACE_OF(struct lock_layer, name),
     .check = check_text,
     .help = "as the profile names it, or 'files', 'packages' or 'run'"},
    {.name = "format",
     .type = FIELD_STRING,
     .required = true,
     .value = PLACE_OF(struct lock_layer, format),
     .check = check_format,
     .help = "what it was found to be"},
    {.name = "step",
     .type = FIELD_SHA256,
     .value = PLACE_OF(struct lock_layer, step),
     .mark = PLACE_OF(struct lock_layer, step_mark),
     .has = PLACE_OF(struct lock_layer, is_step),
     .help = STEP_HELP},
    {.name = "sha256",
     .type = FIELD_SHA256,
     .required = true,
     .value = PLACE_OF(struct lock_layer, sha256),
     .help = "of the archive's bytes, or of the normal form"},
    {.name = "size",
     .type = FIELD_SIZE,
     .required = true,
     .value = PLACE_OF(struct lock_layer, size_bytes),
     .help = "in bytes"},
    {.name = NULL},
};

static const struct shape layer_shape = {
    .noun = "a layer",
    .fields = layer_fields,
    .size = sizeof(struct lock_layer),
    .mark = PLACE_OF(struct lock_layer, mark),
};

static const struct field lock_fields[] = {
    {.name = "disk_format",
     .type = FIELD_COUNT,
     .required = true,
     .value = PLACE_OF(struct lock, disk_format),
     .mark = PLACE_OF(struct lock, disk_format_mark),
     .help = "the layout of the disk"},
    {.name = "seed",
     .type = FIELD_STRING,
     .required = true,
     .value = PLACE_OF(struct lock, seed),
     .mark = PLACE_OF(struct lock, seed_mark),
     .check = check_text,
     .help = "the profile's, or its default"},
    {.name = "epoch",
     .type = FIELD_TIME,
     .required = true,
     .value = PLACE_OF(struct lock, epoch),
     .mark = PLACE_OF(struct lock, epoch_mark),
     .help = "no file in the image is newer"},
    {.name = "layers",
     .type = FIELD_LIST,
     .required = true,
     .filled = true,
     .value = PLACE_OF(struct lock, layers),
     .second = PLACE_OF(struct lock, layer_count),
     .mark = PLACE_OF(struct lock, layers_mark),
     .shape = &layer_shape,
     .help = "what goes into the image, bottom first"},
    {.name = NULL},
};

static const struct shape lock_shape = {.noun = "a lock", .fields = lock_fields};

/* --- reading ---------------------------------------------------------------------------------- */

/* "FILE:LINE:COLUMN: message", a difference between the lock and what is there. */
static int mismatch(const struct lock *lock, struct mark mark, struct error *err,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

static int mismatch(const struct lock *lock, struct mark mark, struct error *err,
                    const char *format, ...)
{
    char text[sizeof(err->message)];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return fail(err, FAIL_MISMATCH, "%s:%u:%u: %s", lock->path, mark.line, mark.column, text);
}

/* A key goes with each step and with nothing else. */
static void check_steps(const struct lock *lock, struct problems *problems)
{
    for (size_t i = 0; i < lock->layer_count; i++) {
        const struct lock_layer *layer = &lock->layers[i];
        bool step;

        if (layer->format == NULL) {
            continue;
        }
        step = is_kind(LAYER_PACKAGES, layer->format) || is_kind(LAYER_RUN, layer->format);
        if (step && !layer->is_step) {
            problem_add(problems, layer->mark, "'step' is missing (" STEP_HELP ")");
        } else if (!step && layer->is_step) {
            problem_add(problems, layer->step_mark, "'step' goes only with format packages or run");
        }
    }
}

static int is_newer(const struct lock *lock, struct error *err)
{
    mismatch(lock, lock->disk_format_mark, err,
             "disk_format %" PRIu32 ": made by a newer kiln (this one knows %d)", lock->disk_format,
             DISK_FORMAT);
    return fail_hint(err, "use the kiln that made it");
}

int lock_parse(const char *path, const char *yaml, size_t size, struct lock **ret,
               struct error *err)
{
    SCOPED(lock_freep) struct lock *lock = xcalloc(1, sizeof(*lock));
    SCOPED(problems_done) struct problems problems = {.path = path, .noun = "lock"};
    SCOPED(yaml_tree_freep) struct yaml_tree *tree = NULL;

    lock->path = xstrdup(path);
    if (yaml_tree_read(NULL, yaml, size, &tree, &problems) == 0) {
        bool clean = problems.count == 0;

        (void)decode_map(&lock_shape, yaml_tree_root(tree), lock, &problems);
        /* Keys that are not known here are no mistake then. */
        if (clean && lock->disk_format > DISK_FORMAT) {
            return is_newer(lock, err);
        }
        check_steps(lock, &problems);
    }
    if (problems_fail(&problems, err) < 0) {
        return fail_hint(err, "remove it and run 'kiln lock' to make it anew");
    }
    lock->layer_space = lock->layer_count;
    *ret = TAKE(lock);
    return 0;
}

int lock_load(const char *path, struct lock **ret, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};
    struct stat st;

    if (lstat(path, &st) < 0 && errno == ENOENT) {
        *ret = NULL;
        return 0;
    }
    if (stat(path, &st) < 0) {
        fail_os(err, "open '%s'", path);
    } else if (!S_ISREG(st.st_mode)) {
        fail(err, FAIL_USAGE, "the lock '%s' is not a regular file", path);
    } else if (file_read(path, YAML_SIZE_MAX, &text, err) == 0) {
        return lock_parse(path, text.data, text.size, ret, err);
    }
    err->kind = FAIL_USAGE; /* as of a profile */
    return -1;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The character that SIZE bytes of valid UTF-8 are. */
static unsigned character(const unsigned char *s, size_t size)
{
    unsigned c = size == 1 ? s[0] : s[0] & (0xffU >> (size + 1));

    for (size_t i = 1; i < size; i++) {
        c = c << 6 | (s[i] & 0x3fU);
    }
    return c;
}

/* A character that neither people nor YAML can see (YAML 1.1, 5.1 "Character Set"). */
static bool is_hidden(const char *s, size_t size)
{
    SCOPED(buf_done) struct buf escaped = {0};
    unsigned c = character((const unsigned char *)s, size);

    text_escape(&escaped, s, size, false);
    return escaped.size != size || c == 0xfffe || c == 0xffff;
}

/* Always in quotes: nobody's YAML then takes a name for a number or a date. */
static void add_quoted(struct buf *buf, const char *text)
{
    buf_putc(buf, '"');
    for (const char *s = text; *s != '\0';) {
        size_t size = 1;

        while (((unsigned char)s[size] & 0xc0) == 0x80) {
            size++;
        }
        if (is_hidden(s, size)) {
            unsigned c = character((const unsigned char *)s, size);

            buf_printf(buf, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        } else {
            buf_puts(buf, *s == '"' || *s == '\\' ? "\\" : "");
            buf_add(buf, s, size);
        }
        s += size;
    }
    buf_putc(buf, '"');
}

void lock_text(const struct lock *lock, struct buf *buf)
{
    char time[TEXT_TIME_MAX], hex[HASH_HEX_MAX];

    buf_puts(buf, "# What the image is made from, each input by its digest. Made by 'kiln lock' "
                  "from the profile\n"
                  "# beside it; 'kiln build' takes nothing else. Keep it with the profile.\n");
    buf_printf(buf, "disk_format: %" PRIu32 "\nseed: ", lock->disk_format);
    add_quoted(buf, lock->seed);
    buf_printf(buf, "\nepoch: %s\nlayers:\n", text_time(lock->epoch, time));
    for (size_t i = 0; i < lock->layer_count; i++) {
        const struct lock_layer *layer = &lock->layers[i];

        buf_puts(buf, "  - layer: ");
        add_quoted(buf, layer->name);
        buf_printf(buf, "\n    format: %s\n", layer->format);
        if (layer->is_step) {
            buf_printf(buf, "    step: %s\n", hash_hex(layer->step, hex));
        }
        buf_printf(buf, "    sha256: %s\n    size: %" PRIu64 "\n", hash_hex(layer->sha256, hex),
                   layer->size_bytes);
    }
}

/* What could not be read again (too many layers, a year past 9999) must not be written. */
static int check_readable(const struct lock *lock, const struct buf *text, struct error *err)
{
    SCOPED(lock_freep) struct lock *back = NULL;

    if (lock_parse(lock->path, text->data, text->size, &back, err) < 0) {
        err->hint[0] = '\0'; /* nothing is there to be removed */
        return fail_while(err, "cannot write the lock");
    }
    return 0;
}

int lock_save(const struct lock *lock, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};
    struct stat st;

    lock_text(lock, &text);
    if (check_readable(lock, &text, err) < 0) {
        return -1;
    }
    if (lstat(lock->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        fail(err, FAIL_ERROR, "'%s' is %s: it will not be replaced", lock->path,
             S_ISLNK(st.st_mode) ? "a symbolic link" : "not a regular file");
        return fail_hint(err, "remove it, or lock the profile that it belongs to");
    }
    return file_replace(lock->path, text.data, text.size, err);
}

/* --- checking --------------------------------------------------------------------------------- */

static int intended(struct error *err)
{
    return fail_hint(err, "run 'kiln lock' if the change is intended");
}

/* One of the profile's layers, or one of the lock's, may not be there. */
static int check_place(const struct lock *lock, const struct profile *profile, size_t i,
                       struct error *err)
{
    const struct lock_layer *locked = i < lock->layer_count ? &lock->layers[i] : NULL;
    const struct profile_layer *layer = i < profile->layer_count ? &profile->layers[i] : NULL;
    char hex[HASH_HEX_MAX];

    assert(locked != NULL || layer != NULL);
    if (locked == NULL) {
        return mismatch(lock, lock->layers_mark, err,
                        "layer %zu of the profile, %s '%s', is not in the lock, which has %zu",
                        i + 1, kind_name(layer->kind), layer->name, lock->layer_count);
    }
    if (layer == NULL) {
        return mismatch(lock, locked->mark, err,
                        "layer %zu, %s '%s' (sha256:%s), is not in the profile, which has %zu",
                        i + 1, locked->format, locked->name, hash_hex(locked->sha256, hex),
                        profile->layer_count);
    }
    if (strcmp(locked->name, profile_layer_label(layer)) != 0 ||
        !is_kind(layer->kind, locked->format)) {
        return mismatch(lock, locked->mark, err,
                        "layer %zu is %s '%s' (sha256:%s), but %s '%s' in the profile", i + 1,
                        locked->format, locked->name, hash_hex(locked->sha256, hex),
                        kind_name(layer->kind), layer->name);
    }
    return 0;
}

static int check_head(const struct lock *lock, const struct profile *profile, struct error *err)
{
    char locked[TEXT_TIME_MAX], wanted[TEXT_TIME_MAX];

    if (lock->disk_format != DISK_FORMAT) {
        return mismatch(lock, lock->disk_format_mark, err,
                        "disk_format %" PRIu32 ", but this kiln makes %d", lock->disk_format,
                        DISK_FORMAT);
    }
    if (strcmp(lock->seed, profile->seed) != 0) {
        return mismatch(lock, lock->seed_mark, err, "seed '%s', but the profile has '%s'",
                        lock->seed, profile->seed);
    }
    if (profile->has_epoch && profile->epoch != lock->epoch) {
        return mismatch(lock, lock->epoch_mark, err, "epoch %s, but the profile has %s",
                        text_time(lock->epoch, locked), text_time(profile->epoch, wanted));
    }
    return 0;
}

int lock_check_profile(const struct lock *lock, const struct profile *profile, struct error *err)
{
    int result = check_head(lock, profile, err);

    for (size_t i = 0; result == 0 && (i < lock->layer_count || i < profile->layer_count); i++) {
        result = check_place(lock, profile, i, err);
    }
    return result < 0 ? intended(err) : 0;
}

int lock_check_layer(const struct lock *lock, size_t index, const char *name, const char *format,
                     const uint8_t sha256[HASH_SIZE], uint64_t size_bytes, struct error *err)
{
    const struct lock_layer *locked;
    char found[HASH_HEX_MAX], wanted[HASH_HEX_MAX];

    assert(index < lock->layer_count);
    locked = &lock->layers[index];
    if (strcmp(format, locked->format) == 0 && size_bytes == locked->size_bytes &&
        memcmp(sha256, locked->sha256, HASH_SIZE) == 0) {
        return 0;
    }
    mismatch(lock, locked->mark, err,
             "layer '%s' has changed: sha256:%s (%s, %" PRIu64
             " bytes), not sha256:%s (%s, %" PRIu64 " bytes)",
             name, hash_hex(sha256, found), format, size_bytes, hash_hex(locked->sha256, wanted),
             locked->format, locked->size_bytes);
    return intended(err);
}

int lock_check_step(const struct lock *lock, size_t index, const char *name,
                    const uint8_t key[HASH_SIZE], struct error *err)
{
    const struct lock_layer *locked;
    char found[HASH_HEX_MAX], wanted[HASH_HEX_MAX];

    assert(index < lock->layer_count && lock->layers[index].is_step);
    locked = &lock->layers[index];
    if (memcmp(key, locked->step, HASH_SIZE) == 0) {
        return 0;
    }
    mismatch(lock, locked->step_mark, err,
             "what layer '%s' is made from (layers below it, script, packages, mounts, limits) is "
             "not what the lock has: step %s, not %s",
             name, hash_hex(key, found), hash_hex(locked->step, wanted));
    return intended(err);
}

/* The next layer of LOCK from *I on that has times of its own, or NULL. */
static const struct lock_layer *next_timed(const struct lock *lock, size_t *i)
{
    while (*i < lock->layer_count) {
        const struct lock_layer *layer = &lock->layers[(*i)++];

        if (is_kind(LAYER_ARCHIVE, layer->format)) {
            return layer;
        }
    }
    return NULL;
}

bool lock_same_archives(const struct lock *a, const struct lock *b)
{
    const struct lock_layer *x, *y;
    size_t i = 0, k = 0;

    do {
        x = next_timed(a, &i);
        y = next_timed(b, &k);
    } while (x != NULL && y != NULL && memcmp(x->sha256, y->sha256, HASH_SIZE) == 0);
    return x == NULL && y == NULL;
}
