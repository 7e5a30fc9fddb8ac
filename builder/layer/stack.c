/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/stack.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/stop.h"
#include "layer/tree_save.h"

/* Bytes that are kept in memory, all files together: boot loaders have some 12 MiB. */
static const uint64_t KEPT_MAX = 32 << 20;

int stack_open(const struct profile *profile, struct stack **ret, struct error *err)
{
    SCOPED(stack_freep) struct stack *stack = xcalloc(1, sizeof(*stack));

    stack->layers = xcalloc(profile->layer_count, sizeof(struct layer *));
    stack->tree = tree_new(NULL);
    for (size_t i = 0; i < profile->layer_count; i++) {
        if (layer_open(&profile->layers[i], profile->architecture, &stack->layers[i], err) < 0) {
            return -1;
        }
        stack->layer_count++;
    }
    *ret = TAKE(stack);
    return 0;
}

void stack_free(struct stack *stack)
{
    if (stack == NULL) {
        return;
    }
    for (size_t i = 0; i < stack->layer_count && !stack->borrowed; i++) {
        layer_free(stack->layers[i]);
    }
    free(stack->layers);
    tree_free(stack->tree);
    free(stack);
}

uint64_t stack_size(const struct stack *stack)
{
    uint64_t size = 0;

    for (size_t i = 0; i < stack->layer_count; i++) {
        size += layer_size_hint(stack->layers[i]);
    }
    return size;
}

struct stack *stack_below(const struct stack *stack, size_t count)
{
    struct stack *below = xcalloc(1, sizeof(*below));

    below->layers = xmemdup(stack->layers, count * sizeof(struct layer *));
    below->layer_count = count;
    below->borrowed = true;
    below->tree = tree_new(NULL);
    return below;
}

const char *stack_owner(const struct stack *stack, const struct inode *inode)
{
    return inode->layer < stack->layer_count ? layer_name(stack->layers[inode->layer]) : "kiln";
}

/* --- the first reading ------------------------------------------------------------------- */

struct scan {
    struct stack *stack;
    struct hash *hash;
    struct buf kept;
    size_t extent_space;
    stack_keeps keeps;
    const struct stack_taker *taker;
    stack_progress progress;
    void *data;
    uint64_t before; /* bytes of the layers already read */
};

/* Notes that SIZE bytes of data lie at OFFSET, growing the last run where they touch. */
static void note_extent(struct scan *scan, struct inode *inode, uint64_t offset, uint64_t size)
{
    struct extent *last =
        inode->extent_count != 0 ? &inode->extents[inode->extent_count - 1] : NULL;

    if (last != NULL && last->offset + last->size == offset) {
        last->size += size;
        return;
    }
    grow(&inode->extents, inode->extent_count, &scan->extent_space, sizeof(*inode->extents));
    inode->extents[inode->extent_count++] = (struct extent){offset, size};
}

/* A file without holes needs no list. */
static void settle_extents(struct inode *inode)
{
    if (inode->size == 0 || (inode->extent_count == 1 && inode->extents[0].offset == 0 &&
                             inode->extents[0].size == inode->size)) {
        free(TAKE(inode->extents));
        inode->extent_count = 0;
        return;
    }
    if (inode->extent_count != 0) {
        inode->extents = xrealloc(inode->extents, inode->extent_count * sizeof(*inode->extents));
    }
}

/* A file with holes is not kept: nobody wants one. */
static void keep(struct scan *scan, struct inode *inode)
{
    if (scan->kept.size == inode->size) {
        inode->content = buf_take(&scan->kept);
    }
}

static int decide_kept(struct scan *scan, const struct inode *inode, bool *ret, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    *ret = false;
    for (const struct node *name = inode->names; name != NULL && !*ret; name = name->same) {
        buf_clear(&path);
        node_path(name, &path);
        *ret = scan->keeps != NULL && scan->keeps(path.data);
    }
    if (!*ret) {
        return 0;
    }
    if (inode->size > KEPT_MAX - scan->stack->kept_bytes) {
        return fail(err, FAIL_ERROR, "layer '%s': '%s': boot loader files of more than %llu MiB",
                    stack_owner(scan->stack, inode), path.data, (unsigned long long)KEPT_MAX >> 20);
    }
    scan->stack->kept_bytes += inode->size;
    return 0;
}

