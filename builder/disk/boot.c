/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/boot.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/le.h"
#include "base/text.h"

/* What differs between architectures. */
struct platform {
    const char *shim[3]; /* the first that is there */
    const char *mok;     /* MokManager, which shim starts to enrol keys */
    const char *grub_signed;
    const char *grub_plain; /* one file with everything in, unsigned */
    const char *esp_loader; /* UEFI 2.10, 3.5.1.1: removable media */
    const char *esp_grub;   /* where shim looks */
    const char *esp_mok;
    const char *packages; /* for the hint, Debian's names */
};

static const struct platform platforms[] = {
    [ARCH_X86_64] =
        {
            .shim = {"usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/shimx64.efi.signed.latest",
                     "usr/lib/shim/shimx64.efi.dualsigned"},
            .mok = "usr/lib/shim/mmx64.efi.signed",
            .grub_signed = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            .grub_plain = "usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
            .esp_loader = "EFI/BOOT/BOOTX64.EFI",
            .esp_grub = "EFI/BOOT/grubx64.efi",
            .esp_mok = "EFI/BOOT/mmx64.efi",
            .packages = "shim-signed and grub-efi-amd64-signed",
        },
    [ARCH_AARCH64] =
        {
            .shim = {"usr/lib/shim/shimaa64.efi.signed", "usr/lib/shim/shimaa64.efi.signed.latest",
                     "usr/lib/shim/shimaa64.efi.dualsigned"},
            .mok = "usr/lib/shim/mmaa64.efi.signed",
            .grub_signed = "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed",
            .grub_plain = "usr/lib/grub/arm64-efi/monolithic/grubaa64.efi",
            .esp_loader = "EFI/BOOT/BOOTAA64.EFI",
            .esp_grub = "EFI/BOOT/grubaa64.efi",
            .esp_mok = "EFI/BOOT/mmaa64.efi",
            .packages = "shim-signed and grub-efi-arm64-signed",
        },
};

static const char bios_dir[] = "usr/lib/grub/i386-pc";

/* GRUB's run-time modules and lists: what grub-install copies next to grub.cfg. */
static bool is_module(const char *name)
{
    return text_ends(name, ".mod") || text_ends(name, ".lst") || text_ends(name, ".o");
}

bool boot_keeps(const char *path)
{
    if (text_starts(path, bios_dir)) {
        return is_module(path) || text_ends(path, "/boot.img");
    }
    for (size_t i = 0; i < COUNT(platforms); i++) {
        const struct platform *p = &platforms[i];
        const char *const files[] = {p->shim[0], p->shim[1],     p->shim[2],
                                     p->mok,     p->grub_signed, p->grub_plain};

        for (size_t k = 0; k < COUNT(files); k++) {
            if (strcmp(path, files[k]) == 0) {
                return true;
            }
        }
    }
    return strcmp(path, "etc/fstab") == 0 || strcmp(path, "usr/lib/os-release") == 0 ||
           strcmp(path, "etc/os-release") == 0;
}

/* A regular file of the tree with its content, symlinks followed; NULL when there is none. */
static const struct inode *find_kept(const struct stack *stack, const char *path)
{
    const struct node *node = tree_resolve(stack->tree, path);

    return node != NULL && node->inode->type == ENTRY_FILE && node->inode->content != NULL
               ? node->inode
               : NULL;
}

/* --- the kernel -------------------------------------------------------------------------- */

static bool is_file(const struct stack *stack, const char *path)
{
    const struct node *node = tree_resolve(stack->tree, path);

    return node != NULL && node->inode->type == ENTRY_FILE;
}

static char *find_initrd(const struct stack *stack, const char *release)
{
    static const char *const patterns[] = {"boot/initrd.img-%s", "boot/initramfs-%s.img",
                                           "boot/initrd-%s"};

    for (size_t i = 0; i < COUNT(patterns); i++) {
        struct buf path = {0};
        const char *at = strstr(patterns[i], "%s");

        buf_add(&path, patterns[i], (size_t)(at - patterns[i]));
        buf_puts(&path, release);
        buf_puts(&path, at + 2);
        if (is_file(stack, path.data)) {
            return buf_take(&path);
        }
        buf_done(&path);
    }
    return NULL;
}

