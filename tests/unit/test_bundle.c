/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "bundle/bundle.h"

#include <cmocka.h> /* last: it has a macro fail() */

#define MANIFEST "{\"kiln\": \"0.1.0\", \"disk_format\": 1}"

struct place {
    char dir[32];
    char path[64]; /* of the bundle */
};

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));

    strcpy(place->dir, "/tmp/kiln-bundle-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->path, sizeof(place->path), "%s/web", place->dir);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place);
    return 0;
}

/* How many entries DIR has, hidden ones too. */
static unsigned entries(const char *dir)
{
    SCOPED_DIR DIR *stream = opendir(dir);
    unsigned count = 0;

    assert_non_null(stream);
    while (readdir(stream) != NULL) {
        count++;
    }
    return count - 2;
}

static void write_in(const char *dir, const char *name, const char *text)
{
    SCOPED_FREE char *path = file_join(dir, name);
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

static bool holds(const char *dir, const char *name, const char *text)
{
    SCOPED_FREE char *path = file_join(dir, name);
    SCOPED(buf_done) struct buf buf = {0};
    struct error err = {0};

    return file_read(path, 1 << 20, &buf, &err) == 0 && strcmp(buf.data, text) == 0;
}

static struct bundle *must_begin(const char *path, bool force)
{
    struct bundle *bundle = NULL;
    struct error err = {0};

    if (bundle_begin(path, force, &bundle, &err) < 0) {
        print_error("%s\n", err.message);
    }
    assert_non_null(bundle);
    return bundle;
}

/* Makes a whole bundle with one file more. */
static void must_build(const char *path, bool force, bool sync, const char *text)
{
    SCOPED(bundle_freep) struct bundle *bundle = must_begin(path, force);
    SCOPED_FREE char *manifest = bundle_file(bundle, "manifest.json");
    SCOPED_FREE char *file = bundle_file(bundle, "file");
    struct error err = {0};

    assert_int_equal(file_write(manifest, MANIFEST, strlen(MANIFEST), &err), 0);
    assert_int_equal(file_write(file, text, strlen(text), &err), 0);
    write_in(bundle_temporary(bundle), "scratch", "x");
    assert_false(!force && file_exists(path));
    if (bundle_commit(bundle, sync, &err) < 0) {
        print_error("%s\n", err.message);
    }
    assert_int_equal(err.kind, FAIL_NONE);
}

static void must_refuse(const char *path, bool force, const char *message, const char *hint)
{
    struct bundle *bundle = NULL;
    struct error err = {0};

    assert_int_equal(bundle_begin(path, force, &bundle, &err), -1);
    assert_null(bundle);
    if (strstr(err.message, message) == NULL || strstr(err.hint, hint) == NULL) {
        print_error("%s / %s\n", err.message, err.hint);
        assert_true(false);
    }
}

static void a_bundle_appears_with_its_files_and_nothing_else(void **state)
{
    const struct place *place = *state;

    for (int sync = 0; sync < 2; sync++) {
        struct error err = {0};

        must_build(place->path, false, sync != 0, "content");
        assert_true(holds(place->path, "file", "content"));
        assert_int_equal(entries(place->path), 2);
        assert_int_equal(entries(place->dir), 1);
        assert_int_equal(file_remove_tree(place->path, &err), 0);
    }
}

static void its_mode_is_that_of_any_new_directory(void **state)
{
    static const mode_t umasks[] = {0022, 0077, 0002, 0027};
    const struct place *place = *state;

    for (size_t i = 0; i < COUNT(umasks); i++) {
        mode_t before = umask(umasks[i]);
        struct stat st;

        must_build(place->path, i != 0, false, "x");
        (void)umask(before);
        assert_int_equal(stat(place->path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0777 & ~umasks[i]);
    }
}

static void an_abandoned_build_leaves_nothing(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *deep = xprintf("%s/a/b/c/web", place->dir);
    struct bundle *bundle = must_begin(deep, false);

    write_in(bundle_temporary(bundle), "scratch", "x");
    bundle_free(bundle);
    assert_int_equal(entries(place->dir), 0);
}

static void missing_parents_are_made_and_kept(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *deep = xprintf("%s/a/b/web//", place->dir);
    SCOPED_FREE char *other = xprintf("%s/a/b/other", place->dir);

    must_build(deep, false, false, "x");
    assert_true(holds(deep, "file", "x"));
    bundle_free(must_begin(other, false));
    assert_true(holds(deep, "file", "x"));
}

static void relative_paths_work(void **state)
{
    const struct place *place = *state;
    char before[4096];

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(place->dir), 0);
    must_build("web", false, true, "1");
    must_build("sub/web/", false, true, "2");
    assert_int_equal(chdir(before), 0);
    assert_true(holds(place->path, "file", "1"));
}

static void names_that_are_no_names_are_refused(void **state)
{
    static const char *const must_not_work[] = {"", "/", "//", ".", "..", "x/..", "/tmp/."};

    (void)state;
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        must_refuse(must_not_work[i], true, "cannot be called", "-o out/web");
    }
}

