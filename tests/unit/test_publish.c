/* SPDX-License-Identifier: Apache-2.0 */
/* The engine, with a cloud of the test's own. Where cmocka hides kiln's fail it is (fail). */
#undef NDEBUG
#include "publish/publish.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/stop.h"
#include "bundle/bundle.h"
#include "small_bundle.h"
#include "tools.h"

/* ---- the cloud ---- */

/* What the cloud does for one target, and what it was asked for. */
struct act {
    const char *target;
    const char *account;
    enum fail_kind begin_fails;
    const char *fails; /* the phase that fails, so often */
    enum fail_kind kind;
    unsigned times;
    const char *again; /* the phase that begins again, so often */
    unsigned again_times;
    bool is_there; /* what find says */
    bool forgets;  /* the parent */
    bool stops;    /* upload interrupts the program */
    struct buf calls;
    char token[HASH_HEX_MAX], id[HASH_HEX_MAX];
    uint8_t digest[HASH_SIZE]; /* of the disk that abort was of */
};

enum { ACTS = 3 };
static struct act acts[ACTS];

static struct act *act_of(const struct publication *pub)
{
    for (size_t i = 0; i < ACTS; i++) {
        if (acts[i].target != NULL && strcmp(acts[i].target, pub->target->name) == 0) {
            return &acts[i];
        }
    }
    abort();
}

struct test_state {
    struct act *act;
};

static int test_plan(struct publication *pub, const struct call_plan *plan, struct error *err)
{
    SCOPED_FREE uint64_t *blocks = NULL;
    size_t count;

    (void)err;
    parent_changes(pub->bundle, pub->parent, &blocks, &count);
    plan->call(plan->data, "POST", "https://cloud.example/start\x1b[31m", 1, 0);
    plan->call(plan->data, "PUT", "https://cloud.example/blocks/{block}", count,
               count * BLOCK_SIZE);
    return 0;
}

static int test_begin(struct publication *pub, void *state, struct identity *ret, struct error *err)
{
    struct test_state *test = state;

    test->act = act_of(pub);
    buf_puts(&test->act->calls, "begin ");
    if (test->act->begin_fails != FAIL_NONE) {
        return (fail)(err, test->act->begin_fails, "nobody knows you");
    }
    ret->account = xstrdup(test->act->account);
    ret->host = xstrdup("https://cloud.example");
    ret->who = xstrdup("somebody\x1b[31m");
    ret->scope = xprintf("test/%s", test->act->account);
    return 0;
}

static int test_find(struct publication *pub, void *state, bool *ret, struct error *err)
{
    struct act *act = ((struct test_state *)state)->act;

    (void)err;
    buf_puts(&act->calls, "find ");
    strcpy(act->id, pub->id);
    *ret = act->is_there;
    if (*ret) {
        json_object_set_new(pub->result, "image", json_string("image-found"));
    }
    return 0;
}

static int test_phase(struct publication *pub, struct act *act, const char *name, struct error *err)
{
    buf_printf(&act->calls, "%s ", name);
    if (act->fails != NULL && strcmp(act->fails, name) == 0 && act->times > 0) {
        act->times--;
        (fail)(err, act->kind, "the %s went wrong", name);
        return fail_hint(err, "try it in another way");
    }
    if (act->again != NULL && strcmp(act->again, name) == 0 && act->again_times > 0) {
        act->again_times--;
        (fail)(err, FAIL_REMOTE, "the thing is gone");
        return PHASE_AGAIN;
    }
    publication_note(pub, "%s\n", name);
    return PHASE_DONE;
}

static int test_start(struct publication *pub, void *state, struct error *err)
{
    struct act *act = ((struct test_state *)state)->act;
    int result = test_phase(pub, act, "start", err);

    if (result != PHASE_DONE) {
        return result;
    }
    if (act->forgets && publication_forget_parent(pub, "it is no more", err) < 0) {
        return -1;
    }
    publication_token(pub, "start", act->token);
    json_object_set_new(pub->result, "thing", json_string("thing-1"));
    return journal_set(pub->journal, "thing", act->token, err);
}

static int test_upload(struct publication *pub, void *state, struct error *err)
{
    struct act *act = ((struct test_state *)state)->act;
    const char *image = pub->parent != NULL
                            ? json_string_value(json_object_get(pub->parent->result, "image"))
                            : "nothing";
    SCOPED_FREE uint64_t *blocks = NULL;
    size_t count;

    parent_changes(pub->bundle, pub->parent, &blocks, &count);
    buf_printf(&act->calls, "[%zu from %s] ", count, image);
    publication_expect(pub, count * BLOCK_SIZE);
    publication_sent(pub, (int64_t)(count * BLOCK_SIZE));
    if (act->stops) {
        (void)kill(getpid(), SIGINT);
        while (stop_check(err) == 0) {
        }
        return -1;
    }
    return test_phase(pub, act, "upload", err);
}

static int test_register(struct publication *pub, void *state, struct error *err)
{
    struct act *act = ((struct test_state *)state)->act;
    const char *version = pub->bundle->version;

    json_object_set_new(pub->result, "image", json_sprintf("image-%s", version));
    return test_phase(pub, act, "register", err);
}

