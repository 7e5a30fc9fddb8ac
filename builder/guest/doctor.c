/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/doctor.h"

#include <archive.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <guestfs.h>
#include <jansson.h>
#include <libxml/parser.h>
#include <openssl/crypto.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <yaml.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/proc.h"
#include "base/scope.h"
#include "base/text.h"
#include "guest/kvm.h"
#include "store/store.h"

/* The appliance is a sparse file of 0.4 to 0.7 GB of data; while it is rebuilt there are two. */
#define APPLIANCE_ROOM (UINT64_C(3) << 29)

/* A base system of 500 MB as raw and qcow2, and the one before. */
#define OUTPUT_ROOM (UINT64_C(2) << 30)

struct list {
    struct doctor_item *items;
    size_t count, space;
};

/* Swallows DETAIL and ADVICE. */
static void add(struct list *list, const char *what, int state, char *detail, char *advice)
{
    grow((void *)&list->items, list->count, &list->space, sizeof(*list->items));
    list->items[list->count].what = what;
    list->items[list->count].state = state;
    list->items[list->count].detail = detail;
    list->items[list->count++].advice = advice;
}

void doctor_free(struct doctor_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(items[i].detail);
        free(items[i].advice);
    }
    free(items);
}

static char *advise(const char *package)
{
    return xprintf("sudo apt-get install %s", package);
}

/* --- user, environment, KVM --- */

static void look_at_user(struct list *list)
{
    if (geteuid() == 0) {
        add(list, "user", DOCTOR_OK, xstrdup("root, which is not needed"), NULL);
    } else {
        add(list, "user", DOCTOR_OK, xprintf("number %lu", (unsigned long)geteuid()), NULL);
    }
}

static void look_at_environment(struct list *list)
{
    SCOPED(buf_done) struct buf found = {0};

    for (char **name = environ; *name != NULL; name++) {
        if (text_starts(*name, "LIBGUESTFS_") || text_starts(*name, "SUPERMIN_")) {
            buf_printf(&found, "%s%s", found.size != 0 ? ", " : "", *name);
        }
    }
    if (found.size != 0) {
        add(list, "environment", DOCTOR_NOTE, buf_take(&found),
            xstrdup("these change how the appliance is made and started"));
    }
}

static void look_at_kvm(struct list *list, const char *qemu)
{
    SCOPED(kvm_host_done) struct kvm_host host = {0};
    SCOPED_FREE char *path = kvm_memory_path(), *cause = NULL;
    char *obstacle = kvm_obstacle(KVM_DEVICE);

    if (obstacle != NULL) {
        add(list, "KVM", DOCTOR_NOTE, obstacle,
            xstrdup("builds work by emulation; KVM makes the appliance several times faster"));
        return;
    }
    kvm_host_read(&host, qemu);
    cause = path != NULL ? kvm_recall(path, &host) : NULL;
    if (cause != NULL) {
        add(list, "KVM", DOCTOR_NOTE, xprintf("does not work here: %s", cause),
            xprintf("builds work by emulation; remove '%s' to have KVM tried again", path));
        return;
    }
    add(list, "KVM", DOCTOR_OK, xstrdup(KVM_DEVICE " can be used; a launch shows whether it works"),
        NULL);
}

/* --- the appliance's kernel --- */

/* What Debian and others call MACHINE in the names of kernels. */
static bool is_kernel_name(const char *name, const char *machine, bool any)
{
    SCOPED_FREE char *pattern = xprintf("vmlinu?-*-%s", machine);

    if (fnmatch("vmlinu?-*", name, 0) != 0 || strstr(name, "xen") != NULL) {
        return false;
    }
    return any || fnmatch(pattern, name, 0) == 0 ||
           (strcmp(machine, "x86_64") == 0 && fnmatch("vmlinu?-*-amd64", name, 0) == 0) ||
           (strcmp(machine, "aarch64") == 0 && fnmatch("vmlinu?-*-arm64", name, 0) == 0);
}

static bool has_modules(const char *root, const char *name)
{
    SCOPED_FREE char *path =
        xprintf("%s/lib/modules/%s/modules.dep", root, name + strlen("vmlinuz-"));

    return file_exists(path);
}

