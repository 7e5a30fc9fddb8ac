/* SPDX-License-Identifier: Apache-2.0 */
/* Why there was no reply, in words that help. */
#ifndef HTTP_CAUSE_H
#define HTTP_CAUSE_H

#include <curl/curl.h>

#include "http/http_internal.h"

/*
 * FAIL_REMOTE "PUT https://host/path: …" for what libcurl said of CALL (CODE, and TEXT from its
 * error buffer), with a hint. *RET_AGAIN: it may pass by itself.
 */
int cause_fail(const struct http *http, const struct http_call *call, CURL *curl, CURLcode code,
               const char *text, bool *ret_again, struct error *err);

#endif
