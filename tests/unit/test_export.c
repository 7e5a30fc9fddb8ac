/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/proc.h"
#include "export/export.h"

#include <cmocka.h> /* last: it has a macro fail() */

enum { DISK_SIZE = 16 << 20, DATA_SIZE = 5 << 20 };

struct place {
    char dir[32];
    char *raw;
};

/* A relative path with a colon is what qemu-img would take for a protocol. */
static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));
    char *data = xmalloc(DATA_SIZE);
    struct error err = {0};

    strcpy(place->dir, "kiln:export-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    place->raw = file_join(place->dir, "disk.raw");
    for (unsigned i = 0, random = 7; i < DATA_SIZE; i++) {
        random = random * 1103515245 + 12345;
        data[i] = (char)(i % 3 != 0 ? 'x' : random >> 16);
    }
    assert_int_equal(file_write(place->raw, data, DATA_SIZE, &err), 0);
    assert_int_equal(truncate(place->raw, DISK_SIZE), 0);
    free(data);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place->raw);
    free(place);
    return 0;
}

static const struct export_format *find_format(const char *name)
{
    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

static void must_run(const char *const *argv, struct buf *output)
{
    struct error err = {0};

    if (proc_run(&(struct proc){.argv = argv, .output = output}, &err) < 0) {
        print_error("%s\n", err.message);
        assert_true(false);
    }
}

static void every_format_has_a_row_of_its_own(void **state)
{
    unsigned bits = 0;

    (void)state;
    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        SCOPED_FREE char *file = xprintf("disk.%s", row->name);

        assert_string_equal(row->file, file);
        assert_int_equal(bits & row->bit, 0);
        bits |= row->bit;
    }
    assert_int_equal(bits, FORMAT_RAW | FORMAT_QCOW2);
    assert_null(find_format("raw")->write);
}

static void qcow2_holds_the_same_bytes_compressed(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "disk.qcow2");
    SCOPED_FREE char *source = xprintf("file:%s", place->raw);
    SCOPED_FREE char *target = xprintf("file:%s", path);
    SCOPED(buf_done) struct buf info = {0}, content = {0};
    struct error err = {0};

    assert_int_equal(find_format("qcow2")->write(place->raw, path, &err), 0);
    must_run((const char *const[]){"qemu-img", "compare", "-f", "raw", "-F", "qcow2", source,
                                   target, NULL},
             NULL);
    must_run((const char *const[]){"qemu-img", "check", "-f", "qcow2", target, NULL}, NULL);
    must_run((const char *const[]){"qemu-img", "info", "-f", "qcow2", target, NULL}, &info);
    assert_non_null(strstr(info.data, "(16777216 bytes)"));
    assert_non_null(strstr(info.data, "compat: 1.1"));
    assert_null(strstr(info.data, "backing file"));
    assert_int_equal(file_read(path, DATA_SIZE * 2 / 3, &content, &err), 0);
}

static void qcow2_is_the_same_each_time(void **state)
{
    const struct place *place = *state;
    SCOPED(buf_done) struct buf first = {0}, second = {0};
    struct buf *contents[] = {&first, &second};

    for (size_t i = 0; i < COUNT(contents); i++) {
        SCOPED_FREE char *path = xprintf("%s/disk%zu.qcow2", place->dir, i);
        struct error err = {0};

        assert_int_equal(find_format("qcow2")->write(place->raw, path, &err), 0);
        assert_int_equal(file_read(path, DISK_SIZE, contents[i], &err), 0);
    }
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
}

static void the_maker_names_its_version(void **state)
{
    SCOPED_FREE char *maker = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(find_format("qcow2")->maker(&maker, &err), 0);
    assert_int_equal(strncmp(maker, "qemu-img version ", 17), 0);
    assert_null(strchr(maker, '\n'));
}

static void failures_name_the_file_and_the_cause(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *missing = file_join(place->dir, "none.raw");
    SCOPED_FREE char *path = file_join(place->dir, "disk.qcow2");
    struct error err = {0};

    assert_int_equal(export_qcow2(missing, path, &err), -1);
    assert_non_null(strstr(err.message, "disk.qcow2': 'qemu-img' ended with status 1: "));
    assert_non_null(strstr(err.message, "No such file"));
    fail_clear(&err);
    assert_int_equal(export_qcow2(place->raw, "/proc/kiln/disk.qcow2", &err), -1);
    assert_non_null(strstr(err.message, "write '/proc/kiln/disk.qcow2'"));
}

static void a_missing_qemu_img_is_said_as_such(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *before = xstrdup(getenv("PATH"));
    SCOPED_FREE char *path = file_join(place->dir, "disk.qcow2");
    struct error err = {0};

    assert_int_equal(setenv("PATH", place->dir, 1), 0);
    assert_int_equal(export_qcow2(place->raw, path, &err), -1);
    assert_int_equal(setenv("PATH", before, 1), 0);
    assert_int_equal(err.kind, FAIL_MISSING);
    assert_non_null(strstr(err.hint, "kiln doctor"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(every_format_has_a_row_of_its_own),    CASE(qcow2_holds_the_same_bytes_compressed),
        CASE(qcow2_is_the_same_each_time),          CASE(the_maker_names_its_version),
        CASE(failures_name_the_file_and_the_cause), CASE(a_missing_qemu_img_is_said_as_such),
    };

    assert_int_equal(chdir("/tmp"), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
