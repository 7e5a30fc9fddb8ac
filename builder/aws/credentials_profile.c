/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that a profile of the shared files has, or says how to get
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html). */
#include <string.h>
#include <time.h>

#include "aws/source.h"
#include "aws/sts.h"
#include "base/secret.h"

#define SESSION_NAME "kiln"

enum { CHAIN_MAX = 10 };

/* --- assuming a role ------------------------------------------------------------------------- */

static struct sts_role role_of(const struct source *source)
{
    return (struct sts_role){.arn = source->role_arn,
                             .session_name = source->session_name,
                             .external_id = source->external_id,
                             .duration_s = source->duration_s};
}

/* By keys of the source below, which are got anew. What is learnt of the clock is kept. */
static int get_role(const struct finder *finder, const struct source *source, struct aws_keys *ret,
                    struct error *err)
{
    const struct sts_role role = role_of(source);
    int64_t ahead = aws_credentials_now(finder->credentials) - (int64_t)time(NULL);
    SCOPED(aws_keys_done) struct aws_keys keys = {0};
    SCOPED(aws_credentials_freep) struct aws_credentials *below = NULL;
    SCOPED(aws_service_done) struct aws_service sts = {0};

    if (source->below->get(finder, source->below, &keys, err) < 0) {
        return fail_while(err, "%s", source->below->name);
    }
    if (aws_keys_check(&keys, err) < 0) {
        return fail_while(err, "%s", source->below->name);
    }
    below = aws_credentials_fixed(&keys);
    aws_credentials_set_ahead(below, ahead);
    if (aws_service_init(&sts, finder->config, finder->http, below, "sts", finder->region, err) <
            0 ||
        sts_assume_role(&sts, &role, ret, err) < 0) {
        return -1;
    }
    aws_credentials_set_ahead(finder->credentials,
                              aws_credentials_now(below) - (int64_t)time(NULL));
    return 0;
}

static int get_web_identity(const struct finder *finder, const struct source *source,
                            struct aws_keys *ret, struct error *err)
{
    const struct sts_role role = role_of(source);
    SCOPED(secret_freep) char *token = NULL;
    SCOPED(aws_service_done) struct aws_service sts = {0};

    if (source_token(source->token_file, &token, err) < 0 ||
        aws_service_init(&sts, finder->config, finder->http, NULL, "sts", finder->region, err) <
            0) {
        return -1;
    }
    return sts_assume_role_with_web_identity(&sts, &role, token, ret, err);
}

static struct source *web_identity(const char *where, const char *arn, const char *session_name,
                                   const char *token_file)
{
    struct source *source = xcalloc(1, sizeof(*source));

    source->name = xprintf("role %s by the token of %s", arn, where);
    source->get = get_web_identity;
    source->role_arn = xstrdup(arn);
    source->session_name = xstrdup(session_name != NULL ? session_name : SESSION_NAME);
    source->token_file = xstrdup(token_file);
    return source;
}

