/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stop.h"
#include "bundle/bundle.h"
#include "profile/grammar.h"

enum { ATTEMPTS_MAX = 3 }; /* of one run */

int job_init(struct job *job, const struct reader *bundle, const struct target *target,
             const struct cloud *const *table, struct error *err)
{
    job->cloud = table[target->cloud];
    if (job->cloud == NULL) {
        return fail(err, FAIL_ERROR, "target '%s': this kiln cannot publish to '%s'", target->name,
                    target_kinds[target->cloud]->name);
    }
    job->pub.bundle = bundle;
    job->pub.target = target;
    job->pub.result = json_object();
    job->pub.job = job;
    return 0;
}

static void identity_done(struct identity *identity)
{
    free(identity->account);
    free(identity->host);
    free(identity->who);
    free(identity->scope);
}

void job_done(struct job *job)
{
    if (job->state != NULL) {
        job->cloud->end(job->state);
        free(TAKE(job->state));
    }
    identity_done(&job->identity);
    parent_free(job->parent);
    journal_free(job->pub.journal);
    json_decref(job->pub.result);
    json_decref(job->head);
    targets_done(&job->target);
}

/* ---- who, and what ---- */

/* As what is kept of it in JSON. */
static void normalize_scope(struct identity *identity)
{
    SCOPED(json_decrefp) json_t *scope = ui_string(identity->scope);

    free(identity->scope);
    identity->scope = xstrdup(json_string_value(scope));
}

int job_begin(struct job *job, struct error *err)
{
    const struct identity *identity = &job->identity;

    job->state = xcalloc(1, job->cloud->state_bytes + 1);
    if (job->cloud->begin(&job->pub, job->state, &job->identity, err) < 0) {
        return -1;
    }
    assert(identity->account != NULL && identity->host != NULL && identity->scope != NULL);
    normalize_scope(&job->identity);
    return 0;
}

/* The publish id: of all that makes it another image, or another place. */
static void identify(struct job *job)
{
    const struct reader *bundle = job->pub.bundle;
    const struct target *target = job->pub.target;
    char disk[HASH_HEX_MAX];
    SCOPED_FREE char *text = xprintf(
        "kiln-publish 1\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n", hash_hex(bundle->disk_digest, disk),
        bundle->name, bundle->version, architecture_name(bundle->architecture), target->name,
        target_kinds[target->cloud]->name, job->identity.scope, target->attributes);
    uint8_t digest[HASH_SIZE];

    hash_bytes(text, strlen(text), digest);
    hash_hex(digest, job->pub.id);
}

static json_t *head_of(const struct job *job)
{
    const struct reader *bundle = job->pub.bundle;
    const struct target *target = job->pub.target;
    char disk[HASH_HEX_MAX];

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", job->pub.id, "target",
                     target->name, "cloud", target_kinds[target->cloud]->name, "attributes",
                     target->attributes, "scope", job->identity.scope, "disk_digest",
                     hash_hex(bundle->disk_digest, disk), "name", bundle->name, "version",
                     bundle->version, "architecture", architecture_name(bundle->architecture));
}

static int open_journal(struct job *job, struct error *err)
{
    SCOPED_FREE char *dir = file_join(job->pub.bundle->path, BUNDLE_JOURNALS);

    return journal_open(dir, job->pub.target->name, job->pub.id, job->head, &job->pub.journal, err);
}

/* ---- the parent ---- */

/* What one attempt was begun from must stay so: of the blocks and of what the cloud has of them. */
static const char *parent_digest(const struct parent *parent, char out[HASH_HEX_MAX])
{
    SCOPED_FREE char *result = NULL;
    SCOPED_FREE char *text = NULL;
    uint8_t digest[HASH_SIZE];

    if (parent == NULL) {
        return memcpy(out, PARENT_NONE, sizeof(PARENT_NONE));
    }
    result = json_dumps(parent->result, JSON_COMPACT | JSON_SORT_KEYS);
    text = xprintf("kiln-parent 1\n%s\n%s\n", hash_hex(parent->disk_digest, out), result);
    hash_bytes(text, strlen(text), digest);
    return hash_hex(digest, out);
}

