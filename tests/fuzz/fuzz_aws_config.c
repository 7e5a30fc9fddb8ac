/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a file of AWS' settings or keys: refused by line and without a byte of it, or read
 * into sections and keys that can be found. As a command line they give words or none. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "aws/ini.h"
#include "aws/keys.h"
#include "aws/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* All that a message has is ours: it is one of these, with numbers. */
static void check_refusal(const struct error *err)
{
    static const char *const words[] = {
        "this is neither 'key = value' nor a section",
        "this comes before the first section",
        "this section's name has no ']' at its end",
        "something follows the ']' of this section's name",
        "this section has no name",
        "there is no key before the '='",
        "there is a NUL byte in this line",
        "there are too many sections",
        "there are too many keys in this section",
    };
    const char *rest = err->message + strlen("fuzz:");
    bool known = false;

    require(err->kind == FAIL_ERROR && strncmp(err->message, "fuzz:", 5) == 0);
    rest += strspn(rest, "0123456789");
    require(strncmp(rest, ": ", 2) == 0);
    rest += 2;
    for (size_t i = 0; i < COUNT(words); i++) {
        known = known || strcmp(rest, words[i]) == 0;
    }
    if (!known) {
        require(strncmp(rest, "this key is in line ", 20) == 0);
        rest += 20 + strspn(rest + 20, "0123456789");
        require(strcmp(rest, " already") == 0);
    }
}

static void check_section(const struct ini *ini, const struct ini_section *section)
{
    require(section->name[0] != '\0' && ini_section(ini, section->name) == section);
    for (size_t i = 0; i < section->count; i++) {
        const struct ini_entry *entry = &section->entries[i];

        require(entry->key[0] != '\0' && strchr(entry->key, '=') == NULL && entry->line != 0);
        for (const char *s = entry->key; *s != '\0'; s++) {
            require(tolower((unsigned char)*s) == (unsigned char)*s && *s != '\n');
        }
        require(ini_value(ini, section->name, entry->key) == entry->value);
    }
}

static void check_words(const char *text)
{
    char **words;
    size_t size = 0;

    if (source_words(text, &words)) {
        for (char **word = words; *word != NULL; word++) {
            size += strlen(*word);
        }
        require(size <= strlen(text));
        source_words_free(words);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(ini_freep) struct ini *ini = NULL;
    SCOPED_FREE char *text = xstrndup((const char *)data, size);
    struct error err = {0};
    int64_t time;

    check_words(text);
    (void)aws_keys_time(text, &time);
    if (ini_parse("fuzz", (const char *)data, size, &ini, &err) < 0) {
        require(ini == NULL);
        check_refusal(&err);
        return 0;
    }
    for (size_t i = 0; i < ini->count; i++) {
        check_section(ini, &ini->sections[i]);
    }
    return 0;
}
