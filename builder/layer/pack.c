/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/output.h"
#include "base/scope.h"
#include "base/text.h"
#include "layer/layer.h"
#include "layer/packer.h"

static int copy_data(struct layer_reader *reader, struct pax *pax, struct error *err)
{
    const void *data;
    size_t size;
    uint64_t offset;
    int more;

    while ((more = layer_reader_data(reader, &data, &size, &offset, err)) == 1) {
        if (pax_data(pax, data, size, err) < 0) {
            return -1;
        }
    }
    return more;
}

static int copy(struct layer *layer, struct pax *pax, int64_t epoch, struct error *err)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (layer_reader_open(layer, 0, &reader, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_next(reader, &entry, err)) == 1) {
        entry.mtime = epoch;
        if (pax_entry(pax, &entry, NULL, 0, err) < 0 || copy_data(reader, pax, err) < 0) {
            return -1;
        }
    }
    return more;
}

/* An archive in the directory that it is made of would be part of itself. */
static int check_apart(const char *dir, const char *out, struct error *err)
{
    SCOPED_FREE char *parent = file_dir(out);
    SCOPED_FREE char *real_parent = realpath(parent, NULL);
    SCOPED_FREE char *real_dir = realpath(dir, NULL);
    size_t length;

    if (real_parent == NULL || real_dir == NULL) {
        return 0; /* opening it says why */
    }
    length = strlen(real_dir);
    if (strncmp(real_parent, real_dir, length) == 0 &&
        (length == 1 || real_parent[length] == '\0' || real_parent[length] == '/')) {
        return fail(err, FAIL_USAGE, "'%s' lies in '%s', which it is to hold", out, dir);
    }
    return 0;
}

static int check_arguments(const char *dir, const char *to, const char *out, struct error *err)
{
    const char *wrong = to == NULL ? NULL : profile_image_path(to);

    if (!text_ends(out, ".tar.zst") && !text_ends(out, ".tar")) {
        fail(err, FAIL_USAGE, "'%s' ends neither in .tar nor in .tar.zst", out);
        return fail_hint(err, "the name says how the layer is packed");
    }
    if (wrong != NULL) {
        return fail(err, FAIL_USAGE, "path in the image '%s': %s", to, wrong);
    }
    return check_apart(dir, out, err);
}

int pack_directory(const char *dir, const char *to, int64_t epoch, const char *out,
                   uint8_t ret_digest[HASH_SIZE], uint64_t *ret_size, struct error *err)
{
    struct profile_layer spec = {
        .kind = LAYER_DIRECTORY, .name = (char *)dir, .path = (char *)dir, .to = (char *)to};
    SCOPED(output_done) struct output output = {0};
    SCOPED(packer_freep) struct packer *packer = NULL;
    SCOPED(layer_freep) struct layer *layer = NULL;
    struct packed packed;

    if (check_arguments(dir, to, out, err) < 0 || layer_open(&spec, ARCH_X86_64, &layer, err) < 0 ||
        output_open(&output, out, err) < 0 ||
        packer_new(output.fd, out, text_ends(out, ".tar.zst"), &packer, err) < 0 ||
        copy(layer, packer_pax(packer), epoch, err) < 0 || packer_end(packer, &packed, err) < 0 ||
        output_commit(&output, err) < 0) {
        return -1;
    }
    memcpy(ret_digest, packed.file_digest, HASH_SIZE);
    *ret_size = packed.file_size;
    return 0;
}
