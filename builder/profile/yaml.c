/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/yaml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/text.h"

struct yaml_tree {
    struct node **nodes; /* all of them, the root first */
    size_t count, space;
};

void yaml_tree_free(struct yaml_tree *yaml)
{
    if (yaml == NULL) {
        return;
    }
    for (size_t i = 0; i < yaml->count; i++) {
        free(yaml->nodes[i]->key);
        free(yaml->nodes[i]->text);
        free(yaml->nodes[i]);
    }
    free(yaml->nodes);
    free(yaml);
}

struct node *yaml_tree_root(struct yaml_tree *yaml)
{
    return yaml->nodes[0];
}

struct node *node_find(const struct node *map, const char *key)
{
    return node_find_key(map, key, strlen(key));
}

struct node *node_find_key(const struct node *map, const char *key, size_t size)
{
    for (struct node *child = map->first; child != NULL; child = child->next) {
        if (child->key_size == size && child->key != NULL && memcmp(child->key, key, size) == 0) {
            return child;
        }
    }
    return NULL;
}

const char *node_kind_name(const struct node *node)
{
    static const char *const names[] = {"text", "a list", "a map"};

    return node->empty ? "nothing" : names[node->kind];
}

/* --- the text -------------------------------------------------------------------------------- */

struct level {
    struct node *node;
    struct node *entry; /* of a map: has its key and waits for its value */
};

struct anchor {
    char *name;
    const struct node *node;
};

struct builder {
    struct yaml_tree *yaml;
    const char *file;
    const char *text;
    size_t size;
    struct problems *problems;
    bool foreign; /* see yaml_tree_read_foreign */
    struct anchor *anchors;
    size_t anchor_count, anchor_space;
    struct level levels[YAML_DEPTH_MAX];
    size_t depth;
    size_t skip;       /* levels of a key that is no word, whose content nobody needs */
    unsigned document; /* how many began */
};

/* libyaml counts from 0, and columns in characters. */
static struct mark mark_of(const struct builder *b, yaml_mark_t mark)
{
    return (struct mark){
        .line = (unsigned)mark.line + 1, .column = (unsigned)mark.column + 1, .file = b->file};
}

static struct mark mark_at(const struct builder *b, size_t offset)
{
    struct mark mark = {.line = 1, .column = 1, .file = b->file};

