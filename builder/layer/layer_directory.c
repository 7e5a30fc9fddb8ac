/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A config tree as git would keep it: contents, the executable bit and symbolic links. Everything
 * else of a checkout (owners, times, other mode bits, attributes, hard links) differs from clone
 * to clone and is not looked at.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/stop.h"
#include "layer/layer_internal.h"

#define STEP (256u << 10)
#define DEPTH_LIMIT 256 /* each level holds a descriptor */

struct directory_layer {
    struct layer layer;
    char *prefix; /* of every path: "" or "etc/web/" */
};

/* A directory being read. */
struct level {
    int fd;
    char **names;
    size_t count, at;
    size_t path_length; /* of the path with this directory's slash */
};

struct directory_reader {
    struct layer_reader reader;
    struct level *levels;
    size_t level_count, level_space;
    struct buf path; /* in the image, relative */
    struct buf target;
    struct normal *normal;
    bool *used; /* which of the profile's 'set' paths matched */
    bool top_done, ended;

    int file; /* of the current entry, else -1 */
    uint64_t size, offset;
    char *buffer;
    uint64_t position;
};

static struct directory_layer *layer_of(const struct directory_reader *reader)
{
    return (struct directory_layer *)reader->reader.layer;
}

static const struct profile_layer *spec_of(const struct directory_reader *reader)
{
    return reader->reader.layer->spec;
}

/* The path in the user's directory, for messages. */
static const char *host_path(const struct directory_reader *reader)
{
    const char *path = reader->path.data + strlen(layer_of(reader)->prefix);

    return path[0] == '\0' ? "." : path;
}

static int fail_here(const struct directory_reader *reader, struct error *err)
{
    return fail_os(err, "layer '%s': '%s'", spec_of(reader)->name, host_path(reader));
}

static void level_done(struct level *level)
{
    for (size_t i = 0; i < level->count; i++) {
        free(level->names[i]);
    }
    free(level->names);
    scope_fd(&level->fd);
}

static void directory_reader_free(struct layer_reader *base)
{
    struct directory_reader *reader = (struct directory_reader *)base;

    while (reader->level_count > 0) {
        level_done(&reader->levels[--reader->level_count]);
    }
    free(reader->levels);
    buf_done(&reader->path);
    buf_done(&reader->target);
    normal_free(reader->normal);
    free(reader->used);
    free(reader->buffer);
    scope_fd(&reader->file);
    free(reader);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static int read_names(const struct directory_reader *reader, struct level *level, struct error *err)
{
    int copy = fcntl(level->fd, F_DUPFD_CLOEXEC, 0);
    SCOPED_DIR DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    size_t space = 0;

    if (dir == NULL) {
        scope_fd(&copy);
        return fail_here(reader, err);
    }
    for (;;) {
        const struct dirent *found;

        errno = 0;
        found = readdir(dir);
        if (found == NULL && errno != 0) {
            return fail_here(reader, err);
        }
        if (found == NULL) {
            break;
        }
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0 ||
            strcmp(found->d_name, ".git") == 0) {
            continue;
        }
        grow(&level->names, level->count, &space, sizeof(*level->names));
        level->names[level->count++] = xstrdup(found->d_name);
    }
    if (level->count > 1) {
        qsort(level->names, level->count, sizeof(*level->names), compare_names);
    }
    return 0;
}

/* Starts on the directory FD (taken), whose path ends in a slash unless it is the top. */
static int enter(struct directory_reader *reader, int fd, struct error *err)
{
    struct level *level;

    if (reader->level_count == DEPTH_LIMIT) {
        (void)close(fd);
        return fail(err, FAIL_ERROR, "layer '%s': '%s': more than %d directories deep",
                    spec_of(reader)->name, host_path(reader), DEPTH_LIMIT);
    }
    grow(&reader->levels, reader->level_count, &reader->level_space, sizeof(*reader->levels));
    level = &reader->levels[reader->level_count++];
    *level = (struct level){.fd = fd, .path_length = reader->path.size};
    return read_names(reader, level, err);
}

/* What 'set' says of the current path; the top of the layer is "". */
static void apply_sets(struct directory_reader *reader, struct entry *entry)
{
    const struct profile_layer *spec = spec_of(reader);

    for (size_t i = 0; i < spec->set_count; i++) {
        const char *path = spec->sets[i].path;
        size_t length;

        while (*path == '/') {
            path++;
        }
        length = strlen(path);
        while (length > 0 && path[length - 1] == '/') {
            length--;
        }
        if (strlen(entry->path) != length || strncmp(path, entry->path, length) != 0) {
            continue;
        }
        reader->used[i] = true;
        if (spec->sets[i].attributes.has_mode) {
            entry->mode = spec->sets[i].attributes.mode;
        }
        if (spec->sets[i].attributes.has_owner) {
            entry->uid = spec->sets[i].attributes.uid;
            entry->gid = spec->sets[i].attributes.gid;
        }
    }
}

static bool any_used(const struct directory_reader *reader)
{
    for (size_t i = 0; i < spec_of(reader)->set_count; i++) {
        if (reader->used[i]) {
            return true;
        }
    }
    return false;
}

