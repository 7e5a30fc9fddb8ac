/* SPDX-License-Identifier: Apache-2.0 */
#include "step/room.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/stop.h"
#include "base/text.h"
#include "guest/guest.h"
#include "step/transcript.h"
#include "step/shell.h"

#define SCRATCH_LABEL "scratch"

enum {
    MIB = 1 << 20,
    SYSTEM_MIB = 512, /* of the appliance's memory that is not for steps */
    LATE_S = 120,     /* how much later than the runner the host ends a step */
};

struct room {
    const struct room_options *options;
    struct guest *guest;
    struct transcript *output;
    struct shell *shell;
};

/* --- opening and closing ------------------------------------------------------------------ */

static void note(void *data, const char *text)
{
    ui_note(data, "%s", text);
}

static int launch(struct room *room, const char *output, const char *shell, struct error *err)
{
    const struct room_options *options = room->options;
    const struct guest_drive drives[] = {
        {.path = options->inputs, .format = "raw", .label = "inputs", .read_only = true},
        {.path = options->scratch, .format = "raw", .label = SCRATCH_LABEL}};
    const struct guest_port ports[] = {{.name = "kiln.output", .path = output},
                                       {.name = "kiln.shell", .path = shell, .both = true}};
    const struct guest_options guest = {.drives = drives,
                                        .drive_count = COUNT(drives),
                                        .ports = ports,
                                        .port_count = options->shell ? 2 : 1,
                                        .memory_mib =
                                            (unsigned)(options->memory_bytes / MIB) + SYSTEM_MIB,
                                        .temporary = options->temporary,
                                        .note = note,
                                        .note_data = options->ui};

    ui_phase(options->ui, "starting the appliance", 0);
    if (guest_launch(&guest, &room->guest, err) < 0) {
        return -1;
    }
    ui_phase_end(options->ui);
    ui_detail(options->ui, "the appliance runs by %s", guest_accelerator(room->guest));
    return guestfs_mount_ro(guest_handle(room->guest), "/dev/sda1", "/") < 0
               ? guest_fail(room->guest, err, "mount the step's inputs")
               : 0;
}

int room_open(const struct room_options *options, struct room **ret, struct error *err)
{
    SCOPED(room_freep) struct room *room = xcalloc(1, sizeof(*room));
    SCOPED_FREE char *output = xprintf("%s/output", options->temporary);
    SCOPED_FREE char *shell = xprintf("%s/shell", options->temporary);

    room->options = options;
    if (transcript_new(output, options->ui, &room->output, err) < 0 ||
        (options->shell && shell_new(shell, options->ui, &room->shell, err) < 0) ||
        launch(room, output, shell, err) < 0) {
        return -1;
    }
    *ret = TAKE(room);
    return 0;
}

int room_close(struct room *room, struct error *err)
{
    return guest_shutdown(room->guest, err);
}

void room_free(struct room *room)
{
    if (room != NULL) {
        guest_close(room->guest);
        shell_free(room->shell);
        transcript_free(room->output);
        free(room);
    }
}

/* --- a limit that does not depend on the appliance ---------------------------------------- */

/* Ends the appliance when the runner does not end the step: a guest may hang as a whole. */
struct guard {
    struct guest *guest;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct timespec deadline; /* CLOCK_MONOTONIC */
    bool over, late;
};

static void *watch(void *data)
{
    struct guard *guard = data;
    int waited = 0;

    (void)pthread_mutex_lock(&guard->lock);
    while (!guard->over && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&guard->changed, &guard->lock, &guard->deadline);
    }
    guard->late = !guard->over;
    if (guard->late) {
        guest_kill(guard->guest);
    }
    (void)pthread_mutex_unlock(&guard->lock);
    return NULL;
}

static int guard_start(struct guard *guard, struct guest *guest, unsigned seconds,
                       struct error *err)
{
    pthread_condattr_t monotonic;

    *guard = (struct guard){.guest = guest};
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&guard->lock, NULL);
    (void)pthread_cond_init(&guard->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)clock_gettime(CLOCK_MONOTONIC, &guard->deadline);
    guard->deadline.tv_sec += seconds;
    errno = pthread_create(&guard->thread, NULL, watch, guard);
    return errno != 0 ? fail_os(err, "start a thread") : 0;
}

/* True when it was late. */
static bool guard_end(struct guard *guard)
{
    (void)pthread_mutex_lock(&guard->lock);
    guard->over = true;
    (void)pthread_cond_signal(&guard->changed);
    (void)pthread_mutex_unlock(&guard->lock);
    (void)pthread_join(guard->thread, NULL);
    (void)pthread_mutex_destroy(&guard->lock);
    (void)pthread_cond_destroy(&guard->changed);
    return guard->late;
}

/* --- what the runner says ------------------------------------------------------------------ */

/* The number after WORD in "WORD NUMBER", or -1. */
static int number_after(const char *result, const char *word)
{
    const char *text = result + strlen(word);
    size_t digits = text_starts(result, word) ? strspn(text, "0123456789") : 0;

    return digits == 0 || digits > 3 || text[digits] != '\0' ? -1 : (int)strtol(text, NULL, 10);
}

