/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/catalog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/partial.h"
#include "base/stop.h"
#include "base/text.h"
#include "bundle/manifest.h"

#define INDEX "index.json"
#define INDEX_DRAFT INDEX ".partial-" /* what a killed file_replace leaves */
#define IMAGE "image.json"
#define LOCK ".lock"
#define DRAFT ".image" /* no image's name begins with a dot */
#define FORMAT_KEY "kiln_images"

enum {
    FORMAT = 1,
    PERMISSIONS = 0777,
    LOCK_WAIT_MS = 50,
};

static const size_t index_size_max = 64 << 20, image_size_max = 1 << 20;

static const char *text_in(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

char *catalog_place(const char *path, const json_t *image)
{
    return file_join(path, text_in(image, "path"));
}

/* ---- the catalog itself ---- */

/* A new string, or NULL. */
static char *choose_path(const char *own)
{
    SCOPED_FREE char *data = NULL;
    const char *home = getenv("HOME");

    if (own == NULL) {
        data = file_user_dir("XDG_DATA_HOME", ".local/share");
        return data != NULL ? file_join(data, "kiln/images") : NULL;
    }
    if (own[0] == '/') {
        return xstrdup(own);
    }
    return home != NULL && home[0] == '/' ? file_join(home, own + strlen("~/")) : NULL;
}

int catalog_path(const char *own, char **ret, struct error *err)
{
    char *path = choose_path(own);

    if (path == NULL) {
        fail(err, FAIL_ERROR, "there is no place for a directory of images");
        return fail_hint(err, "set HOME to an absolute path, or give the target a 'path'");
    }
    *ret = path;
    return 0;
}

/* What kiln makes before it has an index. */
static bool is_beginning(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, LOCK) == 0 ||
           text_starts(name, INDEX_DRAFT);
}

static int check_empty(const char *path, struct error *err)
{
    SCOPED_DIR DIR *dir = opendir(path);
    const struct dirent *entry;

    if (dir == NULL) {
        return errno == ENOENT ? 0 : fail_os(err, "open directory '%s'", path);
    }
    while ((entry = readdir(dir)) != NULL) {
        if (!is_beginning(entry->d_name)) {
            fail(err, FAIL_ERROR,
                 "'%s' is no directory of images: it has other files, but no " INDEX, path);
            return fail_hint(err, "give the target a 'path' of its own");
        }
    }
    return 0;
}

static int no_index(const char *path, struct error *err)
{
    fail(err, FAIL_ERROR, "'%s/" INDEX "' is no index of images", path);
    return fail_hint(err, "give the target a 'path' of its own");
}

static json_t *new_index(void)
{
    return json_pack("{s:i, s:[]}", FORMAT_KEY, FORMAT, "images");
}

static int load_index(const char *path, const char *name, json_t **ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *index = NULL;
    SCOPED(buf_done) struct buf text = {0};

    if (file_read_regular(name, index_size_max, &text, err) < 0) {
        return -1;
    }
    index = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (json_integer_value(json_object_get(index, FORMAT_KEY)) != FORMAT ||
        !json_is_array(json_object_get(index, "images"))) {
        return no_index(path, err);
    }
    *ret = TAKE(index);
    return 0;
}

/* The index; an empty one where there is none yet. */
static int read_index(const char *path, json_t **ret, struct error *err)
{
    SCOPED_FREE char *name = file_join(path, INDEX);

    if (!file_exists(name)) {
        if (check_empty(path, err) == 0) {
            *ret = new_index();
            return 0;
        }
        if (!file_exists(name)) {
            return -1;
        }
        fail_clear(err); /* another kiln has just begun it */
    }
    return load_index(path, name, ret, err);
}

int catalog_check(const char *path, struct error *err)
{
    SCOPED(json_decrefp) json_t *index = NULL;

    return read_index(path, &index, err);
}

int catalog_sweep(const char *path, struct error *err)
{
    return file_exists(path) ? partial_sweep(path, DRAFT, err) : 0;
}

/* ---- images ---- */

