/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user sees while work goes on. Messages and progress go to stderr: a line that redraws
 * itself on a terminal, plain lines elsewhere; with --json also as JSON lines on stdout. Every
 * foreign byte is escaped here, in one place. Results (what the command was asked for) go to
 * stdout through ui_print and ui_json.
 *
 * Safe to call from more than one thread.
 */
#ifndef UI_UI_H
#define UI_UI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/scope.h"

enum ui_color { COLOR_AUTO, COLOR_NEVER, COLOR_ALWAYS };

struct ui_options {
    bool json;
    bool quiet;   /* -q: results and errors only, also as JSON */
    bool verbose; /* -v */
    enum ui_color color;
};

struct ui;

/* Call after stop_init: a thread of its own keeps the progress line going. */
struct ui *ui_new(const struct ui_options *options);
void ui_free(struct ui *ui);
SCOPE_DEFINE(ui, ui_free)

bool ui_is_json(const struct ui *ui);

/* A line on stderr (JSON: {"event":"note",…}); note: always but with -q; detail: only with -v. */
void ui_note(struct ui *ui, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ui_detail(struct ui *ui, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A phase: "reading layers", "writing disk". At most one at a time; starting the next ends the one
 * before, and a finished one leaves a line with its time (and bytes and rate, where it had any).
 * TOTAL 0: not known, no ETA.
 */
void ui_phase(struct ui *ui, const char *name, uint64_t total_bytes);
/* What it is at (a layer's name; may be NULL) and how far. Cheap: redraws at most ten times a
 * second. */
void ui_progress(struct ui *ui, const char *item, uint64_t done_bytes);
/* The phase will have another total than was thought. */
void ui_total(struct ui *ui, uint64_t total_bytes);
void ui_phase_end(struct ui *ui);

/*
 * One line of a result on stdout, nothing with --json. FORMAT ends with the newline; any other is
 * foreign and comes out escaped.
 */
void ui_print(struct ui *ui, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lines of kiln's own, such as help, on stdout; nothing with --json. */
void ui_text(struct ui *ui, const char *text);

/* A result object (never NULL) as one JSON line on stdout, only with --json. Takes OBJECT. */
void ui_json(struct ui *ui, json_t *object);

/* The error that ended the command, on stderr (and as {"event":"error",…}): message, then hint. */
void ui_error(struct ui *ui, const struct error *err);

/*
 * The failure of one thing of several: likewise, with EVENT (taken) for what else there is to say
 * of it. ENDS: it will be what ends the command, too, so that only the event is due now.
 */
void ui_failure(struct ui *ui, json_t *event, const struct error *err, bool ends);

/*
 * The last call before exit: whether everything written to stdout arrived (a full disk and a closed
 * pipe are seen here and not before). ERR may be NULL after an error that was shown already.
 */
int ui_finish(struct ui *ui, struct error *err);

/* A JSON string from bytes of any encoding: what is not UTF-8 is escaped as text_escape does. */
json_t *ui_string(const char *text);

#endif
