/* SPDX-License-Identifier: Apache-2.0 */
/* Trees as bytes and back: nothing is lost, the fold goes on as before, damage is refused. */
#undef NDEBUG
#include <time.h>

#include "base/file.h"
#include "layer/tree_inside.h"
#include "layer/tree_save.h"

#include "tree_script.h"

static const char DAMAGED[] = "the cached state is damaged: ";

static int load_bytes(const struct buf *bytes, const struct tree_limits *limits, struct tree **ret,
                      struct error *err)
{
    /* A copy of exactly this size, so that a sanitizer sees the first byte too many. */
    SCOPED_FREE uint8_t *copy = xmemdup(bytes->data, bytes->size);
    struct unpack in = {.at = copy, .end = copy + bytes->size};
    int result = tree_load(&in, limits, ret, err);

    if (result == 0) {
        assert_ptr_equal(in.at, in.end);
        assert_false(in.bad);
    }
    return result;
}

static struct tree *load(const struct buf *bytes)
{
    struct tree *tree = NULL;
    struct error err = {0};

    if (load_bytes(bytes, NULL, &tree, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return tree;
}

static void assert_same_bytes(const struct buf *a, const struct buf *b)
{
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

/* --- trees compared field by field ------------------------------------------------------- */

static void assert_same_path(const struct node *a, const struct node *b)
{
    SCOPED(buf_done) struct buf path_a = {0}, path_b = {0};

    node_path(a, &path_a);
    node_path(b, &path_b);
    assert_string_equal(path_a.data, path_b.data);
}

static void assert_same_names(const struct inode *a, const struct inode *b)
{
    const struct node *name_b = b->names, *before = NULL;

    for (const struct node *name_a = a->names; name_a != NULL; name_a = name_a->same) {
        assert_non_null(name_b);
        assert_ptr_equal(name_b->inode, b);
        assert_ptr_equal(name_b->same_previous, before);
        assert_same_path(name_a, name_b);
        before = name_b;
        name_b = name_b->same;
    }
    assert_null(name_b);
    assert_int_equal(a->first != NULL, b->first != NULL);
    if (a->first != NULL) {
        assert_same_path(a->first, b->first);
    }
}

static void assert_same_data(const struct inode *a, const struct inode *b)
{
    assert_true(a->size == b->size);
    assert_true(a->data_bytes == b->data_bytes);
    assert_memory_equal(a->sha256, b->sha256, HASH_SIZE);
    assert_int_equal(a->extent_count, b->extent_count);
    assert_int_equal(a->extents != NULL, b->extents != NULL);
    for (size_t i = 0; i < a->extent_count; i++) {
        assert_true(a->extents[i].offset == b->extents[i].offset);
        assert_true(a->extents[i].size == b->extents[i].size);
    }
    assert_int_equal(a->content != NULL, b->content != NULL);
    if (a->content != NULL) {
        assert_memory_equal(a->content, b->content, a->size);
    }
}

static void assert_same_inode(const struct inode *a, const struct inode *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_true(a->mtime == b->mtime);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_int_equal(a->major, b->major);
    assert_int_equal(a->minor, b->minor);
    assert_int_equal(a->target != NULL, b->target != NULL);
    if (a->target != NULL) {
        assert_string_equal(a->target, b->target);
    }
    assert_int_equal(a->xattr_count, b->xattr_count);
    for (size_t i = 0; i < a->xattr_count; i++) {
        assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
        assert_int_equal(a->xattrs[i].size, b->xattrs[i].size);
        assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].size);
    }
    assert_int_equal(a->layer, b->layer);
    assert_int_equal(a->part, b->part);
    assert_true(a->sequence == b->sequence);
    assert_int_equal(a->untimed, b->untimed);
    assert_int_equal(a->links, b->links);
    assert_same_data(a, b);
}

/* B is of another tree, in which A's path leads to it. */
static void assert_same_node(const struct node *a, const struct node *b)
{
    const struct node *child_b = b->children, *before = NULL;

    assert_int_equal(a->length, b->length);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->part, b->part);
    assert_int_equal(a->implied, b->implied);
    assert_same_inode(a->inode, b->inode);
    if (a->inode->names == a) {
        assert_same_names(a->inode, b->inode);
    }
    for (const struct node *child = a->children; child != NULL; child = child->next) {
        assert_non_null(child_b);
        assert_ptr_equal(child_b->parent, b);
        assert_ptr_equal(child_b->previous, before);
        assert_same_node(child, child_b);
        before = child_b;
        child_b = child_b->next;
    }
    assert_null(child_b);
}

static void assert_same_tree(const struct tree *a, const struct tree *b)
{
    unsigned layer_a, layer_b, part_a, part_b;

    assert_int_equal(tree_paths(a), tree_paths(b));
    assert_true(tree_newest(a) == tree_newest(b));
    assert_int_equal(a->last_id, b->last_id);
    tree_position(a, &layer_a, &part_a);
    tree_position(b, &layer_b, &part_b);
    assert_int_equal(layer_a, layer_b);
    assert_int_equal(part_a, part_b);
    assert_same_node(tree_find(a, ""), tree_find(b, ""));
}

