/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "capture/capture.h"

#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#include "image.h"

static const char PARTITION[] = "{name: root, type: root, filesystem: ext4, size: 64MiB, mount: /}";

/* --- what the step found, and what it left --------------------------------------------------- */

/*
 * Two images that begin alike: the tree of the first is what was there before, the disk of the
 * second what the step left.
 */
struct pair {
    struct image before, after;
    struct capture_result result;
    struct error err;
};

static void pair_new(struct pair *pair, void (*fill)(struct image *image, void *data), void *data)
{
    memset(pair, 0, sizeof(*pair));
    image_new(&pair->before, "before.img", "1GiB", PARTITION);
    image_new(&pair->after, "after.img", "1GiB", PARTITION);
    fill(&pair->before, data);
    fill(&pair->after, data);
    image_layer(&pair->before);
    image_layer(&pair->after);
    tree_settle(pair->before.stack.tree, EPOCH);
}

static void pair_done(struct pair *pair)
{
    image_done(&pair->before);
    image_done(&pair->after);
}

static int try_capture(struct pair *pair, const char *const *leave_out, size_t count)
{
    const struct plan_partition *part = &pair->after.plan->partitions[0];
    const struct capture_job job = {
        .disk = pair->after.disk.path,
        .offset_bytes = part->offset_bytes,
        .size_bytes = part->size_bytes,
        .tree = pair->before.stack.tree,
        .epoch = EPOCH,
        .leave_out = leave_out,
        .leave_out_count = count,
        .step = "s",
        .out = "layer.tar.zst",
    };

    (void)unlink("layer.tar.zst");
    return capture(&job, &pair->result, &pair->err);
}

static void must_capture(struct pair *pair)
{
    if (try_capture(pair, NULL, 0) < 0) {
        fail_msg("%s", pair->err.message);
    }
}

/* The disk of AFTER is written, nothing more is added. */
static void pair_finish(struct pair *pair)
{
    if (image_try_finish(&pair->after) < 0) {
        fail_msg("%s", pair->after.err.message);
    }
}

/* What the step would have done with debugfs, one request a line. */
static void edit(struct pair *pair, const char *requests)
{
    SCOPED_FREE char *part = image_part(&pair->after, 1), *text = NULL;
    struct error err = {0};

    assert_int_equal(file_write("requests", requests, strlen(requests), &err), 0);
    text = RUN("debugfs", "-w", "-f", "requests", part);
}

/* A kernel has changed the inode at PATH: its ctime is another. */
static void touch(struct pair *pair, const char *path)
{
    SCOPED_FREE char *request = xprintf(
        "set_inode_field %s ctime @%d\nset_inode_field %s ctime_extra 4\n", path, EPOCH, path);

    edit(pair, request);
}

/* --- what the layer says --------------------------------------------------------------------- */

/* Entries of the layer, told in lines: path, type, and what a type has. */
static char *listing(void)
{
    static const char *const script =
        "import sys,tarfile,subprocess,io\n"
        "raw=subprocess.run(['zstd','-dcq','layer.tar.zst'],stdout=subprocess.PIPE,check=True)"
        ".stdout\n"
        "for m in tarfile.open(fileobj=io.BytesIO(raw)):\n"
        "  t={b'0':'f',b'1':'h',b'2':'l',b'3':'c',b'4':'b',b'5':'d',b'6':'p'}[m.type]\n"
        "  s=m.name+(' %s %04o'%(t,m.mode))+(' >'+m.linkname if m.linkname else '')\n"
        "  print(s+(' %d'%m.size if t=='f' else ''))\n";

    return RUN("env", "python3", "-c", script);
}

static void must_list(const char *expected)
{
    SCOPED_FREE char *found = listing();

    assert_string_equal(found, expected);
}

/* Folds the layer onto TREE as a build does; digests of files included. */
static void fold(struct tree *tree)
{
    struct profile_layer spec = {
        .kind = LAYER_ARCHIVE, .name = (char *)"layer", .path = (char *)"layer.tar.zst"};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct error err = {0};
    struct entry entry;
    uint64_t sequence = 0;
    int more;

    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_int_equal(layer_reader_open(layer, 0, &reader, &err), 0);
    tree_begin(tree, 9, 9, "captured", RULES_OCI, false);
    while ((more = layer_reader_next(reader, &entry, &err)) == 1) {
        struct inode *inode;
        const void *bytes;
        size_t size;
        uint64_t offset, at = 0;

        if (tree_apply(tree, &entry, sequence++, &inode, &err) < 0) {
            break;
        }
        while (inode != NULL && layer_reader_data(reader, &bytes, &size, &offset, &err) == 1) {
            assert_int_equal(hash_zeros(hash, offset - at, &err), 0);
            hash_add(hash, bytes, size);
            at = offset + size;
        }
        if (inode != NULL) {
            assert_int_equal(hash_zeros(hash, entry.size - at, &err), 0);
            hash_end(hash, inode->sha256);
        }
    }
    if (more != 0) {
        fail_msg("%s", err.message);
    }
    tree_settle(tree, EPOCH);
}

