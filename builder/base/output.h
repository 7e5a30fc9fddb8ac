/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that appears whole or not at all: nameless while it is written, so that nothing is left
 * however its writer is killed, or, where the file system cannot do that, called
 * "NAME.partial-PID".
 *
 *     SCOPED(output_done) struct output output = {0};
 *     if (output_open(&output, path, err) < 0 || … output.fd … || output_commit(&output, err) < 0)
 */
#ifndef BASE_OUTPUT_H
#define BASE_OUTPUT_H

#include "base/fail.h"

struct output {
    const char *path; /* borrowed; NULL: none is open */
    char *partial;    /* the name of the unfinished file, NULL while it has none */
    int fd;
};

/* Starts the file that is to be PATH, mode 0666 less umask. */
int output_open(struct output *output, const char *path, struct error *err);

/* Makes it PATH, replacing what is there. */
int output_commit(struct output *output, struct error *err);

/* Drops what was not committed; also the cleaner for SCOPED(output_done). */
void output_done(struct output *output);

#endif
