/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/difference.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/text.h"

struct comparison {
    struct scratch *scratch;
    struct pax *pax;
    struct hash *hash;
    struct difference counts;
    uint8_t *claimed; /* bit by id of an inode of the tree: something on the disk is it */
    size_t claimed_bytes;
};

/* --- paths ----------------------------------------------------------------------------------- */

/* "." for the root, as node_path has it. */
static void spot_path(const struct spot *spot, struct buf *ret)
{
    if (spot->parent != NULL && spot->parent->parent != NULL) {
        spot_path(spot->parent, ret);
        buf_putc(ret, '/');
    }
    buf_add(ret, spot->parent != NULL ? spot->name : ".", spot->parent != NULL ? spot->length : 1);
}

static int fail_at(const struct spot *spot, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};

    spot_path(spot, &path);
    return fail_while(err, "'/%s'", spot->parent != NULL ? path.data : "");
}

static int order_of(const struct spot *spot, const struct node *node)
{
    size_t length = spot->length < node->length ? spot->length : node->length;
    int order = memcmp(spot->name, node->name, length);

    return order != 0 ? order : (int)spot->length - (int)node->length;
}

/* --- an inode here and there ----------------------------------------------------------------- */

static bool same_xattrs(const struct entry *entry, const struct inode *inode)
{
    if (entry->xattr_count != inode->xattr_count) {
        return false;
    }
    for (size_t i = 0; i < inode->xattr_count; i++) {
        const struct xattr *a = &entry->xattrs[i], *b = &inode->xattrs[i];

        if (strcmp(a->name, b->name) != 0 || a->size != b->size ||
            (a->size != 0 && memcmp(a->value, b->value, a->size) != 0)) {
            return false;
        }
    }
    return true;
}

/* All but the time and the content. */
static bool same_but_time(const struct entry *entry, const struct inode *inode)
{
    return entry->type == inode->type && entry->mode == inode->mode && entry->uid == inode->uid &&
           entry->gid == inode->gid && entry->major == inode->major &&
           entry->minor == inode->minor &&
           (entry->type != ENTRY_FILE || entry->size == inode->size) &&
           (entry->type != ENTRY_SYMLINK || strcmp(entry->target, inode->target) == 0) &&
           same_xattrs(entry, inode);
}

static bool same_time(const struct entry *entry, const struct inode *inode)
{
    return entry->mtime == inode->mtime && entry->mtime_ns == inode->mtime_ns;
}

static bool untouched(const struct found *found, const struct inode *inode)
{
    return found->ctime == inode->mtime && found->ctime_ns == inode->mtime_ns;
}

/* What hashes the data of a file with its holes. */
struct hashing {
    struct hash *hash;
    uint64_t at;
};

static int hash_piece(void *data, const void *bytes, size_t size, uint64_t offset,
                      struct error *err)
{
    struct hashing *hashing = data;

    if (hash_zeros(hashing->hash, offset - hashing->at, err) < 0) {
        return -1;
    }
    hash_add(hashing->hash, bytes, size);
    hashing->at = offset + size;
    return 0;
}

/* The blocks of a file: a new array. */
static int find_pieces(struct comparison *comparison, const struct found *found, struct piece **ret,
                       size_t *ret_count, struct error *err)
{
    struct scratch_inode inode;

    return scratch_inode(comparison->scratch, found->number, &inode, err) < 0
               ? -1
               : scratch_pieces(comparison->scratch, found->number, &inode, ret, ret_count, err);
}

static int hash_file(struct comparison *comparison, struct found *found, struct error *err)
{
    struct hashing hashing = {.hash = comparison->hash};
    SCOPED_FREE struct piece *pieces = NULL;
    uint64_t size = found->entry.size;
    size_t count;

    if (found->hashed) {
        return 0;
    }
    if (find_pieces(comparison, found, &pieces, &count, err) < 0 ||
        scratch_data(comparison->scratch, pieces, count, size, hash_piece, &hashing, err) < 0 ||
        hash_zeros(hashing.hash, size - hashing.at, err) < 0) {
        return -1;
    }
    hash_end(hashing.hash, found->sha256);
    found->hashed = true;
    return 0;
}