static void what_exists_is_refused_without_force(void **state)
{
    const struct place *place = *state;

    must_build(place->path, false, false, "old");
    must_refuse(place->path, false, "exists", "--force");
    assert_true(holds(place->path, "file", "old"));
    assert_int_equal(entries(place->dir), 1);
}

static void force_replaces_a_bundle_or_an_empty_directory(void **state)
{
    const struct place *place = *state;

    assert_int_equal(mkdir(place->path, 0755), 0);
    must_refuse(place->path, false, "exists", "--force");
    must_build(place->path, true, false, "first");
    must_build(place->path, true, true, "second");
    assert_true(holds(place->path, "file", "second"));
    assert_int_equal(entries(place->dir), 1);
}

static void force_keeps_the_journals_of_the_old_one(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *publish = file_join(place->path, "publish");
    SCOPED_FREE char *journal = file_join(publish, "lab.0123456789abcdef.journal");
    SCOPED_FREE char *link = file_join(publish, "link.0123456789abcdef.journal");
    SCOPED_FD int writer = -1;

    must_build(place->path, false, false, "old");
    assert_int_equal(mkdir(publish, 0755), 0);
    write_in(publish, "lab.0123456789abcdef.journal", "one\n");
    write_in(publish, "else", "x");
    assert_int_equal(symlink("/etc/passwd", link), 0);
    writer = open(journal, O_WRONLY | O_APPEND | O_CLOEXEC);
    must_build(place->path, true, true, "new");
    must_build(place->path, true, false, "newer");
    /* A publish of the first one, still under way. */
    assert_int_equal(write(writer, "two\n", 4), 4);
    assert_true(holds(publish, "lab.0123456789abcdef.journal", "one\ntwo\n"));
    assert_int_equal(entries(publish), 1);
    assert_true(holds(place->path, "file", "newer"));
    assert_int_equal(entries(place->dir), 1);
}

static void a_bundle_whose_journals_cannot_be_kept_stays(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *publish = file_join(place->path, "publish");
    struct bundle *bundle;
    struct error err = {0};

    must_build(place->path, false, false, "old");
    write_in(place->path, "publish", "not a directory");
    for (int i = 0; i < 2; i++) {
        bundle = must_begin(place->path, true);
        assert_int_equal(bundle_commit(bundle, false, &err), -1);
        assert_non_null(strstr(err.message, "keep the journals"));
        fail_clear(&err);
        bundle_free(bundle);
        /* Then a link, by which anything could be read. */
        assert_int_equal(unlink(publish), 0);
        assert_int_equal(symlink(place->dir, publish), 0);
    }
    assert_true(holds(place->path, "file", "old"));
    assert_int_equal(entries(place->dir), 1);
}

static void force_keeps_the_old_one_until_the_end(void **state)
{
    const struct place *place = *state;
    struct bundle *bundle;

    must_build(place->path, false, false, "old");
    bundle = must_begin(place->path, true);
    assert_true(holds(place->path, "file", "old"));
    bundle_free(bundle);
    assert_true(holds(place->path, "file", "old"));
    assert_int_equal(entries(place->dir), 1);
}

static void force_never_replaces_anything_else(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *link = xprintf("%s/link", place->dir);
    SCOPED_FREE char *file = xprintf("%s/file", place->dir);

    assert_int_equal(mkdir(place->path, 0755), 0);
    write_in(place->path, "diary.txt", "dear diary");
    must_refuse(place->path, true, "is no bundle", "choose another place");
    must_refuse(place->path, false, "exists", "choose another place");
    /* A web application's, a browser extension's. */
    write_in(place->path, "manifest.json", "{\"name\": \"app\"}");
    must_refuse(place->path, true, "is no bundle", "choose another place");
    write_in(place->path, "manifest.json", "");
    must_refuse(place->path, true, "is no bundle", "choose another place");
    assert_int_equal(symlink("web", link), 0);
    must_refuse(link, true, "is no bundle", "choose another place");
    write_in(place->dir, "file", "x");
    must_refuse(file, true, "is no bundle", "choose another place");
    assert_true(holds(place->path, "diary.txt", "dear diary"));
}

