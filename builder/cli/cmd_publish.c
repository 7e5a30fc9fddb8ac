/* SPDX-License-Identifier: Apache-2.0 */
/* kiln publish */
#include "base/scope.h"
#include "base/text.h"
#include "cli/cmd.h"
#include "publish/publish.h"

enum { TARGET, PARENT, FULL, LIMIT_RATE, RETRY_FOR, DRY_RUN, STATUS, ABORT };

static const struct option_row options[] = {
    [TARGET] = {0, "target", "NAME,…", "only these targets of the bundle"},
    [PARENT] = {0, "parent", "BUNDLE", "send what changed since this one"},
    [FULL] = {0, "full", NULL, "send everything, not only what changed"},
    [LIMIT_RATE] = {0, "limit-rate", "RATE", "bytes a second, like 10MiB"},
    [RETRY_FOR] = {0, "retry-for", "TIME", "how long nothing may succeed (5min)"},
    [DRY_RUN] = {0, "dry-run", NULL, "show the calls and bytes it would take"},
    [STATUS] = {0, "status", NULL, "show what was published and what is unfinished"},
    [ABORT] = {0, "abort", NULL, "remove what unfinished publishes left"},
    {0, NULL, NULL, NULL},
};

static int read_options(const struct invocation *invocation, struct publish_options *ret,
                        struct error *err)
{
    const char *const *values = invocation->values;
    uint32_t give_up_s = 0;

    *ret = (struct publish_options){
        .bundle = invocation->arguments[0],
        .targets = values[TARGET],
        .parent = values[PARENT],
        .full = values[FULL] != NULL,
        .clouds = clouds,
    };
    if (values[LIMIT_RATE] != NULL &&
        (!text_parse_size(values[LIMIT_RATE], &ret->limit_rate) || ret->limit_rate == 0)) {
        return fail(err, FAIL_USAGE, "--limit-rate is '%s', not bytes a second like 10MiB",
                    values[LIMIT_RATE]);
    }
    if (values[RETRY_FOR] != NULL &&
        (!text_parse_duration(values[RETRY_FOR], &give_up_s) || give_up_s == 0)) {
        return fail(err, FAIL_USAGE, "--retry-for is '%s', not a time like 90s, 30min or 2h",
                    values[RETRY_FOR]);
    }
    ret->give_up_s = give_up_s;
    return 0;
}

/* Those that were given exclude each other. */
static int check_exclusive(const struct invocation *invocation, const int *rows, size_t count,
                           struct error *err)
{
    const char *first = NULL;

    for (size_t i = 0; i < count; i++) {
        if (invocation->values[rows[i]] != NULL) {
            if (first != NULL) {
                return fail(err, FAIL_USAGE, "--%s and --%s exclude each other", first,
                            options[rows[i]].name);
            }
            first = options[rows[i]].name;
        }
    }
    return 0;
}

static int run(const struct invocation *invocation, struct error *err)
{
    static const int modes[] = {DRY_RUN, STATUS, ABORT}, parents[] = {PARENT, FULL};
    const char *const *values = invocation->values;
    struct publish_options publish = {0};

    if (check_exclusive(invocation, modes, COUNT(modes), err) < 0 ||
        check_exclusive(invocation, parents, COUNT(parents), err) < 0 ||
        read_options(invocation, &publish, err) < 0) {
        return -1;
    }
    if (values[DRY_RUN] != NULL) {
        return publish_plan(&publish, invocation->ui, err);
    }
    if (values[STATUS] != NULL) {
        return publish_status(&publish, invocation->ui, err);
    }
    return values[ABORT] != NULL ? publish_abort(&publish, invocation->ui, err)
                                 : publish_run(&publish, invocation->ui, err);
}

const struct command cmd_publish = {
    .name = "publish",
    .arguments = "BUNDLE",
    .summary = "upload and register the image at its targets",
    .options = options,
    .run = run,
};
