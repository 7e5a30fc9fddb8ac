/* SPDX-License-Identifier: Apache-2.0 */
/* The disk as a snapshot: which blocks are sent, to which snapshot, and how it is sealed. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/blocks.h"
#include "base/text.h"
#include "publish/publish_aws.h"
#include "publish/sender.h"

enum {
    TIMEOUT_MIN = 1440,   /* a day to go on after an interruption */
    PENDING_MAX_S = 7200, /* a sealed snapshot is whole after minutes, for large disks */
    THREADS_FIRST = 8,
    THREADS_MAX = 64,
};

/* ---- the parent and the blocks to send ---- */

/* Has the parent's snapshot in TARGET, or in RET, a new string, why it is of no use. */
static int check_parent(struct publication *pub, struct aws_target *target, char **ret,
                        struct error *err)
{
    const char *id = json_string_value(json_object_get(pub->parent->result, "snapshot"));
    SCOPED(ec2_snapshots_done) struct ec2_snapshots found = {0};
    char digest[HASH_HEX_MAX];

    if (id == NULL || !aws_is_id(id, "snap")) {
        *ret = xstrdup("nothing says what its snapshot is");
        return 0;
    }
    if (ec2_describe_snapshots(&target->ec2, "snapshot-id", id, &found, err) < 0) {
        return -1;
    }
    const struct ec2_snapshot *snapshot = found.items;

    if (found.count != 1) {
        *ret = xprintf("its snapshot %s is gone", id);
    } else if (strcmp(ec2_tag(snapshot->tags, AWS_TAG_DISK_DIGEST),
                      hash_hex(pub->parent->disk_digest, digest)) != 0) {
        *ret = xprintf("snapshot %s is tagged as another disk", id);
    } else if (strcmp(snapshot->state, "completed") != 0 ||
               strcmp(snapshot->tier, "archive") == 0) {
        *ret = xprintf("snapshot %s is %s", id,
                       strcmp(snapshot->tier, "archive") == 0 ? "archived" : snapshot->state);
    } else if (snapshot->size_gib > pub->bundle->size_bytes >> 30) {
        *ret = xprintf("snapshot %s is larger than the disk", id);
    } else {
        aws_copy_id(target->parent, id);
    }
    return 0;
}

static void list_blocks(struct publication *pub, struct aws_target *target)
{
    free(TAKE(target->blocks));
    parent_changes(pub->bundle, target->parent[0] != '\0' ? pub->parent : NULL, &target->blocks,
                   &target->block_count);
}

/* Sends everything: the parent is of no use, or there is none. */
static int without_parent(struct publication *pub, struct aws_target *target, const char *why,
                          struct error *err)
{
    target->parent[0] = '\0';
    if (why != NULL && publication_forget_parent(pub, why, err) < 0) {
        return -1;
    }
    list_blocks(pub, target);
    return PHASE_DONE;
}

/* ---- the snapshot ---- */

enum look { LOOK_PENDING, LOOK_COMPLETED, LOOK_SPOILT, LOOK_ABSENT, LOOK_FOREIGN };

/* The journal's snapshot, "" when it has none. Becomes a part of paths. */
static const char *snapshot_of(const struct publication *pub)
{
    const char *id = journal_get(pub->journal, "snapshot");

    return id != NULL && aws_is_id(id, "snap") ? id : "";
}

static int64_t young_until(const struct publication *pub)
{
    const char *started = journal_get(pub->journal, "started");
    int64_t at;

    return started != NULL && text_parse_time(started, &at) ? at + EBS_YOUNG_S : 0;
}

static bool is_young(const struct aws_target *target)
{
    return (int64_t)time(NULL) < target->young_until;
}

/* What has become of the journal's snapshot: -1 or an enum look, with WHY when it is spoilt. */
static int look_at(struct publication *pub, struct aws_target *target, const char *id, char **why,
                   struct error *err)
{
    SCOPED(ec2_snapshots_done) struct ec2_snapshots found = {0};

    if (ec2_describe_snapshots(&target->ec2, "snapshot-id", id, &found, err) < 0) {
        return -1;
    }
    if (found.count == 0) {
        return LOOK_ABSENT;
    }
    const struct ec2_snapshot *snapshot = found.items;