static int tell_node(void *data, struct node *node, struct error *err)
{
    static const char types[] = "fdlhcbp";
    const struct inode *inode = node->inode;
    struct buf *out = data;
    char hex[HASH_HEX_MAX];

    (void)err;
    node_path(node, out);
    buf_printf(out, " %c %o %u:%u %lld.%u %u:%u %llu %s %s", types[inode->type], inode->mode,
               inode->uid, inode->gid, (long long)inode->mtime, inode->mtime_ns, inode->major,
               inode->minor, (unsigned long long)inode->size,
               inode->type == ENTRY_FILE ? hash_hex(inode->sha256, hex) : "",
               inode->target != NULL ? inode->target : "");
    for (size_t i = 0; i < inode->xattr_count; i++) {
        buf_printf(out, " %s=%.*s", inode->xattrs[i].name, (int)inode->xattrs[i].size,
                   (const char *)inode->xattrs[i].value);
    }
    if (inode->links > 1 && inode->type != ENTRY_DIRECTORY) {
        buf_puts(out, " = ");
        node_path(inode->first, out);
    }
    buf_putc(out, '\n');
    return 0;
}

static char *tell(const struct tree *tree)
{
    struct buf out = {0};
    struct error err = {0};

    assert_int_equal(tree_walk(tree, tell_node, &out, &err), 0);
    return buf_take(&out);
}

/* The layer makes of what was there what the step left. */
static void must_fold(struct pair *pair)
{
    SCOPED_FREE char *made = NULL, *wanted = tell(pair->after.stack.tree);

    fold(pair->before.stack.tree);
    made = tell(pair->before.stack.tree);
    assert_string_equal(made, wanted);
}

/* --- kinds of change ------------------------------------------------------------------------- */

/* A file with all that may change, and holes. */
static void fill_rich(struct image *image, void *data)
{
    static const struct xattr xattrs[] = {{(char *)"user.k", (char *)"value", 5}};
    const struct entry *change = data;
    struct entry entry = {.path = "f",
                          .type = ENTRY_FILE,
                          .size = 200000,
                          .mode = 0644,
                          .mtime = EPOCH - 9,
                          .xattrs = xattrs,
                          .xattr_count = 1};

    image_add(image, change != NULL ? *change : entry, &(struct data){100000, "data", 4}, 1);
}

static void each_property_counts(void **state)
{
    static const struct xattr other[] = {{(char *)"user.k", (char *)"VALUE", 5}},
                              longer[] = {{(char *)"user.k", (char *)"values", 6}},
                              called[] = {{(char *)"user.K", (char *)"value", 5}},
                              same[] = {{(char *)"user.k", (char *)"value", 5}};
    static const struct entry kept = {.path = "f",
                                      .type = ENTRY_FILE,
                                      .size = 200000,
                                      .mode = 0644,
                                      .mtime = EPOCH - 9,
                                      .xattrs = same,
                                      .xattr_count = 1};
    struct entry changes[9];

    (void)state;
    need_tool("debugfs");
    for (size_t i = 0; i < COUNT(changes); i++) {
        changes[i] = kept;
    }
    changes[0].mode = 0640;
    changes[1].uid = 1;
    changes[2].gid = 1;
    changes[3].mtime = EPOCH - 8;
    changes[4].mtime_ns = 1;
    changes[5].xattrs = other;
    changes[6].xattrs = longer;
    changes[7].xattrs = called;
    changes[8].xattr_count = 0;
    for (size_t i = 0; i <= COUNT(changes); i++) {
        SCOPED_FREE char *found = NULL;
        struct pair pair;

        pair_new(&pair, fill_rich, NULL);
        if (i < COUNT(changes)) {
            fill_rich(&pair.after, &changes[i]);
        }
        image_layer(&pair.after);
        pair_finish(&pair);
        touch(&pair, "f");
        must_capture(&pair);
        found = listing();
        assert_int_equal(text_starts(found, "f f "), i < COUNT(changes));
        must_fold(&pair);
        pair_done(&pair);
    }
}

