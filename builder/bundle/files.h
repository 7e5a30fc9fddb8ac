/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.index: every path of the image in the format of mtree(5), sorted, readable by bsdtar: type,
 * mode, uid, gid, size, time, sha256digest, link, device, nlink. What mtree has no keyword for goes
 * into tags=, a list with commas: layer:INDEX (as many as there are layers: kiln's own file),
 * xattr.NAME:BASE64 and, at every name of a hard link but the first, hardlink:FIRST-PATH. (Keywords
 * of our own would make bsdtar warn and fail.)
 */
#ifndef BUNDLE_FILES_H
#define BUNDLE_FILES_H

#include "base/fail.h"
#include "layer/tree.h"

int files_write(const struct tree *tree, const char *path, struct error *err);

#endif
