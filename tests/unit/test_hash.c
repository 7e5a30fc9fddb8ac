/* SPDX-License-Identifier: Apache-2.0 */
/* Digests and UUIDs against values that other implementations give. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/hash.h"

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void digests_are_those_of_fips_180(void **state)
{
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];

    (void)state;
    hash_bytes("", 0, digest);
    assert_string_equal(hash_hex(digest, hex), empty);
    hash_bytes("abc", 3, digest);
    assert_string_equal(hash_hex(digest, hex), abc);
    hash_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, digest);
    assert_string_equal(hash_hex(digest, hex),
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void pieces_make_the_digest_of_the_whole(void **state)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    uint8_t digest[HASH_SIZE], a[997];
    char hex[HASH_HEX_MAX];

    (void)state;
    memset(a, 'a', sizeof(a));
    for (size_t left = 1000000; left > 0;) {
        size_t size = left < sizeof(a) ? left : sizeof(a);

        hash_add(hash, a, size);
        left -= size;
    }
    hash_end(hash, digest);
    assert_string_equal(hash_hex(digest, hex),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* By Python: hashlib.new(NAME, b"abc").hexdigest(). */
static void digests_of_other_names_are_those_of_hashlib(void **state)
{
    static const struct {
        const char *name, *digest;
    } known[] = {
        {"sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"sha384", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                   "8086072ba1e7cc2358baeca134c825a7"},
        {"sha512", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                   "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
        {"sha3_256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
        {"sha3_384", "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
                     "98d88cea927ac7f539f1edf228376d25"},
        {"sha3_512", "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
                     "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"},
        {"blake2b", "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"},
        {"blake2s", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"},
    };
    char hex[HASH_NAMED_HEX_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        SCOPED(hash_freep) struct hash *hash = hash_new_named(known[i].name);

        assert_non_null(hash);
        hash_add(hash, "ab", 2);
        hash_add(hash, "c", 1);
        assert_string_equal(hash_end_hex(hash, hex), known[i].digest);
    }
    assert_null(hash_new_named("md5"));
    assert_null(hash_new_named("sha1"));
    assert_null(hash_new_named("SHA512"));
    assert_null(hash_new_named(""));
}

static void a_hash_begins_anew_after_its_end(void **state)
{
    SCOPED(hash_freep) struct hash *hash = hash_new();
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_MAX];

    (void)state;
    hash_add(hash, "other", 5);
    hash_end(hash, digest);
    hash_end(hash, digest);
    assert_string_equal(hash_hex(digest, hex), empty);
    hash_add(hash, "a", 1);
    hash_add(hash, "", 0);
    hash_add(hash, "bc", 2);
    hash_end(hash, digest);
    assert_string_equal(hash_hex(digest, hex), abc);
    hash_free(NULL);
}

static void digests_are_read_in_either_case(void **state)
{
    uint8_t expected[HASH_SIZE], digest[HASH_SIZE];

    (void)state;
    hash_bytes("abc", 3, expected);
    assert_true(hash_parse(abc, digest));
    assert_memory_equal(digest, expected, HASH_SIZE);
    assert_true(
        hash_parse("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", digest));
    assert_memory_equal(digest, expected, HASH_SIZE);
}

static void what_is_no_digest_is_refused(void **state)
{
    static const char *const must_not_work[] = {
        "",
        "ba7816bf",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
        "0xa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015 d",
    };
    uint8_t digest[HASH_SIZE], before[HASH_SIZE];

    (void)state;
    memset(digest, 0x77, sizeof(digest));
    memset(before, 0x77, sizeof(before));
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        assert_false(hash_parse(must_not_work[i], digest));
        assert_memory_equal(digest, before, HASH_SIZE); /* written only on success */
    }
}

/* By Python's uuid.uuid5(uuid.uuid5(SPACE, seed), name). */
static void uuids_are_version_5_of_rfc_4122(void **state)
{
    char many[301];
    const struct {
        const char *seed, *name, *text;
    } rows[] = {
        {"web", "disk", "53764d03-b821-5412-bf2d-8808f8eeab7f"},
        {"", "", "af46ada5-d7aa-589f-bd97-ab36a6b58edb"},
        {"web/x86_64", "partition/root", "3d6ba732-61ea-5a7e-acf6-035d93f2d98a"},
        {"Grüße", many, "6582fdc0-457d-5bde-ae84-1dee530a3577"},
    };

    (void)state;
    memset(many, 'x', 300);
    many[300] = '\0';
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct uuid uuid = uuid_from(rows[i].seed, rows[i].name);
        char text[UUID_TEXT_MAX];

        assert_string_equal(uuid_text(&uuid, text), rows[i].text);
    }
}

static void uuidgen_gives_the_same(void **state)
{
    SCOPED_FREE char *seeded = NULL, *theirs = NULL;
    struct uuid ours = uuid_from("a seed", "a name");
    char text[UUID_TEXT_MAX];

    (void)state;
    need_tool("uuidgen");
    seeded = RUN("uuidgen", "--sha1", "--namespace", "6b696c6e-5a3e-4c1d-9b07-d2418f660eb3",
                 "--name", "a seed");
    seeded[strcspn(seeded, "\n")] = '\0';
    theirs = RUN("uuidgen", "--sha1", "--namespace", seeded, "--name", "a name");
    theirs[strcspn(theirs, "\n")] = '\0';
    assert_string_equal(uuid_text(&ours, text), theirs);
}

static void uuids_go_there_and_back(void **state)
{
    struct uuid uuid, again;
    char text[UUID_TEXT_MAX];

    (void)state;
    assert_true(uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &uuid));
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(uuid.bytes[i], i * 0x11);
    }
    assert_string_equal(uuid_text(&uuid, text), "00112233-4455-6677-8899-aabbccddeeff");
    assert_true(uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &again));
    assert_memory_equal(&uuid, &again, sizeof(uuid));
}

static void what_is_no_uuid_is_refused(void **state)
{
    static const char *const must_not_work[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "001122334455-6677-8899-aabbccddee-ff",
        "00112233-4455-6677-8899_aabbccddeeff",
        "{0112233-4455-6677-8899-aabbccddeef}",
        "00112233-4455-6677-8899-aabbccddeefg",
        "00112233445566778899aabbccddeeff",
    };
    struct uuid uuid, before;

    (void)state;
    memset(&uuid, 0x77, sizeof(uuid));
    memset(&before, 0x77, sizeof(before));
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        assert_false(uuid_parse(must_not_work[i], &uuid));
        assert_memory_equal(&uuid, &before, sizeof(uuid));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_fips_180),
        cmocka_unit_test(pieces_make_the_digest_of_the_whole),
        cmocka_unit_test(digests_of_other_names_are_those_of_hashlib),
        cmocka_unit_test(a_hash_begins_anew_after_its_end),
        cmocka_unit_test(digests_are_read_in_either_case),
        cmocka_unit_test(what_is_no_digest_is_refused),
        cmocka_unit_test(uuids_are_version_5_of_rfc_4122),
        cmocka_unit_test(uuidgen_gives_the_same),
        cmocka_unit_test(uuids_go_there_and_back),
        cmocka_unit_test(what_is_no_uuid_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
