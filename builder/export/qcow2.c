/* SPDX-License-Identifier: Apache-2.0 */
#include "export/qcow2.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"

/* "Cluster mapping" and "Host cluster management" of the specification. */
enum {
    CLUSTER_BITS = 16,
    SECTOR = 512,
    L2_ENTRIES = QCOW2_CLUSTER / 8,
    REFCOUNT_ORDER = 4, /* 16 bits each */
    REFCOUNTS_PER_BLOCK = QCOW2_CLUSTER / 2,
    BLOCKS_PER_TABLE_CLUSTER = QCOW2_CLUSTER / 8,
    L1_CLUSTER = 1, /* where the table begins; cluster 0 is the header's */
};

#define COPIED (1ULL << 63) /* the one reference to a table or a cluster that is not compressed */
#define COMPRESSED (1ULL << 62) /* in an L2 entry */
#define SECTORS_SHIFT (62 - (CLUSTER_BITS - 8))
#define SIZE_MAX_BYTES (64ULL << 40) /* as of a profile; the tables would go further */

/* The header of version 3 ("Header"), big-endian. */
struct header {
    uint32_t magic;
    uint32_t version;
    uint64_t backing_file_offset;
    uint32_t backing_file_size;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size;
    uint64_t l1_table_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint32_t refcount_order;
    uint32_t header_length;
    uint8_t compression_type;
    uint8_t padding[7];
};

_Static_assert(sizeof(struct header) == 112, "no padding of the compiler's");

#define INCOMPATIBLE_COMPRESSION (1ULL << 3) /* compression_type is there and not zlib */

static uint64_t divide_up(uint64_t value, uint64_t by)
{
    return value / by + (value % by != 0);
}

/* --- space in the file ----------------------------------------------------------------------- */

/* The offset of a cluster of its own. */
static uint64_t take_cluster(struct qcow2 *image)
{
    uint64_t cluster = image->next_cluster++;

    grow(&image->refcounts, cluster, &image->refcount_space, sizeof(*image->refcounts));
    image->refcounts[cluster] = 1;
    return cluster * QCOW2_CLUSTER;
}

/*
 * The offset of SIZE bytes (less than a cluster) of compressed data, which lie one behind the other
 * without regard to clusters; but they are never in pieces, so something in between leaves a gap. A
 * cluster is referenced once by each piece that touches it: far below 65535 times, as the smallest
 * piece has more than 8 bytes.
 */
static uint64_t take_bytes(struct qcow2 *image, size_t size)
{
    uint64_t at = image->packed_end;
    uint64_t room = (QCOW2_CLUSTER - at % QCOW2_CLUSTER) % QCOW2_CLUSTER;

    if (size <= room) {
        image->refcounts[at / QCOW2_CLUSTER]++;
    } else {
        uint64_t fresh = take_cluster(image);

        if (room != 0 && at + room == fresh) {
            image->refcounts[at / QCOW2_CLUSTER]++;
        } else {
            at = fresh;
        }
    }
    image->packed_end = at + size;
    return at;
}

/* --- clusters of the disk -------------------------------------------------------------------- */

static int write_l2(struct qcow2 *image, struct error *err)
{
    if (image->l2_offset == 0) {
        return 0;
    }
    return file_pwrite(image->fd, image->l2, QCOW2_CLUSTER, image->l2_offset, image->name, err);
}

/* Makes the table of the L1 entry INDEX the one that entries go to. */
static int open_l2(struct qcow2 *image, uint64_t index, struct error *err)
{
    if (image->l2_offset != 0 && image->l2_current == index) {
        return 0;
    }
    if (write_l2(image, err) < 0) {
        return -1;
    }
    memset(image->l2, 0, QCOW2_CLUSTER);
    image->l2_current = index;
    image->l2_offset = take_cluster(image);
    image->l1[index] = image->l2_offset | COPIED;
    return 0;
}

int qcow2_begin(struct qcow2 *image, int fd, const char *name, uint64_t size_bytes,
                enum compression compression, struct error *err)
{
    *image = (struct qcow2){.fd = fd, .name = name, .compression = compression};
    if (size_bytes > SIZE_MAX_BYTES) {
        return fail(err, FAIL_ERROR, "write '%s': a disk of more than 64 TiB", name);
    }
    image->size_bytes = divide_up(size_bytes, SECTOR) * SECTOR;
    image->l1_count = divide_up(image->size_bytes, (uint64_t)QCOW2_CLUSTER * L2_ENTRIES);
    image->l1 = xcalloc(image->l1_count, sizeof(*image->l1));
    image->l2 = xmalloc(QCOW2_CLUSTER);
    while (image->next_cluster < L1_CLUSTER + divide_up(image->l1_count * 8, QCOW2_CLUSTER)) {
        (void)take_cluster(image);
    }
    return 0;
}

int qcow2_put(struct qcow2 *image, uint64_t cluster, const void *data, size_t size,
              struct error *err)
{
    uint64_t at, entry;

