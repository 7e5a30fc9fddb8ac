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

/* A line between a program in the appliance and kiln: /dev/virtio-ports/NAME there. */
struct guest_port {
    const char *name; /* letters, digits, '.' and '-' */
    const char *path; /* of a FIFO that is read already; with BOTH the beginning of two: PATH.out,
                         which kiln reads, and PATH.in */
    bool both;
};

struct guest_options {
    const struct guest_drive *drives;
    size_t drive_count;
    const struct guest_port *ports;
    size_t port_count;
    unsigned memory_mib;   /* of the appliance; 0: libguestfs's default */
    const char *temporary; /* existing directory for the appliance's files; removed by the caller.
                              When its file system is nearly full the appliance is ended */
    unsigned kvm_limit_s;  /* 0: 60; $KILN_KVM_LIMIT (1 to 3600 seconds) overrides it. Counted from
                              the start of qemu; KVM that takes longer is given up */
    /* One line for the user ("KVM does not work here …"); may be NULL. Any thread may call it. */
    void (*note)(void *data, const char *text);
    void *note_data;
};

struct guest;

/*
 * Launches. KVM first unless it is known not to work here (remembered in kiln's cache directory
 * until the next boot, kernel or qemu) or LIBGUESTFS_* says otherwise; one fall-back to emulation.
 * Blocks for seconds; may run in a thread of its own, which may end before the guest does. Failure
 * is FAIL_MISSING with the real cause, FAIL_STOPPED when interrupted, FAIL_USAGE for a bad
 * $KILN_KVM_LIMIT.
 *
 * From its success until guest_shutdown or guest_close the guest holds the slot of stop_wake: an
 * interruption kills qemu, and whatever call is blocked in libguestfs fails.
 */
int guest_launch(const struct guest_options *options, struct guest **ret, struct error *err);

/*
 * The handle, borrowed. Its error handler is off: use guest_fail, in the thread of the failed call.
 * libguestfs keeps both the handler and the last error by thread, so each thread asks for the
 * handle here; it waits while another thread is inside a call.
 */
guestfs_h *guest_handle(struct guest *guest);

/* "kvm" or "tcg". */
const char *guest_accelerator(const struct guest *guest);

/*
 * The last libguestfs error as ours: "DOING: what libguestfs says". An interruption, or a host's
 * disk that was full, says so instead.
 */
int guest_fail(struct guest *guest, struct error *err, const char *doing);

/*
 * Ends the appliance at once: a call that is blocked in libguestfs fails. From any thread, but not
 * while another is in guest_shutdown or guest_close.
 */
void guest_kill(struct guest *guest);

/* Unmounts everything, shuts the appliance down and checks that all of it worked. */
int guest_shutdown(struct guest *guest, struct error *err);

/*
 * Kills what still runs and frees; NULL is fine. It also removes what killed builds left in the
 * shared temporary directories.
 */
void guest_close(struct guest *guest);
SCOPE_DEFINE(guest, guest_close)

#endif
