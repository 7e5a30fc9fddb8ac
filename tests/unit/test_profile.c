/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "profile/profile.h"

#include <cmocka.h> /* last: it has a macro named fail */

static const char refused[] = "tests/refused/";
static const uint64_t MIB = 1 << 20, GIB = 1 << 30;

/* --- helpers --------------------------------------------------------------------------------- */

static struct profile *parse(const char *path, const char *yaml)
{
    struct profile *profile = NULL;
    struct error err = {0};

    if (profile_parse(path, yaml, strlen(yaml), &profile, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return profile;
}

static void assert_refused(const char *yaml, size_t size, const char *message)
{
    struct profile *profile = NULL;
    struct error err = {0};

    assert_int_equal(profile_parse("web.yaml", yaml, size, &profile, &err), -1);
    assert_null(profile);
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_string_equal(err.message, message);
}

static void assert_mark(struct mark mark, unsigned line, unsigned column)
{
    assert_int_equal(mark.line, line);
    assert_int_equal(mark.column, column);
}

/* A message without the directory that the test gave the profiles' paths. */
static char *without_directory(const char *message)
{
    struct buf text = {0};

    for (const char *s = message; *s != '\0';) {
        if (strncmp(s, refused, strlen(refused)) == 0) {
            s += strlen(refused);
        } else {
            buf_putc(&text, *s++);
        }
    }
    return buf_take(&text);
}

struct scratch {
    char path[64];
    char *layer, *tree, *profile;
};

static struct scratch scratch_new(void)
{
    struct scratch scratch = {.path = "/tmp/test-profile-XXXXXX"};
    struct error err = {0};

    assert_non_null(mkdtemp(scratch.path));
    scratch.layer = xprintf("%s/base.tar", scratch.path);
    scratch.tree = xprintf("%s/tree", scratch.path);
    scratch.profile = xprintf("%s/web.yaml", scratch.path);
    assert_int_equal(file_write(scratch.layer, "", 0, &err), 0);
    assert_int_equal(mkdir(scratch.tree, 0755), 0);
    return scratch;
}

static void scratch_done(struct scratch *scratch)
{
    struct error err = {0};

    assert_int_equal(file_remove_tree(scratch->path, &err), 0);
    free(scratch->layer);
    free(scratch->tree);
    free(scratch->profile);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void check_refused(const char *name)
{
    SCOPED_FREE char *path = xprintf("%s%s", refused, name);
    SCOPED_FREE char *expect_path = xprintf("%s%.*s.expect", refused, (int)strlen(name) - 5, name);
    SCOPED_FREE char *message = NULL;
    SCOPED(buf_done) struct buf expect = {0};
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0}, other = {0};

    if (profile_load(path, &profile, &err) == 0) {
        fail_msg("'%s' is not refused", name);
    }
    assert_null(profile);
    assert_int_equal(err.kind, FAIL_USAGE);
    message = without_directory(err.message);
    assert_int_equal(file_read(expect_path, 1 << 20, &expect, &other), 0);
    assert_true(expect.size > 0 && expect.data[expect.size - 1] == '\n');
    expect.data[expect.size - 1] = '\0';
    assert_string_equal(message, expect.data);
}

static void every_profile_of_refused_is_refused_as_expected(void **state)
{
    SCOPED_DIR DIR *dir = opendir(refused);
    const struct dirent *entry;
    unsigned profiles = 0, expects = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');

        if (dot != NULL && strcmp(dot, ".yaml") == 0) {
            check_refused(entry->d_name);
            profiles++;
        } else if (dot != NULL && strcmp(dot, ".expect") == 0) {
            expects++;
        }
    }
    assert_true(profiles >= 40);
    assert_int_equal(profiles, expects);
}

static void a_file_that_cannot_be_read_is_refused(void **state)
{
    static const struct {
        const char *path, *message;
    } must_not_work[] = {
        {"tests/refused/no-such.yaml",
         "open 'tests/refused/no-such.yaml': No such file or directory"},
        {"tests/refused", "read 'tests/refused': Is a directory"},
        {"/dev/zero", "'/dev/zero' is larger than 1048576 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        SCOPED(profile_freep) struct profile *profile = NULL;
        struct error err = {0};

        assert_int_equal(profile_load(must_not_work[i].path, &profile, &err), -1);
        assert_int_equal(err.kind, FAIL_USAGE);
        assert_string_equal(err.message, must_not_work[i].message);
    }
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    static const char elf[] = "\x7f"
                              "ELF\x02\x01\x01";
    static const char gzip[] = "\x1f\x8b\x08";
    static const char cut[] = "name: \xc3";

    (void)state;
    assert_refused(elf, sizeof(elf) - 1, "web.yaml:1:1: control character 0x7f");
    assert_refused(gzip, sizeof(gzip) - 1, "web.yaml:1:2: not UTF-8 text (byte 0x8b)");
    assert_refused(cut, sizeof(cut) - 1, "web.yaml:1:7: not UTF-8 text (byte 0xc3)");
    assert_refused("", 0, "web.yaml:1:1: the profile is empty");
}

static void a_profile_that_is_too_large_is_refused(void **state)
{
    SCOPED(buf_done) struct buf large = {0}, many = {0}, deep = {0};

    (void)state;
    while (large.size <= 1 << 20) {
        buf_puts(&large, "# comment\n");
    }
    assert_refused(large.data, large.size,
                   "web.yaml:1:1: the profile is larger than 1048576 "
                   "bytes");
    buf_puts(&many, "disk:\n");
    for (unsigned i = 0; i < 70000; i++) {
        buf_puts(&many, " - a\n");
    }
    assert_refused(many.data, many.size, "web.yaml:65536:4: more than 65536 values");
    for (unsigned i = 0; i < 100000; i++) {
        buf_putc(&deep, '[');
    }
    assert_refused(deep.data, deep.size,
                   "web.yaml:1:33: more than 32 maps and lists in one another");
}

static void a_great_many_problems_are_counted(void **state)
{
    SCOPED(buf_done) struct buf text = {0};
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};
    unsigned lines = 1;

    (void)state;
    for (unsigned i = 0; i < 30000; i++) {
        buf_printf(&text, "key-%u: a\n", i);
    }
    assert_int_equal(profile_parse("web.yaml", text.data, text.size, &profile, &err), -1);
    for (const char *s = err.message; (s = strchr(s, '\n')) != NULL; s++) {
        lines++;
    }
    /* The three required keys are missing as well, but come after the ones that are kept. */
    assert_int_equal(lines, 21);
    assert_non_null(strstr(err.message, "\n29983 more problems"));
}

static void long_paths_and_values_leave_room_for_the_count(void **state)
{
    SCOPED(buf_done) struct buf text = {0}, path = {0};
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        buf_puts(&path, "directory/");
    }
    buf_puts(&path, "web.yaml");
    for (unsigned i = 0; i < 20; i++) {
        buf_printf(&text, "\"\\e%0100u\": a\n", i);
    }
    assert_int_equal(profile_parse(path.data, text.data, text.size, &profile, &err), -1);
    assert_non_null(strstr(err.message, "\n21 more problems"));
    assert_int_equal(strncmp(err.message, path.data, path.size), 0);
}

