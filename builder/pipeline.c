/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/blocks.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"
#include "base/stop.h"
#include "base/text.h"
#include "bundle/blocks.h"
#include "bundle/bundle.h"
#include "bundle/files.h"
#include "bundle/manifest.h"
#include "disk/boot.h"
#include "disk/disk.h"
#include "disk/plan.h"
#include "export/export.h"
#include "layer/learn.h"
#include "layer/stack.h"
#include "lock/change.h"
#include "lock/lock.h"
#include "profile/profile.h"
#include "profile/target.h"
#include "step/shell.h"
#include "step/steps.h"
#include "store/store.h"

/* What has been found out so far, stage by stage. */
struct work {
    const struct build_options *options;
    struct ui *ui;
    struct profile *profile;
    struct lock *lock;   /* what the build must be; NULL: there is none */
    struct lock *before; /* what 'kiln lock' found; NULL: nothing */
    struct plan *plan;
    struct stack *stack;
    struct steps *steps; /* NULL: the profile has none */
    struct boot *boot;
    int64_t epoch;
    const char *epoch_source;
    const char *engine_reason;
    struct bundle *bundle;
    char *raw; /* path of disk.raw */
    struct blocks *blocks;
    struct store *store; /* NULL: there is none to be had */
    struct disk disk;
    struct writing *writing;
    char *engine_detail;
    uint8_t disk_digest[HASH_SIZE];
    bool keeps_logs; /* of steps, in the bundle */
};

static void work_done(struct work *work)
{
    disk_free(work->writing);
    bundle_free(work->bundle);
    blocks_free(work->blocks);
    store_free(work->store);
    free(work->raw);
    free(work->engine_detail);
    boot_free(work->boot);
    stack_free(work->stack);
    steps_free(work->steps);
    plan_free(work->plan);
    lock_free(work->lock);
    lock_free(work->before);
    profile_free(work->profile);
}

static void show_progress(void *data, const char *layer, uint64_t done_bytes)
{
    ui_progress(data, layer, done_bytes);
}

static void show_bytes(void *data, uint64_t done_bytes)
{
    ui_progress(data, NULL, done_bytes);
}

/* --- profile ----------------------------------------------------------------------------- */

static int read_profile(struct work *work, struct error *err)
{
    const struct build_options *options = work->options;
    char size[TEXT_SIZE_MAX];

    if (profile_load(options->profile, &work->profile, err) < 0 ||
        (options->formats != NULL &&
         profile_set_formats(work->profile, options->formats, err) < 0) ||
        (options->engine != NULL && profile_set_engine(work->profile, options->engine, err) < 0)) {
        return -1;
    }
    if (work->profile->disk_size_rounded) {
        ui_note(work->ui, "disk size rounded up to %s: clouds want whole GiB",
                text_size(work->profile->disk_size_bytes, size));
    }
    if (disk_choose_engine(work->profile, &work->disk.engine, &work->engine_reason, err) < 0) {
        return -1;
    }
    return plan_make(work->profile, &work->plan, err);
}

/* --- lock -------------------------------------------------------------------------------- */

/* The lock beside the profile, where there is one, and what it says without a look at layers. */
static int read_lock(struct work *work, struct error *err)
{
    SCOPED_FREE char *path = lock_path(work->profile->path);

    if (lock_load(path, &work->lock, err) < 0) {
        return -1;
    }
    if (work->lock != NULL) {
        return lock_check_profile(work->lock, work->profile, err);
    }
    if (work->options->locked) {
        fail(err, FAIL_MISMATCH, "there is no lock '%s'", path);
        return fail_hint(err, "'kiln lock' makes it");
    }
    return 0;
}

