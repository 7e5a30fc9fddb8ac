/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/state.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#define USUAL "seed: s\nlayers: [{files: {/a: {content: one}}}, {files: {/b: {content: two}}}]\n"
#define DISK(size, root)                                                                           \
    "disk: {size: " size ", firmware: [], partitions: [{" root                                     \
    ", type: root, filesystem: ext4, size: rest, mount: /}]}\n"
#define USUAL_DISK DISK("1GiB", "name: root")

/* Builds the disk of a profile, with the store if WITH_STORE; returns from how many layers on. */
static size_t build(const char *rest, bool with_store, uint8_t digest[HASH_SIZE])
{
    SCOPED_FREE char *yaml = xprintf("name: t\narchitecture: x86_64\nepoch: 2026-01-01T00:00:00Z\n"
                                     "%s",
                                     rest);
    const struct ui_options options = {.quiet = true};
    const struct boot boot = {0};
    struct ui *ui = ui_new(&options);
    struct profile *profile = NULL;
    struct plan *plan = NULL;
    struct stack *stack = NULL;
    struct store *store = NULL;
    struct writing *writing = NULL;
    struct disk disk;
    struct error err = {0};
    SCOPED_FREE char *detail = NULL;
    SCOPED_FD int fd = -1;
    size_t begun;

    (void)unlink("disk.raw");
    assert_int_equal(profile_parse("t.yaml", yaml, strlen(yaml), &profile, &err), 0);
    assert_int_equal(plan_make(profile, &plan, &err), 0);
    assert_int_equal(stack_open(profile, &stack, &err), 0);
    assert_int_equal(with_store ? store_open(&store, &err) : 0, 0);
    disk = (struct disk){.profile = profile,
                         .plan = plan,
                         .engine = ENGINE_NATIVE,
                         .stack = stack,
                         .boot = &boot,
                         .epoch = profile->epoch,
                         .blocks = blocks_new(plan->size_bytes),
                         .path = "disk.raw",
                         .temporary = ".",
                         .ui = ui,
                         .store = store,
                         .use_states = true};
    if (disk_begin(&disk, &writing, &err) < 0) {
        fail_msg("%s", err.message);
    }
    begun = stack->done;
    if (stack_scan(stack, NULL, disk_taker(writing), NULL, NULL, &err) < 0) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < plan->partition_count; i++) { /* as boot_prepare does */
        const char *mount = plan->partitions[i].spec->mount;

        if (strcmp(mount, "/") != 0) {
            assert_int_equal(stack_add_directory(stack, mount + 1, &err), 0);
        }
    }
    tree_settle(stack->tree, disk.epoch);
    if (disk_check(&disk, &err) < 0 || disk_end(writing, &detail, &err) < 0) {
        fail_msg("%s", err.message);
    }
    /* Digests that are known may be wrong, those of the bytes are not: both must be the same. */
    fd = open("disk.raw", O_RDONLY | O_CLOEXEC);
    assert_int_equal(blocks_complete(disk.blocks, fd, "disk.raw", NULL, NULL, &err), 0);
    blocks_total(disk.blocks, digest);
    {
        SCOPED(blocks_freep) struct blocks *fresh = blocks_new(plan->size_bytes);
        uint8_t again[HASH_SIZE];

        assert_int_equal(blocks_complete(fresh, fd, "disk.raw", NULL, NULL, &err), 0);
        blocks_total(fresh, again);
        assert_memory_equal(again, digest, HASH_SIZE);
    }
    disk_free(writing);
    blocks_free(disk.blocks);
    store_free(store);
    stack_free(stack);
    plan_free(plan);
    profile_free(profile);
    ui_free(ui);
    return begun;
}

/* From how many layers a build with the store goes on; it must be the disk of one without. */
static size_t begins_after(const char *rest)
{
    uint8_t plain[HASH_SIZE], cached[HASH_SIZE];
    size_t begun;

    assert_int_equal(build(rest, false, plain), 0);
    begun = build(rest, true, cached);
    assert_memory_equal(plain, cached, HASH_SIZE);
    return begun;
}

