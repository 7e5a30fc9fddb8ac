/* SPDX-License-Identifier: Apache-2.0 */
/* The fold, rule by rule, in the language of tree_script.h. */
#undef NDEBUG
#include "tree_script.h"

struct row {
    const char *behaviour;
    const char *script;
    const char *expected; /* the tree, or what the message has in it */
};

static const struct row must_work[] = {
    /* paths */
    {"dot components, empty ones and trailing slashes mean nothing", "0: ./a//./b/ ././a/b/c",
     "a/?:0 a/b/:0 a/b/c:0"},
    {"the root is described and no path of its own", "0: ./", ""},
    {"missing parents are implied", "0: a/b/c", "a/?:0 a/b/?:0 a/b/c:0"},
    {"an implied directory described later is implied no more", "0: a/b/c 1: a/",
     "a/:1 a/b/?:0 a/b/c:0"},
    {"an implied directory described later in its part is implied no more", "0: a/b a/",
     "a/:0 a/b:0"},
    {"passing through a lower directory leaves it to its part", "0: a/ 1: a/b", "a/:0 a/b:1"},

    /* replacing */
    {"a later file replaces an earlier one", "0: a b 1: a", "a:1 b:0"},
    {"a directory merges into a directory", "0: a/ a/x 1: a/ a/y", "a/:1 a/x:0 a/y:1"},
    {"a file removes a lower subtree", "0: a/ a/b/ a/b/c z 1: a", "a:1 z:0"},
    {"a file removes its own subtree", "0: a/ a/b/ a/b/c z a", "a:0 z:0"},
    {"a directory replaces a lower file", "0: a 1: a/", "a/:1"},
    {"a directory replaces a file of its own part", "0: a a/ a/b", "a/:0 a/b:0"},
    {"a lower file as a parent becomes an implied directory", "0: a 1: a/b", "a/?:1 a/b:1"},
    {"a symlink replaces a directory", "0: a/ a/b 1: a@c", "a@c:1"},

    /* hard links */
    {"a hard link names a lower file", "0: a 1: d/h=a", "a[0.0]:0 d/?:1 d/h[0.0]:1"},
    {"a hard link keeps the data of a replaced name", "0: a 1: h=a a", "a:1 h:1"},
    {"a removed name leaves the other", "0: a h=a 1: .wh.a", "h:0"},
    {"a hard link is resolved like a path", "0: usr/ usr/f lib@usr 1: h=./lib//f",
     "h[0.1]:1 lib@usr:0 usr/:0 usr/f[0.1]:0"},
    {"a hard link to a symlink is a name of the symlink", "0: s@x 1: h=s", "h@x[0.0]:1 s@x[0.0]:0"},
    {"a hard link that is there already becomes its part's", "0: a h=a 1: h=a .wh.h",
     "a[0.0]:0 h[0.0]:1"},
    {"a hard link to itself changes nothing", "0: a 1: a=a", "a:0"},
    {"a hard link that brings data gives it to the inode", "0: a 1: b h=b+9",
     "a:0 b[1.1]:1 h[1.1]:1"},
    {"a hard link replaces a subtree", "0: a d/ d/e 1: d=a", "a[0.0]:0 d[0.0]:1"},
    {"a hard link over a directory that holds another of its names", "0: a d/ d/e=a 1: d=a",
     "a[0.0]:0 d[0.0]:1"},

    /* symlinks below archives */
    {"a parent that is a lower symlink is followed", "0: usr/ usr/lib/ lib@usr/lib 1: lib/x",
     "lib@usr/lib:0 usr/:0 usr/lib/:0 usr/lib/x:1"},
    {"an absolute symlink starts at the tree's root", "0: usr/ d/ d/lib@/usr/./ 1: d/lib/x",
     "d/:0 d/lib@/usr/./:0 usr/:0 usr/x:1"},
    {"dots above the root stay there", "0: a/ a/l@../../../../b b/ 1: a/l/x",
     "a/:0 a/l@../../../../b:0 b/:0 b/x:1"},
    {"a symlink is relative to where it lies", "0: a/ a/l@m a/m@n a/n/ 1: a/l/x",
     "a/:0 a/l@m:0 a/m@n:0 a/n/:0 a/n/x:1"},
    {"dots in a target go up from where the symlinks led", "0: d/e/ l@d/e m@l/../f d/f/ 1: m/x",
     "d/?:0 d/e/:0 d/f/:0 d/f/x:1 l@d/e:0 m@l/../f:0"},
    {"a symlink of an older part is lower", "0: usr/ 1: lib@usr 2: lib/x",
     "lib@usr:1 usr/:0 usr/x:2"},
    {"a directory keeps a lower symlink to a directory", "0: usr/ usr/lib/ lib@usr/lib 1: ./lib/",
     "lib@usr/lib:0 usr/:0 usr/lib/:0"},
    {"a directory replaces a dangling symlink", "0: l@no 1: l/", "l/:1"},
    {"a directory replaces a symlink to a file", "0: f l@f 1: l/", "f:0 l/:1"},
    {"a directory replaces a symlink to itself", "0: l@l 1: l/", "l/:1"},
    {"a directory replaces a symlink of its own part", "0: d/ l@d l/", "d/:0 l/:0"},
    {"a file replaces a symlink and not what it leads to", "0: d/ l@d 1: l", "d/:0 l:1"},
    {"a lower file reached by a symlink becomes an implied directory", "0: d/ d/f l@d 1: l/f/x",
     "d/:0 d/f/?:1 d/f/x:1 l@d:0"},
    {"a character device 0:0 is a device", "0: c 1: c!", "c!:1"},

    /* symlinks below OCI layers */
    {"oci: a parent that is a lower symlink becomes a directory", "0: d/ l@d 1o: l/x",
     "d/:0 l/?:1 l/x:1"},
    {"oci: a parent that is a lower file becomes a directory", "0: f 1o: f/x", "f/?:1 f/x:1"},
    {"oci: a directory replaces a lower symlink", "0: d/ l@d 1o: l/", "d/:0 l/:1"},
    {"oci: directories merge", "0: d/ d/x 1o: d/ d/y", "d/:1 d/x:0 d/y:1"},
    {"oci: a whiteout does not go through a symlink", "0: d/ d/x l@d 1o: l/.wh.x l/.wh..wh..opq",
     "d/:0 d/x:0 l@d:0"},

    /* whiteouts */
    {"a whiteout removes a lower file", "0: a b 1: .wh.a", "b:0"},
    {"a whiteout removes a lower subtree", "0: a/ a/b/ a/b/c z 1: .wh.a", "z:0"},
    {"a whiteout removes what a symlink leads to", "0: d/ d/x l@d 1: l/.wh.x", "d/:0 l@d:0"},
    {"a whiteout removes a symlink and not what it leads to", "0: d/ d/x l@d 1: .wh.l",
     "d/:0 d/x:0"},
    {"a whiteout before an entry spares it", "0: a 1: .wh.a a", "a:1"},
    {"a whiteout after an entry spares it", "0: a 1: a .wh.a", "a:1"},
    {"a whiteout before what is below it implies the directory", "0: d/ d/a d/b 1: .wh.d d/x",
     "d/?:1 d/x:1"},
    {"a whiteout after what is below it implies the directory", "0: d/ d/a d/b 1: d/x .wh.d",
     "d/?:1 d/x:1"},
    {"a whiteout before a described directory spares it", "0: d/ d/a 1: .wh.d d/ d/x",
     "d/:1 d/x:1"},
    {"a whiteout after a described directory spares it", "0: d/ d/a 1: d/ d/x .wh.d", "d/:1 d/x:1"},
    {"a whiteout goes as deep as the tree", "0: d/ d/e/ d/e/f/ d/e/f/g d/h 1: d/e/f/x .wh.d",
     "d/?:1 d/e/?:1 d/e/f/?:1 d/e/f/x:1"},
    {"a whiteout of nothing is nothing", "0: a 1: .wh.b d/.wh.a a/.wh.b", "a:0"},
    {"a whiteout may be anything", "0: a b c d 1: .wh.a@x .wh.b=b .wh.c! .wh.d/", ""},
    {"a whiteout through a dangling symlink is nothing", "0: l@no 1: l/.wh.a", "l@no:0"},
    {"a whiteout removes what an older part brought", "0: a 1: a b 2: .wh.a", "b:1"},
    {"a whiteout removes a directory that it made implied", "0: d/ 1: d/x .wh.d 2: .wh.d", ""},
    {"an opaque directory hides what is lower", "0: d/ d/a d/b/ d/b/c z 1: d/ d/x d/.wh..wh..opq",
     "d/:1 d/x:1 z:0"},
    {"an opaque directory hides nothing that comes later", "0: d/ d/a 1: d/.wh..wh..opq d/x",
     "d/:0 d/x:1"},
    {"an opaque directory spares its own below lower ones",
     "0: d/ d/e/ d/e/a 1: d/e/x d/.wh..wh..opq", "d/:0 d/e/?:1 d/e/x:1"},
    {"an opaque directory within another",
     "0: d/ d/e/ d/e/a d/f 1: d/e/.wh..wh..opq d/.wh..wh..opq", "d/:0"},
    {"an opaque root", "0: a b/ b/c 1: b/x .wh..wh..opq", "b/?:1 b/x:1"},
    {"an opaque directory that is missing is nothing", "0: a 1: d/.wh..wh..opq", "a:0"},
    {"an opaque directory is opaque for its part only", "0: d/ 1: d/.wh..wh..opq d/a 2: .wh.d", ""},
    {"bookkeeping of aufs is skipped",
     "0: .wh..wh.plnk/ .wh..wh.plnk/12.34 .wh..wh.aufs a/.wh..wh.orph/b", ""},
    {"oci: whiteouts and opaque directories in any order",
     "0: d/ d/a e/ e/b f 1o: d/x d/.wh..wh..opq .wh.e e/ .wh.f f", "d/:0 d/x:1 e/:1 f:1"},
    {"a whiteout before what a symlink used to lead elsewhere", "0: d/ l@d 1: .wh.l l/ l/x",
     "d/:0 l/:1 l/x:1"},

    /* what steps leave: parents first, whiteouts first in their directory, links after targets */
    {"captured: a symlink becomes a directory",
     "0: usr/ usr/lib/ usr/lib/y lib@usr/lib "
     "1o: lib/ lib/x",
     "lib/:1 lib/x:1 usr/:0 usr/lib/:0 usr/lib/y:0"},
    {"captured: a directory becomes a symlink", "0: d/ d/a/ d/a/b e/ 1o: d@e", "d@e:1 e/:0"},
    {"captured: a directory becomes a symlink to what was moved out of it",
     "0: d/ d/a 1o: d@e e/ e/a", "d@e:1 e/:1 e/a:1"},
    {"captured: a directory becomes a file", "0: d/ d/a/ d/a/b 1o: d", "d:1"},
    {"captured: a file becomes a directory", "0: f g=f 1o: f/ f/x", "f/:1 f/x:1 g:0"},
    {"captured: a lower file gets another name", "0: f 1o: a=f d/ d/g=f",
     "a[0.0]:1 d/:1 d/g[0.0]:1 f[0.0]:0"},
    {"captured: a lower symlink gets another name", "0: s@x 1o: a=s", "a@x[0.0]:1 s@x[0.0]:0"},
    {"captured: a new file with several names", "0: a 1o: a b/ b/c=a d=a",
     "a[1.0]:1 b/:1 b/c[1.0]:1 d[1.0]:1"},
    {"captured: one of two names is another file", "0: a b=a 1o: b", "a:0 b:1"},
    {"captured: both names have other content", "0: a b=a 1o: a b=a", "a[1.0]:1 b[1.0]:1"},
    {"captured: a name moves from one file to another", "0: a b c=b 1o: b=a",
     "a[0.0]:0 b[0.0]:1 c:0"},
    {"captured: a removed name and a new one of another type",
     "0: d/ d/a f s@d 1o: .wh.d .wh.f "
     ".wh.s d f@d s/ s/x",
     "d:1 f@d:1 s/:1 s/x:1"},
    {"captured: a directory that was made anew", "0: d/ d/a/ d/a/b d/c 1o: .wh.d d/ d/a/ d/a/x",
     "d/:1 d/a/:1 d/a/x:1"},
    {"captured: whiteouts in directories that stay",
     "0: d/ d/e/ d/e/a d/e/b d/f "
     "1o: d/.wh.f d/e/.wh.a d/e/c",
     "d/:0 d/e/:0 d/e/b:0 d/e/c:1"},
    {"captured: below a directory that a lower layer did not describe", "0: d/x 1o: d/.wh.x d/y",
     "d/?:0 d/y:1"},
};

