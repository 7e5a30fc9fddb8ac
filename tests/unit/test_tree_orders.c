/* SPDX-License-Identifier: Apache-2.0 */
/* The fold at random, in any order, and at scale. */
#undef NDEBUG
#include <assert.h>
#include <time.h>

#include "tree_script.h"

/* --- any order, against the definition --------------------------------------------------- */

/*
 * The model knows paths only, no tree: what is visible of the parts below, less what this part's
 * whiteouts and entries hide, and the part's own entries over it.
 */
#define MODEL_MAX 256

struct record {
    char path[48];
    enum entry_type type;
    bool implied;
    unsigned part;
    unsigned inode; /* uid of the entry that brought it; 0 for an implied directory */
};

struct model {
    struct record records[MODEL_MAX];
    size_t count;
};

struct item {
    char
        path[48]; /* of the entry; of a whiteout what it removes; of an opaque mark its directory */
    enum { ITEM_ENTRY, ITEM_WHITEOUT, ITEM_OPAQUE } kind;
    enum entry_type type;
    unsigned id;
    int target; /* hard links: which item, or -1 for a lower path */
    char target_path[48];
    bool done;
};

struct random_part {
    struct item items[16];
    size_t count;
};

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static unsigned below(uint64_t *seed, unsigned limit)
{
    return (unsigned)(next_random(seed) >> 33) % limit;
}

static bool lies_below(const char *path, const char *top)
{
    size_t length = strlen(top);

    return length == 0 || (strncmp(path, top, length) == 0 && path[length] == '/');
}

static struct record *model_find(struct model *model, const char *path)
{
    for (size_t i = 0; i < model->count; i++) {
        if (strcmp(model->records[i].path, path) == 0) {
            return &model->records[i];
        }
    }
    return NULL;
}

static bool item_hides(const struct item *item, const struct record *lower)
{
    bool under = lies_below(lower->path, item->path), same = strcmp(lower->path, item->path) == 0;

    if (item->kind == ITEM_WHITEOUT) {
        return same || under;
    }
    if (item->kind == ITEM_OPAQUE) {
        return under;
    }
    if (item->type == ENTRY_DIRECTORY) {
        return (same || lies_below(item->path, lower->path)) && lower->type != ENTRY_DIRECTORY;
    }
    return same || under || (lies_below(item->path, lower->path) && lower->type != ENTRY_DIRECTORY);
}

static void model_set(struct model *model, const char *path, enum entry_type type, bool implied,
                      unsigned part, unsigned inode)
{
    struct record *record = model_find(model, path);

    if (record == NULL) {
        assert(model->count < MODEL_MAX);
        record = &model->records[model->count++];
    }
    (void)snprintf(record->path, sizeof(record->path), "%s", path);
    record->type = type;
    record->implied = implied;
    record->part = part;
    record->inode = inode;
}

static void model_parents(struct model *model, const char *path, unsigned part)
{
    char parent[48];

    for (size_t i = 0; path[i] != '\0'; i++) {
        if (path[i] == '/') {
            (void)snprintf(parent, sizeof(parent), "%.*s", (int)i, path);
            if (model_find(model, parent) == NULL) {
                model_set(model, parent, ENTRY_DIRECTORY, true, part, 0);
            }
        }
    }
}

static void model_apply(struct model *model, const struct random_part *random, unsigned part)
{
    struct model lower = *model;
    const struct record *target;

    model->count = 0;
    for (size_t i = 0; i < lower.count; i++) {
        bool hidden = false;

        for (size_t k = 0; k < random->count; k++) {
            hidden = hidden || item_hides(&random->items[k], &lower.records[i]);
        }
        if (!hidden) {
            model->records[model->count++] = lower.records[i];
        }
    }
    for (size_t k = 0; k < random->count; k++) {
        const struct item *item = &random->items[k];

        if (item->kind != ITEM_ENTRY) {
            continue;
        }
        if (item->type == ENTRY_HARDLINK) { /* its target is an item before it or a lower path */
            target = model_find(model, item->target_path);
            assert(target != NULL);
            model_set(model, item->path, target->type, false, part, target->inode);
        } else {
            model_set(model, item->path, item->type, false, part, item->id);
        }
    }
    for (size_t k = 0; k < random->count; k++) {
        if (random->items[k].kind == ITEM_ENTRY) {
            model_parents(model, random->items[k].path, part);
        }
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct record *)a)->path, ((const struct record *)b)->path);
}

static void model_tell(struct model *model, struct buf *out)
{
    qsort(model->records, model->count, sizeof(model->records[0]), by_path);
    for (size_t i = 0; i < model->count; i++) {
        const struct record *record = &model->records[i];

        buf_printf(out, "%s type %d implied %d part %u inode %u\n", record->path, record->type,
                   record->implied, record->part, record->inode);
    }
}

