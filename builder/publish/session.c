/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "base/text.h"

enum { SIDE_BY_SIDE = 8 };

/* ---- targets ---- */

static const struct target *find_target(const struct targets *targets, const char *name)
{
    for (size_t i = 0; i < targets->count; i++) {
        if (strcmp(targets->items[i].name, name) == 0) {
            return &targets->items[i];
        }
    }
    return NULL;
}

static int unknown_target(const struct targets *targets, const char *name, struct error *err)
{
    SCOPED_FREE const char **names = xcalloc(targets->count + 1, sizeof(*names));
    SCOPED(buf_done) struct buf list = {0};
    const char *near;

    for (size_t i = 0; i < targets->count; i++) {
        names[i] = targets->items[i].name;
        buf_printf(&list, "%s%s", i != 0 ? ", " : "", names[i]);
    }
    near = text_nearest(name, names);
    fail(err, FAIL_USAGE, "the bundle has no target '%s'", name);
    return near != NULL ? fail_hint(err, "did you mean '%s'?", near)
                        : fail_hint(err, "it has: %s", list.data);
}

/* In the order of the bundle, each once, however they were named. */
static int choose(struct session *session, const struct targets *targets, struct error *err)
{
    SCOPED_FREE bool *chosen = xcalloc(targets->count, sizeof(*chosen));
    SCOPED_FREE char *names = NULL;
    char *at = NULL;

    if (session->options->targets != NULL) {
        names = xstrdup(session->options->targets);
        for (char *name = strtok_r(names, ",", &at); name != NULL;
             name = strtok_r(NULL, ",", &at)) {
            const struct target *target = find_target(targets, name);

            if (target == NULL) {
                return unknown_target(targets, name, err);
            }
            chosen[target - targets->items] = true;
        }
    }
    for (size_t i = 0; i < targets->count; i++) {
        if (names == NULL || chosen[i]) {
            session->targets[session->target_count++] = &targets->items[i];
        }
    }
    return session->target_count != 0 ? 0 : fail(err, FAIL_USAGE, "--target names no target");
}

static int choose_targets(struct session *session, struct error *err)
{
    static const char fallback[] = "{\"directory\": {\"cloud\": \"directory\"}}";
    const struct targets *targets = &session->bundle->targets;

    if (targets->count == 0) {
        if (targets_parse("targets", fallback, strlen(fallback), &session->fallback, err) < 0) {
            return -1;
        }
        targets = &session->fallback;
    }
    session->targets = xcalloc(targets->count, sizeof(const struct target *));
    return choose(session, targets, err);
}

const struct target *session_target(const struct session *session, const char *name)
{
    for (size_t i = 0; i < session->target_count; i++) {
        if (strcmp(session->targets[i]->name, name) == 0) {
            return session->targets[i];
        }
    }
    return NULL;
}

/* ---- opening ---- */

int session_open(const struct publish_options *options, struct ui *ui, struct session **ret,
                 struct error *err)
{
    SCOPED(session_freep) struct session *session = xcalloc(1, sizeof(*session));

    session->options = options;
    session->ui = ui;
    board_init(&session->board, ui);
    if (reader_open(options->bundle, &session->bundle, err) < 0 ||
        choose_targets(session, err) < 0) {
        return -1;
    }
    session->rate = options->limit_rate != 0 ? rate_new(options->limit_rate) : NULL;
    *ret = TAKE(session);
    return 0;
}

void session_free(struct session *session)
{
    if (session == NULL) {
        return;
    }
    for (size_t i = 0; i < session->job_count; i++) {
        job_done(session->jobs[i]);
        free(session->jobs[i]);
    }
    free(session->jobs);
    free(session->targets);
    targets_done(&session->fallback);
    board_done(&session->board);
    rate_free(session->rate);
    reader_free(session->bundle);
    free(session);
}

struct job *session_add(struct session *session, const struct target *target, struct error *err)
{
    const struct publish_options *options = session->options;
    struct job *job = xcalloc(1, sizeof(*job));

    if (job_init(job, session->bundle, target, options->clouds, err) < 0) {
        free(job);
        return NULL;
    }
    job->pub.rate = session->rate;
    job->pub.give_up_s = options->give_up_s;
    job->parent_bundle = options->parent;
    job->full = options->full;
    board_join(&session->board, &job->share, target->name);
    grow(&session->jobs, session->job_count, &session->job_space, sizeof(struct job *));
    session->jobs[session->job_count++] = job;
    return job;
}