static void fill_plain(struct image *image, void *data)
{
    (void)data;
    image_directory(image, "etc");
    image_file(image, "etc/a", "one", 3);
    image_file(image, "etc/b", "two", 3);
    image_directory(image, "etc/d");
    image_file(image, "etc/d/deep", "x", 1);
    image_add(image, (struct entry){.path = "etc/l", .type = ENTRY_SYMLINK, .target = "a"}, NULL,
              0);
}

static void nothing_changed_is_an_empty_layer(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("e2fsck");
    pair_new(&pair, fill_plain, NULL);
    pair_finish(&pair);
    must_capture(&pair);
    must_list("");
    assert_int_equal(pair.result.added + pair.result.changed + pair.result.removed, 0);
    assert_int_equal(pair.result.size, 1024);
    pair_done(&pair);
}

static void each_kind_of_change_is_kept(void **state)
{
    static const struct xattr xattr = {(char *)"user.k", (char *)"v", 1};
    struct pair pair;
    struct image *after = &pair.after;

    (void)state;
    need_tool("e2fsck");
    pair_new(&pair, fill_plain, NULL);
    image_add(after, (struct entry){.path = "etc/a", .type = ENTRY_FILE, .size = 5, .mode = 0600},
              &(struct data){0, "three", 5}, 1);
    image_remove(after, "etc/b");
    image_add(after, (struct entry){.path = "etc/d", .type = ENTRY_FIFO}, NULL, 0);
    image_directory(after, "etc/l");
    image_add(after,
              (struct entry){.path = "etc/new",
                             .type = ENTRY_FILE,
                             .uid = 70000,
                             .gid = 80000,
                             .xattrs = &xattr,
                             .xattr_count = 1},
              NULL, 0);
    image_add(after,
              (struct entry){.path = "null", .type = ENTRY_CHARACTER, .major = 1, .minor = 300},
              NULL, 0);
    image_layer(after);
    pair_finish(&pair);
    must_capture(&pair);
    must_list("etc/a f 0600 5\n"
              "etc/.wh.b f 0644 0\n"
              "etc/d p 0644\n"
              "etc/l d 0755\n"
              "etc/new f 0644 0\n"
              "null c 0644\n");
    assert_int_equal(pair.result.added, 2);
    assert_int_equal(pair.result.changed, 3);
    assert_int_equal(pair.result.removed, 2); /* b, and what was below d */
    must_fold(&pair);
    pair_done(&pair);
}

/* The digest is of the tar, so that no version of zstd changes what a layer is called. */
static void the_digest_is_that_of_the_tar(void **state)
{
    SCOPED_FREE char *found = NULL, *expected = NULL;
    char hex[HASH_HEX_MAX];
    struct pair pair;

    (void)state;
    need_tool("zstd");
    pair_new(&pair, fill_plain, NULL);
    image_file(&pair.after, "new", "new", 3);
    image_layer(&pair.after);
    pair_finish(&pair);
    must_capture(&pair);
    expected = xprintf("%s  layer.tar\n%llu\n", hash_hex(pair.result.digest, hex),
                       (unsigned long long)pair.result.size);
    found = RUN("sh", "-c",
                "zstd -dcq layer.tar.zst >layer.tar; sha256sum layer.tar; stat -c %s layer.tar");
    assert_string_equal(found, expected);
    pair_done(&pair);
}

static void in_order(struct image *after)
{
    image_file(after, "new1", "one", 3);
    image_file(after, "new2", "two", 3);
    image_link(after, "new3", "new1");
}

static void in_another_order(struct image *after)
{
    image_file(after, "junk", "junk", 4);
    image_file(after, "new2", "two", 3);
    image_file(after, "new3", "one", 3);
    image_link(after, "new1", "new3");
    image_layer(after);
    image_remove(after, "junk");
}

static void where_things_lie_does_not_matter(void **state)
{
    void (*const steps[])(struct image *) = {in_order, in_another_order};
    uint8_t digests[2][HASH_SIZE];

    (void)state;
    need_tool("e2fsck");
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct pair pair;

        pair_new(&pair, fill_plain, NULL);
        steps[i](&pair.after);
        image_layer(&pair.after);
        pair_finish(&pair);
        must_capture(&pair);
        memcpy(digests[i], pair.result.digest, HASH_SIZE);
        pair_done(&pair);
    }
    assert_memory_equal(digests[0], digests[1], HASH_SIZE);
}

