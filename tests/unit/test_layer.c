/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer sources. Inputs are made by the programs people make them with; what is read is told as
 * text: a line per entry with type, mode, owner, path, "-> target", "+data" and "[attribute]".
 */
#undef NDEBUG
#include <archive.h>
#include <assert.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"
#include "layer/layer.h"
#include "layer/pack.h"

#include <cmocka.h> /* last: it has a macro fail() */

static char directory[] = "/tmp/test_layer.XXXXXX";

/* --- helpers ------------------------------------------------------------------------------------
 */

/* Shell functions that make inputs; every script runs in the test's directory. */
static const char functions[] =
    "set -e; umask 022; export LC_ALL=C TZ=UTC\n"
    "sha() { sha256sum < \"$1\" | cut -c1-64; }\n"
    "len() { stat -c %s \"$1\"; }\n"
    /* blob DIR FILE: puts FILE into the layout DIR and prints its digest and size as JSON */
    "blob() { mkdir -p $1/blobs/sha256; cp $2 $1/blobs/sha256/$(sha $2)\n"
    "  echo '\"digest\":\"sha256:'$(sha $2)'\",\"size\":'$(len $2); }\n"
    /* image DIR ARCH UPPER LOWER...: an OCI layout of plain tars, gzipped as its layers */
    "image() { d=$1 a=$2 ids= layers=; shift 2\n"
    "  for t in \"$@\"; do gzip -nc $t > $t.gz\n"
    "    ids=\"$ids,\\\"sha256:$(sha $t)\\\"\"\n"
    "    "
    "layers=\"$layers,{\\\"mediaType\\\":\\\"application/"
    "vnd.oci.image.layer.v1.tar+gzip\\\",$(blob "
    "$d $t.gz)}\"; done\n"
    "  echo "
    "'{\"architecture\":\"'$a'\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":"
    "['${ids#,}']}}' > config\n"
    "  echo '{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\",'$(blob $d config)'},\"layers\":"
    "['${layers#,}']}' > manifest\n"
    "  echo '{\"imageLayoutVersion\":\"1.0.0\"}' > $d/oci-layout\n"
    "  entry='{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",'$(blob $d manifest)\n"
    "  echo '{\"schemaVersion\":2,\"manifests\":['$entry'}]}' > $d/index.json; }\n"
    "one() { printf one > one; printf two > two; touch -d @1000 one two\n"
    "  tar --format=ustar --owner=0 --group=0 -cf lower.tar one\n"
    "  tar --format=ustar --owner=0 --group=0 -cf upper.tar two; }\n"
    "u='--format=ustar --owner=0 --group=0 --sort=name'\n";

static void shell(const char *script)
{
    char *path = xprintf("%s/script", directory);
    char *line =
        xprintf("cd %s && sh ./script >/dev/null 2>stderr || { cat stderr; false; }", directory);
    struct buf text = {0};
    struct error err = {0};

    buf_puts(&text, functions);
    buf_puts(&text, script);
    assert_int_equal(file_write(path, text.data, text.size, &err), 0);
    if (system(line) != 0) {
        fail_msg("failed: %s", script);
    }
    buf_done(&text);
    free(path);
    free(line);
}

static char *in(const char *name)
{
    return xprintf("%s/%s", directory, name);
}

static void tell_data(struct layer_reader *reader, struct buf *out, int *result, struct error *err)
{
    const void *data;
    size_t size;
    uint64_t offset, end = 0;
    bool any = false;

    while ((*result = layer_reader_data(reader, &data, &size, &offset, err)) == 1) {
        if (!any || offset != end) {
            buf_printf(out, " @%llu+", (unsigned long long)offset);
        }
        any = true;
        end = offset + size;
        if (end - offset <= 64) {
            text_escape(out, data, size, false);
        }
    }
    if (any) {
        buf_printf(out, "=%llu", (unsigned long long)end);
    }
}

static void tell(const struct entry *entry, struct buf *out)
{
    buf_printf(out, "%c %o %u:%u ", "fdlhcbp"[entry->type], entry -> mode, entry -> uid,
               entry -> gid);
    text_escape(out, entry->path, strlen(entry->path), false);
    if (entry->target != NULL) {
        buf_printf(out, " -> %s", entry->target);
    }
    if (entry->type == ENTRY_CHARACTER || entry->type == ENTRY_BLOCK) {
        buf_printf(out, " %u,%u", entry->major, entry->minor);
    }
    for (size_t i = 0; i < entry->xattr_count; i++) {
        buf_printf(out, " [%s=%zu]", entry->xattrs[i].name, entry->xattrs[i].size);
    }
}

/* Reads all parts of LAYER; 0 and the text, or -1. */
static int read_layer(struct layer *layer, struct buf *out, struct error *err)
{
    struct entry entry;

    for (unsigned part = 0; part < layer_parts(layer); part++) {
        SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
        int more = layer_reader_open(layer, part, &reader, err);

        if (more < 0) {
            return -1;
        }
        if (part != 0) {
            buf_puts(out, "--\n");
        }
        while ((more = layer_reader_next(reader, &entry, err)) == 1) {
            tell(&entry, out);
            tell_data(reader, out, &more, err);
            buf_putc(out, '\n');
            if (more < 0) {
                return -1;
            }
        }
        if (more < 0) {
            return -1;
        }
    }
    return 0;
}

static struct profile_layer archive_spec(const char *name, char *path)
{
    return (struct profile_layer){.kind = LAYER_ARCHIVE, .name = (char *)name, .path = path};
}

static int read_spec(const struct profile_layer *spec, struct buf *out, struct error *err)
{
    SCOPED(layer_freep) struct layer *layer = NULL;

    buf_puts(out, "");
    if (layer_open(spec, ARCH_X86_64, &layer, err) < 0) {
        return -1;
    }
    return read_layer(layer, out, err);
}