/* ---- side by side ---- */

struct crew {
    struct session *session;
    int (*work)(struct job *job, struct error *err);
    void (*show)(struct ui *ui, struct job *job);
    pthread_mutex_t lock;
    size_t next; /* job */
};

/* An interruption is said once, at the end. */
static void show_failure(struct session *session, const struct job *job)
{
    const struct target *target = job->pub.target;

    if (job->err.kind != FAIL_STOPPED) {
        ui_failure(session->ui,
                   json_pack("{s:s, s:s, s:s}", "event", "failed", "target", target->name, "cloud",
                             target_kinds[target->cloud]->name),
                   &job->err, session->job_count == 1);
    }
}

static void run_job(struct crew *crew, struct job *job)
{
    if (job->failed) {
        return;
    }
    if (crew->work(job, &job->err) < 0) {
        job->failed = true;
        fail_while(&job->err, "target '%s'", job->pub.target->name);
        show_failure(crew->session, job);
    } else if (crew->show != NULL) {
        crew->show(crew->session->ui, job);
    }
}

static void *run_jobs(void *data)
{
    struct crew *crew = data;
    struct session *session = crew->session;

    for (;;) {
        size_t at;

        pthread_mutex_lock(&crew->lock);
        at = crew->next++;
        pthread_mutex_unlock(&crew->lock);
        if (at >= session->job_count) {
            return NULL;
        }
        run_job(crew, session->jobs[at]);
    }
}

void session_each(struct session *session, int (*work)(struct job *job, struct error *err),
                  void (*show)(struct ui *ui, struct job *job))
{
    struct crew crew = {.session = session, .work = work, .show = show};
    pthread_t threads[SIDE_BY_SIDE];
    size_t count = 0;

    pthread_mutex_init(&crew.lock, NULL);
    while (count + 1 < session->job_count && count + 1 < SIDE_BY_SIDE &&
           pthread_create(&threads[count], NULL, run_jobs, &crew) == 0) {
        count++;
    }
    (void)run_jobs(&crew); /* the caller's thread is one of them */
    while (count > 0) {
        (void)pthread_join(threads[--count], NULL);
    }
    pthread_mutex_destroy(&crew.lock);
}

bool session_has_work(const struct session *session)
{
    for (size_t i = 0; i < session->job_count; i++) {
        if (!session->jobs[i]->failed) {
            return true;
        }
    }
    return false;
}

/* ---- what is said ---- */

static void show_identity(struct ui *ui, const struct job *job)
{
    const struct identity *identity = &job->identity;
    const struct target *target = job->pub.target;
    const char *cloud = target_kinds[target->cloud]->name;
    bool has_account = strcmp(identity->account, "-") != 0;

    ui_note(ui, "%s: %s%s%s at %s%s%s", target->name, cloud, has_account ? ", account " : "",
            has_account ? identity->account : "", identity->host,
            identity->who != NULL ? ", as " : "", identity->who != NULL ? identity->who : "");
    ui_json(ui, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o*}", "event", "identity", "target",
                          target->name, "cloud", cloud, "account", ui_string(identity->account),
                          "host", ui_string(identity->host), "who",
                          identity->who != NULL ? ui_string(identity->who) : NULL));
}

void session_show_identities(struct session *session)
{
    for (size_t i = 0; i < session->job_count; i++) {
        if (!session->jobs[i]->failed) {
            show_identity(session->ui, session->jobs[i]);
        }
    }
}

int session_result(const struct session *session, struct error *err)
{
    enum fail_kind kind = FAIL_NONE;
    size_t failed = 0;
    bool stopped = false;

    for (size_t i = 0; i < session->job_count; i++) {
        const struct job *job = session->jobs[i];

        if (job->failed) {
            failed++;
            stopped = stopped || job->err.kind == FAIL_STOPPED;
            kind = kind == FAIL_NONE || kind == job->err.kind ? job->err.kind : FAIL_REMOTE;
        }
    }
    if (failed == 0) {
        return 0;
    }
    if (stopped) {
        fail(err, FAIL_STOPPED, "interrupted");
        return fail_hint(err, "the same command goes on from here");
    }
    if (session->job_count == 1) {
        *err = session->jobs[0]->err;
        return -1;
    }
    fail(err, failed == session->job_count ? kind : FAIL_REMOTE, "%zu of %zu targets failed",
         failed, session->job_count);
    return fail_hint(err, "the same command does only what is missing");
}
