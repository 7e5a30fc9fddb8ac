/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk of a bundle as the body of one request: read from the beginning to the end, and compared
 * with the bundle on the way. Bytes that are wrong are never sent to the end: disk.raw is compared
 * block by block, and of any other file the last piece is withheld until the SHA-256 of all of it
 * is that of the manifest. For one thread.
 */
#ifndef PUBLISH_BODY_H
#define PUBLISH_BODY_H

#include "bundle/reader.h"
#include "http/http.h"

struct body;

/* NAME is the file: "disk.raw", "disk.qcow2". The bundle is borrowed. */
int body_open(const struct reader *bundle, const char *name, struct body **ret, struct error *err);
void body_free(struct body *body);
SCOPE_DEFINE(body, body_free)

/* What http_send takes. Borrows BODY. */
struct http_body body_stream(struct body *body);

uint64_t body_size(const struct body *body);

/* True when all of it was read since it was last begun. */
bool body_is_read(const struct body *body);

/*
 * The digest of all of it by ALGORITHM of hash_new_named, lower-case hex, as it was sent when it
 * was, else by reading it. FAIL_ERROR when the algorithm is not known.
 */
int body_digest(struct body *body, const char *algorithm, char ret[HASH_NAMED_HEX_MAX],
                struct error *err);

#endif
