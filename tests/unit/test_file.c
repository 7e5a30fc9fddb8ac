/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the host: holes, trees made and removed, and links that are not followed. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#define MIB (1ULL << 20)

static void write_text(const char *path, const char *text)
{
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

/* Makes a file of SIZE bytes with a byte of data at each of the places, which end in UINT64_MAX. */
static int make_sparse(const char *path, uint64_t size, const uint64_t *places)
{
    struct error err = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (; *places != UINT64_MAX; places++) {
        assert_int_equal(file_pwrite(fd, "x", 1, *places, path, &err), 0);
    }
    return fd;
}

/* Skips where the file system knows no holes. */
static void need_holes(void)
{
    int fd = open("holes", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool known;

    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    known = lseek(fd, 0, SEEK_DATA) < 0;
    close(fd);
    if (!known) {
        print_message("no holes on this file system\n");
        skip();
    }
}

static void data_is_found_between_holes(void **state)
{
    static const uint64_t places[] = {2 * MIB + 5, 5 * MIB, UINT64_MAX};
    uint64_t offset = 0, size = 0, at = 0;
    struct error err = {0};
    int fd;

    (void)state;
    need_holes();
    fd = make_sparse("sparse", 8 * MIB, places);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(file_next_data(fd, at, &offset, &size, "sparse", &err), 1);
        assert_true(offset <= places[i] && places[i] < offset + size);
        assert_true(offset > places[i] - MIB && size < MIB); /* a block of any file system */
        at = offset + size;
    }
    offset = size = 77;
    assert_int_equal(file_next_data(fd, at, &offset, &size, "sparse", &err), 0);
    assert_int_equal(offset, 77); /* written only when there is a run */
    assert_int_equal(size, 77);
    close(fd);
}

static void a_run_begins_where_it_is_asked_for(void **state)
{
    static const uint64_t none[] = {UINT64_MAX};
    SCOPED_FREE char *data = xcalloc(1, 1 << 20);
    uint64_t offset = 0, size = 0;
    struct error err = {0};
    int fd = make_sparse("full", 0, none);

    (void)state;
    memset(data, 'x', 1 << 20);
    assert_int_equal(file_write_all(fd, data, (1 << 20) - 3, "full", &err), 0);
    assert_int_equal(file_next_data(fd, 4099, &offset, &size, "full", &err), 1);
    assert_int_equal(offset, 4099);
    assert_int_equal(offset + size, (1 << 20) - 3);
    assert_int_equal(file_next_data(fd, (1 << 20) - 3, &offset, &size, "full", &err), 0);
    assert_int_equal(file_next_data(fd, UINT64_MAX, &offset, &size, "full", &err), 0);
    close(fd);
}

static void nothing_but_a_hole_has_no_data(void **state)
{
    static const uint64_t none[] = {UINT64_MAX};
    uint64_t offset, size;
    struct error err = {0};
    int fd;

    (void)state;
    need_holes();
    fd = make_sparse("hole", MIB, none);
    assert_int_equal(file_next_data(fd, 0, &offset, &size, "hole", &err), 0);
    close(fd);
    fd = make_sparse("empty", 0, none);
    assert_int_equal(file_next_data(fd, 0, &offset, &size, "empty", &err), 0);
    close(fd);
    assert_int_equal(file_next_data(-1, 0, &offset, &size, "closed", &err), -1);
    assert_string_equal(err.message, "stat 'closed': Bad file descriptor");
}

static void directories_are_made_with_their_parents(void **state)
{
    static const char *const paths[] = {"made/a/b/c", "made/a/b/c", "made//d/", "./made/e/.", "/"};
    struct error err = {0};
    SCOPED_FREE char *absolute = xprintf("%s/made/f/g", (char *)*state);

    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_int_equal(file_make_dirs(paths[i], &err), 0);
    }
    assert_int_equal(file_make_dirs(absolute, &err), 0);
    assert_true(file_exists("made/a/b/c"));
    assert_true(file_exists("made/d"));
    assert_true(file_exists("made/e"));
    assert_true(file_exists("made/f/g"));
}

