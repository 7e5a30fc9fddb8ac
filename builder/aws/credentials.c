/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/credentials.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/source.h"
#include "base/secret.h"

/* Keys are renewed so long before they expire. When that fails they are used to their end, and it
 * is tried again after a while. */
enum { RENEW_EARLY_S = 300, RENEW_AGAIN_S = 30 };

struct aws_credentials {
    struct finder finder;
    char *region;
    struct source *source;
    atomic_int_least64_t ahead_s;
    pthread_mutex_t lock; /* what follows; held while keys are renewed */
    struct aws_keys keys;
    int64_t renew_at; /* not before */
    /* When refused keys were got anew in vain, 0: never; and why, unless the same ones came. */
    int64_t vain_at;
    struct error vain;
};

/* --- sources --------------------------------------------------------------------------------- */

void source_free(struct source *source)
{
    if (source != NULL) {
        source_free(source->below);
        source_words_free(source->argv);
        free(source->name);
        aws_keys_done(&source->keys);
        free(source->role_arn);
        free(source->session_name);
        free(source->external_id);
        free(source->duration_s);
        free(source->token_file);
        free(source->url);
        free(source);
    }
}

void source_looked(struct buf *looked, const char *format, ...)
{
    va_list args;
    char *item = NULL;

    va_start(args, format);
    if (vasprintf(&item, format, args) >= 0) {
        buf_printf(looked, "%s%s", looked->size != 0 ? "; " : "", item);
        free(item);
    }
    va_end(args);
}

static int get_fixed(const struct finder *finder, const struct source *source, struct aws_keys *ret,
                     struct error *err)
{
    (void)finder, (void)err;
    aws_keys_copy(&source->keys, ret);
    return 0;
}

struct source *source_fixed(char *name, const char *access, const char *secret, const char *token)
{
    struct source *source = xcalloc(1, sizeof(*source));

    source->name = name;
    source->get = get_fixed;
    source->keys = (struct aws_keys){.access_key = xstrdup(access),
                                     .secret_key = xstrdup(secret),
                                     .session_token = token != NULL ? xstrdup(token) : NULL};
    return source;
}

int source_environment(const struct finder *finder, struct buf *looked, struct source **ret,
                       struct error *err)
{
    const char *access = aws_config_env("AWS_ACCESS_KEY_ID");
    const char *secret = aws_config_env("AWS_SECRET_ACCESS_KEY");
    const char *token = aws_config_env("AWS_SESSION_TOKEN");

    (void)finder;
    if (access == NULL && secret == NULL) {
        source_looked(looked, "AWS_ACCESS_KEY_ID is not set");
        return 0;
    }
    if (access == NULL || secret == NULL) {
        return fail(err, FAIL_ERROR, "%s is set, but not %s",
                    access != NULL ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                    access != NULL ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    }
    *ret = source_fixed(xstrdup("the environment"), access, secret, token);
    return 1;
}

/* --- credentials ----------------------------------------------------------------------------- */

static struct aws_credentials *new_credentials(const char *region)
{
    struct aws_credentials *credentials = xcalloc(1, sizeof(*credentials));

