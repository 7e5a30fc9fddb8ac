/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What steps leave behind, at random: a root file system before, one after, and the difference in
 * the order of captured layers (parents first, of a directory its whiteouts first, a hard link
 * after what it names). Folded onto the one before, the difference gives the one after, hard links
 * and all.
 */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer/tree.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define ROOT_MAX 128

/* Who has an id is the same inode with the same content; every change gives another. */
struct file {
    char path[48];
    enum entry_type type;
    unsigned id;
    unsigned links; /* 0: not known */
};

struct root {
    struct file files[ROOT_MAX];
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

    return strncmp(path, top, length) == 0 && path[length] == '/';
}

static struct file *find(struct root *root, const char *path)
{
    for (size_t i = 0; i < root->count; i++) {
        if (strcmp(root->files[i].path, path) == 0) {
            return &root->files[i];
        }
    }
    return NULL;
}

/* --- what a step does ------------------------------------------------------------------------ */

static void remove_tree(struct root *root, const char *path)
{
    size_t kept = 0;

    for (size_t i = 0; i < root->count; i++) {
        if (strcmp(root->files[i].path, path) != 0 && !lies_below(root->files[i].path, path)) {
            root->files[kept++] = root->files[i];
        }
    }
    root->count = kept;
}

/* True when the directory of PATH is there. */
static bool has_parent(struct root *root, const char *path)
{
    const char *slash = strrchr(path, '/');
    char parent[48];
    const struct file *found;

    (void)snprintf(parent, sizeof(parent), "%.*s", slash != NULL ? (int)(slash - path) : 0, path);
    found = find(root, parent);
    return slash == NULL || (found != NULL && found->type == ENTRY_DIRECTORY);
}

static void put(struct root *root, const char *path, enum entry_type type, unsigned id)
{
    struct file *file;

    if (root->count == ROOT_MAX || !has_parent(root, path)) {
        return;
    }
    remove_tree(root, path);
    file = &root->files[root->count++];
    (void)snprintf(file->path, sizeof(file->path), "%s", path);
    file->type = type;
    file->id = id;
}

/* In place: all names of it. */
static void change(struct root *root, const char *path, unsigned id)
{
    const struct file *file = find(root, path);
    unsigned before = file != NULL ? file->id : id;

    for (size_t i = 0; i < root->count; i++) {
        root->files[i].id = root->files[i].id == before ? id : root->files[i].id;
    }
}

static void link_to(struct root *root, const char *path, const char *target)
{
    const struct file *file = find(root, target);

    if (file != NULL && file->type != ENTRY_DIRECTORY && strcmp(path, target) != 0 &&
        !lies_below(target, path)) {
        put(root, path, file->type, file->id);
    }
}

static void move(struct root *root, const char *from, const char *to)
{
    struct root before = *root;
    char path[100];

    if (find(root, from) == NULL || !has_parent(root, to) || strcmp(from, to) == 0 ||
        lies_below(to, from) || lies_below(from, to)) {
        return;
    }
    remove_tree(root, from);
    remove_tree(root, to);
    for (size_t i = 0; i < before.count; i++) {
        const struct file *file = &before.files[i];

        (void)snprintf(path, sizeof(path), "%s%s", to, file->path + strlen(from));
        if ((strcmp(file->path, from) == 0 || lies_below(file->path, from)) && strlen(path) < 48) {
            put(root, path, file->type, file->id);
        }
    }
}

/* A path of one to three of four names, so that things meet. */
static void random_path(uint64_t *seed, char out[48])
{
    unsigned depth = 1 + below(seed, 3);

    out[0] = '\0';
    for (unsigned i = 0; i < depth; i++) {
        (void)snprintf(out + strlen(out), 4, "%s%c", i != 0 ? "/" : "", 'a' + (char)below(seed, 4));
    }
}

static void mutate(struct root *root, uint64_t *seed, unsigned id)
{
    static const enum entry_type types[] = {ENTRY_FILE, ENTRY_DIRECTORY, ENTRY_DIRECTORY,
                                            ENTRY_SYMLINK, ENTRY_FIFO};
    char path[48], other[48];

    random_path(seed, path);
    random_path(seed, other);
    switch (below(seed, 8)) {
    case 0:
        remove_tree(root, path);
        return;
    case 1:
        change(root, path, id);
        return;
    case 2:
        link_to(root, path, other);
        return;
    case 3:
        move(root, path, other);
        return;
    default:
        put(root, path, types[below(seed, COUNT(types))], id);
    }
}

/* Something to begin with: nothing is replaced. */
static void grow_root(struct root *root, uint64_t *seed, unsigned id)
{
    char path[48], other[48];

    random_path(seed, path);
    random_path(seed, other);
    if (find(root, path) != NULL) {
        return;
    }
    if (below(seed, 4) == 0) {
        link_to(root, path, other);
    } else {
        put(root, path, below(seed, 2) == 0 ? ENTRY_DIRECTORY : ENTRY_FILE, id);
    }
}

/* --- the difference -------------------------------------------------------------------------- */

struct capture {
    struct root *before, *after;
    struct root done; /* what was written so far */
    struct tree *tree;
    uint64_t *seed;
    uint64_t sequence;
};

