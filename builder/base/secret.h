/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords, keys and tokens: memory that is overwritten before it is given back, and no core dump
 * of a process that has some.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stddef.h>

#include "base/buf.h"

/* Overwrites SIZE bytes in a way that no compiler leaves out. */
void secret_wipe(void *data, size_t size);

/* Overwrites and frees a string; NULL is fine. */
void secret_free(char *text);

/* The cleaner for SCOPED(secret_freep). */
static inline void secret_freep(char **text)
{
    secret_free(*text);
}

/* As buf_add, overwriting where BUF was when it has to move. */
void secret_add(struct buf *buf, const void *data, size_t size);

/* As buf_done, overwriting all that BUF has room for; also the cleaner for SCOPED(secret_done). */
void secret_done(struct buf *buf);

/*
 * From now on no core of this process and its children is written, neither as a file nor into a
 * pipe (core(5): a limit of 1 byte stops both; 0 would only stop the file).
 */
void secret_no_core(void);

#endif