/* An empty store before each test. */
static int empty_store(void **state)
{
    struct error err = {0};

    (void)state;
    return file_remove_tree("store", &err) < 0 || mkdir("store", 0700) < 0 ||
                   setenv("KILN_STORE", "store", 1) < 0
               ? -1
               : 0;
}

static void a_build_goes_on_after_what_it_knows(void **state)
{
    (void)state;
    assert_int_equal(begins_after(USUAL USUAL_DISK), 0);
    assert_int_equal(begins_after(USUAL USUAL_DISK), 1);
    assert_int_equal(begins_after("seed: s\nlayers: [{files: {/a: {content: one}}}, "
                                  "{files: {/a: {content: changed}, /c: {content: x}}}]\n" //
                                  USUAL_DISK),
                     1);
    assert_int_equal(begins_after("seed: s\nlayers: [{files: {/a: {content: one}}}]\n" USUAL_DISK),
                     1);
}

/* Everything that shapes the disk has its part in the key. */
static void another_disk_is_begun_anew(void **state)
{
    static const char *const others[] = {
        "seed: s\nlayers: [{files: {/a: {content: ONE}}}, {files: {/b: {content: two}}}]\n" //
        USUAL_DISK,
        "seed: s\nlayers: [{files: {/a: {content: one, mode: \"0600\"}}}, "
        "{files: {/b: {content: two}}}]\n" USUAL_DISK,
        "seed: s\nlayers: [{files: {/b: {content: two}}}, {files: {/a: {content: one}}}]\n" //
        USUAL_DISK,
        "seed: t\nlayers: [{files: {/a: {content: one}}}, {files: {/b: {content: two}}}]\n" //
        USUAL_DISK,
        USUAL DISK("2GiB", "name: root"),
        USUAL DISK("1GiB", "name: r"),
        USUAL "disk: {size: 1GiB, inodes: 5000, firmware: [], partitions: [{name: root, "
              "type: root, filesystem: ext4, size: rest, mount: /}]}\n",
        USUAL "disk: {size: 1GiB, firmware: [], partitions: [{name: srv, type: data, "
              "filesystem: ext4, size: 64MiB, mount: /srv}, {name: root, type: root, "
              "filesystem: ext4, size: rest, mount: /}]}\n",
    };

    (void)state;
    assert_int_equal(begins_after(USUAL USUAL_DISK), 0);
    for (size_t i = 0; i < COUNT(others); i++) {
        if (begins_after(others[i]) != 0) {
            fail_msg("%zu: it went on from another one's state", i);
        }
    }
}

/* Cuts the last byte off every file of a state called NAME. */
static int cut_file(const char *path, const struct stat *st, int type, struct FTW *where,
                    const char *name)
{
    return type == FTW_F && strcmp(path + where->base, name) == 0 ? truncate(path, st->st_size - 1)
                                                                  : 0;
}

static int cut_disk(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return cut_file(path, st, type, where, "disk");
}

static int cut_tree(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return cut_file(path, st, type, where, "tree");
}

static void a_damaged_state_is_built_again(void **state)
{
    (void)state;
    assert_int_equal(begins_after(USUAL USUAL_DISK), 0);
    assert_int_equal(nftw("store", cut_disk, 8, FTW_PHYS), 0);
    assert_int_equal(begins_after(USUAL USUAL_DISK), 0);
    assert_int_equal(begins_after(USUAL USUAL_DISK), 1);
    assert_int_equal(nftw("store", cut_tree, 8, FTW_PHYS), 0);
    assert_int_equal(begins_after(USUAL USUAL_DISK), 0);
    assert_int_equal(begins_after(USUAL USUAL_DISK), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_build_goes_on_after_what_it_knows, empty_store),
        cmocka_unit_test_setup(another_disk_is_begun_anew, empty_store),
        cmocka_unit_test_setup(a_damaged_state_is_built_again, empty_store),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
