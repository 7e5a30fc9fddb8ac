/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a launch failed. libguestfs's last error is the same sentence for everything; the cause is in
 * an earlier one or in what qemu and supermin wrote, between the appliance's own chatter.
 */
#ifndef GUEST_CAUSE_H
#define GUEST_CAUSE_H

#include <stdbool.h>

struct cause {
    const char *errors;  /* every libguestfs error, in order, each ended by a newline */
    const char *console; /* the end of what came out of supermin, qemu and the appliance */
    unsigned late_s;     /* not 0: it was killed because it was not up after so many seconds */
    bool qemu_ran;       /* the virtual machine's program was seen running */
};

/* One line, without a final full stop; the caller owns it. */
char *cause_line(const struct cause *cause);

/* True when the same launch without KVM may work; a missing file or program is the same there. */
bool cause_may_be_kvm(const struct cause *cause);

/* What the user can do about LINE (of cause_line), for a hint; the caller owns it. */
char *cause_advice(const char *line);

/* libguestfs's MESSAGE as one line: its prefixes and a final full stop gone; caller owns it. */
char *cause_trim(const char *message);

#endif
