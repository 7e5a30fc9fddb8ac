/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a profile: either it is refused with places in the file, or it is whole. */
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Every line of a refusal begins with the file, but for the one that counts the others. */
static void check_refusal(const struct error *err)
{
    require(err->kind == FAIL_USAGE && err->message[0] != '\0');
    for (const char *line = err->message; line != NULL;) {
        const char *end = strchr(line, '\n');
        bool last = end == NULL;

        require(strncmp(line, "fuzz.yaml:", 10) == 0 ||
                (last && line != err->message && strstr(line, " more problem") != NULL));
        for (const char *s = line; *s != '\0' && s != end; s++) {
            require((unsigned char)*s >= 0x20 && *s != 0x7f);
        }
        line = last ? NULL : end + 1;
    }
}

static void check_step(const struct profile_layer *layer)
{
    for (size_t i = 0; i < layer->package_count; i++) {
        require(layer->packages[i].path != NULL);
        require(i == 0 || strcmp(layer->packages[i - 1].name, layer->packages[i].name) < 0);
    }
    for (size_t i = 0; i < layer->mount_count; i++) {
        require(layer->mounts[i].path != NULL && layer->mounts[i].target[1] != '\0');
        require(i == 0 || strcmp(layer->mounts[i - 1].target, layer->mounts[i].target) < 0);
    }
    for (size_t i = 0; i < layer->leave_out_count; i++) {
        require(layer->leave_out[i][0] == '/' && layer->leave_out[i][1] != '\0');
    }
    require(profile_is_step(layer) == (layer->timeout_s != 0));
    require(profile_is_step(layer) == (layer->memory_bytes != 0));
}

static void check_profile(const struct profile *profile)
{
    const uint64_t gib = 1 << 30;

    require(profile->name != NULL && profile->version != NULL && profile->seed != NULL);
    require(profile->kernel_command_line != NULL && profile->formats != 0);
    require(profile->layer_count != 0 && profile->partition_count != 0);
    require(profile->disk_size_bytes != 0 && profile->disk_size_bytes % gib == 0);
    for (size_t i = 0; i < profile->layer_count; i++) {
        const struct profile_layer *layer = &profile->layers[i];

        require(layer->name != NULL && layer->to != NULL && layer->mark.line != 0);
        require(layer->path != NULL || layer->kind >= LAYER_FILES);
        require((layer->kind == LAYER_PACKAGES) == (layer->package_count != 0));
        require((layer->kind == LAYER_RUN) == (layer->path != NULL || layer->script != NULL) ||
                layer->kind < LAYER_FILES);
        check_step(layer);
        for (size_t k = 0; k < layer->file_count; k++) {
            const struct profile_file *file = &layer->files[k];

            require(file->path != NULL && file->path[0] == '/');
            require((file->content != NULL) + (file->symlink != NULL) + file->directory +
                        file->remove ==
                    1);
        }
    }
    require(profile->partitions[profile->partition_count - 1].type == PART_ROOT);
}

/* A pattern can walk the whole machine, which is not what is tested here. */
static bool is_slow(const uint8_t *data, size_t size)
{
    size_t wildcards = 0;
    bool many = false;

    for (size_t i = 0; i < size; i++) {
        wildcards = data[i] == '\n' ? 0 : wildcards + (memchr("*?[", data[i], 3) != NULL ? 1 : 0);
        many = many || wildcards > 3;
    }
    return many && memmem(data, size, "packages", strlen("packages")) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    if (is_slow(data, size)) {
        return 0;
    }
    if (profile_parse("fuzz.yaml", (const char *)data, size, &profile, &err) < 0) {
        require(profile == NULL);
        check_refusal(&err);
    } else {
        check_profile(profile);
    }
    return 0;
}
