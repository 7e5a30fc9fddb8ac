/* SPDX-License-Identifier: Apache-2.0 */
/* What an image of AWS starts by, and what EBS says when the line is slow. */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aws/problem.h"
#include "publish/publish_aws.h"

#include <cmocka.h>

enum { BIOS = FIRMWARE_BIOS, UEFI = FIRMWARE_UEFI, NONE = 0 };

static const struct {
    enum boot_mode wanted;
    enum architecture architecture;
    unsigned firmware;
    const char *expected; /* NULL: not said */
} modes[] = {
    {BOOT_MODE_AUTO, ARCH_X86_64, BIOS | UEFI, "uefi-preferred"},
    {BOOT_MODE_AUTO, ARCH_X86_64, UEFI, "uefi"},
    {BOOT_MODE_AUTO, ARCH_X86_64, BIOS, "legacy-bios"},
    {BOOT_MODE_AUTO, ARCH_X86_64, NONE, NULL},
    {BOOT_MODE_AUTO, ARCH_AARCH64, UEFI, "uefi"},
    {BOOT_MODE_AUTO, ARCH_AARCH64, BIOS | UEFI, "uefi"},
    {BOOT_MODE_AUTO, ARCH_AARCH64, NONE, "uefi"},
    {BOOT_MODE_UEFI, ARCH_X86_64, BIOS | UEFI, "uefi"},
    {BOOT_MODE_UEFI_PREFERRED, ARCH_X86_64, BIOS | UEFI, "uefi-preferred"},
    {BOOT_MODE_BIOS, ARCH_X86_64, BIOS | UEFI, "legacy-bios"},
};

static void boot_mode_follows_from_the_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        const char *found =
            aws_boot_mode(modes[i].wanted, modes[i].architecture, modes[i].firmware);

        if (found == NULL || modes[i].expected == NULL ? found != modes[i].expected
                                                       : strcmp(found, modes[i].expected) != 0) {
            fail_msg("case %zu: %s", i, found != NULL ? found : "not said");
        }
    }
}

static void slow_lines_are_known_by_reason_or_message(void **state)
{
    static const struct {
        struct aws_error problem;
        bool slow;
    } cases[] = {
        {{.code = "ValidationException", .reason = "WRITE_REQUEST_TIMEOUT"}, true},
        {{.code = "ValidationException",
          .reason = "INVALID_PARAMETER_VALUE",
          .message = "Failed to read block data"},
         true},
        {{.code = "ValidationException", .reason = "INVALID_BLOCK", .message = "no"}, false},
        {{.code = "AccessDeniedException", .message = "Failed to read block data"}, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(problem_is_slow_line(&cases[i].problem), cases[i].slow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boot_mode_follows_from_the_disk),
        cmocka_unit_test(slow_lines_are_known_by_reason_or_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