static void fill_other(struct image *image, void *data)
{
    const char *const *texts = data;

    image_directory(image, "d");
    image_directory(image, "e");
    image_file(image, "d/f", texts[0], strlen(texts[0]));
    image_file(image, "e/f", texts[1], strlen(texts[1]));
}

/* Nothing about the files themselves shows that the directories changed places. */
static void what_lies_below_renamed_directories_is_read(void **state)
{
    const char *before[] = {"one", "two"}, *swapped[] = {"two", "one"};
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    memset(&pair, 0, sizeof(pair));
    image_new(&pair.before, "before.img", "1GiB", PARTITION);
    image_new(&pair.after, "after.img", "1GiB", PARTITION);
    fill_other(&pair.before, before);
    fill_other(&pair.after, swapped);
    image_layer(&pair.before);
    image_layer(&pair.after);
    tree_settle(pair.before.stack.tree, EPOCH);
    pair_finish(&pair);
    must_capture(&pair);
    must_list(""); /* nobody touched anything, so nothing is read */
    touch(&pair, "d");
    touch(&pair, "e");
    must_capture(&pair);
    must_list("d/f f 0644 3\n"
              "e/f f 0644 3\n");
    must_fold(&pair);
    pair_done(&pair);
}

static void a_touched_file_that_is_the_same_is_not_written(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    pair_finish(&pair);
    touch(&pair, "etc/a");
    touch(&pair, "etc");
    must_capture(&pair);
    must_list("");
    pair_done(&pair);
}

static void a_time_after_the_epoch_is_the_epoch(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    pair_finish(&pair);
    edit(&pair, "set_inode_field etc/a mtime @1700000005\n"
                "set_inode_field etc/b mtime_extra 4\n" /* a nanosecond */
                "set_inode_field etc mtime_extra 1\n"); /* 2^32 seconds */
    must_capture(&pair);
    must_list("");
    pair_done(&pair);
}

/* A socket itself is left out. */
static void what_a_socket_took_the_place_of_is_gone(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    image_add(&pair.after, (struct entry){.path = "s", .type = ENTRY_FIFO}, NULL, 0);
    image_layer(&pair.after);
    pair_finish(&pair);
    edit(&pair, "set_inode_field s mode 0140644\nrm etc/b\nlink s etc/b\nunlink s\n");
    must_capture(&pair);
    must_list("etc/.wh.b f 0644 0\n");
    assert_int_equal(pair.result.removed, 1);
    pair_done(&pair);
}

/* --- hard links ------------------------------------------------------------------------------ */

static void fill_links(struct image *image, void *data)
{
    (void)data;
    image_file(image, "b", "one", 3);
    image_link(image, "c", "b");
    image_link(image, "d", "b");
    image_file(image, "x", "one", 3);
}

/* Links of the step, over what fill_links made: the layer's listing, which folds to the same. */
struct links {
    void (*step)(struct image *after);
    const char *touched; /* paths of inodes that Linux would give a new ctime, between blanks */
    const char *expected;
};

static void lose_a_name(struct image *after)
{
    image_remove(after, "c");
}

static void gain_names(struct image *after)
{
    image_link(after, "a", "c");
    image_link(after, "z", "c");
}

static void change_all(struct image *after)
{
    image_file(after, "b", "new", 3);
    image_link(after, "c", "b");
    image_link(after, "d", "b");
}

static void split_in_two(struct image *after)
{
    image_file(after, "c", "one", 3);
    image_link(after, "d", "c");
}

static void join_what_were_two(struct image *after)
{
    image_link(after, "x", "b");
}

static void join_to_the_other(struct image *after)
{
    image_link(after, "c", "x");
}

static void replace_the_first(struct image *after)
{
    image_file(after, "b", "two", 3);
}

static void move_every_name(struct image *after)
{
    image_link(after, "new", "b");
    image_remove(after, "b");
    image_remove(after, "c");
    image_remove(after, "d");
}

static void link_a_symlink(struct image *after)
{
    image_add(after, (struct entry){.path = "s", .type = ENTRY_SYMLINK, .target = "b"}, NULL, 0);
    image_link(after, "t", "s");
}

