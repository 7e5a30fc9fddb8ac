/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: OCI image layouts and what 'docker save' writes, as a directory or in a tar. Documents
 * are read at once (they are small), layers are streamed from where they lie. Every byte has a
 * digest: index -> manifest -> config and layers, config -> uncompressed layers (diff_ids).
 * OCI image-spec 1.1 (image-layout.md, image-index.md, manifest.md, config.md); docker's image
 * spec v1.2 for 'save'.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"
#include "layer/container.h"

#define DOCUMENT_LIMIT (4u << 20) /* what registries take */
#define PARTS_LIMIT 1000
/*
 * Of one search for a manifest. The same index may be named over and over, so what a layout of a
 * few kilobytes asks for is bounded as a whole, not for each document.
 */
#define NESTING_LIMIT 4
#define INDEXES_LIMIT 100
#define DESCRIPTORS_LIMIT 10000

struct image;

struct part {
    struct image *image;
    char *path;
    char *name; /* for messages */
    bool has_digest;
    uint8_t digest[HASH_SIZE];
    uint64_t size;
    uint8_t diff_id[HASH_SIZE];
};

struct image {
    struct layer layer;
    char *label;
    struct container from;
    struct part *parts;
};

struct descriptor {
    uint8_t digest[HASH_SIZE];
    uint64_t size;
    const char *media; /* borrowed from its document */
};

static void scope_json(json_t **json)
{
    json_decref(*json);
}

static void image_free(struct layer *layer)
{
    struct image *image = (struct image *)layer;

    for (unsigned i = 0; image->parts != NULL && i < layer->parts; i++) {
        free(image->parts[i].path);
        free(image->parts[i].name);
    }
    free(image->parts);
    free(image->label);
    container_done(&image->from);
    free(image);
}

static int damaged(const struct image *image, const char *document, const char *what,
                   struct error *err)
{
    return fail(err, FAIL_ERROR, "%s: '%s': %s", image->label, document, what);
}

/* --- documents ---------------------------------------------------------------------------------
 */

/* A whole small member; WANTED, unless NULL, says what it must be. */
static int read_member(const struct image *image, const char *path, const struct descriptor *wanted,
                       struct buf *ret, struct error *err)
{
    uint8_t found[HASH_SIZE];

    if (container_read(&image->from, path, DOCUMENT_LIMIT, ret, err) < 0) {
        return -1;
    }
    if (wanted != NULL && wanted->size != ret->size) {
        return fail(err, FAIL_MISMATCH, "%s: '%s': has %zu bytes, not %llu", image->label, path,
                    ret->size, (unsigned long long)wanted->size);
    }
    hash_bytes(ret->data, ret->size, found);
    if (wanted != NULL && memcmp(found, wanted->digest, HASH_SIZE) != 0) {
        SCOPED_FREE char *what = xprintf("%s: '%s'", image->label, path);

        return layer_mismatch(what, wanted->digest, found, err);
    }
    return 0;
}

static int read_json(const struct image *image, const char *path, const struct descriptor *wanted,
                     json_t **ret, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};
    json_error_t problem;
    json_t *json;

    if (read_member(image, path, wanted, &text, err) < 0) {
        return -1;
    }
    json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &problem);
    if (json == NULL) {
        return fail(err, FAIL_ERROR, "%s: '%s': line %d: %s", image->label, path, problem.line,
                    problem.text);
    }
    *ret = json;
    return 0;
}

/* --- descriptors ----------------------------------------------------------------------------- */

static int parse_digest(const struct image *image, const char *document, const json_t *json,
                        uint8_t ret[HASH_SIZE], struct error *err)
{
    const char *text = json_string_value(json);

    if (text == NULL) {
        return damaged(image, document, "a digest is missing", err);
    }
    if (!text_starts(text, "sha256:") || !hash_parse(text + 7, ret)) {
        return fail(err, FAIL_ERROR, "%s: '%s': '%s' is not a SHA-256 digest", image->label,
                    document, text);
    }
    return 0;
}

static int parse_descriptor(const struct image *image, const char *document, const json_t *json,
                            struct descriptor *ret, struct error *err)
{
    const json_t *size = json_object_get(json, "size");
    const char *media = json_string_value(json_object_get(json, "mediaType"));
    struct descriptor found = {.media = media == NULL ? "" : media};

    if (parse_digest(image, document, json_object_get(json, "digest"), found.digest, err) < 0) {
        return -1;
    }
    if (!json_is_integer(size) || json_integer_value(size) < 0) {
        return damaged(image, document, "a descriptor without size", err);
    }
    found.size = (uint64_t)json_integer_value(size);
    *ret = found;
    return 0;
}

