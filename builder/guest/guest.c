/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/stop.h"
#include "guest/cause.h"
#include "guest/kvm.h"
#include "guest/launch.h"
#include "guest/sweep.h"

/* Emulation needs 10 to 30 s on an idle machine; a loaded one may take many times that. */
enum { EMULATION_LIMIT_S = 600 };

struct guest {
    struct launch *launch;
    guestfs_h *handle;
    pid_t pid;
    int pid_fd; /* -1 when the backend does not tell which process it is */
    const char *accelerator;
    char *temporary;
};

/* Swallows TEXT. */
static void note(const struct guest_options *options, char *text)
{
    if (options->note != NULL) {
        options->note(options->note_data, text);
    }
    free(text);
}

/* The same for what is so at every launch of a run. */
static void note_once(const struct guest_options *options, char *text)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (atomic_flag_test_and_set(&told)) {
        free(text);
    } else {
        note(options, text);
    }
}

/* --- what others left --- */

static void sweep_cache(void)
{
    guestfs_h *handle = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT);
    SCOPED_FREE char *base = NULL, *cache = NULL;

    if (handle == NULL) {
        return;
    }
    guestfs_set_error_handler(handle, NULL, NULL);
    (void)guestfs_parse_environment(handle);
    base = guestfs_get_cachedir(handle);
    guestfs_close(handle);
    if (base != NULL) {
        cache = xprintf("%s/.guestfs-%lu", base, (unsigned long)geteuid());
        sweep_appliances(cache);
    }
}

/* What supermin leaves when it is killed. */
static void sweep_builds(time_t age_s)
{
    const char *temporary = getenv("TMPDIR");

    sweep_scratch(temporary != NULL && temporary[0] == '/' ? temporary : "/var/tmp", time(NULL),
                  age_s);
    sweep_cache();
}

/*
 * Sockets without a listener and unfinished appliances in the shared temporary directories, never
 * anything of a living process. After a launch, not before: what a build killed just before this
 * one left is old enough by then to be known as dead.
 */
static void sweep(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    SCOPED(buf_done) struct buf sockets = {0};
    struct error err = {0};
    time_t now = time(NULL);

    /* Without the list of sockets nothing can be known to be dead. */
    if (file_read("/proc/net/unix", 64 << 20, &sockets, &err) == 0) {
        bool alone = sweep_is_alone();

        sweep_sockets("/tmp", sockets.data, alone, now);
        if (geteuid() != 0 && runtime != NULL && runtime[0] == '/') {
            sweep_sockets(runtime, sockets.data, alone, now);
        }
    }
    sweep_builds(5);
}

/* --- how it went --- */

static struct cause cause_from(const struct launch_report *report)
{
    return (struct cause){
        .errors = report->errors.data != NULL ? report->errors.data : "",
        .console = report->console.data != NULL ? report->console.data : "",
        .late_s = report->late_s,
        .qemu_ran = report->qemu_ran,
    };
}

static int fail_full(const char *where, struct error *err)
{
    fail(err, FAIL_ERROR, "no space left for '%s'", where);
    return fail_hint(err, "free some space, or name another place with -o");
}

static int report_failure(const struct guest_options *options, const struct launch_report *report,
                          struct error *err)
{
    struct cause cause = cause_from(report);
    SCOPED_FREE char *line = cause_line(&cause);
    SCOPED_FREE char *advice = cause_advice(line);

    if (stop_requested() || (report->late_s != 0 && !report->qemu_ran)) {
        sweep_builds(0); /* a supermin was killed, perhaps */
    }
    if (stop_check(err) < 0) {
        return -1;
    }
    if (report->full) {
        return fail_full(options->temporary, err);
    }
    fail(err, FAIL_MISSING, "start the appliance: %s", line);
    return fail_hint(err, "%s", advice);
}

/* The line to blame KVM with, or NULL when emulation would fail the same way. */
static char *kvm_cause(const struct launch_report *report)
{
    struct cause cause = cause_from(report);

    return !report->full && cause_may_be_kvm(&cause) ? cause_line(&cause) : NULL;
}

