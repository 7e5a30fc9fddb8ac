/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "store/store_internal.h"

/* FAT keeps times to 2 seconds, and nothing we read layers from is coarser. */
enum { RACY_SECONDS = 2 };

/*
 * The boot is in the key: a power cut may keep a file's times and lose its bytes, and the clock may
 * be another one afterwards. False: it is not known.
 */
static bool make_key(const struct stat *st, uint8_t ret[HASH_SIZE])
{
    SCOPED_FREE char *boot = store_boot_id(), *text = NULL;

    if (boot == NULL) {
        return false;
    }
    text = xprintf("file digest 1\n%llu %llu %lld %lld.%09ld %lld.%09ld\n%s",
                   (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
                   (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
                   (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec, boot);
    hash_bytes(text, strlen(text), ret);
    return true;
}

/* True when the times of a file come from another machine's clock. */
static bool is_remote(int fd)
{
    static const unsigned long remote[] = {NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC,
                                           CIFS_SUPER_MAGIC, V9FS_MAGIC,      FUSE_SUPER_MAGIC,
                                           CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC, CODA_SUPER_MAGIC};
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0) {
        return true;
    }
    for (size_t i = 0; i < COUNT(remote); i++) {
        if (((unsigned long)fs.f_type & 0xffffffff) == remote[i]) {
            return true;
        }
    }
    return false;
}

/*
 * A write gives a file the change time "now", as coarse as its file system counts. So a write that
 * comes after the first byte was hashed shows in the times, unless they said that same moment
 * before. Hence the file must have been at rest for longer than times are coarse when the hashing
 * began; the moment of remembering tells nothing, for hashing takes its time. Times in the future
 * are never at rest. (What this leaves: a program that writes through a mapping it had dirtied
 * before, and a clock set back by somebody who then writes the same nanosecond.)
 */
static bool was_at_rest(const struct stat *st, int64_t began_s)
{
    return st->st_mtim.tv_sec < began_s - RACY_SECONDS &&
           st->st_ctim.tv_sec < began_s - RACY_SECONDS;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    struct record_identity one, other;

    record_identify(a, &one);
    record_identify(b, &other);
    return a->st_dev == b->st_dev && record_same(&one, &other);
}

bool store_digest_get(const struct store *store, const struct stat *st, uint8_t ret[HASH_SIZE])
{
    SCOPED(buf_done) struct buf data = {0};
    uint8_t key[HASH_SIZE];

    if (!make_key(st, key) || !store_get(store, STORE_DIGESTS, key, HASH_SIZE, &data) ||
        data.size != HASH_SIZE) {
        return false;
    }
    memcpy(ret, data.data, HASH_SIZE);
    return true;
}

int store_digest_put(const struct store *store, int fd, const struct stat *before, int64_t began_s,
                     const uint8_t digest[HASH_SIZE], struct error *err)
{
    uint8_t key[HASH_SIZE];
    struct stat now;

    if (fstat(fd, &now) < 0) {
        return fail_os(err, "stat a file to remember its digest");
    }
    if (!S_ISREG(now.st_mode) || !is_same(before, &now) || !was_at_rest(&now, began_s) ||
        is_remote(fd) || !make_key(&now, key)) {
        return 0;
    }
    return store_put(store, STORE_DIGESTS, key, digest, HASH_SIZE, err) < 0 ? -1 : 1;
}
