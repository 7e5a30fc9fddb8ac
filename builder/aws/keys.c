/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/keys.h"

#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/secret.h"
#include "base/text.h"

void aws_keys_done(struct aws_keys *keys)
{
    secret_free(keys->access_key);
    secret_free(keys->secret_key);
    secret_free(keys->session_token);
    *keys = (struct aws_keys){0};
}

static char *copy(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

void aws_keys_copy(const struct aws_keys *keys, struct aws_keys *ret)
{
    *ret = (struct aws_keys){.access_key = copy(keys->access_key),
                             .secret_key = copy(keys->secret_key),
                             .session_token = copy(keys->session_token),
                             .expires = keys->expires};
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool aws_keys_same(const struct aws_keys *a, const struct aws_keys *b)
{
    return same_text(a->access_key, b->access_key) && same_text(a->secret_key, b->secret_key) &&
           same_text(a->session_token, b->session_token);
}

static bool is_plain(const char *text)
{
    const char *s = text;

    while (*s > 0x20 && *s < 0x7f) {
        s++;
    }
    return s != text && *s == '\0';
}

int aws_keys_check(const struct aws_keys *keys, struct error *err)
{
    /* In a signature, the first is followed by a "/". */
    const char *wrong =
        !is_plain(keys->access_key) || strchr(keys->access_key, '/') != NULL ? "access key id"
        : !is_plain(keys->secret_key)                                        ? "secret access key"
        : keys->session_token != NULL && !is_plain(keys->session_token)      ? "session token"
                                                                             : NULL;

    return wrong == NULL
               ? 0
               : fail(err, FAIL_ERROR, "the %s is empty or has a character that none has", wrong);
}

/* "+02:00" or "-0230" in seconds. */
static bool parse_offset(const char *text, int64_t *ret)
{
    int digits[4], count = 0;

    for (const char *s = text + 1; *s != '\0'; s++) {
        if (*s == ':' && count == 2 && s[1] != '\0') {
            continue;
        }
        if (*s < '0' || *s > '9' || count == 4) {
            return false;
        }
        digits[count++] = *s - '0';
    }
    if (count != 4) {
        return false;
    }
    *ret = (digits[0] * 10 + digits[1]) * 3600 + (digits[2] * 10 + digits[3]) * 60;
    *ret = text[0] == '-' ? -*ret : *ret;
    return true;
}

bool aws_keys_time(const char *text, int64_t *ret)
{
    enum { SECONDS_SIZE = sizeof("2026-11-01T00:00:00") - 1 };
    char plain[SECONDS_SIZE + 2];
    const char *rest;
    int64_t time, offset = 0;

    if (strlen(text) <= SECONDS_SIZE) {
        return false;
    }
    memcpy(plain, text, SECONDS_SIZE);
    memcpy(plain + SECONDS_SIZE, "Z", 2);
    rest = text + SECONDS_SIZE;
    if (rest[0] == '.' && strspn(rest + 1, "0123456789") != 0) {
        rest += 1 + strspn(rest + 1, "0123456789");
    }
    if (!text_parse_time(plain, &time) ||
        !(strcmp(rest, "Z") == 0 ||
          ((rest[0] == '+' || rest[0] == '-') && parse_offset(rest, &offset)))) {
        return false;
    }
    *ret = time - offset;
    return true;
}

int aws_keys_parse(const char *text, size_t size, const char *token_name, struct aws_keys *ret,
                   struct error *err)
{
    SCOPED(json_decrefp) json_t *object = json_loadb(text, size, 0, NULL);
    const char *access = json_string_value(json_object_get(object, "AccessKeyId"));
    const char *secret = json_string_value(json_object_get(object, "SecretAccessKey"));
    const char *token = json_string_value(json_object_get(object, token_name));
    const char *expires = json_string_value(json_object_get(object, "Expiration"));
    int64_t time = 0;

    if (!json_is_object(object)) {
        return fail(err, FAIL_ERROR, "what it says is not a JSON object");
    }
    if (access == NULL || secret == NULL) {
        return fail(err, FAIL_ERROR, "what it says has no %s",
                    access == NULL ? "AccessKeyId" : "SecretAccessKey");
    }
    if (expires != NULL && !aws_keys_time(expires, &time)) {
        return fail(err, FAIL_ERROR, "'%s', its Expiration, is no time", expires);
    }
    *ret = (struct aws_keys){.access_key = xstrdup(access),
                             .secret_key = xstrdup(secret),
                             .session_token = copy(token),
                             .expires = time};
    return 0;
}
