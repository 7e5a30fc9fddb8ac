/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* cmocka's; ours is a function */

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "guest/cause.h"
#include "guest/doctor.h"
#include "guest/guest.h"
#include "guest/kvm.h"
#include "guest/launch.h"
#include "guest/sweep.h"

static char *new_dir(void)
{
    char *dir = xstrdup("/tmp/kiln-test-guest-XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static void drop_dir(char *dir)
{
    struct error err = {0};

    assert_int_equal(file_remove_tree(dir, &err), 0);
    free(dir);
}

static void put(const char *path, const char *text)
{
    struct error err = {0};

    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
}

/* --- memory --- */

static struct kvm_host a_host(void)
{
    return (struct kvm_host){(char *)"6.1.0-9", (char *)"5202f8c2", (char *)"/usr/bin/q 7 8.9"};
}

static void test_memory_comes_back(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *path = xprintf("%s/new/kiln/kvm", dir);
    struct kvm_host host = a_host();
    struct error err = {0};
    SCOPED_FREE char *none = kvm_recall(path, &host);
    SCOPED_FREE char *cause = NULL, *again = NULL;

    (void)state;
    assert_null(none);
    assert_int_equal(kvm_remember(path, &host, "qemu: it broke\nsecond line", &err), 0);
    cause = kvm_recall(path, &host);
    assert_string_equal(cause, "qemu: it broke");
    assert_int_equal(kvm_remember(path, &host, "another", &err), 0);
    again = kvm_recall(path, &host);
    assert_string_equal(again, "another");
    drop_dir(dir);
}

static void test_memory_counts_only_for_the_same_host(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *path = xprintf("%s/kvm", dir);
    struct kvm_host host = a_host(), others[] = {a_host(), a_host(), a_host()};
    struct error err = {0};

    (void)state;
    others[0].kernel = (char *)"6.1.0-10";
    others[1].boot = (char *)"5202f8c3";
    others[2].qemu = (char *)"/usr/bin/q 7 8.10";
    assert_int_equal(kvm_remember(path, &host, "cause", &err), 0);
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_null(kvm_recall(path, &others[i]));
    }
    drop_dir(dir);
}

static void test_a_corrupt_memory_is_ignored_and_replaced(void **state)
{
    static const char *const bad[] = {
        "",
        "kiln kvm 1\n",
        "kiln kvm 2\nkernel 6.1.0-9\nboot 5202f8c2\nqemu /usr/bin/q 7 8.9\ncause c\n",
        "kiln kvm 1\nkernel 6.1.0-9\nboot 5202f8c2\nqemu /usr/bin/q 7 8.9\ncause \n",
        "kiln kvm 1\nkernel 6.1.0-9\nboot 5202f8c2\nqemu /usr/bin/q 7 8.9\ncause c",
        "kiln kvm 1\nkernel 6.1.0-9\nboot 5202f8c2\nqemu /usr/bin/q 7 8.9\ncause c\nmore\n",
    };
    char *dir = new_dir();
    SCOPED_FREE char *path = xprintf("%s/kvm", dir);
    struct kvm_host host = a_host();
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        SCOPED_FREE char *cause = NULL;

        put(path, bad[i]);
        assert_null(kvm_recall(path, &host));
        assert_int_equal(kvm_remember(path, &host, "c", &err), 0);
        cause = kvm_recall(path, &host);
        assert_string_equal(cause, "c");
    }
    drop_dir(dir);
}

static void test_memory_leaves_no_partial_file_when_it_cannot_be_written(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *path = xprintf("%s/kvm", dir), *inside = xprintf("%s/kvm/x", dir);
    struct kvm_host host = a_host();
    struct error err = {0};

    (void)state;
    /* A directory in its place cannot be replaced by a file. */
    assert_int_equal(file_make_dirs(inside, &err), 0);
    assert_int_equal(kvm_remember(path, &host, "c", &err), -1);
    assert_non_null(strstr(err.message, "remember that KVM does not work: write '"));
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
    free(dir);
}

