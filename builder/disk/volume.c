/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/volume.h"

#include <et/com_err.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/le.h"
#include "disk/ext4.h"

enum {
    /* libext2fs takes 0 for "now" and wants a time before the epoch is known. */
    FORMAT_TIME = 1,
    RESERVED_INODES = 10,
    RESERVED_PERCENT = 5, /* of the blocks, for root: what mke2fs reserves */
    ZONE_MAX = 8192,      /* blocks for metadata: 32 MiB */
    ZONE_ALIGN = 128,     /* blocks: those of one digest in blocks.index */
};

struct volume {
    const struct plan_partition *partition;
    const char *disk;
    ext2_filsys fs;
    struct space *space;
    struct run *initial; /* free runs of the empty file system */
    size_t initial_count;
    struct run lost;
    uint8_t *used; /* bit by inode number */
    uint32_t inodes, lowest;
};

static int fail_ext2(struct volume *volume, errcode_t code, const char *doing, struct error *err)
{
    return fail(err, FAIL_ERROR, "%s the ext4 file system of partition '%s': %s", doing,
                volume->partition->spec->name, error_message(code));
}

/* --- layout ------------------------------------------------------------------------------ */

static void describe(const struct plan_partition *part, uint32_t inodes,
                     struct ext2_super_block *param)
{
    uint64_t blocks = part->size_bytes / VOLUME_BLOCK;
    uint64_t wanted = inodes != 0 ? inodes : part->size_bytes / ext4_inode_ratio(part->size_bytes);

    memset(param, 0, sizeof(*param));
    param->s_rev_level = EXT2_DYNAMIC_REV;
    param->s_log_block_size = 2;
    param->s_inode_size = VOLUME_INODE;
    param->s_log_groups_per_flex = 4;
    param->s_inodes_count = wanted < UINT32_MAX ? (uint32_t)wanted : UINT32_MAX;
    param->s_feature_compat = EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR |
                              EXT2_FEATURE_COMPAT_DIR_INDEX;
    /* Its inode counts blocks in 32 bits. */
    param->s_feature_compat |= blocks <= UINT32_MAX ? EXT2_FEATURE_COMPAT_RESIZE_INODE : 0;
    param->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                                EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
    param->s_feature_ro_compat =
        EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
        EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
        EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
    /* After the features: only with 64bit do these set more than 32. */
    ext2fs_blocks_count_set(param, blocks);
    ext2fs_r_blocks_count_set(param, blocks * RESERVED_PERCENT / 100);
}

/* What ext2fs_initialize leaves to its caller, or takes from the clock or this machine's char. */
static void settle_super(struct volume *volume)
{
    struct ext2_super_block *super = volume->fs->super;
    const struct plan_partition *part = volume->partition;

    memcpy(super->s_uuid, part->fs_uuid.bytes, sizeof(super->s_uuid));
    memcpy(super->s_hash_seed, part->hash_seed.bytes, sizeof(super->s_hash_seed));
    memset(super->s_volume_name, 0, sizeof(super->s_volume_name));
    memcpy(super->s_volume_name, part->fs_label,
           strnlen(part->fs_label, sizeof(super->s_volume_name)));
    super->s_def_hash_version = EXT2_HASH_HALF_MD4;
    super->s_flags = EXT2_FLAGS_SIGNED_HASH;
    super->s_checksum_type = EXT2_CRC32C_CHKSUM;
    super->s_min_extra_isize = super->s_want_extra_isize =
        sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    super->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
    super->s_max_mnt_count = -1;
    super->s_checkinterval = 0;
    super->s_mkfs_time = super->s_lastcheck = FORMAT_TIME;
    super->s_mkfs_time_hi = super->s_lastcheck_hi = 0;
    super->s_kbytes_written = 0;
    super->s_creator_os = EXT2_OS_LINUX;
    volume->fs->now = FORMAT_TIME;
    ext2fs_init_csum_seed(volume->fs);
}

static errcode_t initialize(struct volume *volume, uint32_t inodes)
{
    SCOPED_FREE char *offset =
        xprintf("offset=%llu", (unsigned long long)volume->partition->offset_bytes);
    struct ext2_super_block param;
    errcode_t code;

    describe(volume->partition, inodes, &param);
    code = ext2fs_initialize(volume->disk, EXT2_FLAG_64BITS, &param, unix_io_manager, &volume->fs);
    if (code != 0) {
        return code;
    }
    /* Its cache keeps clean blocks that a large write has passed by, and gives back old bytes. */
    code = io_channel_set_options(volume->fs->io, "cache=off");
    code = code != 0 ? code : io_channel_set_options(volume->fs->io, offset);
    if (code == 0) {
        settle_super(volume);
    }
    return code;
}

