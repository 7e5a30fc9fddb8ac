/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs in the appliance, in a step: a static program that knows nothing of kiln.
 *
 *     inside list                        every path of the file system at /, as Linux has it
 *     inside xattr PATH NAME HEX         sets an attribute
 *     inside noxattr PATH NAME           removes it
 *     inside time PATH SECONDS NS        sets the time, of a symlink itself
 *     inside rename FROM TO              whatever is at TO
 *     inside socket PATH                 makes one
 *     inside data PATH OFFSET SIZE SEED  writes bytes into the file, which is made if need be
 *     inside hole PATH OFFSET SIZE       makes a hole of them
 *     inside reserve PATH OFFSET SIZE    has blocks for them and writes none
 *     inside vsock                       talks to the machine outside, if there is a way
 *
 * A line of the listing is JSON: names and targets are in hex, "inode" is shared by the names of
 * one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PIECE = 1 << 16, LIST = 1 << 16 };

static dev_t whole; /* the file system at / */

static void die(const char *what)
{
    (void)fprintf(stderr, "inside: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(int result, const char *what)
{
    if (result < 0) {
        die(what);
    }
}

static void print_hex(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        (void)printf("%02x", (unsigned char)bytes[i]);
    }
}

/* --- the listing ------------------------------------------------------------------------------ */

/* Of the bytes that are not zero, by where they are: holes are zeros, and need not be read. */
static uint64_t checksum(int fd, off_t size)
{
    static unsigned char piece[PIECE];
    uint64_t sum = 0;

    for (off_t at = 0; at < size;) {
        off_t start = lseek(fd, at, SEEK_DATA);
        ssize_t got = start < 0 ? 0 : pread(fd, piece, sizeof(piece), start);

        if ((start < 0 && errno != ENXIO) || got < 0) {
            die("read");
        }
        if (got == 0) {
            break;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] != 0) {
                uint64_t mixed = ((uint64_t)(start + i) << 8 | piece[i]) * 0x9e3779b97f4a7c15ULL;

                sum += (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ULL;
            }
        }
        at = start + got;
    }
    return sum;
}

static void print_content(const char *name, const struct stat *st)
{
    int fd = open(name, O_RDONLY | O_NOFOLLOW);

    check(fd, name);
    (void)printf(",\"size\":%jd,\"blocks\":%jd,\"sum\":\"%016" PRIx64 "\"", (intmax_t)st->st_size,
                 (intmax_t)st->st_blocks, checksum(fd, st->st_size));
    (void)close(fd);
}

static void print_xattrs(const char *name)
{
    static char names[LIST], value[LIST];
    ssize_t size = llistxattr(name, names, sizeof(names));
    const char *comma = "";

    check((int)size, "list attributes");
    (void)printf(",\"xattrs\":{");
    for (const char *at = names; at < names + size; at += strlen(at) + 1) {
        ssize_t length = lgetxattr(name, at, value, sizeof(value));

        check((int)length, at);
        (void)printf("%s\"%s\":\"", comma, at);
        print_hex(value, (size_t)length);
        (void)printf("\"");
        comma = ",";
    }
    (void)printf("}");
}

static void print_target(const char *name)
{
    char target[PIECE];
    ssize_t size = readlink(name, target, sizeof(target));

    check((int)size, "readlink");
    (void)printf(",\"target\":\"");
    print_hex(target, (size_t)size);
    (void)printf("\"");
}

