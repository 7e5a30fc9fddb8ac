/* SPDX-License-Identifier: Apache-2.0 */
/* What an OpenStack service says went wrong. */
#ifndef OPENSTACK_MESSAGE_H
#define OPENSTACK_MESSAGE_H

#include "http/http.h"

/*
 * The sentence in a reply that is an error, on one line and without the HTML that Glance makes of
 * it; what the status means when there is none, or when it repeats SECRET (a password, a token;
 * NULL: none was sent). A new string.
 */
char *openstack_message(const struct http_reply *reply, const char *secret);

#endif