static void a_path_cannot_fake_a_line(void **state)
{
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(profile_parse("a\nb\x1b.yaml", "", 0, &profile, &err), -1);
    assert_string_equal(err.message, "a\\x0ab\\x1b.yaml:1:1: the profile is empty");
}

static void a_source_that_may_not_be_read_is_refused(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL;
    SCOPED_FREE char *expect = NULL;
    static const char text[] = "name: web\narchitecture: x86_64\n"
                               "layers: [{archive: base.tar}, {directory: tree}]\n";
    struct error err = {0};
    bool root = geteuid() == 0;
    int result;

    (void)state;
    assert_int_equal(chmod(scratch.path, 0755), 0);
    assert_int_equal(chmod(scratch.layer, 0200), 0);
    assert_int_equal(chmod(scratch.tree, 0600), 0);
    assert_true(!root || seteuid(65534) == 0);
    result = profile_parse(scratch.profile, text, strlen(text), &profile, &err);
    assert_true(!root || seteuid(0) == 0);
    expect = xprintf("%s:3:20: archive 'base.tar': Permission denied\n"
                     "%s:3:43: directory 'tree': Permission denied",
                     scratch.profile, scratch.profile);
    assert_int_equal(result, -1);
    assert_string_equal(err.message, expect);
    assert_int_equal(chmod(scratch.tree, 0700), 0);
    scratch_done(&scratch);
}

/* --- what is accepted ------------------------------------------------------------------------ */

static const char full[] =
    "name: web\n"
    "version: \"1.4.0\"\n"
    "architecture: x86_64\n"
    "seed: web seed\n"
    "epoch: 2026-11-01T00:00:00Z\n"
    "layers:\n"
    "  - archive: base.tar\n"
    "    sha256: 9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n"
    "  - directory: tree\n"
    "    to: /etc/web\n"
    "    set: {/etc/web: {owner: \"0:33\"}, /etc/web/key: {mode: \"0640\", owner: \"1:33\"}}\n"
    "  - files:\n"
    "      /etc/motd: {content: \"baked by kiln\\n\", mode: 0600, owner: 7:8}\n"
    "      /etc/hosts:\n"
    "        content: |\n"
    "          one\n"
    "          two\n"
    "      /etc/empty: {content: \"\"}\n"
    "      /etc/old.conf: {remove: true}\n"
    "      /srv: {directory: true}\n"
    "      /: {directory: true, mode: \"0755\"}\n"
    "      /etc/localtime: {symlink: ../usr/share/zoneinfo/UTC, owner: \"1:1\"}\n"
    "disk:\n"
    "  size: 2500MiB\n"
    "  inodes: 262144\n"
    "  formats: [qcow2]\n"
    "  firmware: [uefi, bios]\n"
    "  kernel_command_line: console=ttyS0,115200n8 net.ifnames=0\n"
    "  engine: guestfs\n"
    "  qcow2_compression: zstd\n"
    "  partitions:\n"
    "    - {name: bios, type: bios-boot, size: 1MiB}\n"
    "    - {name: esp, type: esp, filesystem: vfat, size: 34MiB, mount: /efi}\n"
    "    - {name: swap, type: data, size: 256MiB}\n"
    "    - {name: srv, type: data, filesystem: xfs, size: 1GiB, mount: /srv/www}\n"
    "    - {name: root_A, type: root, filesystem: ext4, size: rest, mount: /}\n";

static void check_full_top(const struct profile *profile, const char *path)
{
    assert_string_equal(profile->path, path);
    assert_string_equal(profile->name, "web");
    assert_string_equal(profile->version, "1.4.0");
    assert_int_equal(profile->architecture, ARCH_X86_64);
    assert_mark(profile->architecture_mark, 3, 15);
    assert_string_equal(profile->seed, "web seed");
    assert_true(profile->has_epoch);
    assert_int_equal(profile->epoch, 1793491200);
    assert_int_equal(profile->layer_count, 3);
    assert_mark(profile->layers_mark, 7, 3);
    assert_int_equal(profile->disk_size_bytes, 3 * GIB);
    assert_true(profile->disk_size_rounded);
    assert_mark(profile->disk_size_mark, 24, 9);
    assert_int_equal(profile->inodes, 262144);
    assert_int_equal(profile->formats, FORMAT_QCOW2);
    assert_int_equal(profile->firmware, FIRMWARE_BIOS | FIRMWARE_UEFI);
    assert_mark(profile->firmware_mark, 27, 13);
    assert_string_equal(profile->kernel_command_line, "console=ttyS0,115200n8 net.ifnames=0");
    assert_int_equal(profile->engine, ENGINE_GUESTFS);
    assert_int_equal(profile->qcow2_compression, COMPRESSION_ZSTD);
}

static void check_full_sources(const struct profile *profile, const struct scratch *scratch)
{
    const struct profile_layer *archive = &profile->layers[0], *directory = &profile->layers[1];
    static const uint8_t start[] = {0x9f, 0x86, 0xd0, 0x81};

    assert_int_equal(archive->kind, LAYER_ARCHIVE);
    assert_mark(archive->mark, 7, 5);
    assert_string_equal(archive->name, "base.tar");
    assert_string_equal(archive->path, scratch->layer);
    assert_true(archive->has_sha256);
    assert_memory_equal(archive->sha256, start, sizeof(start));
    assert_int_equal(archive->sha256[31], 0x08);
    assert_mark(archive->sha256_mark, 8, 13);

    assert_int_equal(directory->kind, LAYER_DIRECTORY);
    assert_string_equal(directory->name, "tree");
    assert_string_equal(directory->path, scratch->tree);
    assert_false(directory->has_sha256);
    assert_string_equal(directory->to, "/etc/web");
    assert_int_equal(directory->set_count, 2);
    assert_string_equal(directory->sets[0].path, "/etc/web");
    assert_false(directory->sets[0].attributes.has_mode);
    assert_true(directory->sets[0].attributes.has_owner);
    assert_string_equal(directory->sets[1].path, "/etc/web/key");
    assert_mark(directory->sets[1].mark, 11, 38);
    assert_true(directory->sets[1].attributes.has_mode);
    assert_int_equal(directory->sets[1].attributes.mode, 0640);
    assert_int_equal(directory->sets[1].attributes.uid, 1);
    assert_int_equal(directory->sets[1].attributes.gid, 33);
}

