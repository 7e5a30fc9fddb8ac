/* SPDX-License-Identifier: Apache-2.0 */
/* kiln publish --status and --abort: what the journals of a bundle say, and the end of those that
 * were not finished. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "bundle/bundle.h"
#include "publish/session.h"

static const char *head_text(const struct journal *journal, const char *key)
{
    const char *text = json_string_value(json_object_get(journal_head(journal), key));

    return text != NULL ? text : "-";
}

/*
 * Calls VISIT for every journal of the chosen targets; one that cannot be read does not keep the
 * others from being seen.
 */
static int each_journal(struct session *session,
                        int (*visit)(struct session *session, const char *path,
                                     struct journal *journal, struct error *err),
                        size_t *ret_seen, size_t *ret_bad, struct error *err)
{
    SCOPED_FREE char *dir = file_join(session->bundle->path, BUNDLE_JOURNALS);
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    int result = journal_list(dir, &paths, err);

    for (size_t i = 0; result == 0 && i < paths.count; i++) {
        SCOPED(journal_freep) struct journal *journal = NULL;
        struct error problem = {0};

        if (journal_read(paths.items[i], &journal, &problem) < 0) {
            ui_failure(
                session->ui,
                json_pack("{s:s, s:o}", "event", "failed", "journal", ui_string(paths.items[i])),
                &problem, false);
            (*ret_bad)++;
        } else if (journal != NULL &&
                   (session->options->targets == NULL ||
                    session_target(session, head_text(journal, "target")) != NULL)) {
            result = visit(session, paths.items[i], journal, err);
            (*ret_seen)++;
        }
    }
    return result;
}

static int count_bad(size_t bad, struct error *err)
{
    return bad == 0
               ? 0
               : fail(err, FAIL_ERROR, "%zu journal%s cannot be read", bad, bad == 1 ? "" : "s");
}

/* ---- status ---- */

static void add_phase(void *data, const char *key, const char *value)
{
    if (text_starts(key, PHASE_KEY) && strcmp(value, PHASE_DONE_VALUE) == 0) {
        (void)json_array_append_new(data, json_string(key + strlen(PHASE_KEY)));
    }
}

static json_t *result_of(const struct journal *journal)
{
    const char *text = journal_get(journal, JOURNAL_PUBLISHED);

    text = text != NULL ? text : journal_get(journal, RESULT_KEY);
    return text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

static const char *state_of(const struct journal *journal)
{
    return journal_get(journal, JOURNAL_PUBLISHED) != NULL ? "published"
           : journal_get(journal, JOURNAL_ABORTED) != NULL ? "aborted"
                                                           : "unfinished";
}

/* How far an attempt is. */
static char *progress_of(const struct journal *journal, const json_t *phases)
{
    struct buf text = {0};
    const json_t *phase;
    size_t i;

    buf_printf(&text, "attempt %u", journal_attempt(journal));
    json_array_foreach(phases, i, phase)
    {
        buf_printf(&text, "%s %s", i == 0 ? ", done:" : ",", json_string_value(phase));
    }
    buf_printf(&text, ", %" PRIu64 " blocks up", journal_block_count(journal));
    return buf_take(&text);
}

static void print_status(struct ui *ui, const struct journal *journal, const json_t *phases,
                         const json_t *result)
{
    const char *image = json_string_value(json_object_get(result, "image"));
    const char *state = state_of(journal);
    SCOPED_FREE char *what = strcmp(state, "unfinished") == 0 ? progress_of(journal, phases)
                             : strcmp(state, "published") == 0 && image != NULL ? xstrdup(image)
                                                                                : xstrdup("-");

    ui_print(ui, "%s  %s  %s  (%s, %.16s)\n", head_text(journal, "target"), state, what,
             head_text(journal, "scope"), head_text(journal, "id"));
}

static int show_status(struct session *session, const char *path, struct journal *journal,
                       struct error *err)
{
    SCOPED(json_decrefp) json_t *phases = json_array();
    SCOPED(json_decrefp) json_t *result = result_of(journal);

    (void)path;
    (void)err;
    journal_each(journal, add_phase, phases);
    print_status(session->ui, journal, phases, result);
    ui_json(session->ui,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:O, s:I, s:O*}", "event", "status",
                      "target", head_text(journal, "target"), "cloud", head_text(journal, "cloud"),
                      "scope", head_text(journal, "scope"), "id", head_text(journal, "id"),
                      "status", state_of(journal), "attempt", (json_int_t)journal_attempt(journal),
                      "phases", phases, "blocks", (json_int_t)journal_block_count(journal),
                      "result", result));
    return 0;
}

int publish_status(const struct publish_options *options, struct ui *ui, struct error *err)
{
    SCOPED(session_freep) struct session *session = NULL;
    size_t seen = 0, bad = 0;

    if (session_open(options, ui, &session, err) < 0 ||
        each_journal(session, show_status, &seen, &bad, err) < 0) {
        return -1;
    }
    if (seen + bad == 0) {
        ui_note(ui, "nothing was published from this bundle");
    }
    return count_bad(bad, err);
}

/* ---- abort ---- */

static int add_unfinished(struct session *session, const char *path, struct journal *journal,
                          struct error *err)
{
    const json_t *head = journal_head(journal);
    SCOPED(targets_done) struct targets target = {0};
    struct job *job;

    if (strcmp(state_of(journal), "unfinished") != 0) {
        return 0;
    }
    if (job_read_target(head, &target, err) < 0) {
        return -1;
    }
    if (!journal_is_named(path, target.items[0].name, head_text(journal, "id"))) {
        return fail(err, FAIL_ERROR, "'%s' is not called as a journal of target '%s'", path,
                    target.items[0].name);
    }
    job = session_add(session, &target.items[0], err);
    return job == NULL ? -1 : job_take_head(job, head, &target, err);
}

static void show_aborted(struct ui *ui, struct job *job)
{
    const char *target = job->pub.target->name, *status = job->nothing ? "published" : "aborted";

    ui_print(ui, "%s  %s  %.16s\n", target, status, job->pub.id);
    ui_json(ui, json_pack("{s:s, s:s, s:s, s:s}", "event", status, "target", target, "cloud",
                          target_kinds[job->pub.target->cloud]->name, "id", job->pub.id));
}

int publish_abort(const struct publish_options *options, struct ui *ui, struct error *err)
{
    SCOPED(session_freep) struct session *session = NULL;
    size_t seen = 0, bad = 0;

    secret_no_core();
    if (session_open(options, ui, &session, err) < 0 ||
        each_journal(session, add_unfinished, &seen, &bad, err) < 0) {
        return -1;
    }
    if (session->job_count + bad == 0) {
        ui_note(ui, "no publish is unfinished");
    }
    session_each(session, job_begin, NULL);
    session_show_identities(session);
    session_each(session, job_abort, show_aborted);
    return session_result(session, err) < 0 ? -1 : count_bad(bad, err);
}
