/* SPDX-License-Identifier: Apache-2.0 */
#include "step/inputs.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "layer/learn.h"
#include "step/runner.h"

enum { SCRIPT_MAX = 1 << 20 /* bytes */ };

static const uint64_t DRIVE_BYTES = 64ULL << 30; /* of holes: nothing may be too much */

/* --- digests ------------------------------------------------------------------------------- */

const char *inputs_script_name(const struct profile_layer *spec)
{
    const char *slash = spec->path != NULL ? strrchr(spec->path, '/') : NULL;

    return slash != NULL ? slash + 1 : spec->path != NULL ? spec->path : "script";
}

/* The text of a run step's script, appended to RET. */
static int read_script(const struct profile_layer *spec, struct buf *ret, struct error *err)
{
    if (spec->script != NULL) {
        buf_add(ret, spec->script, spec->script_size);
        return 0;
    }
    return file_read(spec->path, SCRIPT_MAX, ret, err) < 0
               ? fail_while(err, "step '%s'", spec->name)
               : 0;
}

static void add_text(struct hash *hash, const char *text)
{
    hash_add(hash, text, strlen(text) + 1);
}

/* A directory as a layer of the image has it. */
static struct profile_layer mount_layer(const struct profile_mount *mount, char *to)
{
    return (struct profile_layer){
        .kind = LAYER_DIRECTORY, .name = mount->name, .path = mount->path, .to = to};
}

static int add_mount(const struct profile_mount *mount, struct hash *hash, struct error *err)
{
    char root[] = "/";
    struct profile_layer spec = mount_layer(mount, root);
    SCOPED(layer_freep) struct layer *layer = NULL;
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    if (layer_open(&spec, ARCH_X86_64, &layer, err) < 0 || layer_learn(layer, err) < 0) {
        return -1;
    }
    layer_digest(layer, digest, &size);
    add_text(hash, mount->target);
    hash_add(hash, digest, sizeof(digest));
    return 0;
}

static int add_package(const struct profile_package *package, const struct store *store,
                       struct hash *hash, struct error *err)
{
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    if (learn_file(store, package->path, digest, &size, err) < 0) {
        return -1;
    }
    add_text(hash, package->name);
    hash_add(hash, digest, sizeof(digest));
    return 0;
}

int inputs_digest(const struct profile_layer *spec, const struct store *store,
                  uint8_t ret[HASH_SIZE], struct error *err)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    SCOPED(buf_done) struct buf script = {0};
    uint8_t digest[HASH_SIZE];

    if (spec->kind == LAYER_RUN) {
        if (read_script(spec, &script, err) < 0) {
            return -1;
        }
        hash_bytes(script.data, script.size, digest);
        hash_add(hash, digest, sizeof(digest));
    }
    for (size_t i = 0; i < spec->package_count; i++) {
        if (add_package(&spec->packages[i], store, hash, err) < 0) {
            return fail_while(err, "step '%s'", spec->name);
        }
    }
    for (size_t i = 0; i < spec->mount_count; i++) {
        if (add_mount(&spec->mounts[i], hash, err) < 0) {
            return fail_while(err, "step '%s'", spec->name);
        }
    }
    hash_end(hash, ret);
    return 0;
}

/* --- the disk ------------------------------------------------------------------------------ */

/* A profile that is put together here: one files layer, and a directory layer for each mount. */
struct list {
    struct profile profile;
    struct profile_layer *layers; /* the files first */
    size_t layer_space;
    struct profile_file *files;
    size_t file_count, file_space;
};

static void list_done(struct list *list)
{
    for (size_t i = 0; i < list->file_count; i++) {
        free(list->files[i].path);
        free(list->files[i].content);
    }
    for (size_t i = 1; i < list->profile.layer_count; i++) {
        free(list->layers[i].to);
    }
    free(list->files);
    free(list->layers);
}

/* FILE's path and content are given away. */
static void add_file(struct list *list, struct profile_file file)
{
    grow(&list->files, list->file_count, &list->file_space, sizeof(*list->files));
    list->files[list->file_count++] = file;
}

static void add_bytes(struct list *list, char *path, const void *data, size_t size)
{
    add_file(list, (struct profile_file){
                       .path = path, .content = xmemdup(data, size), .content_size = size});
}