static void test_memory_lies_where_xdg_says(void **state)
{
    static const struct {
        const char *cache, *home, *path;
    } rows[] = {
        {"/c", "/h", "/c/kiln/kvm"},
        {NULL, "/h", "/h/.cache/kiln/kvm"},
        {"", "/h", "/h/.cache/kiln/kvm"},
        {"rel", "/h", "/h/.cache/kiln/kvm"},
        {NULL, NULL, NULL},
        {NULL, "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *path = NULL;

        unsetenv("XDG_CACHE_HOME");
        unsetenv("HOME");
        if (rows[i].cache != NULL) {
            setenv("XDG_CACHE_HOME", rows[i].cache, 1);
        }
        if (rows[i].home != NULL) {
            setenv("HOME", rows[i].home, 1);
        }
        path = kvm_memory_path();
        if (rows[i].path == NULL) {
            assert_null(path);
        } else {
            assert_string_equal(path, rows[i].path);
        }
    }
}

static void test_the_host_is_read(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *qemu = xprintf("%s/qemu", dir);
    SCOPED(kvm_host_done) struct kvm_host before = {0}, after = {0}, gone = {0};
    struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 5, .tv_nsec = 1}};

    (void)state;
    put(qemu, "1");
    kvm_host_read(&before, qemu);
    assert_int_equal(utimensat(AT_FDCWD, qemu, times, 0), 0);
    kvm_host_read(&after, qemu);
    assert_string_equal(before.boot, after.boot);
    assert_int_equal(strlen(before.boot), 36);
    assert_string_equal(before.kernel, after.kernel);
    assert_string_not_equal(before.qemu, after.qemu);
    assert_non_null(strstr(after.qemu, " 1 5.000000001"));
    drop_dir(dir);
    kvm_host_read(&gone, "/nonexistent/qemu");
    assert_string_equal(gone.qemu, "/nonexistent/qemu unknown");
}

/* --- limit and device --- */

static void test_kvm_limit(void **state)
{
    static const struct {
        const char *text;
        unsigned asked, seconds;
    } must_work[] = {{NULL, 0, 60}, {"", 0, 60}, {NULL, 5, 5},
                     {"7", 5, 7},   {"1", 0, 1}, {"3600", 0, 3600}};
    static const char *const must_not_work[] = {"0",  "-1", "3601", "x",
                                                "5s", " 5", "+5",   "99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < COUNT(must_work); i++) {
        struct error err = {0};
        unsigned seconds = 0;

        assert_int_equal(kvm_limit(must_work[i].text, must_work[i].asked, &seconds, &err), 0);
        assert_int_equal(seconds, must_work[i].seconds);
    }
    for (size_t i = 0; i < COUNT(must_not_work); i++) {
        struct error err = {0};
        unsigned seconds = 99;

        assert_int_equal(kvm_limit(must_not_work[i], 0, &seconds, &err), -1);
        assert_int_equal(err.kind, FAIL_USAGE);
        assert_non_null(strstr(err.message, must_not_work[i]));
        assert_int_equal(seconds, 99);
    }
}

static void test_a_bad_limit_is_refused_before_anything_is_started(void **state)
{
    struct guest_options options = {0};
    struct guest *guest = NULL;
    struct error err = {0};

    (void)state;
    setenv("KILN_KVM_LIMIT", "soon", 1);
    assert_int_equal(guest_launch(&options, &guest, &err), -1);
    unsetenv("KILN_KVM_LIMIT");
    assert_int_equal(err.kind, FAIL_USAGE);
    assert_null(guest);
}

static void test_obstacles_name_the_device(void **state)
{
    SCOPED_FREE char *absent = kvm_obstacle("/nonexistent/kvm");
    SCOPED_FREE char *other = kvm_obstacle("/dev/null");

    (void)state;
    assert_string_equal(absent, "/nonexistent/kvm is not there");
    assert_string_equal(other, "/dev/null is not KVM");
}