static const struct row must_not_work[] = {
    {"dots go up", "0: a/../b", "layer 'part 0': 'a/../b': '..' in a path"},
    {"dots go up behind a slash", "0: ..@x", "layer 'part 0': '..': '..' in a path"},
    {"an absolute path", "0: /etc/x", "layer 'part 0': '/etc/x': absolute path"},
    {"the root as a file", "0: .", "'.': the root is a directory and nothing else"},
    {"the root as a hard link", "0: a ./=a", "the root is a directory and nothing else"},
    {"a symlink of its own archive", "0: d/ 1: l@d l/x",
     "layer 'part 1': 'l/x': path crosses the symlink 'l' of its own archive"},
    {"a symlink of its own archive met on the way", "0: d/ l@m/e m/ m/e/ 1: m@d l/x",
     "path crosses the symlink 'm' of its own archive"},
    {"a hard link as a symlink of its own archive", "0: d/ l@d 1: m=l m/x",
     "path crosses the symlink 'm' of its own archive"},
    {"a directory over a symlink that leads across one of its own archive", "0: d/ l@m 1: m@d l/",
     "path crosses the symlink 'm' of its own archive"},
    {"a whiteout across a symlink of its own archive", "0: d/ d/a 1: l@d l/.wh.a",
     "path crosses the symlink 'l' of its own archive"},
    {"a hard link across a symlink of its own archive", "0: d/ d/a 1: l@d h=l/a",
     "'h': hard link to 'l/a': path crosses the symlink 'l' of its own archive"},
    {"a file of its own archive as a parent", "0: f f/x",
     "'f/x': 'f' of its own archive is not a directory"},
    {"oci: a symlink of its own archive", "0o: d/ l@d l/x",
     "path crosses the symlink 'l' of its own archive"},
    {"oci: a file of its own archive as a parent", "0o: f f/x",
     "'f' of its own archive is not a directory"},
    {"a dangling symlink as a parent", "0: l@no 1: l/x",
     "'l/x': on its way the symlink 'l' leads to nothing"},
    {"a symlink to a file as a parent", "0: f l@f 1: l/x",
     "on its way the symlink 'l' leads to what is not a directory"},
    {"a symlink through a file as a parent", "0: f l@f/.. 1: l/x",
     "on its way the symlink 'l' leads to what is not a directory"},
    {"a symlink to itself as a parent", "0: l@l 1: l/x",
     "more than 40 symlinks on its way, the last at 'l'"},
    {"a hard link to nothing", "0: a 1: h=b",
     "layer 'part 1': 'h': hard link to 'b': there is no such file"},
    {"a hard link to what was removed", "0: a 1: .wh.a h=a",
     "'h': hard link to 'a': there is no such file"},
    {"a hard link to what an opaque directory hid", "0: d/ d/a 1: d/.wh..wh..opq h=d/a",
     "hard link to 'd/a': there is no such file"},
    {"a hard link to a directory", "0: d/ h=d", "hard link to 'd': that is a directory"},
    {"a hard link to the root", "0: h=.", "hard link to '.': that is a directory"},
    {"a hard link out of the tree", "0: h=../a", "hard link to '../a': '..' in a path"},
    {"a hard link to an absolute path", "0: a h=/a", "hard link to '/a': absolute path"},
    {"a hard link without a target", "0: h=", "a hard link without a target"},
    {"a hard link over the directory of its target", "0: d/ d/f 1: d=d/f",
     "hard link to 'd/f': that lies in the directory which the link replaces"},
    {"a hard link with data to a symlink", "0: s@x h=s+1",
     "a hard link with data to what is not a file"},
    {"oci: a hard link through a lower symlink", "0: d/ d/f l@d 1o: h=l/f",
     "there is no such file"},
    {"a symlink without a target", "0: s@", "a symlink without a target"},
    {"a whiteout of nothing", "0: .wh.", "a whiteout that names nothing"},
    {"a whiteout of a dot", "0: .wh..", "a whiteout that names nothing"},
    {"a whiteout of dots", "0: a/.wh...", "a whiteout that names nothing"},
    {"a path below a whiteout", "0: .wh.a/b", "a path below the whiteout '.wh.a'"},
    {"a path below an opaque mark", "0: .wh..wh..opq/b", "below the whiteout '.wh..wh..opq'"},
    {"a whiteout of a symlink that was gone through", "0: d/ l@d 1: l/x .wh.l",
     "'.wh.l': hides 'l', which paths before it in its archive went through"},
    {"an opaque directory with a symlink that was gone through",
     "0: d/ p/ p/l@../d 1: p/l/x "
     "p/.wh..wh..opq",
     "hides 'p/l', which paths before it in its archive went through"},
    {"a whiteout of a directory for which a symlink was kept", "0: d/ l@d 1: l/ .wh.d",
     "hides 'd', which paths before it in its archive went through"},
    {"oci: an overlayfs whiteout", "0: c 1o: c!", "character device 0:0"},
    {"captured: a whiteout below what is no directory any more", "0: d/ d/a 1o: d@e d/.wh.a",
     "path crosses the symlink 'd' of its own archive"},
    {"captured: a hard link to what is gone", "0: d/ d/a 1o: .wh.d b=d/a", "there is no such file"},
};

