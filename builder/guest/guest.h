/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The libguestfs appliance: launched with KVM where that works and by emulation where it does not,
 * within a time limit, and never left behind.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <guestfs.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/fail.h"
#include "base/scope.h"

struct guest_drive {
    const char *path;
    const char *format; /* "raw", "qcow2" */
    const char *label;  /* letters only; /dev/disk/guestfs/LABEL inside. Names like sda are not
                           stable there */
    bool read_only;
};

struct guest_options {
    const struct guest_drive *drives;
    size_t drive_count;
    const char *temporary; /* existing directory for the appliance's files; removed by the caller */
    unsigned kvm_limit_s;  /* 0: 60 */
    /* One line for the user ("KVM does not work here …"); may be NULL. Any thread may call it. */
    void (*note)(void *data, const char *text);
    void *note_data;
};

struct guest;

/*
 * Launches. KVM first unless it is known not to work here (remembered in kiln's cache directory
 * until the next boot or kernel) or LIBGUESTFS_* says otherwise; one fall-back to emulation. Blocks
 * for seconds; may run in a thread of its own. Failure is FAIL_MISSING with the real cause.
 */
int guest_launch(const struct guest_options *options, struct guest **ret, struct error *err);

/* The handle, borrowed. Its error handler is off: use guest_fail. */
guestfs_h *guest_handle(struct guest *guest);

/* "kvm" or "tcg". */
const char *guest_accelerator(const struct guest *guest);

/* The last libguestfs error as ours: "DOING: what libguestfs says". Interrupted says so instead. */
int guest_fail(struct guest *guest, struct error *err, const char *doing);

/* Unmounts everything, shuts the appliance down and checks that all of it worked. */
int guest_shutdown(struct guest *guest, struct error *err);

/* Kills what still runs and frees; NULL is fine. */
void guest_close(struct guest *guest);
SCOPE_DEFINE(guest, guest_close)

/* Removes what killed builds left in the shared temporary directory. */
void guest_sweep(void);

#endif
