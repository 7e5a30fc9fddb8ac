/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that a profile of the shared files has. */
#include <string.h>

#include "aws/source.h"

/* 1 and a source when PROFILE has keys of its own. */
static int static_keys(const struct finder *finder, const char *profile, struct source **ret,
                       struct error *err)
{
    const char *access = aws_config_value(finder->config, profile, "aws_access_key_id");
    const char *secret = aws_config_value(finder->config, profile, "aws_secret_access_key");
    const char *token = aws_config_value(finder->config, profile, "aws_session_token");

    if (access == NULL && secret == NULL) {
        return 0;
    }
    if (access == NULL || secret == NULL) {
        return fail(err, FAIL_ERROR, "profile '%s' of AWS has %s, but no %s", profile,
                    access != NULL ? "aws_access_key_id" : "aws_secret_access_key",
                    access != NULL ? "aws_secret_access_key" : "aws_access_key_id");
    }
    *ret = source_fixed(xprintf("profile '%s'", profile), access, secret, token);
    return 1;
}

int source_profile(const struct finder *finder, struct buf *looked, struct source **ret,
                   struct error *err)
{
    const char *profile = aws_config_profile(finder->config, NULL);
    int found = static_keys(finder, profile, ret, err);

    if (found == 0) {
        source_looked(looked, "profile '%s' in %s has none", profile,
                      aws_config_files(finder->config));
    }
    return found;
}
