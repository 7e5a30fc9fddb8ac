/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/ini.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/secret.h"

/* More of either than anybody has: looking for one stays cheap. */
enum { SECTIONS_MAX = 4096, ENTRIES_MAX = 1024 };

struct parser {
    struct ini *ini;
    const char *name; /* of the file */
    unsigned line;
    size_t section; /* the open one, or ini->count */
    bool in_entry;  /* a line that is indented further than INDENT goes on with the last one */
    bool nested;    /* ... by a key below it, PARENT */
    size_t indent;
    char *parent; /* borrowed: the key of the last entry that is not nested */
};

static int refuse(const struct parser *parser, const char *what, struct error *err)
{
    return fail(err, FAIL_ERROR, "%s:%u: %s", parser->name, parser->line, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Cuts blanks off both ends of a line's part, in place. */
static char *trim(char *text)
{
    size_t size;

    while (is_blank(*text)) {
        text++;
    }
    size = strlen(text);
    while (size != 0 && is_blank(text[size - 1])) {
        size--;
    }
    text[size] = '\0';
    return text;
}

/* A command line is kept as it is: in there, a shell's comment is one of its arguments. */
static void cut_comment(const char *key, char *value)
{
    if (strcmp(key, "credential_process") == 0) {
        return;
    }
    for (char *s = value; *s != '\0'; s++) {
        if (is_blank(s[0]) && (s[1] == '#' || s[1] == ';')) {
            *s = '\0';
            return;
        }
    }
}

static void entry_done(struct ini_entry *entry)
{
    secret_free(entry->key);
    secret_free(entry->value);
}

void ini_free(struct ini *ini)
{
    if (ini == NULL) {
        return;
    }
    for (size_t i = 0; i < ini->count; i++) {
        for (size_t j = 0; j < ini->sections[i].count; j++) {
            entry_done(&ini->sections[i].entries[j]);
        }
        free(ini->sections[i].entries);
        free(ini->sections[i].name);
    }
    free(ini->sections);
    free(ini);
}

static size_t find_section(const struct ini *ini, const char *name)
{
    size_t i = 0;

    while (i < ini->count && strcmp(ini->sections[i].name, name) != 0) {
        i++;
    }
    return i;
}

const struct ini_section *ini_section(const struct ini *ini, const char *name)
{
    size_t i = find_section(ini, name);

    return i < ini->count ? &ini->sections[i] : NULL;
}

static struct ini_entry *find_entry(const struct ini_section *section, const char *key)
{
    for (size_t i = 0; i < section->count; i++) {
        if (strcmp(section->entries[i].key, key) == 0) {
            return &section->entries[i];
        }
    }
    return NULL;
}

const char *ini_value(const struct ini *ini, const char *section, const char *key)
{
    const struct ini_section *found = ini_section(ini, section);
    const struct ini_entry *entry = found != NULL ? find_entry(found, key) : NULL;

    return entry != NULL ? entry->value : NULL;
}

/* "profile  'web'" is "profile web". */
static char *section_name(char *text)
{
    char *rest;
    size_t size;

    text = trim(text);
    rest = text + strcspn(text, " \t");
    if (*rest == '\0') {
        return xstrdup(text);
    }
    *rest = '\0';
    rest = trim(rest + 1);
    size = strlen(rest);
    if (size >= 2 && (rest[0] == '"' || rest[0] == '\'') && rest[size - 1] == rest[0]) {
        rest[size - 1] = '\0';
        rest++;
    }
    return xprintf("%s %s", text, rest);
}

static int open_section(struct parser *parser, char *text, struct error *err)
{
    struct ini *ini = parser->ini;
    char *end = strchr(text, ']'), *after;
    SCOPED_FREE char *name = NULL;

    if (end == NULL) {
        return refuse(parser, "this section's name has no ']' at its end", err);
    }
    after = trim(end + 1);
    if (*after != '\0' && *after != '#' && *after != ';') {
        return refuse(parser, "something follows the ']' of this section's name", err);
    }
    *end = '\0';
    name = section_name(text + 1);
    if (name[0] == '\0') {
        return refuse(parser, "this section has no name", err);
    }
    parser->in_entry = false;
    parser->section = find_section(ini, name);
    if (parser->section == ini->count) {
        if (ini->count == SECTIONS_MAX) {
            return refuse(parser, "there are too many sections", err);
        }
        grow(&ini->sections, ini->count, &ini->space, sizeof(*ini->sections));
        ini->sections[ini->count++] = (struct ini_section){.name = TAKE(name)};
    }
    return 0;
}

/* Adds "KEY = VALUE", or below PARENT unless it is NULL, to the open section. */
static int add_entry(struct parser *parser, const char *parent, char *text, struct error *err)
{
    struct ini_section *section = &parser->ini->sections[parser->section];
    char *equals = strchr(text, '=');
    SCOPED(secret_freep) char *key = NULL;
    const struct ini_entry *other;

    if (equals == NULL) {
        return refuse(parser, "this is neither 'key = value' nor a section", err);
    }
    *equals = '\0';
    text = trim(text);
    for (char *s = text; *s != '\0'; s++) {
        *s = (char)tolower((unsigned char)*s);
    }
    if (*text == '\0') {
        return refuse(parser, "there is no key before the '='", err);
    }
    key = parent != NULL ? xprintf("%s.%s", parent, text) : xstrdup(text);
    other = find_entry(section, key);
    if (other != NULL) {
        return fail(err, FAIL_ERROR, "%s:%u: this key is in line %u already", parser->name,
                    parser->line, other->line);
    }
    if (section->count == ENTRIES_MAX) {
        return refuse(parser, "there are too many keys in this section", err);
    }
    cut_comment(key, equals + 1);
    grow(&section->entries, section->count, &section->space, sizeof(*section->entries));
    section->entries[section->count++] = (struct ini_entry){
        .key = TAKE(key), .value = xstrdup(trim(equals + 1)), .line = parser->line};
    return 0;
}

/* A line that is indented further than the key above it. */
static int go_on(struct parser *parser, char *text, struct error *err)
{
    struct ini_section *section = &parser->ini->sections[parser->section];
    struct ini_entry *last = &section->entries[section->count - 1];
    char *longer;

    if (parser->nested || last->value[0] == '\0') {
        parser->nested = true;
        return add_entry(parser, parser->parent, text, err);
    }
    cut_comment(last->key, text);
    longer = xprintf("%s\n%s", last->value, trim(text));
    secret_free(last->value);
    last->value = longer;
    return 0;
}

static int take_line(struct parser *parser, char *line, struct error *err)
{
    char *text = trim(line);
    size_t indent = (size_t)(text - line);
    struct ini_section *section;

    if (*text == '\0' || *text == '#' || *text == ';') {
        return 0;
    }
    if (parser->in_entry && indent > parser->indent) {
        return go_on(parser, text, err);
    }
    if (*text == '[') {
        return open_section(parser, text, err);
    }
    if (parser->section == parser->ini->count) {
        return refuse(parser, "this comes before the first section", err);
    }
    if (add_entry(parser, NULL, text, err) < 0) {
        return -1;
    }
    section = &parser->ini->sections[parser->section];
    parser->in_entry = true;
    parser->nested = false;
    parser->indent = indent;
    parser->parent = section->entries[section->count - 1].key;
    return 0;
}

int ini_parse(const char *name, const char *text, size_t size, struct ini **ret, struct error *err)
{
    SCOPED(ini_freep) struct ini *ini = xcalloc(1, sizeof(*ini));
    struct parser parser = {.ini = ini, .name = name};
    const char *end = text + size;

    if (size > INI_MAX) {
        return fail(err, FAIL_ERROR, "'%s' is larger than %d bytes", name, INI_MAX);
    }
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((stop != NULL ? stop : end) - text);
        SCOPED(secret_done) struct buf line = {0};

        parser.line++;
        buf_add(&line, text, length);
        if (strlen(line.data) != length) {
            return refuse(&parser, "there is a NUL byte in this line", err);
        }
        if (take_line(&parser, line.data, err) < 0) {
            return -1;
        }
        text = stop != NULL ? stop + 1 : end;
    }
    *ret = TAKE(ini);
    return 0;
}