/* How a step failed, in words; a new string. */
static char *describe(const struct room_step *step, const char *result)
{
    char size[TEXT_SIZE_MAX];

    if (number_after(result, "exit ") > 0) {
        return xprintf("ended with status %d", number_after(result, "exit "));
    }
    if (number_after(result, "signal ") > 0) {
        return xprintf("was killed by signal %d (%s)", number_after(result, "signal "),
                       strsignal(number_after(result, "signal ")));
    }
    if (strcmp(result, "timeout") == 0) {
        return xprintf("did not end within its 'timeout' of %u seconds", step->timeout_s);
    }
    if (strcmp(result, "memory") == 0) {
        return xprintf("used up its 'memory' of %s", text_size(step->memory_bytes, size));
    }
    if (text_starts(result, "left ")) {
        return xprintf("left processes running: %.200s", result + strlen("left "));
    }
    if (text_starts(result, "failed ")) {
        return xprintf("could not be run: %.1000s", result + strlen("failed "));
    }
    return xprintf("ended with an answer that means nothing: '%.100s'", result);
}

static int hint(const char *result, struct error *err)
{
    if (strcmp(result, "timeout") == 0 || strcmp(result, "memory") == 0) {
        return fail_hint(err, "give the step more '%s' if it needs that", result);
    }
    if (text_starts(result, "left ")) {
        return fail_hint(err, "a step must end what it starts; services start at boot");
    }
    return fail_hint(err, "-v shows all of its output, --debug-shell opens a shell there");
}

static int fail_step(const struct room_step *step, const char *how, const char *tail,
                     struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    buf_puts(&text, "step '");
    text_escape(&text, step->name, strlen(step->name), false);
    buf_puts(&text, "' ");
    text_escape(&text, how, strlen(how), false);
    if (tail[0] != '\0') {
        buf_printf(&text, "; the last it said:\n%s", tail);
    }
    while (text.data[text.size - 1] == '\n') {
        text.data[--text.size] = '\0';
    }
    return fail_lines(err, FAIL_ERROR, text.data);
}

int room_judge(const struct room_step *step, const char *result, const char *tail,
               struct error *err)
{
    SCOPED_FREE char *line = xstrndup(result, strcspn(result, "\n"));
    SCOPED_FREE char *how = NULL;

    if (strcmp(line, "exit 0") == 0) {
        return 0;
    }
    how = describe(step, line);
    (void)fail_step(step, how, tail, err);
    return hint(line, err);
}

/* --- running ------------------------------------------------------------------------------- */

/* The appliance did not answer: it ended, or was ended. */
static int judge_silence(struct room *room, const struct room_step *step, bool late,
                         const char *tail, struct error *err)
{
    struct error said = {0};
    SCOPED_FREE char *how = NULL;

    (void)guest_fail(room->guest, &said, "run it in the appliance");
    if (said.kind == FAIL_STOPPED || said.hint[0] != '\0') {
        *err = said;
        return -1;
    }
    how = late ? xprintf("did not end within its 'timeout' of %u seconds, nor did the appliance "
                         "answer any more",
                         step->timeout_s)
               : xprintf("ended the appliance: %s", said.message);
    return fail_step(step, how, tail, err);
}

/* The runner's line, a new string; NULL when there is none. */
static char *command(struct room *room, const struct room_step *step)
{
    SCOPED_FREE char *directory = xprintf("/steps/%u", step->number);
    SCOPED_FREE char *epoch = xprintf("%" PRId64, step->epoch);
    SCOPED_FREE char *timeout = xprintf("%u", step->timeout_s);
    SCOPED_FREE char *memory = xprintf("%" PRIu64, step->memory_bytes);
    char shell[] = "shell", none[] = "-", runner[] = "/runner";
    char device[] = "/dev/disk/guestfs/" SCRATCH_LABEL;
    char *argv[] = {
        runner, directory, device, epoch, timeout, memory, room->options->shell ? shell : none,
        NULL};

    return guestfs_command(guest_handle(room->guest), argv);
}

int room_run(struct room *room, const struct room_step *step, struct error *err)
{
    SCOPED(buf_done) struct buf tail = {0};
    SCOPED_FREE char *result = NULL;
    struct guard guard;
    /* Who sits at a shell takes the time that it takes. */
    unsigned limit_s = room->options->shell ? INT32_MAX : step->timeout_s + LATE_S;
    bool late;

    buf_puts(&tail, "");
    if (transcript_begin(room->output, step->name, step->log, err) < 0 ||
        guard_start(&guard, room->guest, limit_s, err) < 0) {
        return -1;
    }
    result = command(room, step);
    late = guard_end(&guard);
    if (transcript_end(room->output, &tail, err) < 0) {
        return -1;
    }
    return result == NULL ? judge_silence(room, step, late, tail.data, err)
                          : room_judge(step, result, tail.data, err);
}
