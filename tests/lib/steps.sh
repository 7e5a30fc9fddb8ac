# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests of steps through the program.

# make_base FILE.tar: an image that is nothing but busybox.
make_base()
{
    local dir busybox program

    need busybox
    busybox=$(command -v busybox)
    if file -bL "$busybox" | grep -q dynamically; then
        skip "busybox is not static"
    fi
    dir=$(mktemp -d)
    mkdir -p "$dir"/{bin,etc,root,srv,tmp,usr/sbin,var}
    chmod 1777 "$dir/tmp"
    cp "$busybox" "$dir/bin/busybox"
    for program in $(busybox --list); do
        [ "$program" = busybox ] || ln -s busybox "$dir/bin/$program"
    done
    pack "$dir" "$1"
    rm -r "$dir"
}

# no_appliance COMMAND...: where none can start.
no_appliance()
{
    LIBGUESTFS_HV=/bin/false "$@"
}

# launches COUNT, ran COUNT: of the last command run with -v, whose messages are in stderr.
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
