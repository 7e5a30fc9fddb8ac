/* SPDX-License-Identifier: Apache-2.0 */
/* Small files whole, and paths of the image, which is foreign. */
#ifndef RUNNER_FILE_H
#define RUNNER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

/* Reads at most SIZE - 1 bytes of PATH and ends them with a NUL; -1 with errno. */
ssize_t file_read(const char *path, char *buffer, size_t size);

/* Writes TEXT to PATH, which exists; -1 with errno. */
int file_write(const char *path, const char *text);

/* Writes all SIZE bytes; -1 with errno. */
int file_write_all(int fd, const void *data, size_t size);

/* The last change of the directory FD, to be given back once the runner has changed it. */
struct timespec file_changed(int fd);
void file_set_changed(int fd, struct timespec changed);

/* Opens PATH as a process with ROOT as its root would: no symbolic link leads out of ROOT.
 * Returns a descriptor, or -1 with errno. */
int file_open_inside(int root, const char *path, int flags);

/* Is there an executable file at PATH inside ROOT? */
bool file_is_program(int root, const char *path);

#endif
