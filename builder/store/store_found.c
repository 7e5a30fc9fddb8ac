/* SPDX-License-Identifier: Apache-2.0 */
/* Layers and states being used, and removed. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/partial.h"
#include "base/stop.h"
#include "store/store_internal.h"

enum {
    ATTEMPTS = 5,  /* to lock what others remove and make again */
    PATIENCE = 50, /* times to ask for a lock whose holder is about to let go */
    PAUSE_NS = 10000000,
};

struct store_found {
    enum store_kind kind;
    char key[HASH_HEX_MAX];
    char *path;
    int dir, lock;
    struct record record;
    int files[RECORD_FILES_MAX];
};

static struct store_found *found_new(const struct store *store, enum store_kind kind,
                                     const char *key)
{
    struct store_found *found = xcalloc(1, sizeof(*found));

    assert(store_has_entries(kind));
    found->kind = kind;
    (void)snprintf(found->key, sizeof(found->key), "%s", key);
    found->path = file_join(store->dirs[kind], key);
    found->dir = found->lock = -1;
    for (size_t i = 0; i < RECORD_FILES_MAX; i++) {
        found->files[i] = -1;
    }
    return found;
}

/* ---- the lock ---- */

static void close_place(struct store_found *found)
{
    scope_fd(&found->lock);
    scope_fd(&found->dir);
    found->lock = found->dir = -1;
}

