/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "cli/cmd.h"
#include "pipeline.h"

enum { CHECK };

static const struct option_row options[] = {
    [CHECK] = {0, "check", NULL, "write nothing; fail when the lock is not up to date"},
    {0, NULL, NULL, NULL},
};

static int run(const struct invocation *invocation, struct error *err)
{
    return pipeline_lock(invocation->arguments[0], invocation->values[CHECK] != NULL,
                         invocation->ui, err);
}

const struct command cmd_lock = {
    .name = "lock",
    .arguments = "PROFILE",
    .summary = "write down what the image is made from, by digest",
    .options = options,
    .run = run,
};