/* --- the rules --------------------------------------------------------------------------- */

static void works(void **state)
{
    const struct row *row = *state;
    SCOPED(tree_freep) struct tree *tree = make(row->script);

    assert_tree(tree, row->expected);
}

static void is_refused(void **state)
{
    const struct row *row = *state;
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    struct script script = {.tree = tree, .data = (struct inode *)&script};
    struct error err = {0};

    assert_int_equal(run(&script, row->script, &err), -1);
    if (strstr(err.message, row->expected) == NULL) {
        fail_msg("'%s' is not in: %s", row->expected, err.message);
    }
    assert_int_equal(err.kind, FAIL_ERROR);
}

/* --- metadata, data, limits -------------------------------------------------------------- */

static void inodes_are_what_their_entries_say(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    char name[] = "user.a", value[] = {1, 0, 2};
    struct xattr xattr = {name, value, sizeof(value)};
    struct entry entry = {.path = "dev/x",
                          .type = ENTRY_BLOCK,
                          .mode = 0107777,
                          .uid = UINT32_MAX - 1,
                          .gid = 70000,
                          .mtime = -5,
                          .mtime_ns = 999999999,
                          .major = 8,
                          .minor = 300,
                          .xattrs = &xattr,
                          .xattr_count = 1};
    struct error err = {0};
    struct inode *data = (struct inode *)&entry;
    const struct inode *inode;

    (void)state;
    tree_begin(tree, 4, 9, "x", RULES_MERGE, false);
    assert_int_equal(tree_apply(tree, &entry, UINT64_MAX, &data, &err), 0);
    assert_null(data);
    name[0] = value[0] = 'X'; /* the tree has copies */
    inode = tree_find(tree, "/dev/x")->inode;
    assert_int_equal(inode->type, ENTRY_BLOCK);
    assert_int_equal(inode->mode, 07777);
    assert_int_equal(inode->uid, UINT32_MAX - 1);
    assert_int_equal(inode->gid, 70000);
    assert_true(inode->mtime == -5 && inode->mtime_ns == 999999999);
    assert_int_equal(inode->major, 8);
    assert_int_equal(inode->minor, 300);
    assert_int_equal(inode->layer, 4);
    assert_int_equal(inode->part, 9);
    assert_true(inode->sequence == UINT64_MAX);
    assert_int_equal(inode->xattr_count, 1);
    assert_string_equal(inode->xattrs[0].name, "user.a");
    assert_int_equal(inode->xattrs[0].size, 3);
    assert_memory_equal(inode->xattrs[0].value, ((char[]){1, 0, 2}), 3);
}

