/* SPDX-License-Identifier: Apache-2.0 */
#include "http/trust.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int check(const char *path, const char *from, struct error *err)
{
    if (path == NULL || access(path, R_OK) == 0) {
        return 0;
    }
    (void)fail_os(err, "certificates of '%s'", path);
    return from == NULL ? -1 : fail_hint(err, "%s names it in the environment", from);
}

int trust_choose(const char *file, struct trust *ret, struct error *err)
{
    const char *dir = NULL, *from = NULL, *dir_from = NULL;

    if (file == NULL && (file = variable("CURL_CA_BUNDLE")) != NULL) {
        from = "CURL_CA_BUNDLE";
    } else if (file == NULL) {
        file = variable("SSL_CERT_FILE");
        dir = variable("SSL_CERT_DIR");
        from = file != NULL ? "SSL_CERT_FILE" : NULL;
        dir_from = dir != NULL ? "SSL_CERT_DIR" : NULL;
    }
    if (check(file, from, err) < 0 || (dir != NULL && check(dir, dir_from, err) < 0)) {
        return -1;
    }
    ret->file = file != NULL ? xstrdup(file) : NULL;
    ret->dir = dir != NULL ? xstrdup(dir) : NULL;
    ret->from = from != NULL ? from : dir_from;
    return 0;
}

void trust_done(struct trust *trust)
{
    free(trust->file);
    free(trust->dir);
    *trust = (struct trust){0};
}