static int collect_record(void *data, struct node *node, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    (void)err;
    if (node->parent != NULL) {
        node_path(node, &path);
        model_set(data, path.data, node->inode->type, node->implied, node->part, node->inode->uid);
    }
    return 0;
}

/* A path of one to three of three names, so that things meet. */
static void random_path(uint64_t *seed, char out[48])
{
    unsigned depth = 1 + below(seed, 3);

    out[0] = '\0';
    for (unsigned i = 0; i < depth; i++) {
        (void)snprintf(out + strlen(out), 4, "%s%c", i != 0 ? "/" : "", 'a' + (char)below(seed, 3));
    }
}

/* True when ITEM may stand beside what PART has: no path twice, no way through its own file. */
static bool fits(const struct random_part *part, const struct item *item)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct item *other = &part->items[i];
        bool both = item->kind == ITEM_ENTRY && other->kind == ITEM_ENTRY;

        if (both && strcmp(item->path, other->path) == 0) {
            return false;
        }
        if (other->kind == ITEM_ENTRY && other->type != ENTRY_DIRECTORY &&
            (lies_below(item->path, other->path) ||
             (item->kind == ITEM_OPAQUE && strcmp(item->path, other->path) == 0))) {
            return false;
        }
        if (item->kind == ITEM_ENTRY && item->type != ENTRY_DIRECTORY &&
            (lies_below(other->path, item->path) ||
             (other->kind == ITEM_OPAQUE && strcmp(item->path, other->path) == 0))) {
            return false;
        }
    }
    return true;
}

static struct item random_item(uint64_t *seed, unsigned id, bool symlinks)
{
    static const enum entry_type types[] = {ENTRY_FILE, ENTRY_DIRECTORY, ENTRY_FIFO, ENTRY_SYMLINK};
    struct item item = {.id = id, .target = -1};
    unsigned kind = below(seed, 8);

    random_path(seed, item.path);
    item.kind = kind < 5 ? ITEM_ENTRY : kind < 7 ? ITEM_WHITEOUT : ITEM_OPAQUE;
    item.type = types[below(seed, symlinks ? 4 : 3)];
    if (item.kind == ITEM_OPAQUE && below(seed, 4) == 0) {
        item.path[0] = '\0';
    }
    return item;
}

/* Appends hard links to files that the part brought or left, which is known once it is whole. */
static void random_links(uint64_t *seed, struct random_part *part, const struct model *lower,
                         unsigned number, unsigned id)
{
    struct model after = *lower;
    struct item item = {.type = ENTRY_HARDLINK, .id = id, .target = -1};
    const struct record *target;

    model_apply(&after, part, number);
    random_path(seed, item.path);
    if (after.count == 0 || !fits(part, &item)) {
        return;
    }
    target = &after.records[below(seed, (unsigned)after.count)];
    if (target->type == ENTRY_DIRECTORY || strcmp(target->path, item.path) == 0 ||
        lies_below(target->path, item.path) || lies_below(item.path, target->path)) {
        return;
    }
    (void)snprintf(item.target_path, sizeof(item.target_path), "%s", target->path);
    for (size_t i = 0; i < part->count; i++) {
        if (part->items[i].kind == ITEM_ENTRY && strcmp(part->items[i].path, target->path) == 0) {
            item.target = (int)i;
        }
    }
    part->items[part->count++] = item;
}

static void random_part(uint64_t *seed, struct random_part *part, const struct model *lower,
                        unsigned number, bool symlinks)
{
    unsigned wanted = 2 + below(seed, 9), id = 100 * (number + 1);

    part->count = 0;
    for (unsigned i = 0; i < wanted; i++) {
        struct item item = random_item(seed, id + i, symlinks);

        if (fits(part, &item)) {
            part->items[part->count++] = item;
        }
    }
    random_links(seed, part, lower, number, id + wanted);
}

static int apply_item(struct tree *tree, const struct item *item, struct error *err)
{
    char path[64];
    const char *slash = strrchr(item->path, '/');
    int dir = slash != NULL ? (int)(slash - item->path) + 1 : 0;
    struct entry entry = {.path = path,
                          .type = item->kind == ITEM_ENTRY ? item->type : ENTRY_FILE,
                          .uid = item->id,
                          .target = item->type == ENTRY_SYMLINK ? "nowhere" : item->target_path};
    struct inode *data;

    if (item->kind == ITEM_ENTRY) {
        (void)snprintf(path, sizeof(path), "%s", item->path);
    } else if (item->kind == ITEM_OPAQUE) {
        (void)snprintf(path, sizeof(path), "./%s/.wh..wh..opq", item->path);
    } else {
        (void)snprintf(path, sizeof(path), "%.*s.wh.%s", dir, item->path, item->path + dir);
    }
    return tree_apply(tree, &entry, item->id, &data, err);
}