static char *blob_path(const struct descriptor *descriptor)
{
    char hex[HASH_HEX_MAX];

    return xprintf("blobs/sha256/%s", hash_hex(descriptor->digest, hex));
}

static int read_blob_json(const struct image *image, const struct descriptor *descriptor,
                          json_t **ret, struct error *err)
{
    SCOPED_FREE char *path = blob_path(descriptor);

    return read_json(image, path, descriptor, ret, err);
}

/* --- choosing a manifest --------------------------------------------------------------------- */

struct choice {
    const char *architecture; /* as Go calls it */
    struct descriptor exact, other;
    unsigned exact_count, other_count; /* manifests for it, manifests that do not say */
    struct buf seen;                   /* platforms, for the message */
    unsigned descriptors, indexes;     /* met so far, nested ones included */
};

static const char *architecture_in_go(enum architecture architecture)
{
    return architecture == ARCH_AARCH64 ? "arm64" : "amd64";
}

static void take_choice(struct descriptor *kept, unsigned *count, const struct descriptor *found)
{
    /* One manifest under two names is one. */
    if (*count == 0 || memcmp(kept->digest, found->digest, HASH_SIZE) != 0) {
        *kept = *found;
        kept->media = "";
        (*count)++;
    }
}

static bool is_index(const char *media)
{
    return strcmp(media, "application/vnd.oci.image.index.v1+json") == 0 ||
           strcmp(media, "application/vnd.docker.distribution.manifest.list.v2+json") == 0;
}

static void choose_manifest(struct choice *choice, const json_t *json,
                            const struct descriptor *found)
{
    const json_t *platform = json_object_get(json, "platform");
    const char *os = json_string_value(json_object_get(platform, "os"));
    const char *architecture = json_string_value(json_object_get(platform, "architecture"));

    if (os == NULL || architecture == NULL) {
        take_choice(&choice->other, &choice->other_count, found);
        return;
    }
    /* "unknown/unknown" are attestations about another manifest. */
    if (strcmp(os, "unknown") == 0) {
        return;
    }
    buf_printf(&choice->seen, "%s%s/%s", choice->seen.size == 0 ? "" : ", ", os, architecture);
    if (strcmp(os, "linux") == 0 && strcmp(architecture, choice->architecture) == 0) {
        take_choice(&choice->exact, &choice->exact_count, found);
    }
}

static int choose(const struct image *image, const char *document, const json_t *index,
                  unsigned depth, struct choice *choice, struct error *err);

static int choose_nested(const struct image *image, const struct descriptor *found, unsigned depth,
                         struct choice *choice, struct error *err)
{
    SCOPED(scope_json) json_t *index = NULL;
    SCOPED_FREE char *path = blob_path(found);

    if (depth > NESTING_LIMIT) {
        return fail(err, FAIL_ERROR, "%s: '%s': indexes nested more than %d deep", image->label,
                    path, NESTING_LIMIT);
    }
    if (++choice->indexes > INDEXES_LIMIT) {
        return fail(err, FAIL_ERROR, "%s: more than %d nested indexes", image->label,
                    INDEXES_LIMIT);
    }
    return read_json(image, path, found, &index, err) < 0
               ? -1
               : choose(image, path, index, depth, choice, err);
}

