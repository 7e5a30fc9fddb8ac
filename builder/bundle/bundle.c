/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/copy.h"
#include "base/file.h"
#include "base/partial.h"
#include "base/text.h"
#include "bundle/manifest.h"

#define TEMPORARY_NAME ".tmp"

enum {
    ATTEMPTS = 3, /* to make it where another build removes the empty parent */
    PERMISSIONS = 0777,
};

struct bundle {
    char *path;      /* without slashes at its end */
    char *parent;    /* of path */
    char *made;      /* topmost parent that was missing; NULL: none was */
    char *partial;   /* NULL: not there (any more) */
    char *temporary; /* inside of partial */
    int lock;
    bool force;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* ---- what may be replaced ---- */

static bool is_empty_directory(const char *path)
{
    SCOPED_DIR DIR *dir = opendir(path);
    struct dirent *entry;

    if (dir == NULL) {
        return false;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return false;
        }
    }
    return true;
}

/* Other programs have files called manifest.json too, so it must be one that kiln wrote. */
static bool is_replaceable(const char *path)
{
    json_t *manifest = NULL;
    struct error ignored = {0};
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        return false;
    }
    if (is_empty_directory(path)) {
        return true;
    }
    if (manifest_read(path, &manifest, &ignored) < 0) {
        return false;
    }
    json_decref(manifest);
    return true;
}

static int check_target(const char *path, bool force, struct error *err)
{
    if (!file_exists(path) || (force && is_replaceable(path))) {
        return 0;
    }
    if (force) {
        fail(err, FAIL_ERROR, "'%s' exists and is no bundle: it will not be replaced", path);
        return fail_hint(err, "choose another place with -o, or move '%s' away", path);
    }
    fail(err, FAIL_ERROR, "'%s' exists", path);
    return is_replaceable(path)
               ? fail_hint(err, "'--force' replaces it once the new one is complete")
               : fail_hint(err, "choose another place with -o, or move '%s' away", path);
}

/* ---- beginning ---- */

/* The topmost directory on the way to PATH that is not there, or NULL. */
static char *first_missing(const char *path)
{
    SCOPED_FREE char *missing = NULL;
    SCOPED_FREE char *at = xstrdup(path);

    while (!file_exists(at)) {
        char *up = file_dir(at);

        free(missing);
        missing = at;
        at = up;
    }
    return TAKE(missing);
}

/* Removes the parents that were made for this bundle, as far as they are empty. */
static void remove_made(struct bundle *bundle)
{
    SCOPED_FREE char *at = xstrdup(bundle->parent);

    while ((rmdir(at) == 0 || errno == ENOENT) && strcmp(at, bundle->made) != 0) {
        char *up = file_dir(at);

        free(at);
        at = up;
    }
    free(TAKE(bundle->made));
}

static int make_partial(struct bundle *bundle, struct error *err)
{
    for (int attempt = 1;; attempt++) {
        SCOPED_FREE char *name = xprintf("%s" PARTIAL_TEMPLATE, bundle->path);

        if (file_make_dirs(bundle->parent, err) < 0 ||
            partial_sweep(bundle->parent, base_name(bundle->path), err) < 0) {
            return -1;
        }
        if (mkdtemp(name) != NULL) {
            bundle->partial = TAKE(name);
            break;
        }
        if (errno != ENOENT || attempt == ATTEMPTS) {
            return fail_os(err, "make a directory beside '%s'", bundle->path);
        }
    }
    if (partial_lock(bundle->partial, &bundle->lock, err) < 0) {
        return -1;
    }
    bundle->temporary = file_join(bundle->partial, TEMPORARY_NAME);
    if (mkdir(bundle->temporary, PERMISSIONS) < 0) {
        return fail_os(err, "make directory '%s'", bundle->temporary);
    }
    return 0;
}

int bundle_begin(const char *path, bool force, struct bundle **ret, struct error *err)
{
    SCOPED(bundle_freep) struct bundle *bundle = xcalloc(1, sizeof(*bundle));
    size_t length = strlen(path);
    const char *name;

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    bundle->path = xstrndup(path, length);
    bundle->parent = file_dir(bundle->path);
    bundle->lock = -1;
    bundle->force = force;
    name = base_name(bundle->path);
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        fail(err, FAIL_USAGE, "a bundle cannot be called '%s'", path);
        return fail_hint(err, "name the directory to make: -o out/web");
    }
    if (check_target(bundle->path, force, err) < 0) {
        return -1;
    }
    bundle->made = first_missing(bundle->parent);
    if (make_partial(bundle, err) < 0) {
        return -1;
    }
    *ret = TAKE(bundle);
    return 0;
}