void guest_kill(struct guest *guest)
{
    /* The descriptor tells whether the number still means this process. */
    if (guest->pid_fd >= 0 && pidfd_send_signal(guest->pid_fd, 0, NULL, 0) == 0) {
        launch_kill(guest->pid);
    }
}

/* Called by the signal thread; no libguestfs call is possible while another thread is in one. */
static void wake(void *data)
{
    guest_kill(data);
}

/* True when process PID has the KVM device open: qemu may give it up by itself. */
static bool has_kvm_open(pid_t pid)
{
    SCOPED_FREE char *path = xprintf("/proc/%d/fd", (int)pid);
    SCOPED_DIR DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char target[64] = "";

        if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) > 0 &&
            strcmp(target, "anon_inode:kvm-vm") == 0) {
            return true;
        }
    }
    return false;
}

static struct guest *guest_new(const struct guest_options *options, struct launch *launch,
                               bool emulate)
{
    struct guest *guest = xcalloc(1, sizeof(*guest));

    guest->temporary = xstrdup(options->temporary != NULL ? options->temporary : "");
    guest->launch = launch;
    guest->handle = launch_handle(launch);
    guest->pid_fd = -1;
    guest->pid = guestfs_get_pid(guest->handle);
    if (guest->pid > 0) {
        guest->pid_fd = pidfd_open(guest->pid, 0);
    }
    guest->accelerator = emulate || (guest->pid > 0 && !has_kvm_open(guest->pid)) ? "tcg" : "kvm";
    stop_wake(wake, guest);
    return guest;
}

/* One launch and nothing after it. */
static int launch_once(const struct launch_request *request, struct guest **ret, struct error *err)
{
    SCOPED(launch_report_done) struct launch_report report = {0};
    struct launch *launch = launch_start(request, &report);

    if (launch == NULL) {
        return report_failure(request->options, &report, err);
    }
    *ret = guest_new(request->options, launch, request->emulate);
    return 0;
}

static int launch_emulated(const struct guest_options *options, struct guest **ret,
                           struct error *err)
{
    struct launch_request request = {
        .options = options, .direct = true, .emulate = true, .limit_s = EMULATION_LIMIT_S};

    return launch_once(&request, ret, err);
}

/* The user's LIBGUESTFS_* say how: nothing is tried behind their back. */
static int launch_as_told(const struct guest_options *options, struct guest **ret,
                          struct error *err)
{
    struct launch_request request = {.options = options, .limit_s = EMULATION_LIMIT_S};

    if (launch_once(&request, ret, err) < 0) {
        return err->kind == FAIL_STOPPED
                   ? -1
                   : fail_while(err, "as LIBGUESTFS_* in the environment say");
    }
    return 0;
}

/* --- whether KVM --- */

static bool user_decides(void)
{
    static const char *const names[] = {"LIBGUESTFS_BACKEND", "LIBGUESTFS_ATTACH_METHOD",
                                        "LIBGUESTFS_BACKEND_SETTINGS", "LIBGUESTFS_HV",
                                        "LIBGUESTFS_QEMU"};

    for (size_t i = 0; i < COUNT(names); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0') {
            return true;
        }
    }
    return false;
}

/* The qemu that libguestfs was built to use. */
static char *default_qemu(void)
{
    guestfs_h *handle = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT);
    char *qemu = handle != NULL ? guestfs_get_hv(handle) : NULL;

    if (handle != NULL) {
        guestfs_close(handle);
    }
    return qemu != NULL ? qemu : xstrdup("unknown");
}

/* Emulation, and if that works KVM was to blame: the next launch need not try it. */
static int launch_fallen_back(const struct guest_options *options, const char *path,
                              const struct kvm_host *host, const char *cause, struct guest **ret,
                              struct error *err)
{
    struct error ignored = {0};

    note(options, xprintf("KVM does not work here (%s): using emulation, which is slower", cause));
    if (launch_emulated(options, ret, err) < 0) {
        return -1;
    }
    /* Without a memory the next launch finds out again, that is all. */
    if (path != NULL) {
        (void)kvm_remember(path, host, cause, &ignored);
    }
    return 0;
}

