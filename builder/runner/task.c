/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/task.h"

#include <string.h>

/* Seconds that ext4 can hold (34 bits), a timeout that fits an int of milliseconds with room, and
 * more memory than a machine has: nothing overflows later. */
enum { TIMEOUT_MAX_S = 1000000 };
#define EPOCH_MAX_S UINT64_C(0x3ffffffff)
#define MEMORY_MAX_BYTES (UINT64_C(1) << 48)

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text)) {
        return -1;
    }
    for (; *text != '\0'; text++) {
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max) {
            return -1;
        }
    }
    *ret_value = value;
    return value >= min ? 0 : -1;
}

int task_parse(int argc, char **argv, struct task *ret_task)
{
    struct task task = {0};

    if (argc != 7 || strncmp(argv[1], "/steps/", 7) != 0 || strncmp(argv[2], "/dev/", 5) != 0 ||
        parse_number(argv[3], 0, EPOCH_MAX_S, &task.epoch_s) < 0 ||
        parse_number(argv[4], 1, TIMEOUT_MAX_S, &task.timeout_s) < 0 ||
        parse_number(argv[5], 1, MEMORY_MAX_BYTES, &task.memory_bytes) < 0 ||
        (strcmp(argv[6], "shell") != 0 && strcmp(argv[6], "-") != 0)) {
        return -1;
    }
    task.step = argv[1] + 1;
    task.device = argv[2];
    task.shell = strcmp(argv[6], "shell") == 0;
    *ret_task = task;
    return 0;
}