/* SCOPE NULL: any. */
static int find_parent(struct job *job, const char *scope, struct error *err)
{
    const struct reader *bundle = job->pub.bundle;
    const char *target = job->pub.target->name;

    if (!job->cloud->takes_parent || job->full || job->parent_known) {
        return 0;
    }
    job->parent_known = true;
    if (job->parent_bundle != NULL) {
        if (parent_from_bundle(job->parent_bundle, target, scope, &job->parent, err) < 0) {
            return -1;
        }
    } else if (parent_load(bundle->name, target, scope, &job->parent, err) < 0) {
        publication_note(&job->pub, "the previous image is of no use: everything is sent (%s)",
                         err->message);
        fail_clear(err);
        return 0;
    }
    if (job->parent == NULL) {
        publication_note(&job->pub, "no previous image of this target is known here: everything "
                                    "is sent");
    } else if (job->parent->size_bytes > bundle->size_bytes) {
        publication_note(&job->pub, "the previous image has a larger disk: everything is sent");
        parent_free(TAKE(job->parent));
    }
    job->pub.parent = job->parent;
    return 0;
}

int job_guess_parent(struct job *job, struct error *err)
{
    return find_parent(job, NULL, err);
}

static bool phase_is_done(const struct job *job, const struct phase *phase)
{
    SCOPED_FREE char *key = xprintf(PHASE_KEY "%s", phase->name);
    const char *value = journal_get(job->pub.journal, key);

    return value != NULL && strcmp(value, PHASE_DONE_VALUE) == 0;
}

static bool needs_parent(const struct job *job)
{
    for (const struct phase *phase = job->cloud->phases; phase->name != NULL; phase++) {
        if (phase->ends_parent && phase_is_done(job, phase)) {
            return false;
        }
    }
    return job->cloud->takes_parent;
}

static bool is_ended(const struct job *job)
{
    const struct phase *phase = job->cloud->phases;

    if (journal_get(job->pub.journal, JOURNAL_PUBLISHED) != NULL) {
        return true;
    }
    while (phase->name != NULL && phase_is_done(job, phase)) {
        phase++;
    }
    return phase->name == NULL; /* killed before it could say so */
}

static int next_attempt(struct job *job, const char *why, struct error *err)
{
    (void)json_object_clear(job->pub.result);
    return journal_next_attempt(job->pub.journal, why, err);
}

/* Removes what the unfinished attempt left, too. */
static int begin_again(struct job *job, const char *why, struct error *err)
{
    publication_note(&job->pub, "%s: it begins again", why);
    return job->cloud->abort(&job->pub, job->state, err) < 0 ? -1 : next_attempt(job, why, err);
}

/*
 * An unfinished attempt goes on from the parent it was begun with, or it is begun again: the blocks
 * that are up already are changes of that one.
 */
static int keep_parent(struct job *job, struct error *err)
{
    const char *before = journal_get(job->pub.journal, PARENT_KEY);
    char now[HASH_HEX_MAX];

    if (!needs_parent(job) || (before != NULL && strcmp(before, PARENT_NONE) == 0 && !job->full)) {
        return 0;
    }
    if (find_parent(job, job->identity.scope, err) < 0) {
        return -1;
    }
    parent_digest(job->pub.parent, now);
    if (before != NULL && strcmp(before, now) == 0) {
        return 0;
    }
    if (before != NULL && begin_again(job, "it was begun from another previous image", err) < 0) {
        return -1;
    }
    return journal_set(job->pub.journal, PARENT_KEY, now, err);
}

/* ---- phases ---- */

static int load_result(struct job *job, struct error *err)
{
    const char *text = journal_get(job->pub.journal, RESULT_KEY);
    SCOPED(json_decrefp) json_t *result = NULL;

    if (text == NULL) {
        return 0;
    }
    result = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(result)) {
        return fail(err, FAIL_ERROR, "the journal's result of the phases so far is none");
    }
    (void)json_object_update(job->pub.result, result);
    return 0;
}

