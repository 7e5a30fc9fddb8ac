/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "cli/cmd.h"
#include "pipeline.h"

enum { CHECK, LAYERS_FROM, SAVE_LAYERS, REFRESH_STEPS, DEBUG_SHELL };

static const struct option_row options[] = {
    [CHECK] = {0, "check", NULL, "write nothing; fail when the lock is not up to date"},
    [LAYERS_FROM] = {0, "layers-from", "DIR", "take captured layers of steps from there"},
    [SAVE_LAYERS] = {0, "save-layers", "DIR", "save the captured layers of steps there"},
    [REFRESH_STEPS] = {0, "refresh-steps", NULL, "run all steps again"},
    [DEBUG_SHELL] = {0, "debug-shell", NULL, "open a shell where a step fails"},
    {0, NULL, NULL, NULL},
};

static int run(const struct invocation *invocation, struct error *err)
{
    const char *const *values = invocation->values;
    struct build_options build = {
        .profile = invocation->arguments[0],
        .layers_from = values[LAYERS_FROM],
        .save_layers = values[SAVE_LAYERS],
        .refresh_steps = values[REFRESH_STEPS] != NULL,
        .debug_shell = values[DEBUG_SHELL] != NULL,
    };

    return pipeline_lock(&build, values[CHECK] != NULL, invocation->ui, err);
}

const struct command cmd_lock = {
    .name = "lock",
    .arguments = "PROFILE",
    .summary = "write down what the image is made from, by digest",
    .options = options,
    .run = run,
};
