/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "cli/cmd.h"
#include "pipeline.h"

enum {
    OUTPUT,
    ENGINE,
    FORMATS,
    PLAN,
    FORCE,
    SYNC,
    NO_CACHE,
    VERIFY,
    LOCKED,
    LAYERS_FROM,
    SAVE_LAYERS,
    REFRESH_STEPS,
    DEBUG_SHELL,
};

static const struct option_row options[] = {
    [OUTPUT] = {'o', "output", "DIR", "the bundle's directory (default NAME-VERSION)"},
    [ENGINE] = {0, "engine", "ENGINE", "auto, native or guestfs, over the profile's"},
    [FORMATS] = {0, "formats", "LIST", "raw,qcow2,vhd,gcp,vmdk: over the profile's"},
    [PLAN] = {0, "plan", NULL, "say what would be built and stop"},
    [FORCE] = {0, "force", NULL, "replace an existing bundle, at the end"},
    [SYNC] = {0, "sync", NULL, "wait until everything is on the disk"},
    [NO_CACHE] = {0, "no-cache", NULL, "read every layer, and keep none of it for later builds"},
    [VERIFY] = {0, "verify", NULL, "digest what the cache has before using it"},
    [LOCKED] = {0, "locked", NULL, "only with a lock beside the profile"},
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
        .output = values[OUTPUT],
        .engine = values[ENGINE],
        .formats = values[FORMATS],
        .force = values[FORCE] != NULL,
        .sync = values[SYNC] != NULL,
        .no_cache = values[NO_CACHE] != NULL,
        .verify = values[VERIFY] != NULL,
        .locked = values[LOCKED] != NULL,
        .layers_from = values[LAYERS_FROM],
        .save_layers = values[SAVE_LAYERS],
        .refresh_steps = values[REFRESH_STEPS] != NULL,
        .debug_shell = values[DEBUG_SHELL] != NULL,
    };

    return values[PLAN] != NULL ? pipeline_plan(&build, invocation->ui, err)
                                : pipeline_build(&build, invocation->ui, err);
}

const struct command cmd_build = {
    .name = "build",
    .arguments = "PROFILE",
    .summary = "build a profile's image into a bundle",
    .options = options,
    .run = run,
};