static void check_full_files(const struct profile_layer *layer)
{
    static const struct {
        const char *path, *content, *symlink;
        bool remove, directory, has_mode, has_owner;
        uint32_t mode, uid, gid;
    } expect[] = {
        {"/etc/motd", "baked by kiln\n", NULL, false, false, true, true, 0600, 7, 8},
        {"/etc/hosts", "one\ntwo\n", NULL, false, false, false, false, 0644, 0, 0},
        {"/etc/empty", "", NULL, false, false, false, false, 0644, 0, 0},
        {"/etc/old.conf", NULL, NULL, true, false, false, false, 0644, 0, 0},
        {"/srv", NULL, NULL, false, true, false, false, 0755, 0, 0},
        {"/", NULL, NULL, false, true, true, false, 0755, 0, 0},
        {"/etc/localtime", NULL, "../usr/share/zoneinfo/UTC", false, false, false, true, 0777, 1,
         1},
    };

    assert_int_equal(layer->kind, LAYER_FILES);
    assert_string_equal(layer->name, "files:12");
    assert_null(layer->path);
    assert_int_equal(layer->file_count, COUNT(expect));
    for (size_t i = 0; i < COUNT(expect); i++) {
        const struct profile_file *file = &layer->files[i];

        assert_string_equal(file->path, expect[i].path);
        assert_int_equal(file->content != NULL, expect[i].content != NULL);
        if (file->content != NULL) {
            assert_string_equal(file->content, expect[i].content);
            assert_int_equal(file->content_size, strlen(expect[i].content));
        }
        assert_int_equal(file->symlink != NULL, expect[i].symlink != NULL);
        if (file->symlink != NULL) {
            assert_string_equal(file->symlink, expect[i].symlink);
        }
        assert_int_equal(file->remove, expect[i].remove);
        assert_int_equal(file->directory, expect[i].directory);
        assert_int_equal(file->attributes.has_mode, expect[i].has_mode);
        assert_int_equal(file->attributes.has_owner, expect[i].has_owner);
        assert_int_equal(file->attributes.mode, expect[i].mode);
        assert_int_equal(file->attributes.uid, expect[i].uid);
        assert_int_equal(file->attributes.gid, expect[i].gid);
    }
    assert_mark(layer->files[1].mark, 14, 7);
}

struct expected_partition {
    const char *name;
    enum partition_type type;
    enum filesystem filesystem;
    uint64_t size_bytes;
    const char *mount;
};

static void check_partitions(const struct profile *profile, const struct expected_partition *expect,
                             size_t count)
{
    assert_int_equal(profile->partition_count, count);
    for (size_t i = 0; i < count; i++) {
        const struct profile_partition *one = &profile->partitions[i];

        assert_string_equal(one->name, expect[i].name);
        assert_int_equal(one->type, expect[i].type);
        assert_int_equal(one->filesystem, expect[i].filesystem);
        assert_int_equal(one->size_bytes, expect[i].size_bytes);
        assert_int_equal(one->mount != NULL, expect[i].mount != NULL);
        if (one->mount != NULL) {
            assert_string_equal(one->mount, expect[i].mount);
        }
    }
}

static void a_full_profile_is_decoded_field_by_field(void **state)
{
    const struct expected_partition expect[] = {
        {"bios", PART_BIOS_BOOT, FS_NONE, MIB, NULL},  {"esp", PART_ESP, FS_VFAT, 34 * MIB, "/efi"},
        {"swap", PART_DATA, FS_NONE, 256 * MIB, NULL}, {"srv", PART_DATA, FS_XFS, GIB, "/srv/www"},
        {"root_A", PART_ROOT, FS_EXT4, 0, "/"},
    };
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = parse(scratch.profile, full);

    (void)state;
    check_full_top(profile, scratch.profile);
    check_full_sources(profile, &scratch);
    check_full_files(&profile->layers[2]);
    check_partitions(profile, expect, COUNT(expect));
    assert_mark(profile->partitions[1].mark, 33, 7);
    assert_mark(profile->partitions[1].size_mark, 33, 54);
    assert_mark(profile->partitions[1].mount_mark, 33, 68);
    scratch_done(&scratch);
}

static void what_is_left_out_has_its_default(void **state)
{
    const struct expected_partition expect[] = {
        {"bios", PART_BIOS_BOOT, FS_NONE, MIB, NULL},
        {"esp", PART_ESP, FS_VFAT, 64 * MIB, "/boot/efi"},
        {"root", PART_ROOT, FS_EXT4, 0, "/"},
    };
    SCOPED(profile_freep)
    struct profile *profile =
        parse("web.yaml", "name: web\narchitecture: x86_64\nlayers: [{files: {}}]\n");

    (void)state;
    assert_string_equal(profile->version, "0");
    assert_string_equal(profile->seed, "web/x86_64");
    assert_false(profile->has_epoch);
    assert_int_equal(profile->disk_size_bytes, 4 * GIB);
    assert_false(profile->disk_size_rounded);
    assert_int_equal(profile->disk_size_mark.line, 0);
    assert_int_equal(profile->inodes, 0);
    assert_int_equal(profile->formats, FORMAT_RAW | FORMAT_QCOW2);
    assert_int_equal(profile->firmware, FIRMWARE_BIOS | FIRMWARE_UEFI);
    assert_int_equal(profile->firmware_mark.line, 0);
    assert_string_equal(profile->kernel_command_line, "console=tty0 console=ttyS0");
    assert_int_equal(profile->engine, ENGINE_AUTO);
    assert_int_equal(profile->qcow2_compression, COMPRESSION_ZLIB);
    assert_string_equal(profile->layers[0].to, "/");
    check_partitions(profile, expect, COUNT(expect));
}

static void the_defaults_follow_architecture_and_firmware(void **state)
{
    const struct expected_partition both[] = {
        {"esp", PART_ESP, FS_VFAT, 64 * MIB, "/boot/efi"},
        {"root", PART_ROOT, FS_EXT4, 0, "/"},
    };
    const struct expected_partition bios[] = {
        {"bios", PART_BIOS_BOOT, FS_NONE, MIB, NULL},
        {"root", PART_ROOT, FS_EXT4, 0, "/"},
    };
    SCOPED(profile_freep)
    struct profile *arm =
        parse("web.yaml", "name: web\narchitecture: aarch64\nlayers: [{files: {}}]\n");
    SCOPED(profile_freep)
    struct profile *old =
        parse("web.yaml", "name: web\narchitecture: x86_64\nlayers: [{files: {}}]\n"
                          "disk: {firmware: [bios]}\n");
    SCOPED(profile_freep)
    struct profile *none =
        parse("web.yaml", "name: web\narchitecture: x86_64\nlayers: [{files: {}}]\n"
                          "disk: {firmware: []}\n");

    (void)state;
    assert_string_equal(arm->seed, "web/aarch64");
    assert_int_equal(arm->firmware, FIRMWARE_UEFI);
    assert_string_equal(arm->kernel_command_line, "console=tty0 console=ttyAMA0");
    check_partitions(arm, both, COUNT(both));
    assert_int_equal(old->firmware, FIRMWARE_BIOS);
    check_partitions(old, bios, COUNT(bios));
    assert_int_equal(none->firmware, 0);
    check_partitions(none, &bios[1], 1);
}