char *bundle_file(const struct bundle *bundle, const char *name)
{
    return file_join(bundle->partial, name);
}

const char *bundle_temporary(const struct bundle *bundle)
{
    return bundle->temporary;
}

/* ---- ending ---- */

/*
 * Gives the directory the mode that mkdir would have given it. The umask cannot be read without
 * changing it for every thread; the temporary directory shows what it does.
 */
static int set_mode(const struct bundle *bundle, struct error *err)
{
    struct stat like, st;

    if (stat(bundle->temporary, &like) < 0 || stat(bundle->partial, &st) < 0) {
        return fail_os(err, "stat '%s'", bundle->partial);
    }
    if (chmod(bundle->partial, (st.st_mode & 07000) | (like.st_mode & PERMISSIONS)) < 0) {
        return fail_os(err, "change the mode of '%s'", bundle->partial);
    }
    return 0;
}

/* Waits for what is below PATH with WHOLE_FS, else for PATH itself. */
static int wait_for_disk(const char *path, bool whole_fs, struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return fail_os(err, "open directory '%s'", path);
    }
    if ((whole_fs ? syncfs(fd) : fsync(fd)) < 0) {
        return fail_os(err, "write '%s' to the disk", path);
    }
    return 0;
}

static bool flags_unknown(int os)
{
    return os == EINVAL || os == ENOSYS;
}

/* Renames where nothing is; on file systems without RENAME_NOREPLACE a moment is left open. */
static int rename_into_free(const char *from, const char *to, struct error *err)
{
    int result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);

    if (result < 0 && flags_unknown(errno)) {
        errno = EEXIST;
        result = file_exists(to) ? -1 : rename(from, to);
    }
    if (result < 0 && (errno == EEXIST || errno == ENOTEMPTY)) {
        return fail(err, FAIL_ERROR, "'%s' was made by somebody else meanwhile", to);
    }
    return result < 0 ? fail_os(err, "rename '%s' to '%s'", from, to) : 0;
}

/*
 * Without RENAME_EXCHANGE: the old one aside, the new one in, back if that fails. Aside is no name
 * that a later build sweeps: killed between the two renames, this one leaves the old bundle there.
 */
static int swap_by_steps(struct bundle *bundle, struct error *err)
{
    SCOPED_FREE char *aside = xprintf("%s.old-XXXXXX", bundle->path);
    int os;

    if (mkdtemp(aside) == NULL) {
        return fail_os(err, "make a directory beside '%s'", bundle->path);
    }
    if (rename(bundle->path, aside) < 0) {
        os = errno;
        (void)rmdir(aside);
        errno = os;
        return fail_os(err, "rename '%s' to '%s'", bundle->path, aside);
    }
    if (rename(bundle->partial, bundle->path) < 0) {
        os = errno;
        (void)rename(aside, bundle->path);
        errno = os;
        return fail_os(err, "rename '%s' to '%s'", bundle->partial, bundle->path);
    }
    free(bundle->partial);
    bundle->partial = TAKE(aside);
    return 0;
}

static int copy_journal(const char *from, const char *to, struct error *err)
{
    SCOPED_FD int in = -1;
    SCOPED_FD int out = -1;
    uint64_t size = 0;

    if (file_open_regular(from, &in, &size, err) < 0) {
        return -1;
    }
    out = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return out < 0 ? fail_os(err, "create '%s'", to) : copy_sparse(in, out, size, from, err);
}

/* The same file, not a copy, where that can be: a publish may be writing to it. */
static int carry_journal(const char *from, const char *to, struct error *err)
{
    struct stat st;

    if (lstat(from, &st) < 0) {
        return fail_os(err, "stat '%s'", from);
    }
    if (!S_ISREG(st.st_mode) || file_exists(to) || link(from, to) == 0) {
        return 0;
    }
    return copy_journal(from, to, err);
}

/* Not by way of a link, which could lead anywhere. */
static DIR *open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL && fd >= 0) {
        (void)close(fd);
    }
    return dir;
}