static void test_a_forbidden_device_is_said_to_be_forbidden(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        skip(); /* root may open anything */
    } else {
        char *dir = new_dir();
        SCOPED_FREE char *path = xprintf("%s/kvm", dir), *obstacle = NULL;

        put(path, "");
        assert_int_equal(chmod(path, 0), 0);
        obstacle = kvm_obstacle(path);
        assert_non_null(strstr(obstacle, ": permission denied"));
        drop_dir(dir);
    }
}

/* --- causes --- */

#define CRASHED "appliance closed the connection unexpectedly.\nThis usually means x.\nDo:\n  y\n"
#define FAILED "guestfs_launch failed.\nThis usually means x.\nDo:\n  export LIBGUESTFS_DEBUG=1\n"
#define ABORTED "/usr/bin/qemu-system-x86_64 killed by signal 6 (Aborted).\nTo see full error x.\n"
#define SUPERMIN "/usr/bin/supermin exited with error status 1.\nTo see full error x.\nDo:\n  y\n"

static const struct {
    struct cause cause;
    const char *line;
    bool kvm;
    const char *advice;
} causes[] = {
    {{.errors = CRASHED ABORTED FAILED,
      .console = "qemu-system-x86_64: warning: old machine\n"
                 "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\n"
                 "qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: Assertion failed.\n",
      .qemu_ran = true},
     "qemu: error: failed to set MSR 0x10a to 0x69",
     true,
     "kiln doctor"},
    {{.errors = CRASHED ABORTED FAILED, .console = "", .qemu_ran = true},
     "/usr/bin/qemu-system-x86_64 killed by signal 6 (Aborted)",
     true,
     "kiln doctor"},
    {{.errors = CRASHED "x killed by signal 9 (Killed).\n" FAILED,
      .console = "supermin: mounting\n",
      .late_s = 60,
      .qemu_ran = true},
     "not up after 60 s",
     true,
     "kiln doctor"},
    {{.errors = SUPERMIN, .console = "", .late_s = 600}, "not built after 600 s", false, NULL},
    {{.errors = CRASHED FAILED,
      .console = "supermin: ext2 mini initrd\r\n[ 1.0] Kernel panic - not syncing: VFS\r\n"},
     "[ 1.0] Kernel panic - not syncing: VFS",
     true,
     NULL},
    {{.errors = CRASHED FAILED,
      .console = "qemu-system-x86_64: -drive file=x: Could not open 'x': Permission denied\n"},
     "qemu: -drive file=x: Could not open 'x': Permission denied",
     false,
     NULL},
    {{.errors = CRASHED FAILED,
      .console =
          "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory\n"},
     "qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory",
     false,
     "'memory' of steps"},
    {{.errors = CRASHED FAILED,
      .console = "qemu-system-x86_64: failed to initialize KVM: Cannot allocate memory\n"},
     "qemu: failed to initialize KVM: Cannot allocate memory",
     true,
     NULL},
    {{.errors = SUPERMIN,
      .console = "cp: cannot open '/boot/vmlinuz-6.8' for reading: Permission denied\n"
                 "supermin: cp -p '/boot/vmlinuz-6.8': command failed\n"},
     "cp: cannot open '/boot/vmlinuz-6.8' for reading: Permission denied",
     false,
     "'sudo chmod 0644 /boot/vmlinuz-6.8'"},
    {{.errors = SUPERMIN, .console = "supermin: error: statvfs: No space left on device: /x\n"},
     "supermin: error: statvfs: No space left on device: /x",
     false,
     "LIBGUESTFS_CACHEDIR"},
    {{.errors = SUPERMIN, .console = "supermin: failed to find a suitable kernel (host_cpu=x).\n"},
     "supermin: failed to find a suitable kernel (host_cpu=x)",
     false,
     "linux-image-cloud"},
    {{.errors = "stat: /usr/bin/qemu-x: No such file or directory\n", .console = ""},
     "stat: /usr/bin/qemu-x: No such file or directory",
     false,
     "install qemu-system"},
    {{.errors = "/usr/bin/qemu-x exited with error status 126.\nTo see full\n", .console = ""},
     "/usr/bin/qemu-x exited with error status 126",
     false,
     "install qemu-system"},
    {{.errors = "stat: /c/.guestfs-7: No such file or directory\n", .console = ""},
     "stat: /c/.guestfs-7: No such file or directory",
     false,
     "LIBGUESTFS_CACHEDIR"},
    {{.errors = "cannot find any suitable libguestfs supermin (search path: /x)\n", .console = ""},
     "cannot find any suitable libguestfs supermin (search path: /x)",
     false,
     "LIBGUESTFS_PATH"},
    {{.errors = "", .console = ""}, "it ended without a word", false, NULL},
};

