/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client for AWS does, for tests that compare it with others:
 *
 *     awsclient sign       JSON lines {method, url, headers, sha256, service, region, time, access,
 *                          secret, token} -> the lines of a header that are added
 *     awsclient endpoint   [service, region, fips, dualstack] -> a URL
 *     awsclient words      a command line -> its words, or null
 *     awsclient ini FILE...  {section: {key: value}} of each, or the error
 *     awsclient keys STEP...  finds keys as kiln would and does what the steps say:
 *         get         prints the keys of now
 *         refused     likewise, after those of before were refused
 *         threads     as refused, by eight threads at once
 *         whoami      asks STS who they belong to
 *         ahead=N     AWS' clock is N seconds ahead from now on
 *         run=COMMAND in a shell
 *
 * Errors go to stderr as kiln shows them, with their exit status. Keys are printed: test with none
 * that matter.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/endpoint.h"
#include "aws/ini.h"
#include "aws/sign.h"
#include "aws/source.h"
#include "aws/sts.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/secret.h"
#include "base/stop.h"

static int tell(const struct error *err)
{
    (void)fprintf(stderr, "error: %s\n", err->message);
    if (err->hint[0] != '\0') {
        (void)fprintf(stderr, "hint: %s\n", err->hint);
    }
    return fail_status(err);
}

static void print(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

    (void)printf("%s\n", text != NULL ? text : "null");
    (void)fflush(stdout);
    free(text);
    json_decref(value);
}

/* --- pure parts, one JSON line each ---------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static json_t *sign(const json_t *object)
{
    SCOPED(http_headers_done) struct http_headers headers = {0};
    const struct aws_keys keys = {.access_key = (char *)text_of(object, "access"),
                                  .secret_key = (char *)text_of(object, "secret"),
                                  .session_token = (char *)text_of(object, "token")};
    const json_t *given = json_object_get(object, "headers");
    const char **lines = xcalloc(json_array_size(given) + 1, sizeof(*lines));
    uint8_t sha256[HASH_SIZE];
    json_t *result = json_array();

    for (size_t i = 0; i < json_array_size(given); i++) {
        lines[i] = json_string_value(json_array_get(given, i));
    }
    if (!hash_parse(text_of(object, "sha256"), sha256)) {
        abort();
    }
    aws_sign(&(struct aws_signing){.method = text_of(object, "method"),
                                   .url = text_of(object, "url"),
                                   .headers = lines,
                                   .sha256 = sha256,
                                   .service = text_of(object, "service"),
                                   .region = text_of(object, "region"),
                                   .time = json_integer_value(json_object_get(object, "time")),
                                   .keys = &keys},
             &headers);
    for (size_t i = 0; i < headers.count; i++) {
        (void)json_array_append_new(result, json_string(headers.lines[i]));
    }
    free(lines);
    return result;
}

static json_t *endpoint(const json_t *array)
{
    SCOPED_FREE char *url = endpoint_url(
        json_string_value(json_array_get(array, 0)), json_string_value(json_array_get(array, 1)),
        json_is_true(json_array_get(array, 2)), json_is_true(json_array_get(array, 3)));

    return json_string(url);
}

static json_t *words(const json_t *text)
{
    char **words;
    json_t *result;

    if (!source_words(json_string_value(text), &words)) {
        return json_null();
    }
    result = json_array();
    for (char **word = words; *word != NULL; word++) {
        (void)json_array_append_new(result, json_string(*word));
    }
    source_words_free(words);
    return result;
}

static int lines(json_t *(*answer)(const json_t *))
{
    char *line = NULL;
    size_t space = 0;
    ssize_t size;

    while ((size = getline(&line, &space, stdin)) > 0) {
        json_t *value = json_loadb(line, (size_t)size, JSON_DECODE_ANY, NULL);

        if (value == NULL) {
            abort();
        }
        print(answer(value));
        json_decref(value);
    }
    free(line);
    return 0;
}

static json_t *read_ini(const char *path, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};
    SCOPED(ini_freep) struct ini *ini = NULL;
    json_t *result;

    if (file_read(path, INI_MAX, &text, err) < 0 ||
        ini_parse(path, text.data, text.size, &ini, err) < 0) {
        return json_string(err->message);
    }
    result = json_object();
    for (size_t i = 0; i < ini->count; i++) {
        json_t *section = json_object();

        for (size_t j = 0; j < ini->sections[i].count; j++) {
            const struct ini_entry *entry = &ini->sections[i].entries[j];

            (void)json_object_set_new(section, entry->key, json_string(entry->value));
        }
        (void)json_object_set_new(result, ini->sections[i].name, section);
    }
    return result;
}

static int show_files(char **paths)
{
    for (; *paths != NULL; paths++) {
        struct error err = {0};

        print(read_ini(*paths, &err));
    }
    return 0;
}

/* --- keys ------------------------------------------------------------------------------------ */

