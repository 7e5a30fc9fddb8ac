/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/isolation.h"

#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

/* No network but this: 127.0.0.1 works, everything else is unreachable at once. */
static int raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

    if (fd < 0) {
        return -1;
    }
    result = ioctl(fd, SIOCSIFFLAGS, &request);
    (void)close(fd);
    return result;
}

int isolation_enter(struct outcome *outcome)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0) {
        return outcome_fail_os(outcome, "unshare");
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        return outcome_fail_os(outcome, "make mounts private");
    }
    if (raise_loopback() < 0) {
        return outcome_fail_os(outcome, "bring up the loopback interface");
    }
    if (sethostname("kiln", strlen("kiln")) < 0) {
        return outcome_fail_os(outcome, "set the host name");
    }
    return 0;
}

/* libguestfs's daemon starts commands in a chroot, several mounts deep. With a working directory
 * outside the root, ".." goes all the way up. */
static int go_to_top(void)
{
    enum { DEEP = 16 };

    if (chroot("image") < 0) {
        return -1;
    }
    for (int i = 0; i < DEEP; i++) {
        if (chdir("..") < 0) {
            return -1;
        }
    }
    return chroot(".");
}

int isolation_set_root(int root, struct outcome *outcome)
{
    /* A step may leave a chroot just so: what it comes to then must be the image again. */
    if (go_to_top() < 0 || fchdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
        chroot(".") < 0 || chdir("/") < 0) {
        return outcome_fail_os(outcome, "enter the image");
    }
    return 0;
}