static void a_described_directory_takes_all_new_metadata(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    struct xattr xattr = {(char *)"user.a", (char *)"v", 1};
    struct entry with = {.path = "d",
                         .type = ENTRY_DIRECTORY,
                         .mode = 0700,
                         .uid = 5,
                         .xattrs = &xattr,
                         .xattr_count = 1};
    struct entry without = {.path = "./d/.", .type = ENTRY_DIRECTORY, .mode = 01777, .gid = 6};
    struct error err = {0};
    struct inode *data;
    const struct node *node;

    (void)state;
    tree_begin(tree, 0, 0, "a", RULES_MERGE, false);
    assert_int_equal(tree_apply(tree, &with, 0, &data, &err), 0);
    tree_begin(tree, 1, 1, "b", RULES_MERGE, false);
    assert_int_equal(tree_apply(tree, &without, 3, &data, &err), 0);
    node = tree_find(tree, "d");
    assert_int_equal(node->inode->mode, 01777);
    assert_int_equal(node->inode->uid, 0);
    assert_int_equal(node->inode->gid, 6);
    assert_int_equal(node->inode->xattr_count, 0);
    assert_int_equal(node->inode->layer, 1);
    assert_int_equal(node->inode->sequence, 3);
    assert_int_equal(node->part, 1);
}

