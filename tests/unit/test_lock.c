/* SPDX-License-Identifier: Apache-2.0 */
/* Locks: what is read, refused, written, compared; nothing here reads a layer. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "lock/change.h"
#include "lock/lock.h"

#include <cmocka.h> /* last: it has a macro named fail */

#include "tools.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEAD "disk_format: 1\nseed: s\nepoch: 2026-11-01T00:00:00Z\n"
#define C64 "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define LAYER "  - {layer: a.tar, format: archive, sha256: " A64 ", size: 12}\n"
#define EPOCH 1793491200

/* --- helpers --------------------------------------------------------------------------------- */

static struct lock *parse(const char *yaml)
{
    struct lock *lock = NULL;
    struct error err = {0};

    if (lock_parse("web.lock", yaml, strlen(yaml), &lock, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return lock;
}

static void assert_refused(const char *yaml, enum fail_kind kind, const char *message)
{
    struct lock *lock = NULL;
    struct error err = {0};

    assert_int_equal(lock_parse("web.lock", yaml, strlen(yaml), &lock, &err), -1);
    assert_null(lock);
    assert_string_equal(err.message, message);
    assert_int_equal(err.kind, kind);
    assert_true(err.hint[0] != '\0');
}

/* A layer of a digest that is all the byte FILL; of a step the key is all 0xcc. */
static void add(struct lock *lock, const char *name, const char *format, int fill, uint64_t size)
{
    bool step = strcmp(format, "run") == 0 || strcmp(format, "packages") == 0;
    uint8_t digest[HASH_SIZE], key[HASH_SIZE];

    memset(digest, fill, sizeof(digest));
    memset(key, 0xcc, sizeof(key));
    lock_add(lock, name, format, digest, size, step ? key : NULL);
}

/* A profile as the lock's stage sees it; borrows everything. */
#define PROFILE(...)                                                                               \
    {                                                                                              \
        .path = (char *)"web.yaml", .seed = (char *)"s",                                           \
        .layers = (struct profile_layer[]){__VA_ARGS__},                                           \
        .layer_count = COUNT(((struct profile_layer[]){__VA_ARGS__}))                              \
    }
#define ARCHIVE(text)                                                                              \
    {                                                                                              \
        .kind = LAYER_ARCHIVE, .name = (char *)(text)                                              \
    }
#define DIRECTORY(text)                                                                            \
    {                                                                                              \
        .kind = LAYER_DIRECTORY, .name = (char *)(text)                                            \
    }
#define PACKAGES(text)                                                                             \
    {                                                                                              \
        .kind = LAYER_PACKAGES, .name = (char *)(text)                                             \
    }
#define SCRIPT(text)                                                                               \
    {                                                                                              \
        .kind = LAYER_RUN, .name = (char *)(text), .path = (char *)(text)                          \
    }
#define FILES(text)                                                                                \
    {                                                                                              \
        .kind = LAYER_FILES, .name = (char *)(text)                                                \
    }
#define STEP(what, text, source)                                                                   \
    {                                                                                              \
        .kind = (what), .name = (char *)(text), .path = (char *)(source)                           \
    }

/* --- reading --------------------------------------------------------------------------------- */

static void the_path_is_beside_the_profile(void **state)
{
    static const struct {
        const char *profile, *lock;
    } must_work[] = {
        {"web.yaml", "web.lock"},
        {"web.yml", "web.lock"},
        {"dir.yaml/web.yaml", "dir.yaml/web.lock"},
        {"/a/web", "/a/web.lock"},
        {"web.yaml.in", "web.yaml.in.lock"},
        {"web.YAML", "web.YAML.lock"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        SCOPED_FREE char *path = lock_path(must_work[i].profile);

        assert_string_equal(path, must_work[i].lock);
    }
}

static void a_lock_is_read(void **state)
{
    SCOPED(lock_freep)
    struct lock *lock =
        parse(HEAD "layers:\n" LAYER "  - layer: \"b\\x0ac\"\n    format: files\n    sha256: " B64
                   "\n    size: 18446744073709551615\n");

    (void)state;
    assert_int_equal(lock->disk_format, 1);
    assert_string_equal(lock->seed, "s");
    assert_int_equal(lock->epoch, EPOCH);
    assert_int_equal(lock->layer_count, 2);
    assert_string_equal(lock->layers[0].name, "a.tar");
    assert_string_equal(lock->layers[0].format, "archive");
    assert_int_equal(lock->layers[0].sha256[31], 0xaa);
    assert_int_equal(lock->layers[0].size_bytes, 12);
    assert_int_equal(lock->layers[1].mark.line, 6);
    assert_string_equal(lock->layers[1].name, "b\nc");
    assert_true(lock->layers[1].size_bytes == UINT64_MAX);
    assert_false(lock->layers[1].is_step);
}

static const char with_steps[] =
    HEAD "layers:\n" LAYER "  - {layer: packages, format: packages, step: " C64 ", sha256: " B64
         ", size: 5}\n"
         "  - layer: setup.sh\n    format: run\n\n    # inputs\n    sha256: " B64 "\n    step: " C64
         "\n    size: 6\n";

static void a_step_is_read_with_its_key(void **state)
{
    SCOPED(lock_freep) struct lock *lock = parse(with_steps);
    uint8_t key[HASH_SIZE];

    (void)state;
    memset(key, 0xcc, sizeof(key));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(lock->layers[i].is_step, i != 0);
        assert_memory_equal(lock->layers[i].step, i != 0 ? key : (uint8_t[HASH_SIZE]){0},
                            HASH_SIZE);
    }
    assert_int_equal(lock->layers[2].step_mark.line, 12);
    assert_int_equal(lock->layers[2].sha256[0], 0xbb);
}

static void what_is_no_lock_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *yaml, *message;
    } must_not_work[] = {
        {"", "web.lock:1:1: the lock is empty"},
        {"- a\n", "web.lock:1:1: a lock must be a map, not a list"},
        {HEAD "layers:\n" LAYER "---\na: b\n", "web.lock:6:1: a second document (a lock is one)"},
        {HEAD, "web.lock:1:1: 'layers' is missing (what goes into the image, bottom first)"},
        {HEAD "layers: []\n",
         "web.lock:4:9: 'layers' is empty (what goes into the image, bottom first)"},
        {HEAD "seed: t\nlayers:\n" LAYER,
         "web.lock:4:1: key 'seed' is given twice (first at web.lock:2:1)"},
        {HEAD "sead: t\nlayers:\n" LAYER,
         "web.lock:4:1: unknown key 'sead' (did you mean 'seed'?)"},
        {HEAD "layers:\n  - {layer: a, format: archive, sha256: " A64 ", size: 1, mode: 2}\n",
         "web.lock:5:116: unknown key 'mode' (a layer has layer, format, step, sha256, size)"},
        {HEAD "layers:\n  - {layer: a, format: zip, sha256: aa, size: 0}\n",
         "web.lock:5:24: format 'zip': must be archive, oci, docker, directory, files, packages "
         "or run\n"
         "web.lock:5:37: sha256 'aa': not a SHA-256 digest (64 hexadecimal digits)\n"
         "web.lock:5:47: size '0': must be more than 0"},
        {HEAD "layers:\n  - {layer: a, format: run, sha256: " A64 ", size: 1}\n"
              "  - {layer: b, format: packages, sha256: " A64 ", size: 1}\n"
              "  - layer: c\n    format: archive\n    sha256: " A64 "\n    step: " A64
              "\n    size: 1\n"
              "  - {layer: d, format: run, step: aa, sha256: " A64 ", size: 1}\n"
              "  - {layer: e, format: zip, step: " A64 ", sha256: " A64 ", size: 1}\n",
         "web.lock:5:5: 'step' is missing (of all that packages or run is made from)\n"
         "web.lock:6:5: 'step' is missing (of all that packages or run is made from)\n"
         "web.lock:10:11: 'step' goes only with format packages or run\n"
         "web.lock:12:35: step 'aa': not a SHA-256 digest (64 hexadecimal digits)\n"
         "web.lock:13:24: format 'zip': must be archive, oci, docker, directory, files, packages "
         "or run"},
        {HEAD "layers:\n  - {layer: '', format: files, sha256: " A64
              ", size: 18446744073709551616}\n",
         "web.lock:5:13: layer '': must not be empty\n"
         "web.lock:5:112: size '18446744073709551616': not a size (like 512MiB or 4GiB)"},
        {"disk_format: 99999999999\nseed: &a s\nepoch: never\nlayers:\n" LAYER,
         "web.lock:1:14: disk_format '99999999999': not a number from 1 to 4294967295\n"
         "web.lock:2:7: anchor 'a': anchors are not supported\n"
         "web.lock:3:8: epoch 'never': not a time since 1970 in UTC (like 2026-11-01T00:00:00Z)"},
        {"<<<<<<< ours\n" HEAD,
         "web.lock:2:12: not YAML: mapping values are not allowed in this context"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        assert_refused(must_not_work[i].yaml, FAIL_USAGE, must_not_work[i].message);
    }
}

/* Whatever else it has that this kiln does not know. */
static void a_lock_of_a_newer_kiln_is_a_mismatch(void **state)
{
    (void)state;
    assert_refused("disk_format: 2\nseed: s\nnew: {key: 1}\nlayers: none\n", FAIL_MISMATCH,
                   "web.lock:1:14: disk_format 2: made by a newer kiln (this one knows 1)");
    assert_refused("disk_format: 2\ndisk_format: 1\n", FAIL_USAGE,
                   "web.lock:1:1: 'seed' is missing (the profile's, or its default)\n"
                   "web.lock:1:1: 'epoch' is missing (no file in the image is newer)\n"
                   "web.lock:1:1: 'layers' is missing (what goes into the image, bottom first)\n"
                   "web.lock:2:1: key 'disk_format' is given twice (first at web.lock:1:1)");
}

static void a_lock_that_is_not_there_is_none(void **state)
{
    struct lock *lock = (struct lock *)state;
    struct error err = {0};

    assert_int_equal(lock_load("none.lock", &lock, &err), 0);
    assert_null(lock);
}

/* No lock would mean that nothing is verified: only a name that is free is none. */
static void a_lock_that_cannot_be_read_is_an_error(void **state)
{
    static const struct {
        const char *path, *message;
    } must_not_work[] = {
        {"dangling.lock", "open 'dangling.lock': No such file or directory"},
        {"directory.lock", "the lock 'directory.lock' is not a regular file"},
        {"fifo.lock", "the lock 'fifo.lock' is not a regular file"},
    };

    (void)state;
    assert_int_equal(symlink("nowhere", "dangling.lock"), 0);
    assert_int_equal(mkdir("directory.lock", 0755), 0);
    assert_int_equal(mkfifo("fifo.lock", 0644), 0);
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        struct lock *lock = NULL;
        struct error err = {0};

        assert_int_equal(lock_load(must_not_work[i].path, &lock, &err), -1);
        assert_null(lock);
        assert_string_equal(err.message, must_not_work[i].message);
        assert_int_equal(err.kind, FAIL_USAGE);
    }
}