/* Reads file NAME of the test's directory as an archive layer and compares. */
static void reads_as(const char *name, const char *expected)
{
    SCOPED_FREE char *path = in(name);
    struct profile_layer spec = archive_spec(name, path);
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    if (read_spec(&spec, &out, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(out.data, expected);
}

static void refused(const char *name, enum fail_kind kind, const char *message)
{
    SCOPED_FREE char *path = in(name);
    struct profile_layer spec = archive_spec(name, path);
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    if (read_spec(&spec, &out, &err) == 0) {
        fail_msg("'%s' was read, not refused with '%s': %s", name, message, out.data);
    }
    if (strstr(err.message, message) == NULL) {
        fail_msg("'%s' instead of '%s'", err.message, message);
    }
    assert_int_equal(err.kind, kind);
    /* Messages start with the layer, so that a list of many shows which one. */
    assert_memory_equal(err.message, "layer '", 7);
}

/*
 * In a process of its own, since an interruption is for good: WORK begins, is told that the user
 * interrupted by calling interrupt(), and returns what it met.
 */
static void interrupt(void)
{
    (void)kill(getpid(), SIGINT);
    while (!stop_requested()) {
        (void)usleep(1000);
    }
}

static void is_interrupted(int (*work)(struct error *err))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct error err = {0};

        stop_init();
        _exit(work(&err) == -1 && err.kind == FAIL_STOPPED ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Stand-ins for the real ones: without memory, or without /proc, when a test wants it. */
static bool archives_fail;

struct archive *archive_read_new(void)
{
    union {
        void *found;
        struct archive *(*call)(void);
    } real = {dlsym(RTLD_NEXT, "archive_read_new")};

    return archives_fail ? NULL : real.call();
}

static bool no_proc;

int access(const char *path, int mode)
{
    return no_proc && text_starts(path, "/proc/") ? -1 : faccessat(AT_FDCWD, path, mode, 0);
}

/* --- archives ------------------------------------------------------------------------------------
 */

static const char plain_tree[] = "d 755 0:0 d/\n"
                                 "f 644 0:0 d/file @0+hello=5\n"
                                 "h 644 0:0 d/hard -> d/file\n"
                                 "l 777 0:0 d/link -> file\n"
                                 "p 644 0:0 d/pipe\n";

static void make_plain_tree(void)
{
    shell("mkdir d; printf hello > d/file; ln d/file d/hard; ln -s file d/link; mkfifo d/pipe\n"
          "touch -hd @1000 d/*");
}

static void every_dialect_of_tar_is_read(void **state)
{
    static const char *const dialects[] = {"oldgnu", "gnu", "ustar", "pax"};

    (void)state;
    make_plain_tree();
    for (size_t i = 0; i < COUNT(dialects); i++) {
        SCOPED_FREE char *script =
            xprintf("tar --owner=0 --group=0 --sort=name --format=%s -cf plain.tar d", dialects[i]);

        shell(script);
        reads_as("plain.tar", plain_tree);
    }
    shell("bsdtar --uid 0 --gid 0 --uname '' --gname '' -cf plain.tar -n d d/file d/hard d/link "
          "d/pipe");
    reads_as("plain.tar", plain_tree);
    shell("tar --owner=0 --group=0 --format=v7 --sort=name -cf plain.tar d/file d/link");
    reads_as("plain.tar", "f 644 0:0 d/file @0+hello=5\nl 777 0:0 d/link -> file\n");
}

static void every_compression_is_read(void **state)
{
    static const char *const programs[] = {"gzip", "xz",  "xz --format=lzma",
                                           "zstd", "lz4", "bzip2"};

    (void)state;
    shell("tar $u -cf plain.tar d");
    for (size_t i = 0; i < COUNT(programs); i++) {
        SCOPED_FREE char *script = xprintf("%s -c < plain.tar > packed", programs[i]);

        shell(script);
        reads_as("packed", plain_tree);
    }
}

static void every_dialect_of_cpio_is_read(void **state)
{
    static const char *const dialects[] = {"bin", "odc", "newc", "crc"};

    (void)state;
    shell("printf hello > single");
    for (size_t i = 0; i < COUNT(dialects); i++) {
        SCOPED_FREE char *script =
            xprintf("printf 'd\\nsingle\\nd/link\\nd/pipe\\n' | cpio -o -R 0:0 -H %s > c.cpio",
                    dialects[i]);

        shell(script);
        reads_as("c.cpio", "d 755 0:0 d\n"
                           "f 644 0:0 single @0+hello=5\n"
                           "l 777 0:0 d/link -> file\n"
                           "p 644 0:0 d/pipe\n");
    }
    /* The first name comes empty, the data with the last. */
    shell("printf 'd/file\\nd/hard\\n' | cpio -o -R 0:0 -H newc > c.cpio");
    reads_as("c.cpio", "f 644 0:0 d/file\nh 644 0:0 d/hard -> d/file @0+hello=5\n");
}

static void names_are_bytes_in_any_locale(void **state)
{
    static const char *const locales[] = {"C", "C.UTF-8"};

    (void)state;
    shell("mkdir n; cd n\n"
          "head -c 255 /dev/zero | tr '\\0' '\\377' > ../name; : > \"$(cat ../name)\"\n"
          "head -c 100 /dev/zero | tr '\\0' '\\376' > ../name; : > \"$(cat ../name)\"\n"
          ": > \"$(printf 'e\\314\\201')\"; : > \"$(printf '\\303\\251')\"\n"
          "tar --format=pax --sort=name -cf ../n_pax.tar *\n"
          "tar --format=gnu --sort=name -cf ../n_gnu.tar *\n"
          "tar --format=ustar --sort=name -cf ../n_ustar.tar $(printf 'e\\314\\201') "
          "$(printf '\\303\\251') \"$(cat ../name)\"\n");
    for (size_t i = 0; i < COUNT(locales); i++) {
        static const char *const archives[] = {"n_pax.tar", "n_gnu.tar", "n_ustar.tar"};

        assert_non_null(setlocale(LC_CTYPE, locales[i]));
        for (size_t k = 0; k < COUNT(archives); k++) {
            SCOPED_FREE char *path = in(archives[k]);
            struct profile_layer spec = archive_spec("n", path);
            SCOPED(layer_freep) struct layer *layer = NULL;
            SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
            struct error err = {0};
            struct entry entry;
            bool composed = false, decomposed = false;
            unsigned long_names = 0;

            assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
            assert_int_equal(layer_reader_open(layer, 0, &reader, &err), 0);
            while (layer_reader_next(reader, &entry, &err) == 1) {
                size_t length = strlen(entry.path);

                composed |= strcmp(entry.path, "\xc3\xa9") == 0;
                decomposed |= strcmp(entry.path, "e\xcc\x81") == 0;
                long_names += length == 255 && strspn(entry.path, "\xff") == 255;
                long_names += length == 100 && strspn(entry.path, "\xfe") == 100;
            }
            assert_string_equal(err.message, "");
            assert_true(composed);
            assert_true(decomposed);
            assert_int_equal(long_names, k == 2 ? 1 : 2);
        }
    }
    setlocale(LC_CTYPE, "C");
}

static void times_keep_their_nanoseconds(void **state)
{
    static const struct {
        int64_t seconds;
        uint32_t ns;
    } expected[] = {{-2, 500000000}, {-1, 750000000}, {-2, 0}, {1700000000, 123456789}};
    SCOPED_FREE char *path = in("times.tar");
    struct profile_layer spec = archive_spec("times", path);
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct error err = {0};
    struct entry entry;

    (void)state;
    shell("touch -d '1969-12-31 23:59:58.5' t1; touch -d '1969-12-31 23:59:59.75' t2\n"
          "touch -d @-2 t3; touch -d @1700000000.123456789 t4\n"
          "tar --format=pax -cf times.tar t1 t2 t3 t4");
    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_int_equal(layer_reader_open(layer, 0, &reader, &err), 0);
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_int_equal(layer_reader_next(reader, &entry, &err), 1);
        assert_int_equal(entry.mtime, expected[i].seconds);
        assert_int_equal(entry.mtime_ns, expected[i].ns);
    }
    assert_int_equal(layer_reader_next(reader, &entry, &err), 0);
    assert_int_equal(layer_reader_next(reader, &entry, &err), 0);
}

static void holes_stay_holes_in_every_sparse_format(void **state)
{
    static const char *const formats[] = {"--format=gnu", "--format=pax --sparse-version=0.0",
                                          "--format=pax --sparse-version=0.1",
                                          "--format=pax --sparse-version=1.0"};

    (void)state;
    shell("truncate -s 1M hole; truncate -s 1M sparse\n"
          "printf data | dd of=sparse bs=4096 seek=100 conv=notrunc 2>/dev/null");
    for (size_t i = 0; i < COUNT(formats); i++) {
        SCOPED_FREE char *script = xprintf(
            "tar -S --hole-detection=raw --owner=0 --group=0 %s -cf s.tar hole sparse", formats[i]);

        shell(script);
        reads_as("s.tar", "f 644 0:0 hole\nf 644 0:0 sparse @409600+=410112\n");
    }
}

static void a_file_has_a_limited_number_of_runs(void **state)
{
    static const struct {
        unsigned first, count;
        bool taken;
    } rows[] = {{0, 65536, true}, {0, 65537, false}, {1, 65536, true}, {1, 65537, false}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *script = xprintf(
            "python3 - <<'EOF'\n"
            "import tarfile, io\n"
            "n = %u; t = tarfile.open('runs.tar', 'w', format=tarfile.PAX_FORMAT)\n"
            "i = tarfile.TarInfo('r'); i.size = n; i.pax_headers = {'GNU.sparse.name': 'r',\n"
            "  'GNU.sparse.size': str(2 * n + 1), 'GNU.sparse.numblocks': str(n),\n"
            "  'GNU.sparse.map': ','.join('%%d,1' %% (%u + 2 * k) for k in range(n))}\n"
            "t.addfile(i, io.BytesIO(b'x' * n)); t.close()\n"
            "EOF\n",
            rows[i].count, rows[i].first);
        SCOPED_FREE char *path = in("runs.tar");
        struct profile_layer spec = archive_spec("runs.tar", path);
        SCOPED(buf_done) struct buf out = {0};
        struct error err = {0};

        shell(script);
        if (rows[i].taken) {
            assert_int_equal(read_spec(&spec, &out, &err), 0);
        } else {
            refused("runs.tar", FAIL_ERROR, "'r': more than 65536 runs of data between holes");
        }
    }
}

/* The input is one step, what it holds is not. */
static int read_on_in_archive(struct error *err)
{
    SCOPED_FREE char *path = in("zeros.tar.zst");
    struct profile_layer spec = archive_spec("zeros", path);
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;

    if (layer_open(&spec, ARCH_X86_64, &layer, err) < 0 ||
        layer_reader_open(layer, 0, &reader, err) < 0 ||
        layer_reader_next(reader, &entry, err) != 1) {
        return 0;
    }
    interrupt();
    return layer_reader_next(reader, &entry, err);
}

static void an_interruption_ends_decompressing(void **state)
{
    (void)state;
    shell("truncate -s 20M zeros; tar $u -c zeros | zstd -q > zeros.tar.zst");
    is_interrupted(read_on_in_archive);
}

static void a_libarchive_that_does_not_start_is_told(void **state)
{
    (void)state;
    shell("tar $u -cf plain.tar d");
    archives_fail = true;
    refused("plain.tar", FAIL_ERROR, "layer 'plain.tar': libarchive does not start");
    archives_fail = false;
}

/* pax headers by python, whose tarfile takes any record: each SCRIPT of ROWS makes I.tar. */
static void make_by_python(const char *const *scripts, size_t count)
{
    SCOPED(buf_done) struct buf text = {0};

    buf_puts(&text, "python3 - <<'EOF'\n"
                    "import tarfile, io\n"
                    "def add(name, type=tarfile.REGTYPE, data=b'', link='', **records):\n"
                    "  i = tarfile.TarInfo(name); i.type = type; i.linkname = link\n"
                    "  i.size = len(data); i.pax_headers = records\n"
                    "  t.addfile(i, io.BytesIO(data))\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(&text,
                   "t = tarfile.open('%zu.tar', 'w', format=tarfile.PAX_FORMAT)\n%s\n"
                   "t.close()\n",
                   i, scripts[i]);
    }
    buf_puts(&text, "EOF\n");
    shell(text.data);
}

static void attributes_and_acls_come_through(void **state)
{
    static const char script[] =
        "add('a', **{'SCHILY.xattr.user.b': 'x', 'SCHILY.xattr.security.c': 'yy',"
        "'SCHILY.xattr.trusted.t': '', 'SCHILY.xattr.user.k%3D%25': 'z'})\n"
        "add('b', **{'SCHILY.xattr.user.b': 'x', 'LIBARCHIVE.xattr.user.b': 'eA=='})\n"
        "add('c', **{'SCHILY.acl.access': "
        "'user::rw-,user:bin:r--:2,user:7:rwx,group::r--,mask::rwx,other::---'})\n"
        "add('d', tarfile.DIRTYPE, **{'SCHILY.acl.default': "
        "'user::rwx,group::r-x,other::---'})\n"
        "add('e', **{'SCHILY.acl.access': 'user::r--,group::r--,other::r--'})\n";
    const char *scripts[] = {script};

    (void)state;
    make_by_python(scripts, 1);
    reads_as("0.tar", "f 644 0:0 a [security.c=2] [trusted.t=0] [user.b=1] [user.k=%=1]\n"
                      "f 644 0:0 b [user.b=1]\n"
                      "f 670 0:0 c [system.posix_acl_access=52]\n"
                      "d 644 0:0 d/ [system.posix_acl_default=28]\n"
                      "f 444 0:0 e\n");
}

static void what_cannot_be_kept_is_refused(void **state)
{
    static const struct {
        const char *script;
        const char *message;
    } rows[] = {
        {"add('x', **{'SCHILY.acl.access': "
         "'user::rw-,user:bob:r--,group::r--,mask::r--,other::---'})",
         "'x': an ACL names 'bob' without a number"},
        {"add('x', **{'SCHILY.acl.access': 'user::rw-,nonsense'})", "'x': parse error"},
        {"add('x', **{'SCHILY.acl.access': 'user::rw-,user:1:r--,group::r--,other::---'})",
         "'x': an ACL without its owner, group, mask or other entry"},
        {"add('x', **{'SCHILY.acl.default': "
         "'user::rwx,user:1:r--,group::r-x,mask::rwx,other::---'})",
         "'x': Linux keeps no such ACL with this type of file"},
        {"add('x', **{'SCHILY.acl.ace': 'owner@:rwxp::allow'})", "'x': an NFSv4 ACL"},
        {"add('x', **{'SCHILY.fflags': 'uappnd'})", "'x': file flags 'uappnd' cannot be kept"},
        {"add('x', **{'SCHILY.xattr.nonamespace': '1'})",
         "'x': 'nonamespace' is no name of an extended attribute"},
        {"add('x', **{'SCHILY.xattr.user.': '1'})",
         "'x': 'user.' is no name of an extended attribute"},
        {"add('x', **{'SCHILY.xattr.user.b': 'x', 'LIBARCHIVE.xattr.user.b': 'eQ=='})",
         "'x': extended attribute 'user.b' comes twice"},
        {"add('x', **{'SCHILY.xattr.user.big': 'x' * 70000})",
         "'x': extended attribute 'user.big' has 70000 bytes, Linux takes 65536"},
        {"add('x', **{'uid': '4294967295'})", "'x': owner 4294967295:0 is out of range"},
        {"add('x', **{'gid': '-1'})", "'x': owner 0:-1 is out of range"},
        {"add('x', **{'size': '-5'})", "size attribute is negative"},
        {"add('x', **{'GNU.sparse.realsize': '99999999999999', 'GNU.sparse.major': '1', "
         "'GNU.sparse.minor': '0'})",
         "layer"},
        {"add('x', data=b'abc', **{'SCHILY.realsize': '5'})",
         "'x': 3 bytes of data where 5 were announced"},
        {"add('x', data=b'abc', **{'SCHILY.realsize': '2'})", "'x': data outside the file"},
        {"add('x', tarfile.SYMTYPE)", "'x': a link to nothing"},
        {"add('x', tarfile.SYMTYPE, link='y' * 4096)", "'x': a link target of 4096 bytes"},
        {"add('x' * 70000)", "a path of 70000 bytes"},
        {"add('x', b'M')", "'x': unknown type of entry"},
        {"add('x', data=b'abc', **{'GNU.sparse.map': '0,x'})", "'x': truncated or damaged"},
    };
    const char *scripts[COUNT(rows)];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        scripts[i] = rows[i].script;
    }
    make_by_python(scripts, COUNT(rows));
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *name = xprintf("%zu.tar", i);

        refused(name, FAIL_ERROR, rows[i].message);
    }
    shell("python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\"\n"
          "echo sock | cpio -o -H newc > s.cpio");
    refused("s.cpio", FAIL_ERROR, "'sock': a socket cannot be kept in an image");
}

