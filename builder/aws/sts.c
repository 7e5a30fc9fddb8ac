/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/sts.h"

#include <string.h>

#include "aws/xml.h"
#include "base/secret.h"

/* --- a call ---------------------------------------------------------------------------------- */

/* Adds "&NAME=VALUE"; nothing when VALUE is NULL. */
static void add(struct buf *form, const char *name, const char *value)
{
    SCOPED(secret_done) struct buf encoded = {0};

    if (value != NULL) {
        (void)buf_reserve(&encoded, 3 * strlen(value)); /* so that it never moves */
        http_encode(&encoded, value, NULL);
        secret_add(form, "&", 1);
        secret_add(form, name, strlen(name));
        secret_add(form, "=", 1);
        secret_add(form, encoded.data, encoded.size);
    }
}

static void begin(struct buf *form, const char *action)
{
    buf_printf(form, "Action=%s&Version=2011-06-15", action);
}

/* Sends FORM; SECRET, which is in there or NULL, is in no message. RET has what is in
 * ACTIONResult. */
static int call(const struct aws_service *sts, const char *action, const struct buf *form,
                const char *secret, struct xml **ret, struct error *err)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL};
    static const char *const passing[] = {"IDPCommunicationError", NULL};
    const struct aws_call request = {.method = "POST",
                                     .path = "/",
                                     .headers = headers,
                                     .body = form->data,
                                     .size = form->size,
                                     .secret = secret,
                                     .retry_codes = passing};
    SCOPED_FREE char *what = xprintf("%s at %s", action, sts->endpoint);
    SCOPED(http_reply_done) struct http_reply reply = {0};
    struct aws_error problem;
    int result = aws_send(sts, &request, &reply, &problem, err);

    if (result > 0) {
        return aws_fail(what, &reply, &problem, err);
    }
    if (result < 0 || xml_parse(reply.body.data, reply.body.size, ret, err) < 0) {
        return fail_while(err, "%s", what);
    }
    return 0;
}

/* --- keys of a role -------------------------------------------------------------------------- */

static void add_role(struct buf *form, const struct sts_role *role)
{
    add(form, "RoleArn", role->arn);
    add(form, "RoleSessionName", role->session_name);
    add(form, "ExternalId", role->external_id);
    add(form, "DurationSeconds", role->duration_s);
}

static int read_keys(const struct xml *xml, const char *result, struct aws_keys *ret,
                     struct error *err)
{
    const struct xml *found = xml_find(xml_find(xml, result), "Credentials");
    const char *access = xml_text(found, "AccessKeyId");
    const char *secret = xml_text(found, "SecretAccessKey");
    const char *token = xml_text(found, "SessionToken");
    const char *expires = xml_text(found, "Expiration");
    int64_t time;

    if (access == NULL || secret == NULL || token == NULL || expires == NULL ||
        !aws_keys_time(expires, &time)) {
        return fail(err, FAIL_REMOTE, "the reply of STS has no %s with all four of its parts",
                    result);
    }
    *ret = (struct aws_keys){.access_key = xstrdup(access),
                             .secret_key = xstrdup(secret),
                             .session_token = xstrdup(token),
                             .expires = time};
    return 0;
}

int sts_assume_role(const struct aws_service *sts, const struct sts_role *role,
                    struct aws_keys *ret, struct error *err)
{
    SCOPED(buf_done) struct buf form = {0};
    SCOPED(xml_freep) struct xml *xml = NULL;

    begin(&form, "AssumeRole");
    add_role(&form, role);
    return call(sts, "AssumeRole", &form, NULL, &xml, err) < 0
               ? -1
               : read_keys(xml, "AssumeRoleResult", ret, err);
}

int sts_assume_role_with_web_identity(const struct aws_service *sts, const struct sts_role *role,
                                      const char *token, struct aws_keys *ret, struct error *err)
{
    SCOPED(secret_done) struct buf form = {0};
    SCOPED(xml_freep) struct xml *xml = NULL;

    begin(&form, "AssumeRoleWithWebIdentity");
    add_role(&form, role);
    add(&form, "WebIdentityToken", token);
    return call(sts, "AssumeRoleWithWebIdentity", &form, token, &xml, err) < 0
               ? -1
               : read_keys(xml, "AssumeRoleWithWebIdentityResult", ret, err);
}

/* --- who am I -------------------------------------------------------------------------------- */

int sts_get_caller_identity(const struct aws_service *sts, struct sts_identity *ret,
                            struct error *err)
{
    SCOPED(buf_done) struct buf form = {0};
    SCOPED(xml_freep) struct xml *xml = NULL;
    const struct xml *found;
    const char *account, *arn;

    begin(&form, "GetCallerIdentity");
    if (call(sts, "GetCallerIdentity", &form, NULL, &xml, err) < 0) {
        return -1;
    }
    found = xml_find(xml, "GetCallerIdentityResult");
    account = xml_text(found, "Account");
    arn = xml_text(found, "Arn");
    if (account == NULL || strlen(account) != 12 || strspn(account, "0123456789") != 12 ||
        arn == NULL) {
        return fail(err, FAIL_REMOTE, "the reply of STS has no account number and ARN");
    }
    *ret = (struct sts_identity){.account = xstrdup(account), .arn = xstrdup(arn)};
    return 0;
}

void sts_identity_done(struct sts_identity *identity)
{
    free(identity->account);
    free(identity->arn);
    *identity = (struct sts_identity){0};
}
