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
        cmocka_unit_test(data_does_not_follow_its_names_to_another_partition),
        cmocka_unit_test(what_has_no_data_moves_with_its_names),
        cmocka_unit_test(data_that_moves_to_a_fat_leaves_nothing_behind),
        cmocka_unit_test(an_empty_tree_is_a_clean_file_system),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
