/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX ACLs, between three forms: libarchive's list, the value of the kernel's extended attributes
 * (linux/posix_acl_xattr.h, version 2, little-endian, sorted) and the text that SCHILY.acl.*
 * records hold. Ids are numbers always: names mean something else in every image.
 */
#ifndef LAYER_ACL_H
#define LAYER_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fail.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

struct archive_entry;

/*
 * The ACL of TYPE (ARCHIVE_ENTRY_ACL_TYPE_ACCESS or _DEFAULT) as an attribute value appended to
 * RET, nothing when the entry has none beyond its mode. Errors do not name the entry.
 */
int acl_from_archive(struct archive_entry *entry, int type, struct buf *ret, struct error *err);

/* Checks an attribute value as the kernel would; errors do not name the file. */
int acl_check(const void *value, size_t size, struct error *err);

/* The permission bits of a file whose checked access ACL is VALUE and whose mode was MODE. */
uint32_t acl_mode(const void *value, size_t size, uint32_t mode);

/* Appends the text form of a checked value: "user::rw-,user:33:r--,group::r--,…". */
void acl_text(const void *value, size_t size, struct buf *ret);

#endif
