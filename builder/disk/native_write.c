/* SPDX-License-Identifier: Apache-2.0 */
/* Engine native, at the end: inodes, directories, extents and attributes from the tree. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/le.h"
#include "base/stop.h"
#include "disk/attributes.h"
#include "disk/directory.h"
#include "disk/native.h"

/* An inode's fields (Documentation/filesystems/ext4/inodes.rst). */
enum {
    I_MODE = 0,
    I_UID = 2,
    I_SIZE = 4,
    I_ATIME = 8,
    I_CTIME = 12,
    I_MTIME = 16,
    I_GID = 24,
    I_LINKS = 26,
    I_BLOCKS = 28,
    I_FLAGS = 32,
    I_BLOCK = 40,
    I_FILE_ACL = 104,
    I_SIZE_HIGH = 108,
    I_BLOCKS_HIGH = 116,
    I_FILE_ACL_HIGH = 118,
    I_UID_HIGH = 120,
    I_GID_HIGH = 122,
    I_CHECKSUM = 124,
    I_EXTRA_SIZE = 128,
    I_CHECKSUM_HIGH = 130,
    I_CTIME_EXTRA = 132,
    I_MTIME_EXTRA = 136,
    I_ATIME_EXTRA = 140,
    I_CRTIME = 144,
    I_CRTIME_EXTRA = 148,
    I_ATTRIBUTES = 160,

    EXTRA_SIZE = 32,
    LINKS_MAX = 65000, /* a directory with more subdirectories says 1 */
    SECTORS = VOLUME_BLOCK / 512,
};
static const uint32_t FLAG_INDEX = 0x1000, FLAG_EXTENTS = 0x80000;

/* What an inode says, from the tree or of kiln's own making. */
struct facts {
    uint32_t number, mode, uid, gid, links, flags;
    uint64_t size, blocks, attributes;
    int64_t time;
    uint32_t time_ns;
};

static void put_times(uint8_t *at, int64_t seconds, uint32_t ns)
{
    static const uint8_t places[][2] = {{I_ATIME, I_ATIME_EXTRA},
                                        {I_CTIME, I_CTIME_EXTRA},
                                        {I_MTIME, I_MTIME_EXTRA},
                                        {I_CRTIME, I_CRTIME_EXTRA}};
    /* Two more bits: how many times 2^32 to add to what 32 bits with a sign say. */
    uint32_t epoch = (uint32_t)((seconds - (int32_t)seconds) >> 32) & 3;

    for (size_t i = 0; i < COUNT(places); i++) {
        put32(at + places[i][0], (uint32_t)seconds);
        put32(at + places[i][1], ns << 2 | epoch);
    }
}

static void put_inode(const struct volume *volume, const struct facts *facts, uint8_t *at)
{
    uint64_t sectors = facts->blocks * SECTORS;
    uint32_t sum;

    put16(at + I_MODE, facts->mode);
    put16(at + I_UID, facts->uid & 0xffff);
    put16(at + I_UID_HIGH, facts->uid >> 16);
    put16(at + I_GID, facts->gid & 0xffff);
    put16(at + I_GID_HIGH, facts->gid >> 16);
    put32(at + I_SIZE, (uint32_t)facts->size);
    put32(at + I_SIZE_HIGH, (uint32_t)(facts->size >> 32));
    put16(at + I_LINKS, facts->links);
    put32(at + I_BLOCKS, (uint32_t)sectors);
    put16(at + I_BLOCKS_HIGH, (uint32_t)(sectors >> 32));
    put32(at + I_FLAGS, facts->flags);
    put32(at + I_FILE_ACL, (uint32_t)facts->attributes);
    put16(at + I_FILE_ACL_HIGH, (uint32_t)(facts->attributes >> 32));
    put16(at + I_EXTRA_SIZE, EXTRA_SIZE);
    put_times(at, facts->time, facts->time_ns);
    sum = volume_checksum(volume_inode_seed(volume, facts->number), at, VOLUME_INODE);
    put16(at + I_CHECKSUM, sum & 0xffff);
    put16(at + I_CHECKSUM_HIGH, sum >> 16);
}

/* --- directories ------------------------------------------------------------------------- */

/* The number that stands beside a name: that of a stub where a file system is mounted. */
static uint32_t number_of(const struct engine *engine, const struct volume *volume,
                          const struct node *node)
{
    const struct record *record = &engine->records[node->inode->id];

    if (record->volume == volume) {
        return record->number;
    }
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->mounts[i] == node && engine->stubs[i].volume == volume) {
            return engine->stubs[i].number;
        }
    }
    return 0;
}

