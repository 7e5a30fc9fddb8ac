/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt to launch, with a time limit, that leaves no process behind even when kiln is killed.
 *
 * guestfs_launch cannot be cancelled and does not say which process is its qemu. So it runs in a
 * thread of its own: the children of that thread are exactly the programs of this launch and can be
 * killed from outside. The thread stays for as long as the appliance does, because every program it
 * starts asks the kernel to be killed when that thread is gone (PR_SET_PDEATHSIG).
 */
#ifndef GUEST_LAUNCH_H
#define GUEST_LAUNCH_H

#include <guestfs.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/scope.h"
#include "guest/guest.h"

struct launch_request {
    const struct guest_options *options;
    bool direct;      /* choose the backend that starts qemu itself */
    bool emulate;     /* no KVM */
    unsigned limit_s; /* from the moment qemu runs: building the appliance has its own time */
};

/* What there is to say about an attempt that failed; see struct cause. */
struct launch_report {
    struct buf errors;
    struct buf console;
    unsigned late_s;
    bool qemu_ran;
    bool full; /* ended because the host's disk was nearly full */
};

void launch_report_done(struct launch_report *report);

struct launch;

/* NULL when it failed, was too late or was stopped. REPORT must be empty. */
struct launch *launch_start(const struct launch_request *request, struct launch_report *report);

guestfs_h *launch_handle(const struct launch *launch);

/* True once the appliance was ended because the host's disk was nearly full. */
bool launch_is_full(struct launch *launch);

/* Ends whatever still runs, closes the handle and frees; NULL is fine. */
void launch_free(struct launch *launch);
SCOPE_DEFINE(launch, launch_free)

/*
 * The programs that thread TID of this process started and that still run, at most MAX. Children
 * that still run kiln itself are left out: libguestfs's recovery process is one.
 */
size_t launch_programs(pid_t tid, pid_t *ret_pids, size_t max);

/* SIGKILL for PID, and for its process group when it leads one. */
void launch_kill(pid_t pid);

#endif