static void hard_links_are_exact(void **state)
{
    static const struct links cases[] = {
        {lose_a_name, "b", ".wh.c f 0644 0\n"},
        {gain_names, "b", "a h 0644 >b\nz h 0644 >b\n"},
        {change_all, "b", "b f 0644 3\nc h 0644 >b\nd h 0644 >b\n"},
        {split_in_two, "b c", "c f 0644 3\nd h 0644 >c\n"},
        {join_what_were_two, "b", "x h 0644 >b\n"},
        {join_to_the_other, "b x", "c h 0644 >x\n"},
        {replace_the_first, "b c", "b f 0644 3\n"},
        {move_every_name, "new", ".wh.b f 0644 0\n.wh.c f 0644 0\n.wh.d f 0644 0\nnew f 0644 3\n"},
        {link_a_symlink, "s", "s l 0644 >b\nt h 0644 >s\n"},
    };

    (void)state;
    need_tool("debugfs");
    for (size_t i = 0; i < COUNT(cases); i++) {
        SCOPED_FREE char *touched = xstrdup(cases[i].touched);
        char *rest = touched;
        struct pair pair;

        pair_new(&pair, fill_links, NULL);
        cases[i].step(&pair.after);
        image_layer(&pair.after);
        pair_finish(&pair);
        for (const char *path; (path = strsep(&rest, " ")) != NULL;) {
            touch(&pair, path);
        }
        must_capture(&pair);
        must_list(cases[i].expected);
        must_fold(&pair);
        pair_done(&pair);
    }
}

/* --- what is left out ------------------------------------------------------------------------ */

static void fill_noise(struct image *image, void *data)
{
    (void)data;
    image_directory(image, "etc");
    image_file(image, "etc/machine-id", "old", 3);
    image_directory(image, "log");
    image_file(image, "log/a", "a", 1);
    image_directory(image, "tmp");
    image_file(image, "tmp/x", "x", 1);
    image_directory(image, "var");
    image_directory(image, "var/noise");
    image_file(image, "var/noise/n", "n", 1);
}

static void later(struct image *after, const char *path)
{
    image_add(
        after,
        (struct entry){.path = path, .type = ENTRY_DIRECTORY, .mtime = EPOCH - 1, .mtime_ns = 5},
        NULL, 0);
}

static void what_is_left_out_stays_as_it_was(void **state)
{
    static const char *const patterns[] = {"/etc/machine-id", "/log/", "/var/no?se"};
    struct pair pair;
    struct image *after = &pair.after;

    (void)state;
    need_tool("e2fsck");
    pair_new(&pair, fill_noise, NULL);
    image_file(after, "etc/machine-id", "new", 3);
    later(after, "etc");
    image_file(after, "log/new", "x", 1);
    image_remove(after, "log/a");
    later(after, "log");
    image_remove(after, "tmp");
    image_directory(after, "run");
    image_file(after, "run/pid", "1", 1);
    image_remove(after, "var");
    image_layer(after);
    pair_finish(&pair);
    touch(&pair, "etc/machine-id");
    assert_int_equal(try_capture(&pair, patterns, COUNT(patterns)), 0);
    /* With its directory, what is left out goes too. */
    must_list(".wh.var f 0644 0\n");
    assert_int_equal(pair.result.removed, 3);
    pair_done(&pair);
}

/* The time of a directory is noise only when nothing but noise gave it. */
static void a_time_is_kept_with_a_change(void **state)
{
    static const char *const patterns[] = {"/log/a"};
    struct pair pair;

    (void)state;
    need_tool("e2fsck");
    pair_new(&pair, fill_noise, NULL);
    image_remove(&pair.after, "log/a");
    image_file(&pair.after, "log/b", "b", 1);
    later(&pair.after, "log");
    image_layer(&pair.after);
    pair_finish(&pair);
    assert_int_equal(try_capture(&pair, patterns, COUNT(patterns)), 0);
    must_list("log d 0755\nlog/b f 0644 1\n");
    pair_done(&pair);

    pair_new(&pair, fill_noise, NULL);
    later(&pair.after, "log");
    image_layer(&pair.after);
    pair_finish(&pair);
    assert_int_equal(try_capture(&pair, patterns, COUNT(patterns)), 0);
    must_list("log d 0755\n");
    pair_done(&pair);
}

static void sockets_are_left_out(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    image_file(&pair.after, "etc/socket", "", 0);
    image_layer(&pair.after);
    pair_finish(&pair);
    edit(&pair, "set_inode_field etc/socket mode 0140755\nset_inode_field etc/socket flags 0\n"
                "ln etc/socket etc/s\nunlink etc/socket\n");
    must_capture(&pair);
    must_list("");
    pair_done(&pair);
}

/* --- what is awkward ------------------------------------------------------------------------- */

static char *repeat_text(char byte, size_t count)
{
    char *text = xcalloc(1, count + 1);

    memset(text, byte, count);
    return text;
}

