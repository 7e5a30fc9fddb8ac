/* SPDX-License-Identifier: Apache-2.0 */
/* What libguestfs and supermin leave in shared directories when their process is killed. */
#ifndef GUEST_SWEEP_H
#define GUEST_SWEEP_H

#include <stdbool.h>
#include <time.h>

/*
 * Removes from DIR the directories libguestfsXXXXXX of this user that hold nothing but sockets
 * nobody has open and are older than some seconds. Empty ones may be a living libguestfs's: they go
 * when this process is ALONE, else after an hour, when no libguestfs of DIR has a socket. SOCKETS
 * is the text of /proc/net/unix.
 */
void sweep_sockets(const char *dir, const char *sockets, bool alone, time_t now);

/* True when it is certain that no other process of this machine is using libguestfs. */
bool sweep_is_alone(void);

/*
 * Removes unfinished appliances (appliance.d.XXXXXXXX) from CACHE, libguestfs's directory of this
 * user, unless somebody is building one right now.
 */
void sweep_appliances(const char *cache);

/*
 * Removes supermin's own scratch directories of this user from DIR that are at least AGE_S old; an
 * hour where a supermin of this user is running.
 */
void sweep_scratch(const char *dir, time_t now, time_t age_s);

#endif