static void scalars_are_read_as_the_wanted_type(void **state)
{
    SCOPED(profile_freep)
    struct profile *profile =
        parse("web.yaml", "name: no\nversion: 1.10\narchitecture: x86_64\nseed: ~\n"
                          "layers: [{files: {/a: {content: 0755}, /b: {content: null}}}]\n"
                          "disk: {size: 1073741824, kernel_command_line: \"\"}\n");

    (void)state;
    assert_string_equal(profile->name, "no");
    assert_string_equal(profile->version, "1.10");
    assert_string_equal(profile->seed, "~");
    assert_string_equal(profile->layers[0].files[0].content, "0755");
    assert_string_equal(profile->layers[0].files[1].content, "null");
    assert_int_equal(profile->disk_size_bytes, GIB);
    assert_false(profile->disk_size_rounded);
    assert_string_equal(profile->kernel_command_line, "");
}

#define BEGIN "name: web\narchitecture: x86_64\n"
#define LAYERS "layers: [{files: {}}]\n"
#define ROOT "{name: root, type: root, filesystem: btrfs, size: 1GiB, mount: /}"

static void these_must_work(void **state)
{
    static const char *const must_work[] = {
        /* a byte order mark, carriage returns, a directive, explicit ends */
        "\xef\xbb\xbf" BEGIN LAYERS,
        "name: web\r\narchitecture: x86_64\r\nlayers:\r\n  - files: {}\r\n",
        "%YAML 1.1\n---\n" BEGIN LAYERS "...\n",
        "{name: web, \"architecture\": 'x86_64', layers: [{files: {}}]}",
        "? name\n: web\narchitecture: x86_64\n" LAYERS,
        /* the ends of ranges */
        BEGIN LAYERS "version: 2024.01~rc1+git_a-b\n",
        "name: 0\narchitecture: x86_64\n" LAYERS,
        "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
        "architecture: x86_64\n" LAYERS,
        BEGIN LAYERS "disk: {size: 64TiB, inodes: 4294967295}\n",
        BEGIN LAYERS "epoch: 1970-01-01T00:00:00Z\n",
        BEGIN LAYERS "epoch: 2024-02-29T23:59:59Z\n",
        BEGIN LAYERS "seed: Ünïcode\n",
        BEGIN "layers: [{files: {/a: {content: a, mode: '07777', owner: "
              "\"4294967294:4294967294\"}}}]\n",
        BEGIN "layers: [{files: {/..a/...: {content: a}, \"/with space/é\": {remove: true}}}]\n",
        /* a script of one line, and several that are read as one or with quotes */
        BEGIN "layers: [{run: \"true\\n\", timeout: 1s, mount: {}, memory: 64MiB}]\n",
        BEGIN "layers:\n  - run: |\n      true\n    timeout: 1440min\n",
        BEGIN "layers:\n  - run: >\n      exec\n      true\n    memory: 64GiB\n",
        BEGIN "layers:\n  - run: 'a\n\n   b'\n    leave_out: [/*, /*/, /a/*/?, \"/ \", /...]\n",
        /* a root of a fixed size, and a disk that need not start */
        BEGIN LAYERS "disk: {firmware: [], partitions: [" ROOT "]}\n",
        BEGIN LAYERS "disk: {firmware: [bios], partitions: [{name: b, type: bios-boot, size: "
                     "1MiB}, " ROOT "]}\n",
        /* an esp that is not mounted, where nothing needs it */
        BEGIN LAYERS "disk: {firmware: [], partitions: [{name: e, type: esp, filesystem: vfat, "
                     "size: 34MiB}, " ROOT "]}\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        SCOPED(profile_freep) struct profile *profile = parse("web.yaml", must_work[i]);

        assert_non_null(profile);
    }
}

static void sources_are_found_beside_the_profile(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED_FREE char *text =
        xprintf("name: web\narchitecture: x86_64\nlayers: [{archive: %s}, {archive: tree/oci}]\n",
                scratch.layer);
    SCOPED_FREE char *oci = xprintf("%s/oci", scratch.tree),
                     *layout = xprintf("%s/oci-layout", oci);
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    (void)state;
    assert_int_equal(mkdir(oci, 0755), 0);
    assert_int_equal(file_write(layout, "{}", 2, &err), 0);
    profile = parse(scratch.profile, text);
    assert_string_equal(profile->layers[0].path, scratch.layer);
    assert_string_equal(profile->layers[1].path, oci);
    scratch_done(&scratch);
}

/* --- steps ----------------------------------------------------------------------------------- */

static void add_file(const struct scratch *scratch, const char *name, size_t size)
{
    SCOPED_FREE char *path = xprintf("%s/%s", scratch->path, name);
    SCOPED_FREE char *data = xmalloc(size);
    struct error err = {0};

    memset(data, 'x', size);
    assert_int_equal(file_write(path, data, size, &err), 0);
}

static void add_directory(const struct scratch *scratch, const char *name)
{
    SCOPED_FREE char *path = xprintf("%s/%s", scratch->path, name);

    assert_int_equal(mkdir(path, 0755), 0);
}

/* PATH is that of NAME, in the directory of the profile. */
static void assert_beside(const struct scratch *scratch, const char *path, const char *name)
{
    SCOPED_FREE char *expect = xprintf("%s/%s", scratch->path, name);

    assert_string_equal(path, expect);
}

/* A profile of which LAYERS, a list, is all that matters. */
static struct profile *parse_layers(const struct scratch *scratch, const char *layers)
{
    SCOPED_FREE char *yaml = xprintf("name: web\narchitecture: x86_64\nlayers:\n%s", layers);

    return parse(scratch->profile, yaml);
}

static void assert_layers_refused(const struct scratch *scratch, const char *layers,
                                  const char *message)
{
    SCOPED_FREE char *yaml = xprintf("name: web\narchitecture: x86_64\nlayers:\n%s", layers);
    SCOPED_FREE char *expect = xprintf("%s:%s", scratch->profile, message);
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    assert_int_equal(profile_parse(scratch->profile, yaml, strlen(yaml), &profile, &err), -1);
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_string_equal(err.message, expect);
}