/* Every layer against the lock; all were read to their ends. */
static int check_layers(const struct work *work, struct error *err)
{
    for (size_t i = 0; work->lock != NULL && i < work->stack->layer_count; i++) {
        const struct layer *layer = work->stack->layers[i];
        uint8_t digest[HASH_SIZE];
        uint64_t size;

        layer_digest(layer, digest, &size);
        if (lock_check_layer(work->lock, i, layer_name(layer), layer_format(layer), digest, size,
                             err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What the layers that were read are as a lock, with the epoch chosen for a build without one. */
static struct lock *make_lock(const struct work *work, const char *path)
{
    struct lock *lock = lock_new(path, work->profile->seed, work->epoch);

    for (size_t i = 0; i < work->stack->layer_count; i++) {
        const struct layer *layer = work->stack->layers[i];
        uint8_t digest[HASH_SIZE];
        uint64_t size;

        layer_digest(layer, digest, &size);
        lock_add(lock, layer_label(layer), layer_format(layer),
                 layer_is_known(layer) ? digest : NULL, size, layer_step_key(layer));
    }
    return lock;
}

/* --- layers ------------------------------------------------------------------------------ */

/* The lock's epoch, else the profile's, else SOURCE_DATE_EPOCH: 1, or 0 when none says. */
static int find_epoch(struct work *work, struct error *err)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    long long seconds;
    char *end;

    if (work->lock != NULL) {
        work->epoch = work->lock->epoch;
        work->epoch_source = "from the lock";
        return 1;
    }
    if (work->profile->has_epoch) {
        work->epoch = work->profile->epoch;
        work->epoch_source = "from the profile";
        return 1;
    }
    if (text == NULL) {
        return 0;
    }
    errno = 0;
    seconds = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || seconds < 0) {
        return fail(err, FAIL_USAGE, "SOURCE_DATE_EPOCH is '%s', not a number of seconds", text);
    }
    work->epoch = seconds;
    work->epoch_source = "from SOURCE_DATE_EPOCH";
    return 1;
}

/* Else the newest time a layer brought. */
static void take_newest(struct work *work, int64_t newest)
{
    work->epoch = newest > 0 ? newest : 0;
    work->epoch_source = "the newest time in the layers";
}

static int choose_epoch(struct work *work, struct error *err)
{
    int found = work->steps != NULL ? 1 : find_epoch(work, err);

    if (found == 0) {
        take_newest(work, tree_newest(work->stack->tree));
    }
    return found < 0 ? -1 : 0;
}

/* Steps must know it before anything is read: their clock starts there. */
static int choose_epoch_early(struct work *work, struct error *err)
{
    int found = find_epoch(work, err);
    int64_t newest = -1;

    for (size_t i = 0; i < work->stack->layer_count && found >= 0; i++) {
        struct layer *layer = work->stack->layers[i];
        int64_t time = -1;

        if (!layer_is_step(layer) &&
            (learn_layer(work->store, layer, err) < 0 ||
             (found == 0 && learn_newest(work->store, layer, &time, err) < 0))) {
            return -1;
        }
        newest = time > newest ? time : newest;
    }
    if (found == 0) {
        take_newest(work, newest);
    }
    return found < 0 ? -1 : 0;
}

/* What was found, for a user who asked (-v). */
static void tell_layers(const struct work *work)
{
    char epoch[TEXT_TIME_MAX];

    for (size_t i = 0; i < work->stack->layer_count; i++) {
        uint8_t digest[HASH_SIZE];
        char hex[HASH_HEX_MAX];
        uint64_t size;

        layer_digest(work->stack->layers[i], digest, &size);
        ui_detail(work->ui, "layer '%s': %s, sha256 %s", layer_name(work->stack->layers[i]),
                  layer_format(work->stack->layers[i]), hash_hex(digest, hex));
    }
    ui_detail(work->ui, "epoch %s, %s", text_time(work->epoch, epoch), work->epoch_source);
    ui_detail(work->ui, "kernel %s, initramfs %s",
              work->boot->kernel != NULL ? work->boot->kernel : "none",
              work->boot->initrd != NULL ? work->boot->initrd : "none");
}

/* A build without a store takes longer, that is all. */
static void open_store(struct work *work)
{
    struct error problem = {0};

    if (work->store == NULL && store_open(&work->store, &problem) < 0) {
        ui_note(work->ui, "no cache: %s", problem.message);
    }
}

static int begin_disk(struct work *work, struct error *err)
{
    open_store(work);
    work->disk.store = work->store;
    work->disk.use_states = !work->options->no_cache;
    work->disk.verify_cache = work->options->verify;
    work->raw = bundle_file(work->bundle, "disk.raw");
    work->blocks = blocks_new(work->plan->size_bytes);
    work->disk.blocks = work->blocks;
    work->disk.path = work->raw;
    work->disk.temporary = bundle_temporary(work->bundle);
    work->disk.ui = work->ui;
    return disk_begin(&work->disk, &work->writing, err);
}

/* A new epoch changes every file's time: the lock's stays as long as nothing brings new ones. */
static void keep_epoch(struct work *work)
{
    SCOPED(lock_freep) struct lock *now = NULL;

    if (work->before == NULL || work->profile->has_epoch) {
        return;
    }
    now = make_lock(work, "");
    if (lock_same_archives(work->before, now)) {
        work->epoch = work->before->epoch;
    }
}

static bool is_complete(const struct work *work)
{
    return work->steps == NULL || steps_pending(work->steps) == work->stack->layer_count;
}

/* Opens the layers and gives steps their content; with LOOK none of them runs. */
static int open_layers(struct work *work, bool look, struct error *err)
{
    const struct build_options *options = work->options;
    SCOPED_FREE char *logs = work->bundle != NULL ? bundle_file(work->bundle, "logs") : NULL;

    if (stack_open(work->profile, &work->stack, err) < 0) {
        return -1;
    }
    if (!steps_needed(work->profile)) {
        return 0;
    }
    open_store(work);
    if (choose_epoch_early(work, err) < 0) {
        return -1;
    }
    keep_epoch(work);
    return steps_resolve(
        &(struct steps_options){.profile = work->profile,
                                .stack = work->stack,
                                .lock = work->lock,
                                .recall = work->lock != NULL ? work->lock : work->before,
                                .epoch = work->epoch,
                                .store = work->store,
                                .verify = options->verify,
                                .temporary =
                                    work->bundle != NULL ? bundle_temporary(work->bundle) : NULL,
                                .logs = work->keeps_logs ? logs : NULL,
                                .layers_from = options->layers_from,
                                .save_layers = look ? NULL : options->save_layers,
                                .refresh = options->refresh_steps && !look,
                                .look = look,
                                .shell = options->debug_shell,
                                .ui = work->ui},
        &work->steps, err);
}

/* Reads all layers; WRITES: the disk is begun before, for an engine that writes meanwhile. */
static int read_layers(struct work *work, bool writes, struct error *err)
{
    const struct stack_taker *taker = NULL;

    work->disk.profile = work->profile;
    work->disk.plan = work->plan;
    work->disk.stack = work->stack;
    if (writes && begin_disk(work, err) < 0) {
        return -1;
    }
    taker = writes ? disk_taker(work->writing) : NULL;
    ui_phase(work->ui, taker != NULL ? "writing layers" : "reading layers",
             stack_size(work->stack));
    if (stack_scan(work->stack, boot_keeps, taker, show_progress, work->ui, err) < 0 ||
        check_layers(work, err) < 0 || choose_epoch(work, err) < 0 ||
        boot_prepare(work->profile, work->plan, work->stack, &work->boot, err) < 0) {
        return -1;
    }
    tree_settle(work->stack->tree, work->epoch);
    ui_phase_end(work->ui);
    tell_layers(work);
    work->disk.boot = work->boot;
    work->disk.epoch = work->epoch;
    return disk_check(&work->disk, err);
}

/* --- disk, formats, bundle --------------------------------------------------------------- */

static int digest_disk(struct work *work, struct error *err)
{
    SCOPED_FREE char *index = bundle_file(work->bundle, "blocks.index");

    ui_phase(work->ui, "computing digests", work->plan->size_bytes);
    if (blocks_write(work->raw, work->blocks, index, show_bytes, work->ui, work->disk_digest, err) <
        0) {
        return -1;
    }
    ui_phase_end(work->ui);
    return stop_check(err);
}

static int write_formats(struct work *work, struct error *err)
{
    SCOPED(clusters_freep) struct clusters *clusters = NULL;
    SCOPED_FREE char *directory = bundle_file(work->bundle, ".");
    SCOPED_FREE char *files = export_list(work->profile);
    SCOPED_FREE char *phase = files != NULL ? xprintf("writing %s", files) : NULL;
    struct export_job job = {.profile = work->profile,
                             .disk_digest = work->disk_digest,
                             .epoch = work->epoch,
                             .directory = directory,
                             .progress = show_progress,
                             .data = work->ui};

    if (phase == NULL) {
        return 0;
    }
    if (clusters_find(work->raw, &clusters, err) < 0) {
        return -1;
    }
    job.clusters = clusters;
    ui_phase(work->ui, phase, clusters->data_count * CLUSTER);
    if (export_all(&job, err) < 0) {
        return -1;
    }
    ui_phase_end(work->ui);
    return stop_check(err);
}

/* Where the image is to go travels with it. */
static int write_targets(const struct work *work, struct error *err)
{
    const struct targets *targets = work->profile->targets;
    SCOPED_FREE char *path = bundle_file(work->bundle, TARGETS_NAME);

    return targets == NULL || targets->count == 0
               ? 0
               : file_write(path, targets->text, strlen(targets->text), err);
}

static int write_indexes(struct work *work, struct error *err)
{
    SCOPED_FREE char *files = bundle_file(work->bundle, "files.index");
    SCOPED_FREE char *dir = bundle_file(work->bundle, ".");
    SCOPED_FREE char *boot = boot_describe(work->boot);
    struct manifest manifest = {
        .profile = work->profile,
        .plan = work->plan,
        .layers = work->stack->layers,
        .layer_count = work->stack->layer_count,
        .epoch = work->epoch,
        .paths = tree_paths(work->stack->tree),
        .engine = engine_name(work->disk.engine),
        .engine_reason = work->engine_reason,
        .engine_detail = work->engine_detail,
        .boot = work->boot->bios || work->boot->uefi ? boot : NULL,
        .kernel = work->boot->kernel,
    };

    memcpy(manifest.disk_digest, work->disk_digest, HASH_SIZE);
    ui_phase(work->ui, "writing indexes", 0);
    if (files_write(work->stack->tree, files, err) < 0 || write_targets(work, err) < 0 ||
        manifest_write(&manifest, dir, err) < 0 || manifest_sums(dir, err) < 0) {
        return -1;
    }
    ui_phase_end(work->ui);
    return stop_check(err);
}

/* --- results ----------------------------------------------------------------------------- */

static char *default_output(const struct profile *profile)
{
    return xprintf("%s-%s", profile->name, profile->version);
}

static void report_build(const struct work *work, const char *output)
{
    char hex[HASH_HEX_MAX];

    hash_hex(work->disk_digest, hex);
    ui_print(work->ui, "%s\n", output);
    ui_json(work->ui,
            json_pack("{s:s, s:o, s:s, s:s}", "event", "built", "bundle", ui_string(output), "name",
                      work->profile->name, "disk_digest", hex));
}

static int check_terminal(const struct work *work, struct error *err)
{
    return work->options->debug_shell && !shell_possible()
               ? fail(err, FAIL_USAGE, "--debug-shell needs a terminal for stdin and stderr")
               : 0;
}

static int build(struct work *work, struct error *err)
{
    SCOPED_FREE char *output = NULL;

    if (check_terminal(work, err) < 0 || read_profile(work, err) < 0 || read_lock(work, err) < 0) {
        return -1;
    }
    output = work->options->output != NULL ? xstrdup(work->options->output)
                                           : default_output(work->profile);
    work->keeps_logs = true;
    if (bundle_begin(output, work->options->force, &work->bundle, err) < 0 ||
        open_layers(work, false, err) < 0 || read_layers(work, true, err) < 0 ||
        disk_end(work->writing, &work->engine_detail, err) < 0 || digest_disk(work, err) < 0 ||
        write_formats(work, err) < 0 || write_indexes(work, err) < 0 ||
        bundle_commit(work->bundle, work->options->sync, err) < 0) {
        return -1;
    }
    report_build(work, output);
    return 0;
}

int pipeline_build(const struct build_options *options, struct ui *ui, struct error *err)
{
    struct work work = {.options = options, .ui = ui};
    int result = build(&work, err);

    if (result < 0 && err->os == ENOSPC) {
        (void)fail_hint(err, "free some space, or name another place with -o");
    }
    work_done(&work);
    return result;
}

/* --- plan -------------------------------------------------------------------------------- */

static void print_partitions(const struct work *work)
{
    char size[TEXT_SIZE_MAX], start[TEXT_SIZE_MAX], uuid[UUID_TEXT_MAX];

    ui_print(work->ui, "disk          %s, %s\n", text_size(work->plan->size_bytes, size),
             uuid_text(&work->plan->disk_uuid, uuid));
    for (size_t i = 0; i < work->plan->partition_count; i++) {
        const struct plan_partition *part = &work->plan->partitions[i];
        const char *fs = filesystem_name(part->spec->filesystem);

        ui_print(work->ui, "partition %-3u %-10s %-10s %-6s at %-9s %-9s %-12s %s\n", part->number,
                 part->spec->name, partition_type_name(part->spec->type), fs,
                 text_size(part->offset_bytes, start), text_size(part->size_bytes, size),
                 part->spec->mount != NULL ? part->spec->mount : "-",
                 part->fs_id[0] != '\0' ? part->fs_id : uuid_text(&part->uuid, uuid));
    }
}

static void print_layers(const struct work *work)
{
    for (size_t i = 0; i < work->stack->layer_count; i++) {
        const struct layer *layer = work->stack->layers[i];
        uint8_t digest[HASH_SIZE];
        char hex[HASH_HEX_MAX], text[TEXT_SIZE_MAX];
        uint64_t size;

        if (!layer_is_known(layer)) {
            ui_print(work->ui, "layer %-7zu %-10s %-10s %s: has to run\n", i + 1,
                     layer_format(layer), "-", layer_label(layer));
            continue;
        }
        layer_digest(layer, digest, &size);
        ui_print(work->ui, "layer %-7zu %-10s %-10s %s sha256:%s\n", i + 1, layer_format(layer),
                 text_size(size, text), layer_label(layer), hash_hex(digest, hex));
    }
}

struct totals {
    uint64_t bytes;
};

static int add_bytes(void *data, struct node *node, struct error *err)
{
    struct totals *totals = data;

    (void)err;
    totals->bytes += node->inode->first == node ? node->inode->data_bytes : 0;
    return 0;
}

/* CONTENT: null where that depends on a step that has to run. */
static json_t *plan_json(const struct work *work, json_t *content, const char *boot)
{
    char epoch[TEXT_TIME_MAX];
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:b, s:s, s:s, s:o, s:o, s:s?}", "event", "plan",
                  "name", work->profile->name, "version", work->profile->version, "architecture",
                  architecture_name(work->profile->architecture), "seed",
                  ui_string(work->profile->seed), "epoch", text_time(work->epoch, epoch), "locked",
                  work->lock != NULL, "engine", engine_name(work->disk.engine), "engine_reason",
                  work->engine_reason, "disk", manifest_plan(work->plan), "layers",
                  manifest_layers(work->stack->layers, work->stack->layer_count), "boot", boot);

    json_object_update(object, content);
    json_decref(content);
    return object;
}

