/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of a shell in the appliance: the user's terminal, raw as long as the shell is
 * there.
 */
#ifndef STEP_SHELL_H
#define STEP_SHELL_H

#include <stdbool.h>

#include "base/fail.h"
#include "base/scope.h"
#include "ui/ui.h"

/* The first line that comes through PATH.out when a shell begins. */
#define SHELL_GREETING "kiln-shell\n"

struct shell;

/* True when there is somebody to talk to it: stdin and stderr are a terminal. */
bool shell_possible(void);

/* Makes the FIFOs PATH.in and PATH.out, and waits for a shell in a thread of its own. */
int shell_new(const char *path, struct ui *ui, struct shell **ret, struct error *err);

/* Gives the terminal back; NULL is fine. */
void shell_free(struct shell *shell);
SCOPE_DEFINE(shell, shell_free)

#endif
