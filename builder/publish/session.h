/* SPDX-License-Identifier: Apache-2.0 */
/* One run over a bundle: its jobs, side by side. */
#ifndef PUBLISH_SESSION_H
#define PUBLISH_SESSION_H

#include "base/scope.h"
#include "http/rate.h"
#include "publish/job.h"
#include "publish/publish.h"

struct session {
    const struct publish_options *options; /* borrowed, as is UI */
    struct ui *ui;
    struct reader *bundle;
    struct targets fallback; /* where a bundle without targets goes: a directory */
    const struct target **targets;
    size_t target_count; /* that were chosen */
    struct rate *rate;
    struct board board;
    struct job **jobs;
    size_t job_count, job_space;
};

/* Opens the bundle and chooses the targets. */
int session_open(const struct publish_options *options, struct ui *ui, struct session **ret,
                 struct error *err);
void session_free(struct session *session);
SCOPE_DEFINE(session, session_free)

/* The chosen target of that name, or NULL. */
const struct target *session_target(const struct session *session, const char *name);

/* One more job; borrowed. NULL on error. */
struct job *session_add(struct session *session, const struct target *target, struct error *err);

/*
 * WORK for every job that has not failed, several at a time, and SHOW (may be NULL) as each ends
 * well. Those that fail are shown at once and have their error kept.
 */
void session_each(struct session *session, int (*work)(struct job *job, struct error *err),
                  void (*show)(struct ui *ui, struct job *job));

/* False once every job has failed. */
bool session_has_work(const struct session *session);

/* Who acts where, for every job that has not failed. */
void session_show_identities(struct session *session);

/* 0, or the error that the command ends with. */
int session_result(const struct session *session, struct error *err);

#endif
