/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/scope.h"
#include "disk/fat_internal.h"

enum {
    RESERVED_SECTORS = 32,
    FAT_COUNT = 2,
    FSINFO_SECTOR = 1,
    BACKUP_SECTOR = 6, /* of the boot sector; FSInfo's copy follows it */
    FAT_CHUNK = 16384, /* entries of the FAT written at once */
};

/* --- layout ------------------------------------------------------------------------------ */

/* Microsoft's table for FAT32, in sectors of 512 bytes. */
static uint32_t choose_cluster(uint64_t size_bytes)
{
    static const struct {
        uint64_t up_to_bytes;
        uint32_t sectors;
    } table[] = {
        {260ULL << 20, 1}, {8ULL << 30, 8}, {16ULL << 30, 16}, {32ULL << 30, 32}, {UINT64_MAX, 64},
    };
    size_t i = 0;

    while (size_bytes > table[i].up_to_bytes) {
        i++;
    }
    return table[i].sectors;
}

/* Specification 1.03, "FAT Type Determination": may give a few sectors too many, never too few. */
void fat_lay_out(struct fat *fat)
{
    uint64_t data = fat->sectors - RESERVED_SECTORS, divisor;

    fat->cluster_sectors = choose_cluster((uint64_t)fat->sectors * FAT_SECTOR);
    divisor = (256ULL * fat->cluster_sectors + FAT_COUNT) / 2;
    fat->fat_sectors = (uint32_t)((data + divisor - 1) / divisor);
    fat->cluster_count =
        (uint32_t)((data - (uint64_t)FAT_COUNT * fat->fat_sectors) / fat->cluster_sectors);
}

uint32_t fat_cluster_bytes(const struct fat *fat)
{
    return fat->cluster_sectors * FAT_SECTOR;
}

uint64_t fat_cluster_offset(const struct fat *fat, uint32_t cluster)
{
    uint64_t sector = RESERVED_SECTORS + (uint64_t)FAT_COUNT * fat->fat_sectors +
                      (uint64_t)(cluster - 2) * fat->cluster_sectors;

    return fat->offset_bytes + sector * FAT_SECTOR;
}

uint32_t fat_free_clusters(const struct fat *fat)
{
    return fat->cluster_count + 2 - fat->next_cluster;
}

/* --- FATs and boot sectors --------------------------------------------------------------- */

/* Writes the part of both FATs that ends before entry END, FAT_CHUNK entries at most. */
static int put_fats(const struct fat *fat, const uint8_t *entries, uint32_t end, struct error *err)
{
    uint32_t first = (end - 1) / FAT_CHUNK * FAT_CHUNK;
    uint64_t size = (uint64_t)(end - first) * 4;

    for (uint64_t copy = 0; copy < FAT_COUNT; copy++) {
        uint64_t sector = RESERVED_SECTORS + copy * fat->fat_sectors;

        if (fat_put(fat, entries, size,
                    fat->offset_bytes + sector * FAT_SECTOR + (uint64_t)first * 4, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int fat_put_chains(const struct fat *fat, struct error *err)
{
    SCOPED_FREE uint8_t *entries = xcalloc(FAT_CHUNK, 4);
    uint32_t cluster = FAT_ROOT;

    put32(entries, 0x0ffffff8);        /* the media byte */
    put32(entries + 4, FAT_CHAIN_END); /* was cleanly unmounted, without errors */
    for (size_t i = 0; i < fat->run_count; i++) {
        const struct fat_run *run = &fat->runs[i];

        for (uint32_t left = run->count; left > 0; left--, cluster++) {
            if (cluster % FAT_CHUNK == 0 && put_fats(fat, entries, cluster, err) < 0) {
                return -1;
            }
            put32(entries + (size_t)(cluster % FAT_CHUNK) * 4, left > 1 ? cluster + 1 : run->next);
        }
    }
    assert(cluster == fat->next_cluster);
    return put_fats(fat, entries, cluster, err);
}

/* Specification 1.03, "Boot Sector and BPB" and "FAT32 Structure". */
static void fill_boot_sector(const struct fat *fat, uint8_t sector[FAT_SECTOR])
{
    /* jmp to 0x5a; there int 0x18 (the next boot device, please), hlt and jmp to it. */
    static const uint8_t jump[] = {0xeb, 0x58, 0x90}, code[] = {0xcd, 0x18, 0xf4, 0xeb, 0xfd};
    uint64_t hidden = fat->offset_bytes / FAT_SECTOR;

    memcpy(sector, jump, sizeof(jump));
    memcpy(sector + 3, "MSWIN4.1", 8); /* what the specification recommends */
    put16(sector + 11, FAT_SECTOR);
    sector[13] = (uint8_t)fat->cluster_sectors;
    put16(sector + 14, RESERVED_SECTORS);
    sector[16] = FAT_COUNT;
    sector[21] = 0xf8; /* media: fixed */
    put16(sector + 24, 63);
    put16(sector + 26, 255);
    put32(sector + 28, hidden <= UINT32_MAX ? (uint32_t)hidden : 0);
    put32(sector + 32, fat->sectors);
    put32(sector + 36, fat->fat_sectors);
    put32(sector + 44, FAT_ROOT);
    put16(sector + 48, FSINFO_SECTOR);
    put16(sector + 50, BACKUP_SECTOR);
    sector[64] = 0x80; /* a hard disk */
    sector[66] = 0x29; /* the next three fields are there */
    put32(sector + 67, fat->volume_id);
    memcpy(sector + 71, fat->has_label ? (const char *)fat->label : "NO NAME    ", FAT_SHORT_SIZE);
    memcpy(sector + 82, "FAT32   ", 8);
    memcpy(sector + 90, code, sizeof(code));
    put16(sector + 510, 0xaa55);
}

static void fill_fsinfo(const struct fat *fat, uint8_t sector[FAT_SECTOR])
{
    put32(sector, 0x41615252);
    put32(sector + 484, 0x61417272);
    put32(sector + 488, fat_free_clusters(fat));
    put32(sector + 492, fat_free_clusters(fat) != 0 ? fat->next_cluster : UINT32_MAX);
    put32(sector + 508, 0xaa550000);
}

int fat_put_boot_sectors(const struct fat *fat, struct error *err)
{
    uint8_t sectors[2 * FAT_SECTOR] = {0};

    fill_boot_sector(fat, sectors);
    fill_fsinfo(fat, sectors + FAT_SECTOR);
    if (fat_put(fat, sectors, sizeof(sectors), fat->offset_bytes, err) < 0) {
        return -1;
    }
    return fat_put(fat, sectors, sizeof(sectors), fat->offset_bytes + BACKUP_SECTOR * FAT_SECTOR,
                   err);
}