/* GRUB's language quotes with ' and ends words at blanks; a kernel is not called like that. */
static bool is_plain(const char *name)
{
    for (; *name != '\0'; name++) {
        if (!isalnum((unsigned char)*name) && strchr("._+~-", *name) == NULL) {
            return false;
        }
    }
    return true;
}

/* What package managers and people put aside is no kernel to boot; update-grub skips it as well. */
static bool is_set_aside(const char *name)
{
    static const char *const ends[] = {".old",       ".bak",     ".dpkg-new", ".dpkg-old",
                                       ".dpkg-tmp",  ".rpmsave", ".rpmnew",   ".rpmorig",
                                       ".dpkg-dist", "~"};

    for (size_t i = 0; i < COUNT(ends); i++) {
        if (text_ends(name, ends[i])) {
            return true;
        }
    }
    return false;
}

/* The newest kernel by version, as the image's update-grub would put it first. */
static void find_kernel(const struct stack *stack, struct boot *boot)
{
    static const char prefix[] = "vmlinuz-";
    const struct node *dir = tree_resolve(stack->tree, "boot");
    const char *best = NULL;

    if (dir == NULL) {
        return;
    }
    for (const struct node *node = dir->children; node != NULL; node = node->next) {
        const char *release = node->name + sizeof(prefix) - 1;

        if (node->inode->type == ENTRY_FILE && text_starts(node->name, prefix) &&
            is_plain(node->name) && !is_set_aside(node->name) &&
            (best == NULL || strverscmp(release, best) > 0)) {
            best = release;
        }
    }
    if (best != NULL) {
        boot->kernel = xprintf("boot/%s%s", prefix, best);
        boot->initrd = find_initrd(stack, best);
    }
}

/* --- mount points ------------------------------------------------------------------------ */

/* Every part of the path must be a directory itself: what is behind a symlink is another path. */
static int check_mount(const struct plan_partition *part, const struct stack *stack,
                       struct error *err)
{
    const char *mount = part->spec->mount;

    for (const char *end = mount; *end != '\0';) {
        SCOPED_FREE char *prefix = NULL;
        const struct node *node;

        end += strcspn(end + 1, "/") + 1;
        prefix = xstrndup(mount, (size_t)(end - mount));
        node = tree_find(stack->tree, prefix);
        if (node != NULL && node->inode->type != ENTRY_DIRECTORY) {
            fail(err, FAIL_ERROR,
                 "layer '%s': '%s' is not a directory, but partition '%s' is mounted at '%s'",
                 stack_owner(stack, node->inode), prefix + 1, part->spec->name, mount);
            return fail_hint(err, "change the layer, or 'mount' of the partition");
        }
    }
    return 0;
}

static int add_mounts(const struct plan *plan, struct stack *stack, struct error *err)
{
    for (size_t i = 0; i < plan->partition_count; i++) {
        const struct plan_partition *part = &plan->partitions[i];

        if (part->spec->mount == NULL) {
            continue;
        }
        if (check_mount(part, stack, err) < 0 ||
            (tree_find(stack->tree, part->spec->mount) == NULL &&
             stack_add_directory(stack, part->spec->mount + 1, err) < 0)) {
            return -1;
        }
    }
    return 0;
}

/* --- fstab and GRUB's configuration ------------------------------------------------------ */

static bool has_entries(const struct inode *fstab)
{
    const char *line = fstab->content, *end = line + fstab->size;

    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));

        while (line < end && (*line == ' ' || *line == '\t')) {
            line++;
        }
        if (line < end && *line != '#' && *line != '\n') {
            return true;
        }
        line = newline != NULL ? newline + 1 : end;
    }
    return false;
}

/* Blanks and backslashes in octal, as fstab(5) wants them. */
static void add_mount(struct buf *text, const char *mount)
{
    for (; *mount != '\0'; mount++) {
        if (*mount == ' ' || *mount == '\t' || *mount == '\n' || *mount == '\\') {
            buf_printf(text, "\\%03o", (unsigned char)*mount);
        } else {
            buf_putc(text, *mount);
        }
    }
}

