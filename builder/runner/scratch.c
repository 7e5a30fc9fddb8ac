/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/scratch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "runner/clock.h"

enum { PATIENCE_MS = 20000, TRY_MS = 20 };

struct names {
    char disk[PATH_MAX], partition[PATH_MAX + 2];
};

/* /dev/disk/guestfs/NAME is a link to /dev/sdb; its partition is /dev/sdb1. */
static int resolve(const char *device, struct names *ret_names)
{
    size_t length;

    if (realpath(device, ret_names->disk) == NULL) {
        return -1;
    }
    length = strlen(ret_names->disk);
    (void)snprintf(ret_names->partition, sizeof(ret_names->partition), "%s%s1", ret_names->disk,
                   isdigit((unsigned char)ret_names->disk[length - 1]) ? "p" : "");
    return 0;
}

/* udev looks at a disk whenever it changes, and holds it for a moment. */
static int read_partitions(int fd)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    int result;

    while ((result = ioctl(fd, BLKRRPART)) < 0 && errno == EBUSY && clock_ms() < deadline_ms) {
        clock_pause(TRY_MS);
    }
    return result;
}

/* The partition's node comes a moment after the table is read. */
static int mount_partition(const char *partition)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    int result;

    do {
        result = mount(partition, SCRATCH_MOUNT, "ext4", MS_NODEV | MS_NOATIME, "");
        if (result == 0 || (errno != ENOENT && errno != ENXIO && errno != EBUSY)) {
            return result;
        }
        clock_pause(TRY_MS);
    } while (clock_ms() < deadline_ms);
    return result;
}

int scratch_mount(const char *device, struct outcome *outcome)
{
    struct names names;
    int fd = resolve(device, &names) < 0 ? -1 : open(names.disk, O_RDONLY | O_CLOEXEC), result;

    if (fd < 0) {
        return outcome_fail_os(outcome, "open the step's disk");
    }
    result = ioctl(fd, BLKFLSBUF) < 0 || read_partitions(fd) < 0 ? -1 : 0;
    if (result < 0) {
        (void)outcome_fail_os(outcome, "read the partitions of the step's disk");
    }
    (void)close(fd);
    if (result == 0 && mount_partition(names.partition) < 0) {
        return outcome_fail_os(outcome, "mount the step's disk");
    }
    return result;
}

/* The last mount of a file system may be one of a namespace that the kernel is still taking apart;
 * as long as there is one, the partition cannot be opened exclusively. */
static int open_when_free(const char *partition)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    int fd;

    while ((fd = open(partition, O_RDWR | O_EXCL | O_CLOEXEC)) < 0 && errno == EBUSY &&
           clock_ms() < deadline_ms) {
        clock_pause(TRY_MS);
    }
    return fd;
}

static int flush(int fd)
{
    int result = fd < 0 || fsync(fd) < 0 || ioctl(fd, BLKFLSBUF) < 0 ? -1 : 0, os = errno;

    if (fd >= 0) {
        (void)close(fd);
    }
    errno = os;
    return result;
}

int scratch_unmount(const char *device, struct outcome *outcome)
{
    struct names names;

    if (resolve(device, &names) < 0 || umount2(SCRATCH_MOUNT, UMOUNT_NOFOLLOW) < 0 ||
        flush(open_when_free(names.partition)) < 0 ||
        flush(open(names.disk, O_RDWR | O_CLOEXEC)) < 0) {
        return outcome_fail_os(outcome, "unmount the step's disk");
    }
    return 0;
}
