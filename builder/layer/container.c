/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/container.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

#define LINKS_LIMIT 8

struct place {
    char *path;   /* without leading "./" */
    char *target; /* of a link, from the archive's root when it starts with '/'; NULL for a file */
    uint64_t offset, size;
};

static int bad_member(const struct container *container, const char *path, const char *what,
                      struct error *err)
{
    return fail(err, FAIL_ERROR, "%s: '%s': %s", container->label, path, what);
}

void container_done(struct container *container)
{
    for (size_t i = 0; i < container->place_count; i++) {
        free(container->places[i].path);
        free(container->places[i].target);
    }
    free(container->places);
    scope_fd(&container->dir);
    scope_fd(&container->file);
}

static const char *skip_dots(const char *path)
{
    while (text_starts(path, "./")) {
        path += 2;
    }
    return path;
}

static bool is_inside(const char *path)
{
    return path[0] != '\0' && path[0] != '/' && strcmp(path, "..") != 0 &&
           !text_starts(path, "../") && strstr(path, "/../") == NULL && !text_ends(path, "/..");
}

static const struct place *find_place(const struct container *container, const char *path)
{
    for (size_t i = container->plain ? 0 : container->place_count; i-- > 0;) {
        if (strcmp(container->places[i].path, path) == 0) {
            return &container->places[i];
        }
    }
    return NULL;
}

/* Where LINK leads: only beside its directory ("../ID/layer.tar"), which is all docker writes. */
static char *link_path(const struct place *link)
{
    const char *target = link->target;
    SCOPED_FREE char *dir = file_dir(link->path);

    if (target[0] == '/') {
        return xstrdup(target + 1);
    }
    while (text_starts(target, "../") && strcmp(dir, ".") != 0) {
        char *up = file_dir(dir);

        target += 3;
        free(dir);
        dir = up;
    }
    return strcmp(dir, ".") == 0 ? xstrdup(target) : xprintf("%s/%s", dir, target);
}

static int find_in_tar(const struct container *container, const char *path, uint64_t *ret_offset,
                       uint64_t *ret_size, struct error *err)
{
    SCOPED_FREE char *name = xstrdup(path);

    for (unsigned i = 0; i < LINKS_LIMIT; i++) {
        const struct place *place = find_place(container, name);

        if (place == NULL) {
            return bad_member(container, path, "is missing", err);
        }
        if (place->target == NULL) {
            *ret_offset = place->offset;
            *ret_size = place->size;
            return 0;
        }
        free(name);
        name = link_path(place);
    }
    return bad_member(container, path, "too many links", err);
}

int container_find(const struct container *container, const char *path, int *ret_fd,
                   uint64_t *ret_offset, uint64_t *ret_size, struct error *err)
{
    struct stat st;
    int fd;

    path = skip_dots(path);
    if (!is_inside(path)) {
        return bad_member(container, path, "a path that leaves the image", err);
    }
    if (container->dir >= 0) {
        *ret_offset = 0;
        if (fstatat(container->dir, path, &st, 0) < 0 && errno == ENOENT) {
            return bad_member(container, path, "is missing", err);
        }
        return layer_open_file(container->label, container->dir, path, ret_fd, ret_size, err);
    }
    if (find_in_tar(container, path, ret_offset, ret_size, err) < 0) {
        return -1;
    }
    fd = fcntl(container->file, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return fail_os(err, "%s: dup", container->label);
    }
    *ret_fd = fd;
    return 0;
}

int container_read(const struct container *container, const char *path, size_t limit,
                   struct buf *ret, struct error *err)
{
    SCOPED_FD int fd = -1;
    uint64_t offset = 0, size = 0;

    if (container_find(container, path, &fd, &offset, &size, err) < 0) {
        return -1;
    }
    if (size > limit) {
        return fail(err, FAIL_ERROR, "%s: '%s': larger than %zu bytes", container->label, path,
                    limit);
    }
    if (file_pread(fd, buf_reserve(ret, size), size, offset, path, err) < 0) {
        return fail_while(err, "%s", container->label);
    }
    ret->size = size;
    buf_add(ret, "", 0);
    return 0;
}

bool container_has(const struct container *container, const char *path)
{
    struct stat st;

    return container->dir >= 0 ? fstatat(container->dir, path, &st, 0) == 0 && S_ISREG(st.st_mode)
                               : find_place(container, path) != NULL;
}

static int collect(void *data, const struct member *member)
{
    struct container *container = data;
    const char *path = skip_dots(member->path);
    struct place *place;

    if (image_shape(path) == SHAPE_OTHER) {
        container->plain = true;
        return 1;
    }
    if (!member->file && member->target == NULL) {
        return 0;
    }
    grow(&container->places, container->place_count, &container->place_space,
         sizeof(*container->places));
    place = &container->places[container->place_count++];
    *place = (struct place){.path = xstrdup(path), .offset = member->offset, .size = member->size};
    if (member->target != NULL) {
        place->target =
            member->hard ? xprintf("/%s", skip_dots(member->target)) : xstrdup(member->target);
    }
    return 0;
}

int container_open(struct container *container, const char *label, const char *path,
                   struct error *err)
{
    struct stat st;

    *container = (struct container){.label = label, .dir = -1, .file = -1};
    if (stat(path, &st) < 0) {
        return fail_os(err, "%s: open '%s'", container->label, path);
    }
    if (S_ISDIR(st.st_mode)) {
        container->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return container->dir < 0 ? fail_os(err, "%s: open '%s'", container->label, path) : 0;
    }
    if (layer_open_file(container->label, AT_FDCWD, path, &container->file, &container->size, err) <
        0) {
        return -1;
    }
    return scan_index(container->file, container->label, collect, container, err);
}
