/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/survey.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/le.h"
#include "base/stop.h"
#include "capture/xattrs.h"

/* What a layer may hold at most (layer/tree.h). */
static const struct tree_limits USUAL = {.paths = 8 << 20, .depth = 256};

enum {
    PATH_BYTES = 4096,
    TARGET_BYTES = 4095,
    NS = 1000000000,
    EXTRA_MIN = 32, /* bytes of an inode behind the first 128: what kiln and Linux give it */
    DIRENT = 8,     /* without the name */
    DIRENT_MIN = 12,
    SHARD = 4096, /* inodes that are looked up in one table */
};

/* What makes the content of an inode something else than its blocks are. */
static const uint32_t STRANGE =
    EXT4_ENCRYPT_FL | EXT4_VERITY_FL | EXT4_EA_INODE_FL | EXT4_INLINE_DATA_FL | EXT4_CASEFOLD_FL;

struct surveyor {
    struct scratch *scratch;
    struct survey *survey;
    struct tree_limits limits;
    int64_t epoch;
    struct found ***shards; /* by number / SHARD, then number % SHARD */
    struct found *last;
    struct buf path; /* of what is being read, without a leading slash */
    size_t paths;
};

/* --- an inode -------------------------------------------------------------------------------- */

static int read_time(uint32_t low, uint32_t extra, int64_t *ret, uint32_t *ret_ns,
                     struct error *err)
{
    *ret = (int64_t)(int32_t)low + ((int64_t)(extra & 3) << 32);
    *ret_ns = extra >> 2;
    return *ret_ns < NS ? 0 : fail(err, FAIL_ERROR, "a time with %u nanoseconds", *ret_ns);
}

static int read_times(const struct surveyor *surveyor, const struct ext2_inode_large *fields,
                      struct found *found, struct error *err)
{
    struct entry *entry = &found->entry;

    if (read_time(fields->i_mtime, fields->i_mtime_extra, &entry->mtime, &entry->mtime_ns, err) <
            0 ||
        read_time(fields->i_ctime, fields->i_ctime_extra, &found->ctime, &found->ctime_ns, err) <
            0) {
        return -1;
    }
    if (entry->mtime >= surveyor->epoch) {
        entry->mtime = surveyor->epoch;
        entry->mtime_ns = 0;
    }
    return 0;
}

static int read_type(uint32_t mode, struct found *found, struct error *err)
{
    static const struct {
        uint32_t bits;
        enum entry_type type;
    } types[] = {
        {S_IFREG, ENTRY_FILE},  {S_IFDIR, ENTRY_DIRECTORY}, {S_IFLNK, ENTRY_SYMLINK},
        {S_IFBLK, ENTRY_BLOCK}, {S_IFCHR, ENTRY_CHARACTER}, {S_IFIFO, ENTRY_FIFO},
    };

    found->socket = S_ISSOCK(mode);
    for (size_t i = 0; i < COUNT(types); i++) {
        if (types[i].bits == (mode & S_IFMT)) {
            found->entry.type = types[i].type;
            return 0;
        }
    }
    found->entry.type = ENTRY_FIFO; /* a socket: nobody will look */
    return found->socket ? 0 : fail(err, FAIL_ERROR, "an inode of unknown type 0%o", mode & S_IFMT);
}

/* The encodings of include/linux/kdev_t.h: the old one where it is not zero. */
static void read_device(const struct ext2_inode_large *fields, struct entry *entry)
{
    uint32_t old = fields->i_block[0], new = fields->i_block[1];

    if (old != 0) {
        entry->major = old >> 8 & 0xff;
        entry->minor = old & 0xff;
    } else {
        entry->major = new >> 8 & 0xfff;
        entry->minor = (new & 0xff) | (new >> 12 & 0xfff00);
    }
}

/* The block of a target that is too long for the inode. */
static int read_target_block(struct surveyor *surveyor, struct found *found,
                             struct scratch_inode *inode, char *ret, struct error *err)
{
    SCOPED_FREE struct piece *pieces = NULL;
    size_t count;

    if (scratch_pieces(surveyor->scratch, found->number, inode, &pieces, &count, err) < 0) {
        return -1;
    }
    if (count != 1 || pieces[0].logical != 0 || pieces[0].count != 1) {
        return fail(err, FAIL_ERROR, "a symlink of other blocks than one");
    }
    return scratch_block(surveyor->scratch, pieces[0].block, ret, err);
}

static int read_target(struct surveyor *surveyor, struct found *found, struct scratch_inode *inode,
                       struct error *err)
{
    SCOPED_FREE char *block = xcalloc(1, VOLUME_BLOCK);
    size_t size = inode->fields.i_size;

