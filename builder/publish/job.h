/* SPDX-License-Identifier: Apache-2.0 */
/* One target of a run: its publication, and what the engine keeps beside it. */
#ifndef PUBLISH_JOB_H
#define PUBLISH_JOB_H

#include "publish/board.h"
#include "publish/cloud.h"

/* What the engine writes into the journal of an attempt, beside the cloud. */
#define PHASE_KEY "phase." /* and the phase's name: it is done */
#define PHASE_DONE_VALUE "done"
#define PARENT_KEY "parent" /* a digest of the one it is made from, or: */
#define PARENT_NONE "none"
#define RESULT_KEY "result" /* of the phases so far */

struct job {
    struct publication pub;
    const struct cloud *cloud;
    void *state; /* the cloud's; NULL: not begun */
    struct identity identity;
    struct share share;

    const char *parent_bundle; /* --parent, or NULL */
    bool full;                 /* no parent at all */
    bool parent_known;         /* whether there is one was found out */
    struct parent *parent;     /* what pub.parent points to */
    json_t *head;              /* of the journal */
    struct targets target;     /* of an abort: the target as the journal knows it, */
    struct reader then;        /* and the bundle */

    bool nothing;     /* nothing was to be done */
    bool failed;      /* then ERR says why */
    struct error err; /* "target 'prod-aws': …" */
};

/* JOB is zeroed. TABLE has the clouds by their kind. All is borrowed. */
int job_init(struct job *job, const struct reader *bundle, const struct target *target,
             const struct cloud *const *table, struct error *err);
void job_done(struct job *job);

/* Finds out who would act where. */
int job_begin(struct job *job, struct error *err);

/* Publishes what job_begin began, or finds that it is (job->nothing). */
int job_publish(struct job *job, struct error *err);

/*
 * The target of the publish that a journal with HEAD is of, as it was then: the bundle may have
 * another one of that name by now, or none. RET, zeroed, gets only this one.
 */
int job_read_target(const json_t *head, struct targets *ret, struct error *err);

/* Makes it that publish, to abort it: the bundle may have another disk by now. Takes TARGET. */
int job_take_head(struct job *job, const json_t *head, struct targets *target, struct error *err);

/* Removes what that publish left; job->nothing: it is published after all. */
int job_abort(struct job *job, struct error *err);

/* Finds the parent as far as that can be told without the cloud: for a dry run. */
int job_guess_parent(struct job *job, struct error *err);

#endif