static void add_fstab_line(struct buf *text, const struct plan_partition *part)
{
    bool root = strcmp(part->spec->mount, "/") == 0;

    buf_printf(text, "UUID=%s ", part->fs_id);
    add_mount(text, part->spec->mount);
    buf_printf(text, " %s %s 0 %d\n", filesystem_name(part->spec->filesystem),
               part->spec->filesystem == FS_VFAT           ? "umask=0077"
               : root && part->spec->filesystem == FS_EXT4 ? "rw,errors=remount-ro"
                                                           : "defaults",
               root ? 1 : 2);
}

/* A layer's own fstab stays if it has entries, so there must be no doubt what is in it. */
static int check_fstab(const struct stack *stack, bool *ret_stays, struct error *err)
{
    const struct node *node = tree_find(stack->tree, "etc/fstab");

    *ret_stays = false;
    if (node == NULL || (node->inode->type == ENTRY_FILE && node->inode->size == 0)) {
        return 0;
    }
    if (node->inode->type != ENTRY_FILE || node->inode->content == NULL) {
        fail(err, FAIL_ERROR,
             "layer '%s': 'etc/fstab' is a link or the like, not a file of its own",
             stack_owner(stack, node->inode));
        return fail_hint(err, "make it a plain file, or leave it out: kiln writes one");
    }
    *ret_stays = has_entries(node->inode);
    return 0;
}

static int add_fstab(const struct plan *plan, struct stack *stack, struct error *err)
{
    SCOPED_FREE const struct plan_partition **parts = NULL;
    size_t count = plan_by_mount(plan, &parts);
    SCOPED(buf_done) struct buf text = {0};
    bool stays;

    if (check_fstab(stack, &stays, err) < 0) {
        return -1;
    }
    if (stays) {
        return 0;
    }
    buf_puts(&text, "# <file system> <mount point> <type> <options> <dump> <pass>\n");
    for (size_t i = 0; i < count; i++) {
        add_fstab_line(&text, parts[i]);
    }
    return stack_add_file(stack, "etc/fstab", 0644, text.data, text.size, err);
}

/* What follows START at the beginning of a line, or NULL. */
static const char *find_line(const char *text, size_t size, const char *start)
{
    const char *at = text, *end = text + size;
    size_t length = strlen(start);

    while (at != NULL && (size_t)(end - at) >= length) {
        if (memcmp(at, start, length) == 0) {
            return at + length;
        }
        at = memchr(at, '\n', (size_t)(end - at));
        at = at != NULL ? at + 1 : NULL;
    }
    return NULL;
}

/* PRETTY_NAME of os-release, only what is harmless between quotes; a new string. */
static char *os_name(const struct stack *stack)
{
    const struct inode *release = find_kept(stack, "etc/os-release");
    SCOPED(buf_done) struct buf name = {0};
    const char *at;

    if (release == NULL) {
        release = find_kept(stack, "usr/lib/os-release");
    }
    at = release == NULL ? NULL : find_line(release->content, release->size, "PRETTY_NAME=");
    if (at != NULL) {
        const char *end = release->content + release->size;

        for (; at < end && *at != '\n' && name.size < 64; at++) {
            if (isalnum((unsigned char)*at) || strchr(" ./()_-", *at) != NULL) {
                buf_putc(&name, *at);
            }
        }
    }
    return name.size != 0 ? buf_take(&name) : xstrdup("Linux");
}

/* Where GRUB finds PATH of the image: its partition, and its name inside that file system. */
struct place {
    const struct plan_partition *partition;
    const char *path; /* with a leading slash */
};

static struct place find_place(const struct plan *plan, const char *path)
{
    struct place place = {.partition = plan_mount(plan, path), .path = path};
    const char *mount = place.partition->spec->mount;

    if (strcmp(mount, "/") != 0) {
        place.path = path + strlen(mount);
    }
    return place;
}

static void add_root(struct buf *text, const struct plan *plan, const struct boot *boot)
{
    const struct plan_partition *root = plan_find(plan, PART_ROOT);
    char uuid[UUID_TEXT_MAX];

    if (boot->initrd != NULL) {
        buf_printf(text, "root=UUID=%s", root->fs_id);
    } else {
        /* Without an initramfs nobody resolves UUID=; the kernel itself knows PARTUUID=. */
        buf_printf(text, "root=PARTUUID=%s rootwait", uuid_text(&root->uuid, uuid));
    }
}

