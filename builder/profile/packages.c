/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/packages.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/text.h"

/* Also what is refused, so that a directory of nothing else does not seem empty. */
static const char *const endings[] = {".deb", ".rpm", ".apk"};
enum { ENDING_APK = 2 };

struct finding {
    struct profile_layer *layer;
    size_t space;
    const struct node *pattern; /* the one that is looked for */
    const char *path;           /* of the file that it is written in */
    struct problems *problems;
};

static void refuse(const struct finding *finding, const char *path, const char *reason)
{
    const struct node *pattern = finding->pattern;

    if (path == NULL) {
        problem_add(finding->problems, pattern->mark, "packages %s: %s",
                    QUOTE(pattern->text, pattern->size), reason);
    } else {
        problem_add(finding->problems, pattern->mark, "packages %s: %s: %s",
                    QUOTE(pattern->text, pattern->size), QUOTE(path, strlen(path)), reason);
    }
}

static const char *find_ending(const char *name)
{
    for (size_t i = 0; i < COUNT(endings); i++) {
        if (text_ends(name, endings[i])) {
            return endings[i];
        }
    }
    return NULL;
}

/* What is wrong with the file at PATH, or NULL. */
static const char *check_file(const char *path, const struct stat *st)
{
    const char *ending = find_ending(path);

    if (ending == NULL) {
        return "not a package (its name must end in .deb or .rpm)";
    }
    if (ending == endings[ENDING_APK]) {
        return "'.apk' is not supported yet (supported: .deb, .rpm)";
    }
    if (!S_ISREG(st->st_mode)) {
        return "not a file";
    }
    return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0 ? strerror(errno) : NULL;
}

/* All packages of a layer go to one package manager. */
static bool is_of_one_kind(const struct finding *finding, const char *name)
{
    const struct profile_package *first = finding->layer->packages;

    if (finding->layer->package_count == 0 || find_ending(first->name) == find_ending(name)) {
        return true;
    }
    problem_add(finding->problems, finding->pattern->mark,
                "packages: %s and %s (%s) are of two kinds (give each a layer of its own)",
                QUOTE(name, strlen(name)), QUOTE(first->name, strlen(first->name)),
                PLACE(finding->problems, first->mark));
    return false;
}

static bool add_file(struct finding *finding, const char *path, const struct stat *st)
{
    struct profile_layer *layer = finding->layer;
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *wrong = check_file(path, st);

    if (wrong != NULL) {
        refuse(finding, path, wrong);
        return false;
    }
    if (layer->package_count == PACKAGES_MAX) {
        problem_add(finding->problems, finding->pattern->mark, "packages: more than %d files",
                    PACKAGES_MAX);
        return false;
    }
    if (!is_of_one_kind(finding, name)) {
        return false;
    }
    grow(&layer->packages, layer->package_count, &finding->space, sizeof(*layer->packages));
    layer->packages[layer->package_count++] = (struct profile_package){
        .mark = finding->pattern->mark, .name = xstrdup(name), .path = xstrdup(path)};
    return true;
}

/* glob(3), with what it leaves in errno when a directory cannot be read. */
static int match(const struct finding *finding, const char *pattern, int flags, glob_t *matches)
{
    int result;

    errno = 0;
    result = glob(pattern, GLOB_ERR | flags, NULL, matches);
    if (result != 0 && result != GLOB_NOMATCH) {
        refuse(finding, NULL, strerror(errno != 0 ? errno : ENOMEM));
        return -1;
    }
    return 0;
}

/* TEXT as a pattern that matches nothing else. */
static void add_literal(struct buf *pattern, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("*?[\\", *text) != NULL) {
            buf_putc(pattern, '\\');
        }
        buf_putc(pattern, *text);
    }
}

static bool add_path(struct finding *finding, const char *path, bool inside);