    if (!aws_is_ours(pub, target, snapshot->tags)) {
        return LOOK_FOREIGN;
    }
    if (strcmp(snapshot->state, "pending") == 0) {
        return LOOK_PENDING;
    }
    if (strcmp(snapshot->state, "completed") == 0) {
        return LOOK_COMPLETED;
    }
    *why = xprintf("%s: %s", snapshot->state, snapshot->message);
    return LOOK_SPOILT;
}

/* The attempt has failed: removes what can be, and says why in ERR. */
static int spoilt(struct publication *pub, struct aws_target *target, const char *id,
                  const char *why, struct error *err)
{
    struct error ignored = {0};

    if (ec2_remove(&target->ec2, id, &ignored) < 0) {
        publication_detail(pub, "%s", ignored.message);
    }
    (void)fail(err, FAIL_REMOTE, "snapshot %s is lost: %s", id, why);
    return PHASE_AGAIN;
}

/* Likewise without anything to remove. */
static int absent(const char *id, struct error *err)
{
    (void)fail(err, FAIL_REMOTE, "snapshot %s is gone, or is not of this publish", id);
    return PHASE_AGAIN;
}

/* What was begun is of no use any more, WHY: it is removed if it is there and ours. */
static int abandon(struct publication *pub, struct aws_target *target, const char *why,
                   struct error *err)
{
    SCOPED_FREE char *ignored = NULL;
    const char *id = snapshot_of(pub);
    int look = look_at(pub, target, id, &ignored, err);

    if (look < 0) {
        return -1;
    }
    return look == LOOK_ABSENT || look == LOOK_FOREIGN ? absent(id, err)
                                                       : spoilt(pub, target, id, why, err);
}

/*
 * What to send. The engine keeps the parent's blocks the same for an attempt; its snapshot may go,
 * and then what was begun as a change of it is lost.
 */
static int choose_blocks(struct publication *pub, struct aws_target *target, struct error *err)
{
    SCOPED_FREE char *why = NULL;

    target->parent[0] = '\0';
    if (pub->parent != NULL && check_parent(pub, target, &why, err) < 0) {
        return -1;
    }
    if (why == NULL) {
        list_blocks(pub, target);
        return PHASE_DONE;
    }
    return journal_get(pub->journal, "snapshot") == NULL ? without_parent(pub, target, why, err)
                                                         : abandon(pub, target, why, err);
}

/* A parent that the service does not take, for whatever reason, is worth nothing. */
static bool is_about_parent(const struct aws_error *problem)
{
    return strcmp(problem->code, "ValidationException") == 0 ||
           strcmp(problem->code, "ResourceNotFoundException") == 0;
}

static int try_start(struct publication *pub, struct aws_target *target, struct ebs_started *ret,
                     struct aws_error *problem, struct error *err)
{
    char token[HASH_HEX_MAX];
    bool has_parent = target->parent[0] != '\0';
    const struct ebs_start start = {
        .size_gib = pub->bundle->size_bytes >> 30,
        .description = target->description,
        .token = token,
        .parent = has_parent ? target->parent : NULL,
        .timeout_min = TIMEOUT_MIN,
        .tags = aws_tags(pub, target),
    };

    *problem = (struct aws_error){0};
    return aws_token(pub, has_parent ? target->parent : "snapshot", token, err) < 0
               ? -1
               : ebs_start(&target->ebs, &start, ret, problem, err);
}

static int note_started(struct publication *pub, struct aws_target *target, const char *id,
                        struct error *err)
{
    char started[TEXT_TIME_MAX];
    int64_t now = (int64_t)time(NULL);

    target->young_until = now + EBS_YOUNG_S;
    return journal_set(pub->journal, "started", text_time(now, started), err) < 0
               ? -1
               : journal_set(pub->journal, "snapshot", id, err);
}

static int start_snapshot(struct publication *pub, struct aws_target *target, struct error *err)
{
    struct ebs_started started;
    struct aws_error problem;
    int result = try_start(pub, target, &started, &problem, err);

    if (result < 0 && target->parent[0] != '\0' && is_about_parent(&problem)) {
        fail_clear(err);
        if (without_parent(pub, target, problem.message, err) < 0) {
            return -1;
        }
        result = try_start(pub, target, &started, &problem, err);
    }
    if (result < 0) {
        /* The token is that of another snapshot: of another version of kiln, perhaps. */
        return strcmp(problem.code, "ConflictException") == 0 ? PHASE_AGAIN : -1;
    }
    return note_started(pub, target, started.id, err);
}