static void holes_names_times_and_attributes_are_kept(void **state)
{
    /* Version 2; user::rw-, user:5:r--, group::r--, mask::rw-, other::---. */
    static const uint8_t acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
                                  0, 5, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                                  6, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
    static char large[3000];
    static const struct xattr xattrs[] = {
        {(char *)"security.capability", (char *)"\1\0\0\2", 4},
        {(char *)"system.posix_acl_access", (void *)acl, sizeof(acl)},
        {(char *)"trusted.t", (char *)"", 0},
        {(char *)"user.a=b%", large, sizeof(large)},
    };
    static const char name[] = "\xff\n \\'\"%\x01";
    const struct data data[] = {{8192, "begin", 5}, {1 << 20, "end", 3}};
    SCOPED_FREE char *target = repeat_text('t', 4000);
    struct pair pair;

    (void)state;
    need_tool("e2fsck");
    pair_new(&pair, fill_plain, NULL);
    image_add(&pair.after,
              (struct entry){.path = name,
                             .type = ENTRY_FILE,
                             .size = (1 << 20) + 500,
                             .mtime = -5,
                             .mtime_ns = 123456789,
                             .mode = 0660,
                             .xattrs = xattrs,
                             .xattr_count = COUNT(xattrs)},
              data, COUNT(data));
    image_add(&pair.after, (struct entry){.path = "hole", .type = ENTRY_FILE, .size = 50000000},
              NULL, 0);
    image_add(&pair.after, (struct entry){.path = "slow", .type = ENTRY_SYMLINK, .target = target},
              NULL, 0);
    image_layer(&pair.after);
    pair_finish(&pair);
    must_capture(&pair);
    must_fold(&pair);
    assert_true(pair.result.size < 100000);
    pair_done(&pair);
}

static void a_file_of_gigabytes_is_no_larger_than_its_data(void **state)
{
    SCOPED_FREE char *found = NULL;
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    image_add(&pair.after, (struct entry){.path = "large", .type = ENTRY_FILE, .size = 1}, NULL, 0);
    image_layer(&pair.after);
    pair_finish(&pair);
    edit(&pair, "set_inode_field large size 5000000000\n");
    must_capture(&pair);
    must_list("large f 0644 5000000000\n");
    assert_true(pair.result.size < 10000);
    found = RUN("sh", "-c",
                "zstd -dcq layer.tar.zst >layer.tar && bsdtar -xf layer.tar && "
                "stat -c '%s %b' large && rm large");
    assert_string_equal(found, "5000000000 0\n");
    pair_done(&pair);
}

/* Linux reserves blocks that it has not written: they are data, of zeros. */
static void reserved_blocks_read_as_zeros(void **state)
{
    SCOPED_FREE char *zeros = repeat_text('\0', 10000);
    struct pair pair;
    uint8_t digest[HASH_SIZE];

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    image_add(&pair.after, (struct entry){.path = "f", .type = ENTRY_FILE, .size = 10000}, NULL, 0);
    image_layer(&pair.after);
    pair_finish(&pair);
    /* Further than the file goes, and beyond it. */
    edit(&pair, "fallocate f 0 5\nfallocate f 100 101\n");
    must_capture(&pair);
    must_list("f f 0644 10000\n");
    fold(pair.before.stack.tree);
    hash_bytes(zeros, 10000, digest);
    assert_memory_equal(tree_find(pair.before.stack.tree, "f")->inode->sha256, digest, HASH_SIZE);
    pair_done(&pair);
}

/* --- what cannot be kept --------------------------------------------------------------------- */

static void must_refuse(struct pair *pair, const char *expected)
{
    assert_int_equal(try_capture(pair, NULL, 0), -1);
    if (!text_starts(pair->err.message, expected)) {
        fail_msg("%s", pair->err.message);
    }
    assert_false(file_exists("layer.tar.zst"));
    fail_clear(&pair->err);
}

static void what_no_layer_can_hold_is_refused_by_path(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    image_file(&pair.after, "etc/_wh.b", "", 0);
    image_add(&pair.after, (struct entry){.path = "dev0", .type = ENTRY_CHARACTER, .minor = 5},
              NULL, 0);
    image_layer(&pair.after);
    pair_finish(&pair);
    edit(&pair, "set_inode_field dev0 block[0] 0\n");
    must_refuse(&pair, "step 's': '/dev0': character device 0:0 cannot be kept");
    edit(&pair, "ln etc/_wh.b etc/.wh.b\nset_inode_field etc/_wh.b links_count 2\n");
    must_refuse(&pair, "step 's': '/etc/.wh.b': a name that begins with '.wh.' cannot be kept");
    pair_done(&pair);
}