/* --- writing --------------------------------------------------------------------------------- */

static void the_text_is_as_documented(void **state)
{
    SCOPED(lock_freep) struct lock *lock = lock_new("x.lock", "web/x86_64", EPOCH);
    SCOPED(buf_done) struct buf text = {0};

    (void)state;
    add(lock, "../layers/base.tar", "archive", 0xaa, 12);
    add(lock, "files", "files", 0xbb, 2048);
    add(lock, "setup.sh", "run", 0xbb, 4096);
    lock_text(lock, &text);
    assert_string_equal(
        text.data,
        "# What the image is made from, each input by its digest. Made by 'kiln lock' from the "
        "profile\n# beside it; 'kiln build' takes nothing else. Keep it with the profile.\n"
        "disk_format: 1\n"
        "seed: \"web/x86_64\"\n"
        "epoch: 2026-11-01T00:00:00Z\n"
        "layers:\n"
        "  - layer: \"../layers/base.tar\"\n"
        "    format: archive\n"
        "    sha256: " A64 "\n"
        "    size: 12\n"
        "  - layer: \"files\"\n"
        "    format: files\n"
        "    sha256: " B64 "\n"
        "    size: 2048\n"
        "  - layer: \"setup.sh\"\n"
        "    format: run\n"
        "    step: " C64 "\n"
        "    sha256: " B64 "\n"
        "    size: 4096\n");
}

