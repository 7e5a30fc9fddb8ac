/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/ext4.h"

#include <endian.h>
#include <string.h>

#include "base/file.h"
#include "base/proc.h"

/* What Debian 12's mke2fs gives, written down: kernels from 3.16 and GRUB 2.06 read all of it. */
static const char features[] =
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
    "large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/* mke2fs.conf's ratios: small file systems hold small files, and large ones would have more inodes
 * than 32 bits count. */
unsigned ext4_inode_ratio(uint64_t size_bytes)
{
    return size_bytes < 512ULL << 20  ? 4096
           : size_bytes < 4ULL << 40  ? 16384
           : size_bytes < 16ULL << 40 ? 32768
                                      : 65536;
}

int ext4_make(const char *disk, const struct plan_partition *partition, uint32_t inodes,
              int64_t epoch, struct error *err)
{
    char uuid[UUID_TEXT_MAX], seed[UUID_TEXT_MAX];
    SCOPED_FREE char *size = xprintf("%lluk", (unsigned long long)partition->size_bytes / 1024);
    SCOPED_FREE char *count =
        xprintf("%u", inodes != 0 ? inodes : ext4_inode_ratio(partition->size_bytes));
    /* The file is new and reads as zeros: nothing has to be zeroed, by mke2fs or at first boot. */
    SCOPED_FREE char *extended = xprintf(
        "offset=%llu,hash_seed=%s,assume_storage_prezeroed=1,lazy_journal_init=1,nodiscard",
        (unsigned long long)partition->offset_bytes, uuid_text(&partition->hash_seed, seed));
    /* mke2fs takes 0 for "now". */
    SCOPED_FREE char *time =
        xprintf("E2FSPROGS_FAKE_TIME=%lld", (long long)(epoch > 0 ? epoch : 1));
    const char *const env[] = {"MKE2FS_CONFIG=/dev/null", time, NULL};
    const char *const argv[] = {"mke2fs",
                                "-q",
                                "-F",
                                "-t",
                                "ext4",
                                "-b",
                                "4096",
                                "-I",
                                "256",
                                "-O",
                                features,
                                inodes != 0 ? "-N" : "-i",
                                count,
                                "-U",
                                uuid_text(&partition->fs_uuid, uuid),
                                "-L",
                                partition->fs_label,
                                "-E",
                                extended,
                                disk,
                                size,
                                NULL};

    if (proc_run(&(struct proc){.argv = argv, .env = env}, err) < 0) {
        return fail_while(err, "make the ext4 file system of partition '%s'",
                          partition->spec->name);
    }
    return 0;
}

static uint64_t field(const uint8_t *superblock, size_t offset)
{
    uint32_t value;

    memcpy(&value, superblock + offset, sizeof(value));
    return le32toh(value);
}

int ext4_free_space(int fd, const struct plan_partition *partition, uint64_t *ret_blocks,
                    uint64_t *ret_inodes, struct error *err)
{
    uint8_t superblock[1024]; /* Documentation/filesystems/ext4/super.rst */

    if (file_pread(fd, superblock, sizeof(superblock), partition->offset_bytes + 1024,
                   partition->spec->name, err) < 0) {
        return -1;
    }
    *ret_blocks = field(superblock, 0x158) << 32 | field(superblock, 0x0c);
    *ret_inodes = field(superblock, 0x10);
    return 0;
}