static void a_damaged_disk_is_refused(void **state)
{
    struct pair pair;

    (void)state;
    need_tool("debugfs");
    pair_new(&pair, fill_plain, NULL);
    pair_finish(&pair);
    edit(&pair, "set_inode_field etc/a links_count 7\n");
    must_refuse(&pair, "step 's': the disk it left is damaged: Inode ");
    edit(&pair, "set_inode_field etc/a links_count 1\nfeature needs_recovery\n");
    must_refuse(&pair, "step 's': its file system was not unmounted cleanly");
    edit(&pair, "feature -needs_recovery\nfeature inline_data\n");
    must_refuse(&pair, "step 's': its file system has other features than it was made with");
    edit(&pair, "feature -inline_data\n");
    assert_int_equal(pwrite(pair.after.engine->fd, "", 1,
                            (off_t)pair.after.plan->partitions[0].offset_bytes + 1024 + 56),
                     1);
    must_refuse(&pair, "step 's': its partition has no ext4 file system any more");
    pair_done(&pair);
}

static void an_output_that_exists_is_not_touched(void **state)
{
    struct capture_job job = {.disk = "/dev/null", .step = "s", .out = "/dev/null"};
    struct capture_result result;
    struct error err = {0};

    (void)state;
    assert_int_equal(capture(&job, &result, &err), -1);
    assert_string_equal(err.message, "step 's': '/dev/null' exists");
}

/* --- any change ------------------------------------------------------------------------------ */

/* Choices that a seed makes, the same everywhere. */
struct choices {
    uint64_t state;
};

static unsigned choose(struct choices *choices, unsigned below)
{
    choices->state = choices->state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(choices->state >> 33) % below;
}

/* A path of few, so that they meet. */
static void choose_path(struct choices *choices, char ret[32])
{
    static const char *const places[] = {"", "d/", "d/e/", "d/e/d/", "f/", "f/d/", "g-h/"};
    static const char names[] = "abdefg";

    (void)snprintf(ret, 32, "%s%c%s", places[choose(choices, COUNT(places))],
                   names[choose(choices, sizeof(names) - 1)], choose(choices, 4) != 0 ? "" : "-h");
}

static void change_once(struct image *image, struct choices *choices, bool upper)
{
    static const enum entry_type types[] = {ENTRY_FILE,      ENTRY_FILE,      ENTRY_FILE,
                                            ENTRY_DIRECTORY, ENTRY_DIRECTORY, ENTRY_SYMLINK,
                                            ENTRY_FIFO,      ENTRY_CHARACTER, ENTRY_HARDLINK,
                                            ENTRY_HARDLINK,  ENTRY_HARDLINK,  ENTRY_HARDLINK};
    static const char *const texts[] = {"", "one", "two", "some"};
    static const struct xattr xattr = {(char *)"user.x", (char *)"y", 1};
    struct entry entry = {.type = types[choose(choices, COUNT(types))]};
    const char *text = texts[choose(choices, COUNT(texts))];
    char path[32], target[32];
    SCOPED_FREE char *whiteout = NULL;

    choose_path(choices, path);
    choose_path(choices, target);
    entry.path = path;
    entry.mode = choose(choices, 3) != 0 ? 0755 : 04711;
    entry.uid = choose(choices, 4) != 0 ? 0 : 1000;
    entry.mtime = choose(choices, 3) != 0 ? EPOCH : EPOCH - 1;
    entry.mtime_ns = choose(choices, 3) != 0 ? 0 : 999;
    entry.minor = 1 + choose(choices, 2);
    entry.xattrs = &xattr;
    entry.xattr_count =
        (entry.type == ENTRY_FILE || entry.type == ENTRY_DIRECTORY) && choose(choices, 8) == 0;
    entry.target = target;
    entry.size = entry.type == ENTRY_FILE ? strlen(text) : 0;
    if (upper && choose(choices, 3) == 0) {
        const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;

        whiteout = xprintf("%.*s.wh.%s", (int)(base - path), path, base);
        entry = (struct entry){.path = whiteout, .type = ENTRY_FILE};
        text = "";
    }
    /* What cannot be is refused and left. */
    if (image_try(image, entry, &(struct data){0, text, strlen(text)},
                  entry.type == ENTRY_FILE && text[0] != '\0') < 0) {
        fail_clear(&image->err);
    }
}

static void fill_random(struct image *image, void *data)
{
    struct choices choices = {*(const uint64_t *)data};

    for (unsigned i = 25; i > 0; i--) {
        change_once(image, &choices, false);
    }
}

