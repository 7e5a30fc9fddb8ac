/* SPDX-License-Identifier: Apache-2.0 */
#include "openstack/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "profile/yaml.h"

void openstack_config_free(struct openstack_config *config)
{
    if (config == NULL) {
        return;
    }
    secret_free(config->password);
    secret_free(config->credential_secret);
    secret_free(config->token);
    free(config->source);
    free(config->auth_url);
    free(config->username);
    free(config->user_id);
    free(config->user_domain_name);
    free(config->user_domain_id);
    free(config->project_name);
    free(config->project_id);
    free(config->project_domain_name);
    free(config->project_domain_id);
    free(config->credential_name);
    free(config->credential_id);
    free(config->region);
    free(config->interface);
    free(config->ca_file);
    free(config->image_endpoint);
    free(config);
}

/* --- files ----------------------------------------------------------------------------------- */

struct file {
    char *path; /* NULL: there is none */
    struct yaml_tree *tree;
    struct problems problems;
    struct node *clouds; /* the map of that name; NULL: none */
};

static void wipe_values(struct node *node)
{
    if (node->text != NULL) {
        secret_wipe(node->text, node->size);
    }
    for (struct node *child = node->first; child != NULL; child = child->next) {
        wipe_values(child);
    }
}

static void file_done(struct file *file)
{
    if (file->tree != NULL) {
        wipe_values(yaml_tree_root(file->tree));
        yaml_tree_free(file->tree);
    }
    problems_done(&file->problems);
    free(file->path);
}