    (void)pthread_mutex_init(&credentials->lock, NULL);
    credentials->region = xstrdup(region);
    credentials->finder.region = credentials->region;
    credentials->finder.credentials = credentials;
    return credentials;
}

void aws_credentials_free(struct aws_credentials *credentials)
{
    if (credentials != NULL) {
        source_free(credentials->source);
        aws_keys_done(&credentials->keys);
        (void)pthread_mutex_destroy(&credentials->lock);
        free(credentials->region);
        free(credentials);
    }
}

const char *aws_credentials_source(const struct aws_credentials *credentials)
{
    return credentials->source->name;
}

int64_t aws_credentials_now(const struct aws_credentials *credentials)
{
    return (int64_t)time(NULL) + atomic_load(&credentials->ahead_s);
}

void aws_credentials_set_ahead(struct aws_credentials *credentials, int64_t seconds)
{
    atomic_store(&credentials->ahead_s, seconds);
}

static void set_renewal(struct aws_credentials *credentials)
{
    int64_t soon = aws_credentials_now(credentials) + RENEW_AGAIN_S;
    int64_t expires = credentials->keys.expires;

    credentials->renew_at = expires == 0                     ? INT64_MAX
                            : expires - RENEW_EARLY_S > soon ? expires - RENEW_EARLY_S
                                                             : soon;
}

/* Gets keys from the source; the lock is held. */
static int renew(struct aws_credentials *credentials, struct error *err)
{
    struct aws_keys keys = {0};

    if (credentials->source->get(&credentials->finder, credentials->source, &keys, err) < 0 ||
        aws_keys_check(&keys, err) < 0) {
        aws_keys_done(&keys);
        return fail_while(err, "keys of AWS from %s", credentials->source->name);
    }
    aws_keys_done(&credentials->keys);
    credentials->keys = keys;
    set_renewal(credentials);
    return 0;
}

/* Renews keys that have little time left; the lock is held. */
static int keep_fresh(struct aws_credentials *credentials, struct error *err)
{
    int64_t now = aws_credentials_now(credentials);

    if (credentials->renew_at == 0 || now < credentials->renew_at || renew(credentials, err) == 0) {
        return 0;
    }
    if (err->kind == FAIL_STOPPED || now >= credentials->keys.expires) {
        return -1;
    }
    fail_clear(err);
    set_renewal(credentials);
    return 0;
}

/* Of the many threads whose keys were refused one asks, and all believe the answer for a while. */
static int replace(struct aws_credentials *credentials, const struct aws_keys *refused,
                   struct error *err)
{
    int64_t now = aws_credentials_now(credentials);
    int result;

    if (!aws_keys_same(refused, &credentials->keys)) {
        return keep_fresh(credentials, err);
    }
    if (credentials->vain_at != 0 && llabs(now - credentials->vain_at) < RENEW_AGAIN_S) {
        *err = credentials->vain;
        return err->kind != FAIL_NONE ? -1 : 0;
    }
    result = renew(credentials, err);
    credentials->vain_at = 0;
    if ((result < 0 && err->kind != FAIL_STOPPED) ||
        (result == 0 && aws_keys_same(refused, &credentials->keys))) {
        credentials->vain_at = aws_credentials_now(credentials);
        credentials->vain = *err;
    }
    return result;
}

int aws_credentials_get(struct aws_credentials *credentials, const struct aws_keys *refused,
                        struct aws_keys *ret, struct error *err)
{
    int result;

    (void)pthread_mutex_lock(&credentials->lock);
    result = refused != NULL ? replace(credentials, refused, err) : keep_fresh(credentials, err);
    if (result == 0) {
        aws_keys_copy(&credentials->keys, ret);
    }
    (void)pthread_mutex_unlock(&credentials->lock);
    return result;
}

struct aws_credentials *aws_credentials_fixed(const struct aws_keys *keys)
{
    struct aws_credentials *credentials = new_credentials("");

    credentials->source = source_fixed(xstrdup("fixed keys"), keys->access_key, keys->secret_key,
                                       keys->session_token);
    aws_keys_copy(&credentials->source->keys, &credentials->keys);
    credentials->renew_at = INT64_MAX;
    return credentials;
}

/* --- finding --------------------------------------------------------------------------------- */

int aws_credentials_find(const struct aws_config *config, struct http *http, const char *region,
                         struct aws_credentials **ret, struct error *err)
{
    static int (*const places[])(const struct finder *, struct buf *, struct source **,
                                 struct error *) = {
        source_environment, source_web_identity, source_profile, source_container, source_instance};
    SCOPED(aws_credentials_freep) struct aws_credentials *credentials = new_credentials(region);
    SCOPED(buf_done) struct buf looked = {0};
    int found = 0;

    credentials->finder.config = config;
    credentials->finder.http = http;
    for (size_t i = 0; i < COUNT(places) && found == 0; i++) {
        found = places[i](&credentials->finder, &looked, &credentials->source, err);
    }
    if (found == 0) {
        fail(err, FAIL_ERROR, "there are no credentials for AWS: %s", looked.data);
        return fail_hint(err, "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                              "write a profile with 'aws configure'");
    }
    if (found < 0 || renew(credentials, err) < 0) {
        return -1;
    }
    *ret = TAKE(credentials);
    return 0;
}
