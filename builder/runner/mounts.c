/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/file.h"

/* Nowhere but on single nodes of /dev does a device work: a step may make nodes of block devices,
 * but not use them. */
enum {
    PLAIN = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    FIXED = PLAIN | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY,
};

static const char *const system_points[] = {"/proc", "/sys", "/dev", "/run"};

/* What of /proc acts on the whole machine; not every kernel has all. */
static const char *const guarded[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus",
                                      "/proc/fs"};

static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};

static const char *const links[][2] = {{"pts/ptmx", "ptmx"},
                                       {"/proc/self/fd", "fd"},
                                       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"},
                                       {"/proc/self/fd/2", "stderr"}};

/* Where the step's mount number K goes: 1, or 0 when there is no such mount. */
static int own_target(const struct task *task, unsigned k, char path[PATH_MAX],
                      struct outcome *outcome)
{
    char file[PATH_MAX];

    (void)snprintf(file, sizeof(file), "%s/mounts/%u.path", task->step, k);
    if (file_read(file, path, PATH_MAX) < 0) {
        return errno == ENOENT ? 0 : outcome_fail_os(outcome, "read '%s'", file);
    }
    path[strcspn(path, "\n")] = '\0';
    if (path[0] != '/' || path[1] == '\0') {
        return outcome_fail(outcome, "cannot mount at '%s'", path);
    }
    return 1;
}

int mounts_prepare(const struct task *task, int root, struct points *points,
                   struct outcome *outcome)
{
    char path[PATH_MAX];
    int more = 1;

    for (size_t i = 0; i < sizeof(system_points) / sizeof(*system_points); i++) {
        if (points_make(points, root, system_points[i], outcome) < 0) {
            return -1;
        }
    }
    for (unsigned k = 0; more > 0; k++) {
        more = own_target(task, k, path, outcome);
        if (more > 0 && points_make(points, root, path, outcome) < 0) {
            return -1;
        }
    }
    return more;
}

/* Moves the mount that MOUNT stands for to PATH inside ROOT, and closes MOUNT. */
static int attach(int mount, int root, const char *path)
{
    int target = file_open_inside(root, path, O_PATH), result, os;

    result =
        mount < 0 || target < 0
            ? -1
            : move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    os = errno;
    (void)close(mount);
    (void)close(target);
    errno = os;
    return result;
}

/* Binds the file or directory SOURCE to PATH inside ROOT, and closes SOURCE. */
static int bind_to(int source, unsigned attributes, int root, const char *path)
{
    struct mount_attr set = {.attr_set = attributes};
    int mount = open_tree(source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), os;

    if (mount >= 0 && mount_setattr(mount, "", AT_EMPTY_PATH, &set, sizeof(set)) < 0) {
        os = errno;
        (void)close(mount);
        errno = os;
        mount = -1;
    }
    os = errno;
    (void)close(source);
    errno = os;
    return mount < 0 ? -1 : attach(mount, root, path);
}

/* A new file system of TYPE at PATH inside ROOT; OPTIONS as of mount(8), separated by commas. */
static int mount_new(const char *type, const char *options, unsigned attributes, int root,
                     const char *path, struct outcome *outcome)
{
    int fs = fsopen(type, FSOPEN_CLOEXEC), result = fs < 0 ? -1 : 0;
    char words[128], *rest = words;

    (void)snprintf(words, sizeof(words), "%s", options);
    for (char *word; result == 0 && (word = strsep(&rest, ",")) != NULL && word[0] != '\0';) {
        char *value = strchr(word, '=');

        if (value != NULL) {
            *value++ = '\0';
        }
        result =
            fsconfig(fs, value != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, word, value, 0);
    }
    if (result < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
        attach(fsmount(fs, FSMOUNT_CLOEXEC, attributes), root, path) < 0) {
        result = outcome_fail_os(outcome, "mount %s at '%s'", type, path);
    }
    (void)close(fs);
    return result;
}