static int test_abort(struct publication *pub, void *state, struct error *err)
{
    struct act *act = ((struct test_state *)state)->act;
    bool has = journal_get(pub->journal, "thing") != NULL;

    (void)err;
    strcpy(act->id, pub->id);
    memcpy(act->digest, pub->bundle->disk_digest, HASH_SIZE);
    buf_printf(&act->calls, "abort(%s) ", has ? "thing" : "nothing");
    return 0;
}

static void test_end(void *state)
{
    struct test_state *test = state;

    buf_puts(&test->act->calls, "end ");
}

static const struct phase test_phases[] = {
    {.name = "start", .run = test_start},
    {.name = "upload", .run = test_upload, .ends_parent = true},
    {.name = "register", .run = test_register},
    {0},
};

#define TEST_CLOUD(kind_, takes_parent_)                                                           \
    {                                                                                              \
        .kind = (kind_), .state_bytes = sizeof(struct test_state),                                 \
        .takes_parent = (takes_parent_), .plan = test_plan, .begin = test_begin,                   \
        .find = test_find, .phases = test_phases, .abort = test_abort, .end = test_end,            \
    }

static const struct cloud test_aws = TEST_CLOUD(CLOUD_AWS, true);
static const struct cloud test_directory = TEST_CLOUD(CLOUD_DIRECTORY, false);
static const struct cloud *const test_clouds[CLOUDS] = {
    [CLOUD_AWS] = &test_aws, [CLOUD_DIRECTORY] = &test_directory};

/* ---- bundles ---- */

#define ONE "{\"one\": {\"cloud\": \"directory\"}}"
#define TWO                                                                                        \
    "{\"one\": {\"cloud\": \"directory\"}, \"two\": {\"cloud\": \"directory\", \"path\": \"/x\"}}"
#define DELTA "{\"one\": {\"cloud\": \"aws\", \"region\": \"eu-west-1\"}}"

static const struct small_block first_blocks[] = {{0, "zero"}, {1, "one"}, {9, "nine"}};
static const struct small_block second_blocks[] = {{0, "zero"}, {1, "uno"}, {2047, "last"}};

static void write_bundle(const char *version, const char *targets)
{
    bool first = strcmp(version, "1") == 0;

    small_bundle_write(&(struct small_bundle){
        .dir = version,
        .name = "web",
        .version = version,
        .targets = targets,
        .gib = 1,
        .blocks = first ? first_blocks : second_blocks,
        .count = first ? COUNT(first_blocks) : COUNT(second_blocks),
    });
}

/* ---- runs ---- */

/* What the last run said. */
static struct buf out, errors;
static struct error last;

static void forget_calls(void)
{
    for (size_t i = 0; i < ACTS; i++) {
        buf_clear(&acts[i].calls);
        buf_puts(&acts[i].calls, "");
    }
}

static int start_test(void **state)
{
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < ACTS; i++) {
        struct buf calls = acts[i].calls;

        acts[i] = (struct act){.account = "4711", .calls = calls};
    }
    acts[0].target = "one";
    acts[1].target = "two";
    forget_calls();
    assert_int_equal(file_remove_tree("state", &err), 0);
    assert_int_equal(file_remove_tree("1", &err), 0);
    assert_int_equal(file_remove_tree("2", &err), 0);
    return 0;
}

static void collect(int fd, struct buf *buf)
{
    off_t size = lseek(fd, 0, SEEK_END);

    buf_clear(buf);
    assert_int_equal(pread(fd, buf_reserve(buf, (size_t)size), (size_t)size, 0), size);
    buf->size += (size_t)size;
    buf_puts(buf, "");
}

typedef int (*command)(const struct publish_options *options, struct ui *ui, struct error *err);

/* Runs it with what it says in OUT and ERRORS. */
static int run(command publish, struct publish_options options, bool json)
{
    int files[] = {memfd_create("out", MFD_CLOEXEC), memfd_create("err", MFD_CLOEXEC)};
    int before[] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    struct ui *ui;
    int result;

    options.clouds = test_clouds;
    last = (struct error){0};
    (void)fflush(NULL);
    (void)dup2(files[0], STDOUT_FILENO);
    (void)dup2(files[1], STDERR_FILENO);
    ui = ui_new(&(struct ui_options){.json = json});
    result = publish(&options, ui, &last);
    if (result < 0) {
        ui_error(ui, &last);
    }
    ui_free(ui);
    for (int i = 0; i < 2; i++) {
        (void)dup2(before[i], i == 0 ? STDOUT_FILENO : STDERR_FILENO);
        (void)close(before[i]);
        collect(files[i], i == 0 ? &out : &errors);
        (void)close(files[i]);
    }
    return result;
}

static void expect_text(const struct buf *text, const char *part)
{
    if (strstr(text->data, part) == NULL) {
        fail_msg("no '%s' in:\n%s", part, text->data);
    }
}

static void expect_no_text(const struct buf *text, const char *part)
{
    if (strstr(text->data, part) != NULL) {
        fail_msg("'%s' in:\n%s", part, text->data);
    }
}

static void expect_calls(int act, const char *calls)
{
    assert_string_equal(acts[act].calls.data, calls);
    forget_calls();
}