/* NAME is in the working directory, PATH is what it is called from the root. */
static void print_line(const char *name, const char *path, const struct stat *st)
{
    (void)printf("{\"path\":\"");
    print_hex(path, strlen(path));
    (void)printf("\",\"inode\":%ju,\"mode\":\"%06o\",\"uid\":%u,\"gid\":%u,\"mtime\":[%jd,%ld]",
                 (uintmax_t)st->st_ino, st->st_mode, st->st_uid, st->st_gid,
                 (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    if (S_ISREG(st->st_mode)) {
        print_content(name, st);
    } else if (S_ISLNK(st->st_mode)) {
        print_target(name);
    } else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        (void)printf(",\"rdev\":[%u,%u]", major(st->st_rdev), minor(st->st_rdev));
    }
    print_xattrs(name);
    (void)printf("}\n");
}

/* Lists what is in the working directory, PATH. What is mounted there is not of this file system.
 */
static void list(const char *path)
{
    DIR *directory = opendir(".");
    const struct dirent *entry;

    if (directory == NULL) {
        die(path);
    }
    while ((entry = readdir(directory)) != NULL) {
        char *below;
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        check(asprintf(&below, "%s/%s", path, entry->d_name), "asprintf");
        check(lstat(entry->d_name, &st), below);
        if (st.st_dev == whole) {
            print_line(entry->d_name, below, &st);
            if (S_ISDIR(st.st_mode)) {
                check(chdir(entry->d_name), below);
                list(below);
                check(fchdir(dirfd(directory)), path);
            }
        }
        free(below);
    }
    (void)closedir(directory);
}

static void list_all(void)
{
    struct stat st;

    check(chdir("/"), "/");
    check(lstat(".", &st), "/");
    whole = st.st_dev;
    print_line(".", "/", &st);
    list("");
    (void)printf("end\n");
}

/* --- changes ---------------------------------------------------------------------------------- */

static void set_xattr(const char *path, const char *name, const char *hex)
{
    size_t size = strlen(hex) / 2;
    char *value = malloc(size + 1);

    for (size_t i = 0; i < size; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};

        value[i] = (char)strtoul(digits, NULL, 16);
    }
    check(lsetxattr(path, name, value, size, 0), path);
    free(value);
}

static void set_time(const char *path, const char *seconds, const char *ns)
{
    const struct timespec times[] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = strtoll(seconds, NULL, 10), .tv_nsec = strtol(ns, NULL, 10)}};

    check(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), path);
}

static void put_data(int fd, off_t offset, off_t size, const char *seed)
{
    uint64_t state = strtoull(seed, NULL, 10) * 2 + 1;
    static char piece[PIECE];

    for (off_t done = 0; done < size;) {
        size_t part = size - done < PIECE ? (size_t)(size - done) : PIECE;

        for (size_t i = 0; i < part; i++) {
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            piece[i] = (char)(state >> 56);
        }
        check((int)pwrite(fd, piece, part, offset + done), "write");
        done += (off_t)part;
    }
}

static void change_blocks(char **argv)
{
    int fd = open(argv[2], O_WRONLY | O_CREAT, 0644);
    off_t offset = strtoll(argv[3], NULL, 10), size = strtoll(argv[4], NULL, 10);

    check(fd, argv[2]);
    if (strcmp(argv[1], "data") == 0) {
        put_data(fd, offset, size, argv[5]);
    } else {
        int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

        check(
            fallocate(fd, strcmp(argv[1], "hole") == 0 ? hole : FALLOC_FL_KEEP_SIZE, offset, size),
            argv[2]);
    }
    check(close(fd), argv[2]);
}

/* Network namespaces do not keep these sockets in. */
static void reach_out(void)
{
    struct sockaddr_vm there = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 1024};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    check(fd, "vsock");
    check(connect(fd, (struct sockaddr *)&there, sizeof(there)), "vsock: connect");
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (strcmp(word, "list") == 0) {
        list_all();
    } else if (strcmp(word, "vsock") == 0) {
        reach_out();
    } else if (strcmp(word, "xattr") == 0 && argc == 5) {
        set_xattr(argv[2], argv[3], argv[4]);
    } else if (strcmp(word, "noxattr") == 0 && argc == 4) {
        check(lremovexattr(argv[2], argv[3]), argv[2]);
    } else if (strcmp(word, "time") == 0 && argc == 5) {
        set_time(argv[2], argv[3], argv[4]);
    } else if (strcmp(word, "rename") == 0 && argc == 4) {
        check(rename(argv[2], argv[3]), argv[3]);
    } else if (strcmp(word, "socket") == 0 && argc == 3) {
        check(mknod(argv[2], S_IFSOCK | 0755, 0), argv[2]);
    } else if (argc == 5 + (strcmp(word, "data") == 0)) {
        change_blocks(argv);
    } else {
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