static int launch_kvm_first(const struct guest_options *options, unsigned limit_s, const char *path,
                            const struct kvm_host *host, struct guest **ret, struct error *err)
{
    SCOPED(launch_report_done) struct launch_report report = {0};
    struct launch_request request = {.options = options, .direct = true, .limit_s = limit_s};
    struct launch *launch = launch_start(&request, &report);
    SCOPED_FREE char *cause = NULL;

    if (launch != NULL) {
        *ret = guest_new(options, launch, false);
        return 0;
    }
    cause = kvm_cause(&report);
    if (cause == NULL || stop_requested()) {
        return report_failure(options, &report, err);
    }
    return launch_fallen_back(options, path, host, cause, ret, err);
}

static int launch_by_memory(const struct guest_options *options, unsigned limit_s,
                            struct guest **ret, struct error *err)
{
    SCOPED_FREE char *qemu = default_qemu(), *path = kvm_memory_path(), *cause = NULL;
    SCOPED(kvm_host_done) struct kvm_host host = {0};

    kvm_host_read(&host, qemu);
    cause = path != NULL ? kvm_recall(path, &host) : NULL;
    if (cause == NULL) {
        return launch_kvm_first(options, limit_s, path, &host, ret, err);
    }
    note_once(options, xprintf("using emulation: KVM does not work here (%s)", cause));
    return launch_emulated(options, ret, err);
}

static int launch_somehow(const struct guest_options *options, struct guest **ret,
                          struct error *err)
{
    SCOPED_FREE char *obstacle = NULL;
    unsigned limit_s;

    if (kvm_limit(getenv("KILN_KVM_LIMIT"), options->kvm_limit_s, &limit_s, err) < 0 ||
        stop_check(err) < 0) {
        return -1;
    }
    if (user_decides()) {
        return launch_as_told(options, ret, err);
    }
    obstacle = kvm_obstacle(KVM_DEVICE);
    if (obstacle != NULL) {
        note_once(options, xprintf("no KVM (%s): using emulation, which is slower", obstacle));
        return launch_emulated(options, ret, err);
    }
    return launch_by_memory(options, limit_s, ret, err);
}

int guest_launch(const struct guest_options *options, struct guest **ret, struct error *err)
{
    int result = launch_somehow(options, ret, err);

    if (result < 0) {
        sweep();
    }
    return result;
}

/* --- using it --- */

guestfs_h *guest_handle(struct guest *guest)
{
    guestfs_set_error_handler(guest->handle, NULL, NULL);
    return guest->handle;
}

const char *guest_accelerator(const struct guest *guest)
{
    return guest->accelerator;
}

int guest_fail(struct guest *guest, struct error *err, const char *doing)
{
    const char *said = guestfs_last_error(guest->handle);
    SCOPED_FREE char *text = cause_trim(said != NULL ? said : "libguestfs does not say why");

    if (stop_check(err) < 0) {
        return -1;
    }
    if (launch_is_full(guest->launch)) {
        return fail_full(guest->temporary, err);
    }
    fail(err, FAIL_ERROR, "%s: %s", doing, text);
    err->os = guestfs_last_errno(guest->handle);
    return -1;
}

/* After this nothing is killed any more; the process number may mean another one. */
static void forget_process(struct guest *guest)
{
    stop_wake(NULL, NULL);
    scope_fd(&guest->pid_fd);
    guest->pid_fd = -1;
}

int guest_shutdown(struct guest *guest, struct error *err)
{
    guestfs_h *handle = guest_handle(guest);

    if (guestfs_umount_all(handle) < 0) {
        return guest_fail(guest, err, "unmount in the appliance");
    }
    if (guestfs_shutdown(handle) < 0) {
        return guest_fail(guest, err, "shut the appliance down");
    }
    forget_process(guest);
    return 0;
}

void guest_close(struct guest *guest)
{
    if (guest != NULL) {
        forget_process(guest);
        launch_free(guest->launch);
        free(guest->temporary);
        free(guest);
        sweep();
    }
}