/* A piece goes to who takes the file, or into its digest. */
static int scan_piece(struct scan *scan, const void *piece, size_t size, uint64_t offset,
                      uint64_t at, bool taken, struct error *err)
{
    if (taken) {
        return scan->taker->bytes(scan->taker->data, piece, size, offset, err);
    }
    if (hash_zeros(scan->hash, offset - at, err) < 0) {
        return -1;
    }
    hash_add(scan->hash, piece, size);
    return 0;
}

static int scan_end(struct scan *scan, struct inode *inode, uint64_t at, bool taken,
                    struct error *err)
{
    if (taken) {
        return scan->taker->end(scan->taker->data, inode, err);
    }
    if (hash_zeros(scan->hash, inode->size - at, err) < 0) {
        return -1;
    }
    hash_end(scan->hash, inode->sha256);
    return 0;
}

/* Reads the current entry's data: its digest, its holes, and itself where it is wanted. */
static int scan_data(struct scan *scan, struct layer_reader *reader, struct inode *inode,
                     struct error *err)
{
    uint64_t at = 0, offset;
    const void *piece;
    size_t size;
    bool kept;
    int more, taken;

    if (decide_kept(scan, inode, &kept, err) < 0) {
        return -1;
    }
    taken = scan->taker != NULL ? scan->taker->file(scan->taker->data, inode, err) : 0;
    if (taken < 0) {
        return -1;
    }
    scan->extent_space = 0;
    free(TAKE(inode->content));
    free(TAKE(inode->extents));
    inode->extent_count = 0;
    inode->data_bytes = 0;
    buf_clear(&scan->kept);
    while ((more = layer_reader_data(reader, &piece, &size, &offset, err)) > 0) {
        if (scan_piece(scan, piece, size, offset, at, taken, err) < 0) {
            return -1;
        }
        note_extent(scan, inode, offset, size);
        inode->data_bytes += size;
        at = offset + size;
        if (kept && offset == scan->kept.size) {
            buf_add(&scan->kept, piece, size);
        }
        if (stop_check(err) < 0) {
            return -1;
        }
    }
    if (more < 0 || scan_end(scan, inode, at, taken, err) < 0) {
        return -1;
    }
    settle_extents(inode);
    if (kept) {
        keep(scan, inode);
    }
    return 0;
}

static void tell_scan(const struct scan *scan, const struct layer *layer,
                      const struct layer_reader *reader)
{
    if (scan->progress != NULL) {
        scan->progress(scan->data, layer_name(layer), scan->before + layer_reader_position(reader));
    }
}

static int scan_part(struct scan *scan, unsigned index, unsigned part, struct error *err)
{
    struct layer *layer = scan->stack->layers[index];
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (layer_reader_open(layer, part, &reader, err) < 0) {
        return -1;
    }
    tree_begin(scan->stack->tree, index, scan->stack->parts++, layer_name(layer),
               layer_rules(layer), layer_untimed(layer));
    for (uint64_t sequence = 0; (more = layer_reader_next(reader, &entry, err)) > 0; sequence++) {
        struct inode *inode = NULL;

        if (tree_apply(scan->stack->tree, &entry, sequence, &inode, err) < 0 ||
            (inode != NULL && scan_data(scan, reader, inode, err) < 0) || stop_check(err) < 0) {
            return -1;
        }
        tell_scan(scan, layer, reader);
    }
    tell_scan(scan, layer, reader);
    scan->before += more == 0 ? layer_reader_position(reader) : 0;
    return more;
}

static int scan_layer(struct scan *scan, unsigned index, struct error *err)
{
    unsigned parts = layer_parts(scan->stack->layers[index]);

    for (unsigned part = 0; part < parts; part++) {
        if (scan_part(scan, index, part, err) < 0) {
            return -1;
        }
    }
    scan->stack->done = index + 1;
    return scan->taker != NULL ? scan->taker->layer(scan->taker->data, index, err) : 0;
}

int stack_scan(struct stack *stack, stack_keeps keeps, const struct stack_taker *taker,
               stack_progress progress, void *data, struct error *err)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct scan scan = {.stack = stack,
                        .hash = hash,
                        .keeps = keeps,
                        .taker = taker,
                        .progress = progress,
                        .data = data};
    int result = 0;

    for (size_t i = 0; i < stack->done; i++) {
        scan.before += layer_size_hint(stack->layers[i]);
    }
    for (size_t i = stack->done; i < stack->layer_count && result == 0; i++) {
        result = scan_layer(&scan, (unsigned)i, err);
    }
    buf_done(&scan.kept);
    return result;
}