static void the_root_takes_metadata(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    struct script script = {.tree = tree};
    struct error err = {0};

    (void)state;
    assert_true(tree_find(tree, "/")->implied);
    assert_int_equal(tree_find(tree, "/")->inode->mode, 0755);
    assert_int_equal(run(&script, "3: a ./", &err), 0);
    assert_false(tree_find(tree, "/")->implied);
    assert_int_equal(tree_find(tree, "/")->inode->mode, 0700);
    assert_int_equal(tree_find(tree, "/")->inode->uid, 3001);
    assert_int_equal(tree_find(tree, "/")->part, 3);
}

static void a_directory_emptied_by_a_whiteout_is_as_nobody_described_it(void **state)
{
    static const char *const orders[] = {"0: d/ d/a 1: .wh.d d/x", "0: d/ d/a 1: d/x .wh.d"};

    (void)state;
    for (size_t i = 0; i < COUNT(orders); i++) {
        SCOPED(tree_freep) struct tree *tree = make(orders[i]);
        const struct inode *inode = tree_find(tree, "d")->inode;

        assert_int_equal(inode->mode, 0755);
        assert_int_equal(inode->uid, 0);
        assert_int_equal(inode->layer, 10);
        assert_int_equal(inode->part, 1);
        tree_settle(tree, 77);
        assert_int_equal(inode->mtime, 77);
    }
}

static void a_symlink_that_is_kept_leaves_its_directory_alone(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: usr/ lib@usr 1: lib/");

    (void)state;
    assert_int_equal(tree_find(tree, "usr")->inode->uid, 0);
    assert_int_equal(tree_find(tree, "usr")->inode->part, 0);
    assert_int_equal(tree_find(tree, "lib")->inode->part, 0);
}

