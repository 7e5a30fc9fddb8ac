/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fold of trees told in a small language: words between blanks, "0:" begins part 0 with the
 * rules of archives and "0o:" with those of OCI layers, "d/" is a directory, "f" a file, "s@to" a
 * symlink, "h=f" a hard link, "h=f+9" one that brings 9 bytes, "c!" a character device 0:0. What
 * comes out is told the same way in the order of tree_walk, every name with the part that put it
 * there last ("f:0"), "/?" for a directory that nobody described, and "[part.sequence]" of inodes
 * with more than one name.
 */
#ifndef TREE_SCRIPT_H
#define TREE_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer/tree.h"

#include <cmocka.h> /* last: it has a macro fail() */

struct script {
    struct tree *tree;
    unsigned part;
    uint64_t sequence;
    struct inode *data; /* what the last entry returned */
};

static inline void begin(struct script *script, const char *word)
{
    char name[32];
    char *end;

    script->part = (unsigned)strtoul(word, &end, 10);
    script->sequence = 0;
    (void)snprintf(name, sizeof(name), "part %u", script->part);
    tree_begin(script->tree, script->part * 10, script->part, name,
               *end == 'o' ? RULES_OCI : RULES_MERGE, false);
}

/* Splits WORD at its first KIND into the path and the target that ENTRY borrows. */
static inline bool split(char *word, char kind, enum entry_type type, struct entry *entry)
{
    char *at = strchr(word, kind);

    if (at == NULL) {
        return false;
    }
    *at = '\0';
    entry->type = type;
    entry->target = at + 1;
    return true;
}

static inline int apply_word(struct script *script, char *word, struct error *err)
{
    struct entry entry = {.path = word, .type = ENTRY_FILE, .size = 7, .mode = 0640};
    char *plus;

    entry.uid = script->part * 1000 + (uint32_t)script->sequence;
    entry.mtime = 1000 + script->part;
    if (split(word, '@', ENTRY_SYMLINK, &entry) || split(word, '!', ENTRY_CHARACTER, &entry)) {
        entry.size = 0;
    } else if (split(word, '=', ENTRY_HARDLINK, &entry)) {
        plus = strchr(entry.target, '+');
        entry.size = plus != NULL ? strtoul(plus + 1, NULL, 10) : 0;
        if (plus != NULL) {
            *plus = '\0';
        }
    } else if (word[strlen(word) - 1] == '/') {
        entry.type = ENTRY_DIRECTORY;
        entry.mode = 0700;
    }
    return tree_apply(script->tree, &entry, script->sequence++, &script->data, err);
}

static inline int run(struct script *script, const char *text, struct error *err)
{
    SCOPED_FREE char *words = xstrdup(text);
    char *state = NULL;

    for (char *word = strtok_r(words, " ", &state); word != NULL;
         word = strtok_r(NULL, " ", &state)) {
        if (word[strlen(word) - 1] == ':') {
            begin(script, word);
        } else if (apply_word(script, word, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static inline struct tree *make(const char *text)
{
    struct script script = {.tree = tree_new(NULL)};
    struct error err = {0};

    if (run(&script, text, &err) < 0) {
        fail_msg("%s: %s", text, err.message);
    }
    return script.tree;
}

static inline int tell(void *data, struct node *node, struct error *err)
{
    struct buf *out = data;
    const struct inode *inode = node->inode;

    (void)err;
    if (node->parent == NULL) {
        return 0;
    }
    if (out->size != 0) {
        buf_putc(out, ' ');
    }
    node_path(node, out);
    buf_puts(out, inode->type == ENTRY_DIRECTORY ? "/" : inode->type == ENTRY_CHARACTER ? "!" : "");
    buf_puts(out, node->implied ? "?" : "");
    if (inode->type == ENTRY_SYMLINK) {
        buf_printf(out, "@%s", inode->target);
    }
    if (inode->links > 1) {
        buf_printf(out, "[%u.%u]", inode->part, (unsigned)inode->sequence);
    }
    buf_printf(out, ":%u", node->part);
    return 0;
}

static inline void assert_tree(const struct tree *tree, const char *expected)
{
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    buf_puts(&out, "");
    assert_int_equal(tree_walk(tree, tell, &out, &err), 0);
    assert_string_equal(out.data, expected);
}

static inline int apply_path(struct tree *tree, const char *path, struct error *err)
{
    struct entry entry = {.path = path, .type = ENTRY_FILE};
    struct inode *data;

    return tree_apply(tree, &entry, 0, &data, err);
}

/* COUNT times PIECE, then END. */
static inline char *repeat(const char *piece, size_t count, const char *end)
{
    struct buf buf = {0};

    for (size_t i = 0; i < count; i++) {
        buf_puts(&buf, piece);
    }
    buf_puts(&buf, end);
    return buf_take(&buf);
}

#endif
