/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in their order: the only file that knows it. */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stdbool.h>

#include "base/fail.h"
#include "ui/ui.h"

struct build_options {
    const char *profile;     /* path */
    const char *output;      /* bundle directory; NULL: NAME-VERSION here */
    const char *engine;      /* word of the grammar, over the profile's; NULL: the profile's */
    const char *formats;     /* comma-separated words, over the profile's; NULL: the profile's */
    bool force;              /* replace an existing bundle */
    bool sync;               /* wait until it is on the disk */
    bool no_cache;           /* neither start from a cached state nor leave one */
    bool verify;             /* read cached states whole before they are used */
    bool locked;             /* there must be a lock */
    const char *layers_from; /* directory with captured layers of steps; NULL: none */
    const char *save_layers; /* directory to save them in; NULL: none */
    bool refresh_steps;      /* run all steps again */
    bool debug_shell;        /* a shell where a step fails */
};

/* Profile to bundle. */
int pipeline_build(const struct build_options *options, struct ui *ui, struct error *err);

/* Reads profile and layers and prints what a build would do; no appliance, nothing written. */
int pipeline_plan(const struct build_options *options, struct ui *ui, struct error *err);

/*
 * Reads profile and layers, runs the steps of which nothing was captured yet, and writes the lock,
 * where it is not up to date; with CHECK nothing is run or written, and a lock that is not up to
 * date is FAIL_MISMATCH.
 */
int pipeline_lock(const struct build_options *options, bool check, struct ui *ui,
                  struct error *err);

#endif
