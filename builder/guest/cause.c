/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/cause.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/text.h"

/* Says that the virtual machine was started and ended before the appliance answered. */
#define LAUNCH_FAILED "guestfs_launch failed"

/* Sentences that stand for any failure. */
static const char *const empty_words[] = {
    "appliance closed the connection unexpectedly",
    "appliance launch timed out",
    LAUNCH_FAILED,
    NULL,
};

static bool is_empty_words(const char *line)
{
    for (const char *const *words = empty_words; *words != NULL; words++) {
        if (text_starts(line, *words)) {
            return true;
        }
    }
    return false;
}

static bool is_qemu(const char *line)
{
    return text_starts(line, "qemu") && strstr(line, "warning:") == NULL;
}

static bool is_panic(const char *line)
{
    return strstr(line, "Kernel panic") != NULL;
}

/* What a program that builds the appliance says, as opposed to what the appliance says. */
static bool is_build(const char *line)
{
    return text_starts(line, "supermin: ") || text_starts(line, "cp: ") ||
           text_starts(line, "tar: ") || strstr(line, "/boot/") != NULL;
}

static bool is_anything(const char *line)
{
    return line[strspn(line, " \t\r")] != '\0';
}

/* libguestfs adds a page of advice to its errors, a line each; those that name the cause end so. */
static bool is_telling(const char *line)
{
    static const char *const advice[] = {
        "This usually means", "To see full", "Do:", "and run the command",
        "You can also",       "into a bug",  NULL};

    for (const char *const *text = advice; *text != NULL; text++) {
        if (text_starts(line, *text)) {
            return false;
        }
    }
    return is_anything(line) && line[0] != ' ' && !is_empty_words(line);
}

/* The first line of TEXT that WANTED is true of, or NULL; the caller owns it. */
static char *find_line(const char *text, bool (*wanted)(const char *line))
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\r\n");
        SCOPED_FREE char *line = xstrndup(text, length);

        if (wanted(line)) {
            return TAKE(line);
        }
        text += length;
        text += strspn(text, "\r\n");
    }
    return NULL;
}

/* "qemu-system-x86_64: …" is "qemu: …": the architecture says nothing here. */
static char *shorten(char *line)
{
    SCOPED_FREE char *whole = line;
    const char *colon = strchr(whole, ':');
    size_t length = strlen(whole);

    while (length != 0 && strchr(". \t", whole[length - 1]) != NULL) {
        whole[--length] = '\0';
    }
    if (text_starts(whole, "qemu-system-") && colon != NULL) {
        return xprintf("qemu%s", colon);
    }
    return TAKE(whole);
}

char *cause_line(const struct cause *cause)
{
    bool built = strstr(cause->errors, "supermin exited") == NULL;
    char *line = find_line(cause->console, is_qemu);

    if (line == NULL) {
        line = find_line(cause->console, is_panic);
    }
    if (line == NULL && !built) {
        line = find_line(cause->console, is_build);
        line = line != NULL ? line : find_line(cause->console, is_anything);
    }
    if (line != NULL) {
        return shorten(line);
    }
    if (cause->late_s != 0) {
        return cause->qemu_ran ? xprintf("not up after %u s", cause->late_s)
                               : xprintf("not built after %u s", cause->late_s);
    }
    line = find_line(cause->errors, is_telling);
    return line != NULL ? shorten(line) : xstrdup("it ended without a word");
}

bool cause_may_be_kvm(const struct cause *cause)
{
    static const char *const others[] = {
        "-drive", "Could not open", "Failed to get", "No space left", "memory", "No such file",
        NULL};
    SCOPED_FREE char *line = NULL;

    if (cause->late_s != 0) {
        return cause->qemu_ran;
    }
    if (strstr(cause->errors, LAUNCH_FAILED) == NULL) {
        return false;
    }
    line = cause_line(cause);
    if (strcasestr(line, "kvm") != NULL) {
        return true;
    }
    for (const char *const *other = others; *other != NULL; other++) {
        if (strstr(line, *other) != NULL) {
            return false;
        }
    }
    return true;
}