static void test_causes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(causes); i++) {
        SCOPED_FREE char *line = cause_line(&causes[i].cause), *advice = cause_advice(line);

        assert_string_equal(line, causes[i].line);
        assert_int_equal(cause_may_be_kvm(&causes[i].cause), causes[i].kvm);
        assert_non_null(strstr(advice, causes[i].advice != NULL ? causes[i].advice : ""));
    }
}

static void test_messages_are_trimmed(void **state)
{
    static const struct {
        const char *message, *text;
    } rows[] = {
        {"mount: mount exited with status 32", "mount exited with status 32"},
        {"libguestfs: error: tar_in: write: No space left on device",
         "write: No space left on device"},
        {"write: No space left on device", "No space left on device"},
        {"/x: No such file or directory", "/x: No such file or directory"},
        {"Über: x", "Über: x"},
        {"mkfs: one\ntwo\r\n\nthree.\n", "one; two; three"},
        {CRASHED, "appliance closed the connection unexpectedly"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED_FREE char *text = cause_trim(rows[i].message);

        assert_string_equal(text, rows[i].text);
    }
}

/* --- sweeping --- */

static void age(const char *path, time_t seconds)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* DIR/NAME, holding a socket FILE when that is not NULL; its descriptor. */
static int make_sockets(const char *dir, const char *name, const char *file, time_t seconds)
{
    SCOPED_FREE char *path = xprintf("%s/%s", dir, name);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    assert_int_equal(mkdir(path, 0755), 0);
    if (file != NULL) {
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", path, file);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    }
    age(path, seconds);
    return fd;
}

static bool is_there(const char *dir, const char *name)
{
    SCOPED_FREE char *path = xprintf("%s/%s", dir, name);

    return file_exists(path);
}

static void sweep(const char *dir, bool alone)
{
    SCOPED(buf_done) struct buf sockets = {0};
    struct error err = {0};

    assert_int_equal(file_read("/proc/net/unix", 64 << 20, &sockets, &err), 0);
    sweep_sockets(dir, sockets.data, alone, time(NULL));
}

static void test_sweep_takes_empty_ones_when_nobody_else_is_there(void **state)
{
    char *dir = new_dir();
    int live = make_sockets(dir, "libguestfslive00", "guestfsd.sock", 600);

    (void)state;
    (void)make_sockets(dir, "libguestfsempty0", NULL, 6);
    (void)make_sockets(dir, "libguestfsyoung0", NULL, 1);
    sweep(dir, false);
    assert_true(is_there(dir, "libguestfsempty0"));
    sweep(dir, true);
    assert_false(is_there(dir, "libguestfsempty0"));
    assert_true(is_there(dir, "libguestfsyoung0"));
    assert_true(is_there(dir, "libguestfslive00/guestfsd.sock"));
    assert_int_equal(close(live), 0);
    drop_dir(dir);
}

static void test_another_process_with_libguestfs_is_seen(void **state)
{
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        for (;;) {
            (void)pause();
        }
    }
    assert_true(child > 0);
    assert_false(sweep_is_alone());
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_sweep_takes_the_dead_and_leaves_the_living(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *file = xprintf("%s/libguestfsfile00/keep", dir);
    SCOPED_FREE char *link = xprintf("%s/libguestfslink00", dir);
    int live = make_sockets(dir, "libguestfslive00", "guestfsd.sock", 600);

    (void)state;
    assert_int_equal(close(make_sockets(dir, "libguestfsdead00", "guestfsd.sock", 6)), 0);
    assert_int_equal(close(make_sockets(dir, "libguestfsyoung0", "guestfsd.sock", 1)), 0);
    assert_int_equal(close(make_sockets(dir, "libguestfsother-", "guestfsd.sock", 600)), 0);
    assert_int_equal(close(make_sockets(dir, "libguestfsfile00", "guestfsd.sock", 600)), 0);
    (void)make_sockets(dir, "libguestfsempty0", NULL, 3700);
    put(file, "");
    *strrchr(file, '/') = '\0';
    age(file, 600);
    assert_int_equal(symlink("libguestfsdead00", link), 0);
    age(link, 600);

    sweep(dir, false);
    assert_true(is_there(dir, "libguestfslive00/guestfsd.sock"));
    assert_false(is_there(dir, "libguestfsdead00"));
    assert_true(is_there(dir, "libguestfsyoung0/guestfsd.sock"));
    assert_true(is_there(dir, "libguestfsother-/guestfsd.sock"));
    assert_true(is_there(dir, "libguestfsfile00/keep"));
    assert_true(is_there(dir, "libguestfsfile00/guestfsd.sock"));
    assert_true(is_there(dir, "libguestfslink00"));
    assert_true(is_there(dir, "libguestfsempty0")); /* may belong to the living one */

    assert_int_equal(close(live), 0);
    sweep(dir, false);
    assert_false(is_there(dir, "libguestfslive00"));
    assert_false(is_there(dir, "libguestfsempty0"));
    drop_dir(dir);
}

static void test_sweep_leaves_what_belongs_to_somebody_else(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* only root can give a directory away */
    } else {
        char *dir = new_dir();
        SCOPED_FREE char *path = xprintf("%s/libguestfsdead00", dir);

        assert_int_equal(close(make_sockets(dir, "libguestfsdead00", "guestfsd.sock", 600)), 0);
        assert_int_equal(chown(path, 12345, 12345), 0);
        sweep(dir, false);
        assert_true(is_there(dir, "libguestfsdead00/guestfsd.sock"));
        drop_dir(dir);
    }
}

/* A child that holds the lock as supermin does; kill it to let go. */
static pid_t hold_lock(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR | O_CLOEXEC);

        if (fcntl(fd, F_SETLK, &lock) == 0 && write(ready[1], "x", 1) == 1) {
            (void)alarm(10); /* a failing test must not leave it behind */
            pause();
        }
        _exit(1);
    }
    assert_int_equal(close(ready[1]), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(close(ready[0]), 0);
    return pid;
}