/* The newest kernel of ROOT/boot that has its modules, of this machine's name or of ANY. */
static char *kernel_in_boot(const char *root, const char *machine, bool any)
{
    SCOPED_FREE char *boot = xprintf("%s/boot", root), *best = NULL;
    SCOPED_DIR DIR *dir = opendir(boot);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (is_kernel_name(entry->d_name, machine, any) && has_modules(root, entry->d_name) &&
            (best == NULL || strverscmp(entry->d_name, best) > 0)) {
            free(best);
            best = xstrdup(entry->d_name);
        }
    }
    return best == NULL ? NULL : xprintf("%s/%s", boot, best);
}

/* Fedora keeps kernels beside their modules, and supermin looks there first. */
static char *kernel_in_modules(const char *root)
{
    SCOPED_FREE char *pattern = xprintf("%s/lib/modules/*/vmlinuz", root);
    glob_t found = {0};
    const char *best = NULL;
    char *ret;

    if (glob(pattern, GLOB_NOSORT | GLOB_NOESCAPE, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (best == NULL || strverscmp(found.gl_pathv[i], best) > 0) {
                best = found.gl_pathv[i];
            }
        }
    }
    ret = best == NULL ? NULL : xstrdup(best);
    globfree(&found);
    return ret;
}

char *doctor_kernel(const char *root, const char *machine)
{
    char *kernel = kernel_in_modules(root);

    if (kernel == NULL) {
        kernel = kernel_in_boot(root, machine, false);
    }
    return kernel != NULL ? kernel : kernel_in_boot(root, machine, true);
}

static void look_at_kernel(struct list *list, const char *machine)
{
    const char *chosen = getenv("SUPERMIN_KERNEL"), *path = getenv("LIBGUESTFS_PATH");
    SCOPED_FREE char *kernel =
        chosen != NULL && chosen[0] != '\0' ? xstrdup(chosen) : doctor_kernel("", machine);
    bool arm = strcmp(machine, "aarch64") == 0;
    const char *package = arm ? "linux-image-cloud-arm64" : "linux-image-cloud-amd64";

    if (path != NULL && path[0] != '\0') {
        add(list, "appliance kernel", DOCTOR_OK, xstrdup("whatever LIBGUESTFS_PATH holds"), NULL);
    } else if (kernel == NULL) {
        add(list, "appliance kernel", DOCTOR_MISSING,
            xstrdup("none in /boot with its modules in /lib/modules"), advise(package));
    } else if (faccessat(AT_FDCWD, kernel, R_OK, AT_EACCESS) < 0) {
        int state = errno == EACCES ? DOCTOR_MISSING : DOCTOR_NOTE;

        add(list, "appliance kernel", state, xprintf("%s: %s", kernel, strerror(errno)),
            xprintf("sudo chmod 0644 %s; for good: "
                    "sudo dpkg-statoverride --update --add root root 0644 %s",
                    kernel, kernel));
    } else {
        add(list, "appliance kernel", DOCTOR_OK, xstrdup(kernel),
            strstr(kernel, "cloud") != NULL
                ? NULL
                : xprintf("%s starts about 3 s sooner without KVM", package));
    }
}

/* --- libraries and programs --- */

static void look_at_libraries(struct list *list, guestfs_h *handle)
{
    struct guestfs_version *version = guestfs_version(handle);
    const char *archive = archive_version_string(), *ext2 = NULL, *date = NULL;
    const struct scmp_version *seccomp = seccomp_version();
    unsigned long xml = strtoul(xmlParserVersion, NULL, 10); /* 20914 */

    if (version != NULL) {
        add(list, "libguestfs", DOCTOR_OK,
            xprintf("%lld.%lld.%lld%s", (long long)version->major, (long long)version->minor,
                    (long long)version->release, version->extra),
            NULL);
        guestfs_free_version(version);
    }
    add(list, "libarchive", DOCTOR_OK,
        xstrdup(text_starts(archive, "libarchive ") ? archive + strlen("libarchive ") : archive),
        NULL);
    (void)ext2fs_get_library_version(&ext2, &date);
    add(list, "libext2fs", DOCTOR_OK, xstrdup(ext2), NULL);
    add(list, "libseccomp", DOCTOR_OK,
        xprintf("%u.%u.%u", seccomp->major, seccomp->minor, seccomp->micro), NULL);
    add(list, "libyaml", DOCTOR_OK, xstrdup(yaml_get_version_string()), NULL);
    add(list, "zlib", DOCTOR_OK, xstrdup(zlibVersion()), NULL);
    add(list, "zstd", DOCTOR_OK, xstrdup(ZSTD_versionString()), NULL);
    add(list, "jansson", DOCTOR_OK, xstrdup(jansson_version_str()), NULL);
    add(list, "libcurl", DOCTOR_OK, xstrdup(curl_version_info(CURLVERSION_NOW)->version), NULL);
    add(list, "libxml2", DOCTOR_OK, xprintf("%lu.%lu.%lu", xml / 10000, xml / 100 % 100, xml % 100),
        NULL);
    add(list, "OpenSSL", DOCTOR_OK, xstrdup(OpenSSL_version(OPENSSL_VERSION_STRING)), NULL);
}