static const char *set(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* What VARIABLE names, else STEM.yaml, .yml or .json in the directories of openstacksdk; or NULL.
 */
static int find_file(const char *variable, const char *stem, char **ret, struct error *err)
{
    static const char *const endings[] = {"yaml", "yml", "json"};
    const char *named = set(variable), *home = set("HOME"), *config = set("XDG_CONFIG_HOME");
    SCOPED_FREE char *user = config != NULL ? xprintf("%s/openstack", config) : NULL;
    SCOPED_FREE char *own = home != NULL ? xprintf("%s/.config/openstack", home) : NULL;
    const char *const directories[] = {".", user, own, "/etc/openstack"};

    if (named != NULL && !file_exists(named)) {
        (void)fail(err, FAIL_USAGE, "%s names '%s', which does not exist", variable, named);
        return -1;
    }
    *ret = named != NULL ? xstrdup(named) : NULL;
    for (size_t i = 0; *ret == NULL && i < COUNT(directories) * COUNT(endings); i++) {
        const char *directory = directories[i / COUNT(endings)];
        SCOPED_FREE char *path =
            directory == NULL ? NULL
                              : xprintf("%s/%s.%s", directory, stem, endings[i % COUNT(endings)]);

        if (path != NULL && file_exists(path)) {
            *ret = TAKE(path);
        }
    }
    return 0;
}

/* Only comments: openstacksdk takes it for a file without clouds. */
static bool is_blank(const char *text)
{
    while (*text != '\0') {
        text += strspn(text, " \t\r\n");
        if (*text != '#') {
            return *text == '\0';
        }
        text += strcspn(text, "\n");
    }
    return true;
}

static int read_file(const char *variable, const char *stem, struct file *ret, struct error *err)
{
    SCOPED(secret_done) struct buf text = {0};
    struct node *root;

    if (find_file(variable, stem, &ret->path, err) < 0) {
        return -1;
    }
    if (ret->path == NULL) {
        return 0;
    }
    if (file_read(ret->path, YAML_SIZE_MAX, &text, err) < 0) {
        return -1;
    }
    ret->problems = (struct problems){.path = ret->path, .noun = "configuration"};
    if (is_blank(text.data)) {
        return 0;
    }
    if (yaml_tree_read_foreign(NULL, text.data, text.size, &ret->tree, &ret->problems) < 0 ||
        ret->problems.count != 0) {
        return problems_fail(&ret->problems, err);
    }
    root = yaml_tree_root(ret->tree);
    ret->clouds = root->kind == NODE_MAP ? node_find(root, "clouds") : NULL;
    if (ret->clouds != NULL && ret->clouds->kind != NODE_MAP) {
        problem_add(&ret->problems, ret->clouds->mark, "'clouds' must be a map of clouds");
        return problems_fail(&ret->problems, err);
    }
    return 0;
}

/* --- values ---------------------------------------------------------------------------------- */

/* Where a value may be: in the order in which they count, secure.yaml first. */
struct source {
    struct file files[2];
    const struct node *clouds[2]; /* the entry in each; NULL: not there */
    bool environment;             /* OS_* instead of them */
    struct openstack_config *config;
};

static void source_done(struct source *source)
{
    for (size_t i = 0; i < COUNT(source->files); i++) {
        file_done(&source->files[i]);
    }
}

/* openstacksdk takes "project-name" for "project_name". */
static bool same_key(const char *written, const char *key)
{
    for (; *written != '\0' && (*written == '-' ? '_' : *written) == *key; written++) {
        key++;
    }
    return *written == '\0' && *key == '\0';
}

static const struct node *find_key(const struct node *map, const char *key)
{
    if (map == NULL || map->kind != NODE_MAP) {
        return NULL;
    }
    for (const struct node *child = map->first; child != NULL; child = child->next) {
        if (child->key != NULL && same_key(child->key, key)) {
            return child;
        }
    }
    return NULL;
}

/* Its text; NULL when nothing is written there, or when it is no text, which is a problem. */
static const char *text_of(struct file *file, const struct node *node)
{
    if (node->kind == NODE_SCALAR && strlen(node->text) == node->size) {
        return node->size != 0 ? node->text : NULL;
    }
    problem_add(&file->problems, node->mark, "%s must be a text", QUOTE(node->key, node->key_size));
    return NULL;
}

static const char *variable_value(const char *key)
{
    SCOPED_FREE char *name = xprintf("OS_%s", key);

    for (char *s = name; *s != '\0'; s++) {
        *s = (char)toupper((unsigned char)*s);
    }
    return set(name);
}

/* The value of KEY: under 'auth' or beside it, as openstacksdk has it. Borrowed; or NULL. */
static const char *value_of(struct source *source, const char *key)
{
    const struct node *node = NULL;
    size_t i = 0;

    if (source->environment) {
        return variable_value(key);
    }
    for (i = 0; node == NULL && i < COUNT(source->clouds); i++) {
        node =
            source->clouds[i] != NULL ? find_key(find_key(source->clouds[i], "auth"), key) : NULL;
    }
    if (node != NULL) {
        return text_of(&source->files[i - 1], node);
    }
    for (i = 0; node == NULL && i < COUNT(source->clouds); i++) {
        node = find_key(source->clouds[i], key);
    }
    return node != NULL ? text_of(&source->files[i - 1], node) : NULL;
}

/* A new string: of the first of these keys that has a value. */
static char *copy_of(struct source *source, const char *key, const char *older)
{
    const char *value = value_of(source, key);

    if (value == NULL && older != NULL) {
        value = value_of(source, older);
    }
    return value != NULL ? xstrdup(value) : NULL;
}

/* --- what is made of them -------------------------------------------------------------------- */

static int fail_missing(const struct source *source, const char *key, struct error *err)
{
    SCOPED_FREE char *variable = xprintf("OS_%s", key);

    for (char *s = variable; *s != '\0'; s++) {
        *s = (char)toupper((unsigned char)*s);
    }
    (void)fail(err, FAIL_USAGE, "%s has no %s", source->config->source,
               source->environment ? variable : key);
    return source->environment ? fail_hint(err, "set %s", variable)
                               : fail_hint(err, "give '%s' under 'auth'", key);
}

static int fail_value(const struct source *source, const char *key, const char *value,
                      const char *why, struct error *err)
{
    return fail(err, FAIL_USAGE, "%s: %s '%s' %s", source->config->source, key, value, why);
}

/* YAML 1.1 has many words for it. */
static bool is_false(const char *value)
{
    static const char *const words[] = {"false", "no", "off", "n", "0"};

    for (size_t i = 0; i < COUNT(words); i++) {
        if (strcasecmp(value, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Certificates are always verified, and a certificate of the user's own is not known to http/. */
static int check_tls(struct source *source, struct error *err)
{
    const char *verify = value_of(source, "verify"), *insecure = value_of(source, "insecure");
    const char *certificate = value_of(source, "cert");

    if ((verify != NULL && is_false(verify)) || (insecure != NULL && !is_false(insecure))) {
        (void)fail(err, FAIL_USAGE, "%s asks not to verify certificates, and kiln always does",
                   source->config->source);
        return fail_hint(err, "name the certificate of the cloud's own authority with %s",
                         source->environment ? "OS_CACERT" : "'cacert'");
    }
    if (certificate != NULL) {
        return fail_value(source, "cert", certificate, "is not supported: no client certificates",
                          err);
    }
    return 0;
}

static int choose_auth(struct source *source, struct error *err)
{
    static const struct {
        const char *name;
        enum openstack_auth auth;
    } types[] = {
        {"password", OPENSTACK_PASSWORD},
        {"v3password", OPENSTACK_PASSWORD},
        {"v3applicationcredential", OPENSTACK_APPLICATION_CREDENTIAL},
        {"token", OPENSTACK_TOKEN},
        {"v3token", OPENSTACK_TOKEN},
    };
    struct openstack_config *config = source->config;
    SCOPED_FREE char *type = copy_of(source, "auth_type", "auth_plugin");
    const char *version = value_of(source, "identity_api_version");

    if (version != NULL && *version == '2') {
        return fail_value(source, "identity_api_version", version, "is not supported: 3 is", err);
    }
    if (type == NULL) {
        config->auth = config->token != NULL               ? OPENSTACK_TOKEN
                       : config->credential_secret != NULL ? OPENSTACK_APPLICATION_CREDENTIAL
                                                           : OPENSTACK_PASSWORD;
        return 0;
    }
    for (size_t i = 0; i < COUNT(types); i++) {
        if (strcmp(types[i].name, type) == 0) {
            config->auth = types[i].auth;
            return 0;
        }
    }
    (void)fail_value(source, "auth_type", type, "is not supported", err);
    return fail_hint(err, "supported are v3password, v3applicationcredential and v3token; an "
                          "application credential can stand in for the others");
}

/* The domain of a user or project that has a name, which alone does not say who it is. */
static void default_domain(struct source *source, char **name, char **id)
{
    if (*name == NULL && *id == NULL) {
        *id = copy_of(source, "domain_id", "default_domain_id");
        *name = *id == NULL ? copy_of(source, "domain_name", "default_domain_name") : NULL;
    }
    if (*name == NULL && *id == NULL) {
        *id = copy_of(source, "default_domain", NULL);
    }
    if (*name == NULL && *id == NULL) {
        *id = xstrdup("default");
    }
}

static void read_values(struct source *source)
{
    struct openstack_config *config = source->config;

    config->auth_url = copy_of(source, "auth_url", NULL);
    config->username = copy_of(source, "username", "user_name");
    config->user_id = copy_of(source, "user_id", NULL);
    config->user_domain_name = copy_of(source, "user_domain_name", NULL);
    config->user_domain_id = copy_of(source, "user_domain_id", NULL);
    config->password = copy_of(source, "password", NULL);
    config->project_name = copy_of(source, "project_name", "tenant_name");
    config->project_id = copy_of(source, "project_id", "tenant_id");
    config->project_domain_name = copy_of(source, "project_domain_name", NULL);
    config->project_domain_id = copy_of(source, "project_domain_id", NULL);
    config->credential_name = copy_of(source, "application_credential_name", NULL);
    config->credential_id = copy_of(source, "application_credential_id", NULL);
    config->credential_secret = copy_of(source, "application_credential_secret", NULL);
    config->token = copy_of(source, "token", "auth_token");
    config->region = copy_of(source, "region_name", NULL);
    config->interface = copy_of(source, "interface", "endpoint_type");
    config->image_endpoint = copy_of(source, "image_endpoint_override", NULL);
    default_domain(source, &config->user_domain_name, &config->user_domain_id);
    default_domain(source, &config->project_domain_name, &config->project_domain_id);
}

static int check_interface(struct source *source, struct error *err)
{
    static const char *const names[] = {"public", "internal", "admin"};
    char *interface = source->config->interface;

    if (interface == NULL) {
        source->config->interface = xstrdup(names[0]);
        return 0;
    }
    if (text_ends(interface, "URL")) { /* as of Keystone 2 */
        interface[strlen(interface) - strlen("URL")] = '\0';
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(names[i], interface) == 0) {
            return 0;
        }
    }
    return fail_value(source, "interface", interface, "is none of public, internal and admin", err);
}

static int check_who(const struct source *source, struct error *err)
{
    const struct openstack_config *config = source->config;
    bool user = config->username != NULL || config->user_id != NULL;

    switch (config->auth) {
    case OPENSTACK_PASSWORD:
        return !user                      ? fail_missing(source, "username", err)
               : config->password == NULL ? fail_missing(source, "password", err)
                                          : 0;
    case OPENSTACK_TOKEN:
        return config->token == NULL ? fail_missing(source, "token", err) : 0;
    case OPENSTACK_APPLICATION_CREDENTIAL:
        if (config->credential_secret == NULL) {
            return fail_missing(source, "application_credential_secret", err);
        }
        return config->credential_id == NULL && (config->credential_name == NULL || !user)
                   ? fail_missing(source, "application_credential_id", err)
                   : 0;
    }
    return 0;
}

static int check_values(struct source *source, struct error *err)
{
    const struct openstack_config *config = source->config;

    if (config->auth_url == NULL) {
        const char *profile = value_of(source, "profile");

        (void)fail_missing(source, "auth_url", err);
        return profile == NULL || source->environment
                   ? -1
                   : fail_while(err, "profile '%s' of a vendor is not known to kiln", profile);
    }
    if (check_who(source, err) < 0) {
        return -1;
    }
    if (config->auth != OPENSTACK_APPLICATION_CREDENTIAL && config->project_name == NULL &&
        config->project_id == NULL) {
        return fail_missing(source, "project_name", err);
    }
    return check_interface(source, err);
}

/* "~/ca.pem" is not for a shell to expand here. */
static char *expand(const char *path)
{
    const char *home = set("HOME");

    return text_starts(path, "~/") && home != NULL ? file_join(home, path + 2) : xstrdup(path);
}

static int build(struct source *source, struct error *err)
{
    const char *ca = value_of(source, "cacert");

    source->config->ca_file = ca != NULL ? expand(ca) : NULL;
    read_values(source);
    for (size_t i = 0; i < COUNT(source->files); i++) {
        if (problems_fail(&source->files[i].problems, err) < 0) {
            return -1;
        }
    }
    return check_tls(source, err) < 0 || choose_auth(source, err) < 0 ? -1
                                                                      : check_values(source, err);
}

/* --- which cloud ----------------------------------------------------------------------------- */

static char *cloud_names(const struct file *file)
{
    SCOPED(buf_done) struct buf names = {0};

    for (const struct node *cloud = file->clouds != NULL ? file->clouds->first : NULL;
         cloud != NULL && names.size < 500; cloud = cloud->next) {
        buf_printf(&names, "%s%s", names.size != 0 ? ", " : "", cloud->key);
    }
    return buf_take(&names);
}

static int choose_entry(struct source *source, const char *name, struct error *err)
{
    const struct file *file = &source->files[1];

    for (size_t i = 0; i < COUNT(source->files); i++) {
        source->clouds[i] =
            source->files[i].clouds != NULL ? node_find(source->files[i].clouds, name) : NULL;
    }
    if (file->path == NULL) {
        (void)fail(err, FAIL_USAGE, "cloud '%s' was chosen, and there is no clouds.yaml", name);
        return fail_hint(err, "it is looked for in OS_CLIENT_CONFIG_FILE, the current directory, "
                              "~/.config/openstack and /etc/openstack");
    }
    if (source->clouds[1] == NULL) {
        SCOPED_FREE char *names = cloud_names(file);

        (void)fail(err, FAIL_USAGE, "%s has no cloud '%s'", file->path, name);
        return fail_hint(err, "it has: %s", *names != '\0' ? names : "none");
    }
    source->config->source = xprintf("cloud '%s' of %s", name, file->path);
    return 0;
}

static int choose_cloud(struct source *source, const char *cloud, struct error *err)
{
    const struct node *clouds = source->files[1].clouds;
    const char *name = cloud != NULL ? cloud : set("OS_CLOUD");

    if (name == NULL && (set("OS_AUTH_URL") != NULL || set("OS_AUTH_TYPE") != NULL)) {
        source->environment = true;
        source->config->source = xstrdup("the environment");
        return 0;
    }
    if (name == NULL && clouds != NULL && clouds->count == 1 && clouds->first->key != NULL) {
        name = clouds->first->key;
    }
    if (name != NULL) {
        return choose_entry(source, name, err);
    }
    if (clouds != NULL && clouds->count != 0) {
        SCOPED_FREE char *names = cloud_names(&source->files[1]);

        (void)fail(err, FAIL_USAGE, "%s has several clouds", source->files[1].path);
        return fail_hint(err, "choose one with 'os_cloud' of the target or OS_CLOUD: %s", names);
    }
    (void)fail(err, FAIL_USAGE, "no OpenStack cloud is configured");
    return fail_hint(err, "name an entry of clouds.yaml with 'os_cloud' of the target or OS_CLOUD, "
                          "or set OS_AUTH_URL and the like");
}

int openstack_config_load(const char *cloud, struct openstack_config **ret, struct error *err)
{
    SCOPED(openstack_config_freep)
    struct openstack_config *config = xcalloc(1, sizeof(*config));
    SCOPED(source_done) struct source source = {.config = config};

    if (read_file("OS_CLIENT_SECURE_FILE", "secure", &source.files[0], err) < 0 ||
        read_file("OS_CLIENT_CONFIG_FILE", "clouds", &source.files[1], err) < 0 ||
        choose_cloud(&source, cloud, err) < 0 || build(&source, err) < 0) {
        return -1;
    }
    *ret = TAKE(config);
    return 0;
}