static int add_grub_cfg(const struct profile *profile, const struct plan *plan, struct stack *stack,
                        const struct boot *boot, struct error *err)
{
    SCOPED_FREE char *kernel = xprintf("/%s", boot->kernel);
    SCOPED_FREE char *initrd = boot->initrd != NULL ? xprintf("/%s", boot->initrd) : NULL;
    SCOPED_FREE char *os = os_name(stack);
    struct place place = find_place(plan, kernel);
    SCOPED(buf_done) struct buf text = {0};

    buf_puts(&text, "# Written by kiln; the image's own update-grub may replace it.\n"
                    "set default=0\n"
                    "set timeout=1\n");
    if (strstr(profile->kernel_command_line, "console=tty") != NULL &&
        (strstr(profile->kernel_command_line, "console=ttyS") != NULL ||
         strstr(profile->kernel_command_line, "console=ttyAMA") != NULL)) {
        buf_puts(&text, "if serial --unit=0 --speed=115200; then\n"
                        "    terminal_input console serial\n"
                        "    terminal_output console serial\n"
                        "fi\n");
    }
    buf_printf(&text, "search --no-floppy --fs-uuid --set=root %s\n", place.partition->fs_id);
    buf_printf(&text, "menuentry '%s' {\n    linux %s ", os, place.path);
    add_root(&text, plan, boot);
    buf_printf(&text, " ro %s\n", profile->kernel_command_line);
    if (initrd != NULL) {
        buf_printf(&text, "    initrd %s\n", find_place(plan, initrd).path);
    }
    buf_puts(&text, "}\n");
    return stack_add_file(stack, "boot/grub/grub.cfg", 0644, text.data, text.size, err);
}

/* Keeps the kernel command line when the image's own update-grub writes a new grub.cfg. */
static int add_grub_defaults(const struct profile *profile, struct stack *stack, struct error *err)
{
    SCOPED(buf_done) struct buf text = {0};

    if (!is_file(stack, "usr/sbin/update-grub")) {
        return 0;
    }
    buf_printf(&text,
               "GRUB_CMDLINE_LINUX=\"%s\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\nGRUB_TIMEOUT=1\n",
               profile->kernel_command_line);
    return stack_add_file(stack, "etc/default/grub.d/kiln.cfg", 0644, text.data, text.size, err);
}

/* --- UEFI -------------------------------------------------------------------------------- */

static int add_to_esp(const struct plan *plan, struct stack *stack, const char *name,
                      const void *content, size_t size, struct error *err)
{
    SCOPED_FREE char *path = xprintf("%s/%s", plan_find(plan, PART_ESP)->spec->mount + 1, name);

    return stack_add_file(stack, path, 0644, content, size, err);
}

/*
 * GRUB's directory on the ESP is compiled in ("/EFI/debian"), and differs between distributions:
 * the binary itself is asked. Returns "EFI/NAME", a new string.
 */
static char *grub_prefix(const struct inode *grub)
{
    static const char start[] = "/EFI/";
    const char *at = grub->content, *end = at + grub->size;

    while ((at = memmem(at, (size_t)(end - at), start, sizeof(start) - 1)) != NULL) {
        const char *name = at + sizeof(start) - 1, *stop = name;

        while (stop < end &&
               (islower((unsigned char)*stop) || isdigit((unsigned char)*stop) || *stop == '-')) {
            stop++;
        }
        if (stop < end && *stop == '\0' && stop > name && stop - name < 64) {
            return xstrndup(at + 1, (size_t)(stop - at - 1));
        }
        at = name;
    }
    return xstrdup("EFI/BOOT");
}

static int add_esp_cfg(const struct plan *plan, struct stack *stack, const char *dir,
                       struct error *err)
{
    struct place place = find_place(plan, "/boot/grub");
    SCOPED_FREE char *name = xprintf("%s/grub.cfg", dir);
    SCOPED_FREE char *text = xprintf("search --no-floppy --fs-uuid --set=root %s\n"
                                     "set prefix=($root)%s\n"
                                     "configfile $prefix/grub.cfg\n",
                                     place.partition->fs_id, place.path);

    return add_to_esp(plan, stack, name, text, strlen(text), err);
}