/* Applies the items in a random order in which hard links come after what they name. */
static void apply_shuffled(struct tree *tree, struct random_part *part, uint64_t *seed,
                           uint64_t first_seed)
{
    struct error err = {0};
    size_t left = part->count;

    for (size_t i = 0; i < part->count; i++) {
        part->items[i].done = false;
    }
    while (left > 0) {
        struct item *item = &part->items[below(seed, (unsigned)part->count)];

        if (item->done || (item->target >= 0 && !part->items[item->target].done)) {
            continue;
        }
        if (apply_item(tree, item, &err) < 0) {
            fail_msg("seed %llu: %s", (unsigned long long)first_seed, err.message);
        }
        item->done = true;
        left--;
    }
}

static void compare_with_model(uint64_t first_seed, enum layer_rules rules)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    SCOPED(buf_done) struct buf expected = {0}, found = {0};
    struct model model = {0}, seen = {0};
    uint64_t seed = first_seed * 0x9e3779b97f4a7c15u + 1;
    struct error err = {0};

    for (unsigned number = 0; number < 4; number++) {
        struct random_part part;

        random_part(&seed, &part, &model, number, rules == RULES_OCI);
        tree_begin(tree, number, number, "random", rules, false);
        apply_shuffled(tree, &part, &seed, first_seed);
        model_apply(&model, &part, number);
    }
    assert_int_equal(tree_walk(tree, collect_record, &seen, &err), 0);
    model_tell(&model, &expected);
    model_tell(&seen, &found);
    if (expected.size != found.size ||
        (found.size != 0 && strcmp(expected.data, found.data) != 0)) {
        fail_msg("seed %llu: expected\n%sfound\n%s", (unsigned long long)first_seed, expected.data,
                 found.data);
    }
    assert_int_equal(tree_paths(tree), model.count);
}

/* How often to try; TREE_SEEDS in the environment for long runs. */
static uint64_t seeds(uint64_t usual)
{
    const char *text = getenv("TREE_SEEDS");

    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static void random_parts_in_any_order_are_what_the_definition_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds(4000); seed++) {
        compare_with_model(seed, seed % 2 == 0 ? RULES_OCI : RULES_MERGE);
    }
}

/* --- any order, with symlinks to follow -------------------------------------------------- */

/* Applies WORDS in a random order; false when one was refused. */
static bool apply_words(struct tree *tree, const char *const *words, size_t count, uint64_t *seed)
{
    struct script script = {.tree = tree};
    bool done[16] = {false};
    struct error err = {0};

    assert_true(count <= COUNT(done));
    assert_int_equal(run(&script, "1:", &err), 0);
    for (size_t left = count; left > 0;) {
        unsigned pick = below(seed, (unsigned)count);

        if (done[pick]) {
            continue;
        }
        if (run(&script, words[pick], &err) < 0) {
            return false;
        }
        done[pick] = true;
        left--;
    }
    return true;
}

/* Whatever order is not refused gives one tree. */
static void compare_orders(uint64_t first_seed, unsigned *ret_orders)
{
    static const char *const lower = "0: a/ a/f b/ b/g b/c/ b/c/h l@a m@l n@/b/c b/o@../m p/ p/q@n";
    static const char *const words[] = {
        "l/1",
        "m/2",
        "n/3",
        "b/o/4",
        "p/q/5",
        "a/6",
        "b/7",
        "b/c/8/",
        ".wh.l",
        ".wh.m",
        ".wh.n",
        ".wh.a",
        ".wh.b",
        "b/.wh.c",
        "p/.wh..wh..opq",
        "l/.wh.f",
        "n/.wh.h",
        "b/.wh..wh..opq",
        "m/.wh..wh..opq",
        "p/",
    };
    SCOPED(buf_done) struct buf first = {0};
    uint64_t seed = first_seed * 0x9e3779b97f4a7c15u + 1;
    const char *picked[6];

    for (size_t i = 0; i < COUNT(picked); i++) {
        picked[i] = words[below(&seed, COUNT(words))];
    }
    for (unsigned order = 0; order < 12; order++) {
        SCOPED(tree_freep) struct tree *tree = make(lower);
        SCOPED(buf_done) struct buf found = {0};
        struct error err = {0};

        if (!apply_words(tree, picked, COUNT(picked), &seed)) {
            continue;
        }
        ++*ret_orders;
        assert_int_equal(tree_walk(tree, tell, &found, &err), 0);
        if (first.size != 0 && strcmp(first.data, found.data) != 0) {
            fail_msg("seed %llu: %s %s %s %s %s %s:\n%s\n%s", (unsigned long long)first_seed,
                     picked[0], picked[1], picked[2], picked[3], picked[4], picked[5], first.data,
                     found.data);
        }
        buf_clear(&first);
        buf_add(&first, found.data, found.size);
    }
}