/* Those that NEW_BUNDLE has not yet. */
static int carry_journals(const char *old_bundle, const char *new_bundle, struct error *err)
{
    SCOPED_FREE char *from = file_join(old_bundle, BUNDLE_JOURNALS);
    SCOPED_FREE char *to = file_join(new_bundle, BUNDLE_JOURNALS);
    SCOPED_DIR DIR *dir = open_directory(from);
    struct dirent *entry;

    if (dir == NULL) {
        return errno == ENOENT ? 0 : fail_os(err, "open directory '%s'", from);
    }
    if (mkdir(to, PERMISSIONS) < 0 && errno != EEXIST) {
        return fail_os(err, "make directory '%s'", to);
    }
    while ((errno = 0, entry = readdir(dir)) != NULL) {
        SCOPED_FREE char *old = file_join(from, entry->d_name);
        SCOPED_FREE char *new = file_join(to, entry->d_name);

        if (entry->d_name[0] != '.' && text_ends(entry->d_name, BUNDLE_JOURNAL) &&
            carry_journal(old, new, err) < 0) {
            return -1;
        }
    }
    return errno != 0 ? fail_os(err, "read directory '%s'", from) : 0;
}

/* Puts the new one in place of the old one, which is bundle->partial then. */
static int swap(struct bundle *bundle, struct error *err)
{
    if (renameat2(AT_FDCWD, bundle->partial, AT_FDCWD, bundle->path, RENAME_EXCHANGE) == 0) {
        return 0;
    }
    if (flags_unknown(errno)) {
        return swap_by_steps(bundle, err);
    }
    return fail_os(err, "exchange '%s' and '%s'", bundle->partial, bundle->path);
}

/* Locked again, so that a build killed on the way leaves something the next one may remove. */
static int remove_old(struct bundle *bundle, struct error *err)
{
    struct error ignored = {0};

    (void)partial_lock(bundle->partial, &bundle->lock, &ignored);
    if (file_remove_tree(bundle->partial, err) < 0) {
        fail_while(err, "'%s' is complete, but the one it replaces could not be removed",
                   bundle->path);
        free(TAKE(bundle->partial));
        return -1;
    }
    free(TAKE(bundle->partial));
    return 0;
}

/*
 * The old one is bundle->partial. A publish may have begun a journal there since the others were
 * carried over: what it makes would be forgotten.
 */
static int retire_old(struct bundle *bundle, struct error *err)
{
    if (carry_journals(bundle->partial, bundle->path, err) < 0) {
        fail_while(err, "'%s' is complete, but journals of the one it replaces are still in '%s'",
                   bundle->path, bundle->partial);
        free(TAKE(bundle->partial));
        return -1;
    }
    return remove_old(bundle, err);
}

/* The rename itself; after it nothing is left to undo. */
static int put_in_place(struct bundle *bundle, struct error *err)
{
    SCOPED_FREE char *lock = file_join(bundle->partial, PARTIAL_LOCK);
    bool replace;

    if (check_target(bundle->path, bundle->force, err) < 0) {
        return -1;
    }
    replace = bundle->force && file_exists(bundle->path);
    if (unlink(lock) < 0) {
        return fail_os(err, "remove '%s'", lock);
    }
    if (replace) {
        return swap(bundle, err);
    }
    if (rename_into_free(bundle->partial, bundle->path, err) < 0) {
        return -1;
    }
    free(TAKE(bundle->partial));
    return 0;
}

int bundle_commit(struct bundle *bundle, bool sync, struct error *err)
{
    if (set_mode(bundle, err) < 0 || file_remove_tree(bundle->temporary, err) < 0) {
        return -1;
    }
    if (bundle->force && carry_journals(bundle->path, bundle->partial, err) < 0) {
        return fail_while(err, "keep the journals of '%s'", bundle->path);
    }
    if (sync && wait_for_disk(bundle->partial, true, err) < 0) {
        return -1;
    }
    if (put_in_place(bundle, err) < 0) {
        return -1;
    }
    free(TAKE(bundle->made));
    if (sync && wait_for_disk(bundle->parent, false, err) < 0) {
        return fail_while(err, "'%s' is in its place, but a power cut could undo that",
                          bundle->path);
    }
    scope_fd(&bundle->lock);
    bundle->lock = -1;
    return bundle->partial != NULL ? retire_old(bundle, err) : 0;
}

void bundle_free(struct bundle *bundle)
{
    struct error ignored = {0};

    if (bundle == NULL) {
        return;
    }
    if (bundle->partial != NULL) {
        (void)file_remove_tree(bundle->partial, &ignored);
    }
    if (bundle->made != NULL) {
        remove_made(bundle);
    }
    scope_fd(&bundle->lock);
    free(bundle->path);
    free(bundle->parent);
    free(bundle->partial);
    free(bundle->temporary);
    free(bundle);
}
