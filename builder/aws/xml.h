/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XML of replies by EC2 and STS, read into a tree of elements. Name spaces, attributes and
 * comments are left out; a document type, and with it every entity of its own, is refused, and so
 * is what is deeper or has more elements than a reply can have. Nothing else is ever opened.
 */
#ifndef AWS_XML_H
#define AWS_XML_H

#include <stddef.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/scope.h"

enum { XML_DEPTH_MAX = 32, XML_ELEMENTS_MAX = 1 << 20 };

struct xml {
    char *name;      /* without a prefix */
    struct buf text; /* all of its own characters, without those of the elements below it */
    struct xml *parent, *first, *last, *next;
};

/* Reads a document; RET is its outermost element. */
int xml_parse(const void *data, size_t size, struct xml **ret, struct error *err);

/* Frees an outermost element with all below it, overwriting texts, which may be keys. */
void xml_free(struct xml *xml);
SCOPE_DEFINE(xml, xml_free)

/* The first element at PATH ("Credentials/AccessKeyId") below XML, or NULL; XML may be NULL. */
const struct xml *xml_find(const struct xml *xml, const char *path);

/* The next element of the same name beside XML, or NULL: "item" after "item". */
const struct xml *xml_next(const struct xml *xml);

/* The text of the element at PATH; borrowed; NULL when there is no such element or it is empty. */
const char *xml_text(const struct xml *xml, const char *path);

#endif