static void what_was_made_meanwhile_is_kept(void **state)
{
    const struct place *place = *state;

    for (int force = 0; force < 2; force++) {
        struct bundle *bundle = must_begin(place->path, force != 0);
        struct error err = {0};

        assert_int_equal(mkdir(place->path, 0755), 0);
        write_in(place->path, "theirs", "x");
        assert_int_equal(bundle_commit(bundle, false, &err), -1);
        assert_non_null(strstr(err.message, "exists"));
        bundle_free(bundle);
        assert_true(holds(place->path, "theirs", "x"));
        assert_int_equal(entries(place->dir), 1);
        fail_clear(&err);
        assert_int_equal(file_remove_tree(place->path, &err), 0);
    }
}

static void two_builds_at_once_leave_each_other_alone(void **state)
{
    const struct place *place = *state;
    struct bundle *first = must_begin(place->path, false);
    struct bundle *second = must_begin(place->path, false);
    struct error err = {0};

    write_in(bundle_temporary(first), "scratch", "x");
    write_in(bundle_temporary(second), "scratch", "x");
    assert_int_equal(bundle_commit(second, false, &err), 0);
    assert_int_equal(bundle_commit(first, false, &err), -1);
    assert_non_null(strstr(err.message, "exists"));
    bundle_free(first);
    bundle_free(second);
    assert_int_equal(entries(place->dir), 1);
}

static void a_killed_build_is_swept_by_the_next(void **state)
{
    const struct place *place = *state;
    int fds[2], status;
    char byte;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        write_in(bundle_temporary(must_begin(place->path, false)), "scratch", "x");
        (void)!write(fds[1], "x", 1);
        (void)alarm(30); /* should the test fail before it kills */
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(fds[0], &byte, 1), 1);
    bundle_free(must_begin(place->path, false));
    assert_int_equal(entries(place->dir), 1); /* it lives */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(entries(place->dir), 1);
    must_build(place->path, false, false, "x");
    assert_int_equal(entries(place->dir), 1);
    assert_true(holds(place->path, "file", "x"));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void only_what_a_build_left_is_swept(void **state)
{
    /* All of them but the last are not this bundle's, or have no lock and are young. */
    static const struct {
        const char *name;
        bool lock, swept;
    } cases[] = {
        {"web.partial-abcde", true, false},   {"web.partial-abcdefg", true, false},
        {"web.partial-ab-def", true, false},  {"webs.partial-abcdef", true, false},
        {"aweb.partial-abcdef", true, false}, {"web.partial-young1", false, false},
        {"web.partial-abcdef", true, true},
    };
    const struct place *place = *state;
    SCOPED_FREE char *link = xprintf("%s/web.partial-linkli", place->dir);

    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *path = file_join(place->dir, cases[i].name);

        assert_int_equal(mkdir(path, 0700), 0);
        if (cases[i].lock) {
            write_in(path, ".lock", "");
        }
    }
    assert_int_equal(symlink("webs.partial-abcdef", link), 0);
    bundle_free(must_begin(place->path, false));
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *path = file_join(place->dir, cases[i].name);

        assert_int_equal(file_exists(path), !cases[i].swept);
    }
    assert_true(file_exists(link));
}

static void an_unwritable_parent_is_said(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *below_file = xprintf("%s/file/sub/web", place->dir);

    write_in(place->dir, "file", "x");
    must_refuse(below_file, false, "/file", "");
    must_refuse("/proc/kiln/web", false, "/proc/kiln': No such file", "");
    if (geteuid() != 0) {
        assert_int_equal(chmod(place->dir, 0500), 0);
        must_refuse(place->path, false, "beside", "");
        assert_int_equal(chmod(place->dir, 0700), 0);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_bundle_appears_with_its_files_and_nothing_else),
        CASE(its_mode_is_that_of_any_new_directory),
        CASE(an_abandoned_build_leaves_nothing),
        CASE(missing_parents_are_made_and_kept),
        CASE(relative_paths_work),
        CASE(names_that_are_no_names_are_refused),
        CASE(what_exists_is_refused_without_force),
        CASE(force_replaces_a_bundle_or_an_empty_directory),
        CASE(force_keeps_the_journals_of_the_old_one),
        CASE(a_bundle_whose_journals_cannot_be_kept_stays),
        CASE(force_keeps_the_old_one_until_the_end),
        CASE(force_never_replaces_anything_else),
        CASE(what_was_made_meanwhile_is_kept),
        CASE(two_builds_at_once_leave_each_other_alone),
        CASE(a_killed_build_is_swept_by_the_next),
        CASE(only_what_a_build_left_is_swept),
        CASE(an_unwritable_parent_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
