/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/points.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/file.h"

/* By descriptor: a step may rename what lies above. */
struct point {
    int parent;
    char name[NAME_MAX + 1];
};

static int remember(struct points *points, int parent, const char *name)
{
    struct point *made = realloc(points->made, (points->count + 1) * sizeof(*made));

    if (made == NULL) {
        return -1;
    }
    points->made = made;
    made += points->count++;
    made->parent = parent;
    (void)snprintf(made->name, sizeof(made->name), "%s", name);
    return 0;
}

/* Makes NAME in the directory PARENT of ROOT. */
static int make(struct points *points, int root, const char *parent, const char *name)
{
    int fd = file_open_inside(root, parent, O_RDONLY | O_DIRECTORY);
    struct timespec changed;

    if (fd < 0) {
        return -1;
    }
    changed = file_changed(fd);
    if (mkdirat(fd, name, 0755) < 0) {
        int os = errno;

        (void)close(fd);
        errno = os;
        return -1;
    }
    if (points == NULL) {
        return close(fd);
    }
    file_set_changed(fd, changed);
    return remember(points, fd, name);
}

/* The directory at the first LENGTH bytes of PATH. */
static int make_one(struct points *points, int root, const char *path, size_t length)
{
    char whole[PATH_MAX], parent[PATH_MAX], *slash;
    int fd;

    (void)snprintf(whole, sizeof(whole), "%.*s", (int)length, path);
    fd = file_open_inside(root, whole, O_PATH | O_DIRECTORY);
    if (fd >= 0) {
        return close(fd);
    }
    if (errno != ENOENT) {
        return -1;
    }
    (void)snprintf(parent, sizeof(parent), "%s", whole);
    slash = strrchr(parent, '/');
    slash[slash == parent ? 1 : 0] = '\0';
    /* EEXIST here: a symbolic link that leads nowhere. */
    return make(points, root, parent, strrchr(whole, '/') + 1);
}

int points_make(struct points *points, int root, const char *path, struct outcome *outcome)
{
    for (const char *end = path; *end != '\0';) {
        end += 1 + strcspn(end + 1, "/");
        if (make_one(points, root, path, (size_t)(end - path)) < 0) {
            return errno == EEXIST ? outcome_fail(outcome,
                                                  "mount point '%s': '%.*s' is a symbolic link "
                                                  "that leads nowhere",
                                                  path, (int)(end - path), path)
                                   : outcome_fail_os(outcome, "mount point '%s'", path);
        }
    }
    return 0;
}

void points_remove(struct points *points)
{
    while (points->count > 0) {
        const struct point *point = &points->made[--points->count];
        const struct timespec changed = file_changed(point->parent);

        if (unlinkat(point->parent, point->name, AT_REMOVEDIR) == 0) {
            file_set_changed(point->parent, changed);
        }
        (void)close(point->parent);
    }
    free(points->made);
    points->made = NULL;
}