static int choose(const struct image *image, const char *document, const json_t *index,
                  unsigned depth, struct choice *choice, struct error *err)
{
    const json_t *manifests = json_object_get(index, "manifests"), *json;
    size_t i;

    if (!json_is_array(manifests)) {
        return damaged(image, document, "not an image index", err);
    }
    json_array_foreach(manifests, i, json)
    {
        struct descriptor found = {.media = ""};

        if (++choice->descriptors > DESCRIPTORS_LIMIT) {
            return fail(err, FAIL_ERROR, "%s: '%s': more than %d manifests", image->label, document,
                        DESCRIPTORS_LIMIT);
        }
        if (stop_check(err) < 0 || parse_descriptor(image, document, json, &found, err) < 0) {
            return -1;
        }
        if (!is_index(found.media)) {
            choose_manifest(choice, json, &found);
        } else if (choose_nested(image, &found, depth + 1, choice, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int pick(const struct image *image, const struct choice *choice, struct descriptor *ret,
                struct error *err)
{
    if (choice->exact_count > 1 || (choice->exact_count == 0 && choice->other_count > 1)) {
        fail(err, FAIL_ERROR, "%s: more than one image for linux/%s", image->label,
             choice->architecture);
        return fail_hint(err, "copy the one that is meant into a layout of its own (skopeo copy)");
    }
    if (choice->exact_count == 0 && choice->other_count == 0) {
        return fail(err, FAIL_ERROR, "%s: no image for linux/%s, but %s", image->label,
                    choice->architecture, choice->seen.size == 0 ? "none" : choice->seen.data);
    }
    *ret = choice->exact_count == 1 ? choice->exact : choice->other;
    return 0;
}

/* --- parts ----------------------------------------------------------------------------------- */

static int part_read(void *data, const struct archive_sum *sum, struct error *err)
{
    const struct part *part = data;
    SCOPED_FREE char *what = xprintf("%s: '%s'", part->image->label, part->name);

    if (part->has_digest && memcmp(part->digest, sum->digest, HASH_SIZE) != 0) {
        return layer_mismatch(what, part->digest, sum->digest, err);
    }
    if (memcmp(part->diff_id, sum->content, HASH_SIZE) != 0) {
        SCOPED_FREE char *inside = xprintf("%s, uncompressed", what);

        return layer_mismatch(inside, part->diff_id, sum->content, err);
    }
    return 0;
}

static int image_open_part(struct layer *layer, unsigned number, struct layer_reader **ret,
                           struct error *err)
{
    struct image *image = (struct image *)layer;
    struct part *part = &image->parts[number];
    struct archive_input input = {.hash_content = true, .finish = part_read, .data = part};

    if (container_find(&image->from, part->path, &input.fd, &input.offset, &input.size, err) < 0) {
        return -1;
    }
    if (part->has_digest && input.size != part->size) {
        (void)close(input.fd);
        return fail(err, FAIL_MISMATCH, "%s: '%s': has %llu bytes, not %llu", image->label,
                    part->name, (unsigned long long)input.size, (unsigned long long)part->size);
    }
    input.label = xprintf("%s: '%s'", image->label, part->name);
    return archive_reader_open(layer, &input, ret, err);
}

static int check_layer_type(const struct image *image, const char *document,
                            const struct descriptor *descriptor, struct error *err)
{
    static const char *const known[] = {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    };

    for (size_t i = 0; i < COUNT(known); i++) {
        if (strcmp(descriptor->media, known[i]) == 0) {
            return 0;
        }
    }
    return fail(err, FAIL_ERROR, "%s: '%s': a layer of type '%s'", image->label, document,
                descriptor->media);
}

static int add_oci_part(struct image *image, const char *document, const json_t *json,
                        struct part *part, struct error *err)
{
    struct descriptor descriptor = {.media = ""};
    SCOPED_FD int fd = -1;
    uint64_t offset, size;

    if (parse_descriptor(image, document, json, &descriptor, err) < 0 ||
        check_layer_type(image, document, &descriptor, err) < 0) {
        return -1;
    }
    part->image = image;
    part->path = blob_path(&descriptor);
    part->name = xstrdup(part->path);
    part->has_digest = true;
    memcpy(part->digest, descriptor.digest, HASH_SIZE);
    part->size = descriptor.size;
    image->layer.size_hint += descriptor.size;
    if (container_find(&image->from, part->path, &fd, &offset, &size, err) < 0) {
        return json_array_size(json_object_get(json, "urls")) == 0
                   ? -1
                   : fail_hint(err, "the image only says where to download this layer: pull it "
                                    "with its foreign layers");
    }
    return 0;
}

static int add_docker_part(struct image *image, const json_t *json, struct part *part,
                           struct error *err)
{
    const char *path = json_string_value(json);
    SCOPED_FD int fd = -1;
    uint64_t offset = 0, size = 0;

    if (path == NULL) {
        return damaged(image, "manifest.json", "a layer without path", err);
    }
    part->image = image;
    part->path = xstrdup(path);
    part->name = xstrdup(path);
    if (container_find(&image->from, path, &fd, &offset, &size, err) < 0) {
        return -1;
    }
    image->layer.size_hint += size;
    return 0;
}

/* Makes the parts from LAYERS (descriptors, or paths when DOCKER). */
static int add_parts(struct image *image, const char *document, const json_t *layers, bool docker,
                     struct error *err)
{
    size_t count = json_array_size(layers);

    if (!json_is_array(layers) || count == 0) {
        return damaged(image, document, "no layers", err);
    }
    if (count > PARTS_LIMIT) {
        return damaged(image, document, "more than 1000 layers", err);
    }
    image->parts = xcalloc(count, sizeof(*image->parts));
    image->layer.parts = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        const json_t *json = json_array_get(layers, i);
        int result = docker ? add_docker_part(image, json, &image->parts[i], err)
                            : add_oci_part(image, document, json, &image->parts[i], err);

        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* The config says what the image is for and what its layers are when uncompressed. */
static int apply_config(struct image *image, const char *document, const json_t *config,
                        enum architecture architecture, struct error *err)
{
    const char *os = json_string_value(json_object_get(config, "os"));
    const char *for_what = json_string_value(json_object_get(config, "architecture"));
    const json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");

    if (os == NULL || for_what == NULL) {
        return damaged(image, document, "an image without os and architecture", err);
    }
    if (strcmp(os, "linux") != 0 || strcmp(for_what, architecture_in_go(architecture)) != 0) {
        return fail(err, FAIL_ERROR, "%s: an image for %s/%s, not linux/%s", image->label, os,
                    for_what, architecture_in_go(architecture));
    }
    if (json_array_size(ids) != image->layer.parts) {
        return fail(err, FAIL_ERROR, "%s: '%s': %zu diff_ids for %u layers", image->label, document,
                    json_array_size(ids), image->layer.parts);
    }
    for (unsigned i = 0; i < image->layer.parts; i++) {
        if (parse_digest(image, document, json_array_get(ids, i), image->parts[i].diff_id, err) <
            0) {
            return -1;
        }
    }
    return 0;
}

/* --- the two kinds ---------------------------------------------------------------------------- */

static int load_layout_version(const struct image *image, struct error *err)
{
    SCOPED(scope_json) json_t *layout = NULL;
    const char *version;

    if (read_json(image, "oci-layout", NULL, &layout, err) < 0) {
        return -1;
    }
    version = json_string_value(json_object_get(layout, "imageLayoutVersion"));
    if (version == NULL || !text_starts(version, "1.")) {
        return fail(err, FAIL_ERROR, "%s: OCI layout of version '%s', not 1", image->label,
                    version == NULL ? "" : version);
    }
    return 0;
}

static int choose_from_layout(const struct image *image, enum architecture architecture,
                              struct descriptor *ret, struct error *err)
{
    SCOPED(scope_json) json_t *index = NULL;
    struct choice choice = {.architecture = architecture_in_go(architecture)};
    int result;

    if (load_layout_version(image, err) < 0 ||
        read_json(image, "index.json", NULL, &index, err) < 0) {
        return -1;
    }
    result = choose(image, "index.json", index, 0, &choice, err);
    if (result == 0) {
        result = pick(image, &choice, ret, err);
    }
    buf_done(&choice.seen);
    return result;
}

static int load_oci(struct image *image, enum architecture architecture, struct error *err)
{
    SCOPED(scope_json) json_t *manifest = NULL;
    SCOPED(scope_json) json_t *config = NULL;
    struct descriptor chosen = {.media = ""}, about = chosen;
    SCOPED_FREE char *path = NULL;

    if (choose_from_layout(image, architecture, &chosen, err) < 0 ||
        read_blob_json(image, &chosen, &manifest, err) < 0) {
        return -1;
    }
    path = blob_path(&chosen);
    if (json_integer_value(json_object_get(manifest, "schemaVersion")) != 2) {
        return damaged(image, path, "not an image manifest of version 2", err);
    }
    if (parse_descriptor(image, path, json_object_get(manifest, "config"), &about, err) < 0 ||
        add_parts(image, path, json_object_get(manifest, "layers"), false, err) < 0 ||
        read_blob_json(image, &about, &config, err) < 0 ||
        apply_config(image, path, config, architecture, err) < 0) {
        return -1;
    }
    memcpy(image->layer.digest, chosen.digest, HASH_SIZE);
    image->layer.digest_size = chosen.size;
    return 0;
}

/* docker names the config after its digest; a file that belies its name is damaged. */
static int check_config_name(const struct image *image, const char *path, struct error *err)
{
    const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
    SCOPED_FREE char *hex = xstrndup(name, 64);
    uint8_t said[HASH_SIZE];

    if ((name[strlen(hex)] == '\0' || strcmp(name + strlen(hex), ".json") == 0) &&
        hash_parse(hex, said) && memcmp(said, image->layer.digest, HASH_SIZE) != 0) {
        SCOPED_FREE char *what = xprintf("%s: '%s'", image->label, path);

        return layer_mismatch(what, said, image->layer.digest, err);
    }
    return 0;
}

static int load_docker(struct image *image, enum architecture architecture, struct error *err)
{
    SCOPED(scope_json) json_t *list = NULL;
    SCOPED(scope_json) json_t *config = NULL;
    SCOPED(buf_done) struct buf text = {0};
    const json_t *manifest;
    const char *path;

    if (read_json(image, "manifest.json", NULL, &list, err) < 0) {
        return -1;
    }
    if (json_array_size(list) != 1) {
        fail(err, FAIL_ERROR, "%s: %zu images in one archive", image->label, json_array_size(list));
        return fail_hint(err, "save the one that is meant alone");
    }
    manifest = json_array_get(list, 0);
    path = json_string_value(json_object_get(manifest, "Config"));
    if (path == NULL) {
        return damaged(image, "manifest.json", "no config", err);
    }
    if (add_parts(image, "manifest.json", json_object_get(manifest, "Layers"), true, err) < 0 ||
        read_member(image, path, NULL, &text, err) < 0) {
        return -1;
    }
    hash_bytes(text.data, text.size, image->layer.digest);
    image->layer.digest_size = text.size;
    if (check_config_name(image, path, err) < 0 || read_json(image, path, NULL, &config, err) < 0) {
        return -1;
    }
    return apply_config(image, path, config, architecture, err);
}

static const struct layer_ops oci_ops = {
    .format = "oci",
    .rules = RULES_OCI,
    .untimed = false,
    .digest = DIGEST_KNOWN,
    .open_part = image_open_part,
    .free = image_free,
};

static const struct layer_ops docker_ops = {
    .format = "docker",
    .rules = RULES_OCI,
    .untimed = false,
    .digest = DIGEST_KNOWN,
    .open_part = image_open_part,
    .free = image_free,
};

/* --- finding out what a path is ----------------------------------------------------------------
 */

/* A manifest.json as docker writes it; any other is somebody's own file. */
static bool is_docker(const struct image *image)
{
    SCOPED(scope_json) json_t *list = NULL;
    const json_t *first;
    struct error ignored = {0};

    if (!container_has(&image->from, "manifest.json") ||
        read_json(image, "manifest.json", NULL, &list, &ignored) < 0) {
        return false;
    }
    first = json_array_get(list, 0);
    return json_is_string(json_object_get(first, "Config")) &&
           json_is_array(json_object_get(first, "Layers"));
}

static const struct layer_ops *detect(const struct image *image)
{
    if (container_has(&image->from, "oci-layout") && container_has(&image->from, "index.json")) {
        return &oci_ops;
    }
    return is_docker(image) ? &docker_ops : NULL;
}

/* The pin of an image in a tar is the file's; of a directory, the chosen manifest's. */
static int check_pin(struct image *image, struct error *err)
{
    SCOPED(hash_freep) struct hash *hash = NULL;
    SCOPED_FREE char *buffer = NULL;
    uint8_t found[HASH_SIZE];

    image->layer.settled = true;
    if (!image->layer.spec->has_sha256) {
        return 0;
    }
    memcpy(found, image->layer.digest, HASH_SIZE);
    if (image->from.file >= 0) {
        hash = hash_new();
        buffer = xmalloc(1 << 20);
        for (uint64_t at = 0; at < image->from.size;) {
            uint64_t left = image->from.size - at;
            size_t step = left < 1 << 20 ? (size_t)left : 1 << 20;

            if (stop_check(err) < 0 ||
                file_pread(image->from.file, buffer, step, at, image->label, err) < 0) {
                return -1;
            }
            hash_add(hash, buffer, step);
            at += step;
        }
        hash_end(hash, found);
    }
    return memcmp(found, image->layer.spec->sha256, HASH_SIZE) == 0
               ? 0
               : layer_mismatch(image->label, image->layer.spec->sha256, found, err);
}

int layer_new_image(const struct profile_layer *spec, enum architecture architecture,
                    struct layer **ret, struct error *err)
{
    struct image *image = xcalloc(1, sizeof(*image));
    SCOPED(layer_freep) struct layer *owner = &image->layer;

    image->label = xprintf("layer '%s'", spec->name);
    image->layer.spec = spec;
    image->layer.ops = &oci_ops;
    if (container_open(&image->from, image->label, spec->path, err) < 0) {
        return -1;
    }
    image->layer.ops = detect(image);
    if (image->layer.ops == NULL) {
        image->layer.ops = &oci_ops; /* to be freed by */
        if (image->from.dir < 0) {
            return 0;
        }
        fail(err, FAIL_ERROR, "%s: a directory that is neither an OCI layout nor a saved image",
             image->label);
        return fail_hint(err, "a config tree is given as 'directory:'");
    }
    if ((image->layer.ops == &oci_ops ? load_oci(image, architecture, err)
                                      : load_docker(image, architecture, err)) < 0 ||
        check_pin(image, err) < 0) {
        return -1;
    }
    *ret = TAKE(owner);
    return 1;
}
