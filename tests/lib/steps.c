/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     steps [-v] PROFILE DIR
 *
 * One launch of the appliance for many steps, told from outside. The run layers of PROFILE are the
 * steps; DIR, which is empty, holds the drives. Each line of stdin is a command:
 *
 *     write ARCHIVE [LAYER...]   the scratch disk has this, with captured layers on top
 *     run NUMBER LOG             the layer of this number, from 1, runs there; what it says is in
 * LOG capture LAYER              what changed since the last write, without what the last step
 *                                leaves out
 *
 * and gets a line on stdout: "ok …" or "error …", escaped, with \x0a for a newline. At the end of
 * stdin the appliance is shut down, which gets one, too.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "base/text.h"
#include "capture/capture.h"
#include "step/drive.h"
#include "step/inputs.h"
#include "step/room.h"

enum { LAYERS_MAX = 16 };

/* What the scratch disk was written from. */
struct content {
    struct profile_layer layers[LAYERS_MAX];
    struct profile profile;
    struct stack *stack;
};

struct session {
    const char *directory;
    struct ui *ui;
    struct profile *profile;
    const struct profile_layer *step; /* the last that ran */
    struct content content;
    struct drive *inputs, *scratch;
    struct room_options room_options;
    struct room *room;
};

static void content_done(struct content *content)
{
    stack_free(content->stack);
    for (size_t i = 0; i < content->profile.layer_count; i++) {
        free(content->layers[i].name);
    }
    *content = (struct content){0};
}

static void session_done(struct session *session)
{
    room_free(session->room);
    drive_free(session->inputs);
    drive_free(session->scratch);
    content_done(&session->content);
    profile_free(session->profile);
    ui_free(session->ui);
}

static int open_session(struct session *session, const char *path, struct error *err)
{
    SCOPED_FREE char *inputs = xprintf("%s/inputs.raw", session->directory);
    SCOPED_FREE char *scratch = xprintf("%s/scratch.raw", session->directory);
    struct room_options *options = &session->room_options;

    if (profile_load(path, &session->profile, err) < 0 ||
        inputs_write(session->profile, 0, inputs, session->directory, session->ui, &session->inputs,
                     err) < 0 ||
        drive_new(scratch, "kiln-scratch", session->profile->disk_size_bytes,
                  session->profile->inodes, &session->scratch, err) < 0) {
        return -1;
    }
    *options = (struct room_options){.inputs = drive_path(session->inputs),
                                     .scratch = drive_path(session->scratch),
                                     .temporary = session->directory,
                                     .ui = session->ui};
    for (size_t i = 0; i < session->profile->layer_count; i++) {
        uint64_t bytes = session->profile->layers[i].memory_bytes;

        options->memory_bytes = bytes > options->memory_bytes ? bytes : options->memory_bytes;
    }
    return room_open(options, &session->room, err);
}

/* --- commands; REST is what follows the first word ------------------------------------------ */

/* The first layer is as it lies there, the others are known by what is in them. */
static int open_content(struct content *content, struct error *err)
{
    static const uint8_t no_key[HASH_SIZE];

    content->profile.layers = content->layers;
    if (stack_open(&content->profile, &content->stack, err) < 0) {
        return -1;
    }
    for (size_t i = 1; i < content->profile.layer_count; i++) {
        uint8_t digest[HASH_SIZE];
        uint64_t size;

        if (layer_measure(content->layers[i].name, digest, &size, err) < 0) {
            return -1;
        }
        layer_capture(content->stack->layers[i], no_key, content->layers[i].name, digest, size);
    }
    return 0;
}

static int do_write(struct session *session, char *rest, struct error *err)
{
    struct content *content = &session->content;
    size_t *count = &content->profile.layer_count;

    content_done(content);
    for (char *word; *count < LAYERS_MAX && (word = strsep(&rest, " ")) != NULL; (*count)++) {
        char *name = xstrdup(word);

        content->layers[*count] = (struct profile_layer){
            .kind = *count == 0 ? LAYER_ARCHIVE : LAYER_RUN, .name = name, .path = name};
    }
    if (open_content(content, err) < 0 ||
        drive_write(session->scratch, content->stack, session->profile->epoch, session->directory,
                    session->ui, err) < 0) {
        return -1;
    }
    (void)printf("ok\n");
    return 0;
}

