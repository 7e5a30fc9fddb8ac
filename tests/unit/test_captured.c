/* SPDX-License-Identifier: Apache-2.0 */
/* Steps as layers: nothing until they are captured, then archives; and the times layers bring. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "layer/layer.h"
#include "layer/pax.h"
#include "layer/stack.h"

#include <cmocka.h> /* last: it has a macro named fail */

#include "tools.h"

/* --- helpers --------------------------------------------------------------------------------- */

static int add_bytes(void *data, const void *bytes, size_t size, struct error *err)
{
    (void)err;
    buf_add(data, bytes, size);
    return 0;
}

/* What a step left behind: an archive of one file (none: CONTENT is NULL), captured. */
static const uint8_t capture_key[HASH_SIZE] = {1};

struct capture {
    uint8_t digest[HASH_SIZE];
    uint64_t size;
};

/* Writes NAME.tar.zst. */
static struct capture make_capture(const char *name, const char *content)
{
    SCOPED_FREE char *tar = xprintf("%s.tar", name);
    SCOPED(buf_done) struct buf bytes = {0};
    SCOPED(pax_freep) struct pax *pax = pax_new(add_bytes, &bytes);
    struct entry directory = {.path = "etc", .type = ENTRY_DIRECTORY, .mode = 0755};
    struct entry file = {.path = "etc/made", .type = ENTRY_FILE, .mode = 0644, .mtime = 5000};
    struct capture capture;
    struct error err = {0};

    if (content != NULL) {
        file.size = strlen(content);
        assert_int_equal(pax_entry(pax, &directory, NULL, 0, &err), 0);
        assert_int_equal(pax_entry(pax, &file, NULL, 0, &err), 0);
        assert_int_equal(pax_data(pax, content, file.size, &err), 0);
    }
    assert_int_equal(pax_end(pax, &err), 0);
    assert_int_equal(file_write(tar, bytes.data, bytes.size, &err), 0);
    free(RUN("zstd", "-q", "-f", "--rm", tar));
    hash_bytes(bytes.data, bytes.size, capture.digest);
    capture.size = bytes.size;
    return capture;
}

static struct layer *open_layer(const struct profile_layer *spec)
{
    struct layer *layer = NULL;
    struct error err = {0};