/* The absolute path in LINE that starts with START, or NULL; the caller owns it. */
static char *path_in(const char *line, const char *start)
{
    const char *at = strstr(line, start);

    return at == NULL ? NULL : xstrndup(at, strcspn(at, " '\":,\n"));
}

/* libguestfs looks at qemu ("stat: PATH: …") and asks it for its options before it uses it. */
static bool is_about_qemu(const char *line)
{
    return (text_starts(line, "stat: /") && strstr(line, "No such file") != NULL &&
            strstr(line, ".guestfs-") == NULL) ||
           (strstr(line, "qemu") != NULL &&
            (strstr(line, "error status 126") != NULL || strstr(line, "error status 127") != NULL));
}

char *cause_advice(const char *line)
{
    bool denied = strcasestr(line, "permission denied") != NULL;
    SCOPED_FREE char *kernel = path_in(line, "/boot/");
    SCOPED_FREE char *module = path_in(line, "/lib/modules/");
    SCOPED_FREE char *file = kernel != NULL ? TAKE(kernel) : TAKE(module);

    if (denied && file != NULL) {
        return xprintf("the appliance needs to read it: 'sudo chmod 0644 %s', or for good "
                       "'sudo dpkg-statoverride --update --add root root 0644 %s'",
                       file, file);
    }
    if (strstr(line, "No space left") != NULL) {
        return xstrdup("the appliance takes about 1 GB in $LIBGUESTFS_CACHEDIR, else $TMPDIR, else "
                       "/var/tmp: make room there, or set it to another directory");
    }
    if (strstr(line, "cannot set up guest memory") != NULL) {
        return xstrdup("the host has less memory than the appliance asks for: see the 'memory' of "
                       "steps, and LIBGUESTFS_MEMSIZE");
    }
    if (strstr(line, ".guestfs-") != NULL) {
        return xstrdup(
            "set LIBGUESTFS_CACHEDIR to a directory you can write to, with 1 GB of room");
    }
    if (strstr(line, "suitable kernel") != NULL) {
        return xstrdup("the appliance needs a kernel: install linux-image-cloud-amd64 (Debian) or "
                       "linux-image-generic (Ubuntu)");
    }
    if (strstr(line, "cannot find any suitable libguestfs") != NULL ||
        (strstr(line, "supermin") != NULL && strstr(line, "127") != NULL)) {
        return xstrdup("install libguestfs0 and supermin, or set LIBGUESTFS_PATH to an appliance");
    }
    if (is_about_qemu(line)) {
        return xstrdup("install qemu-system-x86 (or the one of this machine's architecture); where "
                       "LIBGUESTFS_HV is set it must name a program");
    }
    if (strstr(line, "realpath: No such file") != NULL) {
        return xstrdup("make that directory, or unset the variable");
    }
    return xstrdup("'kiln doctor' lists what the appliance needs; LIBGUESTFS_DEBUG=1 shows its "
                   "start");
}

/* The length of a leading "name_of_call: ", or 0. */
static size_t call_prefix(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return length != 0 && isalpha((unsigned char)text[0]) && text_starts(text + length, ": ")
               ? length + 2
               : 0;
}

char *cause_trim(const char *message)
{
    static const char *const prefixes[] = {"libguestfs: ", "error: ", "guestfsd: ", NULL};
    SCOPED(buf_done) struct buf out = {0};

    for (const char *const *prefix = prefixes; *prefix != NULL; prefix++) {
        message += text_starts(message, *prefix) ? strlen(*prefix) : 0;
    }
    message += call_prefix(message);
    buf_puts(&out, "");
    while (*message != '\0') {
        size_t length = strcspn(message, "\r\n");
        SCOPED_FREE char *line = xstrndup(message, length);

        if (is_telling(line) || (out.size == 0 && is_anything(line))) {
            buf_printf(&out, "%s%s", out.size != 0 ? "; " : "", line);
        }
        message += length;
        message += strspn(message, "\r\n");
    }
    while (out.size != 0 && strchr(". \t", out.data[out.size - 1]) != NULL) {
        out.data[--out.size] = '\0';
    }
    return buf_take(&out);
}
