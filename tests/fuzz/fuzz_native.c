/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as engine native's part of a state, on a tree that does not change: either they are
 * refused, or they save as these very bytes, no two inodes share a number or a block, and the image
 * can be finished.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "disk/native.h"

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: does not hold: %s\n", __LINE__, #condition);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const char PROFILE[] =
    "name: t\narchitecture: x86_64\nlayers: [{files: {/x: {content: x}}}]\n"
    "disk: {size: 1GiB, firmware: [], partitions: [\n"
    "{name: esp, type: esp, filesystem: vfat, size: 64MiB, mount: /boot/efi},\n"
    "{name: srv, type: data, filesystem: ext4, size: 16MiB, mount: /srv},\n"
    "{name: root, type: root, filesystem: ext4, size: 64MiB, mount: /}]}\n";

static const char REFUSAL[] = "the cached state is damaged: ";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is made for each input. */
struct bench {
    struct profile *profile;
    struct plan *plan;
    struct stack stack;
    struct disk disk;
    struct engine *engine;
    int fd; /* in memory, nameless */
    char path[32];
    struct error err;
};

static void add(struct bench *bench, const char *path, enum entry_type type, uint64_t size,
                const struct xattr *xattr)
{
    struct entry entry = {.path = path,
                          .type = type,
                          .mode = 0755,
                          .size = size,
                          .target = type == ENTRY_HARDLINK  ? "a"
                                    : type == ENTRY_SYMLINK ? path
                                                            : NULL,
                          .xattrs = xattr,
                          .xattr_count = xattr != NULL};
    struct inode *inode = NULL;

    HOLDS(tree_apply(bench->stack.tree, &entry, 0, &inode, &bench->err) == 0);
    if (inode != NULL && size != 0) {
        inode->data_bytes = size;
        /* Content: what is not written yet comes from memory. */
        inode->content = xcalloc(1, size + 1);
    }
}

static void make_tree(struct bench *bench)
{
    static char value[500];
    static const struct xattr large = {"user.large", value, sizeof(value)};
    static const struct xattr small = {"user.small", value, 3};
    char target[100];

    memset(target, 't', sizeof(target) - 1);
    target[sizeof(target) - 1] = '\0';
    tree_begin(bench->stack.tree, 0, 0, "fuzz", RULES_MERGE, false);
    add(bench, "a", ENTRY_FILE, 10000, NULL);
    add(bench, "b", ENTRY_FILE, 0, &small);
    add(bench, "h", ENTRY_HARDLINK, 0, NULL);
    add(bench, "srv/c", ENTRY_FILE, 4096, &large);
    add(bench, "srv/d/e", ENTRY_FIFO, 0, NULL);
    add(bench, "boot/efi/f", ENTRY_FILE, 1, NULL);
    add(bench, target, ENTRY_SYMLINK, 0, NULL);
    for (int i = 0; i < 20; i++) {
        SCOPED_FREE char *path = xprintf("many/%s%d", target + 20, i);

        add(bench, path, ENTRY_FILE, i % 5 == 0 ? 5000 : 0, NULL);
    }
}

static void bench_new(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    HOLDS(profile_parse("t.yaml", PROFILE, strlen(PROFILE), &bench->profile, &bench->err) == 0);
    HOLDS(plan_make(bench->profile, &bench->plan, &bench->err) == 0);
    bench->fd = memfd_create("fuzz", MFD_CLOEXEC);
    HOLDS(bench->fd >= 0 && ftruncate(bench->fd, (off_t)bench->plan->size_bytes) == 0);
    (void)snprintf(bench->path, sizeof(bench->path), "/proc/self/fd/%d", bench->fd);
    bench->stack.tree = tree_new(NULL);
    make_tree(bench);
    bench->disk = (struct disk){.profile = bench->profile,
                                .plan = bench->plan,
                                .stack = &bench->stack,
                                .epoch = 1,
                                .blocks = blocks_new(bench->plan->size_bytes),
                                .path = bench->path};
    HOLDS(engine_native.begin(&bench->disk, &bench->engine, &bench->err) == 0);
}

static void bench_done(struct bench *bench)
{
    engine_native.free(bench->engine);
    tree_free(bench->stack.tree);
    blocks_free(bench->disk.blocks);
    plan_free(bench->plan);
    profile_free(bench->profile);
    (void)close(bench->fd);
}

/* --- what has been loaded ------------------------------------------------------------------ */

struct owner {
    const struct volume *volume;
    struct run run;
};

