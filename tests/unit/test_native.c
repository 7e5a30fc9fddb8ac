/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/native.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/copy.h"
#include "layer/tree_save.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#include "image.h"

static void an_empty_tree_is_a_clean_file_system(void **state)
{
    struct image image;

    (void)state;
    need_tool("e2fsck");
    image_new(&image, "a.img", "1GiB", NULL);
    image_finish(&image);
    image_done(&image);
}

/* --- data ---------------------------------------------------------------------------------- */

/* What PATH holds on the disk is BYTES. */
static void must_hold(const struct image *image, const char *path, const void *bytes, size_t size)
{
    SCOPED_FREE char *command = xprintf("dump %s out", path);
    SCOPED_FREE char *text = image_debugfs(image, command);
    SCOPED(buf_done) struct buf buf = {0};
    struct error err = {0};

    (void)text;
    assert_int_equal(file_read("out", SIZE_MAX / 2, &buf, &err), 0);
    assert_int_equal(buf.size, size);
    assert_memory_equal(buf.data, bytes, size);
}

/* Holes smaller than a block, at its beginning and end, over several: as zeros or not written. */
static void holes_of_any_size_are_zeros(void **state)
{
    static const uint64_t places[][2] = {{1, 10},    {100, 4000},   {5000, 1},     {8192, 4096},
                                         {12288, 5}, {40000, 9000}, {50000, 6144}, {65535, 1}};
    enum { SIZE = 70001 };
    struct data data[COUNT(places)];
    uint8_t bytes[SIZE] = {0}, digest[HASH_SIZE];
    struct image image;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB", NULL);
    for (size_t i = 0; i < COUNT(places); i++) {
        memset(bytes + places[i][0], 'a' + (int)i, places[i][1]);
        data[i] = (struct data){places[i][0], bytes + places[i][0], places[i][1]};
    }
    image_file(&image, "before", "x", 1);
    image_add(&image, (struct entry){.path = "f", .type = ENTRY_FILE, .size = SIZE}, data,
              COUNT(data));
    image_file(&image, "after", "x", 1);
    image_finish(&image);
    must_hold(&image, "f", bytes, SIZE);
    hash_bytes(bytes, SIZE, digest);
    assert_memory_equal(tree_find(image.stack.tree, "f")->inode->sha256, digest, HASH_SIZE);
    image_done(&image);
}

/* In what pieces data comes is the archive library's business. */
static void pieces_of_data_do_not_matter(void **state)
{
    enum { SIZE = 300001 };
    static const size_t sizes[] = {SIZE, 65536, 10240, 4096, 511, 3};
    SCOPED_FREE uint8_t *bytes = xmalloc(SIZE);
    uint8_t first[HASH_SIZE], again[HASH_SIZE];

    (void)state;
    need_tool("e2fsck");
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (uint8_t)(i * 31 >> 3);
    }
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t count = (SIZE + sizes[i] - 1) / sizes[i];
        SCOPED_FREE struct data *data = xcalloc(count, sizeof(*data));
        struct image image;
        struct error err = {0};

        for (size_t n = 0; n < count; n++) {
            size_t at = n * sizes[i], left = SIZE - at;

            data[n] = (struct data){at, bytes + at, left < sizes[i] ? left : sizes[i]};
        }
        image_new(&image, "a.img", "1GiB", NULL);
        image_file(&image, "hole", bytes, 40000);
        image_file(&image, "x", bytes, 5000);
        image_layer(&image);
        image_remove(&image, "hole");
        image_layer(&image);
        image_add(&image, (struct entry){.path = "f", .type = ENTRY_FILE, .size = SIZE}, data,
                  count);
        image_finish(&image);
        must_hold(&image, "f", bytes, SIZE);
        assert_int_equal(
            blocks_complete(image.disk.blocks, image.engine->fd, "a.img", NULL, NULL, &err), 0);
        blocks_total(image.disk.blocks, i == 0 ? first : again);
        assert_true(i == 0 || memcmp(first, again, HASH_SIZE) == 0);
        image_done(&image);
    }
}

