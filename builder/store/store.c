/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/partial.h"
#include "store/store_internal.h"

enum {
    BOOT_ID_MAX = 256,
    LEFT_SECONDS = 60,           /* an unfinished file that nobody writes any more */
    DIGEST_SECONDS = 30 * 86400, /* a digest that nobody asks for: its file, or boot, is gone */
};

const char *store_kind_name(enum store_kind kind)
{
    static const char *const names[] = {[STORE_CORES] = "cores",
                                        [STORE_DIGESTS] = "digests",
                                        [STORE_LAYERS] = "layers",
                                        [STORE_STATES] = "states"};

    return names[kind];
}

bool store_has_entries(enum store_kind kind)
{
    return kind == STORE_LAYERS || kind == STORE_STATES;
}

/* NULL: there is no place for one. */
static char *choose_path(void)
{
    SCOPED_FREE char *cache = file_user_dir("XDG_CACHE_HOME", ".cache");
    const char *own = getenv("KILN_STORE");

    if (own != NULL && own[0] != '\0') {
        return xstrdup(own);
    }
    return cache != NULL ? file_join(cache, "kiln") : NULL;
}

/* Whoever could write there could put content of his own under any key, digest and all. */
static int check_own(const char *path, mode_t foreign, struct error *err)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return fail_os(err, "stat '%s'", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return fail(err, FAIL_ERROR, "'%s' is not a directory", path);
    }
    if (st.st_uid != geteuid()) {
        return fail(err, FAIL_ERROR, "'%s' belongs to user %lu, not to user %lu", path,
                    (unsigned long)st.st_uid, (unsigned long)geteuid());
    }
    if ((st.st_mode & foreign) != 0) {
        return fail(err, FAIL_ERROR, "'%s' can be written by others (mode %04o)", path,
                    (unsigned)(st.st_mode & 07777));
    }
    return 0;
}

static int make_dir(const char *path, mode_t foreign, struct error *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return fail_os(err, "make directory '%s'", path);
    }
    return check_own(path, foreign, err);
}

/*
 * The directory itself may be older than the store and have been made with a umask of 002; a group
 * that writes there can exchange the directories below, and is found out by whose they are then.
 */
static int make_dirs(struct store *store, struct error *err)
{
    SCOPED_FREE char *parent = file_dir(store->path);

    if (file_make_dirs(parent, err) < 0 || make_dir(store->path, S_IWOTH, err) < 0) {
        return -1;
    }
    for (int kind = 0; kind < STORE_KINDS; kind++) {
        store->dirs[kind] = file_join(store->path, store_kind_name((enum store_kind)kind));
        if (make_dir(store->dirs[kind], S_IWGRP | S_IWOTH, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int store_open(struct store **ret, struct error *err)
{
    SCOPED(store_freep) struct store *store = xcalloc(1, sizeof(*store));

    store->path = choose_path();
    if (store->path == NULL) {
        fail(err, FAIL_ERROR, "no place for the store: neither KILN_STORE nor HOME is set");
        return fail_hint(err, "KILN_STORE=DIR names one");
    }
    if (make_dirs(store, err) < 0) {
        fail_while(err, "open the store");
        return fail_hint(err, "KILN_STORE=DIR names another place");
    }
    *ret = TAKE(store);
    return 0;
}

void store_free(struct store *store)
{
    if (store == NULL) {
        return;
    }
    for (int kind = 0; kind < STORE_KINDS; kind++) {
        free(store->dirs[kind]);
    }
    free(store->path);
    free(store);
}

const char *store_path(const struct store *store)
{
    return store->path;
}

char *store_boot_id(void)
{
    SCOPED(buf_done) struct buf text = {0};
    struct error ignored = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, &ignored) < 0 ||
        text.size == 0) {
        return NULL;
    }
    return buf_take(&text);
}

struct timespec store_now(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now;
}

/* What there is no room for in kiln's tables says nothing about what is stored. */
bool store_is_damage(const struct error *err)
{
    return err->kind == FAIL_ERROR && err->os != EMFILE && err->os != ENFILE && err->os != ENOMEM;
}

bool store_is_key(const char *name)
{
    uint8_t digest[HASH_SIZE];

    return name[strcspn(name, "ABCDEF")] == '\0' && hash_parse(name, digest);
}

uint64_t store_allocated(const struct stat *st)
{
    return st->st_blocks > 0 ? (uint64_t)st->st_blocks * 512 : 1;
}

uint64_t store_allocated_in(const char *path)
{
    SCOPED_DIR DIR *dir = opendir(path);
    struct dirent *entry;
    uint64_t size = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *name = file_join(path, entry->d_name);
        struct stat st;

        if (lstat(name, &st) == 0 && !S_ISDIR(st.st_mode)) {
            size += store_allocated(&st);
        }
    }
    return size;
}

/* Files are written at once, so their age tells which were left. */
static bool is_left(enum store_kind kind, const char *name, const char *path)
{
    int64_t now = store_now().tv_sec;
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    if (partial_is_name(name, NULL)) {
        return st.st_mtime <= now - LEFT_SECONDS;
    }
    return kind == STORE_DIGESTS && store_is_key(name) && st.st_mtime <= now - DIGEST_SECONDS;
}

static int sweep_pieces(const struct store *store, enum store_kind kind, struct error *err)
{
    SCOPED_DIR DIR *dir = opendir(store->dirs[kind]);
    struct dirent *entry;

    if (dir == NULL) {
        return fail_os(err, "open directory '%s'", store->dirs[kind]);
    }
    while ((entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *path = file_join(store->dirs[kind], entry->d_name);

        if (is_left(kind, entry->d_name, path) && unlink(path) < 0 && errno != ENOENT) {
            return fail_os(err, "remove '%s'", path);
        }
    }
    return 0;
}

int store_sweep(const struct store *store, struct error *err)
{
    int result = 0;

    for (int kind = 0; kind < STORE_KINDS && result == 0; kind++) {
        result = store_has_entries((enum store_kind)kind)
                     ? partial_sweep(store->dirs[kind], NULL, err)
                     : sweep_pieces(store, (enum store_kind)kind, err);
    }
    return result;
}