    if (size == 0 || size > TARGET_BYTES || inode->fields.i_size_high != 0) {
        return fail(err, FAIL_ERROR, "a symlink to %zu bytes", size);
    }
    if (size < sizeof(inode->fields.i_block)) {
        memcpy(block, inode->fields.i_block, size);
    } else if (read_target_block(surveyor, found, inode, block, err) < 0) {
        return -1;
    }
    block[size] = '\0';
    found->entry.target = xstrdup(block);
    return strlen(block) == size ? 0 : fail(err, FAIL_ERROR, "a symlink to a name with a NUL");
}

static int read_special(struct surveyor *surveyor, struct found *found, struct scratch_inode *inode,
                        struct error *err)
{
    struct entry *entry = &found->entry;

    switch (entry->type) {
    case ENTRY_FILE:
        entry->size = (uint64_t)inode->fields.i_size_high << 32 | inode->fields.i_size;
        return entry->size <= (uint64_t)UINT32_MAX * VOLUME_BLOCK
                   ? 0
                   : fail(err, FAIL_ERROR, "a file of %llu bytes", (unsigned long long)entry->size);
    case ENTRY_SYMLINK:
        return read_target(surveyor, found, inode, err);
    case ENTRY_CHARACTER:
    case ENTRY_BLOCK:
        read_device(&inode->fields, entry);
        return 0;
    default:
        return 0;
    }
}

static int check_inode(const struct ext2_inode_large *fields, struct error *err)
{
    if (fields->i_extra_isize < EXTRA_MIN ||
        fields->i_extra_isize > VOLUME_INODE - EXT2_GOOD_OLD_INODE_SIZE ||
        fields->i_extra_isize % 4 != 0) {
        return fail(err, FAIL_ERROR, "an inode with %u bytes more than the smallest",
                    fields->i_extra_isize);
    }
    return (fields->i_flags & STRANGE) == 0
               ? 0
               : fail(err, FAIL_ERROR, "an inode with flags 0x%x", fields->i_flags);
}

static int decode(struct surveyor *surveyor, struct found *found, struct scratch_inode *inode,
                  struct error *err)
{
    const struct ext2_inode_large *fields = &inode->fields;
    struct entry *entry = &found->entry;
    struct xattr *xattrs;

    if (check_inode(fields, err) < 0 || read_type(fields->i_mode, found, err) < 0 ||
        read_times(surveyor, fields, found, err) < 0 ||
        read_special(surveyor, found, inode, err) < 0 ||
        xattrs_read(surveyor->scratch, inode, &xattrs, &entry->xattr_count, err) < 0) {
        return -1;
    }
    entry->xattrs = xattrs;
    entry->mode = fields->i_mode & 07777;
    entry->uid = (uint32_t)fields->osd2.linux2.l_i_uid_high << 16 | fields->i_uid;
    entry->gid = (uint32_t)fields->osd2.linux2.l_i_gid_high << 16 | fields->i_gid;
    return 0;
}

static struct found **slot_of(struct surveyor *surveyor, uint32_t number)
{
    struct found ***shard = &surveyor->shards[number / SHARD];

    if (*shard == NULL) {
        *shard = xcalloc(SHARD, sizeof(**shard));
    }
    return &(*shard)[number % SHARD];
}

/* The inode with this number, read when it is met first; NULL on error. */
static struct found *find_inode(struct surveyor *surveyor, uint32_t number, struct error *err)
{
    struct scratch_inode inode;
    struct found **slot, *found;

    if (number > scratch_inodes(surveyor->scratch)) {
        fail(err, FAIL_ERROR, "inode number %u", number);
        return NULL;
    }
    slot = slot_of(surveyor, number);
    if (*slot != NULL) {
        return *slot;
    }
    if (scratch_inode(surveyor->scratch, number, &inode, err) < 0) {
        return NULL;
    }
    found = xcalloc(1, sizeof(*found));
    found->number = number;
    if (surveyor->last != NULL) {
        surveyor->last->next = found;
    } else {
        surveyor->survey->first = found;
    }
    surveyor->last = *slot = found;
    return decode(surveyor, found, &inode, err) < 0 ? NULL : found;
}

/* --- a directory ----------------------------------------------------------------------------- */

/* Names of a directory as they come. */
struct listing {
    struct spot **items;
    size_t count, space;
};

static struct spot *new_spot(struct spot *parent, const char *name, size_t length)
{
    struct spot *spot = xmalloc(sizeof(*spot) + length + 1);

    *spot = (struct spot){.parent = parent, .length = (uint8_t)length};
    memcpy(spot->name, name, length);
    spot->name[length] = '\0';
    return spot;
}

static void add_to_path(struct surveyor *surveyor, const struct spot *spot)
{
    buf_printf(&surveyor->path, "%s%s", surveyor->path.size != 0 ? "/" : "", spot->name);
}

