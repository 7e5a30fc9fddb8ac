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

/* Strings are the source's own; each kind has what it needs, the others NULL. */
struct source {
    char *name; /* for people: "profile 'ci'" */
    int (*get)(const struct finder *finder, const struct source *source, struct aws_keys *ret,
               struct error *err);
    struct aws_keys keys; /* those that never change */
    struct source *below; /* a role: whose keys assume it */
    char *role_arn, *session_name, *external_id, *duration_s;
    char *token_file; /* read anew each time */
    char **argv;      /* a program's, NULL-terminated */
    char *url;        /* of a container's keys, or where the metadata service is */
};

void source_free(struct source *source);
SCOPE_DEFINE(source, source_free)

/*
 * Each looks in one place: 1 and a source when there is one, 0 when there is none (and LOOKED, a
 * list for people, says where that was), -1 when there is something that cannot be used.
 */
int source_environment(const struct finder *finder, struct buf *looked, struct source **ret,
                       struct error *err);
int source_web_identity(const struct finder *finder, struct buf *looked, struct source **ret,
                        struct error *err);
int source_profile(const struct finder *finder, struct buf *looked, struct source **ret,
                   struct error *err);
int source_container(const struct finder *finder, struct buf *looked, struct source **ret,
                     struct error *err);
int source_instance(const struct finder *finder, struct buf *looked, struct source **ret,
                    struct error *err);

/* Adds an item to LOOKED. */
void source_looked(struct buf *looked, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Keys that never change, copied; TOKEN may be NULL. NAME is swallowed. */
struct source *source_fixed(char *name, const char *access, const char *secret, const char *token);

/* What COMMAND of PROFILE prints. */
int source_process(const char *profile, const char *command, struct source **ret,
                   struct error *err);

/*
 * The words of a command line: quotes and backslashes as in a shell, nothing else; so do the SDKs.
 * NULL-terminated, for source_words_free; false when a quote or backslash has no end.
 */
bool source_words(const char *text, char ***ret);
void source_words_free(char **words);

/* Where a container's keys are, of the two variables that say so (NULL: not set): a new string. It
 * must be https, or a host that nobody else can be. */
int source_container_url(const char *relative, const char *full, char **ret, struct error *err);

/* The text of a token's file, without white space at its end; to be freed with secret_free. */
int source_token(const char *path, char **ret, struct error *err);

#endif