/* True in *RET when what is at SPOT could be the inode of the tree that is there. */
static int is_same(struct comparison *comparison, const struct spot *spot, bool *ret,
                   struct error *err)
{
    const struct inode *inode = spot->node != NULL ? spot->node->inode : NULL;
    struct found *found = spot->found;

    *ret = inode != NULL && same_but_time(&found->entry, inode) && same_time(&found->entry, inode);
    if (!*ret || inode->type != ENTRY_FILE || spot->known) {
        return 0;
    }
    if (hash_file(comparison, found, err) < 0) {
        return fail_at(spot, err);
    }
    *ret = memcmp(found->sha256, inode->sha256, HASH_SIZE) == 0;
    return 0;
}

/* --- names here and there -------------------------------------------------------------------- */

/* Both lists of names of a directory in one order: one of the two, or both, at each step. */
struct merge {
    struct spot *const *spots;
    size_t spot_count;
    struct node *const *nodes;
    size_t node_count;
};

static bool merge_next(struct merge *merge, struct spot **ret_spot, struct node **ret_node)
{
    int order = merge->spot_count == 0   ? 1
                : merge->node_count == 0 ? -1
                                         : order_of(merge->spots[0], merge->nodes[0]);

    *ret_spot = NULL;
    *ret_node = NULL;
    if (merge->spot_count == 0 && merge->node_count == 0) {
        return false;
    }
    if (order <= 0) {
        *ret_spot = *merge->spots++;
        merge->spot_count--;
    }
    if (order >= 0) {
        *ret_node = *merge->nodes++;
        merge->node_count--;
    }
    return true;
}

static int match_directory(struct spot *spot, const struct noise *noise, struct error *err);

static int match_spot(struct spot *spot, struct node *node, const struct noise *above,
                      struct error *err)
{
    SCOPED(noise_done) struct noise noise = {0};
    struct spot *parent = spot->parent;

    spot->node = node;
    spot->known = parent->known && node != NULL && untouched(spot->found, node->inode);
    if (spot->left_out) {
        parent->noisy = parent->noisy || node == NULL || !untouched(spot->found, node->inode) ||
                        !same_but_time(&spot->found->entry, node->inode);
        return 0;
    }
    if (text_starts(spot->name, WHITEOUT)) {
        fail(err, FAIL_ERROR, "a name that begins with '%s' cannot be kept", WHITEOUT);
        (void)fail_hint(err, "layers remove files by such names; let the step remove it");
        return fail_at(spot, err);
    }
    if (spot->found->entry.type != ENTRY_DIRECTORY) {
        return 0;
    }
    (void)noise_enter(above, spot->name, &noise);
    return match_directory(spot, &noise, err);
}

static void match_gone(struct spot *parent, const struct node *node, size_t *space,
                       const struct noise *noise)
{
    if (noise_enter(noise, node->name, NULL)) {
        parent->noisy = true;
        return;
    }
    grow(&parent->gone, parent->gone_count, space, sizeof(*parent->gone));
    parent->gone[parent->gone_count++] = node;
}

/* Finds what the tree has for every name from SPOT, a directory, on. */
static int match_directory(struct spot *spot, const struct noise *noise, struct error *err)
{
    struct merge merge = {.spots = spot->children, .spot_count = spot->child_count};
    SCOPED_FREE struct node **nodes = NULL;
    struct spot *child;
    struct node *node;
    size_t space = 0;

    if (spot->node != NULL && spot->node->inode->type == ENTRY_DIRECTORY) {
        nodes = node_sorted(spot->node, &merge.node_count);
        merge.nodes = nodes;
    }
    while (merge_next(&merge, &child, &node)) {
        if (child != NULL && match_spot(child, node, noise, err) < 0) {
            return -1;
        }
        /* A socket is left out; what it took the place of is gone all the same. */
        if (node != NULL && (child == NULL || child->found->socket)) {
            match_gone(spot, node, &space, noise);
        }
    }
    return 0;
}

/* --- what is to be written ------------------------------------------------------------------- */