static void entries_with_data_return_their_inode(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    struct script script = {.tree = tree};
    struct entry empty = {.path = "e", .type = ENTRY_FILE};
    struct error err = {0};

    (void)state;
    assert_int_equal(run(&script, "0: f", &err), 0);
    assert_ptr_equal(script.data, tree_find(tree, "f")->inode);
    assert_int_equal(script.data->size, 7);
    assert_int_equal(tree_apply(tree, &empty, 1, &script.data, &err), 0);
    assert_ptr_equal(script.data, tree_find(tree, "e")->inode);
    assert_int_equal(run(&script, "1: h=f", &err), 0);
    assert_null(script.data);
    assert_int_equal(tree_find(tree, "h")->inode->layer, 0);
    assert_int_equal(run(&script, "2: x i=f+9", &err), 0);
    assert_ptr_equal(script.data, tree_find(tree, "f")->inode);
    assert_int_equal(script.data->size, 9);
    assert_int_equal(script.data->layer, 20);
    assert_int_equal(script.data->part, 2);
    assert_int_equal(script.data->sequence, 1);
    assert_int_equal(script.data->links, 3);
    assert_int_equal(run(&script, "3: d/", &err), 0);
    assert_null(script.data);
    assert_int_equal(run(&script, "3: .wh.f", &err), 0);
    assert_null(script.data);
}

static void new_data_forgets_what_was_known_of_the_old(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: f");
    struct script script = {.tree = tree};
    struct inode *inode = tree_find(tree, "f")->inode;
    struct error err = {0};

    (void)state;
    inode->extents = xcalloc(1, sizeof(*inode->extents));
    inode->extent_count = 1;
    inode->content = xstrdup("old");
    inode->data_bytes = 3;
    inode->sha256[0] = 1;
    assert_int_equal(run(&script, "1: f=f+9", &err), 0);
    assert_null(inode->extents);
    assert_int_equal(inode->extent_count, 0);
    assert_null(inode->content);
    assert_int_equal(inode->data_bytes, 0);
    assert_int_equal(inode->sha256[0], 0);
    assert_int_equal(tree_find(tree, "f")->part, 1);
}

static void assert_refused(struct tree *tree, const char *path, const char *message)
{
    struct error err = {0};

    assert_int_equal(apply_path(tree, path, &err), -1);
    if (strstr(err.message, message) == NULL) {
        fail_msg("'%s' is not in: %s", message, err.message);
    }
}

static void absolute_paths_come_with_advice(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    struct error err = {0};

    (void)state;
    assert_int_equal(apply_path(tree, "//etc", &err), -1);
    assert_non_null(strstr(err.hint, "pack with relative names"));
}

static void names_and_paths_have_limits(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    SCOPED_FREE char *longest = repeat("n", 255, "");
    SCOPED_FREE char *longer = repeat("n", 256, "");
    SCOPED_FREE char *path = repeat("./", 2047, "ab");
    SCOPED_FREE char *path_longer = repeat("./", 2047, "abc");
    SCOPED_FREE char *deepest = repeat("a/", 255, "f");
    SCOPED_FREE char *deeper = repeat("a/", 256, "f");
    struct error err = {0};

    (void)state;
    assert_int_equal(apply_path(tree, longest, &err), 0);
    assert_refused(tree, longer, "a name of 256 bytes, at most 255 are possible");
    assert_int_equal(apply_path(tree, path, &err), 0);
    assert_refused(tree, path_longer, "a path of 4097 bytes, the limit is 4096");
    assert_int_equal(apply_path(tree, deepest, &err), 0);
    assert_refused(tree, deeper, "a path of 257 components, the limit is 256");
}

static void a_long_path_is_cut_in_the_message(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    SCOPED_FREE char *path = repeat("x/", 60000, "y");

    (void)state;
    tree_begin(tree, 0, 0, "l", RULES_MERGE, false);
    assert_refused(tree, path, "x/x/...': a path of 120001 bytes");
}

static void symlinks_lead_no_deeper_than_the_limit(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(&(struct tree_limits){.depth = 4});
    struct script script = {.tree = tree};
    struct error err = {0};

    (void)state;
    assert_int_equal(run(&script, "0: a/b/c/ l@a/b/c 1: l/x", &err), 0);
    assert_int_equal(run(&script, "1: l/y/z", &err), -1);
    assert_non_null(strstr(err.message, "symlinks lead it to 5 components and 9 bytes"));
}

static void paths_are_counted_and_limited(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(&(struct tree_limits){.paths = 4});
    struct script script = {.tree = tree};
    struct error err = {0};

    (void)state;
    assert_int_equal(tree_paths(tree), 0);
    assert_int_equal(run(&script, "0: ./ a/b/c d", &err), 0);
    assert_int_equal(tree_paths(tree), 4);
    assert_refused(tree, "e", "'e': more than 4 paths, which is the limit");
    assert_refused(tree, "x/y", "more than 4 paths, which is the limit");
    assert_int_equal(run(&script, "1: .wh.a", &err), 0);
    assert_int_equal(tree_paths(tree), 1);
    assert_int_equal(run(&script, "1: a", &err), 0);
}