/* True when the directory that is open is the one that has the name. */
static bool is_in_place(const struct store_found *found)
{
    struct stat open, named;

    return fstat(found->dir, &open) == 0 && lstat(found->path, &named) == 0 &&
           open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

/*
 * Opens the directory with its lock, taken as OPERATION says: 1; 0: it is not there; -1 also when
 * there is no lock to take, and then the directory is open. Whoever removes an entry holds its lock
 * alone and renames it first; so one that was locked and still has its name stays.
 */
static int lock_entry(struct store_found *found, int operation, struct error *err)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        close_place(found);
        found->dir = open(found->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (found->dir < 0) {
            return errno == ENOENT ? 0 : fail_os(err, "open directory '%s'", found->path);
        }
        found->lock =
            openat(found->dir, PARTIAL_LOCK, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (found->lock < 0 && is_in_place(found)) {
            return fail_os(err, "open the lock of '%s'", found->path);
        }
        if (found->lock < 0) {
            continue;
        }
        if (partial_flock(found->lock, operation) < 0) {
            return fail_os(err, "lock '%s'", found->path);
        }
        if (is_in_place(found)) {
            return 1;
        }
    }
    close_place(found);
    return 0;
}

/*
 * For reading. Whoever commits or removes the entry holds the lock alone for a moment; if he is
 * stopped in it, the entry is as good as not there.
 */
static int lock_shared(struct store_found *found, struct error *err)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (int attempt = 0; attempt < PATIENCE; attempt++) {
        int result = lock_entry(found, LOCK_SH | LOCK_NB, err);

        if (result >= 0 || err->os != EWOULDBLOCK) {
            return result;
        }
        fail_clear(err);
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

/* Renamed first, to a name that is swept should the rest not be done. */
static int remove_from(const char *path, struct error *err)
{
    SCOPED_FREE char *aside = xprintf("%s" PARTIAL_TEMPLATE, path);

    if (mkdtemp(aside) == NULL) {
        return fail_os(err, "make a directory beside '%s'", path);
    }
    if (rename(path, aside) < 0) {
        (void)rmdir(aside);
        return file_remove_tree(path, err);
    }
    return file_remove_tree(aside, err);
}

int entry_remove(const struct store *store, enum store_kind kind, const char *key,
                 struct error *err)
{
    SCOPED(store_releasep) struct store_found *found = found_new(store, kind, key);
    int result = lock_entry(found, LOCK_EX | LOCK_NB, err);

    if (result == 0) { /* gone already */
        return 1;
    }
    if (result < 0 && err->os == EWOULDBLOCK) {
        fail_clear(err);
        result = 0;
    } else if (result > 0 || store_is_damage(err)) { /* without a lock nobody can be using it */
        fail_clear(err);
        result = remove_from(found->path, err) < 0 ? -1 : 1;
    }
    return result;
}

/* ---- what is wrong with it ---- */

static int read_record(struct store_found *found, struct error *err)
{
    SCOPED(buf_done) struct buf data = {0};

    if (blob_read(found->dir, ENTRY_NAME, found->kind, found->key, ENTRY_LIMIT, &data, NULL, err) <
        0) {
        return -1;
    }
    return record_unpack(data.data, data.size, &found->record)
               ? 0
               : fail(err, FAIL_ERROR, "'" ENTRY_NAME "' is not of this version's making");
}

static int open_file(struct store_found *found, size_t i, struct error *err)
{
    const struct record_file *file = &found->record.files[i];
    struct record_identity identity;
    struct stat st;

    found->files[i] =
        openat(found->dir, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (found->files[i] < 0) {
        return fail_os(err, "open '%s'", file->name);
    }
    if (fstat(found->files[i], &st) < 0) {
        return fail_os(err, "stat '%s'", file->name);
    }
    record_identify(&st, &identity);
    if (!S_ISREG(st.st_mode) || !record_same(&identity, &file->identity)) {
        return fail(err, FAIL_ERROR, "'%s' is not the file that was stored, or was written to",
                    file->name);
    }
    return 0;
}

static int verify_file(const struct store_found *found, size_t i, struct error *err)
{
    const struct record_file *file = &found->record.files[i];
    SCOPED(blocks_freep) struct blocks *blocks = NULL;
    uint8_t digest[HASH_SIZE];
    bool same;

    if (file->blocks == NULL) {
        if (file_hash(found->files[i], file->name, digest, err) < 0) {
            return -1;
        }
        same = memcmp(digest, file->digest, HASH_SIZE) == 0;
    } else {
        blocks = blocks_new(file->identity.size_bytes);
        if (blocks_complete(blocks, found->files[i], file->name, NULL, NULL, err) < 0) {
            return -1;
        }
        same = memcmp(blocks_all(blocks), file->blocks, record_blocks(file) * HASH_SIZE) == 0;
    }
    return same ? 0 : fail(err, FAIL_ERROR, "'%s' does not hold what was stored", file->name);
}

/*
 * Saving does not wait for the disk, so a power cut may leave files with the right size and times
 * and other bytes; after each boot they are read once. BOOT is the caller's to free; NULL: unknown.
 */
static bool is_proven(const struct store_found *found, const char *boot)
{
    char text[64] = "";
    SCOPED_FD int fd =
        openat(found->dir, BOOT_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t size = fd < 0 || boot == NULL ? -1 : read(fd, text, sizeof(text) - 1);

    return size > 0 && strcmp(text, boot) == 0;
}

/* Where it fails, the next one verifies again. */
static void note_proven(const struct store_found *found, const char *boot)
{
    SCOPED_FD int fd =
        openat(found->dir, BOOT_NAME,
               O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct error ignored = {0};

    if (fd >= 0 && boot != NULL) {
        (void)file_write_all(fd, boot, strlen(boot), BOOT_NAME, &ignored);
    }
}

static int check_entry(struct store_found *found, bool verify, struct error *err)
{
    SCOPED_FREE char *boot = store_boot_id();
    bool proven;

    if (read_record(found, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < found->record.count; i++) {
        if (open_file(found, i, err) < 0) {
            return -1;
        }
    }
    proven = is_proven(found, boot);
    for (size_t i = 0; (verify || !proven) && i < found->record.count; i++) {
        if (verify_file(found, i, err) < 0) {
            return -1;
        }
    }
    if (!proven) {
        note_proven(found, boot);
    }
    return 0;
}

int entry_open(const struct store *store, enum store_kind kind, const char *key, bool verify,
               struct store_found **ret, bool *ret_damaged, struct error *err)
{
    SCOPED(store_releasep) struct store_found *found = found_new(store, kind, key);
    struct error ignored = {0};
    int result = lock_shared(found, err);

    if (result > 0 && check_entry(found, verify, err) == 0) {
        *ret = TAKE(found);
        return 1;
    }
    if (result == 0) {
        return 0;
    }
    *ret_damaged = store_is_damage(err);
    store_release(TAKE(found));
    if (*ret_damaged) {
        (void)entry_remove(store, kind, key, &ignored);
    }
    return -1;
}

/* ---- using it ---- */

int store_find(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
               bool verify, struct store_found **ret, struct error *err)
{
    struct timespec times[2];
    char hex[HASH_HEX_MAX];
    bool damaged = false;
    int result = entry_open(store, kind, hash_hex(key, hex), verify, ret, &damaged, err);

    if (result < 0 && damaged) {
        fail_clear(err);
        return 0;
    }
    if (result > 0) {
        times[0] = times[1] = store_now();
        (void)utimensat((*ret)->dir, ENTRY_NAME, times, AT_SYMLINK_NOFOLLOW);
    }
    return result < 0 ? fail_while(err, "look in the store") : result;
}

void store_drop(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE])
{
    struct error ignored = {0};
    char hex[HASH_HEX_MAX];

    (void)entry_remove(store, kind, hash_hex(key, hex), &ignored);
}

static size_t find_file(const struct store_found *found, const char *name)
{
    size_t i = 0;

    while (i < found->record.count && strcmp(found->record.files[i].name, name) != 0) {
        i++;
    }
    return i;
}

int store_found_file(const struct store_found *found, const char *name, uint64_t *ret_size_bytes)
{
    size_t i = find_file(found, name);

    if (i == found->record.count) {
        return -1;
    }
    *ret_size_bytes = found->record.files[i].identity.size_bytes;
    return found->files[i];
}

char *store_found_path(const struct store_found *found, const char *name)
{
    return find_file(found, name) < found->record.count ? file_join(found->path, name) : NULL;
}

struct blocks *store_found_blocks(const struct store_found *found, const char *name)
{
    size_t i = find_file(found, name);
    const struct record_file *file = &found->record.files[i];
    struct blocks *blocks;

    if (i == found->record.count || file->blocks == NULL) {
        return NULL;
    }
    blocks = blocks_new(file->identity.size_bytes);
    for (uint64_t block = 0; block < record_blocks(file); block++) {
        blocks_set(blocks, block, file->blocks + block * HASH_SIZE);
    }
    return blocks;
}

void store_release(struct store_found *found)
{
    if (found == NULL) {
        return;
    }
    for (size_t i = 0; i < RECORD_FILES_MAX; i++) {
        scope_fd(&found->files[i]);
    }
    record_done(&found->record);
    close_place(found);
    free(found->path);
    free(found);
}