static void print_head(const struct work *work)
{
    char epoch[TEXT_TIME_MAX];

    ui_print(work->ui, "image         %s %s, %s\n", work->profile->name, work->profile->version,
             architecture_name(work->profile->architecture));
    ui_print(work->ui, "seed          %s\n", work->profile->seed);
    ui_print(work->ui, "epoch         %s\n", text_time(work->epoch, epoch));
    ui_print(work->ui, "lock          %s\n", work->lock != NULL ? "holds" : "none");
    ui_print(work->ui, "engine        %s (%s)\n", engine_name(work->disk.engine),
             work->engine_reason);
    print_partitions(work);
    print_layers(work);
}

static int print_plan(const struct work *work, struct error *err)
{
    SCOPED_FREE char *boot = boot_describe(work->boot);
    struct totals totals = {0};
    char size[TEXT_SIZE_MAX];

    if (tree_walk(work->stack->tree, add_bytes, &totals, err) < 0) {
        return -1;
    }
    print_head(work);
    ui_print(work->ui, "content       %zu paths, %s\n", tree_paths(work->stack->tree),
             text_size(totals.bytes, size));
    ui_print(work->ui, "boot          %s%s%s\n", boot, work->boot->kernel != NULL ? ", /" : "",
             work->boot->kernel != NULL ? work->boot->kernel : "");
    ui_json(work->ui,
            plan_json(work,
                      json_pack("{s:I, s:I}", "paths", (json_int_t)tree_paths(work->stack->tree),
                                "bytes", (json_int_t)totals.bytes),
                      boot));
    return 0;
}