static int check_sets(const struct directory_reader *reader, struct error *err)
{
    const struct profile_layer *spec = spec_of(reader);

    for (size_t i = 0; i < spec->set_count; i++) {
        const struct mark mark = spec->sets[i].mark;

        if (!reader->used[i]) {
            fail(err, FAIL_USAGE,
                 "layer '%s': %s%sline %u: set '%s' matches nothing in the directory", spec->name,
                 mark.file != NULL ? mark.file : "", mark.file != NULL ? ", " : "", mark.line,
                 spec->sets[i].path);
            return fail_hint(err, "paths are those in the image, below '%s'", spec->to);
        }
    }
    return 0;
}

/* --- one path ----------------------------------------------------------------------------------
 */

static int take_file(struct directory_reader *reader, int dir, const char *name,
                     struct entry *entry, struct error *err)
{
    struct stat st;

    reader->file = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (reader->file < 0 || fstat(reader->file, &st) < 0) {
        return fail_here(reader, err);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, FAIL_MISMATCH, "layer '%s': '%s': changed while it was being read",
                    spec_of(reader)->name, host_path(reader));
    }
    entry->type = ENTRY_FILE;
    entry->mode = (st.st_mode & S_IXUSR) != 0 ? 0755 : 0644;
    entry->size = reader->size = (uint64_t)st.st_size;
    reader->offset = 0;
    return 0;
}

static int take_symlink(struct directory_reader *reader, int dir, const char *name,
                        struct entry *entry, struct error *err)
{
    ssize_t length;

    buf_clear(&reader->target);
    length = readlinkat(dir, name, buf_reserve(&reader->target, PATH_MAX), PATH_MAX);
    if (length < 0) {
        return fail_here(reader, err);
    }
    reader->target.size = (size_t)length;
    buf_add(&reader->target, "", 0);
    entry->type = ENTRY_SYMLINK;
    entry->mode = 0777;
    entry->target = reader->target.data;
    return 0;
}

static int take_directory(struct directory_reader *reader, int dir, const char *name,
                          struct entry *entry, struct error *err)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return fail_here(reader, err);
    }
    buf_putc(&reader->path, '/');
    if (enter(reader, fd, err) < 0) {
        return -1;
    }
    /* The entry has no slash; the level's length says where its names go. */
    reader->path.data[reader->path.size - 1] = '\0';
    entry->type = ENTRY_DIRECTORY;
    entry->mode = 0755;
    return 0;
}

static int take(struct directory_reader *reader, int dir, const char *name, struct entry *entry,
                struct error *err)
{
    struct stat st;
    const char *what;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return fail_here(reader, err);
    }
    if (S_ISREG(st.st_mode)) {
        return take_file(reader, dir, name, entry, err);
    }
    if (S_ISDIR(st.st_mode)) {
        return take_directory(reader, dir, name, entry, err);
    }
    if (S_ISLNK(st.st_mode)) {
        return take_symlink(reader, dir, name, entry, err);
    }
    what = S_ISSOCK(st.st_mode) ? "a socket" : S_ISFIFO(st.st_mode) ? "a FIFO" : "a device";
    fail(err, FAIL_ERROR, "layer '%s': '%s': %s, which git would not keep", spec_of(reader)->name,
         host_path(reader), what);
    return fail_hint(err,
                     "a directory layer holds files, directories and symbolic links; what else "
                     "an image needs comes in an archive");
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* The top itself is no entry, its parents neither: only a 'set' for it makes it one. */
static bool take_top(struct directory_reader *reader, struct entry *ret)
{
    const char *prefix = layer_of(reader)->prefix;
    SCOPED_FREE char *path = xstrndup(prefix, strlen(prefix) - (prefix[0] != '\0'));
    struct entry entry = {.path = path, .type = ENTRY_DIRECTORY, .mode = 0755};

    apply_sets(reader, &entry);
    if (!any_used(reader)) {
        return false;
    }
    buf_clear(&reader->target);
    buf_puts(&reader->target, path[0] == '\0' ? "." : path);
    entry.path = reader->target.data;
    *ret = entry;
    return true;
}

static int finish(struct directory_reader *reader, struct error *err)
{
    reader->ended = true;
    if (check_sets(reader, err) < 0) {
        return -1;
    }
    return normal_end(reader->normal, reader->reader.layer, err);
}

static int directory_data(struct layer_reader *base, const void **ret_data, size_t *ret_size,
                          uint64_t *ret_offset, struct error *err)
{
    struct directory_reader *reader = (struct directory_reader *)base;
    ssize_t got;

    if (reader->file < 0) {
        return 0;
    }
    if (stop_check(err) < 0) {
        return -1;
    }
    do {
        got = read(reader->file, reader->buffer, STEP);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return fail_here(reader, err);
    }
    if ((uint64_t)got > reader->size - reader->offset ||
        (got == 0 && reader->offset < reader->size)) {
        return fail(err, FAIL_MISMATCH, "layer '%s': '%s': changed while it was being read",
                    spec_of(reader)->name, host_path(reader));
    }
    if (got == 0) {
        (void)close(TAKE_FD(reader->file));
        return 0;
    }
    if (normal_data(reader->normal, reader->buffer, (size_t)got, err) < 0) {
        return -1;
    }
    *ret_data = reader->buffer;
    *ret_size = (size_t)got;
    *ret_offset = reader->offset;
    reader->offset += (uint64_t)got;
    reader->position += (uint64_t)got;
    return 1;
}