static void symlinks_and_whiteouts_in_any_order_give_one_tree_or_none(void **state)
{
    unsigned orders = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds(1200); seed++) {
        compare_orders(seed, &orders);
    }
    assert_true(orders > 4 * seeds(1200)); /* of 12: most sets have orders that work */
}

/* --- scale ------------------------------------------------------------------------------- */

static double seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Well under a second per 300,000 paths where it was written; quadratic takes hours. */
static void many_paths_take_linear_time(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    const unsigned count = 150000;
    struct error err = {0};
    double start = seconds();
    char path[64];

    (void)state;
    for (unsigned part = 0; part < 3; part++) {
        tree_begin(tree, part, part, "many", RULES_MERGE, false);
        for (unsigned i = 0; i < count; i++) {
            (void)snprintf(path, sizeof(path), "one/%u", i);
            assert_int_equal(apply_path(tree, path, &err), 0);
            (void)snprintf(path, sizeof(path), "many/%u/%u/x", i % 1000, i);
            assert_int_equal(apply_path(tree, path, &err), 0);
        }
    }
    assert_int_equal(tree_paths(tree), 2 + 1000 + 3 * count);
    tree_settle(tree, 1);
    assert_true(seconds() - start < 20);
}

static void many_names_of_one_inode_take_linear_time(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: f");
    const unsigned count = 100000;
    struct entry entry = {.type = ENTRY_HARDLINK, .target = "f"};
    struct error err = {0};
    struct inode *data;
    double start = seconds();
    char path[64];

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "%u", i);
        entry.path = path;
        assert_int_equal(tree_apply(tree, &entry, i, &data, &err), 0);
    }
    assert_int_equal(tree_find(tree, "f")->inode->links, count + 1);
    tree_begin(tree, 1, 1, "whiteouts", RULES_OCI, false);
    for (unsigned i = 0; i < count; i++) { /* the oldest first, so from the far end */
        (void)snprintf(path, sizeof(path), ".wh.%u", i);
        assert_int_equal(apply_path(tree, path, &err), 0);
    }
    assert_int_equal(tree_find(tree, "f")->inode->links, 1);
    assert_true(seconds() - start < 20);
}

static void many_opaque_marks_take_linear_time(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    const unsigned count = 200000;
    struct error err = {0};
    double start = seconds();
    char path[64];

    (void)state;
    tree_begin(tree, 0, 0, "opaque", RULES_OCI, false);
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "a/b/%u", i);
        assert_int_equal(apply_path(tree, path, &err), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(apply_path(tree, i % 2 == 0 ? "a/.wh..wh..opq" : "a/b/.wh..wh..opq", &err),
                         0);
    }
    assert_int_equal(tree_paths(tree), count + 2);
    assert_true(seconds() - start < 20);
}

static void the_deepest_trees_are_walked_and_freed(void **state)
{
    const size_t depth = 2000;
    SCOPED(tree_freep) struct tree *tree = tree_new(&(struct tree_limits){.depth = depth});
    SCOPED_FREE char *path = repeat("a/", depth - 1, "f");
    SCOPED(buf_done) struct buf found = {0};
    struct error err = {0};

    (void)state;
    assert_int_equal(apply_path(tree, path, &err), 0);
    tree_settle(tree, 1);
    node_path(tree_find(tree, path), &found);
    assert_string_equal(found.data, path);
    tree_begin(tree, 1, 1, "w", RULES_MERGE, false);
    assert_int_equal(apply_path(tree, ".wh.a", &err), 0);
    assert_int_equal(tree_paths(tree), 0);
}
int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_parts_in_any_order_are_what_the_definition_says),
        cmocka_unit_test(symlinks_and_whiteouts_in_any_order_give_one_tree_or_none),
        cmocka_unit_test(many_paths_take_linear_time),
        cmocka_unit_test(many_names_of_one_inode_take_linear_time),
        cmocka_unit_test(many_opaque_marks_take_linear_time),
        cmocka_unit_test(the_deepest_trees_are_walked_and_freed),
    };

    return cmocka_run_group_tests_name("tree orders", tests, NULL, NULL);
}