/* The file is new and reads as zeros, so every inode table is zero already. */
static errcode_t lay_out_groups(ext2_filsys fs)
{
    errcode_t code = ext2fs_allocate_tables(fs);

    for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
        ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
    }
    for (ext2_ino_t ino = 1; code == 0 && ino <= RESERVED_INODES; ino++) {
        ext2fs_inode_alloc_stats2(fs, ino, 1, ino == VOLUME_ROOT);
    }
    return code != 0 || !ext2fs_has_feature_resize_inode(fs->super)
               ? code
               : ext2fs_create_resize_inode(fs);
}

/* In front, not in the middle where libext2fs would put it: data stays in one piece. */
static errcode_t add_journal(ext2_filsys fs)
{
    struct ext2fs_journal_params params = {
        .num_journal_blocks = (blk_t)ext2fs_default_journal_size(ext2fs_blocks_count(fs->super))};
    blk64_t goal = 0;
    errcode_t code = ext2fs_find_first_zero_block_bitmap2(
        fs->block_map, fs->super->s_first_data_block, ext2fs_blocks_count(fs->super) - 1, &goal);

    return code != 0
               ? code
               : ext2fs_add_journal_inode3(fs, &params, goal,
                                           EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
}

/* Superblock and descriptors of the empty file system, with their copies, which stay like that. */
static errcode_t write_copies(ext2_filsys fs)
{
    errcode_t code = ext2fs_set_gdt_csum(fs);

    code = code != 0 ? code : ext2fs_flush2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
    fs->flags |= EXT2_FLAG_MASTER_SB_ONLY;
    return code;
}

static void collect_free(struct volume *volume)
{
    ext2_filsys fs = volume->fs;
    blk64_t at = fs->super->s_first_data_block, end = ext2fs_blocks_count(fs->super) - 1, stop;
    size_t space = 0;

    while (at <= end && ext2fs_find_first_zero_block_bitmap2(fs->block_map, at, end, &at) == 0) {
        if (ext2fs_find_first_set_block_bitmap2(fs->block_map, at, end, &stop) != 0) {
            stop = end + 1;
        }
        grow(&volume->initial, volume->initial_count, &space, sizeof(struct run));
        volume->initial[volume->initial_count++] = (struct run){at, stop - at};
        at = stop;
    }
}

/* The first run that is long enough, or the longest; it begins where a digest's block does. */
static struct run choose_zone(const struct volume *volume)
{
    uint64_t blocks = ext2fs_blocks_count(volume->fs->super) / 64;
    uint64_t wanted = blocks < ZONE_MAX ? blocks : ZONE_MAX;
    struct run best = {0};

    for (size_t i = 0; i < volume->initial_count; i++) {
        struct run run = volume->initial[i];
        uint64_t skipped = run.count > 2 * (wanted + ZONE_ALIGN)
                               ? (ZONE_ALIGN - run.block % ZONE_ALIGN) % ZONE_ALIGN
                               : 0;

        if (run.count - skipped > best.count) {
            best = (struct run){run.block + skipped, run.count - skipped};
        }
        if (best.count >= wanted + VOLUME_LOST_BLOCKS) {
            break;
        }
    }
    best.count = best.count < wanted ? best.count : wanted;
    return best;
}

static int share_out(struct volume *volume, struct error *err)
{
    struct run lost;

    collect_free(volume);
    volume->space = space_new(choose_zone(volume));
    for (size_t i = 0; i < volume->initial_count; i++) {
        space_add(volume->space, volume->initial[i]);
    }
    while (volume->lost.count < VOLUME_LOST_BLOCKS) {
        if (!space_take(volume->space, SPACE_METADATA, VOLUME_LOST_BLOCKS - volume->lost.count,
                        &lost) ||
            (volume->lost.count != 0 && volume->lost.block + volume->lost.count != lost.block)) {
            return fail(err, FAIL_ERROR, "partition '%s' is too small for an ext4 file system",
                        volume->partition->spec->name);
        }
        if (volume->lost.count == 0) {
            volume->lost.block = lost.block;
        }
        volume->lost.count += lost.count;
    }
    volume->inodes = volume->fs->super->s_inodes_count;
    volume->used = xcalloc(volume->inodes / 8 + 1, 1);
    volume->lowest = VOLUME_LOST + 1;
    return 0;
}

int volume_new(const char *disk, const struct plan_partition *partition, uint32_t inodes,
               struct volume **ret, struct error *err)
{
    SCOPED(volume_freep) struct volume *volume = xcalloc(1, sizeof(*volume));
    errcode_t code;

    initialize_ext2_error_table(); /* or error_message knows numbers only; once is enough */
    volume->partition = partition;
    volume->disk = disk;
    code = initialize(volume, inodes);
    code = code != 0 ? code : lay_out_groups(volume->fs);
    code = code != 0 ? code : add_journal(volume->fs);
    code = code != 0 ? code : write_copies(volume->fs);
    if (code != 0) {
        return fail_ext2(volume, code, "make", err);
    }
    if (share_out(volume, err) < 0) {
        return -1;
    }
    *ret = TAKE(volume);
    return 0;
}

void volume_free(struct volume *volume)
{
    if (volume == NULL) {
        return;
    }
    if (volume->fs != NULL) {
        ext2fs_free(volume->fs);
    }
    space_free(volume->space);
    free(volume->initial);
    free(volume->used);
    free(volume);
}

const struct plan_partition *volume_partition(const struct volume *volume)
{
    return volume->partition;
}

struct space *volume_space(struct volume *volume)
{
    return volume->space;
}

const struct run *volume_lost(const struct volume *volume)
{
    return &volume->lost;
}

/* --- inode numbers ----------------------------------------------------------------------- */

static bool is_used(const struct volume *volume, uint32_t number)
{
    return (volume->used[number / 8] >> number % 8 & 1) != 0;
}

uint32_t volume_take_inode(struct volume *volume)
{
    while (volume->lowest <= volume->inodes && is_used(volume, volume->lowest)) {
        volume->lowest++;
    }
    return volume_claim_inode(volume, volume->lowest) ? volume->lowest++ : 0;
}

void volume_give_inode(struct volume *volume, uint32_t number)
{
    volume->used[number / 8] &= (uint8_t) ~(1U << number % 8);
    if (number < volume->lowest) {
        volume->lowest = number;
    }
}

bool volume_claim_inode(struct volume *volume, uint32_t number)
{
    if (number <= VOLUME_LOST || number > volume->inodes || is_used(volume, number)) {
        return false;
    }
    volume->used[number / 8] |= (uint8_t)(1U << number % 8);
    return true;
}

uint32_t volume_inodes(const struct volume *volume)
{
    return volume->inodes;
}

/* --- places and checksums ---------------------------------------------------------------- */

uint64_t volume_block_offset(const struct volume *volume, uint64_t block)
{
    return volume->partition->offset_bytes + block * VOLUME_BLOCK;
}

uint64_t volume_inode_offset(const struct volume *volume, uint32_t number)
{
    uint32_t per_group = volume->fs->super->s_inodes_per_group;
    dgrp_t group = (number - 1) / per_group;

    return volume_block_offset(volume, ext2fs_inode_table_loc(volume->fs, group)) +
           (uint64_t)((number - 1) % per_group) * VOLUME_INODE;
}

uint32_t volume_checksum(uint32_t seed, const void *data, size_t size)
{
    return ext2fs_crc32c_le(seed, data, size);
}

uint32_t volume_inode_seed(const struct volume *volume, uint32_t number)
{
    uint8_t bytes[8] = {0};

    put32(bytes, number);
    return volume_checksum(volume->fs->csum_seed, bytes, sizeof(bytes));
}

void volume_hash_name(const struct volume *volume, const char *name, size_t length,
                      uint32_t *ret_hash, uint32_t *ret_minor)
{
    /* The version for signed char, on every machine. It fails for unknown versions only. */
    (void)ext2fs_dirhash2(EXT2_HASH_HALF_MD4, name, (int)length, NULL, 0,
                          volume->fs->super->s_hash_seed, ret_hash, ret_minor);
}

void volume_seal_attributes(const struct volume *volume, uint64_t block, uint8_t *data)
{
    enum { CHECKSUM = 16 };
    uint8_t number[8];
    uint32_t sum;

    put64(number, block);
    put32(data + CHECKSUM, 0);
    sum = volume_checksum(volume->fs->csum_seed, number, sizeof(number));
    put32(data + CHECKSUM, volume_checksum(sum, data, VOLUME_BLOCK));
}

/* --- the end ----------------------------------------------------------------------------- */

void volume_count_inode(struct volume *volume, uint32_t number, bool directory)
{
    if (number != VOLUME_ROOT) {
        ext2fs_inode_alloc_stats2(volume->fs, number, 1, directory);
    }
}

static void count_range(struct volume *volume, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t piece = end - start < UINT32_MAX / 2 ? end - start : UINT32_MAX / 2;

        ext2fs_block_alloc_stats_range(volume->fs, start, (blk_t)piece, 1);
        start += piece;
    }
}