static int make_proc(int root, struct outcome *outcome)
{
    if (mount_new("proc", "", PLAIN | MOUNT_ATTR_NOEXEC, root, "/proc", outcome) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(guarded) / sizeof(*guarded); i++) {
        int source = file_open_inside(root, guarded[i], O_PATH);

        if (source >= 0 && bind_to(source, FIXED, root, guarded[i]) < 0) {
            return outcome_fail_os(outcome, "make '%s' read-only", guarded[i]);
        }
    }
    return 0;
}

static int make_node(int dev, const char *name, int root)
{
    char path[64];
    int fd = openat(dev, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), source;

    if (fd < 0) {
        return -1;
    }
    (void)close(fd);
    (void)snprintf(path, sizeof(path), "/dev/%s", name);
    source = open(path, O_PATH | O_CLOEXEC);
    /* Read-only does not keep anybody from writing to the device, but from changing its node. */
    return source < 0 ? -1 : bind_to(source, FIXED & ~(unsigned)MOUNT_ATTR_NODEV, root, path);
}

static int fill_dev(int dev, int root)
{
    for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
        if (make_node(dev, nodes[i], root) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
        if (symlinkat(links[i][0], dev, links[i][1]) < 0) {
            return -1;
        }
    }
    return mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 0755) < 0 ? -1 : 0;
}

static int make_dev(int root, const char *shm_options, struct outcome *outcome)
{
    int dev, result;

    if (mount_new("tmpfs", "mode=755,size=64k", PLAIN | MOUNT_ATTR_NOEXEC, root, "/dev", outcome) <
        0) {
        return -1;
    }
    dev = file_open_inside(root, "/dev", O_RDONLY | O_DIRECTORY);
    result = dev < 0 ? -1 : fill_dev(dev, root);
    if (result < 0) {
        (void)outcome_fail_os(outcome, "fill /dev");
    }
    (void)close(dev);
    if (result < 0 || mount_new("tmpfs", shm_options, PLAIN, root, "/dev/shm", outcome) < 0) {
        return -1;
    }
    return mount_new("devpts", "ptmxmode=666,mode=620,gid=5", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
                     root, "/dev/pts", outcome);
}

static int make_run(int root, const char *options, struct outcome *outcome)
{
    int run, result;

    if (mount_new("tmpfs", options, PLAIN, root, "/run", outcome) < 0) {
        return -1;
    }
    run = file_open_inside(root, "/run", O_RDONLY | O_DIRECTORY);
    result = run < 0 || mkdirat(run, "lock", 01777) < 0 || mkdirat(run, "kiln", 0755) < 0 ? -1 : 0;
    if (result < 0) {
        (void)outcome_fail_os(outcome, "fill /run");
    }
    (void)close(run);
    return result;
}

int mounts_bind(int source, int root, const char *target, struct outcome *outcome)
{
    if (source < 0 || bind_to(source, PLAIN | MOUNT_ATTR_RDONLY, root, target) < 0) {
        return outcome_fail_os(outcome, "mount '%s'", target);
    }
    return 0;
}

/* One mount may lie below another, or in /run: a target is looked for where it is seen now. */
static int make_own(const struct task *task, int root, struct outcome *outcome)
{
    char source[PATH_MAX], target[PATH_MAX];
    int more = 1;

    for (unsigned k = 0; (more = own_target(task, k, target, outcome)) > 0; k++) {
        (void)snprintf(source, sizeof(source), "%s/mounts/%u", task->step, k);
        if (points_make(NULL, root, target, outcome) < 0 ||
            mounts_bind(open(source, O_PATH | O_CLOEXEC), root, target, outcome) < 0) {
            return -1;
        }
    }
    return more;
}

int mounts_make(const struct task *task, int root, struct outcome *outcome)
{
    char shm[64], run[64];

    /* Half of the step's memory each: a full one is an error of the step's own. */
    (void)snprintf(shm, sizeof(shm), "mode=1777,size=%" PRIu64, task->memory_bytes / 2);
    (void)snprintf(run, sizeof(run), "mode=755,size=%" PRIu64, task->memory_bytes / 2);
    return make_proc(root, outcome) < 0 ||
                   mount_new("sysfs", "", FIXED, root, "/sys", outcome) < 0 ||
                   make_dev(root, shm, outcome) < 0 || make_run(root, run, outcome) < 0
               ? -1
               : make_own(task, root, outcome);
}
