/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what Keystone and Glance reply: a token with a project and endpoints that are URLs,
 * a path that is one, a message on one line. */
#include <stdlib.h>
#include <string.h>

#include "http/http.h"
#include "openstack/message.h"
#include "openstack/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_endpoint(const struct token *token, const char *interface, const char *region)
{
    SCOPED_FREE char *url = NULL, *in = NULL;
    struct error err = {0};

    if (token_endpoint(token, "image", interface, region, &url, &in, &err) == 0) {
        require(http_url_wrong(url) == NULL && in != NULL);
        require(region == NULL || strcmp(region, in) == 0);
    } else {
        require(url == NULL && in == NULL && err.kind == FAIL_REMOTE);
    }
}

static void check_token(const char *text, size_t size)
{
    SCOPED(token_done) struct token token = {0};
    struct error err = {0};

    if (token_read(text, size, &token, &err) < 0) {
        require(err.kind == FAIL_REMOTE);
        return;
    }
    require(token.project_id != NULL && token.lifetime_s > 0);
    check_endpoint(&token, "public", NULL);
    check_endpoint(&token, "public", "one");
    check_endpoint(&token, "internal", NULL);
}

static void check_version(const char *text, size_t size)
{
    SCOPED_FREE char *path = token_version_path(text, size);
    SCOPED_FREE char *url = NULL;

    if (path != NULL) {
        url = xprintf("https://host%s", path);
        require(http_url_wrong(url) == NULL);
    }
}

static void check_message(const char *text, size_t size)
{
    struct http_reply reply = {.status = 400};
    SCOPED_FREE char *message = NULL;

    buf_add(&reply.body, text, size);
    message = openstack_message(&reply, "PLANTED");
    require(*message != '\0' && strchr(message, '\n') == NULL &&
            strstr(message, "PLANTED") == NULL);
    http_reply_done(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_token((const char *)data, size);
    check_version((const char *)data, size);
    check_message((const char *)data, size);
    return 0;
}
