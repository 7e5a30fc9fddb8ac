/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole reads, whole writes, data extents of sparse files, trees to remove. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/hash.h"

/* Reads all of PATH, at most LIMIT bytes (more is an error), into RET, which must be empty. */
int file_read(const char *path, size_t limit, struct buf *ret, struct error *err);

/*
 * Opens PATH for reading, which must be a regular file and no symlink: what somebody else put there
 * may not lead elsewhere, nor keep us waiting.
 */
int file_open_regular(const char *path, int *ret_fd, uint64_t *ret_size_bytes, struct error *err);

/* As file_read, of such a file. */
int file_read_regular(const char *path, size_t limit, struct buf *ret, struct error *err);

/* Writes SIZE bytes to PATH (mode 0666 less umask), replacing it; not atomic, for new directories.
 */
int file_write(const char *path, const void *data, size_t size, struct error *err);

/*
 * Writes SIZE bytes to PATH (mode 0666 less umask) whole or not at all, and has waited for the disk
 * when it returns 0. What was PATH before is replaced, not written to.
 */
int file_replace(const char *path, const void *data, size_t size, struct error *err);

/* Waits until the names in the directory PATH are on the disk. */
int file_sync_directory(const char *path, struct error *err);

/* Whole transfers at an offset, repeated over short counts; NAME is for the message. */
int file_pwrite(int fd, const void *data, size_t size, uint64_t offset, const char *name,
                struct error *err);
int file_pread(int fd, void *data, size_t size, uint64_t offset, const char *name,
               struct error *err);

/* The SHA-256 of all that FD (called NAME in messages) has; may be interrupted. */
int file_hash(int fd, const char *name, uint8_t ret[HASH_SIZE], struct error *err);

/* Writes to a pipe, socket or file at its position, repeated over short counts. */
int file_write_all(int fd, const void *data, size_t size, const char *name, struct error *err);

/*
 * The next run of data in a sparse file at or after OFFSET: 1 and the run, 0 when only a hole is
 * left, -1 on error. Where the file system knows no holes the rest of the file is one run.
 */
int file_next_data(int fd, uint64_t offset, uint64_t *ret_offset, uint64_t *ret_size,
                   const char *name, struct error *err);

/* True when PATH exists (a dangling symlink does). */
bool file_exists(const char *path);

/* Creates PATH and missing parents, mode 0777 less umask; existing directories are fine. */
int file_make_dirs(const char *path, struct error *err);

/* Removes PATH and everything below it, not following symlinks; a missing PATH is fine. */
int file_remove_tree(const char *path, struct error *err);

/* PATH joined to DIR unless it is absolute. */
char *file_join(const char *dir, const char *path);

/* PATH as it is written in FILE, relative to its directory, but usable from the current one. */
char *file_beside(const char *file, const char *path);

/* Everything of PATH before its last component: "." for a bare name. */
char *file_dir(const char *path);

/*
 * The user's directory that VARIABLE ("XDG_CACHE_HOME") names, else BELOW_HOME (".cache") in $HOME;
 * NULL when there is neither. As the XDG base directory specification wants it, a relative path is
 * ignored. A new string.
 */
char *file_user_dir(const char *variable, const char *below_home);

#endif
