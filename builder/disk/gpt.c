/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/gpt.h"

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "base/file.h"

enum {
    ENTRY_COUNT = 128,
    ENTRY_SIZE = 128,
    ENTRIES_SIZE = ENTRY_COUNT * ENTRY_SIZE,
    ENTRIES_SECTORS = ENTRIES_SIZE / SECTOR_SIZE,
    HEADER_SIZE = 92,
    NAME_UNITS = 36,
    BOOT_CODE_SIZE = 440,
    FIRST_USABLE = 2 + ENTRIES_SECTORS, /* sgdisk warns of any gap; fdisk would say 2048 */
};

/* UEFI 2.10, table 5.1: the part of the MBR after the boot code. */
struct mbr_tail {
    uint8_t disk_signature[4];
    uint8_t unknown[2];
    struct {
        uint8_t boot_indicator;
        uint8_t starting_chs[3];
        uint8_t os_type;
        uint8_t ending_chs[3];
        uint32_t starting_lba;
        uint32_t size_in_lba;
    } __attribute__((packed)) records[4];
    uint8_t signature[2];
} __attribute__((packed));

_Static_assert(sizeof(struct mbr_tail) == SECTOR_SIZE - BOOT_CODE_SIZE, "table 5.1");

/* UEFI 2.10, table 5.5. */
struct header {
    char signature[8];
    uint32_t revision, header_size, header_crc32, reserved;
    uint64_t my_lba, alternate_lba, first_usable_lba, last_usable_lba;
    uint8_t disk_guid[16];
    uint64_t entries_lba;
    uint32_t entry_count, entry_size, entries_crc32;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == HEADER_SIZE, "table 5.5");

/* UEFI 2.10, table 5.6. */
struct entry {
    uint8_t type_guid[16], unique_guid[16];
    uint64_t starting_lba, ending_lba, attributes;
    uint16_t name[NAME_UNITS];
} __attribute__((packed));

_Static_assert(sizeof(struct entry) == ENTRY_SIZE, "table 5.6");

/* CRC-32 of IEEE 802.3; 17 KiB per disk are not worth a table. */
static uint32_t crc32(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

static int write_mbr(int fd, uint64_t sectors, const char *name, struct error *err)
{
    uint64_t size = sectors - 1 < UINT32_MAX ? sectors - 1 : UINT32_MAX;
    const struct mbr_tail mbr = {
        .records[0] = {.starting_chs = {0x00, 0x02, 0x00},
                       .os_type = 0xee,
                       .ending_chs = {0xff, 0xff, 0xff},
                       .starting_lba = htole32(1),
                       .size_in_lba = htole32((uint32_t)size)},
        .signature = {0x55, 0xaa},
    };

    return file_pwrite(fd, &mbr, sizeof(mbr), BOOT_CODE_SIZE, name, err);
}

static void fill_entry(struct entry *entry, const struct plan_partition *partition)
{
    const char *name = partition->spec->name;
    uint64_t first = partition->offset_bytes / SECTOR_SIZE;

    assert(strlen(name) <= NAME_UNITS);
    plan_gpt_guid(&partition->type, entry->type_guid);
    plan_gpt_guid(&partition->uuid, entry->unique_guid);
    entry->starting_lba = htole64(first);
    entry->ending_lba = htole64(first + partition->size_bytes / SECTOR_SIZE - 1);
    for (size_t i = 0; name[i] != '\0'; i++) {
        entry->name[i] = htole16((uint8_t)name[i]); /* ASCII, by the profile's grammar */
    }
}

static int write_header(int fd, const struct plan *plan, uint64_t lba, uint64_t other,
                        uint64_t entries_lba, uint32_t entries_crc32, const char *name,
                        struct error *err)
{
    uint64_t sectors = plan->size_bytes / SECTOR_SIZE;
    struct {
        struct header header;
        uint8_t zeros[SECTOR_SIZE - HEADER_SIZE];
    } __attribute__((packed)) sector = {
        .header =
            {
                .signature = {'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'},
                .revision = htole32(0x00010000),
                .header_size = htole32(HEADER_SIZE),
                .my_lba = htole64(lba),
                .alternate_lba = htole64(other),
                .first_usable_lba = htole64(FIRST_USABLE),
                .last_usable_lba = htole64(sectors - ENTRIES_SECTORS - 2),
                .entries_lba = htole64(entries_lba),
                .entry_count = htole32(ENTRY_COUNT),
                .entry_size = htole32(ENTRY_SIZE),
                .entries_crc32 = htole32(entries_crc32),
            },
    };

    plan_gpt_guid(&plan->disk_uuid, sector.header.disk_guid);
    sector.header.header_crc32 = htole32(crc32(&sector.header, HEADER_SIZE));
    return file_pwrite(fd, &sector, sizeof(sector), lba * SECTOR_SIZE, name, err);
}

int gpt_write(int fd, const struct plan *plan, const char *name, struct error *err)
{
    SCOPED_FREE struct entry *entries = xcalloc(ENTRY_COUNT, sizeof(*entries));
    uint64_t last = plan->size_bytes / SECTOR_SIZE - 1;
    uint64_t backup = last - ENTRIES_SECTORS;
    uint32_t crc;

    assert(plan->partition_count <= ENTRY_COUNT && plan->size_bytes % SECTOR_SIZE == 0);
    for (size_t i = 0; i < plan->partition_count; i++) {
        fill_entry(&entries[i], &plan->partitions[i]);
    }
    crc = crc32(entries, ENTRIES_SIZE);
    if (write_mbr(fd, last + 1, name, err) < 0 ||
        write_header(fd, plan, 1, last, 2, crc, name, err) < 0 ||
        file_pwrite(fd, entries, ENTRIES_SIZE, 2ULL * SECTOR_SIZE, name, err) < 0 ||
        file_pwrite(fd, entries, ENTRIES_SIZE, backup * SECTOR_SIZE, name, err) < 0) {
        return -1;
    }
    return write_header(fd, plan, last, 1, backup, crc, name, err);
}
