/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"

#define MAGIC "kiln kvm 1"

enum { KVM_API = 12, MEMORY_MAX = 16 << 10, CAUSE_MAX = 1024 };

/* What a user who may not open DEVICE can do; its group is "kvm" nearly everywhere. */
static char *forbidden(const char *device)
{
    char space[4096];
    struct group group, *found = NULL;
    struct stat st;

    if (stat(device, &st) == 0 && (st.st_mode & 0060) == 0060 && st.st_gid != 0 &&
        getgrgid_r(st.st_gid, &group, space, sizeof(space), &found) == 0 && found != NULL) {
        return xprintf("%s: permission denied; add yourself to the group '%s'", device,
                       found->gr_name);
    }
    return xprintf("%s: permission denied", device);
}

char *kvm_obstacle(const char *device)
{
    SCOPED_FD int fd = open(device, O_RDWR | O_CLOEXEC);
    SCOPED_FD int machine = -1;

    if (fd < 0) {
        if (errno == EACCES || errno == EPERM) {
            return forbidden(device);
        }
        return errno == ENOENT ? xprintf("%s is not there", device)
                               : xprintf("%s: %s", device, strerror(errno));
    }
    if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API) {
        return xprintf("%s is not KVM", device);
    }
    /* Another hypervisor that holds the processor's extensions shows only here. */
    machine = ioctl(fd, KVM_CREATE_VM, 0);
    return machine < 0 ? xprintf("%s: no virtual machine: %s", device, strerror(errno)) : NULL;
}

static char *boot_id(void)
{
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", 256, &text, &err) < 0) {
        return xstrdup("unknown");
    }
    text.data[strcspn(text.data, "\n")] = '\0';
    return xstrdup(text.data);
}

void kvm_host_read(struct kvm_host *host, const char *qemu)
{
    struct utsname name;
    struct stat st;

    host->kernel = xstrdup(uname(&name) == 0 ? name.release : "unknown");
    host->boot = boot_id();
    host->qemu = stat(qemu, &st) < 0 ? xprintf("%s unknown", qemu)
                                     : xprintf("%s %lld %lld.%09ld", qemu, (long long)st.st_size,
                                               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

void kvm_host_done(struct kvm_host *host)
{
    free(host->kernel);
    free(host->boot);
    free(host->qemu);
    *host = (struct kvm_host){0};
}

char *kvm_memory_path(void)
{
    SCOPED_FREE char *cache = file_user_dir("XDG_CACHE_HOME", ".cache");

    return cache != NULL ? file_join(cache, "kiln/kvm") : NULL;
}

/* Everything of the file before the cause. */
static char *preamble(const struct kvm_host *host)
{
    return xprintf(MAGIC "\nkernel %s\nboot %s\nqemu %s\ncause ", host->kernel, host->boot,
                   host->qemu);
}

char *kvm_recall(const char *path, const struct kvm_host *host)
{
    SCOPED_FREE char *expected = preamble(host);
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};
    size_t length = strlen(expected);
    const char *cause, *end;

    if (file_read(path, MEMORY_MAX, &text, &err) < 0 || text.size <= length ||
        memcmp(text.data, expected, length) != 0) {
        return NULL;
    }
    cause = text.data + length;
    end = strchr(cause, '\n');
    /* One whole line and nothing after it, or somebody else wrote this. */
    if (end == NULL || end == cause || end + 1 != text.data + text.size) {
        return NULL;
    }
    return xstrndup(cause, (size_t)(end - cause));
}

static int replace(const char *path, const char *text, struct error *err)
{
    SCOPED_FREE char *name = xprintf("%s.partial-XXXXXX", path);
    SCOPED_FD int fd = mkostemp(name, O_CLOEXEC);

    if (fd < 0) {
        return fail_os(err, "create '%s'", name);
    }
    if (file_write_all(fd, text, strlen(text), name, err) < 0) {
        (void)unlink(name);
        return -1;
    }
    if (close(TAKE_FD(fd)) < 0 || rename(name, path) < 0) {
        fail_os(err, "write '%s'", path);
        (void)unlink(name);
        return -1;
    }
    return 0;
}

int kvm_remember(const char *path, const struct kvm_host *host, const char *cause,
                 struct error *err)
{
    SCOPED_FREE char *dir = file_dir(path), *start = preamble(host), *text = NULL;
    size_t length = strcspn(cause, "\n");

    if (length > CAUSE_MAX) {
        length = CAUSE_MAX;
    }
    text = xprintf("%s%.*s\n", start, (int)length, cause);
    if (file_make_dirs(dir, err) < 0 || replace(path, text, err) < 0) {
        return fail_while(err, "remember that KVM does not work");
    }
    return 0;
}

int kvm_limit(const char *text, unsigned asked, unsigned *ret_seconds, struct error *err)
{
    unsigned long seconds;
    char *end;

    if (text == NULL || text[0] == '\0') {
        *ret_seconds = asked != 0 ? asked : KVM_LIMIT_DEFAULT_S;
        return 0;
    }
    errno = 0;
    seconds = strtoul(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' || seconds == 0 ||
        seconds > KVM_LIMIT_MAX_S) {
        return fail(err, FAIL_USAGE, "KILN_KVM_LIMIT: '%s' is not a number of seconds from 1 to %d",
                    text, KVM_LIMIT_MAX_S);
    }
    *ret_seconds = (unsigned)seconds;
    return 0;
}
