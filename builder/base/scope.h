/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleanup attributes: a local is declared with one where it is initialised, and given away with
 * TAKE. Free functions accept NULL, so an early return is always safe.
 */
#ifndef BASE_SCOPE_H
#define BASE_SCOPE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SCOPED(cleaner) __attribute__((cleanup(cleaner)))

static inline void scope_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void scope_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static inline void scope_file(FILE **file)
{
    if (*file != NULL) {
        (void)fclose(*file);
    }
}

static inline void scope_dir(DIR **dir)
{
    if (*dir != NULL) {
        (void)closedir(*dir);
    }
}

#define SCOPED_FREE SCOPED(scope_free)
#define SCOPED_FD SCOPED(scope_fd)
#define SCOPED_FILE SCOPED(scope_file)
#define SCOPED_DIR SCOPED(scope_dir)

/* Hands a pointer or descriptor over and leaves NULL or -1 behind. */
#define TAKE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })
#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })

/* Defines the cleaner NAMEp for a free function NAME(struct TYPE *). */
#define SCOPE_DEFINE(type, name)                                                                   \
    static inline void name##p(struct type **object)                                               \
    {                                                                                              \
        name(*object);                                                                             \
    }

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
