/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture.h"

#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/output.h"
#include "base/proc.h"
#include "base/scope.h"
#include "base/text.h"
#include "capture/confine.h"
#include "capture/difference.h"
#include "layer/packer.h"

enum {
    CHECK_OUTPUT = 64 << 10, /* bytes of what e2fsck says; the first line tells */
    CHECK_MS = 30 * 60 * 1000,
    READ_S = 120, /* of computing, */
    WALL = 10,    /* times as long by the clock: disks are slow */
};
#define READ_RATE (8ULL << 20)    /* and a second for so many bytes of the disk: zstd's pace */
#define CHECK_MEMORY (1ULL << 30) /* of e2fsck's */

struct reading {
    const struct capture_job *job;
    int disk;
    struct packer *packer;
};

/* --- e2fsck ---------------------------------------------------------------------------------- */

/* The first line that is about the file system, or all that is known. */
static const char *telling_line(char *said)
{
    for (char *line; (line = strsep(&said, "\n")) != NULL;) {
        if (line[0] != '\0' && !text_starts(line, "Pass ") && strstr(line, "******") == NULL) {
            return line;
        }
    }
    return "e2fsck does not say how";
}

/*
 * What e2fsck finds it would ask about; what it says without being asked (that a tree of extents
 * could be narrower) it counts as clean.
 */
static int check_disk(const struct capture_job *job, int disk, struct error *err)
{
    SCOPED_FREE char *part =
        xprintf("/proc/self/fd/0?offset=%llu", (unsigned long long)job->offset_bytes);
    const char *const argv[] = {"e2fsck", "-f", "-n", part, NULL};
    static const char *const env[] = {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", NULL};
    SCOPED(buf_done) struct buf said = {0};
    struct error failure = {0};

    if (proc_run(&(struct proc){.argv = argv,
                                .env = env,
                                .output = &said,
                                .output_max = CHECK_OUTPUT,
                                .input = disk,
                                .memory_max = CHECK_MEMORY,
                                .timeout_ms = CHECK_MS},
                 &failure) == 0) {
        return 0;
    }
    if (failure.kind != FAIL_ERROR) {
        fail(err, failure.kind, "%s", failure.message);
        return failure.kind == FAIL_MISSING ? fail_hint(err, "install the package 'e2fsprogs'")
                                            : -1;
    }
    return fail(err, FAIL_ERROR, "the disk it left is damaged: %s",
                said.size != 0 ? telling_line(said.data) : failure.message);
}

/* --- the reader ------------------------------------------------------------------------------ */

static int write_difference(const struct reading *reading, struct scratch *scratch,
                            const struct noise *noise, struct capture_result *result,
                            struct error *err)
{
    SCOPED(survey_freep) struct survey *survey = NULL;
    struct difference counts;
    struct packed packed;

    if (survey_read(scratch, noise, reading->job->epoch, NULL, &survey, err) < 0 ||
        difference_write(scratch, survey, reading->job->tree, noise, packer_pax(reading->packer),
                         &counts, err) < 0 ||
        packer_end(reading->packer, &packed, err) < 0) {
        return -1;
    }
    memcpy(result->digest, packed.tar_digest, HASH_SIZE);
    result->size = packed.tar_size;
    result->added = counts.added;
    result->changed = counts.changed;
    result->removed = counts.removed;
    return 0;
}

/* In the confined process. */
static int read_disk(void *data, void *result, struct error *err)
{
    const struct reading *reading = data;
    const struct capture_job *job = reading->job;
    SCOPED(scratch_freep) struct scratch *scratch = NULL;
    SCOPED(noise_done) struct noise noise = {0};

    noise_begin(job->leave_out, job->leave_out_count, &noise);
    return scratch_open(reading->disk, job->offset_bytes, job->size_bytes, &scratch, err) < 0
               ? -1
               : write_difference(reading, scratch, &noise, result, err);
}

static int read_confined(struct reading *reading, int out, struct capture_result *ret,
                         struct error *err)
{
    const int fds[] = {reading->disk, out};
    unsigned cpu_s = READ_S + (unsigned)(reading->job->size_bytes / READ_RATE);
    const struct confine confine = {
        .what = "reading its disk",
        .fds = fds,
        .fd_count = COUNT(fds),
        .cpu_s = cpu_s,
        .wall_s = cpu_s * WALL,
        .work = read_disk,
        .data = reading,
        .result = ret,
        .result_size = sizeof(*ret),
    };

    memset(ret, 0, sizeof(*ret));
    return confine_run(&confine, err);
}

static int capture_disk(const struct capture_job *job, struct capture_result *ret,
                        struct error *err)
{
    SCOPED(output_done) struct output output = {0};
    SCOPED(packer_freep) struct packer *packer = NULL;
    SCOPED_FD int disk = open(job->disk, O_RDONLY | O_CLOEXEC);
    struct reading reading = {.job = job, .disk = disk};

    if (disk < 0) {
        return fail_os(err, "open '%s'", job->disk);
    }
    if (file_exists(job->out)) {
        return fail(err, FAIL_ERROR, "'%s' exists", job->out);
    }
    /* Made here, where OpenSSL may still read its configuration. */
    if (scratch_check(disk, job->offset_bytes, job->size_bytes, err) < 0 ||
        check_disk(job, disk, err) < 0 || output_open(&output, job->out, err) < 0 ||
        packer_new(output.fd, job->out, true, &packer, err) < 0) {
        return -1;
    }
    reading.packer = packer;
    return read_confined(&reading, output.fd, ret, err) < 0 ? -1 : output_commit(&output, err);
}

int capture(const struct capture_job *job, struct capture_result *ret, struct error *err)
{
    return capture_disk(job, ret, err) < 0 ? fail_while(err, "step '%s'", job->step) : 0;
}