static void a_directory_behind_a_link_is_there(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(file_make_dirs("real", &err), 0);
    assert_int_equal(symlink("real", "link"), 0);
    assert_int_equal(file_make_dirs("link", &err), 0);
    assert_int_equal(file_make_dirs("link/below", &err), 0);
    assert_true(file_exists("real/below"));
}

static void a_file_in_the_place_of_a_directory_is_an_error(void **state)
{
    struct error err = {0};

    (void)state;
    write_text("file", "");
    assert_int_equal(file_make_dirs("file", &err), -1);
    assert_string_equal(err.message, "make directory 'file': File exists");
    fail_clear(&err);
    assert_int_equal(file_make_dirs("file/below", &err), -1);
    assert_string_equal(err.message, "make directory 'file': File exists");
    fail_clear(&err);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(file_make_dirs("dangling", &err), -1);
    assert_string_equal(err.message, "make directory 'dangling': File exists");
}

static void a_tree_goes_but_not_what_its_links_name(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(file_make_dirs("kept/dir", &err), 0);
    write_text("kept/file", "kept");
    assert_int_equal(file_make_dirs("gone/a/b", &err), 0);
    write_text("gone/a/b/file", "gone");
    assert_int_equal(mkfifo("gone/fifo", 0600), 0);
    assert_int_equal(symlink("../kept", "gone/link"), 0);
    assert_int_equal(symlink("../kept/file", "gone/file-link"), 0);
    assert_int_equal(symlink("nowhere", "gone/dangling"), 0);
    assert_int_equal(symlink("..", "gone/a/up"), 0);
    assert_int_equal(file_remove_tree("gone", &err), 0);
    assert_false(file_exists("gone"));
    assert_true(file_exists("kept/dir"));
    assert_true(file_exists("kept/file"));
}

static void a_link_to_a_tree_goes_alone(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(file_make_dirs("stays/below", &err), 0);
    assert_int_equal(symlink("stays", "alone"), 0);
    assert_int_equal(file_remove_tree("alone", &err), 0);
    assert_false(file_exists("alone"));
    assert_true(file_exists("stays/below"));
}

static void removing_a_file_or_nothing_is_fine(void **state)
{
    struct error err = {0};

    (void)state;
    write_text("one", "");
    assert_int_equal(file_remove_tree("one", &err), 0);
    assert_false(file_exists("one"));
    assert_int_equal(file_remove_tree("never", &err), 0);
    assert_int_equal(file_remove_tree("never/was", &err), 0);
}

static void what_cannot_be_removed_is_an_error(void **state)
{
    struct error err = {0};

    (void)state;
    write_text("plain", "");
    assert_int_equal(file_remove_tree("plain/below", &err), -1);
    assert_string_equal(err.message, "remove 'plain/below': Not a directory");
}

static void files_are_read_up_to_a_limit(void **state)
{
    SCOPED(buf_done) struct buf buf = {0}, more = {0};
    struct error err = {0};

    (void)state;
    write_text("ten", "0123456789");
    assert_int_equal(file_read("ten", 10, &buf, &err), 0);
    assert_int_equal(buf.size, 10);
    assert_string_equal(buf.data, "0123456789");
    assert_int_equal(file_read("ten", 9, &more, &err), -1);
    assert_string_equal(err.message, "'ten' is larger than 9 bytes");
    fail_clear(&err);
    buf_clear(&more);
    assert_int_equal(file_read("missing", 9, &more, &err), -1);
    assert_string_equal(err.message, "open 'missing': No such file or directory");
    fail_clear(&err);
    assert_int_equal(file_read(".", 9, &more, &err), -1);
    assert_string_equal(err.message, "read '.': Is a directory");
}

static void an_empty_file_is_read_as_an_empty_string(void **state)
{
    SCOPED(buf_done) struct buf buf = {0};
    struct error err = {0};

    (void)state;
    write_text("nothing", "");
    assert_int_equal(file_read("nothing", 0, &buf, &err), 0);
    assert_int_equal(buf.size, 0);
    assert_string_equal(buf.data, "");
}

