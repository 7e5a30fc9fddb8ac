/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.index: every path of the image in the format of mtree(5), sorted, readable by bsdtar: type,
 * mode, uid, gid, size, time, sha256digest, link, device, nlink; the layer and the extended
 * attributes as keywords of kiln's own (layer=INDEX, xattr.NAME=BASE64, hardlink=FIRST-PATH).
 */
#ifndef BUNDLE_FILES_H
#define BUNDLE_FILES_H

#include "base/fail.h"
#include "layer/tree.h"

int files_write(const struct tree *tree, const char *path, struct error *err);

#endif