static void must_run(command publish, struct publish_options options, bool json)
{
    if (run(publish, options, json) < 0) {
        fail_msg("%s", last.message);
    }
}

static void must_publish(const char *bundle, const char *said)
{
    must_run(publish_run, (struct publish_options){.bundle = bundle}, false);
    assert_string_equal(out.data, said);
}

static void must_fail(const char *bundle, enum fail_kind kind, const char *message)
{
    assert_int_equal(run(publish_run, (struct publish_options){.bundle = bundle}, false), -1);
    assert_int_equal(last.kind, kind);
    assert_string_equal(last.message, message);
}

/* How many there were. */
static int unlink_journals(const char *bundle)
{
    SCOPED_FREE char *dir = file_join(bundle, BUNDLE_JOURNALS);
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    struct error err = {0};

    assert_int_equal(journal_list(dir, &paths, &err), 0);
    for (size_t i = 0; i < paths.count; i++) {
        assert_int_equal(unlink(paths.items[i]), 0);
    }
    return (int)paths.count;
}

/* ---- publishing ---- */

static void phases_run_in_their_order_once(void **state)
{
    (void)state;
    write_bundle("1", ONE);
    must_publish("1", "one  published  image-1\n");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    expect_text(&errors, "one: directory, account 4711 at https://cloud.example, as "
                         "somebody\\x1b[31m\n");
    expect_text(&errors, "one: start\\x0a\n");
    acts[0].is_there = true;
    must_publish("1", "one  unchanged  image-found\n");
    expect_calls(0, "begin find end ");
}

static void who_is_shown_before_anything_is_sent(void **state)
{
    const char *who, *sent;

    (void)state;
    write_bundle("1", TWO);
    must_run(publish_run, (struct publish_options){.bundle = "1"}, false);
    who = strstr(errors.data, "two: directory, account");
    sent = strstr(errors.data, "one: start");
    assert_true(who != NULL && sent != NULL && who < sent);
}

static void results_are_events_too(void **state)
{
    (void)state;
    write_bundle("1", ONE);
    must_run(publish_run, (struct publish_options){.bundle = "1"}, true);
    expect_text(&out, "{\"event\":\"identity\",\"target\":\"one\",\"cloud\":\"directory\","
                      "\"account\":\"4711\",\"host\":\"https://cloud.example\",\"who\":"
                      "\"somebody\\u001B[31m\"}\n");
    expect_text(&out, "{\"event\":\"published\",\"target\":\"one\",\"cloud\":\"directory\","
                      "\"status\":\"published\",\"thing\":\"thing-1\",\"image\":\"image-1\"}\n");
    acts[0].begin_fails = FAIL_USAGE;
    assert_int_equal(run(publish_run, (struct publish_options){.bundle = "1"}, true), -1);
    expect_text(&out, "{\"event\":\"failed\",\"target\":\"one\",\"cloud\":\"directory\",\"kind\":"
                      "\"usage\",\"status\":2,\"message\":\"target 'one': nobody knows you\"}\n");
    expect_text(&out, "{\"event\":\"error\",");
}

static void a_bundle_without_targets_has_a_directory(void **state)
{
    (void)state;
    acts[0].target = "directory";
    write_bundle("1", NULL);
    must_publish("1", "directory  published  image-1\n");
}

static void targets_are_chosen_by_name(void **state)
{
    struct publish_options options = {.bundle = "1"};

    (void)state;
    write_bundle("1", TWO);
    options.targets = "two,two";
    must_run(publish_run, options, false);
    assert_string_equal(out.data, "two  published  image-1\n");
    options.targets = "two,on";
    assert_int_equal(run(publish_run, options, false), -1);
    assert_int_equal(last.kind, FAIL_USAGE);
    assert_string_equal(last.message, "the bundle has no target 'on'");
    assert_string_equal(last.hint, "did you mean 'one'?");
    options.targets = "production";
    assert_int_equal(run(publish_run, options, false), -1);
    assert_string_equal(last.hint, "it has: one, two");
    options.targets = ",";
    assert_int_equal(run(publish_run, options, false), -1);
    assert_int_equal(last.kind, FAIL_USAGE);
    assert_string_equal(acts[0].calls.data, "");
}

static void a_cloud_this_kiln_has_not_is_refused(void **state)
{
    (void)state;
    write_bundle("1", "{\"one\": {\"cloud\": \"openstack\"}}");
    must_fail("1", FAIL_ERROR, "target 'one': this kiln cannot publish to 'openstack'");
}

/* ---- failures ---- */

static void one_failing_target_costs_the_other_nothing(void **state)
{
    (void)state;
    write_bundle("1", TWO);
    acts[1].fails = "upload";
    acts[1].kind = FAIL_ERROR;
    acts[1].times = 1;
    must_fail("1", FAIL_REMOTE, "1 of 2 targets failed");
    assert_string_equal(out.data, "one  published  image-1\n");
    expect_text(&errors, "kiln: target 'two': upload: the upload went wrong\n"
                         "  hint: try it in another way\n");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    acts[0].is_there = true;
    must_run(publish_run, (struct publish_options){.bundle = "1"}, false);
    expect_text(&out, "one  unchanged  image-found\n");
    expect_text(&out, "two  published  image-1\n");
    expect_text(&errors, "two: goes on from where an earlier run ended");
    assert_string_equal(acts[0].calls.data, "begin find end ");
    expect_calls(1, "begin find [3 from nothing] upload register end ");
}