static void check_script_file(const struct scratch *scratch, const struct profile_layer *layer)
{
    assert_int_equal(layer->kind, LAYER_RUN);
    assert_true(profile_is_step(layer));
    assert_mark(layer->mark, 4, 5);
    assert_string_equal(layer->name, "setup.sh");
    assert_string_equal(profile_layer_label(layer), "setup.sh");
    assert_beside(scratch, layer->path, "setup.sh");
    assert_null(layer->script);
    assert_int_equal(layer->script_size, 0);
    assert_int_equal(layer->timeout_s, 90);
    assert_int_equal(layer->memory_bytes, 64 * MIB);
    assert_true(layer->has_leave_out);
    assert_int_equal(layer->leave_out_count, 2);
    assert_string_equal(layer->leave_out[0], "/var/log/*.lo?");
    assert_string_equal(layer->leave_out[1], "/var/cache/");
    assert_int_equal(layer->mount_count, 2);
    assert_string_equal(layer->mounts[0].target, "/mnt/a");
    assert_string_equal(layer->mounts[0].name, "tree");
    assert_beside(scratch, layer->mounts[0].path, "tree");
    assert_mark(layer->mounts[0].mark, 5, 27);
    assert_string_equal(layer->mounts[1].target, "/mnt/b");
    assert_string_equal(layer->mounts[1].name, "debs");
}

static void check_script_text(const struct profile_layer *layer)
{
    static const char text[] = "#!/bin/sh\necho hello\n";

    assert_int_equal(layer->kind, LAYER_RUN);
    assert_string_equal(layer->name, "run:9");
    assert_string_equal(profile_layer_label(layer), "run");
    assert_null(layer->path);
    assert_string_equal(layer->script, text);
    assert_int_equal(layer->script_size, strlen(text));
    assert_int_equal(layer->timeout_s, 1800);
    assert_int_equal(layer->memory_bytes, GIB);
    assert_false(layer->has_leave_out);
    assert_int_equal(layer->leave_out_count, 0);
    assert_int_equal(layer->mount_count, 0);
}

static void steps_are_decoded_field_by_field(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL;
    const struct profile_layer *packages;

    (void)state;
    add_directory(&scratch, "debs");
    add_file(&scratch, "debs/b.deb", 1);
    add_file(&scratch, "setup.sh", 1);
    profile = parse_layers(&scratch, "  - run: setup.sh\n"
                                     "    mount: {debs: /mnt/b, tree: /mnt/a}\n"
                                     "    timeout: 90s\n"
                                     "    memory: 64MiB\n"
                                     "    leave_out: [/var/log/*.lo?, /var/cache/]\n"
                                     "  - run: |\n"
                                     "      #!/bin/sh\n"
                                     "      echo hello\n"
                                     "  - packages: [debs]\n"
                                     "    timeout: 24h\n"
                                     "    memory: 64GiB\n"
                                     "    leave_out: []\n");
    assert_int_equal(profile->layer_count, 3);
    check_script_file(&scratch, &profile->layers[0]);
    check_script_text(&profile->layers[1]);
    packages = &profile->layers[2];
    assert_int_equal(packages->kind, LAYER_PACKAGES);
    assert_true(profile_is_step(packages));
    assert_string_equal(packages->name, "packages:12");
    assert_string_equal(profile_layer_label(packages), "packages");
    assert_null(packages->path);
    assert_int_equal(packages->timeout_s, 86400);
    assert_int_equal(packages->memory_bytes, 64 * GIB);
    assert_true(packages->has_leave_out);
    assert_int_equal(packages->leave_out_count, 0);
    assert_int_equal(packages->package_count, 1);
    assert_string_equal(packages->packages[0].name, "b.deb");
    assert_beside(&scratch, packages->packages[0].path, "debs/b.deb");
    assert_mark(packages->packages[0].mark, 12, 16);
    scratch_done(&scratch);
}

static void only_packages_and_run_are_steps(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep)
    struct profile *profile =
        parse_layers(&scratch, "  [{archive: base.tar}, {directory: tree}, {files: {}}]\n");

    (void)state;
    for (size_t i = 0; i < profile->layer_count; i++) {
        assert_false(profile_is_step(&profile->layers[i]));
        assert_int_equal(profile->layers[i].timeout_s, 0);
        assert_int_equal(profile->layers[i].memory_bytes, 0);
    }
    scratch_done(&scratch);
}

static void patterns_name_each_package_once_in_order(void **state)
{
    static const char *const expect[] = {"a1.deb", "a2.deb", "b.deb", "c.deb"};
    static const char *const places[] = {"more/a1.deb", "d*[x]/a2.deb", "b.deb", "more/c.deb"};
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL;
    const struct profile_layer *layer;

    (void)state;
    add_directory(&scratch, "more");
    add_directory(&scratch, "d*[x]");
    add_directory(&scratch, "dax");
    add_file(&scratch, "more/a1.deb", 1);
    add_file(&scratch, "more/c.deb", 1);
    add_file(&scratch, "more/README", 1);
    add_file(&scratch, "more/.hidden.deb", 1);
    add_file(&scratch, "d*[x]/a2.deb", 1);
    add_file(&scratch, "dax/a3.deb", 1); /* what "d*[x]" as a pattern would match */
    add_file(&scratch, "b.deb", 1);
    profile = parse_layers(&scratch, "  - packages:\n"
                                     "      - more/\n"
                                     "      - more/a?.deb\n"
                                     "      - './b.d[e]b'\n"
                                     "      - 'd\\*\\[x\\]'\n"
                                     "      - tree/../b.deb\n");
    layer = &profile->layers[0];
    assert_int_equal(layer->package_count, COUNT(expect));
    for (size_t i = 0; i < COUNT(expect); i++) {
        SCOPED_FREE char *real = realpath(layer->packages[i].path, NULL);

        assert_string_equal(layer->packages[i].name, expect[i]);
        assert_beside(&scratch, real, places[i]);
    }
    assert_mark(layer->packages[0].mark, 5, 9);
    assert_mark(layer->packages[1].mark, 8, 9);
    scratch_done(&scratch);
}

/* A directory whose name is a pattern itself is taken by its name. */
static void patterns_are_relative_to_the_profile(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL;

    (void)state;
    add_directory(&scratch, "[a]*");
    add_directory(&scratch, "ab");
    add_file(&scratch, "[a]*/x.rpm", 1);
    add_file(&scratch, "ab/y.rpm", 1);
    free(scratch.profile);
    scratch.profile = xprintf("%s/[a]*/web.yaml", scratch.path);
    profile = parse_layers(&scratch, "  - packages: ['*']\n");
    assert_int_equal(profile->layers[0].package_count, 1);
    assert_beside(&scratch, profile->layers[0].packages[0].path, "[a]*/x.rpm");
    scratch_done(&scratch);
}