/* --- states ------------------------------------------------------------------------------ */

void stack_save(const struct stack *stack, struct buf *out)
{
    pack_u32(out, (uint32_t)stack->done);
    pack_u32(out, stack->parts);
    pack_u64(out, stack->kept_bytes);
    tree_save(stack->tree, out);
}

int stack_load(struct stack *stack, struct unpack *in, struct error *err)
{
    uint32_t done = unpack_u32(in), parts = unpack_u32(in), expected = 0;
    uint64_t kept_bytes = unpack_u64(in);
    unsigned layer, part;
    struct tree *tree;

    for (size_t i = 0; i < done && i < stack->layer_count; i++) {
        expected += layer_parts(stack->layers[i]);
    }
    if (in->bad || done == 0 || done > stack->layer_count || parts != expected ||
        kept_bytes > KEPT_MAX) {
        return fail(err, FAIL_ERROR, "the cached state is damaged: of other layers");
    }
    if (tree_load(in, NULL, &tree, err) < 0) {
        return -1;
    }
    tree_position(tree, &layer, &part);
    if (layer >= done || part >= parts) {
        tree_free(tree);
        return fail(err, FAIL_ERROR, "the cached state is damaged: of other layers");
    }
    tree_free(stack->tree);
    stack->tree = tree;
    stack->done = done;
    stack->parts = parts;
    stack->kept_bytes = kept_bytes;
    return 0;
}

void stack_reset(struct stack *stack)
{
    tree_free(stack->tree);
    stack->tree = tree_new(NULL);
    stack->done = 0;
    stack->parts = 0;
    stack->kept_bytes = 0;
}

static int add(struct stack *stack, const struct entry *entry, struct inode **ret,
               struct error *err)
{
    tree_begin(stack->tree, (unsigned)stack->layer_count, stack->parts, "kiln", RULES_MERGE, true);
    return tree_apply(stack->tree, entry, 0, ret, err);
}

int stack_add_file(struct stack *stack, const char *path, uint32_t mode, const void *content,
                   size_t size, struct error *err)
{
    struct entry entry = {.path = path, .type = ENTRY_FILE, .mode = mode, .size = size};
    /* Before the tree changes: CONTENT may be that of the very file it replaces. */
    SCOPED_FREE char *copy = xmemdup(content, size);
    struct inode *inode = NULL;

    if (add(stack, &entry, &inode, err) < 0) {
        return -1;
    }
    hash_bytes(copy, size, inode->sha256);
    free(inode->content);
    inode->content = TAKE(copy);
    inode->data_bytes = size;
    return 0;
}

int stack_add_directory(struct stack *stack, const char *path, struct error *err)
{
    struct entry entry = {.path = path, .type = ENTRY_DIRECTORY, .mode = 0755};
    struct inode *inode = NULL;

    return add(stack, &entry, &inode, err);
}

/* --- the second reading ------------------------------------------------------------------ */

struct wanted {
    const struct stack_sink *sink;
    struct inode **inodes; /* by part and sequence; those in memory last */
    size_t count, space;
};

static int collect(void *data, struct node *node, struct error *err)
{
    struct wanted *wanted = data;
    struct inode *inode = node->inode;

    (void)err;
    if (inode->type == ENTRY_FILE && inode->data_bytes != 0 && inode->first == node &&
        (wanted->sink->wants == NULL || wanted->sink->wants(wanted->sink->data, inode))) {
        grow(&wanted->inodes, wanted->count, &wanted->space, sizeof(struct inode *));
        wanted->inodes[wanted->count++] = inode;
    }
    return 0;
}

