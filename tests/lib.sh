# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests in shell: 'source "$TOP/tests/lib.sh"' first. The current directory is the test's own.
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 TZ=UTC
export PYTHONDONTWRITEBYTECODE=1

fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

skip()
{
    echo "$*"
    exit 77
}

# need PROGRAM...: skips the test where one is not installed.
need()
{
    local program

    for program; do
        command -v "$program" >/dev/null || skip "no $program here"
    done
}

# run COMMAND...: its status in $status, its output in the files stdout and stderr.
run()
{
    status=0
    "$@" >stdout 2>stderr || status=$?
}

# expect_status STATUS COMMAND...
expect_status()
{
    local wanted=$1

    shift
    run "$@"
    [ "$status" -eq "$wanted" ] || {
        cat -v stdout stderr
        fail "status $status instead of $wanted: $*"
    }
}

# expect_text FILE TEXT...: each must be in there, letter for letter.
expect_text()
{
    local file=$1 text

    shift
    for text; do
        grep -qaF -- "$text" "$file" || {
            cat -v "$file"
            fail "no '$text' in $file"
        }
    done
}

expect_no_text()
{
    local file=$1 text

    shift
    for text; do
        if grep -qaF -- "$text" "$file"; then
            cat -v "$file"
            fail "'$text' in $file"
        fi
    done
}

# expect_harmless [--terminal] FILE...: no bytes that a terminal would obey; see lib/harmless.py.
expect_harmless()
{
    python3 "$TOP/tests/lib/harmless.py" "$@" || fail "control characters in $*"
}

# make_tree DIR: a few files.
make_tree()
{
    mkdir -p "$1/etc" "$1/usr/bin"
    echo hello >"$1/etc/motd"
    printf '#!/bin/sh\necho hi\n' >"$1/usr/bin/hi"
    chmod 755 "$1/usr/bin/hi"
    ln -s hi "$1/usr/bin/hello"
}

# make_layer FILE.tar: the same as an archive, the times fixed.
make_layer()
{
    local dir

    dir=$(mktemp -d)
    make_tree "$dir"
    pack "$dir" "$1"
    rm -r "$dir"
}

# pack DIR FILE.tar [TAR-OPTION...]
pack()
{
    local dir=$1 file=$2

    shift 2
    tar -c --sort=name --mtime=@1600000000 --owner=0 --group=0 --numeric-owner -f "$file" "$@" \
        -C "$dir" .
}

# make_profile FILE LAYER...: a disk with a root partition only, which need not boot. A LAYER is
# what follows the "- " in the profile; ENGINE and DISK, where set, are more lines for "disk:".
make_profile()
{
    local file=$1 layer

    shift
    {
        printf 'name: test\narchitecture: x86_64\nlayers:\n'
        for layer; do
            printf '  - %s\n' "$layer"
        done
        printf 'disk:\n  size: 1GiB\n  firmware: []\n  formats: [%s]\n' "${FORMATS-raw}"
        printf '  partitions:\n    - {name: root, type: root, filesystem: %s, ' "${FILESYSTEM-ext4}"
        printf 'size: rest, mount: /}\n'
        [ -z "${ENGINE-}" ] || printf '  engine: %s\n' "$ENGINE"
        [ -z "${DISK-}" ] || printf '  %s\n' "$DISK"
    } >"$file"
}

# expect_nothing_left BUNDLE: neither it nor the beginnings of it, nor temporary files.
expect_nothing_left()
{
    local left

    left=$(find "$(dirname "$1")" -maxdepth 1 -name "$(basename "$1")*")
    [ -z "$left" ] || fail "left behind: $left"
    left=$(find "$TMPDIR" -mindepth 1 ! -path "$TMPDIR/.guestfs-*")
    [ -z "$left" ] || fail "left in TMPDIR: $left"
}

# refused STATUS PROFILE TEXT...: a build must fail so, say so, and leave nothing.
refused()
{
    local wanted=$1 profile=$2

    shift 2
    expect_status "$wanted" "$KILN" build "$profile" -o refused.bundle
    expect_text stderr "$@"
    expect_harmless stderr
    expect_nothing_left refused.bundle
}

# as_nobody COMMAND...: in ./nobody, as an ordinary user who may write there and is in no group, kvm
# included. prepare_nobody copies the program to where he can read it.
prepare_nobody()
{
    mkdir -p nobody/cache nobody/tmp
    cp "$KILN" nobody/kiln
    if [ "$(id -u)" -eq 0 ]; then
        chown -R 65534:65534 nobody
    fi
}

as_nobody()
{
    local prefix=()

    if [ "$(id -u)" -eq 0 ]; then
        need setpriv
        prefix=(setpriv --reuid=65534 --regid=65534 --clear-groups --)
    fi
    (cd nobody && HOME=$PWD XDG_CACHE_HOME=$PWD/cache TMPDIR=$PWD/tmp exec "${prefix[@]}" "$@")
}

# guest_read DISK FORMAT: guestfish commands from stdin, on the disk opened read-only.
guest_read()
{
    need guestfish
    LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS-force_tcg} LIBGUESTFS_BACKEND=direct \
        guestfish --ro --format="$2" -a "$1"
}
