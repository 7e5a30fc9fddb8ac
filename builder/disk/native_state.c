/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine native between two layers, as bytes: who has which inode number and which blocks. What is
 * free follows from that. Nothing is believed: a state that was tampered with must not make a disk
 * on which two files share a block.
 */
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "disk/attributes.h"
#include "disk/directory.h"
#include "disk/native.h"

enum {
    PIECE_BYTES = 24,
    RECORD_MIN = 4 + 1 + 4 + 8 + 4 + 4, /* bytes of a record without blocks */
};

/* --- saving ------------------------------------------------------------------------------ */

static uint8_t volume_index(const struct engine *engine, const struct volume *volume)
{
    uint8_t index = 0;

    while (engine->volumes[index] != volume) {
        index++;
    }
    return index;
}

static void save_record(const struct engine *engine, uint32_t id, struct buf *out)
{
    const struct record *record = &engine->records[id];

    pack_u32(out, id);
    pack_u8(out, volume_index(engine, record->volume));
    pack_u32(out, record->number);
    pack_u64(out, record->attributes);
    pack_u32(out, record->piece_count);
    for (uint32_t i = 0; i < record->piece_count; i++) {
        pack_u64(out, record->pieces[i].logical);
        pack_u64(out, record->pieces[i].block);
        pack_u64(out, record->pieces[i].count);
    }
    pack_u32(out, record->tree_count);
    for (uint32_t i = 0; i < record->tree_count; i++) {
        pack_u64(out, record->tree[i]);
    }
}

static bool is_placed(const struct record *record)
{
    return record->inode != NULL && record->volume != NULL;
}

void native_save(const struct engine *engine, struct buf *out)
{
    uint32_t count = 0;

    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->volumes[i] != NULL) {
            pack_u64(out, space_cursor(volume_space(engine->volumes[i])));
        }
    }
    for (uint32_t id = 1; id <= engine->last_id; id++) {
        count += is_placed(&engine->records[id]);
    }
    pack_u32(out, count);
    for (uint32_t id = 1; id <= engine->last_id; id++) {
        if (is_placed(&engine->records[id])) {
            save_record(engine, id, out);
        }
    }
}

/* --- loading ----------------------------------------------------------------------------- */

/* Blocks that are claimed all at once, when all are known. */
struct claims {
    struct run *runs;
    size_t count, space;
};

static int damaged(const char *what, struct error *err)
{
    return fail(err, FAIL_ERROR, "the cached state is damaged: %s", what);
}

static void claim(struct claims *claims, uint64_t block, uint64_t count)
{
    grow(&claims->runs, claims->count, &claims->space, sizeof(*claims->runs));
    claims->runs[claims->count++] = (struct run){block, count};
}

/* Pieces in the order of the file, none empty or over another. */
static int load_pieces(struct unpack *in, struct record *record, struct claims *claims,
                       struct error *err)
{
    uint32_t count = unpack_count(in, PIECE_BYTES), space = 1;
    uint64_t at = 0;

    while (space < count) { /* what adding one after another would have grown to */
        space *= 2;
    }
    record->pieces = count == 0 ? NULL : xcalloc(space, sizeof(struct piece));
    record->piece_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct piece *piece = &record->pieces[i];

        piece->logical = unpack_u64(in);
        piece->block = unpack_u64(in);
        piece->count = unpack_u64(in);
        if (in->bad || piece->logical < at || piece->count == 0 || piece->logical > UINT32_MAX ||
            piece->count > UINT32_MAX - piece->logical) {
            return damaged("blocks of a file out of order", err);
        }
        at = piece->logical + piece->count;
        claim(claims, piece->block, piece->count);
    }
    return 0;
}

static int load_tree_blocks(struct unpack *in, struct record *record, struct claims *claims,
                            struct error *err)
{
    uint32_t count = unpack_count(in, sizeof(uint64_t));

    if (in->bad || count != extents_blocks(extents_count(record->pieces, record->piece_count))) {
        return damaged("a tree of extents of another size", err);
    }
    record->tree = count == 0 ? NULL : xcalloc(count, sizeof(uint64_t));
    record->tree_count = count;
    for (uint32_t i = 0; i < count; i++) {
        record->tree[i] = unpack_u64(in);
        claim(claims, record->tree[i], 1);
    }
    return 0;
}

static int load_number(struct engine *engine, struct record *record, uint32_t number,
                       struct error *err)
{
    const char *mount = volume_partition(record->volume)->spec->mount;
    bool root = tree_find(engine->disk->stack->tree, mount) == record->inode->names;
    bool right = root ? number == VOLUME_ROOT && record->inode->type == ENTRY_DIRECTORY
                      : volume_claim_inode(record->volume, number);