static int drain(struct directory_reader *reader, struct error *err)
{
    const void *data;
    size_t size;
    uint64_t offset;
    int more;

    while ((more = directory_data(&reader->reader, &data, &size, &offset, err)) == 1) {
    }
    return more;
}

/* The deepest level that has a name left, NULL at the end. */
static struct level *next_level(struct directory_reader *reader)
{
    while (reader->level_count > 0) {
        struct level *level = &reader->levels[reader->level_count - 1];

        if (level->at < level->count) {
            return level;
        }
        level_done(level);
        reader->level_count--;
    }
    return NULL;
}

static int directory_next(struct layer_reader *base, struct entry *ret, struct error *err)
{
    struct directory_reader *reader = (struct directory_reader *)base;
    struct entry entry = {0};
    struct level *level;
    const char *name;

    if (reader->ended) {
        return 0;
    }
    if (stop_check(err) < 0 || drain(reader, err) < 0) {
        return -1;
    }
    if (!reader->top_done) {
        reader->top_done = true;
        if (take_top(reader, ret)) {
            return normal_entry(reader->normal, ret, err) < 0 ? -1 : 1;
        }
    }
    level = next_level(reader);
    if (level == NULL) {
        return finish(reader, err);
    }
    name = level->names[level->at++];
    /* Room for the slash of a directory first, so that the path never moves below the entry. */
    (void)buf_reserve(&reader->path, strlen(name) + 1);
    reader->path.size = level->path_length;
    if (reader->path.size != 0) {
        reader->path.data[reader->path.size - 1] = '/';
    }
    buf_puts(&reader->path, name);
    if (take(reader, level->fd, name, &entry, err) < 0) {
        return -1;
    }
    entry.path = reader->path.data;
    apply_sets(reader, &entry);
    if (normal_entry(reader->normal, &entry, err) < 0) {
        return fail_while(err, "layer '%s'", spec_of(reader)->name);
    }
    *ret = entry;
    return 1;
}

static uint64_t directory_position(const struct layer_reader *base)
{
    return ((const struct directory_reader *)base)->position;
}

static const struct reader_ops directory_reader_ops = {
    .next = directory_next,
    .data = directory_data,
    .position = directory_position,
    .free = directory_reader_free,
};

static int open_part(struct layer *layer, unsigned part, struct layer_reader **ret,
                     struct error *err)
{
    struct directory_reader *reader = xcalloc(1, sizeof(*reader));
    SCOPED(layer_reader_freep) struct layer_reader *owner = &reader->reader;
    int fd;

    (void)part;
    reader->reader = (struct layer_reader){&directory_reader_ops, layer};
    reader->file = -1;
    reader->buffer = xmalloc(STEP);
    reader->normal = normal_new();
    reader->used = xcalloc(layer->spec->set_count, sizeof(*reader->used));
    buf_puts(&reader->path, ((struct directory_layer *)layer)->prefix);
    fd = open(layer->spec->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_os(err, "layer '%s': open '%s'", layer->spec->name, layer->spec->path);
    }
    if (enter(reader, fd, err) < 0) {
        return -1;
    }
    *ret = TAKE(owner);
    return 0;
}

static void free_layer(struct layer *layer)
{
    free(((struct directory_layer *)layer)->prefix);
    free(layer);
}

static const struct layer_ops directory_ops = {
    .format = "directory",
    .rules = RULES_MERGE,
    .untimed = true,
    .digest = DIGEST_BY_LISTING,
    .open_part = open_part,
    .free = free_layer,
};

/* "/etc/web/" as "etc/web/", "/" as "". */
static char *prefix_of(const char *to)
{
    size_t length;

    while (to != NULL && *to == '/') {
        to++;
    }
    length = to == NULL ? 0 : strlen(to);
    while (length > 0 && to[length - 1] == '/') {
        length--;
    }
    return length == 0 ? xstrdup("") : xprintf("%.*s/", (int)length, to);
}

int layer_new_directory(const struct profile_layer *spec, struct layer **ret, struct error *err)
{
    struct directory_layer *layer;
    struct stat st;

    if (stat(spec->path, &st) < 0) {
        return fail_os(err, "layer '%s': open '%s'", spec->name, spec->path);
    }
    if (!S_ISDIR(st.st_mode)) {
        fail(err, FAIL_ERROR, "layer '%s': '%s' is not a directory", spec->name, spec->path);
        return fail_hint(err, "an archive is given as 'archive:'");
    }
    layer = xcalloc(1, sizeof(*layer));
    layer->layer = (struct layer){.ops = &directory_ops, .spec = spec, .parts = 1};
    layer->prefix = prefix_of(spec->to);
    *ret = &layer->layer;
    return 0;
}
