/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "cli/cmd.h"
#include "guest/doctor.h"

enum { OUTPUT };

static const struct option_row options[] = {
    [OUTPUT] = {'o', "output", "DIR", "where bundles would go (default: here)"},
    {0, NULL, NULL, NULL},
};

static const char *const states[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_NOTE] = "note", [DOCTOR_MISSING] = "missing"};

static void show(struct ui *ui, const struct doctor_item *item)
{
    ui_print(ui, "%-8s %-20s %s\n", states[item->state], item->what, item->detail);
    if (item->advice != NULL) {
        ui_print(ui, "%-8s %-20s → %s\n", "", "", item->advice);
    }
    ui_json(ui,
            json_pack("{s:s, s:s, s:s, s:o, s:o*}", "event", "doctor", "state", states[item->state],
                      "what", item->what, "detail", ui_string(item->detail), "advice",
                      item->advice != NULL ? ui_string(item->advice) : NULL));
}

static int run(const struct invocation *invocation, struct error *err)
{
    const char *output = invocation->values[OUTPUT];
    struct doctor_item *items = NULL;
    size_t count = 0, missing = 0;

    doctor_run(output != NULL ? output : ".", &items, &count);
    for (size_t i = 0; i < count; i++) {
        show(invocation->ui, &items[i]);
        missing += items[i].state == DOCTOR_MISSING;
    }
    doctor_free(items, count);
    return missing == 0 ? 0
                        : fail(err, FAIL_MISSING, "%zu thing%s kiln needs %s missing", missing,
                               missing == 1 ? "" : "s", missing == 1 ? "is" : "are");
}

const struct command cmd_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "list what is missing here and what to do about it",
    .options = options,
    .run = run,
};