static int by_source(const void *a, const void *b)
{
    const struct inode *x = *(struct inode *const *)a, *y = *(struct inode *const *)b;

    if ((x->content != NULL) != (y->content != NULL)) {
        return x->content != NULL ? 1 : -1;
    }
    if (x->part != y->part) {
        return x->part < y->part ? -1 : 1;
    }
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

struct stream {
    struct stack *stack;
    const struct stack_sink *sink;
    struct hash *hash;
    struct inode **next, **end;
    uint64_t before;
};

static int changed(const struct stream *stream, const struct inode *inode, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    node_path(inode->first, &path);
    fail(err, FAIL_MISMATCH, "layer '%s': '%s': changed while the image was being built",
         stack_owner(stream->stack, inode), path.data);
    return fail_hint(err, "build again when nothing writes to the layer");
}

static void tell_stream(const struct stream *stream, const struct layer *layer,
                        const struct layer_reader *reader)
{
    if (stream->sink->progress != NULL) {
        stream->sink->progress(stream->sink->data, layer_name(layer),
                               stream->before + layer_reader_position(reader));
    }
}

static int stream_file(struct stream *stream, const struct layer *layer,
                       struct layer_reader *reader, const struct inode *inode, struct error *err)
{
    uint64_t offset, sum = 0;
    uint8_t digest[HASH_SIZE];
    const void *piece;
    size_t size;
    int more;

    if (stream->sink->file(stream->sink->data, inode, err) < 0) {
        return -1;
    }
    while ((more = layer_reader_data(reader, &piece, &size, &offset, err)) > 0) {
        sum += size;
        if (sum > inode->data_bytes) {
            return changed(stream, inode, err);
        }
        tell_stream(stream, layer, reader);
        hash_add(stream->hash, piece, size);
        if (stream->sink->bytes(stream->sink->data, piece, size, offset, err) < 0 ||
            stop_check(err) < 0) {
            return -1;
        }
    }
    if (more < 0) {
        return -1;
    }
    hash_end(stream->hash, digest);
    /* Only archives have files with holes, and the archive's own digest is verified again. */
    if (sum != inode->data_bytes ||
        (inode->extents == NULL && memcmp(digest, inode->sha256, HASH_SIZE) != 0)) {
        return changed(stream, inode, err);
    }
    return 0;
}

/* Whether one of the files that are left to come is from PART. */
static bool is_needed(const struct stream *stream, unsigned part)
{
    return stream->next < stream->end && (*stream->next)->content == NULL &&
           (*stream->next)->part == part;
}

static int stream_part(struct stream *stream, struct layer *layer, unsigned number, unsigned part,
                       struct error *err)
{
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    int more;

    if (stream->sink->wants != NULL && !is_needed(stream, part)) {
        return 0;
    }
    if (layer_reader_open(layer, number, &reader, err) < 0) {
        return -1;
    }
    for (uint64_t sequence = 0; (more = layer_reader_next(reader, &entry, err)) > 0; sequence++) {
        const struct inode *inode = stream->next < stream->end ? *stream->next : NULL;

        tell_stream(stream, layer, reader);
        if (inode == NULL || inode->content != NULL || inode->part != part ||
            inode->sequence != sequence) {
            continue;
        }
        if (entry.size != inode->size) {
            return changed(stream, inode, err);
        }
        stream->next++;
        if (stream_file(stream, layer, reader, inode, err) < 0) {
            return -1;
        }
    }
    tell_stream(stream, layer, reader);
    stream->before += more == 0 ? layer_reader_position(reader) : 0;
    return more;
}

static int stream_kept(struct stream *stream, struct error *err)
{
    for (; stream->next < stream->end; stream->next++) {
        const struct inode *inode = *stream->next;

        if (inode->content == NULL) {
            return changed(stream, inode, err);
        }
        if (stream->sink->file(stream->sink->data, inode, err) < 0 ||
            stream->sink->bytes(stream->sink->data, inode->content, inode->size, 0, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int stack_stream(struct stack *stack, const struct stack_sink *sink, struct error *err)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct wanted wanted = {.sink = sink};
    struct stream stream = {.stack = stack, .sink = sink, .hash = hash};
    unsigned part = 0;
    int result = tree_walk(stack->tree, collect, &wanted, err);

    if (wanted.count != 0) {
        qsort(wanted.inodes, wanted.count, sizeof(struct inode *), by_source);
    }
    stream.next = wanted.inodes;
    stream.end = wanted.inodes + wanted.count;
    for (size_t i = 0; i < stack->layer_count && result == 0; i++) {
        for (unsigned number = 0; number < layer_parts(stack->layers[i]) && result == 0; number++) {
            result = stream_part(&stream, stack->layers[i], number, part++, err);
        }
    }
    result = result == 0 ? stream_kept(&stream, err) : result;
    free(wanted.inodes);
    return result;
}
