/* SPDX-License-Identifier: Apache-2.0 */
#include "step/captured.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/file.h"
#include "base/output.h"
#include "base/pack.h"

#define LAYER_NAME "layer.tar.zst"
#define LOG_NAME "log"
#define ABOUT_NAME "about"

enum { ABOUT_LIMIT = 256 };

void captured_done(struct captured *captured)
{
    store_release(captured->found);
    free(captured->path);
    free(captured->log);
    *captured = (struct captured){0};
}

static int copy_into(int out, const char *from, const char *to, struct error *err)
{
    SCOPED_FD int in = open(from, O_RDONLY | O_CLOEXEC);
    struct stat st;

    return in < 0 || fstat(in, &st) < 0 ? fail_os(err, "copy '%s' to '%s'", from, to)
                                        : copy_sparse(in, out, (uint64_t)st.st_size, to, err);
}

int captured_copy(const char *from, const char *to, struct error *err)
{
    SCOPED_FD int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (out < 0) {
        return fail_os(err, "create '%s'", to);
    }
    if (copy_into(out, from, to, err) < 0) {
        return -1;
    }
    return close(TAKE_FD(out)) < 0 ? fail_os(err, "write '%s'", to) : 0;
}

/* --- the store ------------------------------------------------------------------------------ */

static void pack_about(const struct captured *captured, struct buf *out)
{
    pack_bytes(out, captured->digest, HASH_SIZE);
    pack_u64(out, captured->size);
}

static bool unpack_about(const struct store_found *found, struct captured *ret)
{
    SCOPED(buf_done) struct buf data = {0};
    struct error ignored = {0};
    struct unpack in;
    const void *digest;
    size_t digest_size;
    uint64_t size = 0;
    int fd = store_found_file(found, ABOUT_NAME, &size);

    if (fd < 0 || size > ABOUT_LIMIT ||
        file_pread(fd, buf_reserve(&data, size), size, 0, ABOUT_NAME, &ignored) < 0) {
        return false;
    }
    in = (struct unpack){(const uint8_t *)data.data, (const uint8_t *)data.data + size, false};
    if (!unpack_bytes(&in, &digest, &digest_size) || digest_size != HASH_SIZE) {
        return false;
    }
    memcpy(ret->digest, digest, HASH_SIZE);
    ret->size = unpack_u64(&in);
    return !in.bad;
}

int captured_find(const struct store *store, const uint8_t key[HASH_SIZE], bool verify,
                  struct captured *ret)
{
    SCOPED(store_releasep) struct store_found *found = NULL;
    struct error ignored = {0};

    if (store == NULL || store_find(store, STORE_LAYERS, key, verify, &found, &ignored) <= 0 ||
        !unpack_about(found, ret)) {
        return 0;
    }
    ret->path = store_found_path(found, LAYER_NAME);
    ret->log = store_found_path(found, LOG_NAME);
    ret->found = TAKE(found);
    return 1;
}

int captured_keep(const struct store *store, const uint8_t key[HASH_SIZE],
                  const struct captured *captured, struct error *err)
{
    static const struct store_file files[] = {
        {LAYER_NAME, NULL}, {LOG_NAME, NULL}, {ABOUT_NAME, NULL}};
    SCOPED(store_entry_freep) struct store_entry *entry = NULL;
    SCOPED_FREE char *layer = NULL, *log = NULL, *about = NULL;
    SCOPED(buf_done) struct buf text = {0};

    if (store_begin(store, STORE_LAYERS, key, NULL, &entry, err) < 0) {
        return -1;
    }
    layer = file_join(store_entry_path(entry), LAYER_NAME);
    log = file_join(store_entry_path(entry), LOG_NAME);
    about = file_join(store_entry_path(entry), ABOUT_NAME);
    pack_about(captured, &text);
    if (captured_copy(captured->path, layer, err) < 0 ||
        (captured->log != NULL ? captured_copy(captured->log, log, err)
                               : file_write(log, "", 0, err)) < 0 ||
        file_write(about, text.data, text.size, err) < 0) {
        return -1;
    }
    return store_commit(entry, files, COUNT(files), err);
}

/* --- directories ---------------------------------------------------------------------------- */

static char *name_in(const char *directory, const uint8_t key[HASH_SIZE])
{
    char hex[HASH_HEX_MAX];

    return xprintf("%s/%s.tar.zst", directory, hash_hex(key, hex));
}

int captured_import(const char *directory, const uint8_t key[HASH_SIZE], struct captured *ret,
                    struct error *err)
{
    SCOPED_FREE char *path = name_in(directory, key);

    if (access(path, F_OK) < 0) {
        return errno == ENOENT ? 0 : fail_os(err, "open '%s'", path);
    }
    if (layer_measure(path, ret->digest, &ret->size, err) < 0) {
        return -1;
    }
    ret->path = TAKE(path);
    return 1;
}

int captured_export(const char *directory, const uint8_t key[HASH_SIZE],
                    const struct captured *captured, struct error *err)
{
    SCOPED_FREE char *path = name_in(directory, key);
    SCOPED(output_done) struct output output = {0};

    return file_make_dirs(directory, err) < 0 || output_open(&output, path, err) < 0 ||
                   copy_into(output.fd, captured->path, path, err) < 0
               ? -1
               : output_commit(&output, err);
}
