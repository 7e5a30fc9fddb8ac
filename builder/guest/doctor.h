/* SPDX-License-Identifier: Apache-2.0 */
/* What kiln needs on this machine: present, missing or unusable, and what to do about it. */
#ifndef GUEST_DOCTOR_H
#define GUEST_DOCTOR_H

#include <stddef.h>

struct doctor_item {
    const char *what;
    enum {
        DOCTOR_OK,
        DOCTOR_NOTE,    /* slower without it, or needed for some profiles or tests only */
        DOCTOR_MISSING, /* no build without it */
    } state;
    char *detail; /* what was found */
    char *advice; /* what to do, or NULL; may come with DOCTOR_OK */
};

/*
 * Looks at everything; starts no appliance and changes nothing but that it makes the directories of
 * the cache where they are missing. OUTPUT_DIR is where bundles are to go and need not exist yet.
 * Foreign text is not escaped. The caller owns the list: doctor_free.
 */
void doctor_run(const char *output_dir, struct doctor_item **ret, size_t *ret_count);

void doctor_free(struct doctor_item *items, size_t count);

/*
 * The kernel that supermin would put into the appliance, looked for below ROOT ("" for this
 * machine): NULL when there is none. The caller owns it.
 */
char *doctor_kernel(const char *root, const char *machine);

#endif
