/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

/* What is left of it in a process without any other file, and without a name to open. */
struct part {
    int fd;
    uint64_t offset, size;
};

char *channel_name(int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
    return xprintf("%d+%llu+%llu", fd, (unsigned long long)offset_bytes,
                   (unsigned long long)size_bytes);
}

static bool parse_name(const char *name, struct part *ret)
{
    char *end;

    ret->fd = (int)strtoul(name, &end, 10);
    if (end == name || *end != '+') {
        return false;
    }
    ret->offset = strtoull(end + 1, &end, 10);
    if (*end != '+') {
        return false;
    }
    ret->size = strtoull(end + 1, &end, 10);
    return *end == '\0';
}

static errcode_t channel_open(const char *name, int flags, io_channel *ret)
{
    struct struct_io_channel *channel;
    struct part part;

    if ((flags & IO_FLAG_RW) != 0 || !parse_name(name, &part)) {
        return EXT2_ET_BAD_DEVICE_NAME;
    }
    channel = xcalloc(1, sizeof(*channel));
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = &channel_manager;
    channel->name = xstrdup(name);
    channel->block_size = 1024; /* until the superblock says more */
    channel->refcount = 1;
    channel->private_data = xmemdup(&part, sizeof(part));
    *ret = channel;
    return 0;
}

static errcode_t channel_close(io_channel channel)
{
    if (--channel->refcount == 0) {
        free(channel->private_data);
        free(channel->name);
        free(channel);
    }
    return 0;
}

static errcode_t set_block_size(io_channel channel, int size)
{
    channel->block_size = size;
    return 0;
}

static errcode_t read_all(int fd, char *at, size_t size, uint64_t offset)
{
    while (size != 0) {
        ssize_t got = pread(fd, at, size, (off_t)offset);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : EXT2_ET_SHORT_READ;
        }
        at += got;
        size -= (size_t)got;
        offset += (size_t)got;
    }
    return 0;
}

/* COUNT is of blocks or, below zero, of bytes. */
static errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void *data)
{
    const struct part *part = channel->private_data;
    uint64_t block_size = (uint64_t)channel->block_size, at, end;
    uint64_t size = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * block_size;

    if (__builtin_mul_overflow(block, block_size, &at) || __builtin_add_overflow(at, size, &end) ||
        end > part->size) {
        return EXT2_ET_SHORT_READ;
    }
    return read_all(part->fd, data, (size_t)size, part->offset + at);
}

static errcode_t read_old(io_channel channel, unsigned long block, int count, void *data)
{
    return read_blocks(channel, block, count, data);
}

static errcode_t write_blocks(io_channel channel, unsigned long long block, int count,
                              const void *data)
{
    (void)channel;
    (void)block;
    (void)count;
    (void)data;
    return EXT2_ET_RO_FILSYS;
}

static errcode_t write_old(io_channel channel, unsigned long block, int count, const void *data)
{
    return write_blocks(channel, block, count, data);
}

static errcode_t flush(io_channel channel)
{
    (void)channel;
    return 0;
}

struct struct_io_manager channel_manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "part of a file",
    .open = channel_open,
    .close = channel_close,
    .set_blksize = set_block_size,
    .read_blk = read_old,
    .write_blk = write_old,
    .flush = flush,
    .read_blk64 = read_blocks,
    .write_blk64 = write_blocks,
};
