/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that the place where kiln runs has: those of a container, and those of an instance (IMDSv2,
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html).
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "aws/source.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"

#define CONTAINER_HOST "http://169.254.170.2"
#define INSTANCE_HOST "http://169.254.169.254"
#define KEYS_PATH "/latest/meta-data/iam/security-credentials/"

enum { REPLY_MAX = 64 << 10, TOKEN_MAX = 64 << 10, TRIES = 3, TIMEOUT_S = 1 };

/* --- asking ---------------------------------------------------------------------------------- */

/* METHOD URL with HEADER (NULL: none): a reply of 200, with TEXT for whoever it is that answers. */
static int ask(const struct finder *finder, const char *method, const char *url, const char *header,
               struct http_reply *ret, struct error *err)
{
    const char *const headers[] = {"Accept: */*", header, NULL};
    const struct http_call call = {.method = method,
                                   .url = url,
                                   .headers = headers,
                                   .direct = text_starts(url, "http:"),
                                   .secret_url = true,
                                   .tries = TRIES,
                                   .timeout_s = TIMEOUT_S,
                                   .reply_max = REPLY_MAX};
    SCOPED_FREE char *origin = http_origin(url);

    if (http_send(finder->http, &call, ret, err) < 0) {
        return -1;
    }
    if (ret->status != 200) {
        return fail(err, FAIL_REMOTE, "%s answers with status %u", origin, ret->status);
    }
    return 0;
}

/* Asks for keys at URL. */
static int ask_keys(const struct finder *finder, const char *url, const char *header,
                    struct aws_keys *ret, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *origin = http_origin(url);
    SCOPED(json_decrefp) json_t *object = NULL;
    const char *code;

    if (ask(finder, "GET", url, header, &reply, err) < 0) {
        return -1;
    }
    object = json_loadb(reply.body.data, reply.body.size, 0, NULL);
    code = json_string_value(json_object_get(object, "Code"));
    if (code != NULL && strcmp(code, "Success") != 0) {
        return fail(err, FAIL_REMOTE, "%s says '%s' instead of giving keys", origin, code);
    }
    if (aws_keys_parse(reply.body.data, reply.body.size, "Token", ret, err) < 0) {
        err->kind = FAIL_REMOTE;
        return fail_while(err, "%s", origin);
    }
    return 0;
}

int source_token(const char *path, char **ret, struct error *err)
{
    SCOPED(secret_done) struct buf text = {0};

    if (file_read(path, TOKEN_MAX, &text, err) < 0) {
        return -1;
    }
    while (text.size != 0 && strchr(" \t\r\n", text.data[text.size - 1]) != NULL) {
        text.size--;
    }
    if (text.size == 0 || memchr(text.data, '\0', text.size) != NULL) {
        return fail(err, FAIL_ERROR, "'%s' is no token", path);
    }
    *ret = xstrndup(text.data, text.size);
    return 0;
}

/* --- a container's --------------------------------------------------------------------------- */

/* ECS, EKS and the loopback: where http is as good as https. */
static bool is_near(const char *host)
{
    struct in_addr address;

    return strcmp(host, "169.254.170.2") == 0 || strcmp(host, "169.254.170.23") == 0 ||
           strcasecmp(host, "[fd00:ec2::23]") == 0 || strcasecmp(host, "localhost") == 0 ||
           strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

/* The host of "http://host:port", in place. */
static const char *host_of(char *origin)
{
    char *host = origin + strlen("http://");

    host[host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":")] = '\0';
    return host;
}

int source_container_url(const char *relative, const char *full, char **ret, struct error *err)
{
    const char *name = relative != NULL ? "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
                                        : "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    SCOPED_FREE char *url = NULL, *plain = NULL, *origin = NULL;
    const char *wrong;

    if (relative != NULL && relative[0] != '/') {
        return fail(err, FAIL_ERROR, "%s does not begin with '/'", name);
    }
    url = relative != NULL ? xprintf(CONTAINER_HOST "%s", relative) : xstrdup(full);
    plain = xstrndup(url, strcspn(url, "?"));
    wrong = http_url_wrong(plain);
    if (wrong != NULL) {
        return fail(err, FAIL_ERROR, "%s: this URL %s", name, wrong);
    }
    origin = http_origin(plain);
    if (text_starts(origin, "http:") && !is_near(host_of(origin))) {
        return fail(err, FAIL_ERROR,
                    "%s is neither https nor a host that keys may come from without it", name);
    }
    *ret = TAKE(url);
    return 0;
}