static void inputs_of_steps_must_be_readable(void **state)
{
    static const char *const names[] = {"a.deb", "setup.sh", "dir"};
    struct scratch scratch = scratch_new();
    SCOPED_FREE char *message = NULL;
    bool root = geteuid() == 0;

    (void)state;
    add_file(&scratch, "a.deb", 1);
    add_file(&scratch, "setup.sh", 1);
    add_directory(&scratch, "dir");
    for (size_t i = 0; i < COUNT(names); i++) {
        SCOPED_FREE char *path = xprintf("%s/%s", scratch.path, names[i]);

        assert_int_equal(chmod(path, 0200), 0);
    }
    message =
        xprintf("4:16: packages 'a.deb': '%s/a.deb': Permission denied\n"
                "%s:5:16: packages 'dir/*.deb': Permission denied\n"
                "%s:6:16: packages 'dir': Permission denied\n"
                "%s:7:10: run 'setup.sh': Permission denied\n"
                "%s:8:13: mount 'dir': Permission denied",
                scratch.path, scratch.profile, scratch.profile, scratch.profile, scratch.profile);
    assert_int_equal(chmod(scratch.path, 0755), 0);
    assert_true(!root || seteuid(65534) == 0);
    assert_layers_refused(&scratch,
                          "  - packages: [a.deb]\n"
                          "  - packages: [dir/*.deb]\n"
                          "  - packages: [dir]\n"
                          "  - run: setup.sh\n"
                          "    mount: {dir: /mnt}\n",
                          message);
    assert_true(!root || seteuid(0) == 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        SCOPED_FREE char *path = xprintf("%s/%s", scratch.path, names[i]);

        assert_int_equal(chmod(path, 0700), 0);
    }
    scratch_done(&scratch);
}

static void a_script_has_a_mebibyte_at_most(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL;
    SCOPED(buf_done) struct buf text = {0};

    (void)state;
    add_file(&scratch, "setup.sh", 1 << 20);
    profile = parse_layers(&scratch, "  - run: setup.sh\n");
    add_file(&scratch, "setup.sh", (1 << 20) + 1);
    assert_layers_refused(&scratch, "  - run: setup.sh\n",
                          "4:10: run 'setup.sh': larger than 1MiB (give the script its data with "
                          "'mount')");
    /* Two bytes of a profile that are three of text. */
    buf_puts(&text, "  - run: \"\\n");
    for (unsigned i = 0; i < 350000; i++) {
        buf_puts(&text, "\\L");
    }
    buf_puts(&text, "\"\n");
    assert_layers_refused(&scratch, text.data, "4:10: run: more than 1MiB of text");
    scratch_done(&scratch);
}

static void lists_of_a_step_have_limits(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL;
    SCOPED(buf_done) struct buf patterns = {0}, mounts = {0};

    (void)state;
    buf_puts(&patterns, "  - run: \"true\\n\"\n    leave_out:\n");
    for (unsigned i = 0; i < 1024; i++) {
        buf_printf(&patterns, "      - /%u\n", i);
    }
    profile = parse_layers(&scratch, patterns.data);
    assert_int_equal(profile->layers[0].leave_out_count, 1024);
    assert_string_equal(profile->layers[0].leave_out[1023], "/1023");
    buf_puts(&patterns, "      - /x\n");
    assert_layers_refused(&scratch, patterns.data, "6:7: 'leave_out' has more than 1024 items");
    buf_puts(&mounts, "  - run: \"true\\n\"\n    mount:\n");
    for (unsigned i = 0; i < 65; i++) {
        SCOPED_FREE char *name = xprintf("tree/%u", i);

        add_directory(&scratch, name);
        buf_printf(&mounts, "      %s: /mnt/%u\n", name, i);
    }
    assert_layers_refused(&scratch, mounts.data, "6:7: mount: more than 64 directories");
    scratch_done(&scratch);
}

/* --- extends --------------------------------------------------------------------------------- */

