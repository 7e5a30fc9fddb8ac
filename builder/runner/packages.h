/* SPDX-License-Identifier: Apache-2.0 */
/* Packages, installed in one transaction by the image's own manager. */
#ifndef RUNNER_PACKAGES_H
#define RUNNER_PACKAGES_H

#include "runner/command.h"

/* apt-get where the image has it, else dpkg: both without a word with the network. */
int packages_load_deb(struct command *command, const struct task *task, int root,
                      struct outcome *outcome);

int packages_load_rpm(struct command *command, const struct task *task, int root,
                      struct outcome *outcome);

/* Shows the packages at COMMAND_PACKAGES, and makes the directories that apt wants to find. */
int packages_place(const struct task *task, int root, struct outcome *outcome);

#endif
