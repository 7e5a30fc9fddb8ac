/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "aws/endpoint.h"
#include "aws/ini.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "http/http.h"

struct aws_config {
    struct ini *credentials, *config;
    char *files;   /* both paths, for people */
    char *profile; /* the chosen one */
    bool chosen;   /* by the user */
};

void aws_config_free(struct aws_config *config)
{
    if (config != NULL) {
        ini_free(config->credentials);
        ini_free(config->config);
        free(config->files);
        free(config->profile);
        free(config);
    }
}

const char *aws_config_env(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* --- the files ------------------------------------------------------------------------------- */

/* What VARIABLE says, or else FILE, with the home directory for a "~" at its beginning. */
static char *path_of(const char *variable, const char *file)
{
    const char *path = aws_config_env(variable), *home = aws_config_env("HOME");

    path = path != NULL ? path : file;
    if (home != NULL && path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
        return xprintf("%s%s", home, path + 1);
    }
    return xstrdup(path);
}

static int read_ini(const char *path, struct ini **ret, struct error *err)
{
    SCOPED(secret_done) struct buf text = {0};

    if (file_read(path, INI_MAX, &text, err) < 0) {
        if (err->os != ENOENT && err->os != ENOTDIR) {
            return -1;
        }
        fail_clear(err);
    }
    return ini_parse(path, text.data, text.size, ret, err);
}

static int choose_profile(struct aws_config *config, struct error *err)
{
    const char *name = aws_config_env("AWS_PROFILE");

    name = name != NULL ? name : aws_config_env("AWS_DEFAULT_PROFILE");
    config->chosen = name != NULL;
    config->profile = xstrdup(name != NULL ? name : "default");
    if (config->chosen && !aws_config_has_profile(config, name)) {
        fail(err, FAIL_ERROR, "profile '%s' of AWS is not in %s", name, config->files);
        return fail_hint(err, "the environment variable AWS_PROFILE chooses a profile");
    }
    return 0;
}

int aws_config_load(struct aws_config **ret, struct error *err)
{
    SCOPED(aws_config_freep) struct aws_config *config = xcalloc(1, sizeof(*config));
    SCOPED_FREE char *keys = path_of("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
    SCOPED_FREE char *settings = path_of("AWS_CONFIG_FILE", "~/.aws/config");

    config->files = xprintf("'%s' and '%s'", keys, settings);
    if (read_ini(keys, &config->credentials, err) < 0 ||
        read_ini(settings, &config->config, err) < 0 || choose_profile(config, err) < 0) {
        return -1;
    }
    *ret = TAKE(config);
    return 0;
}

/* --- settings -------------------------------------------------------------------------------- */

const char *aws_config_profile(const struct aws_config *config, bool *ret_chosen)
{
    if (ret_chosen != NULL) {
        *ret_chosen = config->chosen;
    }
    return config->profile;
}

const char *aws_config_files(const struct aws_config *config)
{
    return config->files;
}

/* The section of PROFILE in the file of settings: "default" goes without "profile" there, too. */
static char *section_of(const struct aws_config *config, const char *profile)
{
    SCOPED_FREE char *name = xprintf("profile %s", profile);

    if (strcmp(profile, "default") == 0 && ini_section(config->config, name) == NULL) {
        return xstrdup(profile);
    }
    return TAKE(name);
}

bool aws_config_has_profile(const struct aws_config *config, const char *profile)
{
    SCOPED_FREE char *section = section_of(config, profile);

    return ini_section(config->credentials, profile) != NULL ||
           ini_section(config->config, section) != NULL;
}

const char *aws_config_value(const struct aws_config *config, const char *profile, const char *key)
{
    SCOPED_FREE char *section = section_of(config, profile);
    const char *value = ini_value(config->credentials, profile, key);

    if (value == NULL) {
        value = ini_value(config->config, section, key);
    }
    return value != NULL && value[0] != '\0' ? value : NULL;
}

int aws_config_flag(const struct aws_config *config, const char *name, const char *key, bool *ret,
                    struct error *err)
{
    const char *value = aws_config_env(name);

    if (value == NULL && key != NULL) {
        value = aws_config_value(config, config->profile, key);
        name = key;
    }
    if (value != NULL && strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0) {
        return fail(err, FAIL_ERROR, "%s is '%s', neither true nor false", name, value);
    }
    *ret = value != NULL && strcasecmp(value, "true") == 0;
    return 0;
}

const char *aws_config_region(const struct aws_config *config)
{
    const char *region = aws_config_env("AWS_REGION");

    if (region == NULL) {
        region = aws_config_env("AWS_DEFAULT_REGION");
    }
    return region != NULL ? region : aws_config_value(config, config->profile, "region");
}

const char *aws_config_ca(const struct aws_config *config)
{
    const char *file = aws_config_env("AWS_CA_BUNDLE");

    return file != NULL ? file : aws_config_value(config, config->profile, "ca_bundle");
}

/* --- where a service is ---------------------------------------------------------------------- */

/* What the user says in his environment, or NULL; RET_WHERE, a new string, is set with it. */
static const char *environment_url(const char *service, char **ret_where)
{
    SCOPED_FREE char *name = xprintf("AWS_ENDPOINT_URL_%s", service);
    const char *url;

    for (char *s = name; *s != '\0'; s++) {
        *s = (char)toupper((unsigned char)*s);
    }
    url = aws_config_env(name);
    if (url == NULL) {
        url = aws_config_env("AWS_ENDPOINT_URL");
        name[strlen("AWS_ENDPOINT_URL")] = '\0';
    }
    if (url != NULL) {
        *ret_where = TAKE(name);
    }
    return url;
}

/* What he says in his files, likewise. */
static int profile_url(const struct aws_config *config, const char *service, const char **ret,
                       char **ret_where, struct error *err)
{
    const char *services = aws_config_value(config, config->profile, "services");
    SCOPED_FREE char *key = xprintf("%s.endpoint_url", service);
    SCOPED_FREE char *section = xprintf("services %s", services != NULL ? services : "");

    if (services != NULL && ini_section(config->config, section) == NULL) {
        return fail(err, FAIL_ERROR, "profile '%s' names services '%s', but %s have no [%s]",
                    config->profile, services, config->files, section);
    }
    *ret = services != NULL ? ini_value(config->config, section, key) : NULL;
    if (*ret != NULL && (*ret)[0] != '\0') {
        *ret_where = xprintf("%s of services '%s'", key, services);
        return 0;
    }
    *ret = aws_config_value(config, config->profile, "endpoint_url");
    if (*ret != NULL) {
        *ret_where = xprintf("endpoint_url of profile '%s'", config->profile);
    }
    return 0;
}

/* The user's own URL for SERVICE: a new string, NULL when he has none. */
static int user_url(const struct aws_config *config, const char *service, char **ret,
                    struct error *err)
{
    SCOPED_FREE char *where = NULL;
    const char *url = environment_url(service, &where), *wrong;
    size_t size;

    if (url == NULL && profile_url(config, service, &url, &where, err) < 0) {
        return -1;
    }
    if (url == NULL) {
        return 0;
    }
    wrong = http_url_wrong(url);
    if (wrong != NULL) {
        return fail(err, FAIL_ERROR, "%s: this URL %s", where, wrong);
    }
    for (size = strlen(url); url[size - 1] == '/';) {
        size--;
    }
    *ret = xstrndup(url, size);
    return 0;
}

int aws_config_endpoint(const struct aws_config *config, const char *service, const char *region,
                        char **ret, struct error *err)
{
    SCOPED_FREE char *url = NULL;
    bool ignore = false, fips = false, dualstack = false;

    if (!endpoint_is_region(region)) {
        return fail(err, FAIL_ERROR, "'%s' is not the name of a region of AWS", region);
    }
    if (aws_config_flag(config, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                        "ignore_configured_endpoint_urls", &ignore, err) < 0 ||
        aws_config_flag(config, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", &fips, err) < 0 ||
        aws_config_flag(config, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", &dualstack,
                        err) < 0 ||
        (!ignore && user_url(config, service, &url, err) < 0)) {
        return -1;
    }
    if (url == NULL) {
        url = endpoint_url(service, region, fips, dualstack);
    }
    *ret = TAKE(url);
    return 0;
}
