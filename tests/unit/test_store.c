/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/partial.h"
#include "store/store_internal.h"

#include <cmocka.h> /* last: it has a macro fail() */

/* Of the entries below: three blocks, the middle one a hole. */
#define DISK_SIZE (2ULL * BLOCK_SIZE + 1000)

/* A store, and the kind of entries that the test is about. */
struct place {
    char dir[32];
    struct store *store;
    enum store_kind kind;
    const char *first, *second; /* files of an entry: the first of states is a disk */
};

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof(*place));
    struct error err = {0};

    place->kind = STORE_STATES;
    place->first = "disk.raw";
    place->second = "tree";
    strcpy(place->dir, "/tmp/kiln-store-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_int_equal(setenv("KILN_STORE", place->dir, 1), 0);
    assert_int_equal(store_open(&place->store, &err), 0);
    *state = place;
    return 0;
}

static int set_up_layers(void **state)
{
    int result = set_up(state);
    struct place *place = *state;

    place->kind = STORE_LAYERS;
    place->first = "layer.tar.zst";
    place->second = "about";
    return result;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    store_free(place->store);
    assert_int_equal(file_remove_tree(place->dir, &err), 0);
    free(place);
    return 0;
}

static const uint8_t *key_of(unsigned number)
{
    static uint8_t key[HASH_SIZE];

    memset(key, 0xa0, sizeof(key));
    key[31] = (uint8_t)number;
    return key;
}

/* The path of a key's entry, and of a file of it unless NAME is NULL: a new string. */
static char *path_of(const struct place *place, enum store_kind kind, unsigned number,
                     const char *name)
{
    char hex[HASH_HEX_MAX];

    return xprintf("%s/%s/%s%s%s", place->dir, store_kind_name(kind), hash_hex(key_of(number), hex),
                   name != NULL ? "/" : "", name != NULL ? name : "");
}

static unsigned entries(const struct place *place, enum store_kind kind)
{
    SCOPED_FREE char *path = file_join(place->dir, store_kind_name(kind));
    SCOPED_DIR DIR *dir = opendir(path);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    return count - 2;
}

