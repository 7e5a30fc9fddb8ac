/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A streamOptimized VMDK, by qemu-img. Its bytes follow from the disk but for the content ID in its
 * descriptor, which is random (VMware, "Virtual Disk Format", "The Descriptor File"); it becomes
 * one that follows from the disk, too.
 */
#include "export/export.h"

#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/le.h"
#include "base/proc.h"
#include "base/scope.h"

enum {
    SECTOR = 512,
    HEADER = 512,
    DESCRIPTOR_AT = 28, /* in the header: where the descriptor is and how long, in sectors */
    DESCRIPTOR_MAX = 1 << 20,
};

static int convert(const char *raw, const char *path, struct error *err)
{
    /* So that a colon in a path is none of a protocol's. */
    SCOPED_FREE char *source = xprintf("file:%s", raw), *target = xprintf("file:%s", path);
    /* The controller and the hardware version (6) are those that ESXi and OVF tools expect. */
    const char *const argv[] = {
        "qemu-img", "convert", "-f", "raw",
        "-O",       "vmdk",    "-o", "subformat=streamOptimized,adapter_type=lsilogic,compat6",
        source,     target,    NULL};

    return proc_run(&(struct proc){.argv = argv}, err);
}

/* The text of the descriptor with a content ID that the disk's digest begins with. */
static int name_content(const char *text, const uint8_t *digest, struct buf *ret)
{
    static const char key[] = "\nCID=";
    const char *value = strstr(text, key);

    if (value == NULL) {
        return -1;
    }
    value += strlen(key);
    buf_add(ret, text, (size_t)(value - text));
    /* All ones is said of a disk without a parent. */
    buf_printf(ret, "%02x%02x%02x%02x", digest[0] & 0x7f, digest[1], digest[2], digest[3]);
    buf_puts(ret, value + strcspn(value, "\n"));
    return 0;
}

static int patch(int fd, const char *path, const uint8_t *digest, struct error *err)
{
    SCOPED_FREE char *text = NULL;
    SCOPED(buf_done) struct buf patched = {0};
    uint8_t header[HEADER];
    uint64_t offset, size;

    if (file_pread(fd, header, sizeof(header), 0, path, err) < 0) {
        return -1;
    }
    offset = (uint64_t)get32(header + DESCRIPTOR_AT) * SECTOR;
    size = (uint64_t)get32(header + DESCRIPTOR_AT + 8) * SECTOR;
    if (memcmp(header, "KDMV", 4) != 0 || size == 0 || size > DESCRIPTOR_MAX) {
        return fail(err, FAIL_ERROR, "'%s': qemu-img has made no such VMDK as it used to", path);
    }
    text = xcalloc(1, size + 1);
    if (file_pread(fd, text, size, offset, path, err) < 0) {
        return -1;
    }
    if (name_content(text, digest, &patched) < 0 || patched.size > size) {
        return fail(err, FAIL_ERROR, "'%s': qemu-img gave it no content ID", path);
    }
    memset(text, 0, size);
    memcpy(text, patched.data, patched.size);
    return file_pwrite(fd, text, size, offset, path, err);
}

int export_vmdk(const struct export_job *job, const char *path, struct error *err)
{
    SCOPED_FD int fd = -1;

    if (convert(job->clusters->name, path, err) < 0) {
        return -1;
    }
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return fail_os(err, "open '%s'", path);
    }
    if (patch(fd, path, job->disk_digest, err) < 0) {
        return -1;
    }
    return close(TAKE_FD(fd)) == 0 ? 0 : fail_os(err, "write '%s'", path);
}

/* The first line of what it says of itself. */
int export_vmdk_maker(const struct profile *profile, char **ret, struct error *err)
{
    const char *const argv[] = {"qemu-img", "--version", NULL};
    struct buf said = {0};

    (void)profile;
    if (proc_run(&(struct proc){.argv = argv, .output = &said}, err) < 0) {
        buf_done(&said);
        return -1;
    }
    *ret = buf_take(&said);
    (*ret)[strcspn(*ret, "\n")] = '\0';
    return 0;
}