static int finds_itself(void *data, struct node *node, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    (void)err;
    node_path(node, &path);
    assert_ptr_equal(tree_find(data, path.data), node);
    return 0;
}

/* --- a tree with one of everything ------------------------------------------------------- */

/* An owner, a group and others, each with all permissions (linux/posix_acl_xattr.h). */
static const uint8_t ACL[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 4,   0,
                              7, 0, 255, 255, 255, 255, 32, 0, 7,   0,   255, 255, 255, 255};

static void add(struct tree *tree, struct entry entry)
{
    static const uint64_t sequence = UINT64_C(0x123456789a);
    struct inode *data;
    struct error err = {0};

    if (tree_apply(tree, &entry, sequence + tree->last_id, &data, &err) < 0) {
        fail_msg("%s", err.message);
    }
}

static struct inode *at(const struct tree *tree, const char *path)
{
    struct node *node = tree_find(tree, path);

    assert_non_null(node);
    return node->inode;
}

/* As a reading of the layer would have it: data in memory. */
static void give_content(struct inode *inode, const void *content, size_t size)
{
    free(inode->content);
    inode->content = xmemdup(content, size);
    inode->size = inode->data_bytes = size;
    hash_bytes(content, size, inode->sha256);
}

static void give_extents(struct inode *inode, const struct extent *extents, size_t count)
{
    free(inode->extents);
    inode->extents = xmemdup(extents, count * sizeof(*extents));
    inode->extent_count = count;
    inode->data_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        inode->data_bytes += extents[i].size;
    }
    memset(inode->sha256, 0xee, sizeof(inode->sha256));
}

static void add_files(struct tree *tree)
{
    static const struct extent extents[] = {{4096, 8192}, {UINT64_C(1) << 40, 1}};
    struct xattr xattrs[] = {{(char *)"system.posix_acl_access", (void *)ACL, sizeof(ACL)},
                             {(char *)"user.a", (char *)"1\0002", 3},
                             {(char *)"user.b", (char *)"", 0}};

    add(tree, (struct entry){.path = "etc/file",
                             .type = ENTRY_FILE,
                             .mode = 06755,
                             .uid = UINT32_MAX - 1,
                             .gid = UINT32_C(0x80000001),
                             .mtime = -5,
                             .mtime_ns = 999999999,
                             .size = UINT64_C(5) << 40,
                             .xattrs = xattrs,
                             .xattr_count = 3});
    give_extents(at(tree, "etc/file"), extents, COUNT(extents));
    add(tree, (struct entry){.path = "kept", .type = ENTRY_FILE, .size = 4});
    give_content(at(tree, "kept"), "a\0\nb", 4);
    add(tree, (struct entry){.path = "kept-empty", .type = ENTRY_FILE});
    give_content(at(tree, "kept-empty"), "", 0);
    add(tree, (struct entry){.path = "hollow", .type = ENTRY_FILE, .size = 1 << 20});
    add(tree, (struct entry){.path = "gone", .type = ENTRY_FILE, .mtime = 3000, .mtime_ns = 1});
}

static void add_others(struct tree *tree)
{
    struct xattr acl = {(char *)"system.posix_acl_default", (void *)ACL, sizeof(ACL)};

    add(tree, (struct entry){.path = "dir",
                             .type = ENTRY_DIRECTORY,
                             .mode = 01777,
                             .xattrs = &acl,
                             .xattr_count = 1});
    add(tree, (struct entry){.path = "dir/link", .type = ENTRY_SYMLINK, .target = "../\xff\n"});
    add(tree,
        (struct entry){.path = "dir/c", .type = ENTRY_CHARACTER, .major = 0xfff, .minor = 0xfffff});
    add(tree, (struct entry){.path = "dir/b", .type = ENTRY_BLOCK, .major = 8, .minor = 1});
    add(tree, (struct entry){.path = "dir/p\xfe\n", .type = ENTRY_FIFO, .mode = 0600});
}

static struct tree *rich_tree(void)
{
    struct tree *tree = tree_new(NULL);

    tree_begin(tree, 0, 0, "first", RULES_MERGE, false);
    add_files(tree);
    add_others(tree);
    tree_begin(tree, 3, 2, "second", RULES_OCI, true);
    add(tree, (struct entry){.path = "etc/.wh.gone", .type = ENTRY_FILE});
    add(tree, (struct entry){.path = ".wh.gone", .type = ENTRY_FILE});
    add(tree, (struct entry){.path = "a", .type = ENTRY_HARDLINK, .target = "hollow"});
    add(tree, (struct entry){.path = "z", .type = ENTRY_HARDLINK, .target = "hollow"});
    add(tree, (struct entry){.path = "dir/a", .type = ENTRY_HARDLINK, .target = "dir/link"});
    add(tree, (struct entry){.path = "etc/untimed", .type = ENTRY_FILE, .size = 1});
    at(tree, "etc/untimed")->data_bytes = 1;
    return tree;
}

