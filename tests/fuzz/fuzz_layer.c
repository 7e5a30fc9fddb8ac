/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an archive layer: found out about and read to the end, data and all. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "layer/layer.h"

#define READ_LIMIT (64u << 20) /* a small input may decompress to much */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every attribute and piece is touched, so that a sanitizer sees a wrong pointer or size. */
static unsigned touch(const void *data, size_t size)
{
    unsigned sum = 0;

    for (size_t i = 0; i < size; i++) {
        sum += ((const uint8_t *)data)[i];
    }
    return sum;
}

static int read_part(struct layer *layer, unsigned part, struct error *err)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    unsigned sum = 0;
    uint64_t total = 0;
    int more;

    if (layer_reader_open(layer, part, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) == 1 && total < READ_LIMIT) {
        const void *data;
        size_t size;
        uint64_t offset, end = 0;

        sum += touch(entry.path, __builtin_strlen(entry.path));
        for (size_t i = 0; i < entry.xattr_count; i++) {
            sum += touch(entry.xattrs[i].value, entry.xattrs[i].size);
        }
        while ((more = layer_reader_data(reader, &data, &size, &offset, err)) == 1 &&
               total < READ_LIMIT) {
            if (offset < end || offset + size > entry.size || size == 0) {
                abort();
            }
            end = offset + size;
            sum += touch(data, size);
            total += size;
        }
        if (more < 0) {
            return -1;
        }
    }
    return more < 0 ? more : (int)(sum & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED_FD int fd = memfd_create("layer", MFD_CLOEXEC);
    SCOPED_FREE char *path = xprintf("/proc/self/fd/%d", fd);
    struct profile_layer spec = {.kind = LAYER_ARCHIVE, .name = path, .path = path};
    SCOPED(layer_freep) struct layer *layer = NULL;
    struct error err = {0};

    if (fd < 0 || file_write_all(fd, data, size, path, &err) < 0) {
        abort();
    }
    if (layer_open(&spec, ARCH_X86_64, &layer, &err) < 0) {
        return 0;
    }
    for (unsigned part = 0; part < layer_parts(layer); part++) {
        if (read_part(layer, part, &err) < 0) {
            break;
        }
    }
    return 0;
}