static bool is_dots(const char *name, size_t length)
{
    return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

static int fail_directory(struct error *err)
{
    return fail(err, FAIL_ERROR, "its list of names makes no sense");
}

/* Name number PLACE of the directory: the first two are itself and the one above. */
static int add_name(struct surveyor *surveyor, struct spot *spot, size_t place,
                    const uint8_t *dirent, struct listing *listing, struct error *err)
{
    const struct found *above = (spot->parent != NULL ? spot->parent : spot)->found;
    const char *name = (const char *)dirent + DIRENT;
    size_t length = dirent[6];
    struct spot *child;

    if (place < 2) {
        uint32_t number = place == 0 ? spot->found->number : above->number;

        return get32(dirent) == number && is_dots(name, length) && length == place + 1
                   ? 0
                   : fail_directory(err);
    }
    if (length == 0 || is_dots(name, length) || memchr(name, '/', length) != NULL ||
        memchr(name, '\0', length) != NULL) {
        return fail(err, FAIL_ERROR, "a name that no file can have is in it");
    }
    if (++surveyor->paths > surveyor->limits.paths) {
        return fail(err, FAIL_ERROR, "more than %zu paths, which is the limit",
                    surveyor->limits.paths);
    }
    child = new_spot(spot, name, length);
    grow(&listing->items, listing->count, &listing->space, sizeof(struct spot *));
    listing->items[listing->count++] = child;
    child->found = find_inode(surveyor, get32(dirent), err);
    if (child->found == NULL) {
        add_to_path(surveyor, child);
        return -1;
    }
    return 0;
}

/* PLACE counts the names so far. */
static int read_names(struct surveyor *surveyor, struct spot *spot, const uint8_t *block,
                      size_t *place, struct listing *listing, struct error *err)
{
    for (size_t at = 0; at < VOLUME_BLOCK;) {
        const uint8_t *dirent = block + at;
        size_t left = VOLUME_BLOCK - at, length = left >= DIRENT_MIN ? get16(dirent + 4) : 0;

        if (length < DIRENT_MIN || length % 4 != 0 || length > left ||
            (size_t)DIRENT + dirent[6] > length) {
            return fail_directory(err);
        }
        if (get32(dirent) != 0 && add_name(surveyor, spot, (*place)++, dirent, listing, err) < 0) {
            return -1;
        }
        at += length;
    }
    return 0;
}

static int read_blocks(struct surveyor *surveyor, struct spot *spot, const struct piece *pieces,
                       size_t count, uint64_t size, struct listing *listing, struct error *err)
{
    SCOPED_FREE uint8_t *block = xmalloc(VOLUME_BLOCK);
    uint64_t done = 0;
    size_t place = 0;

    for (size_t i = 0; i < count; i++) {
        for (uint64_t n = 0; n < pieces[i].count; n++, done++) {
            if (pieces[i].logical + n != done || pieces[i].block == 0) {
                return fail_directory(err);
            }
            if (stop_check(err) < 0 ||
                scratch_block(surveyor->scratch, pieces[i].block + n, block, err) < 0 ||
                read_names(surveyor, spot, block, &place, listing, err) < 0) {
                return -1;
            }
        }
    }
    return done * VOLUME_BLOCK == size && place >= 2 ? 0 : fail_directory(err);
}

static int by_name(const void *a, const void *b)
{
    const struct spot *x = *(struct spot *const *)a, *y = *(struct spot *const *)b;
    int order = memcmp(x->name, y->name, x->length < y->length ? x->length : y->length);

    return order != 0 ? order : (int)x->length - (int)y->length;
}

static int sort(struct spot *spot, struct error *err)
{
    if (spot->child_count != 0) {
        qsort(spot->children, spot->child_count, sizeof(struct spot *), by_name);
    }
    for (size_t i = 1; i < spot->child_count; i++) {
        if (by_name(&spot->children[i - 1], &spot->children[i]) == 0) {
            return fail(err, FAIL_ERROR, "the name '%s' is in it twice", spot->children[i]->name);
        }
    }
    return 0;
}

static int list(struct surveyor *surveyor, struct spot *spot, struct error *err)
{
    SCOPED_FREE struct piece *pieces = NULL;
    struct listing listing = {0};
    struct scratch_inode inode;
    size_t count;
    int result = -1;

    if (scratch_inode(surveyor->scratch, spot->found->number, &inode, err) == 0 &&
        scratch_pieces(surveyor->scratch, spot->found->number, &inode, &pieces, &count, err) == 0) {
        uint64_t size = (uint64_t)inode.fields.i_size_high << 32 | inode.fields.i_size;

        result = read_blocks(surveyor, spot, pieces, count, size, &listing, err);
    }
    spot->children = listing.items;
    spot->child_count = listing.count;
    return result < 0 ? -1 : sort(spot, err);
}

/* --- all of them ----------------------------------------------------------------------------- */

static int survey_directory(struct surveyor *surveyor, struct spot *spot, size_t depth,
                            const struct noise *noise, struct error *err);

/* A name is a name of its inode, in the order of the walk. */
static int link_name(struct spot *spot, struct error *err)
{
    struct found *found = spot->found;

    if (found->last == NULL) {
        found->first = spot;
    } else if (found->entry.type == ENTRY_DIRECTORY) {
        return fail(err, FAIL_ERROR, "a directory that has another name already");
    } else {
        found->last->same = spot;
    }
    found->last = spot;
    return 0;
}

static int fail_at(const struct surveyor *surveyor, struct error *err)
{
    return fail_while(err, "'/%s'", surveyor->path.size != 0 ? surveyor->path.data : "");
}

static int check_path(const struct surveyor *surveyor, size_t depth, struct error *err)
{
    return depth <= surveyor->limits.depth && surveyor->path.size <= PATH_BYTES
               ? 0
               : fail(err, FAIL_ERROR,
                      "a path of %zu components and %zu bytes, the limits are %zu and %d", depth,
                      surveyor->path.size, surveyor->limits.depth, PATH_BYTES);
}

static int survey_child(struct surveyor *surveyor, struct spot *spot, size_t depth,
                        const struct noise *above, struct error *err)
{
    SCOPED(noise_done) struct noise noise = {0};
    bool directory = spot->found->entry.type == ENTRY_DIRECTORY;

    spot->left_out =
        noise_enter(above, spot->name, directory ? &noise : NULL) || spot->found->socket;
    if (spot->left_out) {
        return 0;
    }
    if (check_path(surveyor, depth, err) < 0 || link_name(spot, err) < 0) {
        return fail_at(surveyor, err);
    }
    return directory ? survey_directory(surveyor, spot, depth, &noise, err) : 0;
}

static int survey_directory(struct surveyor *surveyor, struct spot *spot, size_t depth,
                            const struct noise *noise, struct error *err)
{
    size_t length = surveyor->path.size;

    if (list(surveyor, spot, err) < 0) {
        return fail_at(surveyor, err);
    }
    for (size_t i = 0; i < spot->child_count; i++) {
        struct spot *child = spot->children[i];

        add_to_path(surveyor, child);
        if (survey_child(surveyor, child, depth + 1, noise, err) < 0) {
            return -1;
        }
        surveyor->path.size = length;
    }
    return 0;
}

static int survey_root(struct surveyor *surveyor, const struct noise *noise, struct error *err)
{
    struct spot *root = surveyor->survey->root = new_spot(NULL, "", 0);

    root->found = find_inode(surveyor, VOLUME_ROOT, err);
    if (root->found == NULL) {
        return fail_at(surveyor, err);
    }
    if (root->found->entry.type != ENTRY_DIRECTORY) {
        return fail(err, FAIL_ERROR, "its root is not a directory");
    }
    return link_name(root, err) < 0 ? -1 : survey_directory(surveyor, root, 0, noise, err);
}

static void free_shards(struct surveyor *surveyor, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(surveyor->shards[i]);
    }
    free(surveyor->shards);
}

