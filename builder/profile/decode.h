/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees to structs by tables. A shape is a map's table of fields; a field says what its value is,
 * where in the struct it goes and what to tell people about it. The same tables print the grammar.
 */
#ifndef PROFILE_DECODE_H
#define PROFILE_DECODE_H

#include <stdbool.h>
#include <stddef.h>

#include "profile/problem.h"
#include "profile/profile.h"
#include "profile/yaml.h"

enum field_type {
    FIELD_STRING,      /* char *, no NUL in it */
    FIELD_BYTES,       /* char * and, second, its size_t; may be empty */
    FIELD_SIZE,        /* uint64_t bytes, not 0 */
    FIELD_COUNT,       /* uint32_t, not 0 */
    FIELD_TRUE,        /* bool; only 'true' may be written */
    FIELD_MODE,        /* uint32_t, at most 07777 */
    FIELD_OWNER,       /* uint32_t user and, second, uint32_t group */
    FIELD_TIME,        /* int64_t seconds since 1970 */
    FIELD_DURATION,    /* uint32_t seconds, not 0 */
    FIELD_SHA256,      /* uint8_t[HASH_SIZE] */
    FIELD_WORD,        /* an enum, one of words */
    FIELD_WORDS,       /* unsigned bits, a list of words */
    FIELD_STRINGS,     /* char ** and, second, its size_t count: a list of texts, each once */
    FIELD_STRUCT,      /* a map of the shape, into the same object */
    FIELD_LIST,        /* a list of maps: pointer to items and, second, their size_t count */
    FIELD_MAP,         /* a map of keys to maps of the shape, as a list */
    FIELD_PAIRS,       /* a map of keys to what the shape's only field is, as a list */
    FIELD_TARGETS,     /* a map of names to maps, whose shapes only targets.c knows */
    FIELD_UNSUPPORTED, /* in the grammar, but this version cannot do it */
};

enum { STRINGS_MAX = 1024 }; /* of one list */

/* Where a member lies in its object; 0, which PLACE_OF never gives, is nowhere. */
#define PLACE_OF(type, member) (offsetof(type, member) + 1)

/* A list of words ending in NULL, for with and one_of. */
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

struct word {
    const char *name; /* NULL ends a table */
    unsigned value;
    bool unsupported;    /* in the grammar, but this version cannot do it */
    const char *instead; /* not in the grammar: people write it and mean this */
};

/*
 * The word TEXT, unsupported ones included. NULL: it is none, and *RET_NEAREST is what may be meant
 * (NULL: no idea).
 */
const struct word *word_find(const struct word *words, const char *text, const char **ret_nearest);

/* What is wrong with TEXT, or NULL when nothing is. */
typedef const char *field_check(const char *text);

struct shape;

struct field {
    const char *name; /* NULL ends a table */
    enum field_type type;
    bool required;
    bool filled;                     /* lists: may not be empty */
    bool rest;                       /* SIZE: may also be 'rest', which is 0 */
    size_t value, second, mark, has; /* places: see field_type; struct mark of the value; bool */
    const struct word *words;
    const struct shape *shape;
    const char *const *with; /* goes only with one of these keys beside it */
    field_check *check;      /* STRING, BYTES, STRINGS: of the text */
    const char *standard;    /* the default, for people; NULL for none */
    const char *help;
};

struct shape {
    const char *noun; /* "a layer" */
    const struct field *fields;
    size_t size;               /* LIST, MAP, PAIRS: of an item */
    size_t mark;               /* place: struct mark of an item */
    size_t key;                /* MAP, PAIRS: place of the key, char * */
    const char *key_name;      /* what stands for the key in the grammar: "PATH" */
    field_check *key_check;    /* MAP, PAIRS */
    const char *const *one_of; /* exactly one of these keys */
    const char *const *any_of; /* at least one of these keys */
    const char *const *others; /* keys that belong elsewhere: patterns of fnmatch(3), in any case */
    const char *others_why;    /* what to say about them */
};

/*
 * Decodes a map into OBJECT, which must be zeroed and owns what it gets, also after problems. A
 * node with a problem in it is marked bad, and so is every node around it; lists have an item for
 * each node even so.
 */
bool decode_map(const struct shape *shape, struct node *node, void *object,
                struct problems *problems);

/* One entry of MAP by itself, as decode_map does it with all of them. */
bool decode_entry(const struct shape *shape, const struct node *map, struct node *entry,
                  void *object, struct problems *problems);

/* Calls VISIT for every field with its path, like "disk.partitions[].size". */
typedef void field_visit(const char *path, const struct field *field, void *data);
void fields_visit(const struct shape *shape, const char *prefix, field_visit *visit, void *data);

/* "text", "size", "one of x86_64, aarch64": what a field takes. The caller frees it. */
char *field_type_text(const struct field *field);

#endif
