/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/scope.h"

const struct export_format export_formats[] = {
    {.name = "raw", .file = "disk.raw", .bit = FORMAT_RAW, .is_disk = true},
    {
        .name = "qcow2",
        .file = "disk.qcow2",
        .bit = FORMAT_QCOW2,
        .stream = &export_qcow2,
        .maker = export_qcow2_maker,
    },
    {
        .name = "vhd",
        .file = "disk.vhd",
        .bit = FORMAT_VHD,
        .is_disk = true,
        .write = export_vhd,
    },
    {
        .name = "gcp",
        .file = "disk.tar.gz",
        .bit = FORMAT_GCP,
        .stream = &export_gcp,
        .maker = export_gcp_maker,
    },
    {
        .name = "vmdk",
        .file = "disk.vmdk",
        .bit = FORMAT_VMDK,
        .write = export_vmdk,
        .maker = export_vmdk_maker,
    },
    {.name = NULL},
};

enum { FORMATS = COUNT(export_formats) - 1 };

const struct export_format *export_find(const char *file)
{
    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        if (strcmp(row->file, file) == 0) {
            return row;
        }
    }
    return NULL;
}

bool export_is_disk(const char *file)
{
    const struct export_format *format = export_find(file);

    return format != NULL && format->is_disk;
}

static bool is_asked_for(const struct profile *profile, const struct export_format *format)
{
    return (profile->formats & format->bit) != 0 &&
           (format->stream != NULL || format->write != NULL);
}

char *export_list(const struct profile *profile)
{
    SCOPED(buf_done) struct buf list = {0};

    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        if (is_asked_for(profile, row)) {
            buf_printf(&list, "%s%s", list.size != 0 ? ", " : "", row->file);
        }
    }
    return list.size != 0 ? buf_take(&list) : NULL;
}

/* One format that is asked for. */
struct output {
    const struct export_format *format;
    struct run *run;
    char *path;

    int fd; /* of a stream's file */
    void *stream;

    pthread_t thread; /* of any other's writer */
    bool has_thread;
};

struct run {
    const struct export_job *job;
    struct output outputs[FORMATS]; /* in the order of the table */
    size_t count;
    uint64_t done_bytes;
    pthread_mutex_t lock;
    struct error err;   /* the first one, under the lock */
    atomic_bool failed; /* the others need not go on */
};

static void find_outputs(struct run *run)
{
    for (const struct export_format *row = export_formats; row->name != NULL; row++) {
        if (is_asked_for(run->job->profile, row)) {
            struct output *output = &run->outputs[run->count++];

            output->format = row;
            output->run = run;
            output->fd = -1;
            output->path = file_join(run->job->directory, row->file);
        }
    }
}

static void tell(const struct run *run, const char *file)
{
    if (run->job->progress != NULL) {
        run->job->progress(run->job->data, file, run->done_bytes);
    }
}

/* ERR is empty where work ended only because other work had failed. */
static void note_failure(struct run *run, const struct error *err)
{
    pthread_mutex_lock(&run->lock);
    if (run->err.kind == FAIL_NONE) {
        run->err = *err;
    }
    pthread_mutex_unlock(&run->lock);
    atomic_store(&run->failed, true);
}

/* --- formats that are written in their own way ----------------------------------------------- */

static void *write_output(void *data)
{
    const struct output *output = data;
    struct error err = {0};

    if (output->format->write(output->run->job, output->path, &err) < 0) {
        note_failure(output->run, &err);
    }
    return NULL;
}

static void start_writers(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct output *output = &run->outputs[i];

        output->has_thread = output->format->write != NULL &&
                             pthread_create(&output->thread, NULL, write_output, output) == 0;
    }
}

/* What got no thread is written now. */
static void finish_writers(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct output *output = &run->outputs[i];

        if (output->format->write == NULL) {
            continue;
        }
        tell(run, output->format->file);
        if (output->has_thread) {
            (void)pthread_join(output->thread, NULL);
        } else {
            (void)write_output(output);
        }
    }
}

/* --- formats made of clusters ---------------------------------------------------------------- */

static int begin_stream(struct output *output, struct error *err)
{
    output->fd = open(output->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (output->fd < 0) {
        return fail_os(err, "create '%s'", output->path);
    }
    output->stream = output->format->stream->begin(output->run->job, output->fd, output->path, err);
    return output->stream != NULL ? 0 : -1;
}

/* Where writing is put off (NFS, quotas) closing is what tells. */
static int end_stream(struct output *output, struct error *err)
{
    if (output->format->stream->end(output->stream, err) < 0) {
        return -1;
    }
    return close(TAKE_FD(output->fd)) == 0 ? 0 : fail_os(err, "write '%s'", output->path);
}

static int put_cluster(void *data, const struct cluster *cluster, struct error *err)
{
    struct run *run = data;

    if (atomic_load(&run->failed)) {
        return -1;
    }
    for (size_t i = 0; i < run->count; i++) {
        const struct output *output = &run->outputs[i];

        if (output->stream != NULL &&
            output->format->stream->put(output->stream, cluster, err) < 0) {
            return -1;
        }
    }
    run->done_bytes += CLUSTER;
    tell(run, NULL);
    return 0;
}

static int begin_streams(struct run *run, struct clusters_use *use, struct error *err)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct export_stream *stream = run->outputs[i].format->stream;

        if (stream != NULL) {
            use->compress[stream->compression(run->job->profile)] = true;
            if (begin_stream(&run->outputs[i], err) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int end_streams(struct run *run, struct error *err)
{
    for (size_t i = 0; i < run->count; i++) {
        if (run->outputs[i].stream != NULL && end_stream(&run->outputs[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static bool has_streams(const struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        if (run->outputs[i].format->stream != NULL) {
            return true;
        }
    }
    return false;
}

static void write_streams(struct run *run)
{
    struct clusters_use use = {.threads = run->job->threads, .take = put_cluster, .data = run};
    struct error err = {0};

    if (has_streams(run) &&
        (begin_streams(run, &use, &err) < 0 || clusters_run(run->job->clusters, &use, &err) < 0 ||
         end_streams(run, &err) < 0)) {
        note_failure(run, &err);
    }
}

static void run_done(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct output *output = &run->outputs[i];

        if (output->stream != NULL) {
            output->format->stream->done(output->stream);
        }
        scope_fd(&output->fd);
        free(output->path);
    }
}

int export_all(const struct export_job *job, struct error *err)
{
    SCOPED(run_done) struct run run = {.job = job, .lock = PTHREAD_MUTEX_INITIALIZER};

    find_outputs(&run);
    start_writers(&run);
    write_streams(&run);
    finish_writers(&run);
    if (run.err.kind != FAIL_NONE) {
        *err = run.err;
        return -1;
    }
    return clusters_check(job->clusters, err);
}
