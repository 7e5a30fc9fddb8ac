/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <stddef.h>

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