/* True when nothing on the disk is that inode of the tree yet; something is now. */
static bool claim(struct comparison *comparison, const struct inode *inode)
{
    size_t at = inode->id / 8;
    uint8_t bit = (uint8_t)(1U << inode->id % 8);

    if (at >= comparison->claimed_bytes) {
        size_t bytes = 2 * (at + 1);

        comparison->claimed = xrealloc(comparison->claimed, bytes);
        memset(comparison->claimed + comparison->claimed_bytes, 0,
               bytes - comparison->claimed_bytes);
        comparison->claimed_bytes = bytes;
    }
    if ((comparison->claimed[at] & bit) != 0) {
        return false;
    }
    comparison->claimed[at] |= bit;
    return true;
}

/*
 * What is no directory, once for all its names: it still is the inode that the tree has under one
 * of them, so that those names need nothing and the others are links to it; or it is new, and
 * every name is.
 */
static int judge_inode(struct comparison *comparison, struct found *found, struct error *err)
{
    found->source = found->first;
    for (struct spot *spot = found->first; spot != NULL && found->still == NULL;
         spot = spot->same) {
        bool same;

        if (is_same(comparison, spot, &same, err) < 0) {
            return -1;
        }
        if (same && claim(comparison, spot->node->inode)) {
            found->still = spot->node->inode;
            found->source = spot;
        }
    }
    for (struct spot *spot = found->first; spot != NULL; spot = spot->same) {
        spot->written = spot->node == NULL || spot->node->inode != found->still;
    }
    return 0;
}

static bool has_change(const struct spot *spot)
{
    bool changed = spot->gone_count != 0;

    for (size_t i = 0; i < spot->child_count && !changed; i++) {
        changed = spot->children[i]->written;
    }
    return changed;
}

/* A time alone that only what is left out gave it is left out, too. */
static bool is_changed(const struct spot *spot)
{
    const struct entry *entry = &spot->found->entry;
    const struct inode *inode = spot->node != NULL ? spot->node->inode : NULL;

    if (inode == NULL || !same_but_time(entry, inode)) {
        return true;
    }
    return !same_time(entry, inode) && (!spot->noisy || has_change(spot));
}

static int judge(struct comparison *comparison, struct spot *spot, struct error *err)
{
    if (spot->found->entry.type != ENTRY_DIRECTORY) {
        return spot->found->first == spot ? judge_inode(comparison, spot->found, err) : 0;
    }
    for (size_t i = 0; i < spot->child_count; i++) {
        if (!spot->children[i]->left_out && judge(comparison, spot->children[i], err) < 0) {
            return -1;
        }
    }
    spot->written = is_changed(spot);
    return 0;
}

/* --- writing it ------------------------------------------------------------------------------ */

static int write_piece(void *data, const void *bytes, size_t size, uint64_t offset,
                       struct error *err)
{
    (void)offset;
    return pax_data(data, bytes, size, err);
}

/* Runs of data in a file of SIZE bytes, what is reserved and not written among it. */
static struct extent *list_data(const struct piece *pieces, size_t count, uint64_t size,
                                size_t *ret_count)
{
    struct extent *extents = xcalloc(count, sizeof(*extents));
    size_t made = 0;

    for (size_t i = 0; i < count && pieces[i].logical * VOLUME_BLOCK < size; i++) {
        uint64_t start = pieces[i].logical * VOLUME_BLOCK;
        uint64_t end = start + pieces[i].count * VOLUME_BLOCK;

        end = end < size ? end : size;
        if (made == 0 || extents[made - 1].offset + extents[made - 1].size != start) {
            extents[made++] = (struct extent){start, 0};
        }
        extents[made - 1].size = end - extents[made - 1].offset;
    }
    *ret_count = made;
    return extents;
}

static int write_file(struct comparison *comparison, const struct found *found,
                      const struct entry *entry, struct error *err)
{
    SCOPED_FREE struct piece *pieces = NULL;
    SCOPED_FREE struct extent *extents = NULL;
    size_t count, extent_count;
    bool whole;

    if (find_pieces(comparison, found, &pieces, &count, err) < 0) {
        return -1;
    }
    extents = list_data(pieces, count, entry->size, &extent_count);
    whole = entry->size == 0 || (extent_count == 1 && extents[0].size == entry->size);
    return pax_entry(comparison->pax, entry, whole ? NULL : extents, whole ? 0 : extent_count,
                     err) < 0
               ? -1
               : scratch_data(comparison->scratch, pieces, count, entry->size, write_piece,
                              comparison->pax, err);
}

