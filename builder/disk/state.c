/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/state.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/copy.h"
#include "base/file.h"
#include "base/pack.h"
#include "base/stop.h"
#include "base/text.h"
#include "layer/learn.h"
#include "store/store.h"

#define STATE_FORMAT "kiln state 1"
#define DISK_NAME "disk"
#define TREE_NAME "tree"

enum { TREE_LIMIT = INT32_MAX, LARGE = 64 << 20 /* bytes */ };

struct state {
    const struct disk *disk;
    const struct engine_ops *ops;
    size_t restored; /* layers of the state that the build began with */
    uint8_t restored_key[HASH_SIZE];
    struct store_found *found;          /* from state_find to state_copy */
    size_t last_archive, below_archive; /* layers up to there; see choose_marks */
};

/* --- keys -------------------------------------------------------------------------------- */

static void pack_text(struct buf *out, const char *text)
{
    pack_bytes(out, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

static void pack_partition(struct buf *out, const struct plan_partition *part)
{
    pack_text(out, filesystem_name(part->spec->filesystem));
    pack_text(out, partition_type_name(part->spec->type));
    pack_text(out, part->spec->name);
    pack_text(out, part->spec->mount);
    pack_u64(out, part->offset_bytes);
    pack_u64(out, part->size_bytes);
    pack_bytes(out, part->uuid.bytes, sizeof(part->uuid.bytes));
    pack_bytes(out, part->fs_uuid.bytes, sizeof(part->fs_uuid.bytes));
    pack_bytes(out, part->hash_seed.bytes, sizeof(part->hash_seed.bytes));
    pack_text(out, part->fs_label);
}

/* Everything that shapes the state after the first COUNT layers, whose digests are known. */
static void make_key(const struct state *state, size_t count, uint8_t ret[HASH_SIZE])
{
    const struct disk *disk = state->disk;
    SCOPED(buf_done) struct buf text = {0};
    const char *version = NULL, *date = NULL;

    (void)ext2fs_get_library_version(&version, &date);
    pack_text(&text, STATE_FORMAT);
    pack_text(&text, KILN_VERSION " " KILN_CODE); /* what the engine writes, what it keeps */
    pack_text(&text, version);
    pack_text(&text, layer_library());
    pack_u64(&text, disk->plan->size_bytes);
    pack_bytes(&text, disk->plan->disk_uuid.bytes, sizeof(disk->plan->disk_uuid.bytes));
    pack_u32(&text, disk->profile->inodes);
    pack_u32(&text, (uint32_t)disk->plan->partition_count);
    for (size_t i = 0; i < disk->plan->partition_count; i++) {
        pack_partition(&text, &disk->plan->partitions[i]);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t digest[HASH_SIZE];
        uint64_t size;

        layer_digest(disk->stack->layers[i], digest, &size);
        pack_text(&text, layer_format(disk->stack->layers[i]));
        pack_bytes(&text, digest, sizeof(digest));
        pack_u64(&text, size);
    }
    hash_bytes(text.data, text.size, ret);
}

/* --- which states ------------------------------------------------------------------------ */

/*
 * Configuration on top changes often and is read in no time; archives are what costs. So a state is
 * kept after the last archive, for a change above it, and one below that archive, for a change of
 * itself; where it is the only one, before the last layer if what lies between is large.
 */
static void choose_marks(struct state *state)
{
    const struct stack *stack = state->disk->stack;
    size_t last = 0, before = 0;

    for (size_t i = 0; i < stack->layer_count; i++) {
        if (!layer_untimed(stack->layers[i])) {
            before = last;
            last = i + 1;
        }
    }
    state->last_archive = last != 0 ? last : 1;
    state->below_archive = before != 0 ? last - 1 : 0;
}

/* Whether a state after COUNT layers, which are read, is worth its space. */
static bool is_worth(const struct state *state, size_t count)
{
    const struct stack *stack = state->disk->stack;
    uint8_t digest[HASH_SIZE];
    uint64_t sum = 0, size;

    if (count == state->last_archive || count == state->below_archive) {
        return true;
    }
    for (size_t i = state->last_archive; i < count; i++) {
        layer_digest(stack->layers[i], digest, &size);
        sum += size;
    }
    return state->below_archive == 0 && count + 1 == stack->layer_count && sum >= LARGE;
}

struct state *state_new(const struct disk *disk, const struct engine_ops *ops)
{
    struct state *state = xcalloc(1, sizeof(*state));

    state->disk = disk;
    state->ops = ops;
    choose_marks(state);
    return state;
}

void state_free(struct state *state)
{
    if (state != NULL) {
        store_release(state->found);
        free(state);
    }
}

/* --- starting from one ------------------------------------------------------------------- */

/* Of the archive at PATH: 1, or 0 when it cannot be had, of which the build will say more. */
static int read_now(const struct state *state, const char *path, uint8_t ret[HASH_SIZE],
                    uint64_t *ret_size, struct error *err)
{
    struct error problem = {0};

    return learn_now(state->disk->store, path, ret, ret_size, &problem) < 0 ? stop_check(err) : 1;
}

/* The digest of a layer without unpacking an archive: 1, or 0 when only that would tell. */
static int learn(const struct state *state, struct layer *layer, struct error *err)
{
    const char *path = layer_archive(layer);
    struct error mismatch = {0};
    uint8_t digest[HASH_SIZE];
    uint64_t size = 0;
    int known;

    if (path == NULL) {
        return layer_learn(layer, err);
    }
    known = state->disk->verify_cache ? read_now(state, path, digest, &size, err)
                                      : learn_before(state->disk->store, path, digest, &size);
    /* Other than what the profile pins: the build will read it and say so. */
    return known <= 0 ? known : layer_assume(layer, digest, size, &mismatch) == 0;
}

/*
 * From the layer after the first COUNT on, archives are read, and then they are what they are: that
 * what is remembered of them may be wrong is not to fail a build that does not use it.
 */
static void doubt_others(const struct state *state, size_t count)
{
    const struct stack *stack = state->disk->stack;

    for (size_t i = count; i < stack->layer_count; i++) {
        layer_doubt(stack->layers[i]);
    }
}

/* How many layers from the bottom have known digests. */
static int learn_all(const struct state *state, size_t *ret, struct error *err)
{
    const struct stack *stack = state->disk->stack;
    int known = 1;

    *ret = 0;
    for (size_t i = 0; i < stack->layer_count && known > 0; i++) {
        known = learn(state, stack->layers[i], err);
        *ret += known > 0;
    }
    return known < 0 ? -1 : 0;
}

int state_copy(struct state *state, struct error *err)
{
    const struct disk *disk = state->disk;
    SCOPED(store_releasep) struct store_found *found = TAKE(state->found);
    SCOPED(blocks_freep) struct blocks *blocks = store_found_blocks(found, DISK_NAME);
    SCOPED_FD int to = open(disk->path, O_RDWR | O_CLOEXEC);
    uint64_t size = 0;
    int from = store_found_file(found, DISK_NAME, &size);

    if (from < 0 || blocks == NULL || size != disk->plan->size_bytes) {
        return fail(err, FAIL_ERROR, "the cached state is damaged: no disk of this size");
    }
    if (to < 0) {
        return fail_os(err, "open '%s'", disk->path);
    }
    if (copy_sparse(from, to, size, disk->path, err) < 0) {
        return -1;
    }
    for (uint64_t i = 0; i < blocks_count(blocks); i++) {
        blocks_set(disk->blocks, i, blocks_digest(blocks, i));
    }
    return 0;
}

/* The stack's part is taken at once, the engine's is left for when there is an engine. */
static int load_tree(const struct state *state, const struct store_found *found, struct buf *engine,
                     struct error *err)
{
    SCOPED(buf_done) struct buf data = {0};
    struct unpack in;
    const void *part;
    uint64_t size = 0;
    size_t part_size;
    int fd = store_found_file(found, TREE_NAME, &size);

    if (fd < 0 || size > TREE_LIMIT) {
        return fail(err, FAIL_ERROR, "the cached state is damaged: no tree");
    }
    if (file_pread(fd, buf_reserve(&data, size), size, 0, TREE_NAME, err) < 0) {
        return -1;
    }
    in = (struct unpack){(const uint8_t *)data.data, (const uint8_t *)data.data + size, false};
    if (!unpack_bytes(&in, &part, &part_size)) {
        return fail(err, FAIL_ERROR, "the cached state is damaged: no engine's part");
    }
    buf_add(engine, part, part_size);
    return stack_load(state->disk->stack, &in, err) < 0 ? -1 : 0;
}

/* The state after COUNT layers: 1, and the stack has its part. */
static int restore(struct state *state, size_t count, struct buf *engine, struct error *err)
{
    int result;

    make_key(state, count, state->restored_key);
    result = store_find(state->disk->store, STORE_STATES, state->restored_key,
                        state->disk->verify_cache, &state->found, err);
    if (result <= 0) {
        return result;
    }
    state->restored = count;
    return load_tree(state, state->found, engine, err) < 0 ? -1 : 1;
}

int state_find(struct state *state, struct buf *ret_engine, struct error *err)
{
    size_t known;
    int result = 0;

    if (learn_all(state, &known, err) < 0) {
        return -1;
    }
    for (size_t count = known; count > 0 && result == 0; count--) {
        result = restore(state, count, ret_engine, err);
    }
    doubt_others(state, state->restored);
    if (result < 0) {
        return state_reject(state, err);
    }
    if (result > 0) {
        ui_detail(state->disk->ui, "%zu of %zu layers are from the cache", state->restored,
                  state->disk->stack->layer_count);
    }
    return result;
}

/* Without a state the build takes longer, that is all: the failure is not the user's to know of. */
int state_reject(struct state *state, struct error *err)
{
    bool full = err->os == ENOSPC || err->os == EDQUOT || err->os == EFBIG;

    if (stop_check(err) < 0 || err->kind == FAIL_STOPPED) {
        return -1;
    }
    ui_detail(state->disk->ui, "the cache is of no use: %s", err->message);
    fail_clear(err);
    store_release(TAKE(state->found));
    if (state->restored != 0 && !full) {
        store_drop(state->disk->store, STORE_STATES, state->restored_key);
    }
    state->restored = 0;
    doubt_others(state, 0);
    stack_reset(state->disk->stack);
    blocks_forget(state->disk->blocks, 0, state->disk->plan->size_bytes);
    return file_remove_tree(state->disk->path, err);
}

/* --- leaving one ------------------------------------------------------------------------- */

static int save_tree(const struct state *state, const struct engine *engine, const char *path,
                     struct error *err)
{
    SCOPED(buf_done) struct buf part = {0}, data = {0};

    state->ops->save(engine, &part);
    pack_bytes(&data, part.data, part.size);
    stack_save(state->disk->stack, &data);
    return data.size > TREE_LIMIT ? fail(err, FAIL_ERROR, "a tree that large is not kept")
                                  : file_write(path, data.data, data.size, err);
}

static int save_disk(const struct state *state, const char *path, struct error *err)
{
    const struct disk *disk = state->disk;
    SCOPED_FD int from = open(disk->path, O_RDONLY | O_CLOEXEC);
    SCOPED_FD int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (from < 0 || to < 0) {
        return fail_os(err, "copy '%s' to '%s'", disk->path, path);
    }
    if (copy_sparse(from, to, disk->plan->size_bytes, path, err) < 0) {
        return -1;
    }
    return close(TAKE_FD(to)) < 0 ? fail_os(err, "write '%s'", path) : 0;
}

/*
 * The rest of the build may be in the same place and must not fail for the room that a state takes.
 * COUNT layers are on the disk; of the others it is known how large their archives are, which
 * unpack to some four times that, and formats take at most what the disk does.
 */
static int check_room(const struct state *state, size_t count, struct error *err)
{
    const struct stack *stack = state->disk->stack;
    const char *store = store_path(state->disk->store);
    char takes[TEXT_SIZE_MAX], is[TEXT_SIZE_MAX];
    uint64_t size, there, rest = 0;
    struct statvfs fs;
    struct stat st;

    if (stat(state->disk->path, &st) < 0 || statvfs(store, &fs) < 0) {
        return fail_os(err, "find the free space of '%s'", store);
    }
    for (size_t i = count; i < stack->layer_count; i++) {
        rest += layer_size_hint(stack->layers[i]);
    }
    size = (uint64_t)st.st_blocks * 512;
    there = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 2 * size + 4 * rest <= there
               ? 0
               : fail(err, FAIL_ERROR, "it would take %s of the %s that are free in '%s'",
                      text_size(size, takes), text_size(there, is), store);
}

static int save(const struct state *state, const struct engine *engine, size_t count,
                struct error *err)
{
    const struct disk *disk = state->disk;
    SCOPED_FREE char *group = realpath(disk->profile->path, NULL);
    SCOPED(store_entry_freep) struct store_entry *entry = NULL;
    SCOPED_FREE char *disk_path = NULL, *tree_path = NULL;
    const struct store_file files[] = {{DISK_NAME, disk->blocks}, {TREE_NAME, NULL}};
    uint8_t key[HASH_SIZE];

    make_key(state, count, key);
    if (check_room(state, count, err) < 0 ||
        store_begin(disk->store, STORE_STATES, key, group != NULL ? group : disk->profile->name,
                    &entry, err) < 0) {
        return -1;
    }
    disk_path = file_join(store_entry_path(entry), DISK_NAME);
    tree_path = file_join(store_entry_path(entry), TREE_NAME);
    return save_disk(state, disk_path, err) < 0 || save_tree(state, engine, tree_path, err) < 0
               ? -1
               : store_commit(entry, files, COUNT(files), err);
}

/* An archive that was read is known the next time, as long as nothing touches it. */
static void remember(const struct state *state, const struct layer *layer)
{
    const char *path = layer_archive(layer);
    struct error ignored = {0};
    uint8_t digest[HASH_SIZE];
    int64_t began_s;
    uint64_t size;
    struct stat st;

    if (path != NULL && layer_identity(layer, &st, &began_s)) {
        SCOPED_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        layer_digest(layer, digest, &size);
        if (fd >= 0) {
            (void)store_digest_put(state->disk->store, fd, &st, began_s, digest, &ignored);
        }
    }
}

int state_layer(struct state *state, const struct engine *engine, size_t index, struct error *err)
{
    size_t count = index + 1;
    struct error problem = {0};

    remember(state, state->disk->stack->layers[index]);
    if (!is_worth(state, count)) {
        return 0;
    }
    if (save(state, engine, count, &problem) < 0) {
        if (stop_check(err) < 0) {
            return -1;
        }
        ui_note(state->disk->ui, "the cache does not keep this build's layers: %s",
                problem.message);
    }
    return 0;
}