static bool add_directory(struct finding *finding, const char *path)
{
    SCOPED(globfree) glob_t matches = {0};
    SCOPED(buf_done) struct buf pattern = {0};
    size_t size;

    add_literal(&pattern, path);
    buf_puts(&pattern, text_ends(path, "/") ? "*" : "/*");
    size = pattern.size;
    for (size_t i = 0; i < COUNT(endings); i++) {
        pattern.size = size;
        buf_puts(&pattern, endings[i]);
        if (match(finding, pattern.data, i > 0 ? GLOB_APPEND : 0, &matches) < 0) {
            return false;
        }
    }
    if (matches.gl_pathc == 0) {
        refuse(finding, path, "no packages (*.deb or *.rpm) in this directory");
        return false;
    }
    for (size_t i = 0; i < matches.gl_pathc; i++) {
        if (!add_path(finding, matches.gl_pathv[i], true)) {
            return false;
        }
    }
    return true;
}

/* One thing that a pattern matched, or that lies INSIDE a directory which one matched. */
static bool add_path(struct finding *finding, const char *path, bool inside)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        refuse(finding, path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode) && !inside) {
        return add_directory(finding, path);
    }
    return add_file(finding, path, &st);
}

/* Why PATTERN matches nothing; without wildcards it is a path. */
static const char *why_nothing(const char *pattern)
{
    if (strpbrk(pattern, "*?[\\") != NULL) {
        return "matches no file";
    }
    return access(pattern, F_OK) < 0 && errno != ENOENT ? strerror(errno) : "no such file";
}

/* Stops at the first thing that is wrong: the others are likely wrong in the same way. */
static void add_pattern(struct finding *finding)
{
    const char *text = finding->pattern->text, *slash = strrchr(finding->path, '/');
    SCOPED(globfree) glob_t matches = {0};
    SCOPED(buf_done) struct buf pattern = {0};

    if (text[0] != '/' && slash != NULL) {
        SCOPED_FREE char *dir = xstrndup(finding->path, (size_t)(slash + 1 - finding->path));

        add_literal(&pattern, dir);
    }
    buf_puts(&pattern, text);
    if (match(finding, pattern.data, 0, &matches) < 0) {
        return;
    }
    if (matches.gl_pathc == 0) {
        refuse(finding, NULL, why_nothing(pattern.data));
    }
    for (size_t i = 0; i < matches.gl_pathc; i++) {
        if (!add_path(finding, matches.gl_pathv[i], false)) {
            return;
        }
    }
}

static int compare(const void *a, const void *b)
{
    const struct profile_package *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    if (order == 0 && x->mark.line != y->mark.line) {
        return x->mark.line < y->mark.line ? -1 : 1;
    }
    if (order == 0 && x->mark.column != y->mark.column) {
        return x->mark.column < y->mark.column ? -1 : 1;
    }
    return order != 0 ? order : strcmp(x->path, y->path);
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Two patterns may name one file, but not two files with one name. */
static void refuse_twins(const struct finding *finding)
{
    struct profile_layer *layer = finding->layer;
    size_t kept = 0;

    for (size_t i = 0; i < layer->package_count; i++) {
        struct profile_package *one = &layer->packages[i],
                               *last = kept > 0 ? &layer->packages[kept - 1] : NULL;

        if (last == NULL || strcmp(last->name, one->name) != 0) {
            layer->packages[kept++] = *one;
            continue;
        }
        if (!is_same_file(last->path, one->path)) {
            problem_add(finding->problems, one->mark,
                        "packages: %s and %s (%s) have the same name (one must go)",
                        QUOTE(one->path, strlen(one->path)), QUOTE(last->path, strlen(last->path)),
                        PLACE(finding->problems, last->mark));
        }
        free(one->name);
        free(one->path);
    }
    layer->package_count = kept;
}

void packages_find(struct profile_layer *layer, const struct node *list, const char *path,
                   struct problems *problems)
{
    struct finding finding = {.layer = layer, .path = path, .problems = problems};

    for (const struct node *child = list->first; child != NULL; child = child->next) {
        finding.pattern = child;
        add_pattern(&finding);
    }
    if (layer->package_count != 0) {
        qsort(layer->packages, layer->package_count, sizeof(*layer->packages), compare);
        refuse_twins(&finding);
    }
}