static void add_text(const struct scratch *scratch, const char *name, const char *text)
{
    SCOPED_FREE char *path = xprintf("%s/%s", scratch->path, name);
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

/* MARK is in the file NAME beside the profile; NULL: in the profile itself. */
static void assert_place(const struct scratch *scratch, struct mark mark, const char *name,
                         unsigned line, unsigned column)
{
    assert_mark(mark, line, column);
    if (name == NULL) {
        assert_null(mark.file);
    } else {
        assert_beside(scratch, mark.file, name);
    }
}

static const char grandparent[] = "architecture: aarch64\n"
                                  "seed: common\n"
                                  "version: \"1\"\n"
                                  "layers:\n"
                                  "  - archive: ../../base.tar\n"
                                  "  - files: {}\n"
                                  "disk:\n"
                                  "  formats: [raw]\n"
                                  "  size: 2GiB\n"
                                  "  inodes: 4096\n";
static const char parent[] = "extends: common/all.yaml\n"
                             "version: \"2\"\n"
                             "architecture: x86_64\n"
                             "layers:\n"
                             "  - directory: conf\n"
                             "    set: {/a: {mode: \"0600\"}}\n"
                             "  - packages: [debs]\n"
                             "  - run: setup.sh\n"
                             "    mount: {conf: /mnt}\n"
                             "  - run: \"true\\n\"\n"
                             "disk: {formats: [raw, qcow2], firmware: [bios], inodes: 8192}\n";
static const char child[] = "name: web\n"
                            "extends: more/server.yaml\n"
                            "version: \"3\"\n"
                            "layers:\n"
                            "  - directory: tree\n"
                            "  - files: {}\n"
                            "disk:\n"
                            "  formats: [qcow2]\n"
                            "  firmware: [bios, uefi]\n"
                            "  size: 3GiB\n";

static struct scratch scratch_of_three(void)
{
    struct scratch scratch = scratch_new();

    add_directory(&scratch, "more");
    add_directory(&scratch, "more/common");
    add_directory(&scratch, "more/conf");
    add_directory(&scratch, "more/debs");
    add_file(&scratch, "more/debs/a.deb", 1);
    add_file(&scratch, "more/setup.sh", 1);
    add_text(&scratch, "more/common/all.yaml", grandparent);
    add_text(&scratch, "more/server.yaml", parent);
    return scratch;
}

static void maps_merge_lists_append_and_the_own_text_counts(void **state)
{
    struct scratch scratch = scratch_of_three();
    SCOPED(profile_freep) struct profile *profile = parse(scratch.profile, child);

    (void)state;
    assert_string_equal(profile->path, scratch.profile);
    assert_beside(&scratch, profile->parents[0], "more/server.yaml");
    assert_beside(&scratch, profile->parents[1], "more/common/all.yaml");
    assert_null(profile->parents[2]);
    assert_string_equal(profile->name, "web");
    assert_string_equal(profile->version, "3");
    assert_string_equal(profile->seed, "common");
    assert_int_equal(profile->architecture, ARCH_X86_64);
    assert_place(&scratch, profile->architecture_mark, "more/server.yaml", 3, 15);
    assert_place(&scratch, profile->layers_mark, NULL, 5, 3);
    assert_int_equal(profile->disk_size_bytes, 3 * GIB);
    assert_place(&scratch, profile->disk_size_mark, NULL, 10, 9);
    assert_int_equal(profile->inodes, 8192);
    assert_int_equal(profile->formats, FORMAT_RAW | FORMAT_QCOW2);
    assert_int_equal(profile->firmware, FIRMWARE_BIOS | FIRMWARE_UEFI);
    assert_place(&scratch, profile->firmware_mark, NULL, 9, 13);
    scratch_done(&scratch);
}

static void layers_keep_their_file_and_what_is_relative_to_it(void **state)
{
    static const struct {
        enum layer_kind kind;
        const char *file, *name, *path, *label;
        unsigned line;
    } expect[] = {
        {LAYER_ARCHIVE, "more/common/all.yaml", "../../base.tar", "more/common/../../base.tar",
         "../../base.tar", 5},
        {LAYER_FILES, "more/common/all.yaml", NULL, NULL, "files", 6},
        {LAYER_DIRECTORY, "more/server.yaml", "conf", "more/conf", "conf", 5},
        {LAYER_PACKAGES, "more/server.yaml", NULL, NULL, "packages", 7},
        {LAYER_RUN, "more/server.yaml", "setup.sh", "more/setup.sh", "setup.sh", 8},
        {LAYER_RUN, "more/server.yaml", NULL, NULL, "run", 10},
        {LAYER_DIRECTORY, NULL, "tree", "tree", "tree", 5},
        {LAYER_FILES, NULL, NULL, NULL, "files", 6},
    };
    struct scratch scratch = scratch_of_three();
    SCOPED(profile_freep) struct profile *profile = parse(scratch.profile, child);

    (void)state;
    assert_int_equal(profile->layer_count, COUNT(expect));
    for (size_t i = 0; i < COUNT(expect); i++) {
        const struct profile_layer *layer = &profile->layers[i];
        SCOPED_FREE char *place = expect[i].file != NULL
                                      ? xprintf("%s:%s/%s:%u", expect[i].label, scratch.path,
                                                expect[i].file, expect[i].line)
                                      : xprintf("%s:%u", expect[i].label, expect[i].line);

        assert_int_equal(layer->kind, expect[i].kind);
        assert_place(&scratch, layer->mark, expect[i].file, expect[i].line, 5);
        assert_string_equal(layer->name, expect[i].name != NULL ? expect[i].name : place);
        assert_string_equal(profile_layer_label(layer), expect[i].label);
        assert_int_equal(layer->path != NULL, expect[i].path != NULL);
        if (layer->path != NULL) {
            assert_beside(&scratch, layer->path, expect[i].path);
        }
    }
    assert_place(&scratch, profile->layers[2].sets[0].mark, "more/server.yaml", 6, 11);
    assert_beside(&scratch, profile->layers[3].packages[0].path, "more/debs/a.deb");
    assert_place(&scratch, profile->layers[3].packages[0].mark, "more/server.yaml", 7, 16);
    assert_beside(&scratch, profile->layers[4].mounts[0].path, "more/conf");
    assert_place(&scratch, profile->layers[4].mounts[0].mark, "more/server.yaml", 9, 13);
    scratch_done(&scratch);
}

static void a_later_stage_points_into_the_file_that_is_extended(void **state)
{
    struct scratch scratch = scratch_of_three();
    SCOPED(profile_freep) struct profile *profile = parse(scratch.profile, child);
    SCOPED_FREE char *expect = xprintf("%s/more/common/all.yaml:5:5: too old", scratch.path);
    struct error err = {0};

    (void)state;
    assert_int_equal(profile_fail(profile, profile->layers[0].mark, &err, "too old"), -1);
    assert_string_equal(err.message, expect);
    scratch_done(&scratch);
}

/* 1.yaml, which extends 2.yaml, and so on: FILES with the profile itself. */
static void add_chain(const struct scratch *scratch, unsigned files)
{
    for (unsigned i = 1; i < files; i++) {
        SCOPED_FREE char *name = xprintf("%u.yaml", i);
        SCOPED_FREE char *text =
            i + 1 < files
                ? xprintf("extends: %u.yaml\nlayers: [{files: {/%u: {remove: true}}}]\n", i + 1, i)
                : xprintf("layers: [{files: {/%u: {remove: true}}}]\n", i);

        add_text(scratch, name, text);
    }
}

static void eight_files_in_a_row_are_read(void **state)
{
    static const char text[] = BEGIN "extends: 1.yaml\nlayers: [{files: {/0: {remove: true}}}]\n";
    struct scratch scratch = scratch_new();
    SCOPED(profile_freep) struct profile *profile = NULL, *other = NULL;
    struct error err = {0};

    (void)state;
    add_chain(&scratch, 8);
    profile = parse(scratch.profile, text);
    assert_int_equal(profile->layer_count, 8);
    for (unsigned i = 0; i < 8; i++) {
        SCOPED_FREE char *path = xprintf("/%u", 7 - i);

        assert_string_equal(profile->layers[i].files[0].path, path);
    }
    add_chain(&scratch, 9);
    assert_int_equal(profile_parse(scratch.profile, text, strlen(text), &other, &err), -1);
    assert_non_null(strstr(err.message, "/7.yaml:1:10: extends '8.yaml': more than 8 files"));
    scratch_done(&scratch);
}

static void assert_extends_refused(const struct scratch *scratch, const char *parent_text,
                                   const char *own_text, const char *reason)
{
    SCOPED_FREE char *expect = xprintf("%s:3:10: extends 'a.yaml': %s", scratch->profile, reason);
    SCOPED_FREE char *text = xprintf("%sextends: a.yaml\n%s", BEGIN, own_text);
    SCOPED(profile_freep) struct profile *profile = NULL;
    struct error err = {0};

    add_text(scratch, "a.yaml", parent_text);
    assert_int_equal(profile_parse(scratch->profile, text, strlen(text), &profile, &err), -1);
    assert_string_equal(err.message, expect);
}

static void sizes_are_those_of_all_files_together(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED(buf_done) struct buf text = {0}, values = {0};

    (void)state;
    while (text.size < 600000) {
        buf_puts(&text, "# comment\n");
    }
    assert_extends_refused(&scratch, text.data, text.data,
                           "with it, the profile is larger than 1048576 bytes");
    buf_puts(&values, "disk:\n  firmware:\n");
    for (unsigned i = 0; i < 33000; i++) {
        buf_puts(&values, "  - a\n");
    }
    assert_extends_refused(&scratch, values.data, values.data,
                           "with it, the profile has more than 65536 values");
    scratch_done(&scratch);
}

static void a_parent_that_cannot_be_read_is_refused(void **state)
{
    struct scratch scratch = scratch_new();
    SCOPED_FREE char *path = xprintf("%s/a.yaml", scratch.path);
    SCOPED_FREE char *reason = xprintf("open '%s': Permission denied", path);
    SCOPED(profile_freep) struct profile *profile = NULL;
    static const char text[] = BEGIN "extends: a.yaml\n";
    struct error err = {0}, other = {0};
    bool root = geteuid() == 0;
    int result;

    (void)state;
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_int_equal(profile_parse(scratch.profile, text, strlen(text), &profile, &err), -1);
    assert_non_null(strstr(err.message, ":3:10: extends 'a.yaml': not a file"));
    assert_int_equal(unlink(path), 0);
    add_text(&scratch, "a.yaml", LAYERS);
    assert_int_equal(chmod(path, 0200), 0);
    assert_int_equal(chmod(scratch.path, 0755), 0);
    assert_true(!root || seteuid(65534) == 0);
    result = profile_parse(scratch.profile, text, strlen(text), &profile, &other);
    assert_true(!root || seteuid(0) == 0);
    assert_int_equal(result, -1);
    assert_non_null(strstr(other.message, ":3:10: extends 'a.yaml': "));
    assert_non_null(strstr(other.message, reason));
    scratch_done(&scratch);
}

/* --- the rest of the interface --------------------------------------------------------------- */

static void a_later_stage_points_into_the_file(void **state)
{
    SCOPED(profile_freep) struct profile *profile = parse("web.yaml", BEGIN LAYERS);
    struct error err = {0}, other = {0};

    (void)state;
    assert_int_equal(profile_fail(profile, profile->layers_mark, &err, "%s '%s'", "bad", "a\nb"),
                     -1);
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_string_equal(err.message, "web.yaml:3:9: bad 'a\\x0ab'");
    assert_int_equal(profile_fail(profile, profile->disk_size_mark, &other, "too small"), -1);
    assert_string_equal(other.message, "web.yaml: too small");
}

static void words_have_their_names(void **state)
{
    (void)state;
    assert_string_equal(architecture_name(ARCH_X86_64), "x86_64");
    assert_string_equal(architecture_name(ARCH_AARCH64), "aarch64");
    assert_string_equal(filesystem_name(FS_NONE), "none");
    assert_string_equal(filesystem_name(FS_EXT4), "ext4");
    assert_string_equal(filesystem_name(FS_XFS), "xfs");
    assert_string_equal(filesystem_name(FS_BTRFS), "btrfs");
    assert_string_equal(filesystem_name(FS_VFAT), "vfat");
    assert_string_equal(partition_type_name(PART_BIOS_BOOT), "bios-boot");
    assert_string_equal(partition_type_name(PART_ESP), "esp");
    assert_string_equal(partition_type_name(PART_ROOT), "root");
    assert_string_equal(partition_type_name(PART_DATA), "data");
    assert_string_equal(engine_name(ENGINE_AUTO), "auto");
    assert_string_equal(engine_name(ENGINE_NATIVE), "native");
    assert_string_equal(engine_name(ENGINE_GUESTFS), "guestfs");
}

static void collect_field(const struct profile_field *field, void *data)
{
    struct buf *list = data;

    assert_true(field->help != NULL && field->help[0] != '\0');
    assert_true(field->type[0] != '\0');
    buf_printf(list, "%s%s%s\n", field->path, field->required ? "!" : "",
               field->supported ? "" : "-");
}

static void every_field_is_listed_with_its_path(void **state)
{
    static const char *const some[] = {
        "name!\n",        "extends\n",
        "layers!\n",      "layers[].files.PATH.content\n",
        "layers[].run\n", "layers[].set.PATH.mode\n",
        "disk.size\n",    "disk.partitions[].size!\n",
        "targets\n",      "disk.partitions[].mount\n",
        "tests-\n",       "targets.NAME(aws).region\n",
    };
    SCOPED(buf_done) struct buf list = {0};

    (void)state;
    profile_fields(collect_field, &list);
    for (size_t i = 0; i < COUNT(some); i++) {
        SCOPED_FREE char *line = xprintf("\n%s", some[i]);

        if (strstr(list.data, line) == NULL && strncmp(list.data, some[i], strlen(some[i])) != 0) {
            fail_msg("no %s", some[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_profile_of_refused_is_refused_as_expected),
        cmocka_unit_test(a_file_that_cannot_be_read_is_refused),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(a_profile_that_is_too_large_is_refused),
        cmocka_unit_test(a_great_many_problems_are_counted),
        cmocka_unit_test(long_paths_and_values_leave_room_for_the_count),
        cmocka_unit_test(a_path_cannot_fake_a_line),
        cmocka_unit_test(a_source_that_may_not_be_read_is_refused),
        cmocka_unit_test(a_full_profile_is_decoded_field_by_field),
        cmocka_unit_test(what_is_left_out_has_its_default),
        cmocka_unit_test(the_defaults_follow_architecture_and_firmware),
        cmocka_unit_test(scalars_are_read_as_the_wanted_type),
        cmocka_unit_test(these_must_work),
        cmocka_unit_test(sources_are_found_beside_the_profile),
        cmocka_unit_test(steps_are_decoded_field_by_field),
        cmocka_unit_test(only_packages_and_run_are_steps),
        cmocka_unit_test(patterns_name_each_package_once_in_order),
        cmocka_unit_test(patterns_are_relative_to_the_profile),
        cmocka_unit_test(inputs_of_steps_must_be_readable),
        cmocka_unit_test(a_script_has_a_mebibyte_at_most),
        cmocka_unit_test(lists_of_a_step_have_limits),
        cmocka_unit_test(maps_merge_lists_append_and_the_own_text_counts),
        cmocka_unit_test(layers_keep_their_file_and_what_is_relative_to_it),
        cmocka_unit_test(a_later_stage_points_into_the_file_that_is_extended),
        cmocka_unit_test(eight_files_in_a_row_are_read),
        cmocka_unit_test(sizes_are_those_of_all_files_together),
        cmocka_unit_test(a_parent_that_cannot_be_read_is_refused),
        cmocka_unit_test(a_later_stage_points_into_the_file),
        cmocka_unit_test(words_have_their_names),
        cmocka_unit_test(every_field_is_listed_with_its_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
