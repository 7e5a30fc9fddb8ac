/* SPDX-License-Identifier: Apache-2.0 */
/* A signed call to a service of AWS, and the names in its replies. */
#ifndef AWS_AWS_H
#define AWS_AWS_H

#include "aws/config.h"
#include "aws/credentials.h"
#include "http/http.h"

/* One service in one region: EBS direct, EC2, STS. */
struct aws_service {
    struct http *http;                   /* borrowed */
    struct aws_credentials *credentials; /* borrowed; NULL: calls are not signed */
    char *name;                          /* "ebs": of the signature */
    char *region;
    char *endpoint; /* "https://ebs.eu-west-1.amazonaws.com", without a slash at its end */
};

/* Fills RET, with the endpoint that CONFIG has for it. */
int aws_service_init(struct aws_service *ret, const struct aws_config *config, struct http *http,
                     struct aws_credentials *credentials, const char *name, const char *region,
                     struct error *err);

/* Releases what init got; also the cleaner for SCOPED. */
void aws_service_done(struct aws_service *service);

struct aws_call {
    const char *method;
    const char *path;           /* "/snapshots", encoded */
    const char *query;          /* encoded, in any order; NULL: none */
    const char *const *headers; /* further ones, all signed; NULL: none */
    const void *body;
    size_t size;
    const char *secret;    /* in the body, and in no message; NULL: there is none */
    const uint8_t *sha256; /* of the body when it is known already; NULL: it is computed */
    /* An error code that may pass in this call beside those that always may ("NotFound" of what
     * was just made): NULL-terminated; NULL: none. */
    const char *const *retry_codes;
};

struct aws_error {
    char code[128];   /* "RequestThrottledException", "InvalidAMIName.Duplicate"; "" when unknown */
    char reason[128]; /* EBS: "SNAPSHOT_NOT_FOUND", as some errors have it; else "" */
    char message[1024];
    char request_id[128]; /* "-" when the reply has none */
};

/*
 * Signs and sends it. Tried again, each time signed anew: what http/ tries again, every 5xx,
 * throttling (recognised by its code, as EBS answers it with 400), keys that expired (renewed
 * once), and, once, with the server's time when the reply shows that our clock is wrong. 0 with a
 * reply of status 2xx in RET; 1 with any other, explained in PROBLEM; -1 on error without a reply.
 */
int aws_send(const struct aws_service *service, const struct aws_call *call, struct http_reply *ret,
             struct aws_error *problem, struct error *err);

/* FAIL_REMOTE "WHAT: CODE: message (status 400, request id …)", with a hint for what people often
 * meet: expired tokens, a clock that is wrong, missing permissions. */
int aws_fail(const char *what, const struct http_reply *reply, const struct aws_error *problem,
             struct error *err);

#endif