static void short_files_and_full_disks_are_errors(void **state)
{
    struct error err = {0};
    char bytes[8];
    int fd;

    (void)state;
    write_text("short", "1234567");
    fd = open("short", O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_pread(fd, bytes, 8, 0, "short", &err), -1);
    assert_string_equal(err.message, "read 'short': it ends too early");
    fail_clear(&err);
    assert_int_equal(file_pread(fd, bytes, 4, 3, "short", &err), 0);
    assert_memory_equal(bytes, "4567", 4);
    close(fd);
    assert_int_equal(file_write("/dev/full", "x", 1, &err), -1);
    assert_string_equal(err.message, "write '/dev/full': No space left on device");
}

static void paths_are_joined_and_cut(void **state)
{
    static const struct {
        const char *path, *dir, *joined;
    } rows[] = {
        {"a", ".", "d/a"},      {"a/b", "a", "d/a/b"}, {"/a", "/", "/a"},
        {"/a/b", "/a", "/a/b"}, {"/", "/", "/"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *dir = file_dir(rows[i].path), *joined = file_join("d", rows[i].path);

        assert_string_equal(dir, rows[i].dir);
        assert_string_equal(joined, rows[i].joined);
    }
}

static unsigned entries(const char *path)
{
    SCOPED_DIR DIR *dir = opendir(path);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    return count - 2; /* . and .. */
}

static void a_file_is_replaced_whole(void **state)
{
    SCOPED(buf_done) struct buf text = {0}, linked = {0};
    struct error err = {0};
    mode_t mask = umask(027);
    struct stat st;

    (void)state;
    assert_int_equal(mkdir("replace", 0755), 0);
    write_text("replace/old", "old and longer");
    assert_int_equal(link("replace/old", "replace/other"), 0);
    assert_int_equal(file_replace("replace/old", "new", 3, &err), 0);
    (void)umask(mask);
    assert_int_equal(file_read("replace/old", 100, &text, &err), 0);
    assert_string_equal(text.data, "new");
    /* What it was is not written to. */
    assert_int_equal(file_read("replace/other", 100, &linked, &err), 0);
    assert_string_equal(linked.data, "old and longer");
    assert_int_equal(stat("replace/old", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(entries("replace"), 2);
}

static void what_cannot_be_replaced_leaves_nothing(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(mkdir("kept", 0755), 0);
    assert_int_equal(mkdir("kept/directory", 0755), 0);
    assert_int_equal(file_replace("kept/directory", "new", 3, &err), -1);
    assert_non_null(strstr(err.message, "to 'kept/directory': Is a directory"));
    assert_int_equal(entries("kept"), 1);
    fail_clear(&err);
    assert_int_equal(file_replace("none/file", "new", 3, &err), -1);
    assert_non_null(strstr(err.message, "write 'none/file': create 'none/file.partial-"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_replaced_whole),
        cmocka_unit_test(what_cannot_be_replaced_leaves_nothing),
        cmocka_unit_test(data_is_found_between_holes),
        cmocka_unit_test(a_run_begins_where_it_is_asked_for),
        cmocka_unit_test(nothing_but_a_hole_has_no_data),
        cmocka_unit_test(directories_are_made_with_their_parents),
        cmocka_unit_test(a_directory_behind_a_link_is_there),
        cmocka_unit_test(a_file_in_the_place_of_a_directory_is_an_error),
        cmocka_unit_test(a_tree_goes_but_not_what_its_links_name),
        cmocka_unit_test(a_link_to_a_tree_goes_alone),
        cmocka_unit_test(removing_a_file_or_nothing_is_fine),
        cmocka_unit_test(what_cannot_be_removed_is_an_error),
        cmocka_unit_test(files_are_read_up_to_a_limit),
        cmocka_unit_test(an_empty_file_is_read_as_an_empty_string),
        cmocka_unit_test(short_files_and_full_disks_are_errors),
        cmocka_unit_test(paths_are_joined_and_cut),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
