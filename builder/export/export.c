/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <fcntl.h>
#include <stddef.h>

#include "base/file.h"
#include "base/scope.h"

const struct export_format export_formats[] = {
    {.name = "raw", .file = "disk.raw", .bit = FORMAT_RAW},
    {
        .name = "qcow2",
        .file = "disk.qcow2",
        .bit = FORMAT_QCOW2,
        .write = export_qcow2,
        .maker = export_qcow2_maker,
    },
    {.name = NULL},
};

int export_data_bytes(const char *raw, uint64_t *ret, struct error *err)
{
    SCOPED_FD int fd = open(raw, O_RDONLY | O_CLOEXEC);
    uint64_t offset = 0, size = 0;
    int found;

    if (fd < 0) {
        return fail_os(err, "open '%s'", raw);
    }
    *ret = 0;
    while ((found = file_next_data(fd, offset + size, &offset, &size, raw, err)) > 0) {
        *ret += size;
    }
    return found;
}