/* The line "Authorization: …" that the container's environment asks for, or NULL. */
static int container_header(char **ret, struct error *err)
{
    const char *file = aws_config_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *value = aws_config_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    SCOPED(secret_freep) char *token = NULL;

    if (file != NULL && source_token(file, &token, err) < 0) {
        return fail_while(err, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    }
    value = file != NULL ? token : value;
    *ret = value != NULL ? xprintf("Authorization: %s", value) : NULL;
    return 0;
}

static int get_container(const struct finder *finder, const struct source *source,
                         struct aws_keys *ret, struct error *err)
{
    SCOPED(secret_freep) char *header = NULL;

    return container_header(&header, err) < 0 ? -1
                                              : ask_keys(finder, source->url, header, ret, err);
}

int source_container(const struct finder *finder, struct buf *looked, struct source **ret,
                     struct error *err)
{
    const char *relative = aws_config_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = aws_config_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    SCOPED_FREE char *url = NULL, *origin = NULL;

    (void)finder;
    if (relative == NULL && full == NULL) {
        source_looked(looked, "AWS_CONTAINER_CREDENTIALS_FULL_URI is not set");
        return 0;
    }
    if (source_container_url(relative, full, &url, err) < 0) {
        return -1;
    }
    origin = http_origin(url);
    *ret = xcalloc(1, sizeof(**ret));
    **ret = (struct source){
        .name = xprintf("the container's %s", origin), .get = get_container, .url = TAKE(url)};
    return 1;
}

/* --- an instance's --------------------------------------------------------------------------- */

/* The line with a token, which every other request must have. */
static int instance_header(const struct finder *finder, const char *host, char **ret,
                           struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED_FREE char *url = xprintf("%s/latest/api/token", host);

    if (ask(finder, "PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 21600", &reply, err) < 0) {
        return -1;
    }
    *ret = xprintf("X-aws-ec2-metadata-token: %s", reply.body.data);
    return 0;
}

static int get_instance(const struct finder *finder, const struct source *source,
                        struct aws_keys *ret, struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    SCOPED(secret_freep) char *header = NULL;
    SCOPED_FREE char *list = xprintf("%s" KEYS_PATH, source->url), *role = NULL;
    SCOPED(buf_done) struct buf url = {0};

    if (instance_header(finder, source->url, &header, err) < 0 ||
        ask(finder, "GET", list, header, &reply, err) < 0) {
        return -1;
    }
    role = xstrndup(reply.body.data, strcspn(reply.body.data, "\r\n"));
    if (role[0] == '\0') {
        return fail(err, FAIL_REMOTE, "the instance has no role");
    }
    buf_puts(&url, list);
    http_encode(&url, role, NULL);
    return ask_keys(finder, url.data, header, ret, err);
}

/* Where the metadata service is: a new string without a slash at its end. */
static int instance_url(const struct finder *finder, char **ret, struct error *err)
{
    const char *profile = aws_config_profile(finder->config, NULL);
    const char *url = aws_config_env("AWS_EC2_METADATA_SERVICE_ENDPOINT"), *wrong;
    size_t size;

    if (url == NULL) {
        url = aws_config_value(finder->config, profile, "ec2_metadata_service_endpoint");
    }
    url = url != NULL ? url : INSTANCE_HOST;
    wrong = http_url_wrong(url);
    if (wrong != NULL) {
        return fail(err, FAIL_ERROR, "AWS_EC2_METADATA_SERVICE_ENDPOINT: this URL %s", wrong);
    }
    for (size = strlen(url); url[size - 1] == '/';) {
        size--;
    }
    *ret = xstrndup(url, size);
    return 0;
}

/* A token is got first, to see whether there is such a service: most machines have none. */
int source_instance(const struct finder *finder, struct buf *looked, struct source **ret,
                    struct error *err)
{
    SCOPED(secret_freep) char *header = NULL;
    SCOPED_FREE char *url = NULL;
    bool disabled = false;

    if (aws_config_flag(finder->config, "AWS_EC2_METADATA_DISABLED", NULL, &disabled, err) < 0 ||
        instance_url(finder, &url, err) < 0) {
        return -1;
    }
    if (disabled) {
        source_looked(looked, "AWS_EC2_METADATA_DISABLED is set");
        return 0;
    }
    if (instance_header(finder, url, &header, err) < 0) {
        if (err->kind == FAIL_STOPPED) {
            return -1;
        }
        source_looked(looked, "the instance's metadata service: %s", err->message);
        fail_clear(err);
        return 0;
    }
    *ret = xcalloc(1, sizeof(**ret));
    **ret = (struct source){
        .name = xprintf("the instance's role, by %s", url), .get = get_instance, .url = TAKE(url)};
    return 1;
}
