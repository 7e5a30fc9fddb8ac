/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the disk of a step, told as capture-seed does: either they are refused, or the
 * difference from a small tree is a layer that a build folds onto that tree.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/le.h"
#include "capture/difference.h"
#include "layer/packer.h"

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: does not hold: %s\n", __LINE__, #condition);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { DISK = 1 << 20, HEAD = 6, EPOCH = 1700000000 };
static const struct tree_limits LIMITS = {.paths = 1000, .depth = 12};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    HOLDS(fd >= 0);
    return fd;
}

static int make_disk(const uint8_t *data, size_t size)
{
    int fd = memory_file("disk");

    HOLDS(ftruncate(fd, DISK) == 0);
    while (size >= HEAD) {
        size_t offset = get32(data) % DISK, length = get16(data + 4), room = DISK - offset;

        data += HEAD;
        size -= HEAD;
        length = length < size ? length : size;
        room = room < length ? room : length;
        HOLDS(pwrite(fd, data, room, (off_t)offset) == (ssize_t)room);
        data += length;
        size -= length;
    }
    return fd;
}

/* What the seeds have, or nearly. */
static struct tree *make_tree(void)
{
    static const struct entry entries[] = {
        {.path = "a", .type = ENTRY_FILE, .mode = 0644, .mtime = EPOCH, .size = 4},
        {.path = "b", .type = ENTRY_HARDLINK, .target = "a"},
        {.path = "d", .type = ENTRY_DIRECTORY, .mode = 0755, .mtime = EPOCH},
        {.path = "d/f", .type = ENTRY_FILE, .mode = 0644, .mtime = EPOCH, .size = 4},
        {.path = "d/e", .type = ENTRY_DIRECTORY, .mode = 0755, .mtime = EPOCH},
        {.path = "d/e/f", .type = ENTRY_SYMLINK, .mode = 0777, .mtime = EPOCH, .target = "../f"},
        {.path = "gone", .type = ENTRY_FIFO, .mode = 0644},
        {.path = "turned", .type = ENTRY_DIRECTORY, .mode = 0755},
        {.path = "turned/f", .type = ENTRY_FILE, .mode = 0644},
    };
    struct tree *tree = tree_new(NULL);
    struct error *err = xcalloc(1, sizeof(*err));
    struct inode *inode;

    tree_begin(tree, 0, 0, "below", RULES_MERGE, false);
    for (size_t i = 0; i < COUNT(entries); i++) {
        HOLDS(tree_apply(tree, &entries[i], i, &inode, err) == 0);
        if (inode != NULL && inode->size != 0) {
            hash_bytes("text", 4, inode->sha256);
        }
    }
    tree_settle(tree, EPOCH);
    free(err);
    return tree;
}

/* The layer as a build reads it. */
static void fold(struct tree *tree, const char *path, struct error *err)
{
    struct profile_layer spec = {
        .kind = LAYER_ARCHIVE, .name = (char *)"captured", .path = (char *)path};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    struct inode *inode;
    uint64_t sequence = 0;
    int more;

    if (layer_open(&spec, ARCH_X86_64, &layer, err) < 0) {
        return; /* the first name begins as another kind of archive does: kiln's are compressed */
    }
    HOLDS(layer_reader_open(layer, 0, &reader, err) == 0);
    tree_begin(tree, 1, 1, "captured", RULES_OCI, false);
    while ((more = layer_reader_next(reader, &entry, err)) == 1) {
        if (tree_apply(tree, &entry, sequence++, &inode, err) < 0) {
            (void)fprintf(stderr, "%s\n", err->message);
            abort();
        }
    }
    if (more != 0) {
        (void)fprintf(stderr, "%s\n", err->message);
        abort();
    }
}

/* True when there is a layer in OUT. */
static bool compare(int disk, const struct tree *tree, int out, struct error *err)
{
    SCOPED(scratch_freep) struct scratch *scratch = NULL;
    SCOPED(survey_freep) struct survey *survey = NULL;
    SCOPED(packer_freep) struct packer *packer = NULL;
    SCOPED(noise_done) struct noise noise = {0};
    struct difference counts;
    struct packed packed;

    noise_begin(NULL, 0, &noise);
    HOLDS(packer_new(out, "layer", false, &packer, err) == 0);
    return scratch_open(disk, 0, DISK, &scratch, err) == 0 &&
           survey_read(scratch, &noise, EPOCH, &LIMITS, &survey, err) == 0 &&
           difference_write(scratch, survey, tree, &noise, packer_pax(packer), &counts, err) == 0 &&
           packer_end(packer, &packed, err) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED_FD int disk = make_disk(data, size), out = memory_file("layer");
    SCOPED(tree_freep) struct tree *tree = make_tree();
    SCOPED_FREE struct error *err = xcalloc(1, sizeof(*err));
    SCOPED_FREE char *path = xprintf("/proc/self/fd/%d", out);

    if (compare(disk, tree, out, err)) {
        fold(tree, path, err);
    } else {
        HOLDS(err->kind == FAIL_ERROR && err->message[0] != '\0');
    }
    return 0;
}