static void add_layer(struct list *list, struct profile_layer layer)
{
    size_t *count = &list->profile.layer_count;

    grow(&list->layers, *count, &list->layer_space, sizeof(*list->layers));
    list->layers[(*count)++] = layer;
}

/* Where its runner mounts things: the disk itself is read-only. */
static void add_runner(struct list *list)
{
    static const char *const directories[] = {"/cgroup", "/dev", "/image", "/proc", "/sys"};
    size_t size;
    const unsigned char *program = runner_image(&size);

    for (size_t i = 0; i < COUNT(directories); i++) {
        add_file(list, (struct profile_file){.path = xstrdup(directories[i]), .directory = true});
    }
    add_file(list, (struct profile_file){.path = xstrdup("/runner"),
                                         .content = xmemdup(program, size),
                                         .content_size = size,
                                         .attributes = {.has_mode = true, .mode = 0755}});
}

static int add_script(struct list *list, const struct profile_layer *spec, size_t number,
                      struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (read_script(spec, &text, err) < 0) {
        return -1;
    }
    add_bytes(list, xprintf("/steps/%zu/script/%s", number, inputs_script_name(spec)), text.data,
              text.size);
    return 0;
}

static int add_packages(struct list *list, const struct profile_layer *spec, size_t number,
                        struct error *err)
{
    for (size_t i = 0; i < spec->package_count; i++) {
        const struct profile_package *package = &spec->packages[i];
        struct stat st;

        if (stat(package->path, &st) < 0) {
            return fail_os(err, "step '%s': open '%s'", spec->name, package->path);
        }
        add_file(list, (struct profile_file){
                           .path = xprintf("/steps/%zu/packages/%s", number, package->name),
                           .source = package->path,
                           .content_size = (size_t)st.st_size});
    }
    return 0;
}

static void add_mounts(struct list *list, const struct profile_layer *spec, size_t number)
{
    for (size_t i = 0; i < spec->mount_count; i++) {
        SCOPED_FREE char *target = xprintf("%s\n", spec->mounts[i].target);
        char *directory = xprintf("/steps/%zu/mounts/%zu", number, i);

        add_bytes(list, xprintf("%s.path", directory), target, strlen(target));
        add_file(list, (struct profile_file){.path = xstrdup(directory), .directory = true});
        add_layer(list, mount_layer(&spec->mounts[i], directory));
    }
}

static const char *kind_of(const struct profile_layer *spec)
{
    return spec->kind == LAYER_RUN                     ? "run\n"
           : text_ends(spec->packages[0].name, ".deb") ? "deb\n"
                                                       : "rpm\n";
}

static int add_step(struct list *list, const struct profile_layer *spec, size_t number,
                    struct error *err)
{
    const char *kind = kind_of(spec);

    add_bytes(list, xprintf("/steps/%zu/kind", number), kind, strlen(kind));
    add_mounts(list, spec, number);
    return spec->kind == LAYER_RUN ? add_script(list, spec, number, err)
                                   : add_packages(list, spec, number, err);
}

static int collect(const struct profile *profile, size_t first, struct list *list,
                   struct error *err)
{
    add_layer(list, (struct profile_layer){.kind = LAYER_FILES});
    add_runner(list);
    for (size_t i = first; i < profile->layer_count; i++) {
        if (profile_is_step(&profile->layers[i]) &&
            add_step(list, &profile->layers[i], i + 1, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int inputs_write(const struct profile *profile, size_t first, const char *path,
                 const char *temporary, struct ui *ui, struct drive **ret, struct error *err)
{
    static char name[] = "inputs";
    SCOPED(list_done) struct list list = {0};
    SCOPED(drive_freep) struct drive *drive = NULL;
    SCOPED(stack_freep) struct stack *stack = NULL;

    if (collect(profile, first, &list, err) < 0) {
        return -1;
    }
    list.layers[0].name = name;
    list.layers[0].files = list.files;
    list.layers[0].file_count = list.file_count;
    list.profile.layers = list.layers;
    if (stack_open(&list.profile, &stack, err) < 0 ||
        drive_new(path, "kiln-inputs", DRIVE_BYTES, 0, &drive, err) < 0 ||
        drive_write(drive, stack, 0, temporary, ui, err) < 0) {
        return fail_while(err, "give the steps what they need");
    }
    *ret = TAKE(drive);
    return 0;
}
