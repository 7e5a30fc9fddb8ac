/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/learn.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/pack.h"

bool learn_before(const struct store *store, const char *path, uint8_t ret[HASH_SIZE],
                  uint64_t *ret_size)
{
    struct stat st;

    if (stat(path, &st) < 0 || !store_digest_get(store, &st, ret)) {
        return false;
    }
    *ret_size = (uint64_t)st.st_size;
    return true;
}

int learn_now(const struct store *store, const char *path, uint8_t ret[HASH_SIZE],
              uint64_t *ret_size, struct error *err)
{
    SCOPED_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct error ignored = {0};
    int64_t began_s = (int64_t)time(NULL);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return fail_os(err, "open '%s'", path);
    }
    if (file_hash(fd, path, ret, err) < 0) {
        return -1;
    }
    if (store != NULL) {
        (void)store_digest_put(store, fd, &st, began_s, ret, &ignored);
    }
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

int learn_file(const struct store *store, const char *path, uint8_t ret[HASH_SIZE],
               uint64_t *ret_size, struct error *err)
{
    return store != NULL && learn_before(store, path, ret, ret_size)
               ? 0
               : learn_now(store, path, ret, ret_size, err);
}

int learn_layer(const struct store *store, struct layer *layer, struct error *err)
{
    const char *path = layer_archive(layer);
    uint8_t digest[HASH_SIZE];
    uint64_t size = 0;

    if (path == NULL) {
        return layer_learn(layer, err) < 0 ? -1 : 0;
    }
    return learn_file(store, path, digest, &size, err) < 0 ? -1
                                                           : layer_assume(layer, digest, size, err);
}

/* --- times ------------------------------------------------------------------------------- */

static void newest_key(const struct layer *layer, uint8_t ret[HASH_SIZE])
{
    static const char format[] = "kiln newest 1";
    SCOPED(hash_freep) struct hash *hash = hash_new();
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    layer_digest(layer, digest, &size);
    hash_add(hash, format, sizeof(format));
    hash_add(hash, digest, sizeof(digest));
    hash_end(hash, ret);
}

static bool recall_newest(const struct store *store, const uint8_t key[HASH_SIZE], int64_t *ret)
{
    SCOPED(buf_done) struct buf data = {0};
    struct unpack in;

    if (store == NULL || !store_get(store, STORE_CORES, key, sizeof(uint64_t), &data)) {
        return false;
    }
    in = (struct unpack){(const uint8_t *)data.data, (const uint8_t *)data.data + data.size, false};
    *ret = (int64_t)unpack_u64(&in);
    return !in.bad;
}

int learn_newest(const struct store *store, struct layer *layer, int64_t *ret, struct error *err)
{
    SCOPED(buf_done) struct buf data = {0};
    struct error ignored = {0};
    uint8_t key[HASH_SIZE];

    newest_key(layer, key);
    if (layer_untimed(layer) || recall_newest(store, key, ret)) {
        *ret = layer_untimed(layer) ? -1 : *ret;
        return 0;
    }
    if (layer_newest(layer, ret, err) < 0) {
        return -1;
    }
    pack_u64(&data, (uint64_t)*ret);
    if (store != NULL) {
        (void)store_put(store, STORE_CORES, key, data.data, data.size, &ignored);
    }
    return 0;
}
