/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <string.h>

#include "base/proc.h"
#include "base/scope.h"

/*
 * qemu-img compresses on several threads but, without -W, allocates clusters in the order of the
 * disk: the same qemu-img and zlib write the same bytes. "file:" keeps a path with a colon in it
 * from being taken for a protocol, and -f raw keeps the image's content from being probed.
 */
int export_qcow2(const char *raw, const char *path, struct error *err)
{
    SCOPED_FREE char *source = xprintf("file:%s", raw);
    SCOPED_FREE char *target = xprintf("file:%s", path);
    const char *const argv[] = {
        "qemu-img",
        "convert",
        "-c",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-o",
        "compat=1.1,lazy_refcounts=off,cluster_size=65536,compression_type=zlib",
        source,
        target,
        NULL,
    };

    if (proc_run(&(struct proc){.argv = argv}, err) < 0) {
        return fail_while(err, "write '%s'", path);
    }
    return 0;
}

int export_qcow2_maker(char **ret, struct error *err)
{
    SCOPED(buf_done) struct buf output = {0};
    static const char *const argv[] = {"qemu-img", "--version", NULL};

    if (proc_run(&(struct proc){.argv = argv, .output = &output, .timeout_ms = 60000}, err) < 0) {
        return -1;
    }
    buf_puts(&output, "");
    *ret = xstrndup(output.data, strcspn(output.data, "\n"));
    return 0;
}