/* Names that YAML or a terminal would take for something else come back as they were. */
static void every_name_comes_back(void **state)
{
    static const struct {
        const char *name, *written;
    } names[] = {
        {"plain.tar", "plain.tar"},
        {"größe 🔥.tar", "größe 🔥.tar"},
        {"\"q\" \\ 'a': #x", "\\\"q\\\" \\\\ 'a': #x"},
        {"a\nb\r\t\x01\x7f", "a\\x0ab\\x0d\\x09\\x01\\x7f"},
        {"\x1b[31m", "\\x1b[31m"},
        {"\xc2\x85\xc2\x9b\xc2\xad", "\\x85\\x9b\\xad"},
        {"\xe2\x80\xa8\xe2\x80\xae\xef\xbb\xbf", "\\u2028\\u202e\\ufeff"},
        {"\xef\xbf\xbe\xef\xbf\xbf", "\\ufffe\\uffff"},
        {"\xf3\xa0\x80\x81", "\\U000e0001"},
        {" - [x]: &a *b !c", " - [x]: &a *b !c"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        SCOPED(lock_freep) struct lock *lock = lock_new("x.lock", names[i].name, 0), *back = NULL;
        SCOPED_FREE char *line = xprintf("  - layer: \"%s\"\n", names[i].written);
        SCOPED(buf_done) struct buf text = {0};

        add(lock, names[i].name, "directory", (int)i, 1);
        lock_text(lock, &text);
        assert_non_null(strstr(text.data, line));
        back = parse(text.data);
        assert_string_equal(back->layers[0].name, names[i].name);
        assert_string_equal(back->seed, names[i].name);
    }
}

static void what_could_not_be_read_again_is_not_written(void **state)
{
    SCOPED(lock_freep) struct lock *late = lock_new("late.lock", "s", 253402300800);
    SCOPED(lock_freep) struct lock *large = lock_new("large.lock", "s", 0);
    struct error err = {0};

    (void)state;
    add(late, "a.tar", "archive", 1, 1);
    assert_int_equal(lock_save(late, &err), -1);
    assert_non_null(strstr(err.message, "cannot write the lock: late.lock:5:8: epoch"));
    assert_false(file_exists("late.lock"));
    for (int i = 0; i < 10000; i++) {
        add(large, "a.tar", "archive", 1, 1);
    }
    fail_clear(&err);
    assert_int_equal(lock_save(large, &err), -1);
    assert_string_equal(err.message, "cannot write the lock: large.lock:1:1: the lock is larger "
                                     "than 1048576 bytes");
    assert_false(file_exists("large.lock"));
}

/* A hostile checkout could have it point anywhere. */
static void a_symbolic_link_is_not_written_through(void **state)
{
    SCOPED(lock_freep) struct lock *lock = lock_new("link.lock", "s", 0);
    struct error err = {0};

    (void)state;
    add(lock, "a.tar", "archive", 1, 1);
    assert_int_equal(symlink("elsewhere", "link.lock"), 0);
    assert_int_equal(lock_save(lock, &err), -1);
    assert_string_equal(err.message, "'link.lock' is a symbolic link: it will not be replaced");
    assert_false(file_exists("elsewhere"));
}

/* --- checking -------------------------------------------------------------------------------- */

static void assert_differs(const char *lock_yaml, const struct profile *profile,
                           const char *message)
{
    SCOPED(lock_freep) struct lock *lock = parse(lock_yaml);
    struct error err = {0};

    assert_int_equal(lock_check_profile(lock, profile, &err), -1);
    assert_string_equal(err.message, message);
    assert_int_equal(err.kind, FAIL_MISMATCH);
    assert_string_equal(err.hint, "run 'kiln lock' if the change is intended");
}

static const char three[] =
    HEAD "layers:\n" LAYER "  - {layer: conf, format: directory, sha256: " B64 ", size: 5}\n"
         "  - {layer: files, format: files, sha256: " B64 ", size: 6}\n";

static void a_profile_that_agrees_passes(void **state)
{
    struct profile profile = PROFILE(ARCHIVE("a.tar"), DIRECTORY("conf"), FILES("files:77"));
    SCOPED(lock_freep) struct lock *lock = parse(three);
    struct error err = {0};

    (void)state;
    assert_int_equal(lock_check_profile(lock, &profile, &err), 0);
    profile.has_epoch = true;
    profile.epoch = EPOCH;
    assert_int_equal(lock_check_profile(lock, &profile, &err), 0);
    /* What an archive turns out to be is for later. */
    free(lock->layers[0].format);
    lock->layers[0].format = xstrdup("docker");
    assert_int_equal(lock_check_profile(lock, &profile, &err), 0);
}

static void a_profile_that_differs_is_named(void **state)
{
    struct profile seed = PROFILE(ARCHIVE("a.tar"), DIRECTORY("conf"), FILES("files:9"));
    struct profile epoch = seed;
    const struct profile fewer = PROFILE(ARCHIVE("a.tar"), DIRECTORY("conf"));
    const struct profile more =
        PROFILE(ARCHIVE("a.tar"), DIRECTORY("conf"), FILES("files:9"), ARCHIVE("new.tar"));
    const struct profile order = PROFILE(DIRECTORY("conf"), ARCHIVE("a.tar"), FILES("files:9"));
    const struct profile kind = PROFILE(DIRECTORY("a.tar"), DIRECTORY("conf"), FILES("files:9"));
    const struct profile inlined = PROFILE(ARCHIVE("a.tar"), DIRECTORY("conf"), ARCHIVE("files"));

    (void)state;
    seed.seed = (char *)"t";
    epoch.has_epoch = true;
    assert_differs(three, &seed, "web.lock:2:7: seed 's', but the profile has 't'");
    assert_differs(
        three, &epoch,
        "web.lock:3:8: epoch 2026-11-01T00:00:00Z, but the profile has 1970-01-01T00:00:00Z");
    assert_differs(three, &fewer,
                   "web.lock:7:5: layer 3, files 'files' (sha256:" B64
                   "), is not in the profile, which has 2");
    assert_differs(three, &more,
                   "web.lock:5:3: layer 4 of the profile, archive 'new.tar', is not in the lock, "
                   "which has 3");
    assert_differs(three, &order,
                   "web.lock:5:5: layer 1 is archive 'a.tar' (sha256:" A64
                   "), but directory 'conf' in the profile");
    assert_differs(three, &kind,
                   "web.lock:5:5: layer 1 is archive 'a.tar' (sha256:" A64
                   "), but directory 'a.tar' in the profile");
    assert_differs(three, &inlined,
                   "web.lock:7:5: layer 3 is files 'files' (sha256:" B64
                   "), but archive 'files' in the profile");
}

static void steps_agree_by_kind_and_label(void **state)
{
    static const char locked[] =
        HEAD "layers:\n  - {layer: packages, format: packages, step: " C64 ", sha256: " B64
             ", size: 5}\n"
             "  - {layer: setup.sh, format: run, step: " C64 ", sha256: " B64 ", size: 5}\n"
             "  - {layer: run, format: run, step: " C64 ", sha256: " B64 ", size: 6}\n";
    const struct profile same =
        PROFILE(STEP(LAYER_PACKAGES, "packages:4", NULL), STEP(LAYER_RUN, "setup.sh", "setup.sh"),
                STEP(LAYER_RUN, "run:77", NULL));
    const struct profile other =
        PROFILE(STEP(LAYER_PACKAGES, "packages:4", NULL), ARCHIVE("setup.sh"));
    SCOPED(lock_freep) struct lock *lock = parse(locked);
    struct error err = {0};

    (void)state;
    assert_int_equal(lock_check_profile(lock, &same, &err), 0);
    assert_differs(locked, &other,
                   "web.lock:6:5: layer 2 is run 'setup.sh' (sha256:" B64
                   "), but archive 'setup.sh' in the profile");
}

static void a_disk_format_of_before_is_a_mismatch(void **state)
{
    const struct profile profile = PROFILE(ARCHIVE("a.tar"));
    SCOPED(lock_freep) struct lock *lock = parse(HEAD "layers:\n" LAYER);
    struct error err = {0};

    (void)state;
    lock->disk_format = DISK_FORMAT - 1;
    assert_int_equal(lock_check_profile(lock, &profile, &err), -1);
    assert_string_equal(err.message, "web.lock:1:14: disk_format 0, but this kiln makes 1");
    assert_int_equal(err.kind, FAIL_MISMATCH);
}

static void a_layer_is_compared_whole(void **state)
{
    static const struct {
        const char *format;
        int fill;
        uint64_t size;
        const char *message;
    } rows[] = {
        {"archive", 0xaa, 12, NULL},
        {"archive", 0xbb, 12,
         "web.lock:5:5: layer 'a.tar' has changed: sha256:" B64
         " (archive, 12 bytes), not sha256:" A64 " (archive, 12 bytes)"},
        {"archive", 0xaa, 13,
         "web.lock:5:5: layer 'a.tar' has changed: sha256:" A64
         " (archive, 13 bytes), not sha256:" A64 " (archive, 12 bytes)"},
        {"oci", 0xaa, 12,
         "web.lock:5:5: layer 'a.tar' has changed: sha256:" A64 " (oci, 12 bytes), not sha256:" A64
         " (archive, 12 bytes)"},
    };
    SCOPED(lock_freep) struct lock *lock = parse(three);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t digest[HASH_SIZE];
        struct error err = {0};
        int result;

        memset(digest, rows[i].fill, sizeof(digest));
        result = lock_check_layer(lock, 0, "a.tar", rows[i].format, digest, rows[i].size, &err);
        assert_int_equal(result, rows[i].message != NULL ? -1 : 0);
        if (result < 0) {
            assert_string_equal(err.message, rows[i].message);
            assert_int_equal(err.kind, FAIL_MISMATCH);
            assert_string_equal(err.hint, "run 'kiln lock' if the change is intended");
        }
    }
}