/* Has the attempt's snapshot, old or new, *RET telling what is to be done with it. */
static int open_snapshot(struct publication *pub, struct aws_target *target, enum look *ret,
                         struct error *err)
{
    const char *id = snapshot_of(pub);
    SCOPED_FREE char *why = NULL;

    *ret = LOOK_PENDING;
    if (id[0] == '\0') {
        return start_snapshot(pub, target, err);
    }
    target->young_until = young_until(pub);
    int look = look_at(pub, target, id, &why, err);

    if (look < 0) {
        return -1;
    }
    if (look == LOOK_SPOILT) {
        return spoilt(pub, target, id, why, err);
    }
    if (look == LOOK_FOREIGN || (look == LOOK_ABSENT && !is_young(target))) {
        return absent(id, err);
    }
    *ret = look == LOOK_COMPLETED ? LOOK_COMPLETED : LOOK_PENDING;
    return PHASE_DONE;
}

/* ---- sending ---- */

struct sending {
    struct aws_target *target;
    const char *id;
    atomic_bool refused; /* a block was not taken: is the snapshot still there? */
};

static int put(void *data, uint64_t block, const void *bytes, const uint8_t digest[HASH_SIZE],
               struct error *err)
{
    struct sending *sending = data;
    struct aws_target *target = sending->target;
    struct aws_error problem;
    int result =
        ebs_put(&target->ebs, sending->id, block, bytes, digest, is_young(target), &problem, err);

    if (result < 0 && problem.code[0] != '\0') {
        atomic_store(&sending->refused, true);
    }
    return result;
}

static void announce(struct publication *pub, const struct aws_target *target, const char *id)
{
    size_t left = 0;
    char size[TEXT_SIZE_MAX];

    for (size_t i = 0; i < target->block_count; i++) {
        left += journal_has_block(pub->journal, target->blocks[i]) ? 0 : 1;
    }
    publication_note(pub, "%s: sending %zu of %" PRIu64 " blocks (%s)%s%s", id, left,
                     pub->bundle->block_count, text_size((uint64_t)left * BLOCK_SIZE, size),
                     target->parent[0] != '\0' ? ", changed since " : "", target->parent);
}

static int send_blocks(struct publication *pub, struct aws_target *target, struct error *err)
{
    SCOPED_FREE char *id = xstrdup(snapshot_of(pub));
    SCOPED_FREE char *why = NULL;
    struct sending sending = {.target = target, .id = id};
    const struct sender sender = {.pub = pub,
                                  .http = target->http,
                                  .blocks = target->blocks,
                                  .count = target->block_count,
                                  .start = THREADS_FIRST,
                                  .max = THREADS_MAX,
                                  .put = put,
                                  .data = &sending};

    announce(pub, target, id);
    if (sender_run(&sender, err) == 0) {
        return PHASE_DONE;
    }
    if (!atomic_load(&sending.refused)) {
        return -1;
    }
    struct error second = {0};
    int look = look_at(pub, target, id, &why, &second);

    if (look == LOOK_PENDING || look < 0) {
        return -1; /* for the reason of the put */
    }
    fail_clear(err);
    if (look == LOOK_COMPLETED) {
        return PHASE_DONE; /* by an earlier run, of which not all is journaled */
    }
    return look == LOOK_SPOILT ? spoilt(pub, target, id, why, err) : absent(id, err);
}

int aws_upload(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;
    enum look look = LOOK_COMPLETED;
    char id[AWS_ID_MAX];
    bool adopted;

    if (aws_adopt(pub, target, &adopted, err) < 0) {
        return -1;
    }
    /* Is the name taken? Before gigabytes are sent for nothing. */
    if (!adopted && aws_find_name(pub, target, id, err) < 0) {
        return -1;
    }
    int result = adopted ? PHASE_DONE : choose_blocks(pub, target, err);

    if (result == PHASE_DONE && !adopted) {
        result = open_snapshot(pub, target, &look, err);
    }
    if (result == PHASE_DONE && look == LOOK_PENDING) {
        result = send_blocks(pub, target, err);
    }
    aws_result(pub, target);
    return result;
}

