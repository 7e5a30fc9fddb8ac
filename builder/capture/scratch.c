/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/scratch.h"

#include <et/com_err.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/stop.h"
#include "capture/channel.h"

enum {
    SUPERBLOCK = 1024, /* its place and its size */
    GROUP_BLOCKS = 32768,
    DESCRIPTOR = 64, /* bytes */
    FIRST_INODE = 11,
    PIECE_BYTES = 256 << 10, /* read at once */
};

/* What kiln makes and what a mount may add; no more is understood here. */
static const uint32_t COMPAT = EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR |
                               EXT2_FEATURE_COMPAT_DIR_INDEX | EXT2_FEATURE_COMPAT_RESIZE_INODE;
static const uint32_t INCOMPAT = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                                 EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
static const uint32_t RO_COMPAT =
    EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
    EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
    EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
/* Without these the rest would have to be read in another way. */
static const uint32_t NEEDED =
    EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT;

struct scratch {
    ext2_filsys fs;
    uint64_t blocks;
    char *buffer; /* PIECE_BYTES */
};

static int fail_ext2(errcode_t code, const char *doing, struct error *err)
{
    return fail(err, FAIL_ERROR, "%s: %s", doing, error_message(code));
}

/* --- the superblock -------------------------------------------------------------------------- */

static int check_features(const struct ext2_super_block *super, struct error *err)
{
    if ((super->s_feature_compat & ~COMPAT) != 0 || (super->s_feature_incompat & ~INCOMPAT) != 0 ||
        (super->s_feature_ro_compat & ~RO_COMPAT) != 0 ||
        (super->s_feature_incompat & NEEDED) != NEEDED) {
        return fail(err, FAIL_ERROR,
                    "its file system has other features than it was made with: 0x%x 0x%x 0x%x",
                    super->s_feature_compat, super->s_feature_incompat, super->s_feature_ro_compat);
    }
    return 0;
}

static int check_geometry(const struct ext2_super_block *super, uint64_t size_bytes,
                          struct error *err)
{
    uint64_t blocks = (uint64_t)super->s_blocks_count_hi << 32 | super->s_blocks_count;
    uint64_t groups = blocks / GROUP_BLOCKS + (blocks % GROUP_BLOCKS != 0);

    if (super->s_rev_level != EXT2_DYNAMIC_REV || super->s_log_block_size != 2 ||
        super->s_log_cluster_size != 2 || super->s_first_data_block != 0 ||
        super->s_inode_size != VOLUME_INODE || super->s_first_ino != FIRST_INODE ||
        super->s_blocks_per_group != GROUP_BLOCKS || super->s_clusters_per_group != GROUP_BLOCKS ||
        super->s_desc_size != DESCRIPTOR || super->s_inodes_per_group == 0 ||
        super->s_inodes_per_group > GROUP_BLOCKS ||
        super->s_inodes_count != groups * super->s_inodes_per_group) {
        return fail(err, FAIL_ERROR, "its file system has another layout than it was made with");
    }
    if (blocks == 0 || blocks > size_bytes / VOLUME_BLOCK) {
        return fail(err, FAIL_ERROR, "its file system is larger than its partition");
    }
    return 0;
}