static void a_profile_with_steps_is_compared(void **state)
{
    struct profile profile = PROFILE(ARCHIVE("a.tar"), PACKAGES("packages"), SCRIPT("setup.sh"));
    const struct profile swapped =
        PROFILE(ARCHIVE("a.tar"), SCRIPT("setup.sh"), PACKAGES("packages"));
    const struct profile archive =
        PROFILE(ARCHIVE("a.tar"), ARCHIVE("packages"), SCRIPT("setup.sh"));
    const struct profile script =
        PROFILE(SCRIPT("a.tar"), PACKAGES("packages"), SCRIPT("setup.sh"));
    SCOPED(lock_freep) struct lock *lock = parse(with_steps);
    struct error err = {0};

    (void)state;
    assert_int_equal(lock_check_profile(lock, &profile, &err), 0);
    profile.layer_count = 2;
    assert_differs(with_steps, &profile,
                   "web.lock:7:5: layer 3, run 'setup.sh' (sha256:" B64
                   "), is not in the profile, which has 2");
    assert_differs(with_steps, &swapped,
                   "web.lock:6:5: layer 2 is packages 'packages' (sha256:" B64
                   "), but run 'setup.sh' in the profile");
    assert_differs(with_steps, &archive,
                   "web.lock:6:5: layer 2 is packages 'packages' (sha256:" B64
                   "), but archive 'packages' in the profile");
    assert_differs(with_steps, &script,
                   "web.lock:5:5: layer 1 is archive 'a.tar' (sha256:" A64
                   "), but run 'a.tar' in the profile");
}

