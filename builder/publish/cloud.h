/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cloud is to the engine (publish.c): a row of functions, at the end of publish_NAME.c. And
 * what the engine is to a cloud: the publication, one image on its way to one target.
 *
 * Every phase looks first and acts then, so that running it again after a crash is harmless, and
 * journals what it made before it goes on. Ids that the server lets us choose, idempotency tokens
 * and tags come from publication_token, so that a reply that was lost costs nothing.
 *
 * A journal comes with its bundle and may be anybody's: what it names is used, or removed, only
 * after the cloud said that it is the user's own and carries the publish id.
 *
 * Keys of the engine's own in the journal: parent, result, published, aborted, and phase.NAME.
 *
 * The result's "image" is what the line on stdout shows. The engine keeps the result in the journal
 * with each phase and has it again when the next run leaves that phase out.
 */
#ifndef PUBLISH_CLOUD_H
#define PUBLISH_CLOUD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/hash.h"
#include "bundle/reader.h"
#include "http/http.h"
#include "profile/target.h"
#include "publish/journal.h"
#include "publish/parent.h"

struct publication {
    const struct reader *bundle;
    const struct target *target;
    struct rate *rate;           /* for http_new; may be NULL */
    unsigned give_up_s;          /* for http_new */
    struct journal *journal;     /* not before find */
    const struct parent *parent; /* the last image of this target; NULL: everything is sent */
    char id[HASH_HEX_MAX];       /* the publish id, not before find */
    json_t *result;              /* what --json shows of it: ids of what was made; no secrets */
    struct job *job;             /* the engine's own */
};

/* A line about this target: a note (always shown), or a detail (-v). Escaped where it is shown. */
void publication_note(struct publication *pub, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void publication_detail(struct publication *pub, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Progress: how many bytes will be sent in all, and that some more were (or, negative, were lost).
 * Any thread. publication_sent has the type of http_options.sent, DATA being the publication. */
void publication_expect(struct publication *pub, uint64_t bytes);
void publication_sent(void *pub, int64_t bytes);

/* The http of a target: http_new with the publication's rate, budget, progress and details. */
int publication_http(struct publication *pub, const char *ca_file, struct http **ret,
                     struct error *err);

/*
 * Waits between two looks at what takes its time: *MS is 0 at first, and grows to ten seconds. -1
 * when interrupted.
 */
int publication_pause(unsigned *ms, struct error *err);

/* An idempotency token of 64 hex digits: of publish id, attempt and WHAT. Returns OUT. */
const char *publication_token(const struct publication *pub, const char *what,
                              char out[HASH_HEX_MAX]);

/*
 * The parent is of no use (WHY: it is gone, or not the disk it should be): says so; pub->parent is
 * NULL from then on, also when this attempt is resumed. Before anything was made from it.
 */
int publication_forget_parent(struct publication *pub, const char *why, struct error *err);

/* The image's name: the target's own, else NAME-VERSION. A new string. */
char *publication_image_name(const struct publication *pub, const char *own);

/* What a dry run says: METHOD and URL of a call, how often, and the bytes of all these together. */
struct call_plan {
    void (*call)(void *data, const char *method, const char *url, uint64_t count, uint64_t bytes);
    void *data;
};

enum { PHASE_DONE = 0, PHASE_AGAIN = 1 };

struct phase {
    const char *name; /* "upload"; NULL ends the table */
    /*
     * PHASE_DONE; -1; or PHASE_AGAIN when what an earlier phase of this attempt left is gone or
     * spoilt (ERR says how, and is emptied by the engine): the engine begins the next attempt.
     */
    int (*run)(struct publication *pub, void *state, struct error *err);
    bool ends_parent; /* once it is done, the attempt no longer depends on pub->parent */
};

/* Who would be acting where: shown before anything is sent, and a part of the publish id. */
struct identity {
    char *account; /* "123456789012", "project demo of domain Default", "-" */
    char *host;    /* "https://ec2.eu-west-1.amazonaws.com", or the path of a catalog */
    char *who;   /* "arn:aws:iam::…:user/ci, from profile 'ci' of ~/.aws/config"; NULL: nobody */
    char *scope; /* what makes it another publish: "aws/123456789012/eu-west-1" */
};

struct cloud {
    enum cloud_kind kind;
    size_t state_bytes; /* of the cloud's own struct, zeroed before begin */
    bool takes_parent;  /* can send changed blocks only */

    /* Without network or credentials: the calls that a publish would make. */
    int (*plan)(struct publication *pub, const struct call_plan *plan, struct error *err);
    /* Finds credentials and who they belong to. Nothing is made or changed. */
    int (*begin)(struct publication *pub, void *state, struct identity *ret, struct error *err);
    /* Is it there already, finished, under its publish id? Then fills pub->result. Also called
     * before an abort: what is in the way of publishing it is no error here. */
    int (*find)(struct publication *pub, void *state, bool *ret, struct error *err);
    const struct phase *phases; /* in their order */
    /* Removes what the journal says an unfinished publish left. */
    int (*abort)(struct publication *pub, void *state, struct error *err);
    void (*end)(void *state); /* releases what begin got; also after it failed */
};

extern const struct cloud *const clouds[CLOUDS]; /* by enum cloud_kind */
extern const struct cloud cloud_aws, cloud_openstack, cloud_directory;

#endif