/* A step has to run first; what it changes is not known before. */
static void print_beginning(const struct work *work)
{
    print_head(work);
    ui_print(work->ui, "content       known when step '%s' has run\n",
             work->profile->layers[steps_pending(work->steps)].name);
    ui_json(work->ui, plan_json(work, json_pack("{s:n, s:n}", "paths", "bytes"), NULL));
}

static int plan(struct work *work, struct error *err)
{
    if (read_profile(work, err) < 0 || read_lock(work, err) < 0 ||
        open_layers(work, true, err) < 0) {
        return -1;
    }
    if (!is_complete(work)) {
        print_beginning(work);
        return 0;
    }
    return read_layers(work, false, err) < 0 ? -1 : print_plan(work, err);
}

int pipeline_plan(const struct build_options *options, struct ui *ui, struct error *err)
{
    struct work work = {.options = options, .ui = ui};
    int result = plan(&work, err);

    work_done(&work);
    return result;
}

/* --- lock, the command ------------------------------------------------------------------- */

/* A place for the disks of steps, beside the lock; it goes with the bundle that it never becomes.
 */
static int begin_workspace(struct work *work, const char *lock, struct error *err)
{
    SCOPED_FREE char *path = xprintf("%s.work", lock);

    return steps_needed(work->profile) ? bundle_begin(path, false, &work->bundle, err) : 0;
}