static int no_uefi(const struct platform *platform, struct error *err)
{
    fail(err, FAIL_ERROR, "the image has no GRUB for UEFI: neither '%s' nor '%s'",
         platform->grub_signed, platform->grub_plain);
    return fail_hint(
        err, "a layer needs %s, or the profile 'firmware: []' for a disk that need not boot",
        platform->packages);
}

static int prepare_uefi(const struct profile *profile, const struct plan *plan, struct stack *stack,
                        struct boot *boot, struct error *err)
{
    const struct platform *platform = &platforms[profile->architecture];
    const struct inode *grub = find_kept(stack, platform->grub_signed), *shim = NULL;
    const struct inode *mok = find_kept(stack, platform->mok);
    SCOPED_FREE char *prefix = NULL;

    for (size_t i = 0; i < COUNT(platform->shim) && shim == NULL; i++) {
        shim = find_kept(stack, platform->shim[i]);
    }
    boot->secure = shim != NULL && grub != NULL;
    if (grub == NULL) {
        grub = find_kept(stack, platform->grub_plain);
    }
    if (grub == NULL) {
        return no_uefi(platform, err);
    }
    if (add_to_esp(plan, stack, platform->esp_loader, (boot->secure ? shim : grub)->content,
                   (boot->secure ? shim : grub)->size, err) < 0) {
        return -1;
    }
    if (boot->secure &&
        (add_to_esp(plan, stack, platform->esp_grub, grub->content, grub->size, err) < 0 ||
         (mok != NULL &&
          add_to_esp(plan, stack, platform->esp_mok, mok->content, mok->size, err) < 0))) {
        return -1;
    }
    prefix = grub_prefix(grub);
    return add_esp_cfg(plan, stack, prefix, err);
}

/* --- BIOS -------------------------------------------------------------------------------- */

static int no_bios(const char *missing, struct error *err)
{
    fail(err, FAIL_ERROR, "the image has no GRUB for BIOS: no '%s'", missing);
    return fail_hint(
        err, "a layer needs grub-pc-bin and grub-common, or the profile 'firmware: [uefi]'");
}

/* GRUB's module for it. */
static const char *grub_filesystem(const struct plan_partition *partition)
{
    static const char *const modules[] = {[FS_NONE] = "",
                                          [FS_EXT4] = "ext2",
                                          [FS_XFS] = "xfs",
                                          [FS_BTRFS] = "btrfs",
                                          [FS_VFAT] = "fat"};

    return modules[partition->spec->filesystem];
}

/*
 * The modules beside grub.cfg, so that a later one may load what it wants. Their contents are kept
 * in memory already; the appended copies are what the disk gets.
 */