int source_web_identity(const struct finder *finder, struct buf *looked, struct source **ret,
                        struct error *err)
{
    const char *file = aws_config_env("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *arn = aws_config_env("AWS_ROLE_ARN");

    (void)finder;
    if (file == NULL) {
        source_looked(looked, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        return 0;
    }
    if (arn == NULL) {
        return fail(err, FAIL_ERROR, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN");
    }
    *ret = web_identity("AWS_WEB_IDENTITY_TOKEN_FILE", arn, aws_config_env("AWS_ROLE_SESSION_NAME"),
                        file);
    return 1;
}

/* --- profiles -------------------------------------------------------------------------------- */

/* A profile and those that led to it. */
struct link {
    const char *profile;
    const struct link *before; /* NULL: the user's choice */
    unsigned depth;
};

static int resolve(const struct finder *finder, const struct link *link, struct source **ret,
                   struct error *err);

static const char *value(const struct finder *finder, const struct link *link, const char *key)
{
    return aws_config_value(finder->config, link->profile, key);
}

/* 1 and a source when the profile has keys of its own. */
static int static_keys(const struct finder *finder, const struct link *link, struct source **ret,
                       struct error *err)
{
    const char *access = value(finder, link, "aws_access_key_id");
    const char *secret = value(finder, link, "aws_secret_access_key");

    if (access == NULL && secret == NULL) {
        return 0;
    }
    if (access == NULL || secret == NULL) {
        return fail(err, FAIL_ERROR, "profile '%s' of AWS has %s, but no %s", link->profile,
                    access != NULL ? "aws_access_key_id" : "aws_secret_access_key",
                    access != NULL ? "aws_secret_access_key" : "aws_access_key_id");
    }
    *ret = source_fixed(xprintf("profile '%s'", link->profile), access, secret,
                        value(finder, link, "aws_session_token"));
    return 1;
}

/* The source for source_profile = NAME. A profile that names itself has its keys beside its role.
 */
static int below_profile(const struct finder *finder, const struct link *link, const char *name,
                         struct source **ret, struct error *err)
{
    const struct link next = {.profile = name, .before = link, .depth = link->depth + 1};
    int found;

    if (strcmp(name, link->profile) == 0) {
        found = static_keys(finder, link, ret, err);
        return found != 0
                   ? found
                   : fail(err, FAIL_ERROR,
                          "profile '%s' of AWS is its own source_profile, but has no keys", name);
    }
    for (const struct link *seen = link; seen != NULL; seen = seen->before) {
        if (strcmp(seen->profile, name) == 0) {
            return fail(err, FAIL_ERROR, "profile '%s' of AWS leads back to '%s' by source_profile",
                        link->profile, name);
        }
    }
    if (next.depth > CHAIN_MAX) {
        return fail(err, FAIL_ERROR, "profile '%s' of AWS: more than %d profiles lead to it",
                    link->profile, CHAIN_MAX);
    }
    if (!aws_config_has_profile(finder->config, name)) {
        return fail(err, FAIL_ERROR, "profile '%s', source_profile of '%s', is not in %s", name,
                    link->profile, aws_config_files(finder->config));
    }
    found = resolve(finder, &next, ret, err);
    return found != 0 ? found
                      : fail(err, FAIL_ERROR, "profile '%s', source_profile of '%s', has no keys",
                             name, link->profile);
}

/* The source for credential_source = NAME. */
static int below_source(const struct finder *finder, const struct link *link, const char *name,
                        struct source **ret, struct error *err)
{
    static const struct {
        const char *name;
        int (*find)(const struct finder *, struct buf *, struct source **, struct error *);
    } rows[] = {{"Environment", source_environment},
                {"Ec2InstanceMetadata", source_instance},
                {"EcsContainer", source_container}};
    SCOPED(buf_done) struct buf looked = {0};

    for (size_t i = 0; i < COUNT(rows); i++) {
        if (strcmp(name, rows[i].name) == 0) {
            int found = rows[i].find(finder, &looked, ret, err);

            return found != 0 ? found
                              : fail(err, FAIL_ERROR,
                                     "profile '%s' of AWS: credential_source is %s, but %s",
                                     link->profile, name, looked.data);
        }
    }
    return fail(err, FAIL_ERROR,
                "profile '%s' of AWS: credential_source is '%s', not one of Environment, "
                "Ec2InstanceMetadata, EcsContainer",
                link->profile, name);
}

/* Where the keys for a role come from. */
static int below_role(const struct finder *finder, const struct link *link, struct source **ret,
                      struct error *err)
{
    const char *profile = value(finder, link, "source_profile");
    const char *source = value(finder, link, "credential_source");

    if (value(finder, link, "mfa_serial") != NULL) {
        fail(err, FAIL_ERROR,
             "profile '%s' of AWS asks for a code of its mfa_serial, which kiln cannot do",
             link->profile);
        return fail_hint(err,
                         "get a session with 'aws sts get-session-token' or 'aws configure "
                         "export-credentials --profile %s' and put it into the environment",
                         link->profile);
    }
    if ((profile == NULL) == (source == NULL)) {
        return fail(err, FAIL_ERROR,
                    "profile '%s' of AWS has a role_arn and %s source_profile %s credential_source",
                    link->profile, profile != NULL ? "both" : "neither",
                    profile != NULL ? "and" : "nor");
    }
    return profile != NULL ? below_profile(finder, link, profile, ret, err)
                           : below_source(finder, link, source, ret, err);
}

static char *copy(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static int role(const struct finder *finder, const struct link *link, struct source **ret,
                struct error *err)
{
    const char *arn = value(finder, link, "role_arn");
    const char *file = value(finder, link, "web_identity_token_file");
    const char *session_name = value(finder, link, "role_session_name");
    const char *duration = value(finder, link, "duration_seconds");
    SCOPED(source_freep) struct source *source = NULL;

    if (arn == NULL) {
        return fail(err, FAIL_ERROR,
                    "profile '%s' of AWS has a web_identity_token_file, but no role_arn",
                    link->profile);
    }
    if (duration != NULL && duration[strspn(duration, "0123456789")] != '\0') {
        return fail(err, FAIL_ERROR, "profile '%s' of AWS: duration_seconds is no number",
                    link->profile);
    }
    if (file != NULL) {
        SCOPED_FREE char *where = xprintf("profile '%s'", link->profile);

        source = web_identity(where, arn, session_name, file);
    } else {
        source = xcalloc(1, sizeof(*source));
        if (below_role(finder, link, &source->below, err) < 0) {
            return -1;
        }
        source->name =
            xprintf("role %s of profile '%s', by %s", arn, link->profile, source->below->name);
        source->get = get_role;
        source->role_arn = xstrdup(arn);
        source->session_name = xstrdup(session_name != NULL ? session_name : SESSION_NAME);
        source->external_id = copy(value(finder, link, "external_id"));
    }
    source->duration_s = copy(duration);
    *ret = TAKE(source);
    return 1;
}

static int refuse_login(const struct finder *finder, const struct link *link, struct error *err)
{
    static const char *const keys[] = {"sso_session", "sso_start_url", "sso_account_id",
                                       "login_session"};

    for (size_t i = 0; i < COUNT(keys); i++) {
        if (value(finder, link, keys[i]) != NULL) {
            fail(err, FAIL_ERROR,
                 "profile '%s' of AWS has %s: kiln leaves single sign-on to AWS's own program",
                 link->profile, keys[i]);
            return fail_hint(err,
                             "add 'credential_process = aws configure export-credentials "
                             "--profile %s' to it",
                             link->profile);
        }
    }
    return 0;
}

/* 1 and a source, 0 when the profile says nothing of keys. Where a profile that leads to another
 * one has keys, these come before its role: so do the SDKs. */
static int resolve(const struct finder *finder, const struct link *link, struct source **ret,
                   struct error *err)
{
    const char *process = value(finder, link, "credential_process");
    int found = link->before != NULL ? static_keys(finder, link, ret, err) : 0;

    if (found != 0) {
        return found;
    }
    if (value(finder, link, "role_arn") != NULL ||
        value(finder, link, "web_identity_token_file") != NULL) {
        return role(finder, link, ret, err);
    }
    found = static_keys(finder, link, ret, err);
    if (found != 0) {
        return found;
    }
    if (process != NULL) {
        return source_process(link->profile, process, ret, err) < 0 ? -1 : 1;
    }
    return refuse_login(finder, link, err);
}

int source_profile(const struct finder *finder, struct buf *looked, struct source **ret,
                   struct error *err)
{
    const struct link link = {.profile = aws_config_profile(finder->config, NULL)};
    int found = resolve(finder, &link, ret, err);

    if (found == 0) {
        source_looked(looked, "profile '%s' in %s has none", link.profile,
                      aws_config_files(finder->config));
    }
    return found;
}