    if (layer_open(spec, ARCH_X86_64, &layer, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return layer;
}

static const struct profile_layer run = {
    .kind = LAYER_RUN, .name = (char *)"setup.sh", .path = (char *)"setup.sh"};

/* Reads it all: a line for each entry, its path and its data. */
static int read_all(struct layer *layer, struct buf *out, struct error *err)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    const void *data;
    uint64_t offset;
    size_t size;
    int more;

    buf_puts(out, "");
    if (layer_reader_open(layer, 0, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) > 0) {
        buf_printf(out, "%s ", entry.path);
        while ((more = layer_reader_data(reader, &data, &size, &offset, err)) > 0) {
            buf_add(out, data, size);
        }
        buf_putc(out, '\n');
    }
    return more;
}

static void reads_as(struct layer *layer, const char *expected)
{
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    if (read_all(layer, &out, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(out.data, expected);
}

static void is_refused(struct layer *layer, enum fail_kind kind, const char *message)
{
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    assert_int_equal(read_all(layer, &out, &err), -1);
    if (strstr(err.message, message) == NULL) {
        fail_msg("'%s' instead of '%s'", err.message, message);
    }
    assert_int_equal(err.kind, kind);
    assert_memory_equal(err.message, "layer 'setup.sh'", 16);
}

/* --- steps ----------------------------------------------------------------------------------- */

static void a_step_has_no_content_until_it_is_captured(void **state)
{
    static const struct profile_layer packages = {.kind = LAYER_PACKAGES, .name = (char *)"debs"};
    static const struct profile_layer archive = {
        .kind = LAYER_ARCHIVE, .name = (char *)"made", .path = (char *)"made.tar.zst"};
    SCOPED(layer_freep) struct layer *layer = open_layer(&run), *other = open_layer(&packages);
    SCOPED(layer_freep) struct layer *plain = NULL;
    struct error err = {0};
    int64_t newest = 0;

    (void)state;
    (void)make_capture("made", "1");
    plain = open_layer(&archive);
    assert_true(layer_is_step(layer) && layer_is_step(other) && !layer_is_step(plain));
    assert_string_equal(layer_format(layer), "run");
    assert_string_equal(layer_format(other), "packages");
    assert_string_equal(layer_label(layer), "setup.sh");
    assert_int_equal(layer_rules(layer), RULES_OCI);
    assert_int_equal(layer_rules(other), RULES_OCI);
    assert_false(layer_untimed(layer));
    assert_int_equal(layer_parts(layer), 1);
    assert_null(layer_archive(layer));
    assert_int_equal(layer_size_hint(layer), 0);
    assert_int_equal(layer_learn(layer, &err), 0);
    assert_int_equal(layer_newest(layer, &newest, &err), 0);
    assert_int_equal(newest, -1);
    is_refused(layer, FAIL_ERROR, "is read before it was captured");
}

static void a_captured_step_is_read_as_its_archive(void **state)
{
    struct capture capture = make_capture("made", "by hand");
    SCOPED(layer_freep) struct layer *layer = open_layer(&run);
    char path[] = "made.tar.zst";
    uint8_t digest[HASH_SIZE];
    struct error err = {0};
    struct stat st;
    int64_t newest, began;
    uint64_t size;

    (void)state;
    layer_capture(layer, capture_key, path, capture.digest, capture.size);
    memset(path, 'x', strlen(path));
    assert_int_equal(layer_learn(layer, &err), 1);
    layer_doubt(layer); /* not what a cache remembers: it stays known */
    assert_int_equal(layer_learn(layer, &err), 1);
    layer_digest(layer, digest, &size);
    assert_memory_equal(digest, capture.digest, HASH_SIZE);
    assert_int_equal(size, capture.size);
    reads_as(layer, "etc \netc/made by hand\n");
    reads_as(layer, "etc \netc/made by hand\n");
    assert_int_equal(stat("made.tar.zst", &st), 0);
    assert_int_equal(layer_size_hint(layer), st.st_size);
    assert_null(layer_archive(layer));
    assert_false(layer_identity(layer, &st, &began));
    assert_int_equal(layer_newest(layer, &newest, &err), 0);
    assert_int_equal(newest, -1);
}

static void a_step_that_changed_nothing_is_an_empty_archive(void **state)
{
    struct capture capture = make_capture("empty", NULL);
    SCOPED(layer_freep) struct layer *layer = open_layer(&run);

    (void)state;
    layer_capture(layer, capture_key, "empty.tar.zst", capture.digest, capture.size);
    reads_as(layer, "");
}

static void a_step_captured_again_is_the_new_one(void **state)
{
    struct capture old = make_capture("old", "old"), new = make_capture("new", "new and longer");
    SCOPED(layer_freep) struct layer *layer = open_layer(&run);
    uint8_t digest[HASH_SIZE];
    struct stat st;
    uint64_t size;

    (void)state;
    layer_capture(layer, capture_key, "old.tar.zst", old.digest, old.size);
    reads_as(layer, "etc \netc/made old\n");
    layer_capture(layer, capture_key, "new.tar.zst", new.digest, new.size);
    reads_as(layer, "etc \netc/made new and longer\n");
    layer_digest(layer, digest, &size);
    assert_memory_equal(digest, new.digest, HASH_SIZE);
    assert_int_equal(stat("new.tar.zst", &st), 0);
    assert_int_equal(layer_size_hint(layer), st.st_size);
}

/* What is in the file counts uncompressed; however it is compressed it is the same. */
static void other_content_than_was_captured_is_a_mismatch(void **state)
{
    struct capture capture = make_capture("made", "content");
    SCOPED(layer_freep) struct layer *layer = open_layer(&run);
    SCOPED_FREE char *message = NULL;
    char a[HASH_HEX_MAX], b[HASH_HEX_MAX];
    struct capture other;

    (void)state;
    layer_capture(layer, capture_key, "made.tar.zst", capture.digest, capture.size);
    free(RUN("sh", "-c", "zstd -q -d made.tar.zst && rm made.tar.zst && zstd -q -19 made.tar"));
    reads_as(layer, "etc \netc/made content\n");
    layer_capture(layer, capture_key, "made.tar.zst", capture.digest, capture.size + 512);
    is_refused(layer, FAIL_MISMATCH, "layer 'setup.sh', uncompressed: has ");
    layer_capture(layer, capture_key, "made.tar.zst", capture.digest, capture.size);
    other = make_capture("made", "c0ntent");
    message = xprintf("layer 'setup.sh', uncompressed: its SHA-256 is %s, not %s",
                      hash_hex(other.digest, a), hash_hex(capture.digest, b));
    is_refused(layer, FAIL_MISMATCH, message);
    free(RUN("truncate", "-s", "-5", "made.tar.zst"));
    is_refused(layer, FAIL_ERROR, "truncated");
    free(RUN("rm", "made.tar.zst"));
    is_refused(layer, FAIL_ERROR, "No such file");
}

/* --- among other layers ---------------------------------------------------------------------- */

static int count_file(void *data, const struct inode *inode, struct error *err)
{
    (void)inode;
    (void)err;
    ++*(unsigned *)data;
    return 0;
}

static int skip_bytes(void *data, const void *bytes, size_t size, uint64_t offset,
                      struct error *err)
{
    (void)data;
    (void)bytes;
    (void)size;
    (void)offset;
    (void)err;
    return 0;
}

/* A stack of an archive, a step and an inline file: the step's rules are those of captured layers.
 */
static void a_stack_takes_steps_like_archives(void **state)
{
    static struct profile_file file = {
        .path = (char *)"/etc/made.d", .content = (char *)"x", .content_size = 1};
    struct profile_layer layers[] = {
        {.kind = LAYER_ARCHIVE, .name = (char *)"base", .path = (char *)"base.tar"},
        {.kind = LAYER_RUN, .name = (char *)"setup.sh"},
        {.kind = LAYER_FILES, .name = (char *)"files:1", .files = &file, .file_count = 1}};
    struct profile profile = {.layers = layers, .layer_count = COUNT(layers)};
    struct capture capture = make_capture("made", "by hand");
    SCOPED(stack_freep) struct stack *stack = NULL;
    unsigned files = 0;
    const struct stack_sink sink = {.file = count_file, .bytes = skip_bytes, .data = &files};
    struct error err = {0};
    const struct node *node;
    uint64_t before;
    struct stat st;

    (void)state;
    free(RUN("sh", "-c",
             "mkdir -p root/usr/etc && ln -s usr/etc root/etc && echo 1 >root/usr/etc/a "
             "&& tar -C root -cf base.tar ."));
    assert_int_equal(stack_open(&profile, &stack, &err), 0);
    before = stack_size(stack);
    layer_capture(stack->layers[1], capture_key, "made.tar.zst", capture.digest, capture.size);
    assert_int_equal(stat("made.tar.zst", &st), 0);
    assert_int_equal(stack_size(stack), before + (uint64_t)st.st_size);
    if (stack_scan(stack, NULL, NULL, NULL, NULL, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_non_null(tree_find(stack->tree, "usr/etc/a"));
    node = tree_find(stack->tree, "etc/made");
    assert_non_null(node);
    assert_int_equal(node->inode->part, 1);
    assert_string_equal(stack_owner(stack, node->inode), "setup.sh");
    assert_non_null(tree_find(stack->tree, "etc/made.d"));
    assert_null(tree_find(stack->tree, "usr/etc/made.d"));
    tree_settle(stack->tree, 1000);
    if (stack_stream(stack, &sink, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(files, 3);
}

/* --- times ----------------------------------------------------------------------------------- */

/* The newest time of a layer, and of the tree that it makes. */
static int64_t newest_of(struct profile_layer *spec)
{
    struct profile profile = {.layers = spec, .layer_count = 1};
    SCOPED(layer_freep) struct layer *layer = open_layer(spec);
    SCOPED(stack_freep) struct stack *stack = NULL;
    struct error err = {0};
    int64_t newest = 7;

    if (layer_newest(layer, &newest, &err) < 0 || stack_open(&profile, &stack, &err) < 0 ||
        stack_scan(stack, NULL, NULL, NULL, NULL, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(newest, tree_newest(stack->tree));
    return newest;
}

/* Writes times.tar of the entries, up to one without a name. */
static void make_archive(const struct entry *entries)
{
    SCOPED(buf_done) struct buf bytes = {0};
    SCOPED(pax_freep) struct pax *pax = pax_new(add_bytes, &bytes);
    struct error err = {0};

    for (; entries->path != NULL; entries++) {
        assert_int_equal(pax_entry(pax, entries, NULL, 0, &err), 0);
    }
    assert_int_equal(pax_end(pax, &err), 0);
    assert_int_equal(file_write("times.tar", bytes.data, bytes.size, &err), 0);
}

#define AT(name, seconds, ...)                                                                     \
    {                                                                                              \
        .path = (name), .mtime = (seconds), __VA_ARGS__                                            \
    }

static void the_newest_time_is_the_one_the_tree_has(void **state)
{
    static const struct {
        struct entry entries[4];
        int64_t newest;
    } rows[] = {
        {{AT("a", 9), AT("b", 3)}, 9},
        {{AT("a", 3), AT("b", 9)}, 9},
        {{AT("a", 3), AT("d", 9, .type = ENTRY_DIRECTORY)}, 9},
        {{AT("a", 3), AT("d/s", 9, .type = ENTRY_SYMLINK, .target = "a")}, 9},
        {{AT("a", 9, .mtime_ns = 1), AT("b", 9)}, 10},
        {{AT("a", -5), AT("b", -2, .mtime_ns = 7)}, -1},
        {{AT("a", -1, .mtime_ns = 7)}, 0},
        {{AT("a", 9), AT("a", 3)}, 9},
        {{AT("a", 3), AT("h", 9, .type = ENTRY_HARDLINK, .target = "a")}, 3},
        {{AT("a", 3), AT(".wh.b", 9), AT("d/.wh.b", 9), AT("d/.wh..wh..opq", 9)}, 3},
        {{AT("a", 3), AT(".wh..wh.plnk/1.2", 9)}, 3},
        {{AT("a", 3), AT("b.wh.c", 9)}, 9},
    };
    struct profile_layer spec = {
        .kind = LAYER_ARCHIVE, .name = (char *)"times.tar", .path = (char *)"times.tar"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct entry entries[COUNT(rows[i].entries) + 1] = {0};

        memcpy(entries, rows[i].entries, sizeof(rows[i].entries));
        make_archive(entries);
        assert_int_equal(newest_of(&spec), rows[i].newest);
    }
}

static void untimed_layers_bring_no_time(void **state)
{
    static struct profile_file file = {.path = (char *)"/a", .content = (char *)"x"};
    struct profile_layer files = {
        .kind = LAYER_FILES, .name = (char *)"files:1", .files = &file, .file_count = 1};
    struct profile_layer directory = {
        .kind = LAYER_DIRECTORY, .name = (char *)"dir", .path = (char *)"dir", .to = (char *)"/"};
    SCOPED(layer_freep) struct layer *layer = NULL;
    struct error err = {0};
    int64_t newest = 7;

    (void)state;
    free(RUN("sh", "-c", "mkdir dir; echo >dir/a"));
    assert_int_equal(newest_of(&files), -1);
    assert_int_equal(newest_of(&directory), -1);
    /* They are not even read. */
    layer = open_layer(&directory);
    free(RUN("rm", "-r", "dir"));
    assert_int_equal(layer_newest(layer, &newest, &err), 0);
    assert_int_equal(newest, -1);
}

static void the_newest_time_of_what_cannot_be_read_is_an_error(void **state)
{
    struct profile_layer spec = {
        .kind = LAYER_ARCHIVE, .name = (char *)"cut.tar", .path = (char *)"cut.tar"};
    SCOPED(layer_freep) struct layer *layer = NULL;
    struct error err = {0};
    int64_t newest = 7;

    (void)state;
    free(RUN("sh", "-c", "seq 10000 >f; tar -cf cut.tar f; truncate -s 1500 cut.tar"));
    layer = open_layer(&spec);
    assert_int_equal(layer_newest(layer, &newest, &err), -1);
    assert_non_null(strstr(err.message, "layer 'cut.tar': "));
    assert_int_equal(newest, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_has_no_content_until_it_is_captured),
        cmocka_unit_test(a_captured_step_is_read_as_its_archive),
        cmocka_unit_test(a_step_that_changed_nothing_is_an_empty_archive),
        cmocka_unit_test(a_step_captured_again_is_the_new_one),
        cmocka_unit_test(other_content_than_was_captured_is_a_mismatch),
        cmocka_unit_test(a_stack_takes_steps_like_archives),
        cmocka_unit_test(the_newest_time_is_the_one_the_tree_has),
        cmocka_unit_test(untimed_layers_bring_no_time),
        cmocka_unit_test(the_newest_time_of_what_cannot_be_read_is_an_error),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