static void a_step_is_compared_by_its_key(void **state)
{
    SCOPED(lock_freep) struct lock *lock = parse(with_steps);
    uint8_t key[HASH_SIZE];
    struct error err = {0};

    (void)state;
    memset(key, 0xcc, sizeof(key));
    assert_int_equal(lock_check_step(lock, 1, "packages:4", key, &err), 0);
    assert_int_equal(lock_check_step(lock, 2, "setup.sh", key, &err), 0);
    memset(key, 0xaa, sizeof(key));
    assert_int_equal(lock_check_step(lock, 2, "setup.sh", key, &err), -1);
    assert_string_equal(err.message,
                        "web.lock:12:11: what layer 'setup.sh' is made from (layers below it, "
                        "script, packages, mounts, limits) is not what the lock has: step " A64
                        ", not " C64);
    assert_string_equal(err.hint, "run 'kiln lock' if the change is intended");
    assert_int_equal(err.kind, FAIL_MISMATCH);
}

/* --- changes --------------------------------------------------------------------------------- */

/*
 * A lock from a word for each layer: its kind (a, d, f, o, p, r), its name (which files have not),
 * the digit of its digest and, of a step, that of its key.
 */
static struct lock *shorthand(const char *words)
{
    static const char *const formats[] = {['a'] = "archive", ['d'] = "directory", ['f'] = "files",
                                          ['o'] = "oci",     ['p'] = "packages",  ['r'] = "run"};
    struct lock *lock = lock_new("x.lock", "s", 0);
    char name[2] = "";

