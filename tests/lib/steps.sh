# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests of steps through the program.

# make_root DIR: an image that is nothing but busybox.
make_root()
{
    local busybox program

    need busybox
    busybox=$(command -v busybox)
    if file -bL "$busybox" | grep -q dynamically; then
        skip "busybox is not static"
    fi
    mkdir -p "$1"/{bin,etc,root,srv,tmp,usr/sbin,var}
    chmod 1777 "$1/tmp"
    cp "$busybox" "$1/bin/busybox"
    for program in $(busybox --list); do
        [ "$program" = busybox ] || ln -s busybox "$1/bin/$program"
    done
}

# make_base FILE.tar: the same as an archive.
make_base()
{
    local dir

    dir=$(mktemp -d)
    make_root "$dir"
    pack "$dir" "$1"
    rm -r "$dir"
}

# no_appliance COMMAND...: where none can start.
no_appliance()
{
    LIBGUESTFS_HV=/bin/false "$@"
}

# launches COUNT, ran COUNT: so many starts, and steps that did not fail, in the stderr of a command
# with -v.
launches()
{
    [ "$(grep -c '^starting the appliance: ' stderr)" -eq "$1" ] ||
        { cat -v stderr; fail "not $1 launches"; }
}

ran()
{
    [ "$(grep -c "^running step '.*': " stderr)" -eq "$1" ] ||
        { cat -v stderr; fail "not $1 steps ran"; }
}

# read_file DISK PATH: of the image's root file system, by debugfs.
read_file()
{
    debugfs -R "cat $2" "$1?offset=1048576" 2>/dev/null
}

# look_at DISK PATH: what debugfs says of it.
look_at()
{
    debugfs -R "stat $2" "$1?offset=1048576" 2>/dev/null
}

# copy_program PROGRAM DIR: to the image in DIR, with the libraries that it needs.
copy_program()
{
    local file

    for file in "$1" $(ldd "$1" | grep -o '/[^ ]*'); do
        mkdir -p "$2$(dirname "$file")"
        cp -L "$file" "$2$file"
    done
}

# captured NUMBER LOCK: lists what the NUMBERth step of the lock left, from the store.
captured()
{
    local key

    key=$(sed -n "s/^ *step: //p" "$2" | sed -n "$1p")
    zstd -dc "$KILN_STORE/layers/$key/layer.tar.zst" | tar -tv --full-time
}
