/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files credentials*.c know of each other: a source is one place that keys come from, and
 * how they are got from there, the first time and whenever they are renewed.
 */
#ifndef AWS_SOURCE_H
#define AWS_SOURCE_H

#include "aws/credentials.h"
#include "base/buf.h"

/* What every source may need; borrowed. */
struct finder {
    const struct aws_config *config;
    struct http *http;
    const char *region;                  /* where roles are assumed */
    struct aws_credentials *credentials; /* those that are found: they know the time of AWS */
};

struct source {
    char *name; /* for people: "profile 'ci'" */
    int (*get)(const struct finder *finder, const struct source *source, struct aws_keys *ret,
               struct error *err);
    struct aws_keys keys; /* that never change */
};

void source_free(struct source *source);
SCOPE_DEFINE(source, source_free)

/*
 * Each looks in one place: 1 and a source when there is one, 0 when there is none (and LOOKED, a
 * list for people, says where that was), -1 when there is something that cannot be used.
 */
int source_environment(const struct finder *finder, struct buf *looked, struct source **ret,
                       struct error *err);
int source_profile(const struct finder *finder, struct buf *looked, struct source **ret,
                   struct error *err);

/* Keys as the three words have them, copies; TOKEN may be NULL. NAME is swallowed. */
struct source *source_fixed(char *name, const char *access, const char *secret, const char *token);

/* Adds an item to LOOKED. */
void source_looked(struct buf *looked, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