/* A name of what another name has brought, or the layers below have. */
static int write_link(struct comparison *comparison, const struct found *found, struct entry *entry,
                      struct error *err)
{
    SCOPED(buf_done) struct buf target = {0};

    spot_path(found->source, &target);
    entry->type = ENTRY_HARDLINK;
    entry->target = target.data;
    entry->size = 0;
    entry->xattr_count = 0;
    return pax_entry(comparison->pax, entry, NULL, 0, err);
}

static size_t count_below(const struct node *node)
{
    size_t count = 0;

    for (const struct node *child = node->children; child != NULL; child = child->next) {
        count += 1 + count_below(child);
    }
    return count;
}

static void count_spot(struct difference *counts, const struct spot *spot)
{
    if (spot->node == NULL) {
        counts->added++;
        return;
    }
    counts->changed++;
    if (spot->found->entry.type != ENTRY_DIRECTORY) {
        counts->removed += count_below(spot->node);
    }
}

static int check_entry(const struct entry *entry, struct error *err)
{
    if (entry->type == ENTRY_CHARACTER && entry->major == 0 && entry->minor == 0) {
        fail(err, FAIL_ERROR, "character device 0:0 cannot be kept");
        return fail_hint(err, "overlayfs removes files by such devices; let the step remove it");
    }
    return 0;
}

static int write_spot(struct comparison *comparison, const struct spot *spot, struct error *err)
{
    const struct found *found = spot->found;
    SCOPED(buf_done) struct buf path = {0};
    struct entry entry = found->entry;

    count_spot(&comparison->counts, spot);
    spot_path(spot, &path);
    entry.path = path.data;
    if (check_entry(&entry, err) < 0) {
        return -1;
    }
    if (entry.type != ENTRY_DIRECTORY && found->source != spot) {
        return write_link(comparison, found, &entry, err);
    }
    return entry.type == ENTRY_FILE ? write_file(comparison, found, &entry, err)
                                    : pax_entry(comparison->pax, &entry, NULL, 0, err);
}

static int write_whiteout(struct comparison *comparison, const struct spot *parent,
                          const struct node *node, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};
    struct entry entry = {.type = ENTRY_FILE, .mode = 0644};

    if (strlen(WHITEOUT) + node->length > NAME_MAX) {
        node_path(node, &path);
        fail(err, FAIL_ERROR, "'/%s': its removal cannot be kept", path.data);
        return fail_hint(err, "its name is too long for '%s' before it; let the step empty it",
                         WHITEOUT);
    }
    comparison->counts.removed += 1 + count_below(node);
    if (parent->parent != NULL) {
        spot_path(parent, &path);
        buf_putc(&path, '/');
    }
    buf_printf(&path, "%s%s", WHITEOUT, node->name);
    entry.path = path.data;
    return pax_entry(comparison->pax, &entry, NULL, 0, err);
}

static int write_all(struct comparison *comparison, const struct spot *spot, struct error *err)
{
    struct merge merge = {spot->children, spot->child_count, (struct node *const *)spot->gone,
                          spot->gone_count};
    struct spot *child;
    struct node *node;

    if (spot->written && write_spot(comparison, spot, err) < 0) {
        return fail_at(spot, err);
    }
    while (merge_next(&merge, &child, &node)) {
        int result = 0;

        if (node != NULL) {
            result = write_whiteout(comparison, spot, node, err);
        } else if (child != NULL && !child->left_out) {
            result = write_all(comparison, child, err);
        }
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

int difference_write(struct scratch *scratch, struct survey *survey, const struct tree *tree,
                     const struct noise *noise, struct pax *pax, struct difference *ret,
                     struct error *err)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct comparison comparison = {.scratch = scratch, .pax = pax, .hash = hash};
    struct spot *root = survey->root;
    int result;

    root->node = tree_find(tree, ".");
    root->known = true; /* nobody can rename it */
    result = match_directory(root, noise, err) < 0 || judge(&comparison, root, err) < 0 ||
                     write_all(&comparison, root, err) < 0
                 ? -1
                 : 0;
    free(comparison.claimed);
    *ret = comparison.counts;
    return result;
}