static void other_kinds_of_file_are_refused_by_name(void **state)
{
    static const struct {
        const char *script;
        const char *message;
    } rows[] = {
        {"bsdtar --format=zip -cf x d", "it is a zip archive, not a tar or cpio archive"},
        {"bsdtar --format=7zip -cf x d/file", "it is a 7z archive"},
        {"bsdtar --format=iso9660 -cf x d/file", "it is an ISO 9660 image"},
        {"bsdtar --format=xar -cf x d", "it is a xar archive"},
        {"bsdtar --format=arbsd -cf x d/file", "it is a deb package or ar archive"},
        {"printf 'Rar!\\032\\007\\000xxxx' > x", "it is a rar archive"},
        {"printf '\\355\\253\\356\\333xxxx' > x", "it is an rpm package"},
        {"bsdtar --lzop -cf x d 2>/dev/null || printf '\\211LZO' > x",
         "it is compressed with lzop"},
        {"printf 'LZIPxxxx' > x", "it is compressed with lzip"},
        {"head -c 3000 /dev/urandom > x; printf text | dd of=x conv=notrunc", "not a tar or cpio"},
        {"printf hello > x", "not a tar or cpio archive"},
        {"printf hello | gzip > x", "not a tar or cpio archive"},
        {"tar -c d | gzip | gzip > x", "compressed more than once"},
        {": > x", "the file is empty"},
        {": | zstd > x", "truncated, damaged or empty zstd data"},
        {"rm x; mkfifo x", "is not a regular file"},
        {"rm x; mkdir x", "a directory that is neither an OCI layout nor a saved image"},
        {"rmdir x", "No such file or directory"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        shell(rows[i].script);
        refused("x", FAIL_ERROR, rows[i].message);
    }
}

static void global_headers_may_only_comment(void **state)
{
    (void)state;
    shell(": > f; touch -d @0 f\n"
          "tar $u --format=pax --pax-option='comment=abc,delete=mtime' -cf good.tar f\n"
          "tar $u --format=pax --pax-option='uid=7' -cf bad.tar f\n"
          "git init -q git && cd git && : > file && git add file && git -c user.name=n "
          "-c user.email=e commit -qm m && git archive HEAD > ../git.tar");
    reads_as("good.tar", "f 644 0:0 f\n");
    reads_as("git.tar", "f 664 0:0 file\n");
    refused("bad.tar", FAIL_ERROR, "a global pax header with more than a comment");
}

static void truncated_archives_are_refused(void **state)
{
    static const struct {
        const char *script;
        const char *message;
    } rows[] = {
        /* At a boundary of members, within a header, within data, within the padding. */
        {"head -c 1536 plain.tar > t", "truncated: no end-of-archive marker"},
        {"head -c 700 plain.tar > t", "truncated"},
        {"head -c 1026 plain.tar > t", "truncated"},
        {"head -c 1100 plain.tar > t", "truncated"},
        /* A last member whose data are zeros looks like a marker. */
        {"head -c 4096 /dev/zero > z; tar $u -cf t z; truncate -s 4608 t",
         "truncated: no end-of-archive marker"},
        {"gzip < plain.tar > t; truncate -s -9 t", "truncated"},
        {"xz < plain.tar > t; truncate -s -20 t", "truncated"},
        {"zstd < plain.tar > t; truncate -s -3 t", "truncated"},
        {"lz4 < plain.tar > t; truncate -s -9 t", "truncated"},
        {"bzip2 < plain.tar > t; truncate -s -9 t", "truncated"},
        {"head -c 1536 plain.tar | zstd > t", "truncated: no end-of-archive marker"},
        {"echo d/file | cpio -o -H newc > t; truncate -s 120 t", "truncated"},
        {"echo d/file | cpio -o -H newc > t; truncate -s 128 t", "truncated"},
        {"echo d/file | cpio -o -H odc > t; truncate -s 88 t", "truncated"},
    };

    (void)state;
    shell("tar $u -cf plain.tar d");
    for (size_t i = 0; i < COUNT(rows); i++) {
        shell(rows[i].script);
        refused("t", FAIL_ERROR, rows[i].message);
    }
}

static void damaged_archives_are_refused(void **state)
{
    static const struct {
        const char *script;
        const char *message;
    } rows[] = {
        {"cp plain.tar t; printf X | dd of=t bs=1 seek=600 conv=notrunc", "damaged tar archive"},
        {"gzip < plain.tar > t; printf garbage >> t", "something follows the end of the gzip data"},
        {"cat plain.tar plain.tar > t", "data after the end of the archive"},
        {"zstd < plain.tar > t; printf XYZ | dd of=t bs=1 seek=60 conv=notrunc", "layer"},
        {"zstd -q -1 --long=30 < plain.tar > t", "its decompression window is larger than 128 MiB"},
        {"echo d/file | cpio -o -H newc > t; printf garbage >> t", "data after the end"},
        /* A name of 4 GiB. */
        {"{ printf '070701'; printf 0%.0s $(seq 88); printf 'ffffffff00000000'; "
         "head -c 40000000 /dev/zero; } | zstd -q > t",
         "a header of more than 16 MiB"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        shell(rows[i].script);
        refused("t", FAIL_ERROR, rows[i].message);
    }
    shell("tar -cf t -T /dev/null");
    reads_as("t", "");
    shell("tar $u -cf t d; gzip < t > p; head -c 5000 /dev/zero >> p");
    reads_as("p", plain_tree);
}

static void digests_are_verified(void **state)
{
    SCOPED_FREE char *path = in("plain.tar");
    struct profile_layer spec = archive_spec("plain", path);
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(buf_done) struct buf out = {0}, content = {0};
    struct error err = {0};
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    (void)state;
    assert_int_equal(file_read(path, 1 << 20, &content, &err), 0);
    hash_bytes(content.data, content.size, spec.sha256);
    spec.has_sha256 = true;
    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_int_equal(read_layer(layer, &out, &err), 0);
    layer_digest(layer, digest, &size);
    assert_memory_equal(digest, spec.sha256, HASH_SIZE);
    assert_int_equal(size, content.size);
    /* The second reading must find the same. */
    spec.has_sha256 = false;
    assert_int_equal(read_layer(layer, &out, &err), 0);
    shell("touch -d @5 d/file; tar $u -cf plain.tar d");
    assert_int_equal(read_layer(layer, &out, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_string_equal(err.message, "layer 'plain': changed while it was being read");
    fail_clear(&err);
    spec.has_sha256 = true;
    spec.sha256[0] ^= 1;
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_non_null(strstr(err.message, "layer 'plain': its SHA-256 is "));
}

/* --- images --------------------------------------------------------------------------------------
 */

static const char both_parts[] = "f 644 0:0 one @0+one=3\n--\nf 644 0:0 two @0+two=3\n";

static void oci_layouts_are_read_in_order(void **state)
{
    SCOPED_FREE char *path = in("oci");
    struct profile_layer spec = archive_spec("oci", path);
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(buf_done) struct buf out = {0}, manifest = {0};
    SCOPED_FREE char *manifest_path = in("manifest");
    struct error err = {0};
    uint8_t digest[HASH_SIZE], expected[HASH_SIZE];
    uint64_t size;

    (void)state;
    shell("one; image oci amd64 lower.tar upper.tar\n"
          "tar $u -cf oci.tar -C oci .; tar -cf oci2.tar -C oci blobs index.json oci-layout");
    reads_as("oci", both_parts);
    reads_as("oci.tar", both_parts);
    reads_as("oci2.tar", both_parts);
    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_string_equal(layer_format(layer), "oci");
    assert_int_equal(layer_rules(layer), RULES_OCI);
    assert_int_equal(layer_parts(layer), 2);
    assert_false(layer_untimed(layer));
    assert_int_equal(read_layer(layer, &out, &err), 0);
    assert_int_equal(file_read(manifest_path, 1 << 20, &manifest, &err), 0);
    hash_bytes(manifest.data, manifest.size, expected);
    layer_digest(layer, digest, &size);
    assert_memory_equal(digest, expected, HASH_SIZE);
    assert_int_equal(size, manifest.size);
}

static void the_image_for_the_architecture_is_taken(void **state)
{
    (void)state;
    /* An index in an index, an attestation, and two architectures. */
    shell(
        "one; image multi arm64 lower.tar; arm=$entry; image multi amd64 upper.tar; amd=$entry\n"
        "echo '{\"manifests\":['$arm',\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
        "'$arm',\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}},"
        "'$amd',\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}' > nested\n"
        "echo '{\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",'"
        "$(blob multi nested)'}]}' > multi/index.json");
    reads_as("multi", "f 644 0:0 two @0+two=3\n");
}

/* Three documents of REPEATS equal entries each, in one another, below index.json. */
static void make_bomb(unsigned depth, unsigned repeats)
{
    SCOPED_FREE char *script = xprintf(
        "one; rm -rf bomb; image bomb amd64 lower.tar; e=$entry'}'\n"
        "for i in $(seq 0 %u); do\n"
        "  { printf '{\"manifests\":['; yes \"$e,\" | head -n %u; echo \"$e]}\"; } > ix\n"
        "  e='{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",'$(blob bomb ix)'}'\n"
        "done; cp ix bomb/index.json",
        depth, repeats - 1);

    shell(script);
}

static int open_bomb(struct error *err)
{
    SCOPED_FREE char *path = in("bomb");
    struct profile_layer spec = archive_spec("bomb", path);
    SCOPED(layer_freep) struct layer *layer = NULL;

    interrupt();
    return layer_open(&spec, ARCH_X86_64, &layer, err);
}

static void the_search_for_an_image_is_limited(void **state)
{
    (void)state;
    make_bomb(4, 1);
    reads_as("bomb", "f 644 0:0 one @0+one=3\n");
    make_bomb(5, 1);
    refused("bomb", FAIL_ERROR, ": indexes nested more than 4 deep");
    make_bomb(0, 10000);
    reads_as("bomb", "f 644 0:0 one @0+one=3\n");
    make_bomb(0, 10001);
    refused("bomb", FAIL_ERROR, "'index.json': more than 10000 manifests");
    make_bomb(1, 100);
    refused("bomb", FAIL_ERROR, ": more than 10000 manifests");
    make_bomb(2, 60);
    refused("bomb", FAIL_ERROR, "layer 'bomb': more than 100 nested indexes");
    make_bomb(1, 2);
    reads_as("bomb", "f 644 0:0 one @0+one=3\n");
    is_interrupted(open_bomb);
}

static void docker_archives_are_read(void **state)
{
    (void)state;
    shell("mkdir docker; one; a=$(sha lower.tar) b=$(sha upper.tar); cd docker; mkdir $a $b\n"
          "cp ../lower.tar $a/layer.tar; cp ../upper.tar $a/other.tar\n"
          "ln -s ../$a/other.tar $b/layer.tar\n"
          "echo "
          "'{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[\"sha256:'$a'\","
          "\"sha256:'$b'\"]}}' > config; c=$(sha config).json; mv config $c\n"
          "echo '[{\"Config\":\"'$c'\",\"RepoTags\":null,\"Layers\":[\"'$a'/layer.tar\",\"'$b"
          "'/layer.tar\"]}]' > manifest.json; tar -cf ../docker.tar *");
    reads_as("docker", both_parts);
    reads_as("docker.tar", both_parts);
}

static void a_tar_with_a_manifest_json_of_its_own_is_no_image(void **state)
{
    (void)state;
    shell("echo '{\"name\":\"app\"}' > manifest.json; touch -d @0 manifest.json\n"
          "tar $u -cf app.tar manifest.json");
    reads_as("app.tar", "f 644 0:0 manifest.json @0+{\"name\":\"app\"}\\x0a=15\n");
}

static void broken_images_are_refused(void **state)
{
    static const struct {
        const char *script;
        enum fail_kind kind;
        const char *message;
    } rows[] = {
        {"b=bad/blobs/sha256/$(sha lower.tar.gz); printf X | dd of=$b bs=1 seek=30 conv=notrunc",
         FAIL_ERROR, "layer 'bad': 'blobs/sha256/"},
        {"b=bad/blobs/sha256/$(sha lower.tar.gz); gzip -1 -c two > $b", FAIL_MISMATCH,
         "bytes, not"},
        /* The same size, another time in gzip's header: only the digest tells. */
        {"b=bad/blobs/sha256/$(sha lower.tar.gz); printf X | dd of=$b bs=1 seek=4 conv=notrunc",
         FAIL_MISMATCH, "its SHA-256 is"},
        {"rm bad/blobs/sha256/$(sha lower.tar.gz)", FAIL_ERROR, "is missing"},
        {"rm bad/blobs/sha256/$(sha config)", FAIL_ERROR, "is missing"},
        {"printf x >> bad/blobs/sha256/$(sha manifest)", FAIL_MISMATCH, "bytes, not"},
        {"echo '{}' > bad/oci-layout", FAIL_ERROR, "OCI layout of version ''"},
        {"echo '[' > bad/index.json", FAIL_ERROR, "'index.json': line 2:"},
        {"echo '{\"manifests\":[]}' > bad/index.json", FAIL_ERROR, "no image for linux/amd64, but"},
        {"image bad arm64 lower.tar; p='\"platform\":{\"os\"'\n"
         "echo '{\"manifests\":['$entry','$p':\"unknown\",\"architecture\":\"unknown\"}},"
         "'$entry','$p':\"linux\",\"architecture\":\"arm64\"}}]}' > bad/index.json",
         FAIL_ERROR, "no image for linux/amd64, but linux/arm64"},
        {"image bad arm64 lower.tar", FAIL_ERROR, "an image for linux/arm64, not linux/amd64"},
        {"image bad2 amd64 upper.tar; cp -r bad2/blobs bad; e2=$entry; image bad amd64 lower.tar\n"
         "echo '{\"manifests\":['$entry'},'$e2'}]}' > bad/index.json",
         FAIL_ERROR, "more than one image for linux/amd64"},
        /* diff_ids of another tar. */
        {"cp lower.tar keep; sha() { case $1 in keep) sha256sum < one | cut -c1-64;; "
         "*) sha256sum < $1 | cut -c1-64;; esac; }; image bad amd64 keep",
         FAIL_MISMATCH, "', uncompressed: its SHA-256 is"},
        {"sed -i s/sha256:/sha512:/ bad/index.json", FAIL_ERROR, "is not a SHA-256 digest"},
        {"head -c 5000000 /dev/zero > bad/index.json", FAIL_ERROR, "larger than 4194304 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *script =
            xprintf("one; rm -rf bad bad2; image bad amd64 lower.tar\n%s", rows[i].script);

        shell(script);
        refused("bad", rows[i].kind, rows[i].message);
    }
    shell("gzip -c oci.tar > packed.tgz; zstd -c docker.tar > packed.tzst");
    refused("packed.tgz", FAIL_ERROR, "it is a compressed image archive");
    refused("packed.tzst", FAIL_ERROR, "it is a compressed image archive");
    shell("rm -rf bad; cp -r docker bad; sed -i 's|\"Layers\":\\[\"[^\"]*|\"Layers\":[\"../one|' "
          "bad/manifest.json");
    refused("bad", FAIL_ERROR, "'../one': a path that leaves the image");
}

static void the_pin_of_an_image_in_a_tar_is_that_of_the_file(void **state)
{
    SCOPED_FREE char *path = in("oci.tar");
    struct profile_layer spec = archive_spec("oci.tar", path);
    SCOPED(buf_done) struct buf out = {0}, content = {0};
    struct error err = {0};

    (void)state;
    assert_int_equal(file_read(path, 1 << 20, &content, &err), 0);
    hash_bytes(content.data, content.size, spec.sha256);
    spec.has_sha256 = true;
    assert_int_equal(read_spec(&spec, &out, &err), 0);
    spec.sha256[5] ^= 4;
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    assert_int_equal(err.kind, FAIL_MISMATCH);
}

/* --- directories and files
 * ------------------------------------------------------------------------- */

static struct profile_set sets[] = {
    {.mark = {.line = 7, .column = 3},
     .path = (char *)"/etc/web/key",
     .attributes = {.has_mode = true, .has_owner = true, .mode = 0640, .uid = 0, .gid = 33}},
    {.mark = {.line = 8, .column = 3},
     .path = (char *)"/etc/web/missing",
     .attributes = {.has_mode = true}},
};

static void directories_are_read_as_git_keeps_them(void **state)
{
    static const char expected[] = "d 755 0:0 etc/web/a\n"
                                   "f 644 0:0 etc/web/a/file @0+hello=5\n"
                                   "f 755 0:0 etc/web/a.sh\n"
                                   "f 640 0:33 etc/web/key\n"
                                   "l 777 0:0 etc/web/link -> a/file\n"
                                   "f 644 0:0 etc/web/twin @0+hello=5\n";
    SCOPED_FREE char *path = in("tree");
    struct profile_layer spec = {.kind = LAYER_DIRECTORY,
                                 .name = (char *)"tree",
                                 .path = path,
                                 .to = (char *)"/etc/web",
                                 .sets = sets,
                                 .set_count = 1};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};
    uint8_t first[HASH_SIZE], second[HASH_SIZE];
    uint64_t size;

    (void)state;
    shell("mkdir -p tree/a/.git tree/.git/x; printf hello > tree/a/file; ln tree/a/file tree/twin\n"
          ": > tree/a.sh; chmod 4777 tree/a.sh; ln -s a/file tree/link; : > tree/key\n"
          "setfattr -n user.u -v x tree/key 2>/dev/null || true");
    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_true(layer_untimed(layer));
    assert_int_equal(read_layer(layer, &out, &err), 0);
    assert_string_equal(out.data, expected);
    layer_digest(layer, first, &size);
    /* Another checkout: other times, modes, an unlinked twin. */
    shell("chmod -R go-rwx tree; touch tree/a/file; cp tree/twin t; rm tree/twin; mv t tree/twin");
    assert_int_equal(read_layer(layer, &out, &err), 0);
    layer_digest(layer, second, &size);
    assert_memory_equal(first, second, HASH_SIZE);
    shell("printf hallo > tree/a/file");
    assert_int_equal(read_layer(layer, &out, &err), -1);
    assert_string_equal(err.message, "layer 'tree': changed while it was being read");
}

static int read_on_in_directory(struct error *err)
{
    SCOPED_FREE char *path = in("large");
    struct profile_layer spec = {
        .kind = LAYER_DIRECTORY, .name = (char *)"large", .path = path, .to = (char *)"/"};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(layer_reader_freep) struct layer_reader *reader = NULL;
    struct entry entry;
    const void *data;
    size_t size;
    uint64_t offset;

    if (layer_open(&spec, ARCH_X86_64, &layer, err) < 0 ||
        layer_reader_open(layer, 0, &reader, err) < 0 ||
        layer_reader_next(reader, &entry, err) != 1 ||
        layer_reader_data(reader, &data, &size, &offset, err) != 1) {
        return 0;
    }
    interrupt();
    return layer_reader_data(reader, &data, &size, &offset, err);
}

static void an_interruption_ends_reading_within_a_file(void **state)
{
    (void)state;
    shell("mkdir large; truncate -s 4M large/file");
    is_interrupted(read_on_in_directory);
}

static void the_top_of_a_directory_is_an_entry_when_set(void **state)
{
    static struct profile_set top[] = {
        {.path = (char *)"/srv/x/", .attributes = {.has_mode = true, .mode = 0700}}};
    SCOPED_FREE char *path = in("top");
    struct profile_layer spec = {.kind = LAYER_DIRECTORY,
                                 .name = (char *)"top",
                                 .path = path,
                                 .to = (char *)"/srv/x/",
                                 .sets = top,
                                 .set_count = 1};
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    (void)state;
    shell("mkdir top; : > top/f");
    assert_int_equal(read_spec(&spec, &out, &err), 0);
    assert_string_equal(out.data, "d 700 0:0 srv/x\nf 644 0:0 srv/x/f\n");
}

static void directories_with_other_things_are_refused(void **state)
{
    SCOPED_FREE char *path = in("odd");
    struct profile_layer spec = {.kind = LAYER_DIRECTORY,
                                 .name = (char *)"odd",
                                 .path = path,
                                 .to = (char *)"/etc/web",
                                 .sets = sets,
                                 .set_count = 2};
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};

    (void)state;
    shell("mkdir -p odd/sub; : > odd/key");
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_string_equal(err.message, "layer 'odd': line 8: set '/etc/web/missing' matches nothing "
                                     "in the directory");
    fail_clear(&err);
    sets[1].mark.file = "base.yaml";
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    sets[1].mark.file = NULL;
    assert_string_equal(err.message, "layer 'odd': base.yaml, line 8: set '/etc/web/missing' "
                                     "matches nothing in the directory");
    fail_clear(&err);
    spec.set_count = 1;
    shell("mkfifo odd/sub/pipe");
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    assert_string_equal(err.message, "layer 'odd': 'sub/pipe': a FIFO, which git would not keep");
    fail_clear(&err);
    shell("rm odd/sub/pipe; python3 -c \"import socket; "
          "socket.socket(socket.AF_UNIX).bind('odd/sock')\"");
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    assert_string_equal(err.message, "layer 'odd': 'sock': a socket, which git would not keep");
    fail_clear(&err);
    if (getuid() != 0) {
        shell("rm odd/sock; chmod 0 odd/key");
        assert_int_equal(read_spec(&spec, &out, &err), -1);
        assert_string_equal(err.message, "layer 'odd': 'key': Permission denied");
        fail_clear(&err);
    }
    spec.path = (char *)"/nowhere";
    assert_int_equal(read_spec(&spec, &out, &err), -1);
    assert_string_equal(err.message, "layer 'odd': open '/nowhere': No such file or directory");
}

static void inline_files_come_in_order(void **state)
{
    static struct profile_file files[] = {
        {.path = (char *)"/etc/z", .symlink = (char *)"motd"},
        {.path = (char *)"/etc/old.conf", .remove = true},
        {.path = (char *)"/etc/motd",
         .content = (char *)"hi\n",
         .content_size = 3,
         .attributes = {.has_mode = true, .has_owner = true, .mode = 0600, .uid = 1, .gid = 2}},
        {.path = (char *)"/srv", .directory = true},
        {.path = (char *)"/empty", .content = (char *)""},
    };
    struct profile_layer spec = {
        .kind = LAYER_FILES, .name = (char *)"files", .files = files, .file_count = COUNT(files)};
    SCOPED(layer_freep) struct layer *layer = NULL;
    SCOPED(buf_done) struct buf out = {0};
    struct error err = {0};
    uint64_t size = 0;
    uint8_t digest[HASH_SIZE];

    (void)state;
    assert_int_equal(layer_open(&spec, ARCH_X86_64, &layer, &err), 0);
    assert_string_equal(layer_format(layer), "files");
    assert_int_equal(read_layer(layer, &out, &err), 0);
    assert_string_equal(out.data, "f 644 0:0 empty\n"
                                  "f 600 1:2 etc/motd @0+hi\\x0a=3\n"
                                  "f 644 0:0 etc/.wh.old.conf\n"
                                  "l 777 0:0 etc/z -> motd\n"
                                  "d 755 0:0 srv\n");
    layer_digest(layer, digest, &size);
    assert_int_equal(size, 6 * 512 + 1024);
    assert_int_equal(read_layer(layer, &out, &err), 0);
}

/* --- layer pack
 * ------------------------------------------------------------------------------------ */

static void packing_is_deterministic_and_whole(void **state)
{
    SCOPED_FREE char *dir = in("pack"), *one = in("one.tar.zst"), *two = in("two.tar.zst");
    SCOPED_FREE char *plain = in("three.tar"), *inside = in("pack/x.tar"), *other = in("x.zip");
    SCOPED(buf_done) struct buf a = {0}, b = {0};
    struct error err = {0};
    uint8_t digest[HASH_SIZE], expected[HASH_SIZE];
    uint64_t size;

    (void)state;
    shell("mkdir -p pack/etc; seq 1 50000 > pack/etc/numbers; touch -d @77 pack/etc/numbers");
    assert_int_equal(pack_directory(dir, "/opt", 1000, one, digest, &size, &err), 0);
    shell("touch pack/etc/numbers; chmod 600 pack/etc/numbers");
    assert_int_equal(pack_directory(dir, "/opt", 1000, two, digest, &size, &err), 0);
    assert_int_equal(file_read(one, 1 << 20, &a, &err), 0);
    assert_int_equal(file_read(two, 1 << 20, &b, &err), 0);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_int_equal(size, a.size);
    hash_bytes(a.data, a.size, expected);
    assert_memory_equal(digest, expected, HASH_SIZE);
    shell("mkdir out; tar -C out -xf one.tar.zst; cmp out/opt/etc/numbers pack/etc/numbers\n"
          "test $(stat -c %Y out/opt/etc/numbers) = 1000; zstd -lv one.tar.zst | grep XXH64\n");
    assert_int_equal(pack_directory(dir, NULL, 0, plain, digest, &size, &err), 0);
    reads_as("three.tar", "d 755 0:0 etc\nf 644 0:0 etc/numbers @0+=288894\n");
    assert_int_equal(pack_directory(dir, NULL, 0, inside, digest, &size, &err), -1);
    assert_non_null(strstr(err.message, "which it is to hold"));
    fail_clear(&err);
    assert_int_equal(pack_directory(dir, NULL, 0, other, digest, &size, &err), -1);
    assert_int_equal(err.kind, FAIL_USAGE);
    fail_clear(&err);
    shell("mkfifo pack/pipe; rm two.tar.zst");
    assert_int_equal(pack_directory(dir, NULL, 0, two, digest, &size, &err), -1);
    shell("! ls | grep -e partial -e two.tar");
}

static void packing_takes_only_paths_in_the_image(void **state)
{
    static const struct {
        const char *to, *wrong;
    } rows[] = {
        {"../../etc", "must be absolute"},
        {"etc", "must be absolute"},
        {"", "must be absolute"},
        {"/../etc", "must not hold '..'"},
        {"/etc/", "must be written without '.', '//' and a '/' at its end"},
    };
    SCOPED_FREE char *dir = in("pack_to"), *out = in("to.tar");
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    (void)state;
    shell("mkdir pack_to; : > pack_to/f");
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *message =
            xprintf("path in the image '%s': %s", rows[i].to, rows[i].wrong);
        struct error err = {0};

        assert_int_equal(pack_directory(dir, rows[i].to, 0, out, digest, &size, &err), -1);
        assert_string_equal(err.message, message);
        assert_int_equal(err.kind, FAIL_USAGE);
    }
    shell("! test -e to.tar");
}

/* In a process that SIGXFSZ kills as soon as it writes more than a little. */
static void pack_and_die(const char *dir, const char *out)
{
    const struct rlimit little = {4096, 4096}, none = {0, 0};
    struct error err = {0};
    uint8_t digest[HASH_SIZE];
    uint64_t size;
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGXFSZ, SIG_DFL);
        _exit(setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_FSIZE, &little) < 0 ||
              pack_directory(dir, NULL, 0, out, digest, &size, &err) < 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void packing_that_is_killed_leaves_nothing(void **state)
{
    SCOPED_FREE char *dir = in("pack_kill"), *out = in("kill.tar");
    int fd = open(directory, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);

    (void)state;
    if (fd < 0) {
        print_message("this file system has no files without a name\n");
        free(TAKE(dir));
        free(TAKE(out));
        skip();
    }
    (void)close(fd);
    shell("mkdir pack_kill; seq 1 5000 > pack_kill/numbers");
    pack_and_die(dir, out);
    shell("test -z \"$(ls | grep -e partial -e kill.tar)\"; echo before > kill.tar");
    pack_and_die(dir, out);
    shell("test -z \"$(ls | grep partial)\"; test \"$(cat kill.tar)\" = before");
}

static void packing_replaces_what_is_there(void **state)
{
    SCOPED_FREE char *dir = in("pack_again"), *out = in("again.tar"), *taken = in("taken.tar");
    struct error err = {0};
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    (void)state;
    shell("mkdir pack_again; : > pack_again/f; echo before > again.tar; mkdir -p taken.tar/x");
    assert_int_equal(pack_directory(dir, NULL, 0, out, digest, &size, &err), 0);
    reads_as("again.tar", "f 644 0:0 f\n");
    shell("test -z \"$(ls | grep partial)\"; test $(stat -c %a again.tar) = 644");
    assert_int_equal(pack_directory(dir, NULL, 0, taken, digest, &size, &err), -1);
    shell("test -z \"$(ls | grep partial)\"; test -d taken.tar/x");
}

static void packing_works_where_every_file_has_a_name(void **state)
{
    SCOPED_FREE char *dir = in("pack_named"), *out = in("named.tar"), *taken = in("named_dir.tar");
    struct error err = {0};
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    (void)state;
    shell("mkdir pack_named; seq 1 5000 > pack_named/f; mkdir -p named_dir.tar/x");
    no_proc = true;
    /* What a kill leaves shows that it had one. */
    pack_and_die(dir, out);
    shell("ls | grep 'named.tar.partial-'; rm named.tar.partial-*; : > pack_named/f");
    assert_int_equal(pack_directory(dir, NULL, 0, out, digest, &size, &err), 0);
    reads_as("named.tar", "f 644 0:0 f\n");
    assert_int_equal(pack_directory(dir, NULL, 0, out, digest, &size, &err), 0);
    assert_int_equal(pack_directory(dir, NULL, 0, taken, digest, &size, &err), -1);
    no_proc = false;
    shell("! ls | grep partial");
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL;
}

static int tear_down(void **state)
{
    struct error err = {0};

    (void)state;
    return file_remove_tree(directory, &err);
}

int main(void)
{
    /* In this order: some use what others left in the directory. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dialect_of_tar_is_read),
        cmocka_unit_test(every_compression_is_read),
        cmocka_unit_test(every_dialect_of_cpio_is_read),
        cmocka_unit_test(names_are_bytes_in_any_locale),
        cmocka_unit_test(times_keep_their_nanoseconds),
        cmocka_unit_test(holes_stay_holes_in_every_sparse_format),
        cmocka_unit_test(a_file_has_a_limited_number_of_runs),
        cmocka_unit_test(an_interruption_ends_decompressing),
        cmocka_unit_test(a_libarchive_that_does_not_start_is_told),
        cmocka_unit_test(attributes_and_acls_come_through),
        cmocka_unit_test(what_cannot_be_kept_is_refused),
        cmocka_unit_test(other_kinds_of_file_are_refused_by_name),
        cmocka_unit_test(global_headers_may_only_comment),
        cmocka_unit_test(truncated_archives_are_refused),
        cmocka_unit_test(damaged_archives_are_refused),
        cmocka_unit_test(digests_are_verified),
        cmocka_unit_test(oci_layouts_are_read_in_order),
        cmocka_unit_test(the_image_for_the_architecture_is_taken),
        cmocka_unit_test(the_search_for_an_image_is_limited),
        cmocka_unit_test(docker_archives_are_read),
        cmocka_unit_test(a_tar_with_a_manifest_json_of_its_own_is_no_image),
        cmocka_unit_test(broken_images_are_refused),
        cmocka_unit_test(the_pin_of_an_image_in_a_tar_is_that_of_the_file),
        cmocka_unit_test(directories_are_read_as_git_keeps_them),
        cmocka_unit_test(an_interruption_ends_reading_within_a_file),
        cmocka_unit_test(the_top_of_a_directory_is_an_entry_when_set),
        cmocka_unit_test(directories_with_other_things_are_refused),
        cmocka_unit_test(inline_files_come_in_order),
        cmocka_unit_test(packing_is_deterministic_and_whole),
        cmocka_unit_test(packing_takes_only_paths_in_the_image),
        cmocka_unit_test(packing_that_is_killed_leaves_nothing),
        cmocka_unit_test(packing_replaces_what_is_there),
        cmocka_unit_test(packing_works_where_every_file_has_a_name),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