static void every_field_survives(void **state)
{
    SCOPED(tree_freep) struct tree *tree = rich_tree(), *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0}, again = {0};
    struct error err = {0};

    (void)state;
    tree_save(tree, &bytes);
    loaded = load(&bytes);
    assert_same_tree(tree, loaded);
    assert_int_equal(tree_newest(loaded), 3001); /* of a file that is gone */
    assert_int_equal(tree_walk(loaded, finds_itself, loaded, &err), 0);
    tree_save(loaded, &again);
    assert_same_bytes(&bytes, &again);
    tree_settle(tree, 2000);
    tree_settle(loaded, 2000);
    assert_same_tree(tree, loaded);
}

static void an_empty_tree_survives(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL), *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0};

    (void)state;
    tree_save(tree, &bytes);
    loaded = load(&bytes);
    assert_same_tree(tree, loaded);
    assert_int_equal(tree_newest(loaded), -1);
}

/* Each tree hashes names with a key of its own. */
static void the_same_fold_gives_the_same_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        SCOPED(tree_freep) struct tree *a = rich_tree(), *b = rich_tree();
        SCOPED(buf_done) struct buf bytes_a = {0}, bytes_b = {0};

        assert_memory_not_equal(a->key, b->key, sizeof(a->key));
        tree_save(a, &bytes_a);
        tree_save(b, &bytes_b);
        assert_same_bytes(&bytes_a, &bytes_b);
    }
}

static void what_follows_is_left_in_the_input(void **state)
{
    SCOPED(tree_freep) struct tree *tree = rich_tree(), *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0};
    struct error err = {0};
    struct unpack in;

    (void)state;
    pack_u8(&bytes, 1);
    tree_save(tree, &bytes);
    pack_u32(&bytes, 4711);
    in = (struct unpack){.at = (uint8_t *)bytes.data, .end = (uint8_t *)bytes.data + bytes.size};
    assert_int_equal(unpack_u8(&in), 1);
    assert_int_equal(tree_load(&in, NULL, &loaded, &err), 0);
    assert_int_equal(unpack_u32(&in), 4711);
    assert_ptr_equal(in.at, in.end);
}

static void a_loaded_tree_keeps_its_limits(void **state)
{
    const struct tree_limits limits = {.paths = 3, .depth = 2, .xattr_bytes = 4};
    struct xattr xattr = {(char *)"user.a", (char *)"", 0};
    struct entry entry = {.path = "a", .type = ENTRY_FILE, .xattrs = &xattr, .xattr_count = 1};
    SCOPED(tree_freep) struct tree *tree = make("0: a/ a/b"), *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0};
    struct inode *data;
    struct error err = {0};

    (void)state;
    tree_save(tree, &bytes);
    assert_int_equal(load_bytes(&bytes, &limits, &loaded, &err), 0);
    tree_begin(loaded, 1, 1, "more", RULES_MERGE, false);
    assert_int_equal(tree_apply(loaded, &entry, 0, &data, &err), -1);
    assert_non_null(strstr(err.message, "extended attributes"));
    fail_clear(&err);
    assert_int_equal(apply_path(loaded, "a/c/d", &err), -1);
    assert_non_null(strstr(err.message, "3 components"));
    fail_clear(&err);
    assert_int_equal(apply_path(loaded, "c", &err), 0);
    assert_int_equal(apply_path(loaded, "d", &err), -1);
    assert_non_null(strstr(err.message, "3 paths"));
}

/* --- the fold goes on -------------------------------------------------------------------- */

#define WORDS_MAX 96

struct story {
    char words[WORDS_MAX][64];
    size_t count;
    size_t starts[8]; /* of parts */
    size_t parts;
};

static unsigned below(uint64_t *seed, unsigned limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed >> 33) % limit;
}

/* A path of up to three of four names, so that things meet; with a slash behind it, or empty. */
static void random_directory(uint64_t *seed, char out[16])
{
    unsigned depth = below(seed, 3);

    out[0] = '\0';
    for (unsigned i = 0; i < depth; i++) {
        (void)snprintf(out + 2 * i, 4, "%c/", 'a' + (char)below(seed, 4));
    }
}

static void random_word(uint64_t *seed, char out[64])
{
    char dir[16], other[16];
    char name = 'a' + (char)below(seed, 4), to = 'a' + (char)below(seed, 4);

    random_directory(seed, dir);
    random_directory(seed, other);
    switch (below(seed, 12)) {
    case 0:
        (void)snprintf(out, 64, "%s.wh.%c", dir, name);
        break;
    case 1:
        (void)snprintf(out, 64, "%s.wh..wh..opq", dir);
        break;
    case 2:
    case 3:
        (void)snprintf(out, 64, "%s%c@/%s%c", dir, name, other, to);
        break;
    case 4:
    case 5:
        (void)snprintf(out, 64, "%s%c=%s%c", dir, name, other, to);
        break;
    case 6:
        (void)snprintf(out, 64, "%s%c=%s%c+9", dir, name, other, to);
        break;
    case 7:
        (void)snprintf(out, 64, "%s%c!", dir, name);
        break;
    case 8:
    case 9:
        (void)snprintf(out, 64, "%s%c/", dir, name);
        break;
    default:
        (void)snprintf(out, 64, "%s%c", dir, name);
        break;
    }
}

