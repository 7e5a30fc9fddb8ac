/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/decode.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"

_Static_assert(sizeof(enum architecture) == sizeof(unsigned), "FIELD_WORD writes an unsigned");

/* One value on its way from a node into an object. */
struct value {
    const struct field *field;
    struct node *node;
    char *object;
    struct problems *problems;
};

/* PLACE 0 is nowhere: then there is nothing to write. */
static void put(const struct value *v, size_t where, const void *data, size_t size)
{
    if (where != 0) {
        memcpy(v->object + where - 1, data, size);
    }
}

static const char *quoted(char out[QUOTE_MAX], const struct node *node)
{
    return quote(out, node->text, node->size);
}
#define QUOTED(node) quoted((char[QUOTE_MAX]){0}, (node))

static bool bad_value(const struct value *v, const char *reason)
{
    problem_add(v->problems, v->node->mark, "%s %s: %s", v->field->name, QUOTED(v->node), reason);
    return false;
}

static bool check_kind(const struct value *v, enum node_kind kind)
{
    static const char *const wanted[] = {"text", "a list", "a map"};
    enum field_type type = v->field->type;
    bool item = kind == NODE_SCALAR && (type == FIELD_WORDS || type == FIELD_STRINGS);
    const char *of = item ? "an item of " : "";

    if (v->node->kind == NODE_SCALAR && v->node->empty) {
        problem_add(v->problems, v->node->mark, "%s'%s' has no value", of, v->field->name);
        return false;
    }
    if (v->node->kind != kind) {
        problem_add(v->problems, v->node->mark, "%s'%s' must be %s, not %s", of, v->field->name,
                    wanted[kind], node_kind_name(v->node));
        return false;
    }
    if (kind == NODE_SCALAR && strlen(v->node->text) != v->node->size) {
        return bad_value(v, "holds a NUL byte");
    }
    return true;
}

/* --- scalars --------------------------------------------------------------------------------- */

static bool decode_string(const struct value *v)
{
    const char *wrong = v->field->check != NULL ? v->field->check(v->node->text) : NULL;
    char **string;

    if (wrong != NULL) {
        return bad_value(v, wrong);
    }
    if (v->field->value == 0) {
        return true;
    }
    string = (char **)(void *)(v->object + v->field->value - 1);
    free(*string); /* two keys may lead here; that they are two is refused elsewhere */
    *string = xmemdup(v->node->text, v->node->size + 1);
    put(v, v->field->second, &v->node->size, sizeof(size_t));
    return true;
}

static bool decode_size(const struct value *v)
{
    uint64_t size = 0;

    if (v->field->rest && strcmp(v->node->text, "rest") == 0) {
        put(v, v->field->value, &size, sizeof(size));
        return true;
    }
    if (!text_parse_size(v->node->text, &size)) {
        return bad_value(v, v->field->rest ? "not a size (like 512MiB or 4GiB, or 'rest')"
                                           : "not a size (like 512MiB or 4GiB)");
    }
    if (size == 0) {
        return bad_value(v, "must be more than 0");
    }
    put(v, v->field->value, &size, sizeof(size));
    return true;
}

/* Decimal digits and nothing else, up to LIMIT; returns what follows them, or NULL. */
static const char *parse_number(const char *text, uint32_t limit, uint32_t *ret)
{
    uint64_t number = 0;
    const char *s = text;

    for (; *s >= '0' && *s <= '9'; s++) {
        number = number * 10 + (uint64_t)(*s - '0');
        if (number > limit) {
            return NULL;
        }
    }
    *ret = (uint32_t)number;
    return s != text ? s : NULL;
}

static bool decode_count(const struct value *v)
{
    uint32_t number = 0;
    const char *end = parse_number(v->node->text, UINT32_MAX, &number);

    if (end == NULL || *end != '\0' || number == 0) {
        return bad_value(v, "not a number from 1 to 4294967295");
    }
    put(v, v->field->value, &number, sizeof(number));
    return true;
}

/* YAML's many words for yes mean nothing here, and a 'false' would say what leaving it out says. */
static bool decode_true(const struct value *v)
{
    static const bool yes = true;

    if (strcmp(v->node->text, "true") != 0) {
        return bad_value(v, "must be 'true' (or leave it out)");
    }
    put(v, v->field->value, &yes, sizeof(yes));
    return true;
}