    record->number = number;
    return right ? 0 : damaged("an inode number that is not free", err);
}

/* What place_record would have given it. */
static bool has_right_blocks(struct engine *engine, const struct record *record)
{
    const struct inode *inode = record->inode;
    uint64_t end = 0, blocks = native_blocks(record);

    for (uint32_t i = 0; i < record->piece_count; i++) {
        end = record->pieces[i].logical + record->pieces[i].count;
    }
    if (!attributes_are_possible(inode) ||
        (record->attributes != 0) != attributes_need_block(inode)) {
        return false;
    }
    switch (inode->type) {
    case ENTRY_FILE:
        return end <= (inode->size + VOLUME_BLOCK - 1) / VOLUME_BLOCK &&
               (blocks != 0) == (inode->data_bytes != 0);
    case ENTRY_DIRECTORY:
        return blocks == end &&
               blocks == directory_blocks(native_directory_bytes(engine, record)) &&
               directory_is_possible((size_t)blocks);
    case ENTRY_SYMLINK:
        return blocks == end && blocks == native_symlink_blocks(inode->target);
    default:
        return blocks == 0;
    }
}

static int load_record(struct engine *engine, struct unpack *in, struct claims *claims,
                       struct error *err)
{
    uint32_t id = unpack_u32(in);
    uint8_t index = unpack_u8(in);
    uint32_t number = unpack_u32(in);
    uint64_t attributes = unpack_u64(in);
    struct record *record = id <= engine->last_id ? &engine->records[id] : NULL;

    if (in->bad || record == NULL || record->inode == NULL || record->volume != NULL ||
        index >= engine->disk->plan->partition_count || engine->volumes[index] == NULL ||
        native_home(engine, record->inode->names) != engine->volumes[index]) {
        return damaged("a record of an inode that is not there", err);
    }
    record->volume = engine->volumes[index];
    record->attributes = attributes;
    record->written = record->inode->type == ENTRY_FILE;
    if (attributes != 0) {
        claim(&claims[index], attributes, 1);
    }
    if (load_number(engine, record, number, err) < 0 ||
        load_pieces(in, record, &claims[index], err) < 0 ||
        load_tree_blocks(in, record, &claims[index], err) < 0) {
        return -1;
    }
    return has_right_blocks(engine, record) ? 0 : damaged("a wrong number of blocks", err);
}

static int meet_inode(void *data, struct node *node, struct error *err)
{
    (void)err;
    (void)native_record(data, node->inode);
    return 0;
}

/* Every inode of this engine's file systems needs its record, and none twice the root's number. */
static int check_all(struct engine *engine, struct error *err)
{
    SCOPED_FREE bool *rooted = xcalloc(engine->disk->plan->partition_count, sizeof(*rooted));

    for (uint32_t id = 1; id <= engine->last_id; id++) {
        const struct record *record = &engine->records[id];

        if (record->inode == NULL) {
            continue;
        }
        if (record->volume == NULL && native_home(engine, record->inode->names) != NULL) {
            return damaged("an inode without a record", err);
        }
        if (record->volume != NULL && record->number == VOLUME_ROOT) {
            bool *had = &rooted[volume_index(engine, record->volume)];

            if (*had) {
                return damaged("two roots", err);
            }
            *had = true;
        }
    }
    return 0;
}

static void load_cursors(struct engine *engine, struct unpack *in)
{
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->volumes[i] != NULL) {
            space_set_cursor(volume_space(engine->volumes[i]), unpack_u64(in));
        }
    }
}

static int take_claims(struct engine *engine, const struct claims *claims, struct error *err)
{
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->volumes[i] != NULL &&
            !space_claim(volume_space(engine->volumes[i]), claims[i].runs, claims[i].count)) {
            return damaged("blocks that two have", err);
        }
    }
    return 0;
}

int native_load(struct engine *engine, struct unpack *in, struct error *err)
{
    size_t partitions = engine->disk->plan->partition_count;
    SCOPED_FREE struct claims *claims = xcalloc(partitions, sizeof(*claims));
    uint32_t count;
    int result = 0;

    native_forget_changes(engine);
    (void)tree_walk(engine->disk->stack->tree, meet_inode, engine, err);
    native_find_mounts(engine);
    load_cursors(engine, in);
    count = unpack_count(in, RECORD_MIN);
    for (uint32_t i = 0; i < count && result == 0; i++) {
        result = load_record(engine, in, claims, err);
    }
    if (result == 0 && (in->bad || in->at != in->end)) {
        result = damaged("it ends too early or too late", err);
    }
    if (result == 0 && take_claims(engine, claims, err) < 0) {
        result = -1;
    }
    for (size_t i = 0; i < partitions; i++) {
        free(claims[i].runs);
    }
    return result < 0 ? -1 : check_all(engine, err);
}
