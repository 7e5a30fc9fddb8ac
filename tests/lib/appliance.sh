# SPDX-License-Identifier: Apache-2.0
# Sourced by the appliance tests: $KILN is the program; everything happens below $WORK.
set -u
: "${KILN:?KILN must name the program}"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/kiln-appliance-XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export XDG_CACHE_HOME="$WORK/cache"
MEMORY=$XDG_CACHE_HOME/kiln/kvm
COUNT=0
FAILED=0

# The smallest profile that needs the appliance: it has a file system and nothing to boot.
cat >"$WORK/tiny.yaml" <<'END'
name: tiny
architecture: x86_64
layers:
  - files:
      /etc/hello: {content: "hello\n"}
disk:
  size: 1GiB
  formats: [raw]
  firmware: []
  engine: guestfs
  partitions:
    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}
END

# check WHAT COMMAND...: one line of TAP
check() {
    COUNT=$((COUNT + 1))
    what=$1
    shift
    if "$@"; then
        echo "ok $COUNT - $what"
    else
        echo "not ok $COUNT - $what"
        FAILED=$((FAILED + 1))
        if [ -f "$WORK/err" ]; then
            sed 's/^/# /' "$WORK/err"
        fi
    fi
}

finish() {
    echo "1..$COUNT"
    [ "$FAILED" -eq 0 ]
    exit
}

skip() {
    echo "1..0 # SKIP $*"
    exit 77
}

# build: one build, messages to $WORK/err, status to $STATUS
build() {
    rm -rf "$WORK/out"
    "$KILN" build "$WORK/tiny.yaml" -o "$WORK/out" >"$WORK/log" 2>"$WORK/err"
    STATUS=$?
}

# default_signals COMMAND...: takes its place, with the signals that a terminal would give it: sh has
# what it starts in the background ignore SIGINT, and kiln leaves an ignored signal ignored.
default_signals() {
    exec python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
}

said() {
    grep -q -- "$1" "$WORK/err"
}

not() {
    ! "$@"
}

# Process numbers of the virtual machines that have a disk below $WORK.
machines() {
    pgrep -f "qemu-system.*$WORK"
}

# no_machines: none is left, at most two seconds from now
no_machines() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$(machines)" ] || return 0
        sleep 0.2
    done
    return 1
}

# The sockets of libguestfs that are there and dead, for comparing: another one may be at work.
sockets() {
    find /tmp "${XDG_RUNTIME_DIR:-/tmp}" -maxdepth 1 -name 'libguestfs??????' -user "$(id -u)" 2>/dev/null |
        sort -u | while read -r dir; do grep -qF " $dir/" /proc/net/unix || echo "$dir"; done
}

# A qemu that does $1 (a shell command) when asked for KVM, put in the place of the real one for a
# command that runs in a mount namespace of its own: with_qemu COMMAND...
make_qemu() {
    QEMU=$(command -v "qemu-system-$(uname -m)") || skip "no qemu-system-$(uname -m)"
    # The real one needs another name in a directory from which it finds its firmware.
    STAND_IN=$(find "$(dirname "$QEMU")" -name 'qemu-system-*' ! -path "$QEMU" -type f | head -n 1)
    [ -n "$STAND_IN" ] || skip "no second qemu-system program to stand in"
    unshare -m true 2>/dev/null || skip "mount namespaces need root"
    cat >"$WORK/qemu" <<END
#!/bin/sh
case " \$* " in
*-kernel*accel=kvm* | *accel=kvm*-kernel*) $1 ;;
esac
exec "$STAND_IN" "\$@"
END
    chmod 755 "$WORK/qemu"
}

with_qemu() {
    # shellcheck disable=SC2016
    unshare -m sh -c 'mount --bind "$1" "$2" && mount --bind "$3" "$1" && shift 3 && exec "$@"' \
        sh "$QEMU" "$STAND_IN" "$WORK/qemu" "$@"
}

need_kvm_device() {
    [ -r /dev/kvm ] && [ -w /dev/kvm ] || skip "/dev/kvm cannot be opened"
}