static bool is_same(const json_t *a, const json_t *b, const char *key)
{
    return json_equal(json_object_get(a, key), json_object_get(b, key)) != 0;
}

/* An image keeps the publish id that it came with: another target of the same disk changes nothing.
 */
static bool is_same_image(const json_t *a, const json_t *b)
{
    return is_same(a, b, "path") && is_same(a, b, "disk_digest") && is_same(a, b, "files");
}

static bool has_files(const char *place, const json_t *image)
{
    const char *name;
    json_t *file;

    json_object_foreach(json_object_get(image, "files"), name, file)
    {
        SCOPED_FREE char *path = file_join(place, name);
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
            st.st_size != json_integer_value(json_object_get(file, "size"))) {
            return false;
        }
    }
    return true;
}

static int is_taken(const char *place, const json_t *there, const json_t *image, struct error *err)
{
    if (there == NULL) {
        fail(err, FAIL_ERROR, "'%s' is there already, and is no image of kiln's", place);
        return fail_hint(err, "move it away");
    }
    fail(err, FAIL_ERROR, "'%s' is there already, with disk %s instead of %s", place,
         text_in(there, "disk_digest"), text_in(image, "disk_digest"));
    return fail_hint(err, "an image is never replaced by another: raise 'version' in the profile");
}

/* The image.json at PLACE; NULL where there is none that can be read. */
static json_t *load_image(const char *place)
{
    SCOPED_FREE char *name = file_join(place, IMAGE);
    SCOPED(buf_done) struct buf text = {0};
    struct error ignored = {0};

    return file_read_regular(name, image_size_max, &text, &ignored) < 0
               ? NULL
               : json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
}

/* What lies where IMAGE belongs: *RET, NULL for nothing; another disk is an error. */
static int read_place(const char *path, const json_t *image, json_t **ret, struct error *err)
{
    SCOPED_FREE char *place = catalog_place(path, image);
    SCOPED(json_decrefp) json_t *there = NULL;

    if (!file_exists(place)) {
        return 0;
    }
    there = load_image(place);
    if (there == NULL || !is_same(there, image, "disk_digest")) {
        return is_taken(place, there, image, err);
    }
    *ret = TAKE(there);
    return 0;
}

int catalog_has(const char *path, const json_t *image, bool *ret, struct error *err)
{
    SCOPED_FREE char *place = catalog_place(path, image);
    SCOPED(json_decrefp) json_t *there = NULL;

    if (read_place(path, image, &there, err) < 0) {
        return -1;
    }
    *ret = there != NULL && is_same_image(there, image) && has_files(place, image);
    return 0;
}

static json_t *find_listed(const json_t *index, const json_t *image)
{
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(index, "images"), i, item)
    {
        if (is_same(item, image, "path")) {
            return item;
        }
    }
    return NULL;
}

int catalog_lists(const char *path, const json_t *image, bool *ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *index = NULL;
    const json_t *item;

    if (read_index(path, &index, err) < 0) {
        return -1;
    }
    item = find_listed(index, image);
    *ret = item != NULL && is_same_image(item, image);
    return 0;
}

/* ---- changing it ---- */

