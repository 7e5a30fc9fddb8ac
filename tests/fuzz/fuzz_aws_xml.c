/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what AWS replies: a tree within its limits or none; a problem; keys in JSON. */
#include <stdlib.h>
#include <string.h>

#include "aws/keys.h"
#include "aws/problem.h"
#include "aws/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static size_t check_tree(const struct xml *xml, size_t depth)
{
    size_t count = 1;

    require(depth <= XML_DEPTH_MAX && xml->name[0] != '\0');
    require(xml->last == NULL || xml->last->next == NULL);
    for (const struct xml *below = xml->first; below != NULL; below = below->next) {
        const struct xml *first = xml_find(xml, below->name);

        require(below->parent == xml);
        /* A name cannot have a slash in it, so it is a path. */
        require(first != NULL && strcmp(first->name, below->name) == 0);
        count += check_tree(below, depth + 1);
    }
    return count;
}

static void check_problem(const struct http_reply *reply)
{
    struct aws_error problem;
    struct error err = {0};

    problem_read(reply, "TOKEN", &problem);
    require(strchr(problem.code, ':') == NULL && problem.request_id[0] != '\0');
    require(strstr(problem.message, "TOKEN") == NULL);
    require(strstr(problem.message, "The Canonical String") == NULL);
    (void)problem_verdict(400, problem.code, NULL);
    (void)problem_skew(reply, problem.code, 0);
    require(aws_fail("fuzz", reply, &problem, &err) == -1 && err.kind == FAIL_REMOTE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(xml_freep) struct xml *xml = NULL;
    SCOPED(aws_keys_done) struct aws_keys keys = {0};
    SCOPED(http_reply_done) struct http_reply reply = {.status = 400};
    struct error err = {0};

    buf_add(&reply.body, data, size);
    check_problem(&reply);
    if (xml_parse(data, size, &xml, &err) == 0) {
        require(check_tree(xml, 1) <= XML_ELEMENTS_MAX);
    } else {
        require(xml == NULL && err.kind == FAIL_REMOTE);
    }
    fail_clear(&err);
    if (aws_keys_parse(reply.body.data, size, "Token", &keys, &err) == 0) {
        fail_clear(&err);
        (void)aws_keys_check(&keys, &err);
    }
    return 0;
}