    assert(size > 0 && size <= QCOW2_CLUSTER && cluster < image->size_bytes / QCOW2_CLUSTER + 1);
    if (open_l2(image, cluster / L2_ENTRIES, err) < 0) {
        return -1;
    }
    if (size == QCOW2_CLUSTER) {
        at = take_cluster(image);
        entry = COPIED | at;
    } else {
        at = take_bytes(image, size);
        entry = COMPRESSED | ((at + size - 1) / SECTOR - at / SECTOR) << SECTORS_SHIFT | at;
    }
    image->l2[cluster % L2_ENTRIES] = htobe64(entry);
    return file_pwrite(image->fd, data, size, at, image->name, err);
}

/* --- the end --------------------------------------------------------------------------------- */

/* How many blocks of reference counts, and clusters of their table, count themselves as well. */
static void size_refcounts(uint64_t used, uint64_t *ret_blocks, uint64_t *ret_table)
{
    uint64_t blocks = 0, table = 0, total;

    do {
        total = used + blocks + table;
        blocks = divide_up(total, REFCOUNTS_PER_BLOCK);
        table = divide_up(blocks, BLOCKS_PER_TABLE_CLUSTER);
    } while (used + blocks + table != total);
    *ret_blocks = blocks;
    *ret_table = table;
}

/* Block NUMBER, at OFFSET. */
static int write_refcount_block(const struct qcow2 *image, uint64_t number, uint64_t offset,
                                struct error *err)
{
    SCOPED_FREE uint16_t *block = xcalloc(REFCOUNTS_PER_BLOCK, sizeof(*block));
    uint64_t first = number * REFCOUNTS_PER_BLOCK;

    for (uint64_t i = 0; i < REFCOUNTS_PER_BLOCK && first + i < image->next_cluster; i++) {
        block[i] = htobe16(image->refcounts[first + i]);
    }
    return file_pwrite(image->fd, block, QCOW2_CLUSTER, offset, image->name, err);
}

/* The blocks, then the table, behind everything else. */
static int write_refcounts(struct qcow2 *image, struct header *header, struct error *err)
{
    SCOPED_FREE uint64_t *table = NULL;
    uint64_t block_count, table_clusters, at;

    size_refcounts(image->next_cluster, &block_count, &table_clusters);
    table = xcalloc(table_clusters, QCOW2_CLUSTER);
    for (uint64_t i = 0; i < block_count; i++) {
        table[i] = htobe64(take_cluster(image));
    }
    at = image->next_cluster * QCOW2_CLUSTER;
    for (uint64_t i = 0; i < table_clusters; i++) {
        (void)take_cluster(image);
    }
    for (uint64_t i = 0; i < block_count; i++) {
        if (write_refcount_block(image, i, be64toh(table[i]), err) < 0) {
            return -1;
        }
    }
    header->refcount_table_offset = htobe64(at);
    header->refcount_table_clusters = htobe32((uint32_t)table_clusters);
    return file_pwrite(image->fd, table, table_clusters * QCOW2_CLUSTER, at, image->name, err);
}

static int write_l1(const struct qcow2 *image, struct header *header, struct error *err)
{
    SCOPED_FREE uint64_t *table = xcalloc(image->l1_count, sizeof(*table));
    uint64_t at = (uint64_t)L1_CLUSTER * QCOW2_CLUSTER;

    for (size_t i = 0; i < image->l1_count; i++) {
        table[i] = htobe64(image->l1[i]);
    }
    header->l1_size = htobe32((uint32_t)image->l1_count);
    header->l1_table_offset = htobe64(at);
    return file_pwrite(image->fd, table, image->l1_count * sizeof(*table), at, image->name, err);
}

/* Of zlib it says nothing: what came before QEMU 5.1 knows no other, and no longer header. */
static void describe_compression(const struct qcow2 *image, struct header *header)
{
    bool other = image->compression != COMPRESSION_ZLIB;

    header->compression_type = other ? 1 : 0;
    header->incompatible_features = other ? htobe64(INCOMPATIBLE_COMPRESSION) : 0;
    header->header_length =
        htobe32(other ? sizeof(*header) : offsetof(struct header, compression_type));
}

int qcow2_end(struct qcow2 *image, struct error *err)
{
    struct header header = {
        .magic = htobe32(0x514649fb), /* "QFI", 0xfb */
        .version = htobe32(3),
        .cluster_bits = htobe32(CLUSTER_BITS),
        .size = htobe64(image->size_bytes),
        .refcount_order = htobe32(REFCOUNT_ORDER),
    };

    describe_compression(image, &header);
    if (write_l2(image, err) < 0 || write_refcounts(image, &header, err) < 0 ||
        write_l1(image, &header, err) < 0) {
        return -1;
    }
    return file_pwrite(image->fd, &header, sizeof(header), 0, image->name, err);
}

void qcow2_done(struct qcow2 *image)
{
    free(image->refcounts);
    free(image->l1);
    free(image->l2);
    *image = (struct qcow2){.fd = -1};
}