struct listing {
    struct name *names;
    size_t count;
    uint32_t directories;
    bool has_lost; /* a layer brought lost+found */
};

static void list_names(const struct engine *engine, const struct record *record,
                       struct listing *ret)
{
    const struct node *node = record->inode->names;
    size_t space = 0;

    *ret = (struct listing){0};
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        uint32_t number = number_of(engine, record->volume, child);

        if (number == 0) { /* below the mount point of a FAT */
            continue;
        }
        grow(&ret->names, ret->count, &space, sizeof(*ret->names));
        ret->names[ret->count++] = (struct name){child->name, (uint8_t)child->length,
                                                 directory_type(child->inode->type), number};
        ret->directories += child->inode->type == ENTRY_DIRECTORY;
        ret->has_lost = ret->has_lost || strcmp(child->name, "lost+found") == 0;
    }
    if (record->number == VOLUME_ROOT && !ret->has_lost) {
        grow(&ret->names, ret->count, &space, sizeof(*ret->names));
        ret->names[ret->count++] = (struct name){"lost+found", (uint8_t)strlen("lost+found"),
                                                 directory_type(ENTRY_DIRECTORY), VOLUME_LOST};
        ret->directories++;
    }
}

static int put_blocks(struct engine *engine, const struct record *record, const uint8_t *blocks,
                      struct error *err)
{
    for (uint32_t i = 0; i < record->piece_count; i++) {
        const struct piece *piece = &record->pieces[i];

        if (writer_put(engine->writer, volume_block_offset(record->volume, piece->block),
                       blocks + piece->logical * VOLUME_BLOCK, (size_t)piece->count * VOLUME_BLOCK,
                       err) < 0) {
            return -1;
        }
    }
    return 0;
}

static uint32_t parent_number(const struct engine *engine, const struct record *record)
{
    const struct node *parent = record->inode->names->parent;

    return record->number == VOLUME_ROOT ? VOLUME_ROOT : engine->records[parent->inode->id].number;
}

static int write_directory(struct engine *engine, const struct record *record, struct facts *facts,
                           struct error *err)
{
    size_t count = (size_t)native_blocks(record);
    SCOPED_FREE uint8_t *blocks = xcalloc(count, VOLUME_BLOCK);
    struct listing listing;
    int result;

    list_names(engine, record, &listing);
    directory_build(record->volume, record->number, parent_number(engine, record), listing.names,
                    listing.count, blocks, count);
    facts->size = (uint64_t)count * VOLUME_BLOCK;
    facts->links = listing.directories + 2 <= LINKS_MAX ? listing.directories + 2 : 1;
    facts->flags |= count > 1 ? FLAG_INDEX : 0;
    if (record->number == VOLUME_ROOT && listing.has_lost) {
        space_give(volume_space(record->volume), *volume_lost(record->volume));
        space_settle(volume_space(record->volume));
    }
    result = put_blocks(engine, record, blocks, err);
    free(listing.names);
    return result;
}

/* --- the others -------------------------------------------------------------------------- */

struct tree_sink {
    struct engine *engine;
    const struct volume *volume;
};

static int sink_tree(void *data, uint64_t block, const uint8_t *bytes, struct error *err)
{
    const struct tree_sink *sink = data;

    return writer_put(sink->engine->writer, volume_block_offset(sink->volume, block), bytes,
                      VOLUME_BLOCK, err);
}

static int put_extents(struct engine *engine, const struct record *record, struct facts *facts,
                       uint8_t *inode, struct error *err)
{
    struct tree_sink sink = {engine, record->volume};

    facts->flags |= FLAG_EXTENTS;
    return extents_write(record->volume, record->number, record->pieces, record->piece_count,
                         record->tree, sink_tree, &sink, inode + I_BLOCK, err);
}

static int put_symlink(struct engine *engine, const struct record *record, struct facts *facts,
                       uint8_t *inode, struct error *err)
{
    const char *target = record->inode->target;
    uint8_t block[VOLUME_BLOCK] = {0};

    facts->size = strlen(target);
    if (record->piece_count == 0) {
        memcpy(inode + I_BLOCK, target, facts->size);
        return 0;
    }
    memcpy(block, target, facts->size);
    return put_blocks(engine, record, block, err) < 0
               ? -1
               : put_extents(engine, record, facts, inode, err);
}

