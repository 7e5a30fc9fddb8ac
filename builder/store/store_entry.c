/* SPDX-License-Identifier: Apache-2.0 */
/* Layers and states being written. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/partial.h"
#include "base/text.h"
#include "store/store_internal.h"

_Static_assert((int)STORE_FILES_MAX == (int)RECORD_FILES_MAX,
               "what can be written can be recorded");

struct store_entry {
    const struct store *store;
    enum store_kind kind;
    char key[HASH_HEX_MAX];
    char *group; /* "": none */
    char *path;  /* NULL: it is in its place */
    int lock;
};

int store_begin(const struct store *store, enum store_kind kind, const uint8_t key[HASH_SIZE],
                const char *group, struct store_entry **ret, struct error *err)
{
    SCOPED(store_entry_freep) struct store_entry *entry = xcalloc(1, sizeof(*entry));
    SCOPED_FREE char *path = NULL;
    struct error ignored = {0};

    assert(store_has_entries(kind));
    entry->store = store;
    entry->kind = kind;
    entry->lock = -1;
    entry->group = xstrdup(group != NULL ? group : "");
    if (!record_is_group(entry->group)) {
        return fail(err, FAIL_ERROR, "'%s' cannot be recorded in the store", group);
    }
    (void)store_sweep(store, &ignored);
    path = xprintf("%s/%s" PARTIAL_TEMPLATE, store->dirs[kind], hash_hex(key, entry->key));
    if (mkdtemp(path) == NULL) {
        return fail_os(err, "make a directory in '%s'", store->dirs[kind]);
    }
    entry->path = TAKE(path);
    if (partial_lock(entry->path, &entry->lock, err) < 0) {
        return -1;
    }
    *ret = TAKE(entry);
    return 0;
}

const char *store_entry_path(const struct store_entry *entry)
{
    return entry->path;
}

static int hash_disk(int fd, struct blocks *blocks, const char *name, struct record_file *ret,
                     struct error *err)
{
    size_t size = blocks_count(blocks) * HASH_SIZE;

    if (blocks_complete(blocks, fd, name, NULL, NULL, err) < 0) {
        return -1;
    }
    ret->blocks = xmalloc(size + 1);
    memcpy(ret->blocks, blocks_all(blocks), size);
    return 0;
}

static int add_file(const struct store_entry *entry, const struct store_file *file,
                    struct record *record, struct error *err)
{
    SCOPED_FREE char *path = file_join(entry->path, file->name);
    SCOPED_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct record_file *to = &record->files[record->count];
    struct stat st;

    assert(record_is_name(file->name) && strcmp(file->name, ENTRY_NAME) != 0 &&
           strcmp(file->name, BOOT_NAME) != 0);
    if (fd < 0) {
        return fail_os(err, "open '%s'", path);
    }
    if (fstat(fd, &st) < 0) {
        return fail_os(err, "stat '%s'", path);
    }
    (void)snprintf(to->name, sizeof(to->name), "%s", file->name);
    record_identify(&st, &to->identity);
    record->count++;
    return file->blocks != NULL ? hash_disk(fd, file->blocks, path, to, err)
                                : file_hash(fd, path, to->digest, err);
}

/* The boot comes first: an entry with a record is complete. */
static int write_record(const struct store_entry *entry, const struct record *record,
                        struct error *err)
{
    SCOPED_FREE char *boot = store_boot_id(), *boot_path = file_join(entry->path, BOOT_NAME);
    SCOPED_FREE char *path = file_join(entry->path, ENTRY_NAME);
    SCOPED(buf_done) struct buf data = {0};
    struct timespec times[2];

    if (boot != NULL && file_write(boot_path, boot, strlen(boot), err) < 0) {
        return -1;
    }
    record_pack(record, &data);
    if (blob_write(path, entry->kind, entry->key, data.data, data.size, err) < 0) {
        return -1;
    }
    times[0] = times[1] = store_now();
    return utimensat(AT_FDCWD, path, times, 0) < 0 ? fail_os(err, "mark '%s' as used", path) : 0;
}

static int record_files(const struct store_entry *entry, const struct store_file *files,
                        size_t count, struct record *record, struct error *err)
{
    assert(count <= RECORD_FILES_MAX);
    record->group = xstrdup(entry->group);
    for (size_t i = 0; i < count; i++) {
        if (add_file(entry, &files[i], record, err) < 0) {
            return -1;
        }
    }
    return write_record(entry, record, err);
}

static int check_size(const struct store_entry *entry, struct error *err)
{
    uint64_t size = store_allocated_in(entry->path);
    char is[TEXT_SIZE_MAX], may[TEXT_SIZE_MAX];

    return size <= STORE_MAX_BYTES ? 0
                                   : fail(err, FAIL_ERROR, "it takes %s; the store keeps %s in all",
                                          text_size(size, is), text_size(STORE_MAX_BYTES, may));
}

/* A directory never replaces one with something in it, and every entry has: the first one stays. */
static int put_in_place(struct store_entry *entry, struct error *err)
{
    SCOPED_FREE char *path = file_join(entry->store->dirs[entry->kind], entry->key);

    if (rename(entry->path, path) < 0) {
        return errno == EEXIST || errno == ENOTEMPTY
                   ? 0
                   : fail_os(err, "rename '%s' to '%s'", entry->path, path);
    }
    free(TAKE(entry->path));
    scope_fd(&entry->lock);
    entry->lock = -1;
    return 0;
}

int store_commit(struct store_entry *entry, const struct store_file *files, size_t count,
                 struct error *err)
{
    static const struct store_limits limits = {STORE_MAX_BYTES, STORE_STATES_PER_GROUP};
    struct store_removed removed;
    struct record record = {0};
    struct error ignored = {0};
    int result = record_files(entry, files, count, &record, err);

    record_done(&record);
    if (result < 0 || check_size(entry, err) < 0 || put_in_place(entry, err) < 0) {
        return fail_while(err, "save in the store");
    }
    (void)store_collect(entry->store, &limits, &removed, &ignored);
    return 0;
}

void store_entry_free(struct store_entry *entry)
{
    struct error ignored = {0};

    if (entry == NULL) {
        return;
    }
    if (entry->path != NULL) {
        (void)file_remove_tree(entry->path, &ignored);
    }
    scope_fd(&entry->lock);
    free(entry->group);
    free(entry->path);
    free(entry);
}