struct session {
    struct aws_config *config;
    struct http *http;
    struct aws_credentials *credentials;
    const char *region;
    struct aws_keys last;
};

static void session_done(struct session *session)
{
    aws_keys_done(&session->last);
    aws_credentials_free(session->credentials);
    http_free(session->http);
    aws_config_free(session->config);
}

static int get(struct session *session, bool refused, struct error *err)
{
    struct aws_keys keys = {0};

    if (aws_credentials_get(session->credentials, refused ? &session->last : NULL, &keys, err) <
        0) {
        return -1;
    }
    aws_keys_done(&session->last);
    session->last = keys;
    print(json_pack("{s:s, s:s, s:s?, s:I}", "access", keys.access_key, "secret", keys.secret_key,
                    "token", keys.session_token, "expires", (json_int_t)keys.expires));
    return 0;
}

static void *get_refused(void *data)
{
    struct session *session = data;
    struct aws_keys keys = {0};
    struct error err = {0};

    if (aws_credentials_get(session->credentials, &session->last, &keys, &err) < 0) {
        (void)tell(&err);
        abort();
    }
    aws_keys_done(&keys);
    return NULL;
}

static int threads(struct session *session, struct error *err)
{
    pthread_t ids[8];

    for (size_t i = 0; i < COUNT(ids); i++) {
        if (pthread_create(&ids[i], NULL, get_refused, session) != 0) {
            abort();
        }
    }
    for (size_t i = 0; i < COUNT(ids); i++) {
        (void)pthread_join(ids[i], NULL);
    }
    return get(session, false, err);
}

static int whoami(struct session *session, struct error *err)
{
    SCOPED(aws_service_done) struct aws_service sts = {0};
    SCOPED(sts_identity_done) struct sts_identity identity = {0};

    if (aws_service_init(&sts, session->config, session->http, session->credentials, "sts",
                         session->region, err) < 0 ||
        sts_get_caller_identity(&sts, &identity, err) < 0) {
        return -1;
    }
    print(json_pack("[s, s]", identity.account, identity.arn));
    return 0;
}

static int step(struct session *session, const char *word, struct error *err)
{
    if (strcmp(word, "get") == 0 || strcmp(word, "refused") == 0) {
        return get(session, word[0] == 'r', err);
    }
    if (strcmp(word, "threads") == 0) {
        return threads(session, err);
    }
    if (strcmp(word, "whoami") == 0) {
        return whoami(session, err);
    }
    if (strncmp(word, "ahead=", 6) == 0) {
        aws_credentials_set_ahead(session->credentials, strtol(word + 6, NULL, 10));
        return 0;
    }
    if (strncmp(word, "run=", 4) == 0) {
        return system(word + 4) == 0 ? 0 : fail(err, FAIL_ERROR, "'%s' failed", word + 4);
    }
    return fail(err, FAIL_USAGE, "no step: %s", word);
}

static void retrying(void *data, const char *line)
{
    (void)data;
    (void)fprintf(stderr, "again: %s\n", line);
}

static int find(struct session *session, struct error *err)
{
    const char *patience = getenv("GIVE_UP");
    struct http_options options = {
        .give_up_s = patience != NULL ? (unsigned)strtoul(patience, NULL, 10) : 20,
        .retrying = retrying};

    if (aws_config_load(&session->config, err) < 0) {
        return -1;
    }
    options.ca_file = aws_config_ca(session->config);
    session->region = aws_config_region(session->config);
    session->region = session->region != NULL ? session->region : "us-east-1";
    return http_new(&options, &session->http, err) < 0 ||
                   aws_credentials_find(session->config, session->http, session->region,
                                        &session->credentials, err) < 0
               ? -1
               : 0;
}

static int keys(char **steps)
{
    SCOPED(session_done) struct session session = {0};
    struct error err = {0};

    stop_init();
    if (find(&session, &err) < 0) {
        return tell(&err);
    }
    print(json_string(aws_credentials_source(session.credentials)));
    for (; *steps != NULL; steps++) {
        if (step(&session, *steps, &err) < 0) {
            return tell(&err);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    return strcmp(what, "sign") == 0       ? lines(sign)
           : strcmp(what, "endpoint") == 0 ? lines(endpoint)
           : strcmp(what, "words") == 0    ? lines(words)
           : strcmp(what, "ini") == 0      ? show_files(argv + 2)
           : strcmp(what, "keys") == 0     ? keys(argv + 2)
                                           : 2;
}