/* Bytes of the disk that are not zero, in a pattern that nothing else has. */
static bool has_pattern(const struct image *image, char byte)
{
    SCOPED_FREE char *block = xmalloc(VOLUME_BLOCK);
    SCOPED_FREE char *pattern = xmalloc(VOLUME_BLOCK);
    struct error err = {0};
    uint64_t offset, size, at = 0;
    bool found = false;

    memset(pattern, byte, VOLUME_BLOCK);
    while (!found && file_next_data(image->engine->fd, at, &offset, &size, "a.img", &err) > 0) {
        for (at = offset; at < offset + size && !found; at += VOLUME_BLOCK) {
            assert_int_equal(file_pread(image->engine->fd, block, VOLUME_BLOCK, at, "a.img", &err),
                             0);
            found = memcmp(block, pattern, VOLUME_BLOCK) == 0;
        }
    }
    return found;
}

static void what_is_replaced_is_gone_from_the_disk(void **state)
{
    SCOPED_FREE char *old = xmalloc(100000), *new = xmalloc(100000);
    struct image image;

    (void)state;
    need_tool("debugfs");
    memset(old, 'o', 100000);
    memset(new, 'n', 100000);
    image_new(&image, "a.img", "1GiB", NULL);
    image_file(&image, "replaced", old, 100000);
    image_file(&image, "removed", old, 100000);
    image_file(&image, "kept", new, 100000);
    image_layer(&image);
    assert_true(has_pattern(&image, 'o'));
    image_file(&image, "replaced", new, 50000);
    image_remove(&image, "removed");
    image_finish(&image);
    assert_false(has_pattern(&image, 'o'));
    must_hold(&image, "replaced", new, 50000);
    must_hold(&image, "kept", new, 100000);
    image_done(&image);
}

/* Blocks that were digested as they were written, and are holes now. */
static void what_is_gone_has_no_digest(void **state)
{
    enum { SIZE = 4 << 20 };
    SCOPED_FREE char *bytes = xmalloc(SIZE);
    uint8_t known[HASH_SIZE], fresh[HASH_SIZE];
    struct image image;
    struct error err = {0};

    (void)state;
    need_tool("e2fsck");
    memset(bytes, 'x', SIZE);
    image_new(&image, "a.img", "1GiB", NULL);
    image_file(&image, "f", bytes, SIZE);
    image_layer(&image);
    image_remove(&image, "f");
    image_finish(&image);
    assert_int_equal(
        blocks_complete(image.disk.blocks, image.engine->fd, "a.img", NULL, NULL, &err), 0);
    blocks_total(image.disk.blocks, known);
    blocks_forget(image.disk.blocks, 0, image.plan->size_bytes);
    assert_int_equal(
        blocks_complete(image.disk.blocks, image.engine->fd, "a.img", NULL, NULL, &err), 0);
    blocks_total(image.disk.blocks, fresh);
    assert_memory_equal(known, fresh, HASH_SIZE);
    image_done(&image);
}

/* One file again and again fills the disk many times over: blocks come back within a layer too. */
static void freed_blocks_are_used_when_there_are_no_others(void **state)
{
    enum { SIZE = 20 << 20 };
    SCOPED_FREE char *bytes = xmalloc(SIZE);
    struct image image;

    (void)state;
    need_tool("debugfs");
    image_new(&image, "a.img", "1GiB",
              "{name: root, type: root, filesystem: ext4, size: 64MiB, mount: /}");
    for (int i = 0; i < 12; i++) {
        memset(bytes, 'a' + i, SIZE);
        image_file(&image, "f", bytes, SIZE);
        if (i % 4 == 3) {
            image_layer(&image);
        }
    }
    image_finish(&image);
    must_hold(&image, "f", bytes, SIZE);
    assert_true(has_pattern(&image, 'l'));
    assert_false(has_pattern(&image, 'j'));
    image_done(&image);
}

/* --- limits -------------------------------------------------------------------------------- */