static void random_story(uint64_t seed, struct story *story)
{
    seed = seed * 0x9e3779b97f4a7c15u + 1;
    story->count = 0;
    for (story->parts = 0; story->parts < 4; story->parts++) {
        unsigned entries = 3 + below(&seed, 18);

        story->starts[story->parts] = story->count;
        (void)snprintf(story->words[story->count++], 64, "%zu%s:", story->parts,
                       below(&seed, 2) == 0 ? "o" : "");
        for (unsigned i = 0; i < entries; i++) {
            random_word(&seed, story->words[story->count++]);
        }
    }
    story->starts[story->parts] = story->count;
}

/* What an engine would hear, and what tree_apply said. */
struct telling {
    struct script script;
    struct buf log;
};

static void hear_changed(void *data, struct inode *inode)
{
    buf_printf(data, "changed %u\n", inode->id);
}

static void hear_cleared(void *data, struct inode *inode)
{
    buf_printf(data, "cleared %u\n", inode->id);
}

static void hear_gone(void *data, struct inode *inode)
{
    buf_printf(data, "gone %u\n", inode->id);
}

static void listen(struct telling *telling)
{
    tree_watch(telling->script.tree,
               &(struct tree_watch){hear_changed, hear_cleared, hear_gone, &telling->log});
}

/* Data of one kind or another. */
static void give_data(struct inode *inode)
{
    const struct extent extent = {1, inode->size - 2};

    if (inode->id % 4 == 0) {
        give_content(inode, "content!!", inode->size);
    } else if (inode->id % 4 == 1) {
        give_extents(inode, &extent, 1);
    } else if (inode->id % 4 == 2) {
        inode->data_bytes = inode->size;
        memset(inode->sha256, (int)inode->id, sizeof(inode->sha256));
    }
}

/* Entries that are refused are left out, having done what they do before they are. */
static void tell_words(struct telling *telling, const struct story *story, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct error err = {0};

        telling->script.data = NULL;
        if (run(&telling->script, story->words[i], &err) < 0) {
            buf_printf(&telling->log, "%s\n", err.message);
        } else if (telling->script.data != NULL) {
            buf_printf(&telling->log, "data %u\n", telling->script.data->id);
            give_data(telling->script.data);
        }
    }
}

static void go_on(const struct story *story, size_t cut)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL), *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0}, bytes_a = {0}, bytes_b = {0};
    struct telling a = {.script = {.tree = tree}}, b = {0};

    tell_words(&a, story, 0, story->starts[cut]);
    tree_save(tree, &bytes);
    loaded = load(&bytes);
    assert_same_tree(tree, loaded);
    buf_clear(&a.log);
    b.script.tree = loaded;
    listen(&a);
    listen(&b);
    tell_words(&a, story, story->starts[cut], story->count);
    tell_words(&b, story, story->starts[cut], story->count);
    assert_same_bytes(&a.log, &b.log);
    assert_same_tree(tree, loaded);
    tree_save(tree, &bytes_a);
    tree_save(loaded, &bytes_b);
    assert_same_bytes(&bytes_a, &bytes_b);
    tree_settle(tree, 1002);
    tree_settle(loaded, 1002);
    assert_same_tree(tree, loaded);
    tree_watch(tree, NULL);
    tree_watch(loaded, NULL);
    buf_done(&a.log);
    buf_done(&b.log);
}

/* How often to try; TREE_SEEDS in the environment for long runs. */
static uint64_t seeds(uint64_t usual)
{
    const char *text = getenv("TREE_SEEDS");

    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static void the_fold_goes_on_as_if_never_saved(void **state)
{
    struct story story;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds(700); seed++) {
        random_story(seed, &story);
        for (size_t cut = 0; cut < story.parts; cut++) {
            go_on(&story, cut);
        }
    }
}

/* --- damage ------------------------------------------------------------------------------ */

static void assert_refused(const struct buf *bytes, const struct tree_limits *limits,
                           const char *behaviour, const char *expected)
{
    SCOPED(tree_freep) struct tree *loaded = NULL;
    struct error err = {0};

    if (load_bytes(bytes, limits, &loaded, &err) == 0) {
        fail_msg("%s: was loaded", behaviour);
    }
    assert_null(loaded);
    assert_int_equal(err.kind, FAIL_ERROR);
    assert_memory_equal(err.message, DAMAGED, strlen(DAMAGED));
    if (strstr(err.message + strlen(DAMAGED), expected) == NULL) {
        fail_msg("%s: \"%s\" is not in: %s", behaviour, expected, err.message);
    }
}

/* Gives the node at PATH another name of LENGTH, at most one more than it had. */
static void rename_node(struct tree *tree, const char *path, const char *name, size_t length)
{
    struct node *node = tree_find(tree, path);

    assert_non_null(node);
    assert_true(length <= node->length + 1u);
    memcpy(node->name, name, length);
    node->length = (uint16_t)length;
}

static void name_slash(struct tree *tree)
{
    rename_node(tree, "kept", "a/b", 3);
}

static void name_nul(struct tree *tree)
{
    rename_node(tree, "kept", "a\0b", 3);
}

static void name_dot(struct tree *tree)
{
    rename_node(tree, "kept", ".", 1);
}