/* ---- sealing ---- */

/* What the service says to a second completion as well as to one that is wrong. */
static bool may_be_sealed(const struct aws_error *problem)
{
    return strcmp(problem->code, "ValidationException") == 0 ||
           strcmp(problem->code, "ConflictException") == 0;
}

struct sealing {
    const char *id;
    bool asked;      /* CompleteSnapshot was answered, or refused as it may be done already */
    int64_t give_up; /* when; seconds since 1970 */
    char *refusal;   /* NULL: it was accepted */
};

static int complete(struct publication *pub, struct aws_target *target, struct sealing *sealing,
                    struct error *err)
{
    uint8_t linear[HASH_SIZE];
    struct aws_error problem;
    int64_t now = (int64_t)time(NULL);

    ebs_linear((const uint8_t(*)[HASH_SIZE])pub->bundle->digests, target->blocks,
               target->block_count, linear);
    sealing->asked = true;
    if (ebs_complete(&target->ebs, sealing->id, target->block_count, linear, is_young(target),
                     &problem, err) == 0) {
        sealing->give_up = now + PENDING_MAX_S;
        return aws_note(pub, "sealed", "yes", err);
    }
    if (!may_be_sealed(&problem)) {
        return -1;
    }
    /* The first answer may have been lost: the snapshot will tell. */
    sealing->refusal = xstrdup(err->message);
    sealing->give_up = now + aws_patience_s(pub);
    fail_clear(err);
    return 0;
}

static int waited_long(struct publication *pub, struct aws_target *target,
                       const struct sealing *sealing, struct error *err)
{
    if (sealing->refusal != NULL) {
        return spoilt(pub, target, sealing->id, sealing->refusal, err);
    }
    fail(err, FAIL_REMOTE, "snapshot %s is still pending", sealing->id);
    return fail_hint(err, "publish again to go on waiting for it");
}

/* What follows from a look: PHASE_DONE, PHASE_AGAIN, -1, or 2 when there is no more to say yet. */
enum { GO_ON = 2 };

static int judge_look(struct publication *pub, struct aws_target *target, struct sealing *sealing,
                      int look, const char *why, struct error *err)
{
    if (look < 0) {
        return -1;
    }
    if (look == LOOK_SPOILT) {
        return spoilt(pub, target, sealing->id, why, err);
    }
    if (look == LOOK_FOREIGN || (look == LOOK_ABSENT && !is_young(target))) {
        return absent(sealing->id, err);
    }
    if (look == LOOK_PENDING && !sealing->asked) {
        int result = choose_blocks(pub, target, err);

        if (result != PHASE_DONE || complete(pub, target, sealing, err) < 0) {
            return result != PHASE_DONE ? result : -1;
        }
    }
    if (look != LOOK_COMPLETED && sealing->asked && (int64_t)time(NULL) > sealing->give_up) {
        return waited_long(pub, target, sealing, err);
    }
    return look == LOOK_COMPLETED ? PHASE_DONE : GO_ON;
}

static int seal(struct publication *pub, struct aws_target *target, struct sealing *sealing,
                struct error *err)
{
    unsigned ms = 0;

    for (;;) {
        SCOPED_FREE char *why = NULL;
        int look = look_at(pub, target, sealing->id, &why, err);
        int result = judge_look(pub, target, sealing, look, why, err);

        if (result != GO_ON) {
            return result;
        }
        if (publication_pause(&ms, err) < 0) {
            return -1;
        }
    }
}

int aws_seal(struct publication *pub, void *state, struct error *err)
{
    struct aws_target *target = state;
    SCOPED_FREE char *id = xstrdup(snapshot_of(pub));
    struct sealing sealing = {.id = id, .asked = journal_get(pub->journal, "sealed") != NULL};

    target->young_until = young_until(pub);
    sealing.give_up = (int64_t)time(NULL) + PENDING_MAX_S;
    int result = seal(pub, target, &sealing, err);

    free(sealing.refusal);
    aws_result(pub, target);
    return result;
}