static int note_links(void *data, struct node *node, struct error *err)
{
    unsigned *links = data;

    (void)err;
    links[node->inode->id] = node->inode->links;
    return 0;
}

struct touching {
    struct pair *pair;
    const unsigned *links; /* by id, before the step */
    ext2_filsys fs;
    struct choices choices;
};

/* Gives a new ctime to what Linux would, and to others. */
static int touch_inode(void *data, struct node *node, struct error *err)
{
    struct touching *touching = data;
    const struct inode *inode = node->inode;
    uint32_t number = touching->pair->after.engine->records[inode->id].number;
    bool touched = inode->part != 0 || choose(&touching->choices, 4) == 0;
    struct ext2_inode_large large;

    (void)err;
    if (!touched) {
        touched = inode->links != touching->links[inode->id];
        for (const struct node *name = inode->names; name != NULL; name = name->same) {
            touched = touched || name->part != 0;
        }
    }
    if (touched) {
        assert_int_equal(ext2fs_read_inode_full(touching->fs, number, (struct ext2_inode *)&large,
                                                sizeof(large)),
                         0);
        large.i_ctime = EPOCH;
        large.i_ctime_extra = 4;
        assert_int_equal(ext2fs_write_inode_full(touching->fs, number, (struct ext2_inode *)&large,
                                                 sizeof(large)),
                         0);
    }
    return 0;
}

static void touch_all(struct pair *pair, const unsigned *links, uint64_t seed)
{
    struct touching touching = {.pair = pair, .links = links, .choices = {seed}};
    SCOPED_FREE char *option =
        xprintf("offset=%llu", (unsigned long long)pair->after.plan->partitions[0].offset_bytes);
    struct error err = {0};

    assert_int_equal(ext2fs_open2(pair->after.disk.path, option, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0,
                                  0, unix_io_manager, &touching.fs),
                     0);
    assert_int_equal(tree_walk(pair->after.stack.tree, touch_inode, &touching, &err), 0);
    assert_int_equal(ext2fs_close(touching.fs), 0);
}

/* RANDOM_SEEDS in the environment: how many; SEED: that one alone. */
static void any_change_folds_to_what_the_step_left(void **state)
{
    const char *one = getenv("SEED"), *many = getenv("RANDOM_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : 40;

    (void)state;
    need_tool("e2fsck");
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct choices choices = {seed ^ 0x9e3779b97f4a7c15};
        SCOPED_FREE unsigned *links = xcalloc(1000, sizeof(*links));
        struct error err = {0};
        uint64_t base = seed;
        struct pair pair;

        print_message("SEED=%llu\n", (unsigned long long)seed);
        pair_new(&pair, fill_random, &base);
        assert_int_equal(tree_walk(pair.after.stack.tree, note_links, links, &err), 0);
        for (unsigned i = choose(&choices, 16); i > 0; i--) {
            change_once(&pair.after, &choices, true);
        }
        image_layer(&pair.after);
        pair_finish(&pair);
        touch_all(&pair, links, seed);
        must_capture(&pair);
        must_fold(&pair);
        pair_done(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed_is_an_empty_layer),
        cmocka_unit_test(each_kind_of_change_is_kept),
        cmocka_unit_test(each_property_counts),
        cmocka_unit_test(the_digest_is_that_of_the_tar),
        cmocka_unit_test(where_things_lie_does_not_matter),
        cmocka_unit_test(what_lies_below_renamed_directories_is_read),
        cmocka_unit_test(a_touched_file_that_is_the_same_is_not_written),
        cmocka_unit_test(what_a_socket_took_the_place_of_is_gone),
        cmocka_unit_test(a_time_after_the_epoch_is_the_epoch),
        cmocka_unit_test(hard_links_are_exact),
        cmocka_unit_test(what_is_left_out_stays_as_it_was),
        cmocka_unit_test(a_time_is_kept_with_a_change),
        cmocka_unit_test(sockets_are_left_out),
        cmocka_unit_test(holes_names_times_and_attributes_are_kept),
        cmocka_unit_test(a_file_of_gigabytes_is_no_larger_than_its_data),
        cmocka_unit_test(reserved_blocks_read_as_zeros),
        cmocka_unit_test(what_no_layer_can_hold_is_refused_by_path),
        cmocka_unit_test(a_damaged_disk_is_refused),
        cmocka_unit_test(an_output_that_exists_is_not_touched),
        cmocka_unit_test(any_change_folds_to_what_the_step_left),
    };

    return cmocka_run_group_tests_name("capture", tests, enter_scratch, leave_scratch);
}