static int check_state(const struct ext2_super_block *super, struct error *err)
{
    if ((super->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0 ||
        (super->s_state & EXT2_VALID_FS) == 0) {
        fail(err, FAIL_ERROR, "its file system was not unmounted cleanly");
        return fail_hint(err, "something in the step may have kept it busy, or written to it");
    }
    return (super->s_state & EXT2_ERROR_FS) == 0
               ? 0
               : fail(err, FAIL_ERROR, "the kernel found errors in its file system");
}

int scratch_check(int fd, uint64_t offset_bytes, uint64_t size_bytes, struct error *err)
{
    struct ext2_super_block super;

    _Static_assert(sizeof(super) == SUPERBLOCK, "the superblock as it lies on the disk");
    if (size_bytes < (uint64_t)2 * SUPERBLOCK) {
        return fail(err, FAIL_ERROR, "its partition is too small for a file system");
    }
    if (file_pread(fd, &super, sizeof(super), offset_bytes + SUPERBLOCK, "the disk", err) < 0) {
        return -1;
    }
    if (super.s_magic != EXT2_SUPER_MAGIC) {
        return fail(err, FAIL_ERROR, "its partition has no ext4 file system any more");
    }
    return check_state(&super, err) < 0 || check_features(&super, err) < 0 ||
                   check_geometry(&super, size_bytes, err) < 0
               ? -1
               : 0;
}

static int open_checked(struct scratch *scratch, const char *name, struct error *err)
{
    errcode_t code =
        ext2fs_open2(name, NULL, EXT2_FLAG_64BITS, 0, 0, &channel_manager, &scratch->fs);

    if (code != 0) {
        scratch->fs = NULL;
        return fail_ext2(code, "open its file system", err);
    }
    scratch->blocks = ext2fs_blocks_count(scratch->fs->super);
    return 0;
}

int scratch_open(int fd, uint64_t offset_bytes, uint64_t size_bytes, struct scratch **ret,
                 struct error *err)
{
    SCOPED(scratch_freep) struct scratch *scratch = xcalloc(1, sizeof(*scratch));
    SCOPED_FREE char *name = channel_name(fd, offset_bytes, size_bytes);

    initialize_ext2_error_table();
    scratch->buffer = xmalloc(PIECE_BYTES);
    if (scratch_check(fd, offset_bytes, size_bytes, err) < 0 ||
        open_checked(scratch, name, err) < 0) {
        return -1;
    }
    *ret = TAKE(scratch);
    return 0;
}

void scratch_free(struct scratch *scratch)
{
    if (scratch != NULL) {
        if (scratch->fs != NULL) {
            ext2fs_free(scratch->fs);
        }
        free(scratch->buffer);
        free(scratch);
    }
}

uint32_t scratch_inodes(const struct scratch *scratch)
{
    return scratch->fs->super->s_inodes_count;
}

/* --- inodes and blocks ----------------------------------------------------------------------- */

int scratch_inode(struct scratch *scratch, uint32_t number, struct scratch_inode *ret,
                  struct error *err)
{
    errcode_t code;

    if (number != VOLUME_ROOT && (number < FIRST_INODE || number > scratch_inodes(scratch))) {
        return fail(err, FAIL_ERROR, "inode number %u", number);
    }
    code = ext2fs_read_inode_full(scratch->fs, number, (struct ext2_inode *)ret, sizeof(*ret));
    if (code != 0) {
        return fail_ext2(code, "read its inode", err);
    }
    if (ret->fields.i_links_count == 0 || ret->fields.i_mode == 0) {
        return fail(err, FAIL_ERROR, "a name of inode %u, which is free", number);
    }
    return 0;
}

int scratch_block(struct scratch *scratch, uint64_t block, void *ret, struct error *err)
{
    errcode_t code;

    if (block == 0 || block >= scratch->blocks) {
        return fail(err, FAIL_ERROR, "block number %llu", (unsigned long long)block);
    }
    code = io_channel_read_blk64(scratch->fs->io, block, 1, ret);
    return code == 0 ? 0 : fail_ext2(code, "read a block of it", err);
}

/* --- extents --------------------------------------------------------------------------------- */

struct pieces {
    struct piece *items;
    size_t count, space;
    uint64_t blocks; /* of the file system */
};

static int add_extent(struct pieces *pieces, const struct ext2fs_extent *extent, struct error *err)
{
    struct piece *last = pieces->count != 0 ? &pieces->items[pieces->count - 1] : NULL;
    bool written = (extent->e_flags & EXT2_EXTENT_FLAGS_UNINIT) == 0;
    struct piece piece = {extent->e_lblk, written ? extent->e_pblk : 0, extent->e_len};

    if (extent->e_len == 0 || extent->e_pblk == 0 || extent->e_pblk >= pieces->blocks ||
        extent->e_len > pieces->blocks - extent->e_pblk ||
        (last != NULL && extent->e_lblk < last->logical + last->count)) {
        return fail(err, FAIL_ERROR, "its extents make no sense");
    }
    if (last != NULL && piece.logical == last->logical + last->count &&
        (written ? last->block != 0 && piece.block == last->block + last->count
                 : last->block == 0)) {
        last->count += piece.count;
        return 0;
    }
    grow(&pieces->items, pieces->count, &pieces->space, sizeof(*pieces->items));
    pieces->items[pieces->count++] = piece;
    return 0;
}

static int walk_extents(ext2_extent_handle_t handle, struct pieces *pieces, struct error *err)
{
    struct ext2fs_extent extent;
    errcode_t code = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &extent);

    while (code == 0) {
        if ((extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) != 0 &&
            add_extent(pieces, &extent, err) < 0) {
            return -1;
        }
        code = stop_check(err) < 0 ? -1 : ext2fs_extent_get(handle, EXT2_EXTENT_NEXT, &extent);
        if (code == -1) {
            return -1;
        }
    }
    /* An empty tree has no current node at all. */
    return code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE
               ? 0
               : fail_ext2(code, "read its extents", err);
}