int survey_read(struct scratch *scratch, const struct noise *noise, int64_t epoch,
                const struct tree_limits *limits, struct survey **ret, struct error *err)
{
    SCOPED(survey_freep) struct survey *survey = xcalloc(1, sizeof(*survey));
    size_t shards = scratch_inodes(scratch) / SHARD + 1;
    struct surveyor surveyor = {
        .scratch = scratch,
        .survey = survey,
        .limits = limits != NULL ? *limits : USUAL,
        .epoch = epoch,
        .shards = xcalloc(shards, sizeof(struct found **)),
    };
    int result = survey_root(&surveyor, noise, err);

    free_shards(&surveyor, shards);
    buf_done(&surveyor.path);
    if (result < 0) {
        return -1;
    }
    *ret = TAKE(survey);
    return 0;
}

static void free_spot(struct spot *spot)
{
    if (spot == NULL) {
        return;
    }
    for (size_t i = 0; i < spot->child_count; i++) {
        free_spot(spot->children[i]);
    }
    free(spot->children);
    free(spot->gone);
    free(spot);
}

void survey_free(struct survey *survey)
{
    if (survey == NULL) {
        return;
    }
    free_spot(survey->root);
    for (struct found *found = survey->first, *next; found != NULL; found = next) {
        next = found->next;
        xattrs_free((struct xattr *)found->entry.xattrs, found->entry.xattr_count);
        free((char *)found->entry.target);
        free(found);
    }
    free(survey);
}
