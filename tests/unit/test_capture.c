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

    return RUN("python3", "-c", script);
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
    SCOPED(reader_freep) struct reader *reader = NULL;
    SCOPED(hash_freep) struct hash *hash = hash_new();
    struct error err = {0};
    struct entry entry;
    uint64_t sequence = 0;
    int more;

    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_int_equal(reader_open(layer, 0, &reader, &err), 0);
    tree_begin(tree, 9, 9, "captured", RULES_OCI, false);
    while ((more = reader_next(reader, &entry, &err)) == 1) {
        struct inode *inode;
        const void *bytes;
        size_t size;
        uint64_t offset, at = 0;

        if (tree_apply(tree, &entry, sequence++, &inode, &err) < 0) {
            break;
        }
        while (inode != NULL && reader_data(reader, &bytes, &size, &offset, &err) == 1) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed_is_an_empty_layer),
        cmocka_unit_test(each_kind_of_change_is_kept),
        cmocka_unit_test(what_lies_below_renamed_directories_is_read),
        cmocka_unit_test(a_touched_file_that_is_the_same_is_not_written),
    };

    return cmocka_run_group_tests_name("capture", tests, enter_scratch, leave_scratch);
}