/* Waits for other kilns, a moment each; Ctrl-C ends it. */
static int lock_catalog(const char *path, int *ret_fd, struct error *err)
{
    SCOPED_FREE char *name = file_join(path, LOCK);
    SCOPED_FD int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);

    if (fd < 0) {
        return fail_os(err, "open '%s'", name);
    }
    while (partial_flock(fd, LOCK_EX | LOCK_NB) < 0) {
        const struct timespec wait = {.tv_nsec = LOCK_WAIT_MS * 1000000L};

        if (errno != EWOULDBLOCK) {
            return fail_os(err, "lock '%s'", name);
        }
        if (stop_check(err) < 0) {
            return -1;
        }
        (void)nanosleep(&wait, NULL);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int write_json(const char *path, const json_t *value, struct error *err)
{
    SCOPED_FREE char *text = json_dumps(value, JSON_SORT_KEYS | JSON_INDENT(2));
    SCOPED_FREE char *line = xprintf("%s\n", text);

    return file_replace(path, line, strlen(line), err);
}

/* With the lock held nobody else writes the index: what is unfinished was killed. */
static void sweep_index(const char *path)
{
    SCOPED_DIR DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (text_starts(entry->d_name, INDEX_DRAFT)) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
}

/* An index comes before everything else: by it a catalog is known. */
static int make_catalog(const char *path, struct error *err)
{
    SCOPED_FREE char *name = file_join(path, INDEX);
    SCOPED(json_decrefp) json_t *index = NULL;
    SCOPED_FD int lock = -1;

    if (catalog_check(path, err) < 0 || file_make_dirs(path, err) < 0 ||
        lock_catalog(path, &lock, err) < 0) {
        return -1;
    }
    if (file_exists(name)) {
        return 0;
    }
    index = new_index();
    return write_json(name, index, err);
}

static int compare_images(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    static const char *const keys[] = {"name", "architecture", "version"};
    int order = 0;

    for (size_t i = 0; order == 0 && i < COUNT(keys); i++) {
        order = strcmp(text_in(x, keys[i]), text_in(y, keys[i]));
    }
    return order;
}

/* IMAGE in its place among the others, without those that somebody removed. */
static json_t *add_to_index(const char *path, const json_t *index, const json_t *image)
{
    json_t *result = new_index(), *list = json_object_get(result, "images"), *item;
    size_t count = json_array_size(json_object_get(index, "images")), used = 0, i;
    SCOPED_FREE json_t **sorted = xcalloc(count + 1, sizeof(json_t *));

    json_array_foreach(json_object_get(index, "images"), i, item)
    {
        SCOPED_FREE char *place = catalog_place(path, item);

        if (!is_same(item, image, "path") && file_exists(place)) {
            sorted[used++] = item;
        }
    }
    sorted[used++] = (json_t *)image;
    qsort(sorted, used, sizeof(json_t *), compare_images);
    for (i = 0; i < used; i++) {
        json_array_append(list, sorted[i]);
    }
    return result;
}

static int set_latest(const char *place, const json_t *image, struct error *err)
{
    SCOPED_FREE char *dir = file_dir(place);
    SCOPED_FREE char *draft = file_join(dir, "." CATALOG_LATEST);
    SCOPED_FREE char *link = file_join(dir, CATALOG_LATEST);

    if (unlink(draft) < 0 && errno != ENOENT) {
        return fail_os(err, "remove '%s'", draft);
    }
    if (symlink(text_in(image, "version"), draft) < 0) {
        return fail_os(err, "create '%s'", draft);
    }
    if (rename(draft, link) < 0) {
        return fail_os(err, "rename '%s' to '%s'", draft, link);
    }
    return file_sync_directory(dir, err);
}

/* With the lock held. */
static int list_image(const char *path, const json_t *image, struct error *err)
{
    SCOPED_FREE char *name = file_join(path, INDEX);
    SCOPED_FREE char *place = catalog_place(path, image);
    SCOPED(json_decrefp) json_t *before = NULL;
    SCOPED(json_decrefp) json_t *after = NULL;

    sweep_index(path);
    if (read_index(path, &before, err) < 0 || set_latest(place, image, err) < 0) {
        return -1;
    }
    after = add_to_index(path, before, image);
    return write_json(name, after, err);
}

int catalog_list(const char *path, const json_t *image, struct error *err)
{
    SCOPED_FD int lock = -1;

    return lock_catalog(path, &lock, err) < 0 ? -1 : list_image(path, image, err);
}

int catalog_remove_unlisted(const char *path, const json_t *image, struct error *err)
{
    SCOPED_FREE char *place = catalog_place(path, image);
    SCOPED(json_decrefp) json_t *there = NULL;
    SCOPED(json_decrefp) json_t *index = NULL;
    SCOPED_FD int lock = -1;

    if (!file_exists(path)) {
        return 0;
    }
    if (lock_catalog(path, &lock, err) < 0 || read_index(path, &index, err) < 0) {
        return -1;
    }
    /* By its path alone: of an image that somebody can see nothing is removed, whatever files the
     * bundle would put there by now. */
    if (find_listed(index, image) != NULL) {
        return 0;
    }
    there = load_image(place);
    return is_same(there, image, "path") && is_same(there, image, "publish_id")
               ? file_remove_tree(place, err)
               : 0;
}

/* ---- drafts ---- */

int draft_begin(struct draft *draft, const char *path, struct error *err)
{
    SCOPED_FREE char *holder = xprintf("%s/" DRAFT PARTIAL_TEMPLATE, path);

    if (make_catalog(path, err) < 0) {
        return -1;
    }
    if (mkdtemp(holder) == NULL) {
        return fail_os(err, "make a directory in '%s'", path);
    }
    draft->catalog = xstrdup(path);
    draft->dir = file_join(holder, "image");
    draft->holder = TAKE(holder);
    if (partial_lock(draft->holder, &draft->lock, err) < 0) {
        return -1;
    }
    return mkdir(draft->dir, PERMISSIONS) < 0 ? fail_os(err, "make directory '%s'", draft->dir) : 0;
}

void draft_done(struct draft *draft)
{
    struct error ignored = {0};

    if (draft->holder != NULL) {
        (void)file_remove_tree(draft->holder, &ignored);
    }
    scope_fd(&draft->lock);
    free(draft->catalog);
    free(draft->holder);
    free(draft->dir);
    *draft = (struct draft){.lock = -1};
}

static int sync_files(const char *dir, struct error *err)
{
    SCOPED_DIR DIR *stream = opendir(dir);
    const struct dirent *entry;

    if (stream == NULL) {
        return fail_os(err, "open directory '%s'", dir);
    }
    while ((entry = readdir(stream)) != NULL) {
        SCOPED_FD int fd = openat(dirfd(stream), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0) {
            return fail_os(err, "write '%s/%s' to the disk", dir, entry->d_name);
        }
    }
    return 0;
}

/* The old directory, of the same disk with other files, becomes the draft, and goes with it. */
static int exchange(struct draft *draft, const char *place, struct error *err)
{
    SCOPED_FREE char *old = file_join(draft->holder, "old");

    if (renameat2(AT_FDCWD, draft->dir, AT_FDCWD, place, RENAME_EXCHANGE) == 0) {
        return 0;
    }
    /* Not every file system can; then there is a moment without. */
    if (rename(place, old) < 0) {
        return fail_os(err, "replace '%s'", place);
    }
    if (rename(draft->dir, place) < 0) {
        (void)fail_os(err, "replace '%s'", place);
        (void)rename(old, place);
        return -1;
    }
    return 0;
}

static int put_in_place(struct draft *draft, const json_t *image, struct error *err)
{
    SCOPED_FREE char *place = catalog_place(draft->catalog, image);
    SCOPED_FREE char *dir = file_dir(place);
    SCOPED_FREE char *above = file_dir(dir);
    SCOPED(json_decrefp) json_t *there = NULL;

    if (file_make_dirs(dir, err) < 0 || read_place(draft->catalog, image, &there, err) < 0) {
        return -1;
    }
    if (there != NULL ? exchange(draft, place, err) < 0 : rename(draft->dir, place) < 0) {
        return there != NULL ? -1 : fail_os(err, "rename '%s' to '%s'", draft->dir, place);
    }
    return file_sync_directory(dir, err) < 0 || file_sync_directory(above, err) < 0 ? -1 : 0;
}

int draft_commit(struct draft *draft, const json_t *image, struct error *err)
{
    SCOPED_FREE char *name = file_join(draft->dir, IMAGE);
    SCOPED_FD int lock = -1;

    if (write_json(name, image, err) < 0 || manifest_sums(draft->dir, err) < 0 ||
        sync_files(draft->dir, err) < 0 || lock_catalog(draft->catalog, &lock, err) < 0) {
        return -1;
    }
    return put_in_place(draft, image, err) < 0 ? -1 : list_image(draft->catalog, image, err);
}
