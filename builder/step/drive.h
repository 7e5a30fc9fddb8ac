/* SPDX-License-Identifier: Apache-2.0 */
/* A raw disk with one ext4 file system, for the appliance: written by engine native. */
#ifndef STEP_DRIVE_H
#define STEP_DRIVE_H

#include "base/fail.h"
#include "base/scope.h"
#include "disk/disk.h"
#include "disk/plan.h"
#include "layer/stack.h"
#include "ui/ui.h"

struct drive;

/*
 * Makes the file at PATH, a hole of SIZE_BYTES. NAME seeds the identifiers: those of drives of one
 * name and size are the same. INODES is 0 for mke2fs's ratio.
 */
int drive_new(const char *path, const char *name, uint64_t size_bytes, uint32_t inodes,
              struct drive **ret, struct error *err);

/* The file stays for whoever owns its directory. */
void drive_free(struct drive *drive);
SCOPE_DEFINE(drive, drive_free)

/* Where its file system lies. */
const struct plan_partition *drive_partition(const struct drive *drive);

const char *drive_path(const struct drive *drive); /* borrowed */

/*
 * Writes what STACK, of which nothing was read, has onto the drive, whatever that held before; the
 * file stays the same one. STACK's tree is settled on EPOCH then. TEMPORARY is a directory.
 */
int drive_write(struct drive *drive, struct stack *stack, int64_t epoch, const char *temporary,
                struct ui *ui, struct error *err);

#endif