static void nobody_is_asked_twice_who_is_not_known(void **state)
{
    (void)state;
    write_bundle("1", TWO);
    acts[0].begin_fails = FAIL_REMOTE;
    must_fail("1", FAIL_REMOTE, "1 of 2 targets failed");
    expect_no_text(&errors, "one: directory, account");
    expect_text(&out, "two  published  image-1\n");
    expect_calls(0, "begin end ");
}

static void targets_that_fail_alike_keep_their_kind(void **state)
{
    (void)state;
    write_bundle("1", TWO);
    for (int i = 0; i < 2; i++) {
        acts[i].fails = "upload";
        acts[i].kind = FAIL_MISMATCH;
        acts[i].times = 2;
    }
    must_fail("1", FAIL_MISMATCH, "2 of 2 targets failed");
    acts[1].kind = FAIL_ERROR;
    must_fail("1", FAIL_REMOTE, "2 of 2 targets failed");
}

static void an_only_target_fails_as_itself(void **state)
{
    (void)state;
    write_bundle("1", ONE);
    acts[0].fails = "register";
    acts[0].kind = FAIL_MISMATCH;
    acts[0].times = 1;
    must_fail("1", FAIL_MISMATCH, "target 'one': register: the register went wrong");
    assert_string_equal(last.hint, "try it in another way");
    assert_string_equal(strstr(errors.data, "kiln: "),
                        "kiln: target 'one': register: the register went wrong\n"
                        "  hint: try it in another way\n");
}

static void what_a_phase_made_is_in_the_result_of_the_next_run(void **state)
{
    (void)state;
    write_bundle("1", ONE);
    acts[0].fails = "register";
    acts[0].kind = FAIL_REMOTE;
    acts[0].times = 1;
    must_fail("1", FAIL_REMOTE, "target 'one': register: the register went wrong");
    forget_calls();
    must_run(publish_run, (struct publish_options){.bundle = "1"}, true);
    expect_text(&out, "\"thing\":\"thing-1\"");
    expect_calls(0, "begin find register end ");
}

static void what_is_gone_is_begun_again_with_other_tokens(void **state)
{
    char token[HASH_HEX_MAX];

    (void)state;
    write_bundle("1", ONE);
    acts[0].again = "start";
    acts[0].again_times = 1;
    must_publish("1", "one  published  image-1\n");
    strcpy(token, acts[0].token);
    expect_text(&errors, "one: start: the thing is gone: it begins again\n");
    expect_calls(0, "begin find start start [3 from nothing] upload register end ");
    assert_int_equal(unlink_journals("1"), 1);
    must_publish("1", "one  published  image-1\n");
    assert_string_not_equal(token, acts[0].token);
    forget_calls();
    assert_int_equal(unlink_journals("1"), 1);
    acts[0].again = "register";
    acts[0].again_times = 3;
    must_fail("1", FAIL_REMOTE,
              "target 'one': given up after 3 attempts: register: the thing is "
              "gone");
    expect_calls(0, "begin find start [3 from nothing] upload register "
                    "start [3 from nothing] upload register "
                    "start [3 from nothing] upload register end ");
}

static void what_was_published_and_is_gone_is_published_again(void **state)
{
    char token[HASH_HEX_MAX];

    (void)state;
    write_bundle("1", ONE);
    must_publish("1", "one  published  image-1\n");
    strcpy(token, acts[0].token);
    forget_calls();
    must_publish("1", "one  published  image-1\n");
    expect_text(&errors,
                "one: it was published before, and is gone or changed: it is published again\n");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    assert_string_not_equal(token, acts[0].token);
}

/* Of a run that was killed when all was done but the last line. */
static void what_was_made_and_is_gone_is_made_again(void **state)
{
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    SCOPED(buf_done) struct buf text = {0};
    char *at, token[HASH_HEX_MAX];
    struct error err = {0};

    (void)state;
    write_bundle("1", ONE);
    must_publish("1", "one  published  image-1\n");
    strcpy(token, acts[0].token);
    assert_int_equal(journal_list("1/" BUNDLE_JOURNALS, &paths, &err), 0);
    assert_int_equal(file_read(paths.items[0], 1 << 20, &text, &err), 0);
    at = strstr(text.data, "{\"key\":\"published\"");
    assert_non_null(at);
    assert_int_equal(truncate(paths.items[0], at - text.data), 0);
    forget_calls();
    must_publish("1", "one  published  image-1\n");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    assert_string_not_equal(token, acts[0].token);
}