static int by_place(const void *a, const void *b)
{
    const struct owner *x = a, *y = b;

    if (x->volume != y->volume) {
        return x->volume < y->volume ? -1 : 1;
    }
    return x->run.block < y->run.block ? -1 : x->run.block > y->run.block;
}

struct owners {
    struct owner *items;
    size_t count, space;
};

static void own(struct owners *owners, const struct volume *volume, uint64_t block, uint64_t count)
{
    grow(&owners->items, owners->count, &owners->space, sizeof(*owners->items));
    owners->items[owners->count++] = (struct owner){volume, {block, count}};
}

/* No block twice, none that is free; no number twice. */
static void check_records(const struct engine *engine)
{
    struct owners blocks = {0}, numbers = {0};

    for (uint32_t id = 1; id <= engine->last_id; id++) {
        const struct record *record = &engine->records[id];

        if (record->volume == NULL) {
            continue;
        }
        own(&numbers, record->volume, record->number, 1);
        for (uint32_t i = 0; i < record->piece_count; i++) {
            own(&blocks, record->volume, record->pieces[i].block, record->pieces[i].count);
        }
        for (uint32_t i = 0; i < record->tree_count; i++) {
            own(&blocks, record->volume, record->tree[i], 1);
        }
        if (record->attributes != 0) {
            own(&blocks, record->volume, record->attributes, 1);
        }
    }
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        size_t count = 0;
        const struct run *runs = engine->volumes[i] != NULL
                                     ? space_runs(volume_space(engine->volumes[i]), &count)
                                     : NULL;

        for (size_t n = 0; n < count; n++) {
            own(&blocks, engine->volumes[i], runs[n].block, runs[n].count);
        }
    }
    for (struct owners *owners = &blocks; owners != NULL;
         owners = owners == &blocks ? &numbers : NULL) {
        qsort(owners->items, owners->count, sizeof(*owners->items), by_place);
        for (size_t i = 1; i < owners->count; i++) {
            const struct owner *last = &owners->items[i - 1], *here = &owners->items[i];

            HOLDS(last->volume != here->volume ||
                  last->run.block + last->run.count <= here->run.block);
        }
        free(owners->items);
    }
}

static void go_on(struct bench *bench)
{
    SCOPED(buf_done) struct buf again = {0};
    struct core core = {0}; /* stays empty: nothing is to boot */

    tree_begin(bench->stack.tree, 1, 1, "fuzz", RULES_OCI, false);
    add(bench, ".wh.a", ENTRY_FILE, 0, NULL);
    add(bench, "many/.wh..wh..opq", ENTRY_FILE, 0, NULL);
    add(bench, "srv/d/new", ENTRY_FILE, 9000, NULL);
    HOLDS(engine_native.layer_end(bench->engine, &bench->err) == 0);
    check_records(bench->engine);
    engine_native.save(bench->engine, &again);
    tree_settle(bench->stack.tree, 1);
    HOLDS(engine_native.finish(bench->engine, &core, &bench->err) == 0);
}

static int place(void *data, struct node *node, struct error *err)
{
    (void)err;
    native_change(data, node->inode);
    return 0;
}

/* The state of an image that nobody tampered with. */
static void make_state(struct buf *out)
{
    struct bench bench;

    bench_new(&bench);
    HOLDS(tree_walk(bench.stack.tree, place, bench.engine, &bench.err) == 0);
    HOLDS(engine_native.layer_end(bench.engine, &bench.err) == 0);
    engine_native.save(bench.engine, out);
    bench_done(&bench);
}

/* True when it was loaded. */
static bool load(const uint8_t *data, size_t size)
{
    SCOPED(buf_done) struct buf saved = {0};
    struct unpack in = {.at = data, .end = data + size};
    struct bench bench;
    bool good;

    bench_new(&bench);
    good = engine_native.load(bench.engine, &in, &bench.err) == 0;
    if (good) {
        engine_native.save(bench.engine, &saved);
        HOLDS(saved.size == size && memcmp(saved.data, data, size) == 0);
        check_records(bench.engine);
        go_on(&bench);
    } else {
        HOLDS(text_starts(bench.err.message, REFUSAL));
    }
    bench_done(&bench);
    return good;
}

/* No bytes at all stand for a good state. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(buf_done) struct buf state = {0};

    if (size != 0) {
        (void)load(data, size);
        return 0;
    }
    make_state(&state);
    HOLDS(load((const uint8_t *)state.data, state.size));
    return 0;
}
