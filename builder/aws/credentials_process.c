/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that a program prints: credential_process of a profile, by which single sign-on works, too
 * (https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html). */
#include <jansson.h>
#include <string.h>

#include "aws/source.h"
#include "base/proc.h"
#include "base/secret.h"

/* Somebody may have to log in with a browser first. */
enum { TIMEOUT_MS = 300 * 1000, OUTPUT_MAX = 64 << 10 };

/* --- its command line ------------------------------------------------------------------------ */

void source_words_free(char **words)
{
    for (char **word = words; word != NULL && *word != NULL; word++) {
        free(*word);
    }
    free(words);
}

/* Adds what is up to the closing QUOTE to WORD; what follows it, or NULL when there is none. */
static const char *take_quoted(const char *text, char quote, struct buf *word)
{
    for (; *text != quote; text++) {
        if (*text == '\0') {
            return NULL;
        }
        if (*text == '\\' && quote == '"' && (text[1] == '"' || text[1] == '\\')) {
            text++;
        }
        buf_putc(word, *text);
    }
    return text + 1;
}

/* Adds the next word to WORD; what follows it, or NULL when it has no end. */
static const char *take_word(const char *text, struct buf *word)
{
    while (text != NULL && *text != '\0' && strchr(" \t\r\n", *text) == NULL) {
        if (*text == '\'' || *text == '"') {
            text = take_quoted(text + 1, *text, word);
            continue;
        }
        if (*text == '\\' && *++text == '\0') {
            return NULL;
        }
        buf_putc(word, *text++);
    }
    return text;
}

bool source_words(const char *text, char ***ret)
{
    char **words = xcalloc(1, sizeof(*words));
    size_t count = 0, space = 1;

    for (text += strspn(text, " \t\r\n"); *text != '\0'; text += strspn(text, " \t\r\n")) {
        struct buf word = {0};

        text = take_word(text, &word);
        if (text == NULL) {
            buf_done(&word);
            source_words_free(words);
            return false;
        }
        grow((void *)&words, count + 1, &space, sizeof(*words));
        words[count++] = buf_take(&word);
        words[count] = NULL;
    }
    *ret = words;
    return true;
}

/* --- what it prints -------------------------------------------------------------------------- */

static int check_version(const struct buf *output, struct error *err)
{
    SCOPED(json_decrefp) json_t *object = json_loadb(output->data, output->size, 0, NULL);
    const json_t *version = json_object_get(object, "Version");

    if (object != NULL && (!json_is_integer(version) || json_integer_value(version) != 1)) {
        return fail(err, FAIL_ERROR, "what it says has no \"Version\": 1");
    }
    return 0;
}

static int get(const struct finder *finder, const struct source *source, struct aws_keys *ret,
               struct error *err)
{
    SCOPED(secret_done) struct buf output = {0};
    const struct proc proc = {.argv = (const char *const *)source->argv,
                              .output = &output,
                              .output_max = OUTPUT_MAX + 1,
                              .timeout_ms = TIMEOUT_MS};

    (void)finder;
    (void)buf_reserve(&output, OUTPUT_MAX + 8192); /* so that it never moves */
    buf_puts(&output, "");
    if (proc_run(&proc, err) < 0) {
        err->hint[0] = '\0'; /* not one of the programs that kiln needs */
        return -1;
    }
    if (output.size > OUTPUT_MAX) {
        return fail(err, FAIL_ERROR, "it says more than %d bytes", OUTPUT_MAX);
    }
    return check_version(&output, err) < 0
               ? -1
               : aws_keys_parse(output.data, output.size, "SessionToken", ret, err);
}

int source_process(const char *profile, const char *command, struct source **ret, struct error *err)
{
    SCOPED(source_freep) struct source *source = xcalloc(1, sizeof(*source));

    if (!source_words(command, &source->argv)) {
        return fail(err, FAIL_ERROR, "credential_process of profile '%s' has a quote without end",
                    profile);
    }
    source->name = xprintf("credential_process of profile '%s'", profile);
    source->get = get;
    *ret = TAKE(source);
    return 0;
}