/* The kernel's encodings, the old one where it will do (include/linux/kdev_t.h). */
static void put_device(const struct inode *from, uint8_t *inode)
{
    if (from->major < 256 && from->minor < 256) {
        put32(inode + I_BLOCK, from->major << 8 | from->minor);
    } else {
        put32(inode + I_BLOCK + 4,
              (from->minor & 0xff) | from->major << 8 | (from->minor & ~0xffU) << 12);
    }
}

static uint32_t type_bits(enum entry_type type)
{
    static const uint32_t bits[] = {
        [ENTRY_FILE] = S_IFREG,      [ENTRY_DIRECTORY] = S_IFDIR, [ENTRY_SYMLINK] = S_IFLNK,
        [ENTRY_CHARACTER] = S_IFCHR, [ENTRY_BLOCK] = S_IFBLK,     [ENTRY_FIFO] = S_IFIFO,
    };

    return bits[type];
}

/* Makes the inode, VOLUME_INODE bytes, and writes whatever it points to but a file's data. */
static int make_inode(struct engine *engine, const struct record *record, uint8_t *bytes,
                      struct error *err)
{
    const struct inode *inode = record->inode;
    struct facts facts = {
        .number = record->number,
        .mode = type_bits(inode->type) | inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .links = inode->links,
        .blocks = native_blocks(record) + record->tree_count + (record->attributes != 0),
        .attributes = record->attributes,
        .time = inode->mtime,
        .time_ns = inode->mtime_ns,
    };
    int result = 0;

    if (inode->type == ENTRY_DIRECTORY) {
        result = write_directory(engine, record, &facts, err);
        result = result < 0 ? -1 : put_extents(engine, record, &facts, bytes, err);
    } else if (inode->type == ENTRY_FILE) {
        facts.size = inode->size;
        result = put_extents(engine, record, &facts, bytes, err);
    } else if (inode->type == ENTRY_SYMLINK) {
        result = put_symlink(engine, record, &facts, bytes, err);
    } else if (inode->type != ENTRY_FIFO) {
        put_device(inode, bytes);
    }
    attributes_put_inline(inode, bytes + I_ATTRIBUTES);
    put_inode(record->volume, &facts, bytes);
    return result;
}

static int write_attributes(struct engine *engine, const struct record *record, struct error *err)
{
    uint8_t block[VOLUME_BLOCK];

    if (record->attributes == 0) {
        return 0;
    }
    attributes_put_block(record->volume, record->inode, record->attributes, block);
    return writer_put(engine->writer, volume_block_offset(record->volume, record->attributes),
                      block, sizeof(block), err);
}

/* --- a file system ----------------------------------------------------------------------- */

/* An empty directory that the tree does not know: lost+found, or below a mount point. */
static int write_empty(struct engine *engine, struct volume *volume, uint32_t number,
                       uint32_t parent, uint32_t mode, struct run blocks, struct error *err)
{
    SCOPED_FREE uint8_t *bytes = xcalloc((size_t)blocks.count, VOLUME_BLOCK);
    struct piece piece = {0, blocks.block, blocks.count};
    uint8_t inode[VOLUME_INODE] = {0};
    struct facts facts = {
        .number = number,
        .mode = S_IFDIR | mode,
        .links = 2,
        .flags = FLAG_EXTENTS,
        .size = blocks.count * VOLUME_BLOCK,
        .blocks = blocks.count,
        .time = engine->disk->epoch,
    };

    directory_build_empty(volume, number, parent, bytes, (size_t)blocks.count);
    /* One extent never takes a block: nothing goes to the sink. */
    (void)extents_write(volume, number, &piece, 1, NULL, NULL, NULL, inode + I_BLOCK, err);
    put_inode(volume, &facts, inode);
    volume_count_inode(volume, number, true);
    return writer_put(engine->writer, volume_block_offset(volume, blocks.block), bytes,
                      (size_t)blocks.count * VOLUME_BLOCK, err) < 0
               ? -1
               : writer_put(engine->writer, volume_inode_offset(volume, number), inode,
                            sizeof(inode), err);
}