static void an_interrupted_publish_goes_on_later(void **state)
{
    int status = 0;
    pid_t child;

    (void)state;
    write_bundle("1", TWO);
    acts[0].stops = true;
    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        stop_init();
        (void)run(publish_run, (struct publish_options){.bundle = "1"}, false);
        _exit(last.kind == FAIL_STOPPED && strcmp(last.message, "interrupted") == 0 &&
                      strstr(last.hint, "goes on") != NULL && strstr(errors.data, "target") == NULL
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    acts[0].stops = false;
    acts[1].is_there = true;
    must_run(publish_run, (struct publish_options){.bundle = "1"}, false);
    expect_calls(0, "begin find [3 from nothing] upload register end ");
}

/* ---- journals ---- */

static void another_kiln_has_the_journal(void **state)
{
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    struct error err = {0};
    int fd;

    (void)state;
    write_bundle("1", ONE);
    must_publish("1", "one  published  image-1\n");
    assert_int_equal(journal_list("1/" BUNDLE_JOURNALS, &paths, &err), 0);
    fd = open(paths.items[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    must_fail("1", FAIL_ERROR, "target 'one': 'one' is being published by another kiln");
    (void)close(fd);
}

static void whatever_makes_it_another_image_makes_another_publish(void **state)
{
    static const char *const targets[] = {
        ONE, "{\"one\": {\"cloud\": \"directory\", \"path\": \"/y\"}}",
        "{\"one\": {\"cloud\": \"aws\", \"region\": \"eu-west-1\"}}"};
    char ids[5][HASH_HEX_MAX];
    size_t count = 0;

    (void)state;
    for (; count < COUNT(targets); count++) {
        write_bundle("1", targets[count]);
        must_publish("1", "one  published  image-1\n");
        strcpy(ids[count], acts[0].id);
    }
    acts[0].account = "4712";
    must_publish("1", "one  published  image-1\n");
    strcpy(ids[count++], acts[0].id);
    write_bundle("2", targets[2]);
    must_publish("2", "one  published  image-2\n");
    strcpy(ids[count++], acts[0].id);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(ids[i], ids[k]);
        }
    }
}

/* ---- parents ---- */

static const char no_parent[] =
    "one: no previous image of this target is known here: everything is "
    "sent\n";

static void only_what_changed_since_the_last_one_is_sent(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    expect_text(&errors, no_parent);
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    must_publish("2", "one  published  image-2\n");
    expect_no_text(&errors, no_parent);
    /* Block 1 changed, 9 became zero, 2047 is new. */
    expect_calls(0, "begin find start [3 from image-1] upload register end ");
    acts[0].account = "4712";
    assert_int_equal(unlink_journals("2"), 1);
    must_publish("2", "one  published  image-2\n");
    expect_text(&errors, no_parent);
}

static void full_sends_everything(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    forget_calls();
    must_run(publish_run, (struct publish_options){.bundle = "2", .full = true}, false);
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    expect_no_text(&errors, no_parent);
}

static void a_parent_with_a_larger_disk_is_no_parent(void **state)
{
    struct small_bundle large = {.dir = "2",
                                 .name = "web",
                                 .version = "2",
                                 .targets = DELTA,
                                 .gib = 2,
                                 .blocks = first_blocks,
                                 .count = 1};

    (void)state;
    small_bundle_write(&large);
    write_bundle("1", DELTA);
    must_publish("2", "one  published  image-2\n");
    forget_calls();
    must_publish("1", "one  published  image-1\n");
    expect_text(&errors, "one: the previous image has a larger disk: everything is sent\n");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
}

static void a_parent_that_is_damaged_is_no_parent(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    assert_int_equal(truncate("state/kiln/published/web/one/record.json", 10), 0);
    forget_calls();
    must_publish("2", "one  published  image-2\n");
    expect_text(&errors, "one: the previous image is of no use: everything is sent (");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
}

static void another_bundle_can_be_the_parent(void **state)
{
    struct publish_options options = {.bundle = "2", .parent = "1"};
    struct error err = {0};

    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    assert_int_equal(run(publish_run, options, false), -1);
    assert_string_equal(last.message,
                        "target 'one': '1' was never published to target 'one' as 'test/4711'");
    must_publish("1", "one  published  image-1\n");
    assert_int_equal(file_remove_tree("state", &err), 0);
    forget_calls();
    must_run(publish_run, options, false);
    expect_calls(0, "begin find start [3 from image-1] upload register end ");
}

/* A third disk of the same name: what publishing it leaves is another parent. */
static void publish_another(void)
{
    small_bundle_write(&(struct small_bundle){.dir = "another",
                                              .name = "web",
                                              .version = "3",
                                              .targets = DELTA,
                                              .gib = 1,
                                              .blocks = second_blocks,
                                              .count = 2});
    must_publish("another", "one  published  image-3\n");
    forget_calls();
}

static void fail_once(const char *bundle, const char *phase)
{
    acts[0].fails = phase;
    acts[0].kind = FAIL_REMOTE;
    acts[0].times = 1;
    assert_int_equal(run(publish_run, (struct publish_options){.bundle = bundle}, false), -1);
    assert_non_null(strstr(last.message, "went wrong"));
    forget_calls();
}

/* Blocks that are up are changes of one parent, and would be wrong on top of another. */
static void an_attempt_begun_from_another_parent_begins_again(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    fail_once("2", "upload");
    publish_another();
    must_publish("2", "one  published  image-2\n");
    expect_text(&errors, "one: it was begun from another previous image: it begins again\n");
    expect_calls(0, "begin find abort(thing) start [1 from image-3] upload register end ");
}

static void an_attempt_begun_without_a_parent_goes_on_without(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    fail_once("2", "upload");
    must_publish("1", "one  published  image-1\n");
    forget_calls();
    must_publish("2", "one  published  image-2\n");
    expect_no_text(&errors, "previous image");
    expect_calls(0, "begin find [3 from nothing] upload register end ");
}

static void a_parent_no_longer_matters_once_the_blocks_are_up(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    fail_once("2", "register");
    publish_another();
    must_publish("2", "one  published  image-2\n");
    expect_calls(0, "begin find register end ");
}

static void a_parent_the_cloud_forgot_stays_forgotten(void **state)
{
    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    acts[0].forgets = true;
    fail_once("2", "upload");
    expect_text(&errors, "one: it is no more: everything is sent\n");
    acts[0].forgets = false;
    must_publish("2", "one  published  image-2\n");
    expect_calls(0, "begin find [3 from nothing] upload register end ");
}

/* ---- dry run, status, abort ---- */

static void a_dry_run_counts_calls_and_asks_nobody(void **state)
{
    struct publish_options options = {.bundle = "2"};

    (void)state;
    write_bundle("1", DELTA);
    write_bundle("2", DELTA);
    must_publish("1", "one  published  image-1\n");
    forget_calls();
    must_run(publish_plan, options, false);
    assert_string_equal(out.data, "one  POST https://cloud.example/start\\x1b[31m × 1\n"
                                  "one  PUT https://cloud.example/blocks/{block} × 3, 1.5 MiB\n"
                                  "one  in all 4 calls, 1.5 MiB\n");
    assert_false(file_exists("2/" BUNDLE_JOURNALS));
    must_run(publish_plan, options, true);
    expect_text(&out, "{\"event\":\"call\",\"target\":\"one\",\"method\":\"PUT\",\"url\":"
                      "\"https://cloud.example/blocks/{block}\",\"count\":3,\"bytes\":1572864}\n");
    expect_text(&out, "{\"event\":\"plan\",\"target\":\"one\",\"cloud\":\"aws\",\"calls\":4,"
                      "\"bytes\":1572864}\n");
    expect_calls(0, "");
}

static void status_shows_what_is_done(void **state)
{
    struct publish_options options = {.bundle = "1"};

    (void)state;
    write_bundle("1", TWO);
    must_run(publish_status, options, false);
    assert_string_equal(out.data, "");
    expect_text(&errors, "nothing was published from this bundle\n");
    acts[1].fails = "register";
    acts[1].kind = FAIL_REMOTE;
    acts[1].times = 1;
    must_fail("1", FAIL_REMOTE, "1 of 2 targets failed");
    forget_calls();
    must_run(publish_status, options, false);
    expect_text(&out, "one  published  image-1  (test/4711, ");
    expect_text(&out, "two  unfinished  attempt 1, done: start, upload, 0 blocks up  (test/4711, ");
    must_run(publish_status, options, true);
    expect_text(&out, "{\"event\":\"status\",\"target\":\"two\",\"cloud\":\"directory\","
                      "\"scope\":\"test/4711\",\"id\":\"");
    expect_text(&out, "\"status\":\"unfinished\",\"attempt\":1,\"phases\":[\"start\","
                      "\"upload\"],\"blocks\":0,\"result\":{\"thing\":\"thing-1\"}}\n");
    options.targets = "one";
    must_run(publish_status, options, false);
    expect_no_text(&out, "two");
    assert_string_equal(acts[0].calls.data, "");
}

static void one_damaged_journal_does_not_hide_the_others(void **state)
{
    struct publish_options options = {.bundle = "1"};
    struct error err = {0};

    (void)state;
    write_bundle("1", ONE);
    must_publish("1", "one  published  image-1\n");
    assert_int_equal(file_write("1/" BUNDLE_JOURNALS "/a.1.journal", "x\n", 2, &err), 0);
    assert_int_equal(run(publish_status, options, false), -1);
    assert_int_equal(last.kind, FAIL_ERROR);
    expect_text(&errors, "kiln: 1/publish/a.1.journal:1: no line of a journal\n");
    expect_text(&out, "one  published  image-1");
    assert_int_equal(unlink_journals("1"), 2);
    fail_once("1", "register");
    assert_int_equal(file_write("1/" BUNDLE_JOURNALS "/a.1.journal", "x\n", 2, &err), 0);
    assert_int_equal(run(publish_abort, options, false), -1);
    assert_string_equal(last.message, "1 journal cannot be read");
    expect_text(&out, "one  aborted  ");
}

static void abort_removes_what_is_unfinished(void **state)
{
    struct publish_options options = {.bundle = "1"};
    char id[HASH_HEX_MAX];

    (void)state;
    write_bundle("1", TWO);
    acts[1].fails = "register";
    acts[1].kind = FAIL_REMOTE;
    acts[1].times = 1;
    must_fail("1", FAIL_REMOTE, "1 of 2 targets failed");
    strcpy(id, acts[1].id);
    forget_calls();
    options.targets = "one";
    must_run(publish_abort, options, false);
    expect_text(&errors, "no publish is unfinished\n");
    options.targets = NULL;
    acts[1].account = "4712";
    assert_int_equal(run(publish_abort, options, false), -1);
    assert_string_equal(last.message,
                        "target 'two': it was begun as 'test/4711', this is 'test/4712'");
    forget_calls();
    acts[1].account = "4711";
    must_run(publish_abort, options, false);
    assert_int_equal(strncmp(out.data, "two  aborted  ", strlen("two  aborted  ")), 0);
    expect_text(&errors, "two: directory, account 4711 at https://cloud.example");
    assert_string_equal(acts[0].calls.data, "");
    expect_calls(1, "begin find abort(thing) end ");
    assert_string_equal(acts[1].id, id);
    must_run(publish_status, options, false);
    expect_text(&out, "two  aborted  -  (test/4711, ");
    must_run(publish_abort, options, false);
    expect_text(&errors, "no publish is unfinished\n");
}

/* The cloud may remember the names of what it deleted. */
static void what_was_aborted_is_published_by_other_names(void **state)
{
    char token[HASH_HEX_MAX];

    (void)state;
    write_bundle("1", ONE);
    fail_once("1", "register");
    strcpy(token, acts[0].token);
    must_run(publish_abort, (struct publish_options){.bundle = "1"}, false);
    forget_calls();
    must_publish("1", "one  published  image-1\n");
    expect_calls(0, "begin find start [3 from nothing] upload register end ");
    expect_no_text(&errors, "goes on");
    assert_string_not_equal(token, acts[0].token);
}

static void abort_leaves_what_is_published_after_all(void **state)
{
    struct publish_options options = {.bundle = "1"};

    (void)state;
    write_bundle("1", ONE);
    fail_once("1", "register");
    acts[0].is_there = true;
    must_run(publish_abort, options, false);
    expect_text(&out, "one  published  ");
    expect_calls(0, "begin find end ");
    must_run(publish_status, options, false);
    expect_text(&out, "one  published  image-found");
}

static void abort_is_of_the_disk_that_was_there_then(void **state)
{
    struct publish_options options = {.bundle = "1"};
    SCOPED(reader_freep) struct reader *reader = NULL;
    char id[HASH_HEX_MAX];
    struct error err = {0};

    (void)state;
    write_bundle("1", ONE);
    assert_int_equal(reader_open("1", &reader, &err), 0);
    fail_once("1", "register");
    strcpy(id, acts[0].id);
    small_bundle_write(&(struct small_bundle){
        .dir = "1", .name = "web", .version = "1.1", .targets = ONE, .gib = 1});
    must_run(publish_abort, options, false);
    expect_calls(0, "begin find abort(thing) end ");
    assert_string_equal(acts[0].id, id);
    assert_memory_equal(acts[0].digest, reader->disk_digest, HASH_SIZE);
    assert_int_equal(unlink_journals("1"), 1);
}

static void abort_believes_no_journal_that_is_not_strict(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"version\":\"1\"", "\"version\":\"../1\"", "has no 'version' that can be used"},
        {"\"name\":\"web\"", "\"name\":\"/etc\"", "has no 'name' that can be used"},
        {"\"architecture\":\"x86_64\"", "\"architecture\":\"vax\"",
         "has no 'architecture' that can be used"},
        {"\"disk_digest\":\"", "\"disk_digest\":\"x", "has no 'disk_digest' that can be used"},
        {"\"id\":\"", "\"id\":\"0", "is not called as a journal of target 'one'"},
        {"\"target\":\"one\"", "\"target\":\"two\"", "is not called as a journal of target 'two'"},
        {"\"target\":\"one\"", "\"target\":\"../one\"", "has no 'attributes' that can be used"},
        {"\"cloud\":\"directory\"", "\"cloud\":\"other\"", "has no 'attributes' that can be used"},
        {"\"attributes\":\"{}\"", "\"attributes\":\"{\"", "has no 'attributes' that can be used"},
        {"\"attributes\":\"{}\"", "\"attributes\":\"{ }\"", "has no 'attributes' that can be used"},
        {"\"attributes\":\"{}\"", "\"attributes\":\"{\\\"endpoint\\\":\\\"x\\\"}\"",
         "has no 'attributes' that can be used"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED(journal_paths_done) struct journal_paths paths = {0};
        SCOPED(buf_done) struct buf text = {0}, other = {0};
        struct error err = {0};
        const char *at;

        write_bundle("1", ONE);
        fail_once("1", "register");
        assert_int_equal(journal_list("1/" BUNDLE_JOURNALS, &paths, &err), 0);
        assert_int_equal(file_read(paths.items[0], 1 << 20, &text, &err), 0);
        at = strstr(text.data, cases[i].from);
        assert_non_null(at);
        buf_add(&other, text.data, (size_t)(at - text.data));
        buf_printf(&other, "%s%s", cases[i].to, at + strlen(cases[i].from));
        assert_int_equal(file_write(paths.items[0], other.data, other.size, &err), 0);
        assert_int_equal(run(publish_abort, (struct publish_options){.bundle = "1"}, false), -1);
        if (strstr(last.message, cases[i].message) == NULL) {
            fail_msg("%s", last.message);
        }
        assert_int_equal(unlink_journals("1"), 1);
        expect_calls(0, "");
    }
}