static int save_result(struct job *job, const char *key, struct error *err)
{
    SCOPED_FREE char *text = json_dumps(job->pub.result, JSON_COMPACT | JSON_SORT_KEYS);

    return journal_set(job->pub.journal, key, text, err);
}

static int run_phase(struct job *job, const struct phase *phase, struct error *err)
{
    SCOPED_FREE char *key = xprintf(PHASE_KEY "%s", phase->name);
    int result;

    board_phase(&job->share, phase->name);
    result = stop_check(err) < 0 ? -1 : phase->run(&job->pub, job->state, err);
    if (result != PHASE_DONE) {
        if (err->kind == FAIL_NONE) {
            fail(err, FAIL_REMOTE, "what was made before is gone");
        }
        fail_while(err, "%s", phase->name);
        return result;
    }
    if (save_result(job, RESULT_KEY, err) < 0) {
        return -1;
    }
    return journal_set(job->pub.journal, key, PHASE_DONE_VALUE, err);
}

static int run_attempt(struct job *job, struct error *err)
{
    int result = load_result(job, err);

    for (const struct phase *phase = job->cloud->phases; result == 0 && phase->name != NULL;
         phase++) {
        if (!phase_is_done(job, phase)) {
            result = run_phase(job, phase, err);
        }
    }
    return result;
}

static int run_attempts(struct job *job, struct error *err)
{
    for (int attempt = 1;; attempt++) {
        SCOPED_FREE char *why = NULL;
        int result = run_attempt(job, err);

        if (result != PHASE_AGAIN) {
            return result;
        }
        if (attempt == ATTEMPTS_MAX) {
            return fail_while(err, "given up after %d attempts", ATTEMPTS_MAX);
        }
        why = xstrdup(err->message);
        fail_clear(err);
        publication_note(&job->pub, "%s: it begins again", why);
        if (next_attempt(job, why, err) < 0 || keep_parent(job, err) < 0) {
            return -1;
        }
    }
}

/* ---- the end ---- */

/* What is published stays so, whatever becomes of this: the next one is only larger. */
static void save_parent(struct job *job)
{
    struct error err = {0};

    if (job->cloud->takes_parent && parent_save(job->pub.bundle, job->pub.target->name,
                                                job->identity.scope, job->pub.result, &err) < 0) {
        publication_note(&job->pub, "the next publish will send everything: %s", err.message);
    }
}

/* It is there, whoever put it there. */
static int settle_found(struct job *job, struct error *err)
{
    job->nothing = true;
    if (journal_get(job->pub.journal, JOURNAL_PUBLISHED) != NULL) {
        return 0;
    }
    if (save_result(job, JOURNAL_PUBLISHED, err) < 0) {
        return -1;
    }
    save_parent(job);
    return 0;
}

static void say_resumed(struct job *job)
{
    uint64_t blocks = journal_block_count(job->pub.journal);

    if (journal_get(job->pub.journal, RESULT_KEY) != NULL || blocks != 0) {
        publication_note(&job->pub, "goes on from where an earlier run ended (%llu blocks are up)",
                         (unsigned long long)blocks);
    }
}

/* What had come to its end and is not there is done again, by other names: ids and tokens of things
 * that were deleted are remembered by the cloud. */
static int leave_ended(struct job *job, struct error *err)
{
    (void)json_object_clear(job->pub.result);
    if (journal_get(job->pub.journal, JOURNAL_ABORTED) != NULL) {
        return next_attempt(job, "it was aborted", err);
    }
    if (is_ended(job)) {
        publication_note(&job->pub,
                         "it was published before, and is gone or changed: it is published again");
        return next_attempt(job, "the published image is gone", err);
    }
    return 0;
}

static int publish(struct job *job, struct error *err)
{
    bool found = false;

    identify(job);
    job->head = head_of(job);
    if (open_journal(job, err) < 0 || job->cloud->find(&job->pub, job->state, &found, err) < 0) {
        return -1;
    }
    if (found) {
        return settle_found(job, err);
    }
    if (leave_ended(job, err) < 0) {
        return -1;
    }
    say_resumed(job);
    if (keep_parent(job, err) < 0 || run_attempts(job, err) < 0 ||
        save_result(job, JOURNAL_PUBLISHED, err) < 0) {
        return -1;
    }
    save_parent(job);
    return 0;
}