/* Of each inode number of VOLUME the id of who has it, 0 for nobody: a new array. */
static uint32_t *by_number(const struct engine *engine, const struct volume *volume,
                           uint32_t *ret_last)
{
    uint32_t last = VOLUME_LOST, *ids;

    for (uint32_t id = 1; id <= engine->last_id; id++) {
        const struct record *record = &engine->records[id];

        if (record->volume == volume && record->number > last) {
            last = record->number;
        }
    }
    ids = xcalloc((size_t)last + 1, sizeof(*ids));
    for (uint32_t id = 1; id <= engine->last_id; id++) {
        const struct record *record = &engine->records[id];

        if (record->volume == volume && record->number != 0) {
            ids[record->number] = id;
        }
    }
    *ret_last = last;
    return ids;
}

static int write_one(struct engine *engine, const struct record *record, uint8_t *bytes,
                     struct error *err)
{
    volume_count_inode(record->volume, record->number, record->inode->type == ENTRY_DIRECTORY);
    return stop_check(err) < 0 || make_inode(engine, record, bytes, err) < 0 ||
                   write_attributes(engine, record, err) < 0
               ? -1
               : 0;
}

/* How many inodes from FIRST on lie in one piece of a table, at most SIZE. */
static uint32_t batch_of(const struct volume *volume, uint32_t first, uint32_t last, uint32_t size)
{
    uint64_t offset = volume_inode_offset(volume, first);
    uint32_t count = 1;

    while (count < size && first + count <= last &&
           volume_inode_offset(volume, first + count) == offset + (uint64_t)count * VOLUME_INODE) {
        count++;
    }
    return count;
}

/*
 * A stretch of an inode table; numbers that nobody has stay zeros. What the inodes point to is
 * written meanwhile, so the table itself goes out in one.
 */
static int write_batch(struct engine *engine, const struct volume *volume, const uint32_t *ids,
                       uint32_t first, uint32_t count, uint8_t *bytes, struct error *err)
{
    memset(bytes, 0, (size_t)count * VOLUME_INODE);
    for (uint32_t i = 0; i < count; i++) {
        if (ids[first + i] != 0 && write_one(engine, &engine->records[ids[first + i]],
                                             bytes + (size_t)i * VOLUME_INODE, err) < 0) {
            return -1;
        }
    }
    return writer_put(engine->writer, volume_inode_offset(volume, first), bytes,
                      (size_t)count * VOLUME_INODE, err);
}

static int write_inodes(struct engine *engine, struct volume *volume, struct error *err)
{
    enum { BATCH = 4096 };
    SCOPED_FREE uint8_t *bytes = xmalloc((size_t)BATCH * VOLUME_INODE);
    uint32_t last;
    SCOPED_FREE uint32_t *ids = by_number(engine, volume, &last);

    if (write_batch(engine, volume, ids, VOLUME_ROOT, 1, bytes, err) < 0) {
        return -1;
    }
    for (uint32_t first = VOLUME_LOST + 1, count; first <= last; first += count) {
        count = batch_of(volume, first, last, BATCH);
        if (write_batch(engine, volume, ids, first, count, bytes, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static bool has_lost(const struct engine *engine, const struct volume *volume)
{
    const char *mount = volume_partition(volume)->spec->mount;
    SCOPED_FREE char *path = xprintf("%s/lost+found", mount);

    return tree_find(engine->disk->stack->tree, path) != NULL;
}

static int write_stubs(struct engine *engine, struct volume *volume, struct error *err)
{
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        const struct stub *stub = &engine->stubs[i];
        const struct node *parent;

        if (stub->volume != volume) {
            continue;
        }
        parent = engine->mounts[i]->parent;
        if (write_empty(engine, volume, stub->number, engine->records[parent->inode->id].number,
                        0755, (struct run){stub->block, 1}, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static void touched(void *data, uint64_t offset_bytes, uint64_t size_bytes)
{
    blocks_forget(data, offset_bytes, size_bytes);
}

static int write_volume(struct engine *engine, struct volume *volume, struct error *err)
{
    if (write_inodes(engine, volume, err) < 0 || write_stubs(engine, volume, err) < 0 ||
        (!has_lost(engine, volume) && write_empty(engine, volume, VOLUME_LOST, VOLUME_ROOT, 0700,
                                                  *volume_lost(volume), err) < 0) ||
        writer_flush(engine->writer, err) < 0) {
        return -1;
    }
    return volume_finish(volume, engine->disk->epoch, touched, engine->disk->blocks, err);
}

int native_write(struct engine *engine, struct error *err)
{
    native_find_mounts(engine);
    for (size_t i = 0; i < engine->disk->plan->partition_count; i++) {
        if (engine->volumes[i] != NULL && write_volume(engine, engine->volumes[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}