static void test_unfinished_appliances_go_unless_one_is_being_built(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *half = xprintf("%s/appliance.d.abcd1234/root", dir);
    SCOPED_FREE char *whole = xprintf("%s/appliance.d/root", dir);
    SCOPED_FREE char *lock = xprintf("%s/lock", dir);
    struct error err = {0};
    pid_t builder;

    (void)state;
    assert_int_equal(file_make_dirs(half, &err), 0);
    assert_int_equal(file_make_dirs(whole, &err), 0);
    put(lock, "");
    builder = hold_lock(lock);
    sweep_appliances(dir);
    assert_true(file_exists(half));
    assert_int_equal(kill(builder, SIGKILL), 0);
    assert_int_equal(waitpid(builder, NULL, 0), builder);
    sweep_appliances(dir);
    assert_false(is_there(dir, "appliance.d.abcd1234"));
    assert_true(file_exists(whole));
    drop_dir(dir);
}

static void test_old_scratch_goes(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *old = xprintf("%s/supermin0a1b2c.tmpdir", dir);
    SCOPED_FREE char *young = xprintf("%s/supermin0a1b2d.tmpdir", dir);
    SCOPED_FREE char *other = xprintf("%s/supermin0a1b2c.tmp", dir);
    struct error err = {0};

    (void)state;
    assert_int_equal(file_make_dirs(old, &err), 0);
    assert_int_equal(file_make_dirs(young, &err), 0);
    assert_int_equal(file_make_dirs(other, &err), 0);
    age(old, 4000);
    age(other, 4000);
    sweep_scratch(dir, time(NULL), 3600);
    assert_false(file_exists(old));
    assert_true(file_exists(young));
    assert_true(file_exists(other));
    drop_dir(dir);
}