static int do_run(struct session *session, char *rest, struct error *err)
{
    const char *word = strsep(&rest, " ");
    unsigned number = (unsigned)strtoul(word, NULL, 10);
    const struct profile_layer *step;

    if (number == 0 || number > session->profile->layer_count || rest == NULL) {
        return fail(err, FAIL_USAGE, "no such step");
    }
    step = session->step = &session->profile->layers[number - 1];
    if (room_run(session->room,
                 &(struct room_step){.name = step->name,
                                     .number = number,
                                     .epoch = session->profile->epoch,
                                     .timeout_s = step->timeout_s,
                                     .memory_bytes = step->memory_bytes,
                                     .log = rest},
                 err) < 0) {
        return -1;
    }
    (void)printf("ok\n");
    return 0;
}

static int do_capture(struct session *session, char *rest, struct error *err)
{
    const struct profile_layer *step = session->step;
    const struct plan_partition *part = drive_partition(session->scratch);
    struct capture_result result;
    char hex[HASH_HEX_MAX];

    if (step == NULL || session->content.stack == NULL) {
        return fail(err, FAIL_USAGE, "nothing ran");
    }
    if (capture(&(struct capture_job){.disk = drive_path(session->scratch),
                                      .offset_bytes = part->offset_bytes,
                                      .size_bytes = part->size_bytes,
                                      .tree = session->content.stack->tree,
                                      .epoch = session->profile->epoch,
                                      .leave_out = step->has_leave_out
                                                       ? (const char *const *)step->leave_out
                                                       : NULL,
                                      .leave_out_count = step->leave_out_count,
                                      .step = step->name,
                                      .out = rest},
                &result, err) < 0) {
        return -1;
    }
    (void)printf("ok %s added %llu changed %llu removed %llu\n", hash_hex(result.digest, hex),
                 (unsigned long long)result.added, (unsigned long long)result.changed,
                 (unsigned long long)result.removed);
    return 0;
}

static int obey(struct session *session, char *line, struct error *err)
{
    const char *word = strsep(&line, " ");

    return line == NULL                   ? fail(err, FAIL_USAGE, "no command: '%s'", word)
           : strcmp(word, "write") == 0   ? do_write(session, line, err)
           : strcmp(word, "run") == 0     ? do_run(session, line, err)
           : strcmp(word, "capture") == 0 ? do_capture(session, line, err)
                                          : fail(err, FAIL_USAGE, "no command: '%s'", word);
}

/* --- all of it ------------------------------------------------------------------------------ */

static void answer(int result, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (result < 0) {
        text_escape(&text, err->message, strlen(err->message), false);
        (void)printf("error %s\n", text.data);
    }
    (void)fflush(stdout);
    fail_clear(err);
}

static int serve(struct session *session, struct error *err)
{
    SCOPED_FREE char *line = NULL;
    size_t space = 0;
    ssize_t length;
    int result;

    while ((length = getline(&line, &space, stdin)) > 0) {
        line[length - 1] = '\0';
        answer(obey(session, line, err), err);
    }
    result = room_close(session->room, err);
    if (result == 0) {
        (void)printf("ok\n");
    }
    answer(result, err);
    return result;
}

int main(int argc, char **argv)
{
    SCOPED(session_done) struct session session = {0};
    bool verbose = argc == 4 && strcmp(argv[1], "-v") == 0;
    struct error err = {0};

    if (argc != 3 + verbose) {
        (void)fprintf(stderr, "usage: steps [-v] PROFILE DIR\n");
        return 2;
    }
    stop_init();
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    session.ui = ui_new(&(struct ui_options){.quiet = !verbose, .verbose = verbose});
    session.directory = argv[2 + verbose];
    if (open_session(&session, argv[1 + verbose], &err) < 0) {
        ui_error(session.ui, &err);
        return fail_status(&err);
    }
    return serve(&session, &err) < 0 ? 1 : 0;
}
