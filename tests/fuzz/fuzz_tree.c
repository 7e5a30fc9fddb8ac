/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a program of entries over several parts. Each line is an entry: its first byte is what
 * it is ("f" file, "d" directory, "l" symlink, "h" hard link, "H" one with data, "c" character
 * device, "p" FIFO; "o" and "m" begin a part with the rules of OCI layers and of archives), the
 * rest its path, up to a ">" before its target. After every entry the tree must hold together;
 * a refused entry ends the program.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer/tree.h"

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: does not hold: %s\n", __LINE__, #condition);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct program {
    struct tree *tree;
    unsigned part;
    uint64_t sequence;
    struct buf whiteouts; /* resolved paths that the part removed, each NUL-terminated */
};

struct count {
    struct tree *tree;
    size_t nodes;
};

static void check_names(const struct node *node)
{
    const struct inode *inode = node->inode;
    const struct node *before = NULL;
    unsigned names = 0;
    bool listed = false;

    for (const struct node *name = inode->names; name != NULL; name = name->same) {
        HOLDS(name->inode == inode && name->same_previous == before);
        listed = listed || name == node;
        before = name;
        names++;
    }
    HOLDS(listed && names == inode->links);
    HOLDS(inode->type != ENTRY_DIRECTORY || names == 1);
    HOLDS(inode->type != ENTRY_HARDLINK);
    HOLDS((inode->type == ENTRY_SYMLINK) == (inode->target != NULL));
}

static int check_node(void *data, struct node *node, struct error *err)
{
    SCOPED(buf_done) struct buf path = {0};
    struct count *count = data;
    const struct node *before = NULL;

    (void)err;
    count->nodes++;
    check_names(node);
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        HOLDS(child->parent == node && child->previous == before);
        before = child;
    }
    HOLDS(node->children == NULL || node->inode->type == ENTRY_DIRECTORY);
    HOLDS(!node->implied || node->inode->type == ENTRY_DIRECTORY);
    HOLDS(strlen(node->name) == node->length && strchr(node->name, '/') == NULL);
    HOLDS(strncmp(node->name, ".wh.", 4) != 0);
    HOLDS(strcmp(node->name, ".") != 0 && strcmp(node->name, "..") != 0);
    node_path(node, &path);
    HOLDS(path.size <= 4096 && strlen(path.data) == path.size);
    HOLDS(tree_find(count->tree, path.data) == node);
    HOLDS(node->inode->type == ENTRY_SYMLINK || tree_resolve(count->tree, path.data) == node);
    return 0;
}

static void check_own(const struct program *program, const struct node *node)
{
    HOLDS(node->part == program->part);
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        check_own(program, child);
    }
}

/* What is left where the part has a whiteout is the part's own. */
static void check_whiteouts(const struct program *program)
{
    const struct buf *paths = &program->whiteouts;

    for (size_t at = 0; at < paths->size; at += strlen(paths->data + at) + 1) {
        const struct node *node = tree_find(program->tree, paths->data + at);

        if (node != NULL) {
            check_own(program, node);
        }
    }
}

/* The path that a whiteout of merging rules removes, found before it is applied. */
static void note_whiteout(struct program *program, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    SCOPED_FREE char *parent = xstrndup(path, (size_t)(name - path));
    const struct node *node;

    if (strncmp(name, ".wh.", 4) != 0 || strncmp(name, ".wh..wh.", 8) == 0) {
        return;
    }
    node = tree_find(program->tree, parent);
    if (node != NULL && node->inode->type == ENTRY_DIRECTORY) {
        node_path(node, &program->whiteouts);
        buf_putc(&program->whiteouts, '/');
        buf_add(&program->whiteouts, name + 4, strlen(name + 4) + 1);
    }
}

static void begin(struct program *program, bool oci)
{
    program->part++;
    program->sequence = 0;
    buf_clear(&program->whiteouts);
    tree_begin(program->tree, program->part / 2, program->part, "fuzz",
               oci ? RULES_OCI : RULES_MERGE, program->part % 3 == 0);
}

static enum entry_type type_of(char letter)
{
    switch (letter) {
    case 'd':
        return ENTRY_DIRECTORY;
    case 'l':
        return ENTRY_SYMLINK;
    case 'h':
    case 'H':
        return ENTRY_HARDLINK;
    case 'c':
        return ENTRY_CHARACTER;
    case 'p':
        return ENTRY_FIFO;
    default:
        return ENTRY_FILE;
    }
}

/* False when the entry was refused. */
static bool apply_line(struct program *program, char *line)
{
    struct xattr xattr = {line, line, strlen(line)};
    struct entry entry = {.path = line + 1, .type = type_of(line[0]), .mtime = line[0]};
    struct inode *data = NULL;
    struct error *err;
    char *target = strchr(line, '>');
    int result;

    if (target != NULL) {
        *target = '\0';
        entry.target = target + 1;
    }
    if (line[0] == '\0' || line[1] == '\0') {
        return true;
    }
    entry.size = line[0] == 'H' || line[0] == 'f' ? strlen(line) : 0;
    entry.xattrs = &xattr;
    entry.xattr_count = line[0] == 'd';
    note_whiteout(program, line + 1);
    err = xcalloc(1, sizeof(*err));
    result = tree_apply(program->tree, &entry, program->sequence++, &data, err);
    HOLDS(result == 0 || (err->kind == FAIL_ERROR && data == NULL));
    HOLDS(data == NULL || (data->type == ENTRY_FILE && data->part == program->part));
    free(err);
    return result == 0;
}

static bool step(struct program *program, char *line)
{
    struct count count = {.tree = program->tree};
    struct error *err;
    bool applied = true;

    if (line[0] == 'o' || line[0] == 'm') {
        begin(program, line[0] == 'o');
    } else {
        applied = apply_line(program, line);
    }
    err = xcalloc(1, sizeof(*err));
    (void)tree_walk(program->tree, check_node, &count, err);
    free(err);
    HOLDS(count.nodes == tree_paths(program->tree) + 1);
    if (applied) {
        check_whiteouts(program);
    }
    return applied;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tree_limits limits = {.paths = 300, .depth = 12, .xattr_bytes = 64};
    struct program program = {.tree = tree_new(&limits)};
    SCOPED_FREE char *text = xstrndup((const char *)data, size);
    char *state = NULL;

    begin(&program, false);
    for (char *line = strtok_r(text, "\n", &state); line != NULL && step(&program, line);
         line = strtok_r(NULL, "\n", &state)) {
    }
    tree_settle(program.tree, 50);
    buf_done(&program.whiteouts);
    tree_free(program.tree);
    return 0;
}
