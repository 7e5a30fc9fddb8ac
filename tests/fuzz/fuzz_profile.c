/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a profile: either it is refused with places in the file, or it is whole. What comes
 * after a line "%%" is base.yaml, which it may extend.
 */
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

/* Where both lie, beside a link to the tests: seeds have layers there. Made once, for all inputs.
 */
static char directory[] = "/tmp/fuzz-profile-XXXXXX";
static char *own_path, *base_path;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void remove_directory(void)
{
    struct error err = {0};

    (void)file_remove_tree(directory, &err);
    free(own_path);
    free(base_path);
}

static void make_directory(void)
{
    SCOPED_FREE char *here = getcwd(NULL, 0);
    SCOPED_FREE char *tests = xprintf("%s/tests", here);
    SCOPED_FREE char *link = NULL;

    require(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
    link = xprintf("%s/tests", directory);
    require(symlink(tests, link) == 0);
    own_path = xprintf("%s/fuzz.yaml", directory);
    base_path = xprintf("%s/base.yaml", directory);
}

/* Writes base.yaml, or removes that of another input; returns the size of the profile itself. */
static size_t split(const uint8_t *data, size_t size)
{
    static const char line[] = "\n%%\n";
    const uint8_t *found = memmem(data, size, line, strlen(line));
    struct error err = {0};
    size_t own;

    if (found == NULL) {
        (void)unlink(base_path);
        return size;
    }
    own = (size_t)(found - data) + 1;
    require(file_write(base_path, found + strlen(line), size - own - strlen(line) + 1, &err) == 0);
    return own;
}

/* Every line of a refusal begins with a place, but for the one that counts the others. */
static void check_refusal(const struct error *err, bool extends)
{
    require(err->kind == FAIL_USAGE && err->message[0] != '\0');
    for (const char *line = err->message; line != NULL;) {
        const char *end = strchr(line, '\n');
        bool last = end == NULL;

        require((text_starts(line, own_path) && line[strlen(own_path)] == ':') ||
                (extends && line[0] == '/' && strstr(line, ": ") != NULL) ||
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

    if (own_path == NULL) {
        make_directory();
    }
    if (is_slow(data, size)) {
        return 0;
    }
    size = split(data, size);
    if (profile_parse(own_path, (const char *)data, size, &profile, &err) < 0) {
        require(profile == NULL);
        check_refusal(&err, memmem(data, size, "extends", strlen("extends")) != NULL);
    } else {
        check_profile(profile);
    }
    return 0;
}