int job_publish(struct job *job, struct error *err)
{
    int result = publish(job, err);

    board_settle(&job->share);
    return result;
}

/* ---- abort ---- */

static const char *text_of(const json_t *head, const char *key)
{
    const char *text = json_string_value(json_object_get(head, key));

    return text != NULL ? text : "";
}

static int bad_head(const json_t *head, const char *key, struct error *err)
{
    return fail(err, FAIL_ERROR, "the journal of target '%s' has no '%s' that can be used",
                text_of(head, "target"), key);
}

int job_read_target(const json_t *head, struct targets *ret, struct error *err)
{
    SCOPED(json_decrefp) json_t *list = json_object();
    SCOPED_FREE char *text = NULL;
    const char *attributes = text_of(head, "attributes");
    json_t *target = json_loads(attributes, JSON_REJECT_DUPLICATES, NULL);
    struct error ignored = {0};

    (void)json_object_set(target, "cloud", json_object_get(head, "cloud"));
    (void)json_object_set_new(list, text_of(head, "target"), target);
    text = json_dumps(list, 0);
    if (targets_parse("journal", text, strlen(text), ret, &ignored) < 0 || ret->count != 1 ||
        strcmp(ret->items[0].attributes, attributes) != 0) {
        return bad_head(head, "attributes", err);
    }
    return 0;
}

static const struct word *architecture_of(const json_t *head)
{
    const char *nearest;

    return word_find(architecture_words, text_of(head, "architecture"), &nearest);
}

/* What a journal says is read as strictly as a manifest. */
static const char *head_wrong(const json_t *head)
{
    uint8_t digest[HASH_SIZE];

    if (!hash_parse(text_of(head, "disk_digest"), digest)) {
        return "disk_digest";
    }
    if (profile_check_name(text_of(head, "name")) != NULL) {
        return "name";
    }
    if (profile_check_version(text_of(head, "version")) != NULL) {
        return "version";
    }
    return architecture_of(head) == NULL ? "architecture" : NULL;
}

int job_take_head(struct job *job, const json_t *head, struct targets *target, struct error *err)
{
    const char *wrong = head_wrong(head);

    job->target = *target;
    *target = (struct targets){0};
    if (wrong != NULL) {
        return bad_head(head, wrong, err);
    }
    job->head = json_copy((json_t *)head);
    job->then = *job->pub.bundle;
    job->then.name = (char *)text_of(head, "name");
    job->then.version = (char *)text_of(head, "version");
    job->then.architecture = (enum architecture)architecture_of(head)->value;
    (void)hash_parse(text_of(head, "disk_digest"), job->then.disk_digest);
    job->pub.bundle = &job->then;
    return 0;
}

/*
 * Whose it is, and that it is of the publish it names: by the id of another one, with a target that
 * asks for something else, what is published would look unfinished.
 */
static int check_head(struct job *job, struct error *err)
{
    const char *scope = text_of(job->head, "scope");

    if (strcmp(job->identity.scope, scope) != 0) {
        fail(err, FAIL_ERROR, "it was begun as '%s', this is '%s'", scope, job->identity.scope);
        return fail_hint(err, "use the credentials and the region it was begun with");
    }
    identify(job);
    return strcmp(job->pub.id, text_of(job->head, "id")) == 0 ? 0 : bad_head(job->head, "id", err);
}

int job_abort(struct job *job, struct error *err)
{
    bool found = false;

    if (check_head(job, err) < 0 || open_journal(job, err) < 0 ||
        job->cloud->find(&job->pub, job->state, &found, err) < 0) {
        return -1;
    }
    job->nothing = found || journal_get(job->pub.journal, JOURNAL_PUBLISHED) != NULL;
    if (job->nothing) {
        return found ? save_result(job, JOURNAL_PUBLISHED, err) : 0;
    }
    if (job->cloud->abort(&job->pub, job->state, err) < 0) {
        return -1;
    }
    return journal_set(job->pub.journal, JOURNAL_ABORTED, "yes", err);
}
