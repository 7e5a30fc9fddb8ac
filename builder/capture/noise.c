/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/noise.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"

const char *const noise_standard[] = {
    /* What a package manager downloaded, or computes again. */
    "/var/lib/apt/lists/",
    "/var/cache/apt/archives/",
    "/var/cache/apt/*.bin",
    "/var/cache/dnf/",
    "/var/cache/yum/",
    "/var/cache/ldconfig/aux-cache",
    /* What it did, and when; what there was before. */
    "/var/log/apt/",
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/dnf*.log",
    "/var/log/hawkey.log",
    "/var/log/yum.log",
    "/var/lib/dpkg/*-old",
    "/var/cache/debconf/*-old",
    /* Locks and regions of a database of rpm's that only its processes use. */
    "/var/lib/rpm/.rpm.lock",
    "/var/lib/rpm/__db.*",
    "/var/lib/rpm/rpmdb.sqlite-shm",
    "/usr/lib/sysimage/rpm/.rpm.lock",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite-shm",
    /* Every machine is to have its own. */
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    NULL,
};

/* No part of an image: made anew at each boot, or by the file system. */
static const char *const always[] = {
    "/proc", "/sys", "/dev", "/run", "/tmp", "/lost+found", NULL,
};

static void add(struct noise *noise, size_t *space, const char *rest)
{
    rest += strspn(rest, "/");
    if (rest[0] == '\0') {
        noise->all = true;
        return;
    }
    grow(&noise->rests, noise->count, space, sizeof(*noise->rests));
    noise->rests[noise->count++] = rest;
}

void noise_begin(const char *const *patterns, size_t count, struct noise *ret)
{
    size_t space = 0;

    *ret = (struct noise){0};
    for (size_t i = 0; always[i] != NULL; i++) {
        add(ret, &space, always[i]);
    }
    for (size_t i = 0; patterns == NULL ? noise_standard[i] != NULL : i < count; i++) {
        add(ret, &space, patterns == NULL ? noise_standard[i] : patterns[i]);
    }
}

/* The first LENGTH bytes of PATTERN against NAME. Only the last '*' ever has to take more. */
static bool matches(const char *pattern, size_t length, const char *name)
{
    const char *end = pattern + length, *star = NULL, *from = NULL;

    while (*name != '\0') {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            from = name;
        } else if (pattern < end && (*pattern == '?' || *pattern == *name)) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*') {
        pattern++;
    }
    return pattern == end;
}

bool noise_enter(const struct noise *above, const char *name, struct noise *ret)
{
    struct noise below = {0};
    bool left_out = above->all;
    size_t space = 0;

    for (size_t i = 0; i < above->count && !left_out; i++) {
        const char *rest = above->rests[i];
        size_t length = strcspn(rest, "/");

        if (matches(rest, length, name)) {
            left_out = rest[length] == '\0';
            add(&below, &space, rest + length);
        }
    }
    if (left_out || ret == NULL) {
        noise_done(&below);
    } else {
        *ret = below;
    }
    return left_out;
}

void noise_done(struct noise *noise)
{
    free(TAKE(noise->rests));
    noise->count = 0;
}
