/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/memory.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/file.h"

/* With less than this, the kernel kills out of its own needs. */
#define LEAST_BYTES (UINT64_C(32) << 20)

/* The number after the word NAME at the beginning of a line. */
static uint64_t read_number(const char *path, const char *name)
{
    char text[16384];
    const char *line = text;
    const size_t length = strlen(name);

    (void)file_read(path, text, sizeof(text));
    while (line != NULL && strncmp(line, name, length) != 0) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return line != NULL ? strtoull(line + length, NULL, 10) : 0;
}

static uint64_t kills(void)
{
    return read_number("/proc/vmstat", "oom_kill ");
}

static uint64_t available(void)
{
    return read_number("/proc/meminfo", "MemAvailable:") * 1024;
}

static int take(struct memory *memory, size_t size_bytes)
{
    void *data = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (data == MAP_FAILED) {
        return -1;
    }
    memory->taken = data;
    memory->size_bytes = size_bytes;
    return madvise(data, size_bytes, MADV_DONTFORK);
}

static int protect(pid_t pid)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
    return file_write(path, "-1000");
}

int memory_limit(struct memory *memory, uint64_t bytes, struct outcome *outcome)
{
    const uint64_t free_bytes = available();
    const uint64_t left = bytes > LEAST_BYTES ? bytes : LEAST_BYTES;

    if (free_bytes < left) {
        return outcome_fail(
            outcome, "the appliance has %" PRIu64 " MiB free, the step asks for %" PRIu64 " MiB",
            free_bytes >> 20, left >> 20);
    }
    if (protect(getpid()) < 0 || protect(getppid()) < 0) {
        return outcome_fail_os(outcome, "protect the appliance's processes");
    }
    memory->kills = kills();
    if ((free_bytes > left && take(memory, free_bytes - left) < 0) ||
        mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        return outcome_fail_os(outcome, "limit the step's memory");
    }
    return 0;
}

int memory_expose(void)
{
    return file_write("/proc/self/oom_score_adj", "1000");
}

/* Just before the kernel kills, it throws out every program's pages and reads them back, for
 * minutes: that long nobody has to wait. */
bool memory_exceeded(const struct memory *memory)
{
    return kills() != memory->kills || available() == 0;
}

void memory_release(struct memory *memory)
{
    if (memory->size_bytes != 0) {
        (void)munmap(memory->taken, memory->size_bytes);
        memory->size_bytes = 0;
    }
}