    for (size_t i = 0; i < offset; i++) {
        if (b->text[i] == '\n') {
            mark.line++;
            mark.column = 1;
        } else if (((unsigned char)b->text[i] & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

/* Where the first byte lies that is not part of a UTF-8 character; SIZE when there is none. */
static size_t find_bad_byte(const char *text, size_t size)
{
    size_t at = 0;

    if (text_is_utf8(text, size)) {
        return size;
    }
    for (size_t length = 1; length <= 4 && length <= size - at;) {
        if (text_is_utf8(text + at, length)) {
            at += length;
            length = 1;
        } else {
            length++;
        }
    }
    return at;
}

/* Problems of the file as a whole, which libyaml would not report, or not where they are. */
static int check_text(const struct builder *b)
{
    size_t good;

    if (b->size > YAML_SIZE_MAX) {
        problem_add(b->problems, mark_at(b, 0), "the %s is larger than %d bytes", b->problems->noun,
                    YAML_SIZE_MAX);
        return -1;
    }
    good = find_bad_byte(b->text, b->size);
    if (good < b->size) {
        problem_add(b->problems, mark_at(b, good), "not UTF-8 text (byte 0x%02x)",
                    (unsigned char)b->text[good]);
        return -1;
    }
    for (size_t i = 0; i < b->size; i++) {
        unsigned char c = (unsigned char)b->text[i];

        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            problem_add(b->problems, mark_at(b, i), "control character 0x%02x", c);
            return -1;
        }
    }
    return 0;
}

/* --- events to nodes ------------------------------------------------------------------------- */

static struct node *new_node(struct builder *b)
{
    struct yaml_tree *yaml = b->yaml;
    struct node *node = xcalloc(1, sizeof(*node));

    grow(&yaml->nodes, yaml->count, &yaml->space, sizeof(struct node *));
    yaml->nodes[yaml->count++] = node;
    return node;
}

void node_append(struct node *parent, struct node *child)
{
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
    parent->count++;
}

/* The node that an event fills: the root, an item, or the entry whose key came before. */
static struct node *next_node(struct builder *b)
{
    struct level *level = b->depth != 0 ? &b->levels[b->depth - 1] : NULL;
    struct node *node;

    if (level == NULL) {
        return new_node(b);
    }
    if (level->node->kind == NODE_MAP) {
        assert(level->entry != NULL);
        return TAKE(level->entry);
    }
    node = new_node(b);
    node_append(level->node, node);
    return node;
}

static bool wants_key(const struct builder *b)
{
    return b->depth != 0 && b->levels[b->depth - 1].node->kind == NODE_MAP &&
           b->levels[b->depth - 1].entry == NULL;
}

static void take_key(struct builder *b, const yaml_event_t *event)
{
    struct level *level = &b->levels[b->depth - 1];
    struct node *entry = new_node(b);

    entry->key_mark = mark_of(b, event->start_mark);
    node_append(level->node, entry);
    level->entry = entry;
    if (event->type != YAML_SCALAR_EVENT) {
        if (event->type != YAML_ALIAS_EVENT) { /* which was refused as such */
            problem_add(b->problems, entry->key_mark, "a key must be a word");
        }
        entry->bad = true;
        entry->key = xstrdup("");
        return;
    }
    entry->key_size = event->data.scalar.length;
    entry->key = xmalloc(entry->key_size + 1);
    memcpy(entry->key, event->data.scalar.value, entry->key_size + 1);
    if (!b->foreign && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        strcmp(entry->key, "<<") == 0) {
        problem_add(b->problems, entry->key_mark, "merge keys are not supported");
        entry->bad = true;
    }
}

static void take_scalar(const yaml_event_t *event, struct node *node)
{
    node->kind = NODE_SCALAR;
    node->size = event->data.scalar.length;
    node->text = xmalloc(node->size + 1);
    memcpy(node->text, event->data.scalar.value, node->size + 1);
    node->empty = node->size == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* A tag as people write it: libyaml has put the long form of '!!' in its place. */
static const char *quote_tag(char out[QUOTE_MAX], const char *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    SCOPED_FREE char *text = strncmp(tag, prefix, strlen(prefix)) == 0
                                 ? xprintf("!!%s", tag + strlen(prefix))
                                 : xstrdup(tag);

    return quote(out, text, strlen(text));
}

static const char *anchor_of(const yaml_event_t *event)
{
    const yaml_char_t *anchor =
        event->type == YAML_ALIAS_EVENT            ? event->data.alias.anchor
        : event->type == YAML_SCALAR_EVENT         ? event->data.scalar.anchor
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
        : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.anchor
                                                   : NULL;

    return (const char *)anchor;
}

static const char *tag_of(const yaml_event_t *event)
{
    const yaml_char_t *tag =
        event->type == YAML_SCALAR_EVENT           ? event->data.scalar.tag
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.tag
        : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.tag
                                                   : NULL;

    return (const char *)tag;
}

/* Refuses what would give a value another meaning than what is written there. */
static bool check_properties(struct builder *b, const yaml_event_t *event)
{
    struct mark mark = mark_of(b, event->start_mark);
    const char *anchor = anchor_of(event), *tag = tag_of(event);
    /* "!!str" and its like only say what a value is: all are text here. */
    bool bad_tag = tag != NULL && !(b->foreign && text_starts(tag, "tag:yaml.org,2002:"));

    if (event->type == YAML_ALIAS_EVENT && !b->foreign) {
        problem_add(b->problems, mark, "alias %s: aliases are not supported (write the value out)",
                    QUOTE(anchor, strlen(anchor)));
        return false;
    }
    if (anchor != NULL && !b->foreign) {
        problem_add(b->problems, mark, "anchor %s: anchors are not supported",
                    QUOTE(anchor, strlen(anchor)));
    }
    if (bad_tag && b->foreign) {
        problem_add(b->problems, mark, "this tag is not supported (quote a text that begins so)");
    } else if (bad_tag) {
        problem_add(b->problems, mark, "tag %s: tags are not supported",
                    quote_tag((char[QUOTE_MAX]){0}, tag));
    }
    return (anchor == NULL || b->foreign) && !bad_tag;
}

/* --- aliases and merge keys, in files that are not kiln's ------------------------------------ */

static void take_anchor(struct builder *b, const yaml_event_t *event, const struct node *node)
{
    const char *name = anchor_of(event);

    if (b->foreign && name != NULL && event->type != YAML_ALIAS_EVENT) {
        grow(&b->anchors, b->anchor_count, &b->anchor_space, sizeof(struct anchor));
        b->anchors[b->anchor_count++] = (struct anchor){.name = xstrdup(name), .node = node};
    }
}

static void free_anchors(struct builder *b)
{
    for (size_t i = 0; i < b->anchor_count; i++) {
        free(b->anchors[i].name);
    }
    free(b->anchors);
}

/* The last one of that name counts. */
static const struct node *find_anchor(const struct builder *b, const char *name)
{
    for (size_t i = b->anchor_count; i-- > 0;) {
        if (strcmp(b->anchors[i].name, name) == 0) {
            return b->anchors[i].node;
        }
    }
    return NULL;
}

/* Makes NODE the same value as FROM: no deeper than FROM is, and no more nodes than a file may
 * have.
 */
static int copy_value(struct builder *b, const struct node *from, struct node *node)
{
    node->kind = from->kind;
    node->mark = from->mark;
    node->bad |= from->bad;
    node->empty = from->empty;
    if (from->text != NULL) {
        node->size = from->size;
        node->text = xmalloc(from->size + 1);
        memcpy(node->text, from->text, from->size + 1);
    }
    for (const struct node *child = from->first; child != NULL; child = child->next) {
        struct node *copy;

        if (b->yaml->count >= YAML_NODES_MAX) {
            problem_add(b->problems, from->mark, "more than %d values", YAML_NODES_MAX);
            return -1;
        }
        copy = new_node(b);
        copy->key_size = child->key_size;
        copy->key_mark = child->key_mark;
        if (child->key != NULL) {
            copy->key = xmalloc(child->key_size + 1);
            memcpy(copy->key, child->key, child->key_size + 1);
        }
        node_append(node, copy);
        if (copy_value(b, child, copy) < 0) {
            return -1;
        }
    }
    return 0;
}

static bool is_open(const struct builder *b, const struct node *node)
{
    for (size_t i = 0; i < b->depth; i++) {
        if (b->levels[i].node == node) {
            return true;
        }
    }
    return false;
}

/* What is wrong is not quoted: it may be a password that begins with an asterisk. */
static int take_alias(struct builder *b, const yaml_event_t *event, struct node *node)
{
    const struct node *from = find_anchor(b, anchor_of(event));

    if (from != NULL && !is_open(b, from)) {
        return copy_value(b, from, node);
    }
    problem_add(b->problems, mark_of(b, event->start_mark),
                from == NULL ? "an alias of what is not there (quote a text that begins with '*')"
                             : "an alias of what it is a part of");
    node->text = xstrdup("");
    node->bad = true;
    return 0;
}

/* Those of FROM's entries that MAP has not, in MAP. */
static void merge_entries(struct node *map, const struct node *from)
{
    struct node *next;

    for (struct node *child = from->first; child != NULL; child = next) {
        next = child->next;
        if (child->key != NULL && node_find_key(map, child->key, child->key_size) == NULL) {
            child->next = NULL;
            node_append(map, child);
        }
    }
}

/*
 * "<<: *default" (https://yaml.org/type/merge.html): the entry gives way to those of the map, or of
 * the list of maps, which is its value. These are its own, so that they can be moved.
 */
static void merge(struct builder *b, struct node *map)
{
    struct node *entry = node_find(map, "<<");

    if (entry == NULL || entry->bad) {
        return;
    }
    if (entry->kind == NODE_MAP) {
        merge_entries(map, entry);
    } else if (entry->kind == NODE_LIST) {
        for (struct node *item = entry->first; item != NULL; item = item->next) {
            merge_entries(map, item);
        }
    } else {
        problem_add(b->problems, entry->mark, "'<<' must be a map or a list of maps");
    }
}

static int compare_keys(const void *a, const void *b)
{
    const struct node *x = *(const struct node *const *)a, *y = *(const struct node *const *)b;
    size_t size = x->key_size < y->key_size ? x->key_size : y->key_size;
    int order = memcmp(x->key, y->key, size);

    if (order == 0 && x->key_size != y->key_size) {
        return x->key_size < y->key_size ? -1 : 1;
    }
    if (order == 0 && x->key_mark.line != y->key_mark.line) {
        return x->key_mark.line < y->key_mark.line ? -1 : 1;
    }
    return order != 0 ? order : x->key_mark.column < y->key_mark.column ? -1 : 1;
}

/* libyaml lets a key come twice, and then one of the two would quietly have no effect. */
static void refuse_twins(struct builder *b, const struct node *map)
{
    SCOPED_FREE struct node **sorted = xcalloc(map->count, sizeof(struct node *));
    struct node *first = NULL;
    size_t count = 0;

    for (struct node *child = map->first; child != NULL; child = child->next) {
        if (!child->bad || child->key_size != 0) {
            sorted[count++] = child;
        }
    }
    if (count < 2) {
        return;
    }
    qsort(sorted, count, sizeof(struct node *), compare_keys);
    first = sorted[0];
    for (size_t i = 1; i < count; i++) {
        struct node *twin = sorted[i];

        if (twin->key_size != first->key_size ||
            memcmp(twin->key, first->key, first->key_size) != 0) {
            first = twin;
            continue;
        }
        twin->bad = true;
        problem_add(b->problems, twin->key_mark, "key %s is given twice (first at %s)",
                    QUOTE(twin->key, twin->key_size), PLACE(b->problems, first->key_mark));
    }
}

static int push(struct builder *b, const yaml_event_t *event)
{
    struct node *node = next_node(b);

    node->kind = event->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST;
    node->mark = mark_of(b, event->start_mark);
    node->bad |= !check_properties(b, event);
    take_anchor(b, event, node);
    if (b->depth == YAML_DEPTH_MAX) {
        problem_add(b->problems, node->mark, "more than %d maps and lists in one another",
                    YAML_DEPTH_MAX);
        return -1;
    }
    b->levels[b->depth++] = (struct level){.node = node};
    return 0;
}

static void pop(struct builder *b)
{
    struct node *node;

    assert(b->depth > 0);
    node = b->levels[--b->depth].node;
    if (node->kind == NODE_MAP) {
        refuse_twins(b, node);
        if (b->foreign) {
            merge(b, node);
        }
    }
}

static bool is_start(const yaml_event_t *event)
{
    return event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
}

static bool is_end(const yaml_event_t *event)
{
    return event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
}

/* A map or list, or a scalar or alias, as a value or as a key. */
static int take_value(struct builder *b, const yaml_event_t *event)
{
    struct node *node;

    if (b->skip != 0 || (wants_key(b) && is_start(event))) {
        if (b->skip == 0) {
            take_key(b, event);
        }
        b->skip += is_start(event) ? 1 : 0;
        b->skip -= is_end(event) ? 1 : 0;
        return 0;
    }
    if (is_end(event)) {
        pop(b);
        return 0;
    }
    if (wants_key(b)) {
        bool good = check_properties(b, event);

        take_key(b, event);
        b->levels[b->depth - 1].entry->bad |= !good;
        return 0;
    }
    if (is_start(event)) {
        return push(b, event);
    }
    node = next_node(b);
    node->mark = mark_of(b, event->start_mark);
    node->bad |= !check_properties(b, event);
    take_anchor(b, event, node);
    if (event->type == YAML_SCALAR_EVENT) {
        take_scalar(event, node);
    } else if (b->foreign) {
        return take_alias(b, event, node);
    } else {
        node->text = xstrdup("");
    }
    return 0;
}

/* 1 to go on, 0 at the end, -1 when there is no use in going on. */
static int take_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        if (++b->document > 1) {
            problem_add(b->problems, mark_of(b, event->start_mark),
                        "a second document (a %s is one)", b->problems->noun);
            return 0;
        }
        return 1;
    case YAML_ALIAS_EVENT:
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_START_EVENT:
    case YAML_MAPPING_END_EVENT:
        if (b->yaml->count >= YAML_NODES_MAX) {
            problem_add(b->problems, mark_of(b, event->start_mark), "more than %d values",
                        YAML_NODES_MAX);
            return -1;
        }
        return take_value(b, event) < 0 ? -1 : 1;
    default:
        return 1;
    }
}

/* The byte where the character number INDEX begins. */
static char char_at(const struct builder *b, size_t index)
{
    for (size_t i = 0, seen = 0; i < b->size; i++) {
        if (((unsigned char)b->text[i] & 0xc0) != 0x80 && seen++ == index) {
            return b->text[i];
        }
    }
    return '\0';
}

static int fail_yaml(const struct builder *b, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "out of memory";
    struct mark mark = mark_of(b, parser->problem_mark);

    if (parser->error == YAML_READER_ERROR) {
        mark = mark_at(b, parser->problem_offset < b->size ? parser->problem_offset : b->size);
        problem_add(b->problems, mark, "not YAML: %s", problem);
    } else if (char_at(b, parser->problem_mark.index) == '\t') {
        problem_add(b->problems, mark, "not YAML: %s (indent with spaces, not with tabs)", problem);
    } else if (parser->context != NULL) {
        problem_add(b->problems, mark, "not YAML: %s (%s at %s)", problem, parser->context,
                    PLACE(b->problems, mark_of(b, parser->context_mark)));
    } else {
        problem_add(b->problems, mark, "not YAML: %s", problem);
    }
    return -1;
}

static int build(struct builder *b)
{
    SCOPED(yaml_parser_delete) yaml_parser_t parser;
    int more = 1;

    if (yaml_parser_initialize(&parser) == 0) {
        return fail_yaml(b, &parser);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)b->text, b->size);
    while (more == 1) {
        SCOPED(yaml_event_delete) yaml_event_t event = {0};

        if (yaml_parser_parse(&parser, &event) == 0) {
            return fail_yaml(b, &parser);
        }
        more = take_event(b, &event);
    }
    return more;
}

static int read_tree(bool foreign, const char *file, const char *text, size_t size,
                     struct yaml_tree **ret, struct problems *problems)
{
    static const char order_mark[] = "\xef\xbb\xbf";
    SCOPED(yaml_tree_freep) struct yaml_tree *yaml = xcalloc(1, sizeof(*yaml));
    /* libyaml would take a byte order mark for the first column. */
    size_t skip = size >= 3 && memcmp(text, order_mark, 3) == 0 ? 3 : 0;
    SCOPED(free_anchors)
    struct builder b = {.yaml = yaml,
                        .file = file,
                        .text = text + skip,
                        .size = size - skip,
                        .problems = problems,
                        .foreign = foreign};

    if (check_text(&b) < 0 || build(&b) < 0) {
        return -1;
    }
    if (yaml->count == 0) {
        problem_add(problems, mark_at(&b, 0), "the %s is empty", problems->noun);
        return -1;
    }
    *ret = TAKE(yaml);
    return 0;
}

int yaml_tree_read(const char *file, const char *text, size_t size, struct yaml_tree **ret,
                   struct problems *problems)
{
    return read_tree(false, file, text, size, ret, problems);
}

int yaml_tree_read_foreign(const char *file, const char *text, size_t size, struct yaml_tree **ret,
                           struct problems *problems)
{
    return read_tree(true, file, text, size, ret, problems);
}

size_t yaml_tree_adopt(struct yaml_tree *yaml, struct yaml_tree *other)
{
    for (size_t i = 0; i < other->count; i++) {
        grow(&yaml->nodes, yaml->count, &yaml->space, sizeof(struct node *));
        yaml->nodes[yaml->count++] = other->nodes[i];
    }
    free(other->nodes);
    free(other);
    return yaml->count;
}
