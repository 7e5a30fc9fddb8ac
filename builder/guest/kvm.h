/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether KVM can be used here: the device is asked, and what a launch found out about a KVM that
 * is there and does not work is remembered in $XDG_CACHE_HOME/kiln/kvm until the next boot, kernel
 * or qemu. Used by guest.c and doctor.c only.
 */
#ifndef GUEST_KVM_H
#define GUEST_KVM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"

#define KVM_DEVICE "/dev/kvm"
#define KVM_LIMIT_DEFAULT_S 60
#define KVM_LIMIT_MAX_S 3600

/* NULL when DEVICE gives out virtual machines, else one line why not; the caller owns it. */
char *kvm_obstacle(const char *device);

/* What must be unchanged for a remembered failure to count. */
struct kvm_host {
    char *kernel; /* uname -r */
    char *boot;   /* boot id: new at each boot */
    char *qemu;   /* path, size and modification time of the program */
};

/* Reads them; what cannot be read is "unknown", and equal to itself. */
void kvm_host_read(struct kvm_host *host, const char *qemu);
void kvm_host_done(struct kvm_host *host);

/* The file, or NULL when there is neither $XDG_CACHE_HOME nor $HOME; the caller owns it. */
char *kvm_memory_path(void);

/* The remembered cause when the file is whole and about this HOST, else NULL; caller owns it. */
char *kvm_recall(const char *path, const struct kvm_host *host);

/* Replaces the file at once; makes its directory. Only the first line of CAUSE is kept. */
int kvm_remember(const char *path, const struct kvm_host *host, const char *cause,
                 struct error *err);

/*
 * How long KVM may take, in seconds: TEXT ($KILN_KVM_LIMIT) when not NULL or empty, else ASKED,
 * else the default.
 */
int kvm_limit(const char *text, unsigned asked, unsigned *ret_seconds, struct error *err);

#endif
