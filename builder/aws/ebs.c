/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/ebs.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/blocks.h"
#include "base/scope.h"

enum { BASE64_MAX = 4 * ((HASH_SIZE + 2) / 3) + 1 };

static const char *base64(const uint8_t digest[HASH_SIZE], char out[BASE64_MAX])
{
    (void)EVP_EncodeBlock((unsigned char *)out, digest, HASH_SIZE);
    return out;
}

/* Sends it; 0 with a reply of 2xx. */
static int send_call(const struct aws_service *ebs, const struct aws_call *call, const char *what,
                     struct http_reply *reply, struct aws_error *problem, struct error *err)
{
    memset(problem, 0, sizeof(*problem));
    int result = aws_send(ebs, call, reply, problem, err);

    return result == 1 ? aws_fail(what, reply, problem, err) : result;
}

void ebs_start_body(const struct ebs_start *start, struct buf *ret)
{
    SCOPED(json_decrefp) json_t *body = json_object();
    json_t *tags = json_array();

    (void)json_object_set_new(body, "VolumeSize", json_integer((json_int_t)start->size_gib));
    (void)json_object_set_new(body, "Description", json_string(start->description));
    (void)json_object_set_new(body, "ClientToken", json_string(start->token));
    (void)json_object_set_new(body, "Timeout", json_integer(start->timeout_min));
    if (start->parent != NULL) {
        (void)json_object_set_new(body, "ParentSnapshotId", json_string(start->parent));
    }
    for (size_t i = 0; i < start->tags.count; i++) {
        (void)json_array_append_new(tags, json_pack("{s:s, s:s}", "Key", start->tags.items[i].key,
                                                    "Value", start->tags.items[i].value));
    }
    (void)json_object_set_new(body, "Tags", tags);
    SCOPED_FREE char *text = json_dumps(body, JSON_COMPACT);

    buf_puts(ret, text);
}

/* What the service says of the new snapshot; its id becomes a part of paths. */
static int read_started(const struct http_reply *reply, struct ebs_started *ret, struct error *err)
{
    SCOPED(json_decrefp)
    json_t *body = json_loadb(reply->body.data, reply->body.size, 0, NULL);
    const char *id = json_string_value(json_object_get(body, "SnapshotId"));
    const char *status = json_string_value(json_object_get(body, "Status"));
    json_int_t block_size = json_integer_value(json_object_get(body, "BlockSize"));

    if (id == NULL || !aws_is_id(id, "snap") || status == NULL) {
        return fail(err, FAIL_REMOTE, "StartSnapshot: the answer is none of the service's");
    }
    if (block_size != BLOCK_SIZE) {
        return fail(err, FAIL_REMOTE,
                    "StartSnapshot: the service wants blocks of %" JSON_INTEGER_FORMAT
                    " bytes, kiln has blocks of %u",
                    block_size, BLOCK_SIZE);
    }
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id);
    (void)snprintf(ret->status, sizeof(ret->status), "%s", status);
    return 0;
}

int ebs_start(const struct aws_service *ebs, const struct ebs_start *start, struct ebs_started *ret,
              struct aws_error *problem, struct error *err)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    /* Others are being written at this moment. */
    static const char *const retry[] = {"ConcurrentLimitExceededException", NULL};
    SCOPED(buf_done) struct buf body = {0};
    SCOPED(http_reply_done) struct http_reply reply = {0};

    ebs_start_body(start, &body);
    const struct aws_call call = {.method = "POST",
                                  .path = "/snapshots",
                                  .headers = headers,
                                  .body = body.data,
                                  .size = body.size,
                                  .retry_codes = retry};

    return send_call(ebs, &call, "StartSnapshot", &reply, problem, err) < 0
               ? -1
               : read_started(&reply, ret, err);
}

/* Of a snapshot that is not known everywhere yet. */
static const char *const young_codes[] = {"ResourceNotFoundException", NULL};

int ebs_put(const struct aws_service *ebs, const char *id, uint64_t block, const void *bytes,
            const uint8_t digest[HASH_SIZE], bool young, struct aws_error *problem,
            struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    char path[sizeof("/snapshots//blocks/") + AWS_ID_MAX + 20];
    char what[sizeof("PutSnapshotBlock of ") + AWS_ID_MAX];
    char checksum[sizeof("x-amz-Checksum: ") + BASE64_MAX], text[BASE64_MAX];
    const char *const headers[] = {"Content-Type: application/octet-stream",
                                   "x-amz-Data-Length: 524288", checksum,
                                   "x-amz-Checksum-Algorithm: SHA256", NULL};
    const struct aws_call call = {.method = "PUT",
                                  .path = path,
                                  .headers = headers,
                                  .body = bytes,
                                  .size = BLOCK_SIZE,
                                  .sha256 = digest,
                                  .retry_codes = young ? young_codes : NULL};

    _Static_assert(BLOCK_SIZE == 524288, "x-amz-Data-Length");
    (void)snprintf(path, sizeof(path), "/snapshots/%s/blocks/%" PRIu64, id, block);
    (void)snprintf(what, sizeof(what), "PutSnapshotBlock of %s", id);
    (void)snprintf(checksum, sizeof(checksum), "x-amz-Checksum: %s", base64(digest, text));
    return send_call(ebs, &call, what, &reply, problem, err);
}

void ebs_linear(const uint8_t (*digests)[HASH_SIZE], const uint64_t *blocks, size_t count,
                uint8_t ret[HASH_SIZE])
{
    SCOPED(hash_freep) struct hash *hash = hash_new();

    for (size_t i = 0; i < count; i++) {
        hash_add(hash, digests[blocks[i]], HASH_SIZE);
    }
    hash_end(hash, ret);
}

int ebs_complete(const struct aws_service *ebs, const char *id, size_t count,
                 const uint8_t linear[HASH_SIZE], bool young, struct aws_error *problem,
                 struct error *err)
{
    SCOPED(http_reply_done) struct http_reply reply = {0};
    char path[sizeof("/snapshots/completion/") + AWS_ID_MAX];
    char what[sizeof("CompleteSnapshot of ") + AWS_ID_MAX];
    char changed[sizeof("x-amz-ChangedBlocksCount: ") + 20];
    char checksum[sizeof("x-amz-Checksum: ") + BASE64_MAX], text[BASE64_MAX];
    const char *const headers[] = {changed, checksum, "x-amz-Checksum-Algorithm: SHA256",
                                   "x-amz-Checksum-Aggregation-Method: LINEAR", NULL};
    const struct aws_call call = {.method = "POST",
                                  .path = path,
                                  .headers = headers,
                                  .retry_codes = young ? young_codes : NULL};

    (void)snprintf(path, sizeof(path), "/snapshots/completion/%s", id);
    (void)snprintf(what, sizeof(what), "CompleteSnapshot of %s", id);
    (void)snprintf(changed, sizeof(changed), "x-amz-ChangedBlocksCount: %zu", count);
    (void)snprintf(checksum, sizeof(checksum), "x-amz-Checksum: %s", base64(linear, text));
    return send_call(ebs, &call, what, &reply, problem, err);
}