static void name_dots(struct tree *tree)
{
    rename_node(tree, "kept", "..", 2);
}

static void name_empty(struct tree *tree)
{
    rename_node(tree, "kept", "", 0);
}

static void name_whiteout(struct tree *tree)
{
    rename_node(tree, "kept", ".wh.", 4);
}

static void name_twice(struct tree *tree)
{
    rename_node(tree, "dir/b", "c", 1);
}

static void name_long(struct tree *tree)
{
    SCOPED_FREE char *name = repeat("x", 255, ""), *longer = repeat("x", 256, "");

    add(tree, (struct entry){.path = name, .type = ENTRY_FIFO});
    rename_node(tree, name, longer, 256);
}

/* The last directory of a path of 4096 bytes gets a longer name. */
static void path_long(struct tree *tree)
{
    SCOPED_FREE char *piece = repeat("x", 255, "/"), *top = repeat(piece, 15, "");
    SCOPED_FREE char *path = repeat("x", 254, "/f"), *whole = xprintf("%s%s", top, path);
    SCOPED_FREE char *dir = xstrndup(whole, strlen(whole) - 2);

    assert_int_equal(strlen(whole), 4096);
    add(tree, (struct entry){.path = whole, .type = ENTRY_FIFO});
    rename_node(tree, dir, piece, 255);
}

static void root_named(struct tree *tree)
{
    rename_node(tree, "", "x", 1);
}

static void root_is_no_directory(struct tree *tree)
{
    at(tree, "")->type = ENTRY_FIFO;
}

static void root_has_another_id(struct tree *tree)
{
    at(tree, "")->id = 2;
    at(tree, "etc/file")->id = 30;
    at(tree, "etc")->id = 29;
    tree->last_id = 30;
}

static void children_below_a_fifo(struct tree *tree)
{
    at(tree, "etc")->type = ENTRY_FIFO;
}

static void directory_with_two_names(struct tree *tree)
{
    at(tree, "hollow")->type = ENTRY_DIRECTORY;
}

static void type_hardlink(struct tree *tree)
{
    at(tree, "kept")->type = ENTRY_HARDLINK;
}

static void type_unknown(struct tree *tree)
{
    at(tree, "kept")->type = (enum entry_type)(ENTRY_FIFO + 1);
}

static void id_zero(struct tree *tree)
{
    at(tree, "kept")->id = 0;
}

static void id_twice(struct tree *tree)
{
    at(tree, "kept")->id = at(tree, "hollow")->id;
}

static void id_too_high(struct tree *tree)
{
    at(tree, "kept")->id = tree->last_id + 1;
}

static void ids_at_their_end(struct tree *tree)
{
    tree->last_id = (uint32_t)INT32_MAX + 1;
}

static void newest_negative(struct tree *tree)
{
    tree->newest = -2;
}

static void mode_with_a_type(struct tree *tree)
{
    at(tree, "kept")->mode = 0100644;
}

static void too_many_nanoseconds(struct tree *tree)
{
    at(tree, "kept")->mtime_ns = 1000000000;
}

static void inode_of_a_later_layer(struct tree *tree)
{
    at(tree, "kept")->layer = 4;
}

static void inode_of_a_later_part(struct tree *tree)
{
    at(tree, "kept")->part = 3;
}

static void name_of_a_later_part(struct tree *tree)
{
    tree_find(tree, "kept")->part = 3;
}

static void file_implied(struct tree *tree)
{
    tree_find(tree, "kept")->implied = true;
}

static void set_target(struct tree *tree, char *target)
{
    free(at(tree, "dir/link")->target);
    at(tree, "dir/link")->target = target;
}

static void target_empty(struct tree *tree)
{
    set_target(tree, xstrdup(""));
}

static void target_long(struct tree *tree)
{
    set_target(tree, repeat("x", 4096, ""));
}

static void size_negative(struct tree *tree)
{
    at(tree, "hollow")->size = UINT64_C(1) << 63;
}

static void data_without_a_list(struct tree *tree)
{
    at(tree, "hollow")->data_bytes = 1;
}

static void data_unlike_its_list(struct tree *tree)
{
    at(tree, "etc/file")->data_bytes++;
}

static void set_extents(struct tree *tree, struct extent a, struct extent b)
{
    give_extents(at(tree, "etc/file"), (struct extent[]){a, b}, 2);
}

static void extents_overlapping(struct tree *tree)
{
    set_extents(tree, (struct extent){0, 10}, (struct extent){9, 10});
}

static void extents_backwards(struct tree *tree)
{
    set_extents(tree, (struct extent){100, 10}, (struct extent){0, 10});
}

static void extents_empty(struct tree *tree)
{
    set_extents(tree, (struct extent){0, 10}, (struct extent){20, 0});
}

static void extents_outside(struct tree *tree)
{
    set_extents(tree, (struct extent){0, 10}, (struct extent){UINT64_C(5) << 40, 1});
}

static void extents_overflowing(struct tree *tree)
{
    set_extents(tree, (struct extent){0, 10}, (struct extent){20, UINT64_MAX - 10});
}

