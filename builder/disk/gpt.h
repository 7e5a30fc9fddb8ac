/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GUID partition table (UEFI 2.10, chapter 5.3): protective MBR, primary and backup. The MBR is
 * the strict one: one 0xEE entry, boot flag 0, CHS 00 02 00, first LBA 1; OpenStack refuses others.
 */
#ifndef DISK_GPT_H
#define DISK_GPT_H

#include "base/fail.h"
#include "disk/plan.h"

/* Writes it into FD, a file of plan->size_bytes; bytes 0 to 439 are left for a boot sector. */
int gpt_write(int fd, const struct plan *plan, const char *name, struct error *err);

#endif