/* PROGRAM's first line for FLAG, or its path when it says nothing. */
static char *program_version(const char *path, const char *flag)
{
    const char *const argv[] = {path, flag, NULL};
    SCOPED(buf_done) struct buf said = {0};
    struct error err = {0};

    if (proc_run(&(struct proc){.argv = argv, .output = &said, .timeout_ms = 10000}, &err) < 0) {
        return xprintf("%s does not run: %s", path, err.message);
    }
    if (said.size == 0) {
        return xstrdup(path);
    }
    said.data[strcspn(said.data, "\n")] = '\0';
    return xstrdup(said.data);
}

static void look_at_program(struct list *list, const char *what, const char *flag, int without,
                            const char *package)
{
    SCOPED_FREE char *path = proc_find(what);

    if (path == NULL) {
        add(list, what, without, xstrdup("not found"), advise(package));
    } else {
        add(list, what, DOCTOR_OK, flag != NULL ? program_version(path, flag) : TAKE(path), NULL);
    }
}

static void look_at_programs(struct list *list, const char *machine)
{
    bool arm = strcmp(machine, "aarch64") == 0;

    look_at_program(list, arm ? "qemu-system-aarch64" : "qemu-system-x86_64", "--version",
                    DOCTOR_MISSING, arm ? "qemu-system-arm" : "qemu-system-x86");
    look_at_program(list, "supermin", "--version", DOCTOR_MISSING, "supermin");
    /* -V writes to stderr */
    look_at_program(list, "mke2fs", NULL, DOCTOR_MISSING, "e2fsprogs");
    /* for vmdk only */
    look_at_program(list, "qemu-img", "--version", DOCTOR_NOTE, "qemu-utils");
}

/* --- firmware of the boot test --- */

struct firmware {
    const char *what, *code, *vars, *package;
};

static void look_at_firmware(struct list *list, const char *machine)
{
    static const struct firmware x86[] = {
        {"UEFI firmware", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd",
         "ovmf"},
        {"Secure Boot firmware", "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
         "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "ovmf"},
    };
    static const struct firmware arm[] = {
        {"UEFI firmware", "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd",
         "qemu-efi-aarch64"},
        {"Secure Boot firmware", "/usr/share/AAVMF/AAVMF_CODE.ms.fd",
         "/usr/share/AAVMF/AAVMF_VARS.ms.fd", "qemu-efi-aarch64"},
    };
    bool is_arm = strcmp(machine, "aarch64") == 0;

    for (size_t i = 0; i < COUNT(x86); i++) {
        const struct firmware *firmware = is_arm ? &arm[i] : &x86[i];
        bool code = access(firmware->code, R_OK) == 0, vars = access(firmware->vars, R_OK) == 0;

        if (code && vars) {
            add(list, firmware->what, DOCTOR_OK, xstrdup(firmware->code), NULL);
        } else {
            add(list, firmware->what, DOCTOR_NOTE,
                xprintf("%s is not there; only the boot test needs it",
                        code ? firmware->vars : firmware->code),
                advise(firmware->package));
        }
    }
}

/* --- file systems of the appliance --- */

/* True when a package list of the appliance below DIR names PACKAGE on a line of its own. */
static bool is_listed(const char *dir, const char *package)
{
    SCOPED_FREE char *pattern = xprintf("%s/supermin.d/*packages*", dir);
    SCOPED_FREE char *line = xprintf("\n%s\n", package);
    glob_t found = {0};
    bool listed = false;

    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && !listed; i++) {
            SCOPED(buf_done) struct buf text = {0};
            struct error err = {0};

            buf_putc(&text, '\n');
            listed = file_read(found.gl_pathv[i], 1 << 20, &text, &err) == 0 &&
                     strstr(text.data, line) != NULL;
        }
    }
    globfree(&found);
    return listed;
}