static void xattr_bytes_are_limited(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(&(struct tree_limits){.xattr_bytes = 16});
    struct xattr xattrs[] = {{(char *)"user.a", (char *)"12", 2},
                             {(char *)"user.b", (char *)"12", 2}};
    struct entry entry = {.path = "f", .type = ENTRY_FILE, .xattrs = xattrs, .xattr_count = 2};
    struct error err = {0};
    struct inode *data;

    (void)state;
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), 0);
    xattrs[1].value = (char *)"123";
    xattrs[1].size = 3;
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), -1);
    assert_non_null(strstr(err.message, "more than 16 bytes of extended attributes"));
    fail_clear(&err);
    xattrs[1].size = SIZE_MAX;
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), -1);
}

/* --- times ------------------------------------------------------------------------------- */

static void settling_gives_times_to_what_has_none_and_cuts_later_ones(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: old imp/x 5: new");
    struct entry untimed = {.path = "u", .type = ENTRY_FILE, .mtime = 3};
    struct entry fraction = {.path = "n", .type = ENTRY_FILE, .mtime = 1003, .mtime_ns = 1};
    struct error err = {0};
    struct inode *data;

    (void)state;
    assert_int_equal(tree_apply(tree, &fraction, 0, &data, &err), 0);
    tree_begin(tree, 6, 6, "u", RULES_MERGE, true);
    assert_int_equal(tree_apply(tree, &untimed, 0, &data, &err), 0);
    tree_settle(tree, 1003);
    assert_int_equal(tree_find(tree, "old")->inode->mtime, 1000);
    assert_int_equal(tree_find(tree, "new")->inode->mtime, 1003);
    assert_int_equal(tree_find(tree, "n")->inode->mtime, 1003);
    assert_int_equal(tree_find(tree, "n")->inode->mtime_ns, 0);
    assert_int_equal(tree_find(tree, "u")->inode->mtime, 1003);
    assert_int_equal(tree_find(tree, "imp")->inode->mtime, 1003);
    assert_int_equal(tree_find(tree, "/")->inode->mtime, 1003);
}

static void settling_finds_the_first_name_of_every_inode(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: m/f b=m/f m.x=m/f");
    struct inode *inode = tree_find(tree, "b")->inode;
    struct script script = {.tree = tree};
    struct error err = {0};

    (void)state;
    tree_settle(tree, 0);
    assert_ptr_equal(inode->first, tree_find(tree, "b"));
    assert_int_equal(run(&script, "1: .wh.b", &err), 0);
    assert_null(inode->first);
    tree_settle(tree, 0);
    assert_ptr_equal(inode->first, tree_find(tree, "m/f"));
}

static void the_newest_time_is_what_layers_brought(void **state)
{
    SCOPED(tree_freep) struct tree *tree = tree_new(NULL);
    struct entry entry = {.path = "a/b", .type = ENTRY_FILE, .mtime = 50};
    struct error err = {0};
    struct inode *data;

    (void)state;
    assert_int_equal(tree_newest(tree), -1);
    tree_begin(tree, 0, 0, "u", RULES_MERGE, true);
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), 0);
    assert_int_equal(tree_newest(tree), -1);
    tree_begin(tree, 1, 1, "t", RULES_MERGE, false);
    entry.mtime = 20;
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), 0);
    assert_int_equal(tree_newest(tree), 20);
    entry.mtime = 10;
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), 0);
    assert_int_equal(tree_newest(tree), 20);
    entry.mtime = 20;
    entry.mtime_ns = 1;
    assert_int_equal(tree_apply(tree, &entry, 0, &data, &err), 0);
    assert_int_equal(tree_newest(tree), 21);
}

/* --- looking things up ------------------------------------------------------------------- */

static void finding_follows_nothing_and_resolving_all(void **state)
{
    SCOPED(tree_freep)
    struct tree *tree =
        make("0: usr/lib/f lib@usr/lib abs@/lib up@../../usr loop@loop no@where file@usr/lib/f/");

    (void)state;
    assert_ptr_equal(tree_find(tree, "/"), tree_find(tree, "/"));
    assert_ptr_equal(tree_find(tree, "."), tree_find(tree, "/"));
    assert_non_null(tree_find(tree, "/usr//lib/./f"));
    assert_null(tree_find(tree, "lib/f"));
    assert_null(tree_find(tree, "usr/nothing"));
    assert_null(tree_find(tree, "usr/li"));
    assert_int_equal(tree_find(tree, "lib")->inode->type, ENTRY_SYMLINK);
    assert_ptr_equal(tree_resolve(tree, "lib/f"), tree_find(tree, "usr/lib/f"));
    assert_ptr_equal(tree_resolve(tree, "/abs"), tree_find(tree, "usr/lib"));
    assert_ptr_equal(tree_resolve(tree, "up/lib/../lib/f"), tree_find(tree, "usr/lib/f"));
    assert_ptr_equal(tree_resolve(tree, "../.."), tree_find(tree, "/"));
    assert_null(tree_resolve(tree, "loop"));
    assert_null(tree_resolve(tree, "no"));
    assert_null(tree_resolve(tree, "file"));
    assert_null(tree_resolve(tree, "usr/lib/f/.."));
}

