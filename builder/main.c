/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <locale.h>

#include "base/scope.h"
#include "base/stop.h"
#include "cli/args.h"
#include "ui/ui.h"

static int run(struct args *args, struct ui *ui, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (args->version) {
        ui_print(ui, "kiln %s\n", KILN_VERSION);
        return 0;
    }
    if (args->help) {
        args_help(args->command, &text);
        ui_print(ui, "%s", text.data);
        return 0;
    }
    args->invocation.ui = ui;
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
    struct error err = {0};
    struct args args;
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
        ui_error(ui, &err);
    }
    return result < 0 ? (int)err.kind : 0;
}
