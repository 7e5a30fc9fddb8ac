/* SPDX-License-Identifier: Apache-2.0 */
#include "step/steps.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "capture/capture.h"
#include "layer/learn.h"
#include "step/captured.h"
#include "step/compare.h"
#include "step/drive.h"
#include "step/inputs.h"
#include "step/key.h"
#include "step/room.h"

/* What a step may write beyond what the disk will hold, as it likes. */
static const uint64_t SCRATCH_EXTRA = 4ULL << 30;

struct steps {
    struct steps_options copy;
    const struct steps_options *options; /* the copy */
    size_t layer_count;
    struct captured *captured;   /* by layer; empty for what is no step */
    uint8_t (*given)[HASH_SIZE]; /* by layer: what each step is given */
    size_t pending;
    struct drive *inputs, *scratch;
    struct room_options room_options;
    struct room *room; /* NULL until something has to run */
};

bool steps_needed(const struct profile *profile)
{
    for (size_t i = 0; i < profile->layer_count; i++) {
        if (profile_is_step(&profile->layers[i])) {
            return true;
        }
    }
    return false;
}

/* --- before the first one runs ------------------------------------------------------------- */

static char *path_in(const struct steps *steps, const char *name)
{
    return xprintf("%s/%s", steps->options->temporary, name);
}

static uint64_t most_memory(const struct profile *profile)
{
    uint64_t most = 0;

    for (size_t i = 0; i < profile->layer_count; i++) {
        if (profile_is_step(&profile->layers[i]) && profile->layers[i].memory_bytes > most) {
            most = profile->layers[i].memory_bytes;
        }
    }
    return most;
}