static void apply(struct tree *tree, const char *path, enum entry_type type, const char *target,
                  unsigned id, uint64_t sequence)
{
    struct entry entry = {.path = path, .type = type, .target = target, .uid = id};
    struct inode *data;
    struct error err = {0};

    if (tree_apply(tree, &entry, sequence, &data, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static bool is_in(const char *path, const char *dir)
{
    return dir[0] == '\0' ? strchr(path, '/') == NULL
                          : lies_below(path, dir) && strchr(path + strlen(dir) + 1, '/') == NULL;
}

/* Of what is gone; now and then also of what is another type now, which may be written both ways.
 */
static void write_whiteouts(struct capture *capture, const char *dir)
{
    for (size_t i = 0; i < capture->before->count; i++) {
        const struct file *file = &capture->before->files[i], *now;
        size_t length = dir[0] != '\0' ? strlen(dir) + 1 : 0;
        char path[64];

        if (!is_in(file->path, dir)) {
            continue;
        }
        now = find(capture->after, file->path);
        if (now == NULL || (now->type != file->type && below(capture->seed, 2) == 0)) {
            (void)snprintf(path, sizeof(path), "%.*s.wh.%s", (int)length, file->path,
                           file->path + length);
            apply(capture->tree, path, ENTRY_FILE, NULL, 0, capture->sequence++);
        }
    }
}

/* A name of FILE's inode that a hard link can name: one that was written or one that stayed. */
static const char *other_name(const struct capture *capture, const struct file *file)
{
    for (size_t i = 0; i < capture->done.count; i++) {
        if (capture->done.files[i].id == file->id) {
            return capture->done.files[i].path;
        }
    }
    for (size_t i = 0; i < capture->before->count; i++) {
        const struct file *lower = &capture->before->files[i];
        const struct file *now = find(capture->after, lower->path);

        if (lower->id == file->id && now != NULL && now->id == file->id) {
            return lower->path;
        }
    }
    return NULL;
}

static void write_file(struct capture *capture, const struct file *file)
{
    const char *name = file->type == ENTRY_DIRECTORY ? NULL : other_name(capture, file);

    apply(capture->tree, file->path, name != NULL ? ENTRY_HARDLINK : file->type,
          name != NULL                  ? name
          : file->type == ENTRY_SYMLINK ? "a/b"
                                        : NULL,
          name != NULL ? 0 : file->id, capture->sequence++);
    capture->done.files[capture->done.count++] = *file;
}

static void write_directory(struct capture *capture, const char *dir)
{
    const struct file *lower = find(capture->before, dir);

    if (dir[0] == '\0' || (lower != NULL && lower->type == ENTRY_DIRECTORY)) {
        write_whiteouts(capture, dir);
    }
    for (size_t i = 0; i < capture->after->count; i++) {
        const struct file *file = &capture->after->files[i];

        if (!is_in(file->path, dir)) {
            continue;
        }
        lower = find(capture->before, file->path);
        if (lower == NULL || lower->id != file->id) {
            write_file(capture, file);
        }
        if (file->type == ENTRY_DIRECTORY) {
            write_directory(capture, file->path);
        }
    }
}

/* --- what comes of it ------------------------------------------------------------------------ */

/* Sorts and tells ROOT, where links are counted if they are not known. */
static void tell(struct root *root, struct buf *out)
{
    qsort(root->files, root->count, sizeof(root->files[0]), by_path);
    buf_puts(out, "");
    for (size_t i = 0; i < root->count; i++) {
        const struct file *file = &root->files[i];
        unsigned links = file->links;

        for (size_t k = 0; k < root->count && file->links == 0; k++) {
            links += root->files[k].id == file->id;
        }
        buf_printf(out, "%s type %d id %u links %u\n", file->path, file->type, file->id, links);
    }
}

static int collect(void *data, struct node *node, struct error *err)
{
    struct root *root = data;
    SCOPED(buf_done) struct buf path = {0};
    struct file *file = &root->files[root->count];

    (void)err;
    if (node->parent != NULL) {
        node_path(node, &path);
        (void)snprintf(file->path, sizeof(file->path), "%s", path.data);
        file->type = node->inode->type;
        file->id = node->inode->uid;
        file->links = node->inode->links;
        root->count++;
        assert_false(node->implied);
    }
    return 0;
}

static void compare(uint64_t number)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    SCOPED(buf_done) struct buf expected = {0}, found = {0};
    struct root before = {0}, after, seen = {0};
    uint64_t seed = number * 0x9e3779b97f4a7c15u + 1;
    struct capture capture = {.before = &before, .after = &after, .tree = tree, .seed = &seed};
    struct capture lower = {.before = &capture.done, .after = &before, .tree = tree, .seed = &seed};
    struct error err = {0};
    unsigned id = 1;

    for (unsigned i = 0; i < 60; i++) {
        grow_root(&before, &seed, id++);
    }
    for (unsigned i = 0; i < 5; i++) {
        mutate(&before, &seed, id++);
    }
    after = before;
    for (unsigned i = 1 + below(&seed, 10); i > 0; i--) {
        mutate(&after, &seed, id++);
    }
    qsort(before.files, before.count, sizeof(before.files[0]), by_path);
    qsort(after.files, after.count, sizeof(after.files[0]), by_path);
    tree_begin(tree, 0, 0, "before", RULES_MERGE, false);
    write_directory(&lower, "");
    tree_begin(tree, 1, 1, "captured", RULES_OCI, false);
    write_directory(&capture, "");
    assert_int_equal(tree_walk(tree, collect, &seen, &err), 0);
    tell(&after, &expected);
    tell(&seen, &found);
    if (strcmp(expected.data, found.data) != 0) {
        fail_msg("seed %llu: expected\n%sfound\n%s", (unsigned long long)number, expected.data,
                 found.data);
    }
}

/* How often to try; TREE_SEEDS in the environment for long runs. */
static void a_difference_gives_what_it_was_made_from(void **state)
{
    const char *text = getenv("TREE_SEEDS");
    uint64_t seeds = text != NULL ? strtoull(text, NULL, 10) : 10000;

    (void)state;
    for (uint64_t number = 1; number <= seeds; number++) {
        compare(number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_gives_what_it_was_made_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