/* Else what was published with other attributes would look unfinished, and be removed. */
static void abort_believes_no_journal_of_another_target_than_it_says(void **state)
{
    static const char none[] = "\"attributes\":\"{}\"";
    SCOPED(journal_paths_done) struct journal_paths paths = {0};
    SCOPED(buf_done) struct buf text = {0}, other = {0};
    struct error err = {0};
    const char *at;

    (void)state;
    write_bundle("1", ONE);
    fail_once("1", "register");
    assert_int_equal(journal_list("1/" BUNDLE_JOURNALS, &paths, &err), 0);
    assert_int_equal(file_read(paths.items[0], 1 << 20, &text, &err), 0);
    at = strstr(text.data, none);
    assert_non_null(at);
    buf_add(&other, text.data, (size_t)(at - text.data));
    buf_printf(&other, "\"attributes\":\"{\\\"path\\\":\\\"/x\\\"}\"%s", at + strlen(none));
    assert_int_equal(file_write(paths.items[0], other.data, other.size, &err), 0);
    assert_int_equal(run(publish_abort, (struct publish_options){.bundle = "1"}, false), -1);
    assert_non_null(strstr(last.message, "has no 'id' that can be used"));
    expect_calls(0, "begin end ");
}

static void abort_is_of_the_target_as_it_was_then(void **state)
{
    struct publish_options options = {.bundle = "1"};

    (void)state;
    write_bundle("1", ONE);
    fail_once("1", "register");
    write_bundle("1", DELTA);
    must_run(publish_abort, options, false);
    expect_text(&errors, "one: directory, account 4711");
    expect_calls(0, "begin find abort(thing) end ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(phases_run_in_their_order_once, start_test),
        cmocka_unit_test_setup(who_is_shown_before_anything_is_sent, start_test),
        cmocka_unit_test_setup(results_are_events_too, start_test),
        cmocka_unit_test_setup(a_bundle_without_targets_has_a_directory, start_test),
        cmocka_unit_test_setup(targets_are_chosen_by_name, start_test),
        cmocka_unit_test_setup(a_cloud_this_kiln_has_not_is_refused, start_test),
        cmocka_unit_test_setup(one_failing_target_costs_the_other_nothing, start_test),
        cmocka_unit_test_setup(nobody_is_asked_twice_who_is_not_known, start_test),
        cmocka_unit_test_setup(targets_that_fail_alike_keep_their_kind, start_test),
        cmocka_unit_test_setup(an_only_target_fails_as_itself, start_test),
        cmocka_unit_test_setup(what_a_phase_made_is_in_the_result_of_the_next_run, start_test),
        cmocka_unit_test_setup(what_is_gone_is_begun_again_with_other_tokens, start_test),
        cmocka_unit_test_setup(what_was_published_and_is_gone_is_published_again, start_test),
        cmocka_unit_test_setup(what_was_made_and_is_gone_is_made_again, start_test),
        cmocka_unit_test_setup(an_interrupted_publish_goes_on_later, start_test),
        cmocka_unit_test_setup(another_kiln_has_the_journal, start_test),
        cmocka_unit_test_setup(whatever_makes_it_another_image_makes_another_publish, start_test),
        cmocka_unit_test_setup(only_what_changed_since_the_last_one_is_sent, start_test),
        cmocka_unit_test_setup(full_sends_everything, start_test),
        cmocka_unit_test_setup(a_parent_with_a_larger_disk_is_no_parent, start_test),
        cmocka_unit_test_setup(a_parent_that_is_damaged_is_no_parent, start_test),
        cmocka_unit_test_setup(another_bundle_can_be_the_parent, start_test),
        cmocka_unit_test_setup(an_attempt_begun_from_another_parent_begins_again, start_test),
        cmocka_unit_test_setup(an_attempt_begun_without_a_parent_goes_on_without, start_test),
        cmocka_unit_test_setup(a_parent_no_longer_matters_once_the_blocks_are_up, start_test),
        cmocka_unit_test_setup(a_parent_the_cloud_forgot_stays_forgotten, start_test),
        cmocka_unit_test_setup(a_dry_run_counts_calls_and_asks_nobody, start_test),
        cmocka_unit_test_setup(status_shows_what_is_done, start_test),
        cmocka_unit_test_setup(one_damaged_journal_does_not_hide_the_others, start_test),
        cmocka_unit_test_setup(abort_removes_what_is_unfinished, start_test),
        cmocka_unit_test_setup(what_was_aborted_is_published_by_other_names, start_test),
        cmocka_unit_test_setup(abort_leaves_what_is_published_after_all, start_test),
        cmocka_unit_test_setup(abort_is_of_the_disk_that_was_there_then, start_test),
        cmocka_unit_test_setup(abort_believes_no_journal_that_is_not_strict, start_test),
        cmocka_unit_test_setup(abort_believes_no_journal_of_another_target_than_it_says,
                               start_test),
        cmocka_unit_test_setup(abort_is_of_the_target_as_it_was_then, start_test),
    };
    int result;

    result = cmocka_run_group_tests(tests, enter_with_state, leave_scratch);
    for (size_t i = 0; i < ACTS; i++) {
        buf_done(&acts[i].calls);
    }
    buf_done(&out);
    buf_done(&errors);
    return result;
}