static int scan_layers(struct work *work, struct error *err)
{
    ui_phase(work->ui, "reading layers", stack_size(work->stack));
    if (stack_scan(work->stack, NULL, NULL, show_progress, work->ui, err) < 0 ||
        choose_epoch(work, err) < 0) {
        return -1;
    }
    ui_phase_end(work->ui);
    return 0;
}

static int lock_layers(struct work *work, bool check, struct error *err)
{
    SCOPED(lock_freep) struct lock *now = NULL;
    SCOPED_FREE char *path = lock_path(work->options->profile);

    if (read_profile(work, err) < 0 || lock_load(path, &work->before, err) < 0 ||
        (!check && begin_workspace(work, path, err) < 0) || open_layers(work, check, err) < 0 ||
        (is_complete(work) && scan_layers(work, err) < 0)) {
        return -1;
    }
    if (work->steps == NULL) {
        keep_epoch(work);
    }
    now = make_lock(work, path);
    return lock_update(work->before, now, check, work->ui, err);
}

int pipeline_lock(const struct build_options *options, bool check, struct ui *ui, struct error *err)
{
    struct work work = {.options = options, .ui = ui};
    int result = check_terminal(&work, err) < 0 ? -1 : lock_layers(&work, check, err);

    work_done(&work);
    return result;
}