/* Links l0 to lN, each to the one before; l0 leads to a directory. */
static struct tree *chain(unsigned count)
{
    struct script script = {.tree = tree_new(NULL)};
    struct error err = {0};
    char word[64];

    assert_int_equal(run(&script, "0: d/ l0@d", &err), 0);
    for (unsigned i = 1; i < count; i++) {
        (void)snprintf(word, sizeof(word), "l%u@l%u", i, i - 1);
        assert_int_equal(run(&script, word, &err), 0);
    }
    return script.tree;
}

static void forty_symlinks_are_followed(void **state)
{
    SCOPED(tree_freep) struct tree *tree = chain(41);
    struct script script = {.tree = tree};
    struct error err = {0};

    (void)state;
    assert_ptr_equal(tree_resolve(tree, "l39"), tree_find(tree, "d"));
    assert_null(tree_resolve(tree, "l40"));
    assert_int_equal(run(&script, "1: l39/x", &err), 0);
    assert_non_null(tree_find(tree, "d/x"));
    assert_int_equal(run(&script, "1: l40/x", &err), -1);
    assert_non_null(strstr(err.message, "more than 40 symlinks"));
}

static void children_are_sorted_as_bytes(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: b a.b a/b/c \xff B");
    SCOPED_FREE struct node **sorted = NULL;
    size_t count;

    (void)state;
    sorted = node_sorted(tree_find(tree, "/"), &count);
    assert_int_equal(count, 5);
    assert_string_equal(sorted[0]->name, "B");
    assert_string_equal(sorted[1]->name, "a");
    assert_string_equal(sorted[2]->name, "a.b");
    assert_string_equal(sorted[3]->name, "b");
    assert_string_equal(sorted[4]->name, "\xff");
}

static int stop_at_b(void *data, struct node *node, struct error *err)
{
    (void)err;
    ++*(int *)data;
    return strcmp(node->name, "b") == 0 ? -7 : 1;
}

static void a_walk_ends_where_it_is_told(void **state)
{
    SCOPED(tree_freep) struct tree *tree = make("0: a b c");
    struct error err = {0};
    int calls = 0;

    (void)state;
    assert_int_equal(tree_walk(tree, stop_at_b, &calls, &err), -7);
    assert_int_equal(calls, 3);
}
static const struct CMUnitTest plain_tests[] = {
    cmocka_unit_test(inodes_are_what_their_entries_say),
    cmocka_unit_test(a_described_directory_takes_all_new_metadata),
    cmocka_unit_test(the_root_takes_metadata),
    cmocka_unit_test(a_directory_emptied_by_a_whiteout_is_as_nobody_described_it),
    cmocka_unit_test(a_symlink_that_is_kept_leaves_its_directory_alone),
    cmocka_unit_test(entries_with_data_return_their_inode),
    cmocka_unit_test(new_data_forgets_what_was_known_of_the_old),
    cmocka_unit_test(absolute_paths_come_with_advice),
    cmocka_unit_test(names_and_paths_have_limits),
    cmocka_unit_test(a_long_path_is_cut_in_the_message),
    cmocka_unit_test(symlinks_lead_no_deeper_than_the_limit),
    cmocka_unit_test(paths_are_counted_and_limited),
    cmocka_unit_test(xattr_bytes_are_limited),
    cmocka_unit_test(settling_gives_times_to_what_has_none_and_cuts_later_ones),
    cmocka_unit_test(settling_finds_the_first_name_of_every_inode),
    cmocka_unit_test(the_newest_time_is_what_layers_brought),
    cmocka_unit_test(finding_follows_nothing_and_resolving_all),
    cmocka_unit_test(forty_symlinks_are_followed),
    cmocka_unit_test(children_are_sorted_as_bytes),
    cmocka_unit_test(a_walk_ends_where_it_is_told),
};

int main(void)
{
    struct CMUnitTest tests[COUNT(must_work) + COUNT(must_not_work) + COUNT(plain_tests)] = {0};
    size_t count = 0;

    for (size_t i = 0; i < COUNT(must_work); i++) {
        tests[count].name = must_work[i].behaviour;
        tests[count].test_func = works;
        tests[count++].initial_state = (void *)&must_work[i];
    }
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        tests[count].name = must_not_work[i].behaviour;
        tests[count].test_func = is_refused;
        tests[count++].initial_state = (void *)&must_not_work[i];
    }
    memcpy(&tests[count], plain_tests, sizeof(plain_tests));
    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
