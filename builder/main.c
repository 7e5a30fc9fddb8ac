/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/stop.h"
#include "base/text.h"
#include "cli/args.h"
#include "ui/ui.h"

/* For -v: what of the surroundings a build depends on. No variable of these holds a secret. */
static void say_where(struct ui *ui)
{
    static const char *const names[] = {
        "SOURCE_DATE_EPOCH", "TMPDIR", "XDG_CACHE_HOME", "KILN_STORE", "LIBGUESTFS_",
        "SUPERMIN_",         "PATH"};
    SCOPED_FREE char *here = getcwd(NULL, 0);

    ui_detail(ui, "kiln %s, user %lu, in '%s'", KILN_VERSION, (unsigned long)geteuid(),
              here != NULL ? here : "a directory that is gone");
    for (char **variable = environ; *variable != NULL; variable++) {
        for (size_t i = 0; i < COUNT(names); i++) {
            size_t length = strlen(names[i]);
            bool family = text_ends(names[i], "_");

            if (text_starts(*variable, names[i]) && (family || (*variable)[length] == '=')) {
                ui_detail(ui, "%s", *variable);
            }
        }
    }
}

/* For -v: what a message may not say of its cause. */
static void say_cause(struct ui *ui, const struct error *err)
{
    if (err->os != 0) {
        ui_detail(ui, "the system's error: %s (%d), status %d", strerrorname_np(err->os), err->os,
                  fail_status(err));
    }
}

static int run(struct args *args, struct ui *ui, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (args->version) {
        ui_print(ui, "kiln %s\n", KILN_VERSION);
        return 0;
    }
    if (args->help) {
        args_help(args->command, &text);
        ui_text(ui, text.data);
        return 0;
    }
    args->invocation.ui = ui;
    say_where(ui);
    return args->command->run(&args->invocation, err);
}

/* Whoever starts kiln without the first three descriptors must not find files of it there. */
static void fill_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    scope_fd(&fd);
}

int main(int argc, char **argv)
{
    SCOPED(ui_freep) struct ui *ui = NULL;
    SCOPED(args_done) struct args args = {0};
    struct error err = {0};
    int result;

    fill_descriptors();
    stop_init();
    /* Names are bytes; a UTF-8 locale only keeps libarchive from complaining about them. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    result = args_parse(argc, argv, &args, &err);
    ui = ui_new(&args.ui);
    result = result < 0 ? result : run(&args, ui, &err);
    if (result == 0) {
        result = ui_finish(ui, &err);
    }
    if (result < 0) {
        say_cause(ui, &err);
        ui_error(ui, &err);
    }
    return result < 0 ? fail_status(&err) : 0;
}
