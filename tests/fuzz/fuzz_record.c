/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the record of a cached state: refused, or the one way to write what it says. */
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(record_done) struct record record = {0};
    SCOPED(buf_done) struct buf again = {0};

    if (!record_unpack((const char *)data, size, &record)) {
        require(record.group == NULL && record.count == 0);
        return 0;
    }
    require(record_is_group(record.group) && record.count <= RECORD_FILES_MAX);
    for (size_t i = 0; i < record.count; i++) {
        require(record_is_name(record.files[i].name));
    }
    record_pack(&record, &again);
    require(again.size == size && memcmp(again.data, data, size) == 0);
    return 0;
}
