/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/publish.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "publish/session.h"

static const char *cloud_name(const struct job *job)
{
    return target_kinds[job->pub.target->cloud]->name;
}

static int add_all(struct session *session, struct error *err)
{
    for (size_t i = 0; i < session->target_count; i++) {
        if (session_add(session, session->targets[i], err) == NULL) {
            return -1;
        }
    }
    return 0;
}

/* ---- publish ---- */

static void show_published(struct ui *ui, struct job *job)
{
    const char *target = job->pub.target->name, *status = job->nothing ? "unchanged" : "published";
    const char *image = json_string_value(json_object_get(job->pub.result, "image"));
    json_t *event = json_pack("{s:s, s:s, s:s, s:s}", "event", "published", "target", target,
                              "cloud", cloud_name(job), "status", status);

    ui_print(ui, "%s  %s  %s\n", target, status, image != NULL ? image : "-");
    (void)json_object_update_missing(event, job->pub.result);
    ui_json(ui, event);
}

int publish_run(const struct publish_options *options, struct ui *ui, struct error *err)
{
    SCOPED(session_freep) struct session *session = NULL;

    secret_no_core();
    if (session_open(options, ui, &session, err) < 0 || add_all(session, err) < 0) {
        return -1;
    }
    session_each(session, job_begin, NULL);
    session_show_identities(session);
    if (session_has_work(session)) {
        ui_phase(ui, "publishing", 0);
        session_each(session, job_publish, show_published);
        ui_phase_end(ui);
    }
    return session_result(session, err);
}

/* ---- dry run ---- */

struct planned {
    struct ui *ui;
    const struct job *job;
    uint64_t calls, bytes;
};

static void show_call(void *data, const char *method, const char *url, uint64_t count,
                      uint64_t bytes)
{
    struct planned *planned = data;
    const char *target = planned->job->pub.target->name;
    char size[TEXT_SIZE_MAX];

    planned->calls += count;
    planned->bytes += bytes;
    ui_print(planned->ui, "%s  %s %s × %" PRIu64 "%s%s\n", target, method, url, count,
             bytes != 0 ? ", " : "", bytes != 0 ? text_size(bytes, size) : "");
    ui_json(planned->ui, json_pack("{s:s, s:s, s:s, s:o, s:I, s:I}", "event", "call", "target",
                                   target, "method", method, "url", ui_string(url), "count",
                                   (json_int_t)count, "bytes", (json_int_t)bytes));
}

static int plan_job(struct ui *ui, struct job *job, struct planned *total, struct error *err)
{
    struct planned planned = {.ui = ui, .job = job};
    struct call_plan plan = {show_call, &planned};
    const char *target = job->pub.target->name;
    char size[TEXT_SIZE_MAX];

    if (job_guess_parent(job, err) < 0 || job->cloud->plan(&job->pub, &plan, err) < 0) {
        return fail_while(err, "target '%s'", target);
    }
    total->calls += planned.calls;
    total->bytes += planned.bytes;
    ui_print(ui, "%s  in all %" PRIu64 " calls, %s\n", target, planned.calls,
             text_size(planned.bytes, size));
    ui_json(ui, json_pack("{s:s, s:s, s:s, s:I, s:I}", "event", "plan", "target", target, "cloud",
                          cloud_name(job), "calls", (json_int_t)planned.calls, "bytes",
                          (json_int_t)planned.bytes));
    return 0;
}

int publish_plan(const struct publish_options *options, struct ui *ui, struct error *err)
{
    SCOPED(session_freep) struct session *session = NULL;
    struct planned total = {0};
    char size[TEXT_SIZE_MAX];

    if (session_open(options, ui, &session, err) < 0 || add_all(session, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < session->job_count; i++) {
        if (plan_job(ui, session->jobs[i], &total, err) < 0) {
            return -1;
        }
    }
    if (session->job_count > 1) {
        ui_print(ui, "in all %" PRIu64 " calls, %s\n", total.calls, text_size(total.bytes, size));
    }
    return 0;
}
