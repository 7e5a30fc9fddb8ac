/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests that let other people's tools read what was written: a directory to work in, and
 * programs run in it. Include it after base/fail.h, whose function cmocka.h hides, and cmocka.h.
 */
#ifndef TESTS_UNIT_TOOLS_H
#define TESTS_UNIT_TOOLS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/proc.h"
#include "base/scope.h"

/* A group set-up: makes a directory and works in it; *STATE is its path. */
static inline int enter_scratch(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = xprintf("%s/kiln-test-XXXXXX", base != NULL ? base : "/tmp");

    if (mkdtemp(path) == NULL || chdir(path) < 0) {
        return -1;
    }
    *state = path;
    return 0;
}

/* Likewise for what waits for the disk again and again: in memory, where there is a place. */
static inline int enter_fast_scratch(void **state)
{
    if (access("/dev/shm", W_OK) == 0 && setenv("TMPDIR", "/dev/shm", 1) < 0) {
        return -1;
    }
    return enter_scratch(state);
}

/* Likewise, with a place there for what kiln remembers of publishes. */
static inline int enter_with_state(void **state)
{
    SCOPED_FREE char *path = NULL;

    if (enter_fast_scratch(state) < 0) {
        return -1;
    }
    path = file_join(*state, "state");
    return setenv("XDG_STATE_HOME", path, 1);
}

/* Its tear-down. */
static inline int leave_scratch(void **state)
{
    struct error err = {0};
    int result = chdir("/") < 0 ? -1 : file_remove_tree(*state, &err);

    free(*state);
    return result;
}

#define TOOL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Skips the test where NAME is missing; before the test owns anything, since it jumps away. */
static inline void need_tool(const char *name)
{
    SCOPED_FREE char *directories = xstrdup(TOOL_PATH);
    char *rest = directories;
    bool found = false;

    for (const char *dir; !found && (dir = strsep(&rest, ":")) != NULL;) {
        SCOPED_FREE char *path = xprintf("%s/%s", dir, name);

        found = access(path, X_OK) == 0;
    }
    if (!found) {
        print_message("'%s' is missing\n", name);
        free(TAKE(directories));
        skip();
    }
}

/*
 * Runs a program in UTF-8, looking for it where an ordinary user's PATH may not, and returns what
 * it printed; a new string. One that fails fails the test.
 */
static inline char *run_tool(const char *const argv[])
{
    static const char *const env[] = {"PATH=" TOOL_PATH, "LC_ALL=C.UTF-8", "TZ=UTC", NULL};
    struct buf output = {0};
    struct error err = {0};
    const struct proc proc = {.argv = argv, .env = env, .output = &output};

    if (proc_run(&proc, &err) < 0) {
        fail_msg("%s: %s", err.message, output.data != NULL ? output.data : "");
    }
    return buf_take(&output);
}

#define RUN(...) run_tool((const char *const[]){__VA_ARGS__, NULL})

#endif