    for (const char *s = words; *s != '\0'; s += strspn(s, " ")) {
        struct lock_layer *layer;

        name[0] = s[1];
        add(lock, s[0] == 'f' ? "files" : name, formats[(unsigned char)s[0]], (s[2] - '0') * 0x11,
            1);
        layer = &lock->layers[lock->layer_count - 1];
        if (layer->is_step) {
            memset(layer->step, s[3], HASH_SIZE);
        }
        s += strcspn(s, " ");
    }
    return lock;
}

static void changes_are_named(void **state)
{
    static const struct {
        const char *before, *now, *text;
    } rows[] = {
        {"ax1 dy2 ff3", "ax1 dy2 ff3", ""},
        {NULL, "ax1 ff3",
         "archive 'x' added: sha256:111111111111…\nfiles (layer 2) added: sha256:333333333333…\n"},
        {"ax1 dy2", "ax1 dy3",
         "directory 'y' changed: sha256:222222222222… → sha256:333333333333…\n"},
        {"ax1 dy2", "dy2", "archive 'x' removed: sha256:111111111111…\n"},
        {"dy2", "ax1 dy2", "archive 'x' added: sha256:111111111111…\n"},
        {"ax1 ay2", "ay2 ax1",
         "archive 'y' moved: layer 2 → layer 1\narchive 'x' moved: layer 1 → layer 2\n"},
        {"ax1 ay2 az3", "az3 ay2",
         "archive 'x' removed: sha256:111111111111…\narchive 'z' moved: layer 3 → layer 1\n"
         "archive 'y' moved: layer 2 → layer 2\n"},
        {"ax1", "ox1",
         "archive 'x' removed: sha256:111111111111…\noci 'x' added: sha256:111111111111…\n"},
        /* Of those without a name the one that is gone is told by its digest. */
        {"ff1 ff2 ff3", "ff1 ff3", "files (layer 2) removed: sha256:222222222222…\n"},
        {"ff1 ff2", "ff2 ff4",
         "files (layer 1) moved: layer 2 → layer 1\n"
         "files (layer 2) changed: sha256:111111111111… → sha256:444444444444…\n"
         "files (layer 2) moved: layer 1 → layer 2\n"},
        {"ax1 py22 rz33", "ax1 py22 rz33", ""},
        {"ax1 rz33", "ax1 rz34", "inputs of run 'z' changed\n"},
        {"px33", "px34", "inputs of packages 'x' changed\n"},
        /* Where other content comes out of it, that is what people need to know. */
        {"rz33", "rz44", "run 'z' changed: sha256:333333333333… → sha256:444444444444…\n"},
        {"rz33", "rz43", "run 'z' changed: sha256:333333333333… → sha256:444444444444…\n"},
        {"rz33 ax1", "ax1 rz34",
         "archive 'x' moved: layer 2 → layer 1\ninputs of run 'z' changed\n"
         "run 'z' moved: layer 1 → layer 2\n"},
        {"ax1 py22", "ax1", "packages 'y' removed: sha256:222222222222…\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(lock_freep)
        struct lock *before = rows[i].before != NULL ? shorthand(rows[i].before) : NULL;
        SCOPED(lock_freep) struct lock *now = shorthand(rows[i].now);
        SCOPED(changes_done) struct changes changes = {0};
        SCOPED(buf_done) struct buf text = {0};

        changes_find(before, now, &changes);
        buf_puts(&text, "");
        for (size_t k = 0; k < changes.count; k++) {
            buf_printf(&text, "%s\n", changes.items[k].text);
        }
        assert_string_equal(text.data, rows[i].text);
    }
}

static void inline_steps_are_named_by_their_number(void **state)
{
    SCOPED(lock_freep) struct lock *before = shorthand("ax1"), *now = shorthand("ax1");
    SCOPED(changes_done) struct changes changes = {0};

    (void)state;
    add(now, "run", "run", 0x55, 1);
    changes_find(before, now, &changes);
    assert_int_equal(changes.count, 1);
    assert_string_equal(changes.items[0].text, "run (layer 2) added: sha256:555555555555…");
}

/* The first that lock_update prints for another program. */
static json_t *update_event(const struct lock *before, const struct lock *now)
{
    int out = dup(STDOUT_FILENO),
        file = open("events", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct ui *ui = ui_new(&(struct ui_options){.json = true, .quiet = true});
    SCOPED(buf_done) struct buf text = {0};
    struct error err = {0};
    json_t *event;

    (void)fflush(stdout);
    assert_true(out >= 0 && dup2(file, STDOUT_FILENO) >= 0);
    (void)lock_update(before, now, true, ui, &err);
    ui_free(ui);
    (void)fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0 && close(out) == 0 && close(file) == 0);
    assert_int_equal(file_read("events", 1 << 20, &text, &err), 0);
    event = json_loads(text.data, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(event);
    return event;
}

static const char *step_of(const json_t *layer)
{
    return json_string_value(json_object_get(layer, "step"));
}

static void steps_have_their_keys_in_json(void **state)
{
    SCOPED(lock_freep) struct lock *before = shorthand("ax1 rz33"), *now = shorthand("ax1 rz34");
    json_t *event = update_event(before, now), *layers;

    (void)state;
    assert_string_equal(json_string_value(json_object_get(event, "what")), "layer");
    assert_string_equal(json_string_value(json_object_get(event, "change")), "changed");
    assert_string_equal(step_of(json_object_get(event, "before")),
                        "3333333333333333333333333333333333333333333333333333333333333333");
    assert_string_equal(step_of(json_object_get(event, "after")),
                        "3434343434343434343434343434343434343434343434343434343434343434");
    json_decref(event);
    event = update_event(now, now);
    layers = json_object_get(event, "layers");
    assert_int_equal(json_array_size(layers), 2);
    assert_null(json_object_get(json_array_get(layers, 0), "step"));
    assert_non_null(step_of(json_array_get(layers, 1)));
    json_decref(event);
}

static void a_head_that_changed_is_named(void **state)
{
    SCOPED(lock_freep) struct lock *before = lock_new("x.lock", "a", 0);
    SCOPED(lock_freep) struct lock *now = lock_new("x.lock", "b", EPOCH);
    SCOPED(changes_done) struct changes changes = {0};

    (void)state;
    add(before, "x", "archive", 1, 1);
    add(now, "x", "archive", 1, 2);
    before->disk_format = 0;
    changes_find(before, now, &changes);
    assert_int_equal(changes.count, 4);
    assert_string_equal(changes.items[0].text, "disk_format changed: 0 → 1");
    assert_string_equal(changes.items[1].text, "seed changed: 'a' → 'b'");
    assert_string_equal(changes.items[2].text,
                        "epoch changed: 1970-01-01T00:00:00Z → 2026-11-01T00:00:00Z");
    assert_string_equal(changes.items[3].text, "archive 'x' changed: 1 → 2 bytes");
}

static void only_archives_and_images_bring_times(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"ax1 dy2 ff3", "ax1 dy4", true},     {"dy1", "ff2", true},
        {"ax1 ay2", "ay1 ax2", true},         {"ax1", "ax2", false},
        {"ax1 ox2", "ox2 ax1", false},        {"ax1", "ax1 ay1", false},
        {"dz1 ax1 ox2", "ax1 dz1 ox2", true}, {"ax1", "dx1", false},
        {"ax1 ry11 pz11", "ax1 ry22", true},  {"ax1", "rx11", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(lock_freep) struct lock *a = shorthand(rows[i].a);
        SCOPED(lock_freep) struct lock *b = shorthand(rows[i].b);

        assert_int_equal(lock_same_archives(a, b), rows[i].same);
        assert_int_equal(lock_same_archives(b, a), rows[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_path_is_beside_the_profile),
        cmocka_unit_test(a_lock_is_read),
        cmocka_unit_test(a_step_is_read_with_its_key),
        cmocka_unit_test(what_is_no_lock_is_refused_with_its_place),
        cmocka_unit_test(a_lock_of_a_newer_kiln_is_a_mismatch),
        cmocka_unit_test(a_lock_that_is_not_there_is_none),
        cmocka_unit_test(a_lock_that_cannot_be_read_is_an_error),
        cmocka_unit_test(the_text_is_as_documented),
        cmocka_unit_test(every_name_comes_back),
        cmocka_unit_test(what_could_not_be_read_again_is_not_written),
        cmocka_unit_test(a_symbolic_link_is_not_written_through),
        cmocka_unit_test(a_profile_that_agrees_passes),
        cmocka_unit_test(a_profile_that_differs_is_named),
        cmocka_unit_test(steps_agree_by_kind_and_label),
        cmocka_unit_test(a_disk_format_of_before_is_a_mismatch),
        cmocka_unit_test(a_layer_is_compared_whole),
        cmocka_unit_test(a_profile_with_steps_is_compared),
        cmocka_unit_test(a_step_is_compared_by_its_key),
        cmocka_unit_test(changes_are_named),
        cmocka_unit_test(inline_steps_are_named_by_their_number),
        cmocka_unit_test(steps_have_their_keys_in_json),
        cmocka_unit_test(a_head_that_changed_is_named),
        cmocka_unit_test(only_archives_and_images_bring_times),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