/* More memory than it claims, since it is saved as it claims. */
static void content_of_another_size(struct tree *tree)
{
    struct inode *inode = at(tree, "kept");

    inode->content = xrealloc(inode->content, 8);
    memset(inode->content, 0, 8);
    inode->size = 8;
}

static void content_of_a_file_with_holes(struct tree *tree)
{
    give_content(at(tree, "kept"), "a\0\0b", 4);
    give_extents(at(tree, "kept"), (struct extent[]){{0, 1}, {1, 3}}, 2);
}

static struct xattr *xattr_at(struct tree *tree, size_t index)
{
    return &at(tree, "etc/file")->xattrs[index];
}

static void set_xattr_name(struct tree *tree, size_t index, char *name)
{
    free(xattr_at(tree, index)->name);
    xattr_at(tree, index)->name = name;
}

static void xattrs_unsorted(struct tree *tree)
{
    set_xattr_name(tree, 1, xstrdup("user.c"));
}

static void xattr_twice(struct tree *tree)
{
    set_xattr_name(tree, 1, xstrdup("user.b"));
}

static void xattr_without_a_name(struct tree *tree)
{
    set_xattr_name(tree, 0, xstrdup(""));
}

static void xattr_with_a_long_name(struct tree *tree)
{
    set_xattr_name(tree, 2, repeat("x", 256, ""));
}

static void xattr_too_large(struct tree *tree)
{
    const size_t size = (64 << 10) + 1;

    free(xattr_at(tree, 2)->value);
    xattr_at(tree, 2)->value = xcalloc(1, size);
    xattr_at(tree, 2)->size = size;
}

static void acl_short(struct tree *tree)
{
    xattr_at(tree, 0)->size = 3;
}

static void acl_of_a_symlink(struct tree *tree)
{
    struct inode *link = at(tree, "dir/link");

    link->xattrs = xcalloc(1, sizeof(*link->xattrs));
    link->xattr_count = 1;
    link->xattrs[0] =
        (struct xattr){xstrdup("system.posix_acl_access"), xmemdup(ACL, sizeof(ACL)), sizeof(ACL)};
}

static void default_acl_of_a_file(struct tree *tree)
{
    set_xattr_name(tree, 0, xstrdup("system.posix_acl_default"));
}

