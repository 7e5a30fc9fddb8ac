/* SPDX-License-Identifier: Apache-2.0 */
/* Whose signature makes a server's certificate good. What is named replaces all that comes after it
 * in this order: the caller's file, CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR, the system's.
 */
#ifndef HTTP_TRUST_H
#define HTTP_TRUST_H

#include "base/fail.h"

struct trust {
    char *file, *dir; /* both NULL: the system's */
    const char *from; /* the variable it comes from; NULL: none */
};

/* FILE may be NULL. Fails when what is named cannot be read. */
int trust_choose(const char *file, struct trust *ret, struct error *err);
void trust_done(struct trust *trust);

#endif