static void flip(const char *path, uint64_t offset)
{
    SCOPED_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;

    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static void must_write(const char *path, const char *text)
{
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

/* ---- opening ---- */

static void must_refuse(const char *path, const char *message)
{
    struct store *store = NULL;
    struct error err = {0};

    assert_int_equal(setenv("KILN_STORE", path, 1), 0);
    assert_int_equal(store_open(&store, &err), -1);
    assert_null(store);
    if (strstr(err.message, message) == NULL || strstr(err.hint, "KILN_STORE") == NULL) {
        print_error("%s / %s\n", err.message, err.hint);
        assert_true(false);
    }
}

static void must_open_at(const char *path)
{
    static const char *const kinds[] = {"", "/cores", "/digests", "/layers", "/states"};
    SCOPED(store_freep) struct store *store = NULL;
    struct error err = {0};

    assert_int_equal(store_open(&store, &err), 0);
    assert_string_equal(store_path(store), path);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        SCOPED_FREE char *dir = xprintf("%s%s", path, kinds[i]);
        struct stat st;

        assert_int_equal(stat(dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
}

static void the_environment_says_where_it_is(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *own = file_join(place->dir, "a/own"), *cache = file_join(place->dir, "b");
    SCOPED_FREE char *in_cache = file_join(cache, "kiln"), *home = file_join(place->dir, "c");
    SCOPED_FREE char *in_home = file_join(home, ".cache/kiln");
    struct store *none = NULL;
    struct error err = {0};
    mode_t before = umask(0);

    assert_int_equal(setenv("HOME", home, 1), 0);
    assert_int_equal(setenv("XDG_CACHE_HOME", cache, 1), 0);
    assert_int_equal(setenv("KILN_STORE", own, 1), 0);
    must_open_at(own);
    assert_int_equal(setenv("KILN_STORE", "", 1), 0);
    must_open_at(in_cache);
    assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0);
    must_open_at(in_home);
    assert_int_equal(unsetenv("XDG_CACHE_HOME"), 0);
    must_open_at(in_home);
    assert_int_equal(unsetenv("HOME"), 0);
    assert_int_equal(unsetenv("KILN_STORE"), 0);
    assert_int_equal(store_open(&none, &err), -1);
    assert_non_null(strstr(err.message, "no place for the store"));
    (void)umask(before);
}

static void what_others_can_write_to_is_refused(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *states = file_join(place->dir, "states"), *file = file_join(place->dir, "f");

    assert_int_equal(chmod(states, 0770), 0);
    must_refuse(place->dir, "can be written by others (mode 0770)");
    assert_int_equal(chmod(states, 0755), 0);
    assert_int_equal(chmod(place->dir, 0777), 0);
    must_refuse(place->dir, "can be written by others (mode 0777)");
    assert_int_equal(chmod(place->dir, 0775), 0); /* made with a umask of 002 */
    assert_int_equal(setenv("KILN_STORE", place->dir, 1), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(states, 65534, 65534), 0);
        must_refuse(place->dir, "belongs to user 65534, not to user 0");
    }
    must_write(file, "");
    must_refuse(file, "is not a directory");
    must_refuse("/proc/nothing/store", "No such file");
}

/* ---- small pieces ---- */

static void pieces_come_back_as_they_were(void **state)
{
    static const char *const contents[] = {"core image", "another one", ""};
    const struct place *place = *state;
    SCOPED_FREE char *path = path_of(place, STORE_CORES, 1, NULL);
    struct error err = {0};
    struct stat st;

    for (size_t i = 0; i < COUNT(contents); i++) {
        SCOPED(buf_done) struct buf data = {0}, none = {0};

        assert_int_equal(
            store_put(place->store, STORE_CORES, key_of(1), contents[i], strlen(contents[i]), &err),
            0);
        assert_true(store_get(place->store, STORE_CORES, key_of(1), 100, &data));
        assert_int_equal(data.size, strlen(contents[i]));
        assert_string_equal(data.data, contents[i]);
        assert_false(store_get(place->store, STORE_CORES, key_of(2), 100, &none));
        assert_false(store_get(place->store, STORE_DIGESTS, key_of(1), 100, &none));
        assert_int_equal(entries(place, STORE_CORES), 1);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* It is not there, and no longer in the way. */
static void must_be_dropped(const struct place *place, const char *path, size_t limit)
{
    SCOPED(buf_done) struct buf data = {0};

    assert_true(file_exists(path));
    assert_false(store_get(place->store, STORE_CORES, key_of(1), limit, &data));
    assert_int_equal(data.size, 0);
    assert_false(file_exists(path));
}

static void a_damaged_piece_is_not_there(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *path = path_of(place, STORE_CORES, 1, NULL);
    SCOPED_FREE char *other = path_of(place, STORE_CORES, 2, NULL);
    SCOPED_FREE char *elsewhere = path_of(place, STORE_DIGESTS, 1, NULL);
    const uint64_t size = 13 + HASH_SIZE + 7;
    struct error err = {0};

    for (uint64_t i = 0; i < size; i++) {
        for (int how = 0; how < 2; how++) {
            assert_int_equal(store_put(place->store, STORE_CORES, key_of(1), "content", 7, &err),
                             0);
            if (how == 0) {
                flip(path, i);
            } else {
                assert_int_equal(truncate(path, (off_t)i), 0);
            }
            must_be_dropped(place, path, 100);
        }
    }
    assert_int_equal(store_put(place->store, STORE_CORES, key_of(1), "content", 7, &err), 0);
    assert_int_equal(truncate(path, (off_t)size + 1), 0);
    must_be_dropped(place, path, 100);
    assert_int_equal(store_put(place->store, STORE_CORES, key_of(1), "content", 7, &err), 0);
    must_be_dropped(place, path, 6);
    /* Whole ones under another's name. */
    assert_int_equal(store_put(place->store, STORE_CORES, key_of(2), "content", 7, &err), 0);
    assert_int_equal(rename(other, path), 0);
    must_be_dropped(place, path, 100);
    assert_int_equal(store_put(place->store, STORE_DIGESTS, key_of(1), "content", 7, &err), 0);
    assert_int_equal(rename(elsewhere, path), 0);
    must_be_dropped(place, path, 100);
    /* No files at all. */
    assert_int_equal(symlink("/etc/passwd", path), 0);
    must_be_dropped(place, path, 1 << 20);
    assert_int_equal(mkdir(path, 0700), 0);
    must_be_dropped(place, path, 100);
    assert_int_equal(mkfifo(path, 0600), 0);
    must_be_dropped(place, path, 100);
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void what_does_not_fit_leaves_nothing(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *large = xcalloc(1, 100000);
    struct error err = {0};

    set_file_limit(5000);
    assert_int_equal(store_put(place->store, STORE_CORES, key_of(1), large, 100000, &err), -1);
    set_file_limit(RLIM_INFINITY);
    assert_non_null(strstr(err.message, "save in the store: "));
    assert_int_equal(entries(place, STORE_CORES), 0);
}

static void unfinished_pieces_are_swept_when_they_are_old(void **state)
{
    static const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
    const struct place *place = *state;
    SCOPED_FREE char *left = file_join(place->dir, "cores/a.partial-Abc123");
    SCOPED_FREE char *young = file_join(place->dir, "digests/a.partial-Abc123");
    SCOPED_FREE char *other = file_join(place->dir, "cores/a.partial-Abc12");
    struct error err = {0};

    must_write(left, "");
    must_write(young, "");
    must_write(other, "");
    assert_int_equal(utimensat(AT_FDCWD, left, old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, other, old, 0), 0);
    assert_int_equal(store_sweep(place->store, &err), 0);
    assert_false(file_exists(left));
    assert_true(file_exists(young));
    assert_true(file_exists(other));
}

static void digests_that_nobody_asks_for_are_swept(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *digest = path_of(place, STORE_DIGESTS, 1, NULL);
    SCOPED_FREE char *core = path_of(place, STORE_CORES, 1, NULL);
    SCOPED(buf_done) struct buf data = {0};
    struct timespec old[2] = {{0, 0}, {0, 0}};
    struct error err = {0};

    old[0].tv_sec = old[1].tv_sec = time(NULL) - 31LL * 86400;
    assert_int_equal(store_put(place->store, STORE_CORES, key_of(1), "core", 4, &err), 0);
    assert_int_equal(store_put(place->store, STORE_DIGESTS, key_of(1), "digest", 6, &err), 0);
    assert_int_equal(utimensat(AT_FDCWD, core, old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, digest, old, 0), 0);
    assert_true(store_get(place->store, STORE_DIGESTS, key_of(1), 100, &data));
    assert_int_equal(store_sweep(place->store, &err), 0);
    assert_true(file_exists(digest));
    assert_int_equal(utimensat(AT_FDCWD, digest, old, 0), 0);
    assert_int_equal(store_sweep(place->store, &err), 0);
    assert_false(file_exists(digest));
    assert_true(file_exists(core));
}

/* ---- digests of files ---- */

static void digests_are_remembered_of_files_at_rest(void **state)
{
    static const struct timespec old[2] = {{1000000000, 5}, {1000000000, 5}};
    const struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "layer.tar");
    SCOPED_FD int fd = -1;
    uint8_t digest[HASH_SIZE];
    struct error err = {0};
    struct stat st, now;

    must_write(path, "layer");
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(futimens(fd, old), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_false(store_digest_get(place->store, &st, digest));
    /* Hashing began too soon after the last change, however old the file claims to be. */
    for (int64_t age = -1; age <= 2; age++) {
        assert_int_equal(
            store_digest_put(place->store, fd, &st, st.st_ctim.tv_sec + age, key_of(7), &err), 0);
    }
    assert_false(store_digest_get(place->store, &st, digest));
    assert_int_equal(
        store_digest_put(place->store, fd, &st, st.st_ctim.tv_sec + 3, key_of(7), &err), 1);
    assert_true(store_digest_get(place->store, &st, digest));
    assert_memory_equal(digest, key_of(7), HASH_SIZE);
    /* Another file, and this one after a write of the same size with its time set back. */
    now = st;
    now.st_ino++;
    assert_false(store_digest_get(place->store, &now, digest));
    assert_int_equal(usleep(20000), 0); /* longer than a tick, which times are rounded to */
    assert_int_equal(pwrite(fd, "LAYER", 5, 0), 5);
    assert_int_equal(futimens(fd, old), 0);
    assert_int_equal(fstat(fd, &now), 0);
    assert_int_equal(now.st_mtim.tv_nsec, st.st_mtim.tv_nsec);
    assert_false(store_digest_get(place->store, &now, digest));
    /* It changed while it was hashed. */
    assert_int_equal(
        store_digest_put(place->store, fd, &st, now.st_ctim.tv_sec + 9, key_of(7), &err), 0);
}

static void a_file_from_the_future_is_never_at_rest(void **state)
{
    static const struct timespec future[2] = {{4000000000, 0}, {4000000000, 0}};
    const struct place *place = *state;
    SCOPED_FREE char *path = file_join(place->dir, "layer.tar");
    SCOPED_FD int fd = -1;
    struct error err = {0};
    struct stat st;

    must_write(path, "layer");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(futimens(fd, future), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(
        store_digest_put(place->store, fd, &st, st.st_ctim.tv_sec + 100, key_of(7), &err), 0);
}

/* ---- layers and states ---- */

/* The first file of entry NUMBER: data at both ends. What is wrong is for the caller to see. */
static int write_disk(const char *path, unsigned number)
{
    SCOPED_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char data[1000];

    memset(data, (int)number + 1, sizeof(data));
    if (fd < 0 || ftruncate(fd, DISK_SIZE) < 0 ||
        pwrite(fd, data, sizeof(data), 5000) != sizeof(data) ||
        pwrite(fd, data, sizeof(data), 2 * BLOCK_SIZE) != sizeof(data)) {
        return -1;
    }
    return 0;
}

static int fill(const struct place *place, const struct store_entry *entry, unsigned number,
                struct error *err)
{
    SCOPED_FREE char *disk = file_join(store_entry_path(entry), place->first);
    SCOPED_FREE char *tree = file_join(store_entry_path(entry), place->second);
    char text[32];

    (void)snprintf(text, sizeof(text), "tree %u", number);
    return write_disk(disk, number) < 0 ? fail_os(err, "write '%s'", disk)
                                        : file_write(tree, text, strlen(text), err);
}

static int save(const struct place *place, unsigned number, const char *group, struct error *err)
{
    SCOPED(blocks_freep)
    struct blocks *blocks = place->kind == STORE_STATES ? blocks_new(DISK_SIZE) : NULL;
    SCOPED(store_entry_freep) struct store_entry *entry = NULL;
    const struct store_file files[] = {{place->first, blocks}, {place->second, NULL}};

    if (store_begin(place->store, place->kind, key_of(number), group, &entry, err) < 0 ||
        fill(place, entry, number, err) < 0) {
        return -1;
    }
    return store_commit(entry, files, COUNT(files), err);
}

static void must_save(const struct place *place, unsigned number, const char *group)
{
    struct error err = {0};

    if (save(place, number, group, &err) < 0) {
        print_error("%s\n", err.message);
        assert_true(false);
    }
}

/* Whether FOUND is what entry NUMBER was. */
static bool is_right(const struct place *place, const struct store_found *found, unsigned number)
{
    SCOPED(blocks_freep) struct blocks *blocks = store_found_blocks(found, place->first);
    uint64_t disk_size = 0, tree_size = 0;
    int disk = store_found_file(found, place->first, &disk_size);
    int tree = store_found_file(found, place->second, &tree_size);
    char data[32] = "", text[32];
    bool right = disk >= 0 && tree >= 0 && disk_size == DISK_SIZE &&
                 (blocks != NULL) == (place->kind == STORE_STATES);

    (void)snprintf(text, sizeof(text), "tree %u", number);
    right = right && tree_size == strlen(text) && pread(tree, data, sizeof(data), 0) > 0 &&
            strcmp(data, text) == 0;
    for (uint64_t offset = 5000; right && offset < DISK_SIZE; offset += 2 * BLOCK_SIZE - 5000) {
        right = pread(disk, data, 1, (off_t)offset) == 1 && data[0] == (char)(number + 1);
    }
    for (uint64_t i = 0; right && blocks != NULL && i < blocks_count(blocks); i++) {
        right = blocks_known(blocks, i);
    }
    return right;
}

/* 1: found and right; 0: not there. */
static int look(const struct place *place, unsigned number, bool verify)
{
    SCOPED(store_releasep) struct store_found *found = NULL;
    struct error err = {0};
    int result = store_find(place->store, place->kind, key_of(number), verify, &found, &err);

    if (result < 0) {
        print_error("%s\n", err.message);
    }
    assert_true(result >= 0);
    assert_true(result == 0 || is_right(place, found, number));
    return result;
}

static void a_state_comes_back_as_it_was(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *disk = path_of(place, STORE_STATES, 1, "disk.raw");
    SCOPED(store_releasep) struct store_found *found = NULL;
    SCOPED(blocks_freep) struct blocks *blocks = NULL, *fresh = blocks_new(DISK_SIZE);
    struct error err = {0};
    uint64_t size;
    struct stat st;

    assert_int_equal(look(place, 1, false), 0);
    must_save(place, 1, "web");
    assert_int_equal(look(place, 1, false), 1);
    assert_int_equal(look(place, 1, true), 1);
    assert_int_equal(entries(place, STORE_STATES), 1);
    assert_int_equal(stat(disk, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 < BLOCK_SIZE);
    assert_int_equal(store_find(place->store, STORE_STATES, key_of(1), false, &found, &err), 1);
    blocks = store_found_blocks(found, "disk.raw");
    assert_int_equal(
        blocks_complete(fresh, store_found_file(found, "disk.raw", &size), disk, NULL, NULL, &err),
        0);
    assert_memory_equal(blocks_all(blocks), blocks_all(fresh), 3 * HASH_SIZE);
    assert_null(store_found_blocks(found, "tree"));
    assert_null(store_found_blocks(found, "nothing"));
    assert_int_equal(store_found_file(found, "nothing", &size), -1);
}

static void a_layer_is_opened_by_its_path(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *expected = path_of(place, STORE_LAYERS, 1, "layer.tar.zst");
    SCOPED(store_releasep) struct store_found *found = NULL;
    SCOPED_FREE char *path = NULL;
    struct error err = {0};
    uint64_t size;

    must_save(place, 1, NULL);
    assert_int_equal(look(place, 1, false), 1);
    assert_int_equal(look(place, 1, true), 1);
    assert_int_equal(store_find(place->store, STORE_LAYERS, key_of(1), false, &found, &err), 1);
    path = store_found_path(found, "layer.tar.zst");
    assert_string_equal(path, expected);
    assert_null(store_found_path(found, "disk.raw"));
    assert_null(store_found_path(found, ENTRY_NAME));
    assert_null(store_found_blocks(found, "layer.tar.zst"));
    /* It stays there while it is in use, whatever the limits are. */
    assert_int_equal(
        store_collect(place->store, &(struct store_limits){0}, &(struct store_removed){0}, &err),
        0);
    store_drop(place->store, STORE_LAYERS, key_of(1));
    assert_true(file_exists(path));
    assert_true(store_found_file(found, "layer.tar.zst", &size) >= 0);
    store_release(TAKE(found));
    store_drop(place->store, STORE_LAYERS, key_of(1));
    assert_false(file_exists(path));
}

/* The same key of another kind is another entry. */
static void kinds_do_not_meet(void **state)
{
    const struct place *place = *state;
    struct place other = *place;
    SCOPED_FREE char *from = path_of(place, STORE_STATES, 1, NULL);
    SCOPED_FREE char *to = path_of(place, STORE_LAYERS, 1, NULL);

    other.kind = STORE_LAYERS;
    must_save(place, 1, "web");
    assert_int_equal(look(&other, 1, false), 0);
    assert_int_equal(look(place, 1, false), 1);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(look(&other, 1, false), 0);
    assert_false(file_exists(to));
}

static void of_two_with_one_key_the_first_stays(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *path = path_of(place, place->kind, 1, NULL);
    struct stat first, second;

    must_save(place, 1, "web");
    assert_int_equal(stat(path, &first), 0);
    must_save(place, 1, "web");
    assert_int_equal(stat(path, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(entries(place, place->kind), 1);
    assert_int_equal(look(place, 1, true), 1);
}

static void an_entry_that_is_not_committed_is_not_found(void **state)
{
    const struct place *place = *state;
    struct store_entry *entry = NULL;
    struct error err = {0};

    assert_int_equal(store_begin(place->store, place->kind, key_of(1), "web", &entry, &err), 0);
    assert_int_equal(fill(place, entry, 1, &err), 0);
    assert_int_equal(look(place, 1, false), 0);
    /* Another one's sweep leaves it alone. */
    assert_int_equal(store_sweep(place->store, &err), 0);
    assert_int_equal(entries(place, place->kind), 1);
    store_entry_free(entry);
    assert_int_equal(entries(place, place->kind), 0);
    assert_int_equal(store_begin(place->store, place->kind, key_of(1), "a\nb", &entry, &err), -1);
}

static void what_a_killed_process_left_is_swept(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *left = path_of(place, place->kind, 2, NULL);
    SCOPED_FREE char *path = xprintf("%s.partial-abc123", left);
    SCOPED_FREE char *lock = file_join(path, PARTIAL_LOCK), *file = file_join(path, "tree");
    struct error err = {0};

    assert_int_equal(mkdir(path, 0700), 0);
    must_write(lock, "");
    must_write(file, "half");
    must_save(place, 1, "web");
    assert_int_equal(entries(place, place->kind), 1);
    assert_int_equal(mkdir(path, 0700), 0);
    must_write(lock, "");
    assert_int_equal(store_sweep(place->store, &err), 0);
    assert_int_equal(entries(place, place->kind), 1);
    assert_int_equal(look(place, 1, true), 1);
}

static void an_entry_that_cannot_be_saved_leaves_nothing(void **state)
{
    const struct place *place = *state;
    struct store_entry *entry = NULL;
    const struct store_file files[] = {{place->second, NULL}};
    struct error err = {0};

    /* A file that is listed is not there. */
    assert_int_equal(store_begin(place->store, place->kind, key_of(1), "web", &entry, &err), 0);
    assert_int_equal(store_commit(entry, files, 1, &err), -1);
    assert_non_null(strstr(err.message, "save in the store: open '"));
    store_entry_free(entry);
    assert_int_equal(entries(place, place->kind), 0);
    fail_clear(&err);
    /* The record cannot be written. */
    assert_int_equal(store_begin(place->store, place->kind, key_of(1), "web", &entry, &err), 0);
    assert_int_equal(fill(place, entry, 1, &err), 0);
    set_file_limit(10);
    assert_int_equal(store_commit(entry, files, 1, &err), -1);
    set_file_limit(RLIM_INFINITY);
    store_entry_free(entry);
    assert_int_equal(entries(place, place->kind), 0);
}

/* ---- damage ---- */

enum damage {
    CUT_DISK,
    GROWN_DISK,
    FLIPPED_DISK, /* its modification time set back */
    TOUCHED_DISK,
    TOUCHED_TREE,
    REPLACED_TREE, /* the same content and times in another inode */
    LINKED_TREE,
    LOST_TREE,
    FLIPPED_ENTRY,
    CUT_ENTRY,
    LOST_ENTRY,
    OTHER_ENTRY, /* of another key */
    LOST_LOCK,
    LINKED_LOCK,
    ONLY_A_FILE,
    NOTHING_IN_IT,
    DAMAGES,
};

static void set_times_of(const char *path, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void replace(const char *path)
{
    SCOPED_FREE char *copy = xprintf("%s.copy", path);
    SCOPED(buf_done) struct buf data = {0};
    struct error err = {0};
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(file_read(path, 1 << 20, &data, &err), 0);
    assert_int_equal(file_write(copy, data.data, data.size, &err), 0);
    set_times_of(copy, &st);
    assert_int_equal(rename(copy, path), 0);
}

static void damage_disk(const char *disk, enum damage damage)
{
    struct stat st;

    assert_int_equal(stat(disk, &st), 0);
    if (damage == CUT_DISK || damage == GROWN_DISK) {
        assert_int_equal(truncate(disk, damage == CUT_DISK ? DISK_SIZE - 1 : DISK_SIZE + 1), 0);
    } else {
        assert_int_equal(usleep(20000), 0);
        if (damage == FLIPPED_DISK) {
            flip(disk, 5000);
        } else {
            st.st_mtim.tv_nsec ^= 1;
        }
    }
    set_times_of(disk, &st);
}

static void damage_tree(const char *tree, enum damage damage)
{
    if (damage == REPLACED_TREE) {
        replace(tree);
    } else if (damage == TOUCHED_TREE) {
        assert_int_equal(usleep(20000), 0);
        must_write(tree, "tree 1");
    } else {
        assert_int_equal(unlink(tree), 0);
        assert_true(damage == LOST_TREE || symlink("/etc/passwd", tree) == 0);
    }
}

static void damage_entry(const struct place *place, const char *entry, enum damage damage)
{
    SCOPED_FREE char *other = path_of(place, place->kind, 2, ENTRY_NAME);
    struct stat st;

    assert_int_equal(stat(entry, &st), 0);
    if (damage == FLIPPED_ENTRY) {
        flip(entry, (uint64_t)st.st_size - 1);
    } else if (damage == CUT_ENTRY) {
        assert_int_equal(truncate(entry, 60), 0);
    } else if (damage == LOST_ENTRY) {
        assert_int_equal(unlink(entry), 0);
    } else {
        must_save(place, 2, "other");
        assert_int_equal(rename(other, entry), 0);
        assert_int_equal(look(place, 2, false), 0);
    }
}

static void damage_place(const struct place *place, enum damage damage)
{
    SCOPED_FREE char *path = path_of(place, place->kind, 1, NULL);
    SCOPED_FREE char *lock = file_join(path, PARTIAL_LOCK);
    struct error err = {0};

    if (damage == LOST_LOCK || damage == LINKED_LOCK) {
        assert_int_equal(unlink(lock), 0);
        assert_true(damage == LOST_LOCK || symlink("/etc/passwd", lock) == 0);
        return;
    }
    assert_int_equal(file_remove_tree(path, &err), 0);
    if (damage == ONLY_A_FILE) {
        must_write(path, "x");
    } else {
        assert_int_equal(mkdir(path, 0700), 0);
    }
}

static void a_damaged_entry_is_not_there(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *path = path_of(place, place->kind, 1, NULL);
    SCOPED_FREE char *disk = file_join(path, place->first), *tree = file_join(path, place->second);
    SCOPED_FREE char *entry = file_join(path, ENTRY_NAME);

    for (int damage = 0; damage < DAMAGES; damage++) {
        must_save(place, 1, "web");
        assert_int_equal(look(place, 1, false), 1);
        if (damage <= TOUCHED_DISK) {
            damage_disk(disk, (enum damage)damage);
        } else if (damage <= LOST_TREE) {
            damage_tree(tree, (enum damage)damage);
        } else if (damage <= OTHER_ENTRY) {
            damage_entry(place, entry, (enum damage)damage);
        } else {
            damage_place(place, (enum damage)damage);
        }
        if (look(place, 1, false) != 0 || file_exists(path)) {
            print_error("damage %d\n", damage);
            assert_true(false);
        }
        assert_int_equal(entries(place, place->kind), 0);
    }
}

/* Bytes that changed without anything else doing so: the recorded digest of file FILE is another.
 */
static void rot(const struct place *place, unsigned number, size_t file)
{
    SCOPED(record_done) struct record record = {0};
    SCOPED_FREE char *entry = path_of(place, place->kind, number, ENTRY_NAME);
    SCOPED(buf_done) struct buf data = {0}, rotten = {0};
    struct error err = {0};
    char hex[HASH_HEX_MAX];

    hash_hex(key_of(number), hex);
    assert_int_equal(blob_read(AT_FDCWD, entry, place->kind, hex, 1 << 20, &data, NULL, &err), 0);
    assert_true(record_unpack(data.data, data.size, &record));
    if (record.files[file].blocks != NULL) {
        record.files[file].blocks[HASH_SIZE] ^= 1;
    } else {
        record.files[file].digest[0] ^= 1;
    }
    record_pack(&record, &rotten);
    assert_int_equal(blob_write(entry, place->kind, hex, rotten.data, rotten.size, &err), 0);
}

static void bit_rot_is_found_by_verifying(void **state)
{
    const struct place *place = *state;

    for (size_t file = 0; file < 2; file++) {
        must_save(place, 1, "web");
        rot(place, 1, file);
        assert_int_equal(look(place, 1, false), 1);
        assert_int_equal(look(place, 1, true), 0);
        assert_int_equal(entries(place, place->kind), 0);
    }
}

static void after_a_boot_an_entry_is_verified_once(void **state)
{
    static const char *const boots[] = {"another boot\n", "", NULL};
    const struct place *place = *state;
    SCOPED_FREE char *boot = path_of(place, place->kind, 1, BOOT_NAME);
    SCOPED_FREE char *now = store_boot_id();

    for (size_t i = 0; i < COUNT(boots); i++) {
        SCOPED(buf_done) struct buf noted = {0};
        struct error err = {0};

        for (int rotten = 0; rotten < 2; rotten++) {
            must_save(place, 1, "web");
            if (rotten != 0) {
                rot(place, 1, 0);
            }
            assert_int_equal(unlink(boot), 0);
            if (boots[i] != NULL) {
                must_write(boot, boots[i]);
            }
            assert_int_equal(look(place, 1, false), rotten == 0);
            if (rotten == 0) {
                assert_int_equal(file_read(boot, 100, &noted, &err), 0);
                assert_string_equal(noted.data, now);
            }
            assert_int_equal(store_collect(place->store, &(struct store_limits){0},
                                           &(struct store_removed){0}, &err),
                             0);
        }
    }
}

/* ---- limits ---- */

static void two_states_of_a_group_are_kept(void **state)
{
    const struct place *place = *state;

    must_save(place, 9, "other");
    must_save(place, 1, "web");
    must_save(place, 2, "web");
    assert_int_equal(look(place, 1, false), 1); /* so 2 was used the longest ago */
    must_save(place, 3, "web");
    assert_int_equal(look(place, 2, false), 0);
    assert_int_equal(look(place, 1, false), 1);
    assert_int_equal(look(place, 3, false), 1);
    assert_int_equal(look(place, 9, false), 1);
    must_save(place, 2, "web");
    assert_int_equal(look(place, 1, false), 0);
    assert_int_equal(look(place, 3, false), 1);
}

static uint64_t total(const struct place *place)
{
    SCOPED(store_items_done) struct store_items items = {0};
    struct error err = {0};
    uint64_t size = 0;

    assert_int_equal(store_list(place->store, &items, &err), 0);
    for (size_t i = 0; i < items.count; i++) {
        size += items.items[i].size_bytes;
    }
    return size;
}

/* Each is as dear as the step that made it. */
static void layers_are_kept_until_the_room_is_gone(void **state)
{
    const struct place *place = *state;
    struct place states = *place;
    struct store_limits limits = {.states_per_group = 0};
    struct store_removed removed;
    struct error err = {0};

    states.kind = STORE_STATES;
    for (unsigned i = 1; i <= 4; i++) {
        must_save(place, i, NULL);
    }
    must_save(&states, 5, "web");
    assert_int_equal(look(place, 1, false), 1); /* so 2 was used the longest ago */
    limits.max_bytes = total(place);
    assert_int_equal(store_collect(place->store, &limits, &removed, &err), 0);
    assert_int_equal(removed.count, 1); /* the state */
    assert_int_equal(entries(place, STORE_STATES), 0);
    assert_int_equal(entries(place, STORE_LAYERS), 4);
    limits.max_bytes = total(place) - 1;
    assert_int_equal(store_collect(place->store, &limits, &removed, &err), 0);
    assert_int_equal(removed.count, 1);
    assert_int_equal(look(place, 2, false), 0);
    assert_int_equal(look(place, 1, false), 1);
    assert_int_equal(entries(place, STORE_LAYERS), 3);
}

static void what_is_above_the_size_goes_by_last_use(void **state)
{
    const struct place *place = *state;
    SCOPED(buf_done) struct buf data = {0};
    struct store_limits limits = {.states_per_group = 9};
    struct store_removed removed;
    struct error err = {0};

    assert_int_equal(store_put(place->store, STORE_CORES, key_of(1), "core", 4, &err), 0);
    for (unsigned i = 1; i <= 3; i++) {
        must_save(place, i, i == 2 ? "other" : "web");
    }
    assert_true(store_get(place->store, STORE_CORES, key_of(1), 100, &data));
    limits.max_bytes = total(place);
    assert_int_equal(store_collect(place->store, &limits, &removed, &err), 0);
    assert_int_equal(removed.count, 0);
    limits.max_bytes -= 1;
    assert_int_equal(store_collect(place->store, &limits, &removed, &err), 0);
    assert_int_equal(removed.count, 1);
    assert_true(removed.size_bytes > 0 && total(place) <= limits.max_bytes);
    assert_int_equal(look(place, 1, false), 0);
    assert_int_equal(look(place, 2, false), 1);
    limits.max_bytes = 8192; /* room for the core only, which is the smallest and not the oldest */
    assert_true(store_get(place->store, STORE_CORES, key_of(1), 100, &data));
    assert_int_equal(store_collect(place->store, &limits, &removed, &err), 0);
    assert_int_equal(removed.count, 2);
    assert_int_equal(entries(place, STORE_CORES), 1);
    assert_int_equal(store_collect(place->store, &(struct store_limits){0}, &removed, &err), 0);
    assert_int_equal(removed.count, 1);
    assert_int_equal(total(place), 0);
}

static void an_entry_in_use_stays(void **state)
{
    const struct place *place = *state;
    struct store_found *found = NULL;
    struct store_removed removed;
    struct error err = {0};

    must_save(place, 1, "web");
    must_save(place, 2, "web");
    assert_int_equal(store_find(place->store, place->kind, key_of(1), false, &found, &err), 1);
    assert_int_equal(store_collect(place->store, &(struct store_limits){0}, &removed, &err), 0);
    assert_int_equal(removed.count, 1);
    assert_int_equal(removed.busy, 1);
    assert_int_equal(look(place, 1, false), 1);
    store_release(found);
    assert_int_equal(store_collect(place->store, &(struct store_limits){0}, &removed, &err), 0);
    assert_int_equal(removed.count, 1);
    assert_int_equal(look(place, 1, false), 0);
}

/* Somebody who has the lock alone and does not let go must not hang a build. */
static void an_entry_that_stays_locked_is_not_there(void **state)
{
    const struct place *place = *state;
    SCOPED_FREE char *lock = path_of(place, place->kind, 1, PARTIAL_LOCK);
    SCOPED_FD int fd = -1;

    must_save(place, 1, "web");
    fd = open(lock, O_RDWR | O_CLOEXEC);
    assert_int_equal(partial_flock(fd, LOCK_EX), 0);
    assert_int_equal(look(place, 1, false), 0);
    assert_int_equal(partial_flock(fd, LOCK_UN), 0);
    assert_int_equal(look(place, 1, false), 1);
}

static void only_names_of_its_own_are_listed_and_removed(void **state)
{
    const struct place *place = *state;
    struct place layers = *place;
    SCOPED_FREE char *kvm = file_join(place->dir, "kvm"), *core = file_join(place->dir, "cores/x");
    SCOPED(store_items_done) struct store_items items = {0};
    struct store_removed removed;
    struct error err = {0};

    must_write(kvm, "kiln kvm 1\n");
    must_write(core, "x");
    layers.kind = STORE_LAYERS;
    must_save(place, 1, "we\x1b[31mb");
    must_save(&layers, 2, NULL);
    assert_int_equal(store_list(place->store, &items, &err), 0);
    assert_int_equal(items.count, 2);
    assert_int_equal(items.items[0].kind, STORE_LAYERS);
    assert_null(items.items[0].group);
    assert_int_equal(items.items[1].kind, STORE_STATES);
    assert_string_equal(items.items[1].group, "we\x1b[31mb");
    assert_int_equal(store_collect(place->store, &(struct store_limits){0}, &removed, &err), 0);
    assert_int_equal(removed.count, 2);
    assert_true(file_exists(kvm));
    assert_true(file_exists(core));
}

/* ---- several processes ---- */

/* What must be true whatever others did: no entry is wrong, and nothing that can be swept is left.
 */
static void must_be_sound(const struct place *place, unsigned keys)
{
    SCOPED_FREE char *path = file_join(place->dir, store_kind_name(place->kind));
    SCOPED_DIR DIR *dir = NULL;
    struct dirent *entry;
    struct error err = {0};

    assert_int_equal(store_sweep(place->store, &err), 0);
    for (unsigned i = 0; i < keys; i++) {
        (void)look(place, i, true);
    }
    dir = opendir(path);
    while ((entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *lock = xprintf("%s/%s/" PARTIAL_LOCK, path, entry->d_name);

        assert_false(partial_is_name(entry->d_name, NULL) && file_exists(lock));
    }
}

/* Saves, finds and removes for ever, or ROUNDS times; the status says whether all was right. */
static int work(const struct place *place, unsigned seed, unsigned rounds, unsigned keys)
{
    for (unsigned i = 0; i < rounds; i++) {
        SCOPED(store_releasep) struct store_found *found = NULL;
        unsigned number = (seed * 7 + i) % keys;
        struct error err = {0};
        int result;

        if (i % 3 == 2) {
            store_drop(place->store, place->kind, key_of(number));
        }
        result = store_find(place->store, place->kind, key_of(number), i % 2 == 0, &found, &err);
        if (result < 0 || (result > 0 && !is_right(place, found, number)) ||
            (result == 0 && save(place, number, "web", &err) < 0)) {
            (void)fprintf(stderr, "round %u: %s\n", i, err.message);
            return 1;
        }
    }
    return 0;
}

static void several_at_once_never_see_a_wrong_entry(void **state)
{
    enum { PROCESSES = 4, KEYS = 5 };
    const struct place *place = *state;
    pid_t pids[PROCESSES];
    int status;

    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            _exit(work(place, i, 60, KEYS));
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    must_be_sound(place, KEYS);
    assert_in_range(entries(place, place->kind), 1,
                    place->kind == STORE_STATES ? STORE_STATES_PER_GROUP + 1 : KEYS);
}

static unsigned number_from(const char *variable, unsigned otherwise)
{
    const char *text = getenv(variable);

    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void killed_at_any_moment_it_leaves_nothing_wrong(void **state)
{
    enum { KEYS = 4 };
    const struct place *place = *state;
    unsigned seed = number_from("KILN_TEST_SEED", (unsigned)getpid());
    unsigned kills = number_from("KILN_TEST_KILLS", 40);

    print_message("KILN_TEST_SEED=%u KILN_TEST_KILLS=%u\n", seed, kills);
    srandom(seed);
    for (unsigned i = 0; i < kills; i++) {
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
            _exit(work(place, i, UINT32_MAX, KEYS));
        }
        (void)usleep((useconds_t)(random() % 20000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        must_be_sound(place, KEYS);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define OF_LAYERS(name)                                                                            \
    {                                                                                              \
#name " (layers)", name, set_up_layers, tear_down, NULL                                    \
    }
#define OF_BOTH(name) TEST(name), OF_LAYERS(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_environment_says_where_it_is),
        TEST(what_others_can_write_to_is_refused),
        TEST(pieces_come_back_as_they_were),
        TEST(a_damaged_piece_is_not_there),
        TEST(what_does_not_fit_leaves_nothing),
        TEST(unfinished_pieces_are_swept_when_they_are_old),
        TEST(digests_that_nobody_asks_for_are_swept),
        TEST(digests_are_remembered_of_files_at_rest),
        TEST(a_file_from_the_future_is_never_at_rest),
        TEST(a_state_comes_back_as_it_was),
        OF_LAYERS(a_layer_is_opened_by_its_path),
        TEST(kinds_do_not_meet),
        OF_BOTH(of_two_with_one_key_the_first_stays),
        OF_BOTH(an_entry_that_is_not_committed_is_not_found),
        OF_BOTH(what_a_killed_process_left_is_swept),
        OF_BOTH(an_entry_that_cannot_be_saved_leaves_nothing),
        OF_BOTH(a_damaged_entry_is_not_there),
        OF_BOTH(bit_rot_is_found_by_verifying),
        OF_BOTH(after_a_boot_an_entry_is_verified_once),
        TEST(two_states_of_a_group_are_kept),
        OF_LAYERS(layers_are_kept_until_the_room_is_gone),
        TEST(what_is_above_the_size_goes_by_last_use),
        OF_BOTH(an_entry_in_use_stays),
        OF_BOTH(an_entry_that_stays_locked_is_not_there),
        TEST(only_names_of_its_own_are_listed_and_removed),
        OF_BOTH(several_at_once_never_see_a_wrong_entry),
        OF_BOTH(killed_at_any_moment_it_leaves_nothing_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
