/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a bundle's targets.json: refused with a place, or whole, and then what a bundle
 * would get of it reads back as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "profile/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_target(const struct target *target)
{
    require(profile_check_name(target->name) == NULL && target->attributes != NULL);
    require(target->cloud < CLOUDS);
    require(strstr(target->attributes, "\"cloud\"") == NULL || target->cloud != CLOUD_DIRECTORY);
    require(text_is_printable(target->attributes, strlen(target->attributes)));
    if (target->cloud == CLOUD_AWS && target->aws.region != NULL) {
        require(strpbrk(target->aws.region, "./:@?#%\\ ") == NULL);
    }
    if (target->cloud == CLOUD_DIRECTORY && target->directory.path != NULL) {
        require(strstr(target->directory.path, "/../") == NULL);
    }
    require(target->cloud != CLOUD_OPENSTACK || target->openstack.disk_format != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(targets_done) struct targets targets = {0};
    SCOPED(targets_done) struct targets again = {0};
    struct error err = {0};

    if (targets_parse("t.json", (const char *)data, size, &targets, &err) < 0) {
        require(err.kind == FAIL_USAGE && text_starts(err.message, "t.json:"));
        return 0;
    }
    require(targets_parse("t.json", targets.text, strlen(targets.text), &again, &err) == 0);
    require(strcmp(targets.text, again.text) == 0 && targets.count == again.count);
    for (size_t i = 0; i < targets.count; i++) {
        check_target(&targets.items[i]);
        require(strcmp(targets.items[i].attributes, again.items[i].attributes) == 0);
    }
    return 0;
}