static bool decode_mode(const struct value *v)
{
    size_t digits = strspn(v->node->text, "01234567");
    uint32_t mode = 0;

    if (digits < 3 || digits > 5 || v->node->text[digits] != '\0') {
        return bad_value(v, "not an octal mode (like \"0644\")");
    }
    for (size_t i = 0; i < digits; i++) {
        mode = mode * 8 + (uint32_t)(v->node->text[i] - '0');
    }
    if (mode > 07777) {
        return bad_value(v, "more than 07777");
    }
    put(v, v->field->value, &mode, sizeof(mode));
    return true;
}

static bool decode_owner(const struct value *v)
{
    /* The largest id stands for "none" in chown(2). */
    uint32_t uid = 0, gid = 0;
    const char *end = parse_number(v->node->text, UINT32_MAX - 1, &uid);

    if (end != NULL) {
        end = *end == ':' ? parse_number(end + 1, UINT32_MAX - 1, &gid) : NULL;
    }
    if (end == NULL || *end != '\0') {
        return bad_value(v, "not an owner (two numbers, user and group, like \"0:33\")");
    }
    put(v, v->field->value, &uid, sizeof(uid));
    put(v, v->field->second, &gid, sizeof(gid));
    return true;
}

static bool decode_time(const struct value *v)
{
    static const char pattern[] = "dddd-dd-ddTdd:dd:ddZ";
    const char *text = v->node->text;
    char back[TEXT_TIME_MAX];
    int64_t seconds = 0;
    bool good = v->node->size == strlen(pattern);

    for (size_t i = 0; good && pattern[i] != '\0'; i++) {
        good = pattern[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == pattern[i];
    }
    /* A day that the month has not got comes back as another one. */
    if (!good || !text_parse_time(text, &seconds) || strcmp(text_time(seconds, back), text) != 0) {
        return bad_value(v, "not a time since 1970 in UTC (like 2026-11-01T00:00:00Z)");
    }
    put(v, v->field->value, &seconds, sizeof(seconds));
    return true;
}

static bool decode_duration(const struct value *v)
{
    uint32_t seconds = 0;

    if (!text_parse_duration(v->node->text, &seconds)) {
        return bad_value(v, "not a duration (like 90s, 30min or 2h)");
    }
    if (seconds == 0) {
        return bad_value(v, "must be more than 0");
    }
    /* What is too much for the type is too much for whoever asks for it. */
    put(v, v->field->value, &seconds, sizeof(seconds));
    return true;
}

static bool decode_sha256(const struct value *v)
{
    uint8_t digest[HASH_SIZE];

    if (!hash_parse(v->node->text, digest)) {
        return bad_value(v, "not a SHA-256 digest (64 hexadecimal digits)");
    }
    put(v, v->field->value, digest, sizeof(digest));
    return true;
}

/* --- words ----------------------------------------------------------------------------------- */

/* "a, b, c", of what this version can do. */
static char *list_words(const struct word *words)
{
    struct buf list = {0};

    for (; words->name != NULL; words++) {
        if (!words->unsupported && words->instead == NULL) {
            buf_printf(&list, "%s%s", list.size != 0 ? ", " : "", words->name);
        }
    }
    return buf_take(&list);
}

static const char *nearest_word(const char *text, const struct word *words)
{
    const char *names[16];
    size_t count = 0;

    for (const struct word *word = words; word->name != NULL; word++) {
        if (word->instead == NULL && !word->unsupported) {
            assert(count + 1 < COUNT(names));
            names[count++] = word->name;
        }
    }
    names[count] = NULL;
    return text_nearest(text, names);
}

const struct word *word_find(const struct word *words, const char *text, const char **ret_nearest)
{
    const struct word *word = words;

    while (word->name != NULL && strcmp(word->name, text) != 0) {
        word++;
    }
    if (word->name != NULL && word->instead == NULL) {
        return word;
    }
    *ret_nearest = word->name != NULL ? word->instead : nearest_word(text, words);
    return NULL;
}

static bool decode_word(const struct value *v, unsigned *ret)
{
    const char *nearest;
    const struct word *word = word_find(v->field->words, v->node->text, &nearest);

    if (word != NULL && !word->unsupported) {
        *ret = word->value;
        return true;
    }
    if (word != NULL) {
        SCOPED_FREE char *list = list_words(v->field->words);

        problem_add(v->problems, v->node->mark, "%s '%s' is not supported yet (supported: %s)",
                    v->field->name, word->name, list);
    } else if (nearest != NULL) {
        problem_add(v->problems, v->node->mark, "%s: unknown word %s (did you mean '%s'?)",
                    v->field->name, QUOTED(v->node), nearest);
    } else {
        SCOPED_FREE char *list = list_words(v->field->words);

        problem_add(v->problems, v->node->mark, "%s: unknown word %s (one of %s)", v->field->name,
                    QUOTED(v->node), list);
    }
    return false;
}

/*
 * The first item of LIST with the text of TWIN, which is one itself, from the same file: that a
 * profile says what the one it extends says is no mistake.
 */
static const struct node *first_of(const struct node *list, const struct node *twin)
{
    const struct node *child = list->first;

    while (child->kind != NODE_SCALAR || child->mark.file != twin->mark.file ||
           child->size != twin->size || memcmp(child->text, twin->text, twin->size) != 0) {
        child = child->next;
    }
    return child;
}

static bool given_twice(const struct value *v, const struct node *first)
{
    problem_add(v->problems, v->node->mark, "%s: %s is given twice (first at %s)", v->field->name,
                QUOTED(v->node), PLACE(v->problems, first->mark));
    return false;
}

static bool decode_words(const struct value *v)
{
    unsigned bits = 0;
    bool good = true;

    for (struct node *child = v->node->first; child != NULL; child = child->next) {
        struct value item = *v;
        unsigned bit = 0;

        item.node = child;
        if (child->bad || !check_kind(&item, NODE_SCALAR) || !decode_word(&item, &bit)) {
            good = false;
        } else if ((bits & bit) != 0 && first_of(v->node, child) != child) {
            good = given_twice(&item, first_of(v->node, child));
        }
        bits |= bit;
    }
    put(v, v->field->value, &bits, sizeof(bits));
    return good;
}

/* --- lists and maps -------------------------------------------------------------------------- */

/* True when a profile says what the one it extends says: the two are one item. */
static bool is_inherited_twin(const struct node *list, const struct node *twin)
{
    const struct node *child = list->first;

    while (child != twin && (child->kind != NODE_SCALAR || child->size != twin->size ||
                             memcmp(child->text, twin->text, twin->size) != 0)) {
        child = child->next;
    }
    return child != twin;
}

static bool check_list_string(const struct value *v, const struct node *list)
{
    const char *wrong;
    const struct node *first;

    if (v->node->bad || !check_kind(v, NODE_SCALAR)) {
        return false;
    }
    wrong = v->field->check(v->node->text);
    if (wrong != NULL) {
        return bad_value(v, wrong);
    }
    first = first_of(list, v->node);
    return first == v->node || given_twice(v, first);
}

static bool decode_strings(const struct value *v)
{
    SCOPED_FREE char **strings = xcalloc(v->node->count, sizeof(char *));
    size_t count = 0;
    bool good = true;

    if (v->node->count > STRINGS_MAX) {
        problem_add(v->problems, v->node->mark, "'%s' has more than %d items", v->field->name,
                    STRINGS_MAX);
        return false;
    }
    for (struct node *child = v->node->first; child != NULL; child = child->next) {
        struct value item = *v;

        item.node = child;
        if (!check_list_string(&item, v->node)) {
            good = false;
        } else if (v->field->value != 0 && !is_inherited_twin(v->node, child)) {
            strings[count++] = xmemdup(child->text, child->size + 1);
        }
    }
    if (v->field->value != 0) {
        put(v, v->field->value, &strings, sizeof(strings));
        put(v, v->field->second, &count, sizeof(count));
        strings = NULL;
    }
    return good;
}

static bool decode_value(const struct value *v);

static bool decode_item(const struct value *item)
{
    struct value only = *item;

    if (item->field->type != FIELD_PAIRS) {
        return decode_map(item->field->shape, item->node, item->object, item->problems);
    }
    only.field = item->field->shape->fields;
    return !item->node->bad && decode_value(&only);
}

/* The items of a list or of a map by keys. */
static bool decode_items(const struct value *v)
{
    const struct shape *shape = v->field->shape;
    size_t count = v->node->count, i = 0;
    char *items = xcalloc(count, shape->size);
    bool good = true;

    put(v, v->field->value, &items, sizeof(items));
    put(v, v->field->second, &count, sizeof(count));
    for (struct node *child = v->node->first; child != NULL; child = child->next, i++) {
        struct mark mark = child->key != NULL ? child->key_mark : child->mark;
        struct value item = {v->field, child, items + i * shape->size, v->problems};
        const char *wrong = NULL;

        put(&item, shape->mark, &mark, sizeof(mark));
        if (!child->bad && shape->key != 0) {
            char *key = xstrndup(child->key, child->key_size);

            wrong = strlen(key) != child->key_size ? "holds a NUL byte" : shape->key_check(key);
            put(&item, shape->key, &key, sizeof(key));
        }
        if (wrong != NULL) {
            problem_add(v->problems, mark, "%s: %s %s: %s", v->field->name, shape->key_name,
                        QUOTE(child->key, child->key_size), wrong);
            child->bad = true;
        }
        if (!decode_item(&item)) {
            child->bad = true;
            good = false;
        }
    }
    return good;
}

static bool decode_full(const struct value *v, enum node_kind kind)
{
    if (!check_kind(v, kind)) {
        return false;
    }
    if (v->field->filled && v->node->count == 0) {
        problem_add(v->problems, v->node->mark, "'%s' is empty (%s)", v->field->name,
                    v->field->help);
        return false;
    }
    return v->field->type == FIELD_WORDS     ? decode_words(v)
           : v->field->type == FIELD_STRINGS ? decode_strings(v)
                                             : decode_items(v);
}

static bool decode_scalar(const struct value *v)
{
    unsigned word = 0;

    if (!check_kind(v, NODE_SCALAR)) {
        return false;
    }
    switch (v->field->type) {
    case FIELD_STRING:
    case FIELD_BYTES:
        return decode_string(v);
    case FIELD_SIZE:
        return decode_size(v);
    case FIELD_COUNT:
        return decode_count(v);
    case FIELD_TRUE:
        return decode_true(v);
    case FIELD_MODE:
        return decode_mode(v);
    case FIELD_OWNER:
        return decode_owner(v);
    case FIELD_TIME:
        return decode_time(v);
    case FIELD_DURATION:
        return decode_duration(v);
    case FIELD_SHA256:
        return decode_sha256(v);
    default:
        assert(v->field->type == FIELD_WORD);
        if (!decode_word(v, &word)) {
            return false;
        }
        put(v, v->field->value, &word, sizeof(word));
        return true;
    }
}

static bool decode_value(const struct value *v)
{
    static const bool yes = true;

    put(v, v->field->mark, &v->node->mark, sizeof(struct mark));
    put(v, v->field->has, &yes, sizeof(yes));
    switch (v->field->type) {
    case FIELD_UNSUPPORTED:
        /* One that goes with another needs no line of its own. */
        if (v->field->with == NULL) {
            problem_add(v->problems, v->node->key_mark, "'%s' is not supported yet",
                        v->field->name);
        }
        return false;
    case FIELD_STRUCT:
        return check_kind(v, NODE_MAP) &&
               decode_map(v->field->shape, v->node, v->object, v->problems);
    case FIELD_TARGETS:
        return check_kind(v, NODE_MAP);
    case FIELD_WORDS:
    case FIELD_STRINGS:
    case FIELD_LIST:
        return decode_full(v, NODE_LIST);
    case FIELD_MAP:
    case FIELD_PAIRS:
        return decode_full(v, NODE_MAP);
    default:
        return decode_scalar(v);
    }
}

/* True when KEY is one that people write here and that belongs elsewhere. */
static bool is_others(const struct shape *shape, const struct node *node)
{
    for (const char *const *pattern = shape->others; pattern != NULL && *pattern != NULL;
         pattern++) {
        if (fnmatch(*pattern, node->key, FNM_CASEFOLD) == 0) {
            return true;
        }
    }
    return false;
}

static void unknown_key(const struct shape *shape, struct node *node, struct problems *problems)
{
    const char *names[32], *nearest;
    SCOPED(buf_done) struct buf list = {0};
    size_t count = 0;

    if (problems_full(problems)) {
        problem_add(problems, node->key_mark, "unknown key");
        return;
    }
    if (is_others(shape, node)) {
        problem_add(problems, node->key_mark, "%s cannot be set here: %s",
                    QUOTE(node->key, node->key_size), shape->others_why);
        return;
    }
    for (const struct field *field = shape->fields; field->name != NULL; field++) {
        assert(count + 1 < COUNT(names));
        names[count++] = field->name;
        if (field->type != FIELD_UNSUPPORTED) {
            buf_printf(&list, "%s%s", list.size != 0 ? ", " : "", field->name);
        }
    }
    names[count] = NULL;
    nearest = text_nearest(node->key, names);
    if (nearest != NULL && strlen(node->key) == node->key_size) {
        node->meant = nearest;
        problem_add(problems, node->key_mark, "unknown key %s (did you mean '%s'?)",
                    QUOTE(node->key, node->key_size), nearest);
    } else {
        problem_add(problems, node->key_mark, "unknown key %s (%s has %s)",
                    QUOTE(node->key, node->key_size), shape->noun, list.data);
    }
}

static const struct field *find_field(const struct shape *shape, const struct node *node)
{
    const struct field *field = shape->fields;

    while (field->name != NULL &&
           (strlen(field->name) != node->key_size || strcmp(field->name, node->key) != 0)) {
        field++;
    }
    return field->name != NULL ? field : NULL;
}

/*
 * The first of NAMES that is a key of MAP after the key AFTER (or at all when that is NULL), or
 * that an unknown key probably stands for: one mistake is one problem.
 */
static const struct node *find_one(const struct node *map, const char *const *names,
                                   const struct node *after)
{
    const struct node *child = after != NULL ? after->next : map->first;

    for (; child != NULL; child = child->next) {
        for (const char *const *name = names; *name != NULL; name++) {
            if ((strlen(*name) == child->key_size && strcmp(*name, child->key) == 0) ||
                (child->meant != NULL && strcmp(*name, child->meant) == 0)) {
                return child;
            }
        }
    }
    return NULL;
}

static bool is_supported(const struct shape *shape, const char *name)
{
    for (const struct field *field = shape->fields; field->name != NULL; field++) {
        if (strcmp(field->name, name) == 0) {
            return field->type != FIELD_UNSUPPORTED;
        }
    }
    return false;
}

/* "'a', 'b' or 'c'", of what this version can do, or the first when that is nothing. */
static char *join_names(const struct shape *shape, const char *const *names)
{
    struct buf list = {0};
    size_t left = 0;

    for (const char *const *name = names; *name != NULL; name++) {
        left += is_supported(shape, *name) ? 1 : 0;
    }
    if (left == 0) {
        return xprintf("'%s'", names[0]);
    }
    for (const char *const *name = names; *name != NULL; name++) {
        if (is_supported(shape, *name)) {
            const char *before = list.size == 0 ? "" : left == 1 ? " or " : ", ";

            buf_printf(&list, "%s'%s'", before, *name);
            left--;
        }
    }
    return buf_take(&list);
}

static bool check_with(const struct shape *shape, const struct node *map, const struct field *field,
                       const struct node *node, struct problems *problems)
{
    if (shape->one_of != NULL && find_one(map, shape->one_of, NULL) == NULL) {
        return true; /* which is the one problem to speak of */
    }
    if (field->with != NULL && find_one(map, field->with, NULL) == NULL) {
        SCOPED_FREE char *names = join_names(shape, field->with);

        problem_add(problems, node->key_mark, "'%s' goes only with %s", field->name, names);
        return false;
    }
    return true;
}

static bool check_choice(const struct shape *shape, const struct node *map,
                         struct problems *problems)
{
    const char *const *names = shape->one_of != NULL ? shape->one_of : shape->any_of;
    const struct node *first = names != NULL ? find_one(map, names, NULL) : NULL;
    const struct node *second = first != NULL ? find_one(map, names, first) : NULL;

    if (names != NULL && first == NULL) {
        SCOPED_FREE char *list = join_names(shape, names);

        problem_add(problems, map->key != NULL ? map->key_mark : map->mark, "%s needs %s",
                    shape->noun, list);
        return false;
    }
    if (shape->one_of != NULL && second != NULL) {
        problem_add(problems, second->key_mark, "%s has '%s' or '%s', not both (the other at %s)",
                    shape->noun, first->key, second->key, PLACE(problems, first->key_mark));
        return false;
    }
    return true;
}

static bool check_required(const struct shape *shape, const struct node *map,
                           struct problems *problems)
{
    bool good = true;

    for (const struct field *field = shape->fields; field->name != NULL; field++) {
        if (field->required && find_one(map, NAMES(field->name), NULL) == NULL) {
            problem_add(problems, map->mark, "'%s' is missing (%s)", field->name, field->help);
            good = false;
        }
    }
    return good;
}

bool decode_entry(const struct shape *shape, const struct node *map, struct node *entry,
                  void *object, struct problems *problems)
{
    const struct field *field = find_field(shape, entry);
    struct value value = {field, entry, object, problems};

    if (entry->bad) {
        return false;
    }
    if (field == NULL) {
        unknown_key(shape, entry, problems);
    }
    entry->bad =
        field == NULL || !check_with(shape, map, field, entry, problems) || !decode_value(&value);
    return !entry->bad;
}

bool decode_map(const struct shape *shape, struct node *map, void *object,
                struct problems *problems)
{
    bool good = true;

    if (map->bad) {
        return false;
    }
    if (map->kind != NODE_MAP) {
        problem_add(problems, map->mark, "%s must be a map, not %s", shape->noun,
                    node_kind_name(map));
        map->bad = true;
        return false;
    }
    for (struct node *child = map->first; child != NULL; child = child->next) {
        good &= decode_entry(shape, map, child, object, problems);
    }
    good &= check_required(shape, map, problems);
    good &= check_choice(shape, map, problems);
    map->bad = !good;
    return good;
}

/* --- the grammar for people ------------------------------------------------------------------ */

void fields_visit(const struct shape *shape, const char *prefix, field_visit *visit, void *data)
{
    for (const struct field *field = shape->fields; field->name != NULL; field++) {
        SCOPED_FREE char *path = xprintf("%s%s", prefix, field->name);
        SCOPED_FREE char *inner = NULL;

        visit(path, field, data);
        if (field->shape == NULL || field->type == FIELD_PAIRS) {
            continue;
        }
        if (field->type == FIELD_MAP) {
            inner = xprintf("%s.%s.", path, field->shape->key_name);
        } else {
            inner = xprintf("%s%s.", path, field->type == FIELD_LIST ? "[]" : "");
        }
        fields_visit(field->shape, inner, visit, data);
    }
}

char *field_type_text(const struct field *field)
{
    static const char *const names[] = {
        [FIELD_STRING] = "text",
        [FIELD_BYTES] = "text",
        [FIELD_SIZE] = "size",
        [FIELD_COUNT] = "number",
        [FIELD_TRUE] = "true",
        [FIELD_MODE] = "octal mode",
        [FIELD_OWNER] = "UID:GID",
        [FIELD_TIME] = "time",
        [FIELD_DURATION] = "duration",
        [FIELD_SHA256] = "SHA-256",
        [FIELD_STRINGS] = "list of texts",
        [FIELD_STRUCT] = "map",
        [FIELD_LIST] = "list of maps",
        [FIELD_MAP] = "map of maps",
        [FIELD_PAIRS] = "map of texts",
        [FIELD_TARGETS] = "map of maps",
        [FIELD_UNSUPPORTED] = "not supported yet",
    };

    if (field->type == FIELD_WORD || field->type == FIELD_WORDS) {
        SCOPED_FREE char *words = list_words(field->words);

        return xprintf("%s %s", field->type == FIELD_WORD ? "one of" : "list of", words);
    }
    return xprintf("%s%s", names[field->type], field->rest ? " or 'rest'" : "");
}
