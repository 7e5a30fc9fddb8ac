/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixed VHD: the disk and behind it one sector that describes it (Microsoft, "Virtual Hard Disk
 * Image Format Specification", "Hard Disk Footer Format"), as Azure takes it.
 */
#include "export/export.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>

#include "base/copy.h"
#include "base/file.h"
#include "base/scope.h"

#define MIB (1U << 20)

enum {
    FEATURES = 2, /* the bit that is always set */
    VERSION = 0x00010000,
    TYPE_FIXED = 2,
    EPOCH = 946684800, /* of its times, in ours: 2000-01-01 00:00 UTC */
};

/* Big-endian. */
struct footer {
    char cookie[8];
    uint32_t features;
    uint32_t version;
    uint64_t data_offset;
    uint32_t time;
    char creator[4];
    uint32_t creator_version;
    char creator_host[4];
    uint64_t original_size;
    uint64_t current_size;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t type;
    uint32_t checksum;
    uint8_t uuid[16];
    uint8_t saved_state;
    uint8_t reserved[427];
};

_Static_assert(sizeof(struct footer) == 512, "no padding of the compiler's");

static uint32_t vhd_time(int64_t epoch)
{
    int64_t time = epoch - EPOCH;

    return time < 0 ? 0 : time > UINT32_MAX ? UINT32_MAX : (uint32_t)time;
}

/* The complement of the sum of all bytes, its own as zero. */
static uint32_t checksum(const struct footer *footer)
{
    const uint8_t *bytes = (const uint8_t *)footer;
    uint32_t sum = 0;

    for (size_t i = 0; i < sizeof(*footer); i++) {
        sum += bytes[i];
    }
    return ~sum;
}

/*
 * Creator and geometry are those of QEMU where it is told to keep the size: readers must then go by
 * the size, which cylinders, heads and sectors can rarely express.
 */
static struct footer make_footer(const struct export_job *job)
{
    uint64_t size = job->clusters->size_bytes;
    char digest[HASH_HEX_MAX];
    struct uuid uuid = uuid_from(hash_hex(job->disk_digest, digest), "vhd");
    struct footer footer = {
        .features = htobe32(FEATURES),
        .version = htobe32(VERSION),
        .data_offset = UINT64_MAX, /* none: fixed */
        .time = htobe32(vhd_time(job->epoch)),
        .creator_version = htobe32(0x00050003),
        .original_size = htobe64(size),
        .current_size = htobe64(size),
        .cylinders = htobe16(65535),
        .heads = 16,
        .sectors = 255,
        .type = htobe32(TYPE_FIXED),
    };

    memcpy(footer.cookie, "conectix", sizeof(footer.cookie));
    memcpy(footer.creator, "qem2", sizeof(footer.creator));
    memcpy(footer.creator_host, "Wi2k", sizeof(footer.creator_host));
    memcpy(footer.uuid, uuid.bytes, sizeof(footer.uuid));
    footer.checksum = htobe32(checksum(&footer));
    return footer;
}

int export_vhd(const struct export_job *job, const char *path, struct error *err)
{
    const struct clusters *disk = job->clusters;
    struct footer footer = make_footer(job);
    SCOPED_FD int fd = -1;

    if (disk->size_bytes % MIB != 0) {
        return fail(err, FAIL_ERROR, "write '%s': the disk is no whole number of MiB", path);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return fail_os(err, "create '%s'", path);
    }
    if (copy_sparse(disk->fd, fd, disk->size_bytes, disk->name, err) < 0) {
        return fail_while(err, "write '%s'", path);
    }
    if (file_pwrite(fd, &footer, sizeof(footer), disk->size_bytes, path, err) < 0) {
        return -1;
    }
    /* Where writing is put off (NFS, quotas) this is the one to tell. */
    return close(TAKE_FD(fd)) == 0 ? 0 : fail_os(err, "write '%s'", path);
}