static void a_full_file_system_names_layer_path_and_what_to_do(void **state)
{
    SCOPED_FREE char *bytes = xcalloc(1, 70 << 20);
    const struct data data = {0, bytes, 70 << 20};
    struct image image;

    (void)state;
    image_new(&image, "a.img", "1GiB",
              "{name: root, type: root, filesystem: ext4, size: 64MiB, mount: /}");
    assert_int_equal(image_try(&image,
                               (struct entry){.path = "f", .type = ENTRY_FILE, .size = 70 << 20},
                               &data, 1),
                     -1);
    assert_string_equal(image.err.message, "layer 'kiln': 'f': the image does not fit: partition "
                                           "'root' has no block left");
    assert_string_equal(image.err.hint, "raise 'size' under 'disk' in t.yaml");
    image_done(&image);
    image_new(&image, "a.img", "1GiB",
              "{name: root, type: root, filesystem: ext4, size: 16MiB, mount: /}");
    for (uint32_t i = 0; i < volume_inodes(image_volume(&image)); i++) {
        SCOPED_FREE char *path = xprintf("f%u", i);

        image_file(&image, path, NULL, 0);
    }
    assert_int_equal(engine_native.layer_end(image.engine, &image.err), -1);
    assert_non_null(strstr(image.err.message, "partition 'root' has no inode left"));
    assert_string_equal(image.err.hint, "raise 'inodes' (or 'size') under 'disk' in t.yaml");
    image_done(&image);
}

static void the_most_links_ext4_takes(void **state)
{
    for (uint32_t links = 65000; links <= 65001; links++) {
        struct image image;

        (void)state;
        need_tool("debugfs");
        image_new(&image, "a.img", "1GiB", NULL);
        image_file(&image, "f", "x", 1);
        for (uint32_t i = 1; i < links; i++) {
            SCOPED_FREE char *path = xprintf("d/%u", i);

            image_link(&image, path, "f");
        }
        if (links == 65000) {
            SCOPED_FREE char *text = NULL;

            image_finish(&image);
            text = image_debugfs(&image, "stat f");
            assert_non_null(strstr(text, "Links: 65000"));
        } else {
            assert_int_equal(image_try_finish(&image), -1);
            assert_non_null(strstr(image.err.message, "65001 hard links; ext4 has room for 65000"));
        }
        image_done(&image);
    }
}

/* A directory's count of links stands for itself up to there, and beyond it is 1. */
static void more_directories_than_links_can_count(void **state)
{
    static const struct {
        unsigned directories;
        const char *links;
    } cases[] = {{64998, "Links: 65000"}, {64999, "Links: 1 "}};

    (void)state;
    need_tool("debugfs");
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *text = NULL;
        struct image image;

        image_new(&image, "a.img", "2GiB", NULL);
        for (unsigned n = 0; n < cases[i].directories; n++) {
            SCOPED_FREE char *path = xprintf("d/%u", n);

            image_directory(&image, path);
        }
        image_finish(&image);
        text = image_debugfs(&image, "stat d");
        assert_non_null(strstr(text, cases[i].links));
        image_done(&image);
    }
}

static void a_file_too_large_for_ext4_is_refused_before_it_is_read(void **state)
{
    struct image image;

    (void)state;
    image_new(&image, "a.img", "1GiB", NULL);
    image_add(&image, (struct entry){.path = "f", .type = ENTRY_FILE, .size = 1}, NULL, 0);
    assert_int_equal(image_try(&image,
                               (struct entry){.path = "f", .type = ENTRY_FILE, .size = 1ULL << 44},
                               NULL, 0),
                     -1);
    assert_string_equal(image.err.message,
                        "layer 'kiln': 'f': a file of 16 TiB; ext4 takes less than 16 TiB");
    image_done(&image);
}

/* --- states -------------------------------------------------------------------------------- */

static void first_layer(struct image *image)
{
    SCOPED_FREE char *bytes = xmalloc(200000);

    memset(bytes, 'b', 200000);
    for (int i = 0; i < 300; i++) {
        SCOPED_FREE char *path = xprintf("usr/share/%d", i);

        image_file(image, path, bytes, (size_t)i * 500);
    }
    image_link(image, "usr/link", "usr/share/7");
    image_layer(image);
    for (int i = 0; i < 300; i += 7) {
        SCOPED_FREE char *path = xprintf("usr/share/%d", i);

        image_remove(image, path);
    }
    image_file(image, "usr/share/8", bytes, 100);
    image_layer(image);
}