/* --- the programs of a launch --- */

struct starter {
    pid_t tid, program, copy;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, release;
};

static void *start_two(void *data)
{
    struct starter *starter = data;

    starter->program = fork();
    if (starter->program == 0) {
        execlp("sleep", "sleep", "60", (char *)NULL);
        _exit(127);
    }
    starter->copy = fork();
    if (starter->copy == 0) {
        (void)alarm(10);
        pause();
        _exit(0);
    }
    pthread_mutex_lock(&starter->lock);
    starter->tid = gettid();
    starter->started = true;
    pthread_cond_broadcast(&starter->changed);
    while (!starter->release) {
        pthread_cond_wait(&starter->changed, &starter->lock);
    }
    pthread_mutex_unlock(&starter->lock);
    return NULL;
}

static size_t programs_soon(pid_t tid, pid_t *pids, size_t max, size_t wanted)
{
    size_t count = 0;

    for (int tries = 0; tries < 100; tries++) {
        struct timespec pause_10ms = {.tv_nsec = 10000000};

        count = launch_programs(tid, pids, max);
        if (count == wanted) {
            break;
        }
        (void)nanosleep(&pause_10ms, NULL);
    }
    return count;
}

static void test_only_the_programs_of_the_thread_are_found_and_killed(void **state)
{
    struct starter starter = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    pid_t pids[8];
    pthread_t thread;
    int status;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, start_two, &starter), 0);
    pthread_mutex_lock(&starter.lock);
    while (!starter.started) {
        pthread_cond_wait(&starter.changed, &starter.lock);
    }
    pthread_mutex_unlock(&starter.lock);

    assert_int_equal(programs_soon(starter.tid, pids, 8, 1), 1);
    assert_int_equal(pids[0], starter.program);
    assert_int_equal(launch_programs(gettid(), pids, 8), 0);
    launch_kill(starter.program);
    assert_int_equal(waitpid(starter.program, &status, 0), starter.program);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(launch_programs(starter.tid, pids, 8), 0);
    assert_int_equal(kill(starter.copy, 0), 0);
    launch_kill(starter.copy);
    assert_int_equal(waitpid(starter.copy, NULL, 0), starter.copy);

    pthread_mutex_lock(&starter.lock);
    starter.release = true;
    pthread_cond_broadcast(&starter.changed);
    pthread_mutex_unlock(&starter.lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* --- doctor --- */

static void add_kernel(const char *root, const char *version, bool modules)
{
    SCOPED_FREE char *kernel = xprintf("%s/boot/vmlinuz-%s", root, version);
    SCOPED_FREE char *dir = xprintf("%s/lib/modules/%s", root, version);
    SCOPED_FREE char *dep = xprintf("%s/modules.dep", dir);
    struct error err = {0};

    put(kernel, "");
    if (modules) {
        assert_int_equal(file_make_dirs(dir, &err), 0);
        put(dep, "");
    }
}

static void expect_kernel(const char *root, const char *expected)
{
    SCOPED_FREE char *kernel = doctor_kernel(root, "x86_64");
    SCOPED_FREE char *path = expected == NULL ? NULL : xprintf("%s%s", root, expected);

    if (path == NULL) {
        assert_null(kernel);
    } else {
        assert_non_null(kernel);
        assert_string_equal(kernel, path);
    }
}

static void test_the_appliance_kernel_is_chosen_as_supermin_does(void **state)
{
    char *root = new_dir();
    SCOPED_FREE char *boot = xprintf("%s/boot", root);
    SCOPED_FREE char *fedora = xprintf("%s/lib/modules/5.0/vmlinuz", root);
    struct error err = {0};

    (void)state;
    expect_kernel(root, NULL);
    assert_int_equal(file_make_dirs(boot, &err), 0);
    add_kernel(root, "6.2.0-9-generic", true);
    expect_kernel(root, "/boot/vmlinuz-6.2.0-9-generic");
    add_kernel(root, "6.1.0-9-amd64", true);
    expect_kernel(root, "/boot/vmlinuz-6.1.0-9-amd64");
    add_kernel(root, "6.1.0-10-amd64", true);
    expect_kernel(root, "/boot/vmlinuz-6.1.0-10-amd64");
    add_kernel(root, "6.1.0-10-cloud-amd64", true);
    expect_kernel(root, "/boot/vmlinuz-6.1.0-10-cloud-amd64");
    add_kernel(root, "6.1.0-11-amd64", false);
    add_kernel(root, "6.1.0-12-xen-amd64", true);
    expect_kernel(root, "/boot/vmlinuz-6.1.0-10-cloud-amd64");
    add_kernel(root, "5.0", true);
    put(fedora, "");
    expect_kernel(root, "/lib/modules/5.0/vmlinuz");
    drop_dir(root);
}

static const struct doctor_item *find_item(const struct doctor_item *items, size_t count,
                                           const char *what)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(items[i].what, what) == 0) {
            return &items[i];
        }
    }
    assert_string_equal(what, "an item of the list");
    return NULL;
}