/* The appliance is made of the host's packages, so both the list and the program are needed. */
static void look_at_filesystem(struct list *list, const char *what, const char *appliance,
                               const char *package, const char *program, const char *install)
{
    SCOPED_FREE char *path = proc_find(program);

    if (is_listed(appliance, package) && path != NULL) {
        add(list, what, DOCTOR_OK, xprintf("%s in the appliance", program), NULL);
    } else {
        add(list, what, DOCTOR_NOTE,
            xprintf("no %s in the appliance; only profiles with such a root need it", program),
            advise(install));
    }
}

static void look_at_filesystems(struct list *list, guestfs_h *handle)
{
    const char *path = guestfs_get_path(handle);
    SCOPED_FREE char *appliance = xstrndup(path, strcspn(path, ":"));

    look_at_filesystem(list, "xfs", appliance, "xfsprogs", "mkfs.xfs", "libguestfs-xfs");
    look_at_filesystem(list, "btrfs", appliance, "btrfs-progs", "mkfs.btrfs", "btrfs-progs");
}

/* --- room --- */

/* PATH or the nearest directory above it that exists. */
static char *existing(const char *path)
{
    char *at = xstrdup(path);

    while (access(at, F_OK) < 0 && strcmp(at, "/") != 0 && strcmp(at, ".") != 0) {
        char *above = file_dir(at);

        free(at);
        at = above;
    }
    return at;
}

static void look_at_room(struct list *list, const char *what, const char *path, uint64_t wanted,
                         char *advice)
{
    SCOPED_FREE char *own = advice;
    char free_text[TEXT_SIZE_MAX];
    struct statvfs room;
    uint64_t bytes;

    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0 || statvfs(path, &room) < 0) {
        add(list, what, DOCTOR_MISSING, xprintf("%s: %s", path, strerror(errno)), TAKE(own));
        return;
    }
    if (__builtin_mul_overflow((uint64_t)room.f_bavail, (uint64_t)room.f_frsize, &bytes)) {
        bytes = UINT64_MAX;
    }
    add(list, what, bytes < wanted ? DOCTOR_NOTE : DOCTOR_OK,
        xprintf("%s: %s free", path, text_size(bytes, free_text)),
        bytes < wanted ? TAKE(own) : NULL);
}

/* Builds work without it, and take longer. */
static void look_at_cache(struct list *list)
{
    SCOPED(store_freep) struct store *store = NULL;
    struct error err = {0};

    if (store_open(&store, &err) < 0) {
        add(list, "cache", DOCTOR_NOTE, xstrdup(err.message),
            xstrdup("every build reads all its layers; set KILN_STORE to a directory of your own"));
        return;
    }
    add(list, "cache", DOCTOR_OK, xstrdup(store_path(store)), NULL);
}

static void look_at_rooms(struct list *list, guestfs_h *handle, const char *output_dir)
{
    SCOPED_FREE char *output = existing(output_dir), *cache = guestfs_get_cachedir(handle);
    const char *temporary = getenv("TMPDIR");

    look_at_room(list, "output directory", output, OUTPUT_ROOM,
                 xstrdup("make room there, or choose another with -o; it must be writable"));
    if (cache != NULL) {
        look_at_room(list, "appliance directory", cache, APPLIANCE_ROOM,
                     xstrdup("the appliance is kept there: make room, or set LIBGUESTFS_CACHEDIR "
                             "to a writable directory"));
    }
    if (temporary != NULL && temporary[0] != '\0') {
        look_at_room(list, "temporary directory", temporary, UINT64_C(1) << 30,
                     xstrdup("make room there, or set TMPDIR to a writable directory"));
    }
}

void doctor_run(const char *output_dir, struct doctor_item **ret, size_t *ret_count)
{
    guestfs_h *handle = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT);
    SCOPED_FREE char *qemu = NULL;
    struct list list = {0};
    struct utsname name = {0};

    (void)uname(&name);
    look_at_user(&list);
    look_at_environment(&list);
    if (handle == NULL) {
        add(&list, "libguestfs", DOCTOR_MISSING, xstrdup(strerror(errno)), NULL);
    } else {
        guestfs_set_error_handler(handle, NULL, NULL);
        qemu = guestfs_get_hv(handle);
        (void)guestfs_parse_environment(handle);
        look_at_kvm(&list, qemu != NULL ? qemu : "unknown");
        look_at_kernel(&list, name.machine);
        look_at_libraries(&list, handle);
        look_at_programs(&list, name.machine);
        look_at_firmware(&list, name.machine);
        look_at_filesystems(&list, handle);
        look_at_rooms(&list, handle, output_dir);
        look_at_cache(&list);
        guestfs_close(handle);
    }
    *ret = list.items;
    *ret_count = list.count;
}