static void second_layer(struct image *image)
{
    SCOPED_FREE char *bytes = xmalloc(200000);

    memset(bytes, 'c', 200000);
    for (int i = 0; i < 300; i += 5) {
        SCOPED_FREE char *path = xprintf("usr/share/%d", i);

        image_file(image, path, bytes, (size_t)i * 400);
    }
    for (int i = 0; i < 500; i++) {
        SCOPED_FREE char *path = xprintf("etc/%d", i);

        image_file(image, path, bytes, 10);
    }
}

static void hash_image(struct image *image, uint8_t ret[HASH_SIZE])
{
    struct error err = {0};

    blocks_forget(image->disk.blocks, 0, image->plan->size_bytes);
    assert_int_equal(
        blocks_complete(image->disk.blocks, image->engine->fd, "a.img", NULL, NULL, &err), 0);
    blocks_total(image->disk.blocks, ret);
}

/* The same tree under a new engine on a new disk, which know the saved state only. */
static void go_on_from_state(struct image *image)
{
    SCOPED(buf_done) struct buf part = {0}, whole = {0}, again = {0};
    uint64_t size = image->plan->size_bytes;
    int from, to;
    struct unpack in;
    struct tree *tree;

    engine_native.save(image->engine, &part);
    tree_save(image->stack.tree, &whole);
    engine_native.free(TAKE(image->engine));
    in = (struct unpack){(const uint8_t *)whole.data, (const uint8_t *)whole.data + whole.size,
                         false};
    assert_int_equal(tree_load(&in, NULL, &tree, &image->err), 0);
    tree_free(image->stack.tree);
    image->stack.tree = tree;
    assert_int_equal(rename(image->disk.path, "state.img"), 0);
    from = open("state.img", O_RDONLY | O_CLOEXEC);
    to = open(image->disk.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    assert_true(from >= 0 && to >= 0);
    assert_int_equal(ftruncate(to, (off_t)size), 0);
    image_begin(image);
    in = (struct unpack){(const uint8_t *)part.data, (const uint8_t *)part.data + part.size, false};
    if (engine_native.load(image->engine, &in, &image->err) < 0) {
        fail_msg("%s", image->err.message);
    }
    assert_int_equal(copy_sparse(from, to, size, "state.img", &image->err), 0);
    (void)close(from);
    (void)close(to);
    assert_int_equal(unlink("state.img"), 0);
    engine_native.save(image->engine, &again);
    assert_int_equal(again.size, part.size);
    assert_memory_equal(again.data, part.data, part.size);
    tree_begin(image->stack.tree, image->part, image->part, "layer", RULES_OCI, false);
}

static void from_a_state_the_same_bytes_come_as_from_nothing(void **state)
{
    uint8_t digests[2][HASH_SIZE];

    (void)state;
    need_tool("e2fsck");
    for (int cached = 0; cached < 2; cached++) {
        struct image image;

        image_new(&image, "a.img", "1GiB", NULL);
        first_layer(&image);
        if (cached) {
            go_on_from_state(&image);
        }
        second_layer(&image);
        image_finish(&image);
        hash_image(&image, digests[cached]);
        image_done(&image);
    }
    assert_memory_equal(digests[0], digests[1], HASH_SIZE);
}

static void an_attribute_of_no_namespace_is_a_damaged_state(void **state)
{
    const struct xattr odd = {"odd.name", "", 0};
    SCOPED(buf_done) struct buf part = {0};
    struct unpack in;
    struct image image;

    (void)state;
    image_new(&image, "a.img", "1GiB", NULL);
    image_add(&image, (struct entry){.path = "f", .type = ENTRY_FIFO}, NULL, 0);
    image_layer(&image);
    engine_native.save(image.engine, &part);
    image_done(&image);
    image_open(&image, "a.img", "1GiB", NULL);
    image_add(&image,
              (struct entry){.path = "f", .type = ENTRY_FIFO, .xattrs = &odd, .xattr_count = 1},
              NULL, 0);
    image_begin(&image);
    in = (struct unpack){(const uint8_t *)part.data, (const uint8_t *)part.data + part.size, false};
    assert_int_equal(engine_native.load(image.engine, &in, &image.err), -1);
    assert_string_equal(image.err.message, "the cached state is damaged: a wrong number of blocks");
    image_done(&image);
}

/* --- several partitions -------------------------------------------------------------------- */

static const char PARTITIONS[] =
    "{name: esp, type: esp, filesystem: vfat, size: 64MiB, mount: /boot/efi}, "
    "{name: srv, type: data, filesystem: ext4, size: 128MiB, mount: /srv}, "
    "{name: root, type: root, filesystem: ext4, size: rest, mount: /}";

static void begin_several(struct image *image)
{
    image_new(image, "a.img", "1GiB", PARTITIONS);
    image_directory(image, "srv");
    image_directory(image, "boot/efi");
}

/* FROM comes with data, TO is a link to it in another layer, and then FROM goes. */
static void move_name(struct image *image, const char *from, const char *to, size_t size)
{
    begin_several(image);
    image_file(image, from, "data of it", size);
    image_layer(image);
    image_link(image, to, from);
    image_layer(image);
    image_remove(image, from);
}

static void data_does_not_follow_its_names_to_another_partition(void **state)
{
    static const char *const moves[][2] = {
        {"a", "srv/b"}, {"srv/a", "b"}, {"boot/efi/a", "b"}, {"boot/efi/a", "srv/b"}};
    struct image image;

    (void)state;
    for (size_t i = 0; i < COUNT(moves); i++) {
        move_name(&image, moves[i][0], moves[i][1], 10);
        assert_int_equal(image_try_finish(&image), -1);
        if (strstr(image.err.message, moves[i][1]) == NULL ||
            strstr(image.err.message, "a hard link whose data came by a name on another") == NULL) {
            fail_msg("%s", image.err.message);
        }
        assert_non_null(strstr(image.err.hint, "engine: guestfs"));
        image_done(&image);
    }
}

static void what_has_no_data_moves_with_its_names(void **state)
{
    static const char *const moves[][2] = {
        {"a", "srv/b"}, {"srv/a", "b"}, {"boot/efi/a", "b"}, {"boot/efi/a", "srv/b"}};
    struct image image;

    (void)state;
    need_tool("debugfs");
    for (size_t i = 0; i < COUNT(moves); i++) {
        bool srv = strncmp(moves[i][1], "srv/", 4) == 0;
        SCOPED_FREE char *part = NULL, *text = NULL;

        move_name(&image, moves[i][0], moves[i][1], 0);
        image_finish(&image);
        part = image_part(&image, srv ? 2 : 3);
        text = RUN("debugfs", "-R", "stat b", part);
        assert_non_null(strstr(text, "Links: 1"));
        image_done(&image);
    }
}

/* It is streamed to the FAT later; nothing of it stays on the ext4 file system. */
static void data_that_moves_to_a_fat_leaves_nothing_behind(void **state)
{
    struct image image;
    SCOPED_FREE char *part = NULL, *text = NULL;

    (void)state;
    need_tool("e2fsck");
    move_name(&image, "a", "boot/efi/b", 10);
    image_finish(&image);
    part = image_part(&image, 3);
    text = RUN("debugfs", "-R", "ls -p /boot/efi", part);
    assert_null(strstr(text, "/b/"));
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holes_of_any_size_are_zeros),
        cmocka_unit_test(pieces_of_data_do_not_matter),
        cmocka_unit_test(what_is_replaced_is_gone_from_the_disk),
        cmocka_unit_test(what_is_gone_has_no_digest),
        cmocka_unit_test(freed_blocks_are_used_when_there_are_no_others),
        cmocka_unit_test(a_full_file_system_names_layer_path_and_what_to_do),
        cmocka_unit_test(the_most_links_ext4_takes),
        cmocka_unit_test(more_directories_than_links_can_count),
        cmocka_unit_test(a_file_too_large_for_ext4_is_refused_before_it_is_read),
        cmocka_unit_test(from_a_state_the_same_bytes_come_as_from_nothing),
        cmocka_unit_test(an_attribute_of_no_namespace_is_a_damaged_state),
        cmocka_unit_test(data_does_not_follow_its_names_to_another_partition),
        cmocka_unit_test(what_has_no_data_moves_with_its_names),
        cmocka_unit_test(data_that_moves_to_a_fat_leaves_nothing_behind),
        cmocka_unit_test(an_empty_tree_is_a_clean_file_system),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