/* Trees that no fold makes. */
static void impossible_trees_are_refused(void **state)
{
    static const struct {
        const char *behaviour;
        void (*damage)(struct tree *tree);
        const char *expected;
    } rows[] = {
        {"a name with a slash", name_slash, "a name that cannot be"},
        {"a name with a NUL", name_nul, "a name that cannot be"},
        {"a dot", name_dot, "a name that cannot be"},
        {"two dots", name_dots, "a name that cannot be"},
        {"an empty name", name_empty, "a name that cannot be"},
        {"a whiteout", name_whiteout, "a name that cannot be"},
        {"a name of 256 bytes", name_long, "a name that cannot be"},
        {"a name twice", name_twice, "a name that comes twice"},
        {"a path of 4097 bytes", path_long, "a path longer than the limit"},
        {"a root with a name", root_named, "the root"},
        {"a root that is no directory", root_is_no_directory, "the id or type"},
        {"a root that is not number 1", root_has_another_id, "the id or type"},
        {"children of a FIFO", children_below_a_fifo, ""},
        {"a directory with two names", directory_with_two_names, "the number of an inode's names"},
        {"a hard link as an inode", type_hardlink, "the id or type"},
        {"an unknown type", type_unknown, "the id or type"},
        {"id 0", id_zero, "the id or type"},
        {"an id twice", id_twice, "the id or type"},
        {"an id that was never given", id_too_high, "the id or type"},
        {"no ids left", ids_at_their_end, "the newest time or id"},
        {"a newest time before all", newest_negative, "the newest time or id"},
        {"a mode with a type", mode_with_a_type, "metadata"},
        {"a second of nanoseconds", too_many_nanoseconds, "metadata"},
        {"an inode of a later layer", inode_of_a_later_layer, "metadata"},
        {"an inode of a later part", inode_of_a_later_part, "metadata"},
        {"a name of a later part", name_of_a_later_part, "a path's part or inode"},
        {"an implied file", file_implied, "a path's part or inode"},
        {"a symlink to nothing", target_empty, "the target"},
        {"a symlink to 4096 bytes", target_long, "the target"},
        {"a negative size", size_negative, "a file's size"},
        {"some data without a list", data_without_a_list, "bytes of data"},
        {"more data than in the list", data_unlike_its_list, "bytes of data"},
        {"overlapping data", extents_overlapping, "runs of data"},
        {"unsorted data", extents_backwards, "runs of data"},
        {"empty data", extents_empty, "runs of data"},
        {"data behind the end", extents_outside, "runs of data"},
        {"data that overflows", extents_overflowing, "runs of data"},
        {"content of another size", content_of_another_size, ""},
        {"content of a file with holes", content_of_a_file_with_holes, "a file's content"},
        {"unsorted attributes", xattrs_unsorted, "the order of extended attributes"},
        {"an attribute twice", xattr_twice, "the order of extended attributes"},
        {"an attribute without a name", xattr_without_a_name, "the name of an extended"},
        {"an attribute with a long name", xattr_with_a_long_name, "the name of an extended"},
        {"too many bytes of attributes", xattr_too_large, "more bytes of extended attributes"},
        {"a short ACL", acl_short, "an ACL of 3 bytes"},
        {"an ACL of a symlink", acl_of_a_symlink, "an ACL of what can have none"},
        {"a default ACL of a file", default_acl_of_a_file, "an ACL of what can have none"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(tree_freep) struct tree *tree = rich_tree();
        SCOPED(buf_done) struct buf bytes = {0};

        rows[i].damage(tree);
        tree_save(tree, &bytes);
        assert_refused(&bytes, NULL, rows[i].behaviour, rows[i].expected);
    }
}

/*
 * The bytes of "0: a! b! h=a": a head of 28, the root's inode of 54, those of a and b of 62; the
 * root's node of 17, those of a and h (with a rank) of 18 and that of b of 14.
 */
enum {
    HEAD_NEWEST_HIGH = 8,
    HEAD_LAST_ID = 12,
    HEAD_COUNT = 24,
    INODE_ROOT = 28,
    INODE_A = INODE_ROOT + 54,
    INODE_B = INODE_A + 62,
    NODE_ROOT = INODE_B + 62,
    NODE_A = NODE_ROOT + 17,
    NODE_B = NODE_A + 18,
    NODE_H = NODE_B + 14,
    END = NODE_H + 18,
    /* within an inode */
    FLAGS = 4, /* with type, and the lower half of the mode */
    LINKS = 46,
    XATTRS = 50,
    /* within a node */
    INDEX = 5,
    LENGTH = 9,
    CHILDREN = 13,
    RANK = 14,
};

static void impossible_bytes_are_refused(void **state)
{
    static const struct {
        size_t offset;
        uint32_t value;
        const char *expected;
    } rows[] = {
        {0, 0x3054534b, "another format"},
        {HEAD_NEWEST_HIGH, 0x80000000, "the newest time or id"},
        {HEAD_LAST_ID, 2, "the id or type"},
        {HEAD_LAST_ID, UINT32_MAX, "the newest time or id"},
        {HEAD_COUNT, 0, "nothing is in it"},
        {HEAD_COUNT, 2, ""},
        {HEAD_COUNT, 4, ""},
        {HEAD_COUNT, UINT32_MAX, "it ends too early"},
        {INODE_ROOT + FLAGS, ENTRY_DIRECTORY | 2 << 8, "metadata"},
        {INODE_A + FLAGS, ENTRY_CHARACTER | 2 << 8, "metadata"},
        {INODE_A + FLAGS, ENTRY_CHARACTER | 4 << 8, "metadata"},
        {INODE_ROOT + LINKS, 0, "the number of an inode's names"},
        {INODE_A + LINKS, 0, "the number of an inode's names"},
        {INODE_A + LINKS, 1, ""},
        {INODE_A + LINKS, 3, "an inode without a name"},
        {INODE_A + LINKS, UINT32_MAX, "it ends too early"},
        {INODE_B + LINKS, 2, ""},
        {INODE_A + XATTRS, UINT32_MAX, "it ends too early"},
        {INODE_B, 2, "the id or type"},
        {NODE_ROOT + INDEX, 1, "a path's part or inode"}, /* implied, and a device */
        {NODE_ROOT + CHILDREN, 2, "an inode without a name"},
        {NODE_ROOT + CHILDREN, UINT32_MAX, "it ends too early"},
        {NODE_A + INDEX, 0, "the order of an inode's names"},
        {NODE_A + INDEX, 3, "a path's part or inode"},
        {NODE_A + INDEX, UINT32_MAX, "a path's part or inode"},
        {NODE_A + LENGTH, UINT32_MAX, "it ends too early"},
        {NODE_A + RANK, 0, "the order of an inode's names"},
        {NODE_A + RANK, 2, "the order of an inode's names"},
        {NODE_H + RANK, 1, "the order of an inode's names"},
        {NODE_B + INDEX - 1, 1 | 2 << 8, "a path's part or inode"}, /* an implied device */
    };
    SCOPED(tree_freep) struct tree *tree = make("0: a! b! h=a");
    SCOPED(buf_done) struct buf bytes = {0}, number = {0};

    (void)state;
    tree_save(tree, &bytes);
    assert_int_equal(bytes.size, END);
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(buf_done) struct buf damaged = {0};
        SCOPED_FREE char *behaviour = xprintf("row %zu", i);

        buf_clear(&number);
        pack_u32(&number, rows[i].value);
        buf_add(&damaged, bytes.data, bytes.size);
        memcpy(damaged.data + rows[i].offset, number.data, number.size);
        assert_refused(&damaged, NULL, behaviour, rows[i].expected);
    }
}

static void whatever_is_cut_off_is_refused(void **state)
{
    SCOPED(tree_freep) struct tree *tree = rich_tree();
    SCOPED(buf_done) struct buf bytes = {0};

    (void)state;
    tree_save(tree, &bytes);
    while (bytes.size > 0) {
        bytes.size--;
        assert_refused(&bytes, NULL, "cut off", "it ends too early");
    }
}

