/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/environment.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const common[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "USER=root",
    "LOGNAME=root",
    "SHELL=/bin/sh",
    "LANG=C.UTF-8",
    "TZ=UTC",
    "DEBIAN_FRONTEND=noninteractive",
};

void environment_make(struct environment *environment, uint64_t epoch_s, bool interactive)
{
    size_t next = sizeof(common) / sizeof(*common);

    memcpy(environment->words, common, sizeof(common));
    (void)snprintf(environment->epoch, sizeof(environment->epoch), "SOURCE_DATE_EPOCH=%" PRIu64,
                   epoch_s);
    environment->words[next++] = environment->epoch;
    environment->words[next++] = interactive ? "TERM=xterm" : "TERM=dumb";
    if (interactive) {
        environment->words[next++] = "PS1=step# ";
    }
    environment->words[next] = NULL;
}
