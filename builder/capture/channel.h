/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How libext2fs sees a part of a file: it reads there, by pread, and nothing else. Whatever lies
 * outside the part is an error, and so is every attempt to write.
 */
#ifndef CAPTURE_CHANNEL_H
#define CAPTURE_CHANNEL_H

#include <stdint.h>

#include <ext2fs/ext2fs.h>

/* For ext2fs_open2, with a name by channel_name. */
extern struct struct_io_manager channel_manager;

/* The name of SIZE_BYTES of FD (borrowed) from OFFSET_BYTES on; a new string. */
char *channel_name(int fd, uint64_t offset_bytes, uint64_t size_bytes);

#endif
