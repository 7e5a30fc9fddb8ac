/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "disk/native.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h> /* last: it has a macro fail() */

#include "tools.h"

#include "image.h"

static void an_empty_tree_is_a_clean_file_system(void **state)
{
    struct image image;

    (void)state;
    need_tool("e2fsck");
    image_new(&image, "a.img", "1GiB", NULL);
    image_finish(&image);
    image_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_tree_is_a_clean_file_system),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