/* Digests what each step is given, before the first one takes its time. */
static int digest_inputs(struct steps *steps, struct error *err)
{
    const struct profile *profile = steps->options->profile;

    for (size_t i = 0; i < profile->layer_count; i++) {
        if (profile_is_step(&profile->layers[i]) &&
            inputs_digest(&profile->layers[i], steps->options->store, steps->given[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What was written is what was digested: nothing is kept under the key of something else. */
static int check_inputs(const struct steps *steps, size_t first, struct error *err)
{
    const struct profile *profile = steps->options->profile;

    for (size_t i = first; i < profile->layer_count; i++) {
        const struct profile_layer *spec = &profile->layers[i];
        uint8_t now[HASH_SIZE];

        if (!profile_is_step(spec)) {
            continue;
        }
        if (inputs_digest(spec, steps->options->store, now, err) < 0) {
            return -1;
        }
        if (memcmp(now, steps->given[i], HASH_SIZE) != 0) {
            return fail(err, FAIL_ERROR,
                        "step '%s': its script, packages or mounts changed while they were read",
                        spec->name);
        }
    }
    return 0;
}

/* Everything for the steps from layer INDEX on; one that is found after all just does not run. */
static int open_room(struct steps *steps, size_t index, struct error *err)
{
    const struct steps_options *options = steps->options;
    const struct profile *profile = options->profile;
    SCOPED_FREE char *inputs = path_in(steps, "inputs.raw"),
                     *scratch = path_in(steps, "scratch.raw");

    if (inputs_write(profile, index, inputs, options->temporary, options->ui, &steps->inputs, err) <
            0 ||
        check_inputs(steps, index, err) < 0 ||
        drive_new(scratch, "kiln-scratch", profile->disk_size_bytes + SCRATCH_EXTRA,
                  profile->inodes, &steps->scratch, err) < 0) {
        return -1;
    }
    steps->room_options = (struct room_options){.inputs = drive_path(steps->inputs),
                                                .scratch = drive_path(steps->scratch),
                                                .temporary = options->temporary,
                                                .memory_bytes = most_memory(profile),
                                                .shell = options->shell,
                                                .ui = options->ui};
    return room_open(&steps->room_options, &steps->room, err);
}

/* --- running one --------------------------------------------------------------------------- */

static int run(struct steps *steps, size_t index, const char *log, struct error *err)
{
    const struct steps_options *options = steps->options;
    const struct profile_layer *spec = &options->profile->layers[index];
    SCOPED_FREE char *phase = xprintf("running step '%s'", spec->name);
    const struct room_step step = {.name = spec->name,
                                   .number = (unsigned)index + 1,
                                   .epoch = options->epoch,
                                   .timeout_s = spec->timeout_s,
                                   .memory_bytes = spec->memory_bytes,
                                   .log = log};

    ui_phase(options->ui, phase, 0);
    return room_run(steps->room, &step, err);
}

static int take_difference(struct steps *steps, size_t index, const struct tree *tree,
                           struct captured *ret, struct error *err)
{
    const struct steps_options *options = steps->options;
    const struct profile_layer *spec = &options->profile->layers[index];
    const struct plan_partition *part = drive_partition(steps->scratch);
    const struct capture_job job = {
        .disk = drive_path(steps->scratch),
        .offset_bytes = part->offset_bytes,
        .size_bytes = part->size_bytes,
        .tree = tree,
        .epoch = options->epoch,
        .leave_out = spec->has_leave_out ? (const char *const *)spec->leave_out : NULL,
        .leave_out_count = spec->leave_out_count,
        .step = spec->name,
        .out = ret->path};
    struct capture_result result;

    ui_phase(options->ui, "capturing what changed", 0);
    if (capture(&job, &result, err) < 0) {
        return -1;
    }
    ui_phase_end(options->ui);
    memcpy(ret->digest, result.digest, HASH_SIZE);
    ret->size = result.size;
    ui_detail(options->ui, "step '%s': %llu paths added, %llu changed, %llu removed", spec->name,
              (unsigned long long)result.added, (unsigned long long)result.changed,
              (unsigned long long)result.removed);
    return 0;
}

/* On a disk that is written anew, so that no step sees more of the one before than its layer. */
static int execute(struct steps *steps, size_t index, struct captured *ret, struct error *err)
{
    const struct steps_options *options = steps->options;
    SCOPED(stack_freep) struct stack *below = stack_below(options->stack, index);

    ret->path = xprintf("%s/%zu.tar.zst", options->temporary, index + 1);
    ret->log = xprintf("%s/%zu.log", options->temporary, index + 1);
    if (steps->room == NULL && open_room(steps, index, err) < 0) {
        return -1;
    }
    ui_phase(options->ui, "writing what lies below the step", stack_size(below));
    return drive_write(steps->scratch, below, options->epoch, options->temporary, options->ui,
                       err) < 0 ||
                   run(steps, index, ret->log, err) < 0
               ? -1
               : take_difference(steps, index, below->tree, ret, err);
}

/* --- what it must be ------------------------------------------------------------------------ */

/* BEFORE is what the same key gave once; its path is NULL when that is not at hand. */
static int tell_difference(const struct steps *steps, const char *name,
                           const struct captured *before, const struct captured *now,
                           struct buf *paths, struct error *err)
{
    if (before->path == NULL || memcmp(before->digest, now->digest, HASH_SIZE) == 0) {
        return 0;
    }
    if (compare_captured(before, now, paths, err) < 0) {
        return -1;
    }
    ui_note(steps->options->ui, "step '%s' gave other content than before, these paths differ: %s",
            name, paths->data != NULL ? paths->data : "none");
    return 0;
}

/* PATHS: which ones differ from what it gave before, where that is known. */
static int check_captured(const struct steps *steps, size_t index, const struct captured *now,
                          const struct buf *paths, struct error *err)
{
    const struct steps_options *options = steps->options;
    const struct layer *layer = options->stack->layers[index];

    if (options->lock == NULL ||
        lock_check_layer(options->lock, index, layer_name(layer), layer_format(layer), now->digest,
                         now->size, err) == 0) {
        return 0;
    }
    err->hint[0] = '\0'; /* nobody changed anything */
    return paths->size != 0 ? fail_hint(err, "these paths differ from before: %s", paths->data)
                            : fail_hint(err, "the same step gave other content when it was locked; "
                                             "--layers-from takes what --save-layers saved then");
}

/* Of what lies between steps, before they run on top of it. */
static int check_layer(const struct steps *steps, size_t index, struct error *err)
{
    const struct lock *lock = steps->options->lock;
    const struct layer *layer = steps->options->stack->layers[index];
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    layer_digest(layer, digest, &size);
    return lock == NULL ? 0
                        : lock_check_layer(lock, index, layer_name(layer), layer_format(layer),
                                           digest, size, err);
}

/* --- one step ------------------------------------------------------------------------------- */

/* The directory that the user names comes first: the store may have what ran here. */
static int find(const struct steps *steps, const uint8_t key[HASH_SIZE], struct captured *ret,
                struct error *err)
{
    const struct steps_options *options = steps->options;
    int there =
        options->layers_from != NULL ? captured_import(options->layers_from, key, ret, err) : 0;

    return there != 0 ? there : captured_find(options->store, key, options->verify, ret);
}

/* Without the store the next build runs it again, that is all. */
static void keep(const struct steps *steps, const uint8_t key[HASH_SIZE], bool again,
                 const struct captured *captured)
{
    const struct steps_options *options = steps->options;
    struct error problem = {0};

    if (options->store == NULL) {
        return;
    }
    if (again) {
        store_drop(options->store, STORE_LAYERS, key);
    }
    if (captured_keep(options->store, key, captured, &problem) < 0) {
        ui_note(options->ui, "the cache does not keep what the step changed: %s", problem.message);
    }
}

static int run_again(struct steps *steps, size_t index, const uint8_t key[HASH_SIZE],
                     struct captured *before, struct error *err)
{
    SCOPED(buf_done) struct buf paths = {0};
    SCOPED(captured_done) struct captured now = {0};
    bool again = before->path != NULL;

    if (execute(steps, index, &now, err) < 0 ||
        tell_difference(steps, steps->options->profile->layers[index].name, before, &now, &paths,
                        err) < 0 ||
        check_captured(steps, index, &now, &paths, err) < 0) {
        return -1;
    }
    captured_done(before);
    keep(steps, key, again, &now);
    steps->captured[index] = now;
    now = (struct captured){0};
    return 0;
}

/* Beside the image, for whoever wants to know what its steps said. */
static int save_log(const struct steps *steps, size_t index, struct error *err)
{
    const struct steps_options *options = steps->options;
    const char *log = steps->captured[index].log;
    SCOPED_FREE char *to = xprintf("%s/%zu-%s.log", options->logs != NULL ? options->logs : "",
                                   index + 1, layer_format(options->stack->layers[index]));

    if (options->logs == NULL || log == NULL) {
        return 0;
    }
    return file_make_dirs(options->logs, err) < 0 ? -1 : captured_copy(log, to, err);
}

static int use(struct steps *steps, size_t index, const uint8_t key[HASH_SIZE], struct error *err)
{
    const struct steps_options *options = steps->options;
    const struct captured *captured = &steps->captured[index];

    layer_capture(options->stack->layers[index], key, captured->path, captured->digest,
                  captured->size);
    if (save_log(steps, index, err) < 0) {
        return -1;
    }
    return options->save_layers != NULL ? captured_export(options->save_layers, key, captured, err)
                                        : 0;
}

/* A lock that has the same key says what the step gives, even where that is not at hand. */
static void recall(const struct steps *steps, size_t index, const uint8_t key[HASH_SIZE])
{
    const struct lock *lock = steps->options->recall;
    struct layer *layer = steps->options->stack->layers[index];

    layer_capture(layer, key, NULL, NULL, 0);
    for (size_t i = 0; lock != NULL && i < lock->layer_count; i++) {
        const struct lock_layer *locked = &lock->layers[i];

        if (locked->is_step && memcmp(locked->step, key, HASH_SIZE) == 0) {
            layer_capture(layer, key, NULL, locked->sha256, locked->size_bytes);
        }
    }
}

/* What was found: the content, unless it has to be made again all the same. */
static int take(struct steps *steps, size_t index, const uint8_t key[HASH_SIZE],
                struct captured *found, struct error *err)
{
    static const struct buf no_paths;

    if (found->path == NULL || steps->options->refresh) {
        return run_again(steps, index, key, found, err);
    }
    if (check_captured(steps, index, found, &no_paths, err) < 0) {
        return fail_while(err, "'%s'", found->path);
    }
    steps->captured[index] = *found;
    *found = (struct captured){0};
    return 0;
}

/* 1: it has its content; 0: it would have to run. */
static int resolve(struct steps *steps, size_t index, struct error *err)
{
    const struct steps_options *options = steps->options;
    const struct profile_layer *spec = &options->profile->layers[index];
    SCOPED(captured_done) struct captured found = {0};
    uint8_t key[HASH_SIZE];
    int there;

    step_key(options->profile, options->stack, index, options->epoch, steps->given[index], key);
    if (options->lock != NULL && lock_check_step(options->lock, index, spec->name, key, err) < 0) {
        return -1;
    }
    there = find(steps, key, &found, err);
    if (there < 0) {
        return -1;
    }
    if (there == 0 && options->look) {
        recall(steps, index, key);
        return 0;
    }
    return take(steps, index, key, &found, err) < 0 || use(steps, index, key, err) < 0 ? -1 : 1;
}

/* --- all of them ---------------------------------------------------------------------------- */

static int close_room(struct steps *steps, struct error *err)
{
    if (steps->room == NULL) {
        return 0;
    }
    if (room_close(steps->room, err) < 0) {
        return -1;
    }
    room_free(TAKE(steps->room));
    /* They take space that the build may need. */
    (void)unlink(drive_path(steps->scratch));
    (void)unlink(drive_path(steps->inputs));
    return 0;
}

/* What is above a step that is not known has no key yet: 0. */
static int resolve_layer(struct steps *steps, size_t index, bool known_below, struct error *err)
{
    struct layer *layer = steps->options->stack->layers[index];

    if (!layer_is_step(layer)) {
        return learn_layer(steps->options->store, layer, err) < 0 ||
                       check_layer(steps, index, err) < 0
                   ? -1
                   : 1;
    }
    return known_below ? resolve(steps, index, err) : 0;
}

static int resolve_all(struct steps *steps, struct error *err)
{
    bool known = true;

    steps->pending = steps->layer_count;
    for (size_t i = 0; i < steps->layer_count; i++) {
        int result = resolve_layer(steps, i, known, err);

        if (result < 0) {
            return -1;
        }
        if (result == 0 && steps->pending == steps->layer_count) {
            steps->pending = i;
        }
        known = known && layer_is_known(steps->options->stack->layers[i]);
    }
    return close_room(steps, err);
}

/* A name that was mistyped must not mean that everything runs again. */
static int check_source(const struct steps_options *options, struct error *err)
{
    struct stat st;

    if (options->layers_from == NULL) {
        return 0;
    }
    if (stat(options->layers_from, &st) < 0) {
        return fail_os(err, "--layers-from: open '%s'", options->layers_from);
    }
    return S_ISDIR(st.st_mode) ? 0
                               : fail(err, FAIL_ERROR, "--layers-from: '%s' is not a directory",
                                      options->layers_from);
}

int steps_resolve(const struct steps_options *options, struct steps **ret, struct error *err)
{
    SCOPED(steps_freep) struct steps *steps = xcalloc(1, sizeof(*steps));

    steps->copy = *options;
    steps->options = &steps->copy;
    steps->layer_count = options->stack->layer_count;
    steps->captured = xcalloc(steps->layer_count, sizeof(*steps->captured));
    steps->given = xcalloc(steps->layer_count, sizeof(*steps->given));
    if (check_source(options, err) < 0 || digest_inputs(steps, err) < 0 ||
        resolve_all(steps, err) < 0) {
        return -1;
    }
    *ret = TAKE(steps);
    return 0;
}

size_t steps_pending(const struct steps *steps)
{
    return steps->pending;
}

void steps_free(struct steps *steps)
{
    if (steps == NULL) {
        return;
    }
    room_free(steps->room);
    drive_free(steps->inputs);
    drive_free(steps->scratch);
    for (size_t i = 0; i < steps->layer_count; i++) {
        captured_done(&steps->captured[i]);
    }
    free(steps->captured);
    free(steps->given);
    free(steps);
}
