/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "cli/cmd.h"
#include "pipeline.h"

enum { ENGINE, FORMATS, LOCKED, LAYERS_FROM };

static const struct option_row options[] = {
    [ENGINE] = {0, "engine", "ENGINE", "auto, native or guestfs, over the profile's"},
    [FORMATS] = {0, "formats", "LIST", "raw,qcow2,vhd,gcp,vmdk: over the profile's"},
    [LOCKED] = {0, "locked", NULL, "only with a lock beside the profile"},
    [LAYERS_FROM] = {0, "layers-from", "DIR", "take captured layers of steps from there"},
    {0, NULL, NULL, NULL},
};

static int run(const struct invocation *invocation, struct error *err)
{
    struct build_options build = {
        .profile = invocation->arguments[0],
        .engine = invocation->values[ENGINE],
        .formats = invocation->values[FORMATS],
        .locked = invocation->values[LOCKED] != NULL,
        .layers_from = invocation->values[LAYERS_FROM],
    };

    return pipeline_plan(&build, invocation->ui, err);
}

const struct command cmd_plan = {
    .name = "plan",
    .arguments = "PROFILE",
    .summary = "say what a build would do, digests included",
    .options = options,
    .run = run,
};