static void test_doctor_says_what_is_there_and_what_is_not(void **state)
{
    char *dir = new_dir();
    SCOPED_FREE char *output = xprintf("%s/not/yet", dir), *old = xstrdup(getenv("PATH"));
    struct doctor_item *items = NULL;
    size_t count = 0;

    (void)state;
    doctor_run(output, &items, &count);
    assert_int_equal(find_item(items, count, "libguestfs")->state, DOCTOR_OK);
    assert_non_null(strstr(find_item(items, count, "libarchive")->detail, "."));
    assert_non_null(strstr(find_item(items, count, "output directory")->detail, dir));
    for (size_t i = 0; i < count; i++) {
        assert_non_null(items[i].detail);
        assert_true(items[i].state == DOCTOR_OK || items[i].advice != NULL);
    }
    doctor_free(items, count);

    setenv("PATH", dir, 1);
    setenv("TMPDIR", output, 1);
    doctor_run(output, &items, &count);
    setenv("PATH", old, 1);
    unsetenv("TMPDIR");
    assert_int_equal(find_item(items, count, "supermin")->state, DOCTOR_MISSING);
    assert_string_equal(find_item(items, count, "supermin")->advice,
                        "sudo apt-get install supermin");
    assert_int_equal(find_item(items, count, "temporary directory")->state, DOCTOR_MISSING);
    doctor_free(items, count);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_comes_back),
        cmocka_unit_test(test_memory_counts_only_for_the_same_host),
        cmocka_unit_test(test_a_corrupt_memory_is_ignored_and_replaced),
        cmocka_unit_test(test_memory_leaves_no_partial_file_when_it_cannot_be_written),
        cmocka_unit_test(test_memory_lies_where_xdg_says),
        cmocka_unit_test(test_the_host_is_read),
        cmocka_unit_test(test_kvm_limit),
        cmocka_unit_test(test_a_bad_limit_is_refused_before_anything_is_started),
        cmocka_unit_test(test_obstacles_name_the_device),
        cmocka_unit_test(test_a_forbidden_device_is_said_to_be_forbidden),
        cmocka_unit_test(test_causes),
        cmocka_unit_test(test_messages_are_trimmed),
        cmocka_unit_test(test_sweep_takes_empty_ones_when_nobody_else_is_there),
        cmocka_unit_test(test_another_process_with_libguestfs_is_seen),
        cmocka_unit_test(test_sweep_takes_the_dead_and_leaves_the_living),
        cmocka_unit_test(test_sweep_leaves_what_belongs_to_somebody_else),
        cmocka_unit_test(test_unfinished_appliances_go_unless_one_is_being_built),
        cmocka_unit_test(test_old_scratch_goes),
        cmocka_unit_test(test_only_the_programs_of_the_thread_are_found_and_killed),
        cmocka_unit_test(test_the_appliance_kernel_is_chosen_as_supermin_does),
        cmocka_unit_test(test_doctor_says_what_is_there_and_what_is_not),
    };

    return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