int scratch_pieces(struct scratch *scratch, uint32_t number, struct scratch_inode *inode,
                   struct piece **ret, size_t *ret_count, struct error *err)
{
    struct pieces pieces = {.blocks = scratch->blocks};
    ext2_extent_handle_t handle;
    errcode_t code;
    int result;

    if ((inode->fields.i_flags & EXT4_EXTENTS_FL) == 0) {
        return fail(err, FAIL_ERROR, "its blocks are not listed by extents");
    }
    code = ext2fs_extent_open2(scratch->fs, number, (struct ext2_inode *)&inode->fields, &handle);
    if (code != 0) {
        return fail_ext2(code, "read its extents", err);
    }
    result = walk_extents(handle, &pieces, err);
    ext2fs_extent_free(handle);
    if (result < 0) {
        free(pieces.items);
        return -1;
    }
    *ret = pieces.items;
    *ret_count = pieces.count;
    return 0;
}

/* --- data ------------------------------------------------------------------------------------ */

static int read_piece(struct scratch *scratch, const struct piece *piece, uint64_t size,
                      scratch_take take, void *data, struct error *err)
{
    enum { STEP = PIECE_BYTES / VOLUME_BLOCK };
    uint64_t end = piece->logical + piece->count, last = (size + VOLUME_BLOCK - 1) / VOLUME_BLOCK;

    end = end < last ? end : last; /* room may have been reserved beyond the end */
    for (uint64_t at = piece->logical; at < end;) {
        uint64_t count = end - at < STEP ? end - at : STEP, offset = at * VOLUME_BLOCK;
        uint64_t bytes = count * VOLUME_BLOCK;
        errcode_t code = 0;

        if (piece->block == 0) {
            memset(scratch->buffer, 0, bytes);
        } else {
            code = io_channel_read_blk64(scratch->fs->io, piece->block + (at - piece->logical),
                                         (int)count, scratch->buffer);
        }
        if (code != 0) {
            return fail_ext2(code, "read its data", err);
        }
        bytes = bytes < size - offset ? bytes : size - offset;
        if (stop_check(err) < 0 || take(data, scratch->buffer, bytes, offset, err) < 0) {
            return -1;
        }
        at += count;
    }
    return 0;
}

int scratch_data(struct scratch *scratch, const struct piece *pieces, size_t count, uint64_t size,
                 scratch_take take, void *data, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (read_piece(scratch, &pieces[i], size, take, data, err) < 0) {
            return -1;
        }
    }
    return 0;
}