/* Whatever bit is another one: it is refused, or is another tree and nothing but that tree. */
static void no_bit_is_without_meaning(void **state)
{
    SCOPED(tree_freep) struct tree *tree = rich_tree();
    SCOPED(buf_done) struct buf bytes = {0}, again = {0};

    (void)state;
    tree_save(tree, &bytes);
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        SCOPED(tree_freep) struct tree *loaded = NULL;
        struct error err = {0};

        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        if (load_bytes(&bytes, NULL, &loaded, &err) == 0) {
            buf_clear(&again);
            tree_save(loaded, &again);
            assert_same_bytes(&bytes, &again);
        } else {
            assert_memory_equal(err.message, DAMAGED, strlen(DAMAGED));
        }
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void trees_beyond_the_limits_are_refused(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: a/b/c d");
    SCOPED(tree_freep) struct tree *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0};
    struct error err = {0};

    (void)state;
    tree_save(tree, &bytes);
    assert_refused(&bytes, &(struct tree_limits){.depth = 2}, "depth",
                   "a path longer than the limit");
    assert_refused(&bytes, &(struct tree_limits){.paths = 3}, "paths", "more paths than the limit");
    assert_int_equal(
        load_bytes(&bytes, &(struct tree_limits){.depth = 3, .paths = 4}, &loaded, &err), 0);
}

/* --- scale ------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* As many names of one inode in one directory: what would be quadratic takes minutes. */
static void many_names_take_linear_time(void **state)
{
    const unsigned count = 200000;
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL), *loaded = NULL;
    SCOPED(buf_done) struct buf bytes = {0}, again = {0};
    double start;

    (void)state;
    add(tree, (struct entry){.path = "file", .type = ENTRY_FILE});
    for (unsigned i = 0; i < count; i++) {
        char path[32];

        (void)snprintf(path, sizeof(path), "name-%u", i);
        add(tree, (struct entry){.path = path, .type = ENTRY_HARDLINK, .target = "file"});
    }
    start = seconds();
    tree_save(tree, &bytes);
    loaded = load(&bytes);
    tree_save(loaded, &again);
    assert_true(seconds() - start < 10);
    assert_same_bytes(&bytes, &again);
    assert_same_tree(tree, loaded);
}

static void the_deepest_trees_are_loaded(void **state)
{
    const struct tree_limits limits = {.depth = 2000};
    SCOPED(tree_freep) struct tree *tree = tree_new(&limits), *loaded = NULL;
    SCOPED_FREE char *path = repeat("a/", 1999, "f");
    SCOPED(buf_done) struct buf bytes = {0};
    struct error err = {0};

    (void)state;
    add(tree, (struct entry){.path = path, .type = ENTRY_FILE});
    tree_save(tree, &bytes);
    assert_int_equal(load_bytes(&bytes, &limits, &loaded, &err), 0);
    assert_same_tree(tree, loaded);
}

/* --- the fuzzer's seeds ------------------------------------------------------------------ */

/*
 * They are what tree_save writes today: whoever changes the bytes, and so has to change the number
 * of their format, has them written anew by STATE_SEEDS=1 in the environment.
 */
static void seeds_are_of_this_format(void **state)
{
    static const struct {
        const char *name, *script; /* NULL: the tree with one of everything */
    } rows[] = {
        {"rich", NULL},
        {"empty", "0:"},
        {"deep", "0: a/b/c/d/e/f g@a/b 1: g/h"},
        {"links", "0: a h=a d/i=a c! 1o: s@a t=s h=d/i .wh.a"},
        {"parts", "0: a/ a/b c 1o: a/.wh.b a/d 2: c/e a/"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *path = xprintf("tests/fuzz/seeds/state/%s", rows[i].name);
        SCOPED(tree_freep) struct tree *tree = rows[i].script ? make(rows[i].script) : rich_tree();
        SCOPED(buf_done) struct buf bytes = {0}, seed = {0};
        struct error err = {0};

        tree_save(tree, &bytes);
        if (getenv("STATE_SEEDS") != NULL) {
            SCOPED_FILE FILE *file = fopen(path, "we");

            assert_non_null(file);
            assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
            continue;
        }
        if (file_read(path, 1 << 20, &seed, &err) < 0) {
            fail_msg("%s", err.message);
        }
        assert_same_bytes(&bytes, &seed);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(an_empty_tree_survives),
        cmocka_unit_test(the_same_fold_gives_the_same_bytes),
        cmocka_unit_test(what_follows_is_left_in_the_input),
        cmocka_unit_test(a_loaded_tree_keeps_its_limits),
        cmocka_unit_test(the_fold_goes_on_as_if_never_saved),
        cmocka_unit_test(impossible_trees_are_refused),
        cmocka_unit_test(impossible_bytes_are_refused),
        cmocka_unit_test(whatever_is_cut_off_is_refused),
        cmocka_unit_test(no_bit_is_without_meaning),
        cmocka_unit_test(trees_beyond_the_limits_are_refused),
        cmocka_unit_test(many_names_take_linear_time),
        cmocka_unit_test(the_deepest_trees_are_loaded),
        cmocka_unit_test(seeds_are_of_this_format),
    };

    return cmocka_run_group_tests_name("tree save", tests, NULL, NULL);
}