static int add_modules(struct stack *stack, struct error *err)
{
    const struct node *dir = tree_resolve(stack->tree, bios_dir);
    size_t count = 0;
    SCOPED_FREE struct node **nodes = node_sorted(dir, &count);

    for (size_t i = 0; i < count; i++) {
        const struct inode *inode = nodes[i]->inode;
        SCOPED_FREE char *path = xprintf("boot/grub/i386-pc/%s", nodes[i]->name);

        if (inode->content != NULL && is_module(nodes[i]->name) &&
            stack_add_file(stack, path, 0644, inode->content, inode->size, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int prepare_bios(const struct plan *plan, struct stack *stack, struct boot *boot,
                        struct error *err)
{
    static const char *const tools[] = {"usr/bin/grub-mkimage", "usr/bin/grub2-mkimage"};
    struct place place = find_place(plan, "/boot/grub");
    const struct inode *boot_image = find_kept(stack, "usr/lib/grub/i386-pc/boot.img");
    const char *tool = NULL;

    for (size_t i = 0; i < COUNT(tools) && tool == NULL; i++) {
        tool = is_file(stack, tools[i]) ? tools[i] : NULL;
    }
    if (boot_image == NULL) {
        return no_bios("usr/lib/grub/i386-pc/boot.img", err);
    }
    if (tool == NULL) {
        return no_bios(tools[0], err);
    }
    buf_add(&boot->boot_image, boot_image->content, boot_image->size);
    /*
     * "(,gptN)" is partition N of the disk the firmware started: no identifier goes in. /dev in
     * there is the appliance's, so that the file is not on the disk.
     */
    boot->core_command = xprintf(
        "/%s -O i386-pc -d /%s -p '(,gpt%u)%s' -o /dev/kiln-core biosdisk part_gpt %s search "
        "search_fs_uuid normal configfile linux serial terminal echo test boot ls gzio minicmd "
        "halt "
        "reboot sleep && base64 -w 0 /dev/kiln-core",
        tool, bios_dir, place.partition->number, place.path, grub_filesystem(place.partition));
    return add_modules(stack, err);
}

int boot_embed(int fd, const struct plan *plan, const struct boot *boot, const struct buf *core,
               const char *name, struct error *err)
{
    const struct plan_partition *part = plan_find(plan, PART_BIOS_BOOT);
    uint64_t sector = part->offset_bytes / SECTOR_SIZE;
    size_t sectors = (core->size + SECTOR_SIZE - 1) / SECTOR_SIZE;
    SCOPED_FREE uint8_t *image = xcalloc(sectors, SECTOR_SIZE);
    uint8_t first[440];

    if (core->size < 2 * SECTOR_SIZE || sectors > UINT16_MAX ||
        boot->boot_image.size != SECTOR_SIZE) {
        return fail(err, FAIL_ERROR,
                    "GRUB's boot image or core image has an unlikely size (%llu and %zu bytes)",
                    (unsigned long long)boot->boot_image.size, core->size);
    }
    if (sectors * SECTOR_SIZE > part->size_bytes) {
        return fail(err, FAIL_ERROR, "GRUB's core image needs %zu bytes, partition '%s' has %llu",
                    core->size, part->spec->name, (unsigned long long)part->size_bytes);
    }
    memcpy(image, core->data, core->size);
    put64(image + 0x1f4, sector + 1);              /* the rest of the core image: first sector, */
    put16(image + 0x1fc, (uint16_t)(sectors - 1)); /* and how many */
    memcpy(first, boot->boot_image.data, sizeof(first));
    put64(first + 0x5c, sector); /* where the core image begins */
    put16(first + 0x66, 0x9090); /* no jump: trust the drive number in DL, as on any hard disk */
    if (file_pwrite(fd, first, sizeof(first), 0, name, err) < 0) {
        return -1;
    }
    return file_pwrite(fd, image, sectors * SECTOR_SIZE, part->offset_bytes, name, err);
}

/* --- together ---------------------------------------------------------------------------- */

int boot_prepare(const struct profile *profile, const struct plan *plan, struct stack *stack,
                 struct boot **ret, struct error *err)
{
    SCOPED(boot_freep) struct boot *boot = xcalloc(1, sizeof(*boot));

    boot->bios = (profile->firmware & FIRMWARE_BIOS) != 0;
    boot->uefi = (profile->firmware & FIRMWARE_UEFI) != 0;
    if (add_mounts(plan, stack, err) < 0 || add_fstab(plan, stack, err) < 0) {
        return -1;
    }
    if (boot->bios || boot->uefi) {
        find_kernel(stack, boot);
        if (boot->kernel == NULL) {
            fail(err, FAIL_ERROR, "the image has no kernel: no layer brings '/boot/vmlinuz-*'");
            return fail_hint(err, "add a layer with a kernel, or say 'firmware: []' under 'disk' "
                                  "for a disk that need not boot");
        }
        if (add_grub_cfg(profile, plan, stack, boot, err) < 0 ||
            add_grub_defaults(profile, stack, err) < 0) {
            return -1;
        }
    }
    if ((boot->uefi && prepare_uefi(profile, plan, stack, boot, err) < 0) ||
        (boot->bios && prepare_bios(plan, stack, boot, err) < 0)) {
        return -1;
    }
    *ret = TAKE(boot);
    return 0;
}

void boot_free(struct boot *boot)
{
    if (boot != NULL) {
        free(boot->kernel);
        free(boot->initrd);
        free(boot->core_command);
        buf_done(&boot->boot_image);
        free(boot);
    }
}

char *boot_describe(const struct boot *boot)
{
    if (!boot->bios && !boot->uefi) {
        return xstrdup("none");
    }
    return xprintf("GRUB of the image, %s%s%s%s", boot->bios ? "BIOS" : "",
                   boot->bios && boot->uefi ? " and " : "", boot->uefi ? "UEFI" : "",
                   boot->secure ? " (signed shim)" : "");
}