/* What was free at first and is not now is used. */
static void count_blocks(struct volume *volume)
{
    size_t count, next = 0;
    const struct run *runs = space_runs(volume->space, &count);

    for (size_t i = 0; i < volume->initial_count; i++) {
        uint64_t at = volume->initial[i].block, end = at + volume->initial[i].count;

        for (; next < count && runs[next].block < end; next++) {
            count_range(volume, at, runs[next].block);
            at = runs[next].block + runs[next].count;
        }
        count_range(volume, at, end);
    }
}

/* The inodes that libext2fs has written, before the epoch was known. */
static int date_reserved(struct volume *volume, int64_t epoch, struct error *err)
{
    enum { SUM_LOW = 0x7c, SUM_HIGH = 0x82 };
    /* atime, ctime, mtime, crtime: seconds, and where two more bits of them are. */
    static const uint8_t places[][2] = {{8, 0x8c}, {12, 0x84}, {16, 0x88}, {0x90, 0x94}};
    static const uint32_t numbers[] = {EXT2_RESIZE_INO, EXT2_JOURNAL_INO};
    SCOPED_FD int fd = open(volume->disk, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return fail_os(err, "open '%s'", volume->disk);
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        uint8_t inode[VOLUME_INODE];
        uint64_t at = volume_inode_offset(volume, numbers[i]);
        uint32_t sum;

        if (numbers[i] == EXT2_RESIZE_INO && !ext2fs_has_feature_resize_inode(volume->fs->super)) {
            continue;
        }
        if (file_pread(fd, inode, sizeof(inode), at, volume->disk, err) < 0) {
            return -1;
        }
        for (size_t n = 0; n < COUNT(places); n++) {
            put32(inode + places[n][0], (uint32_t)epoch);
            put32(inode + places[n][1], (uint32_t)((epoch - (int32_t)epoch) >> 32) & 3);
        }
        put16(inode + SUM_LOW, 0);
        put16(inode + SUM_HIGH, 0);
        sum = volume_checksum(volume_inode_seed(volume, numbers[i]), inode, sizeof(inode));
        put16(inode + SUM_LOW, sum & 0xffff);
        put16(inode + SUM_HIGH, sum >> 16);
        if (file_pwrite(fd, inode, sizeof(inode), at, volume->disk, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Where libext2fs writes at the end: the first group's superblock and descriptors, all bitmaps. */
static void tell_touched(struct volume *volume, volume_touched touched, void *data)
{
    ext2_filsys fs = volume->fs;

    touched(data, volume_block_offset(volume, 0), (uint64_t)(1 + fs->desc_blocks) * VOLUME_BLOCK);
    touched(data, volume_inode_offset(volume, 1), VOLUME_BLOCK);
    for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
        touched(data, volume_block_offset(volume, ext2fs_block_bitmap_loc(fs, group)),
                VOLUME_BLOCK);
        touched(data, volume_block_offset(volume, ext2fs_inode_bitmap_loc(fs, group)),
                VOLUME_BLOCK);
    }
}

int volume_finish(struct volume *volume, int64_t epoch, volume_touched touched, void *data,
                  struct error *err)
{
    ext2_filsys fs = volume->fs;
    int64_t time = epoch > 0 ? epoch : FORMAT_TIME;
    errcode_t code;

    if (date_reserved(volume, time, err) < 0) {
        return -1;
    }
    count_blocks(volume);
    fs->now = (time_t)time;
    fs->super->s_mkfs_time = fs->super->s_lastcheck = (uint32_t)time;
    fs->super->s_mkfs_time_hi = fs->super->s_lastcheck_hi = (uint8_t)(time >> 32);
    fs->super->s_state |= EXT2_VALID_FS;
    tell_touched(volume, touched, data);
    code = ext2fs_set_gdt_csum(fs);
    code = code != 0 ? code : ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
    if (code != 0) {
        return fail_ext2(volume, code, "finish", err);
    }
    volume->fs = NULL;
    return 0;
}
