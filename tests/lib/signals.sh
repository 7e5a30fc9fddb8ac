# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# ours: processes of this test other than its shell and what that runs just now.
ours()
{
    python3 - <<'X'
import os
import pathlib

marker = b"KILN_TEST_ID=" + os.environ["KILN_TEST_ID"].encode()
for entry in os.scandir("/proc"):
    if entry.name.isdigit():
        try:
            name = pathlib.Path(entry.path, "comm").read_text().strip()
            if name.startswith(("qemu", "kiln", "supermin", "guestfs")) and \
                    marker in pathlib.Path(entry.path, "environ").read_bytes().split(b"\0"):
                print(entry.name, name)
        except OSError:
            pass
X
}

# expect_gone: nothing of kiln's runs any more, a moment after it was killed.
expect_gone()
{
    local i

    for i in $(seq 50); do
        [ -n "$(ours)" ] || return 0
        sleep 0.2
    done
    fail "still running after ${i}: $(ours)"
}

# started: a build in the background, its process number in $pid. The shell would have it ignore
# SIGINT there.
started()
{
    rm -rf bundle
    # Who looks for what it says must not find what the one before said.
    : >stdout
    : >stderr
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$KILN" build --json p.yaml -o bundle >stdout 2>stderr &
    pid=$!
}

# ended SIGNAL WHEN: sends it and looks at what is left. A build that was faster must have succeeded;
# then $status is 0. One that was killed between the end of its work and its own has left it all.
ended()
{
    kill -"$1" "$pid" 2>/dev/null || true
    status=0
    wait "$pid" || status=$?
    echo "SIG$1 $2: status $status, $(tail -n 1 stderr | cat -v)"
    expect_gone
    if [ "$status" -eq 0 ]; then
        [ -e bundle/manifest.json ] || fail "success without a bundle"
    elif [ -e bundle ]; then
        [ "$1" = KILL ] || fail "a bundle after SIG$1"
        (cd bundle && sha256sum -c --quiet SHA256SUMS) || fail "half a bundle after SIG$1"
    fi
    case $1 in
    INT | TERM)
        [ "$status" -eq 0 ] || [ "$status" -eq 130 ] || { cat stderr; fail "status $status"; }
        [ "$status" -eq 0 ] || expect_nothing_left bundle
        ;;
    esac
}

# interrupted SIGNAL SECONDS: a build is sent SIGNAL after SECONDS.
interrupted()
{
    started
    sleep "$2"
    ended "$1" "after $2 s"
}

# interrupted_in SIGNAL PHASE: a build is sent SIGNAL as soon as PHASE has begun.
interrupted_in()
{
    started
    while ! grep -qF "\"event\":\"phase\",\"name\":\"$2\"" stdout; do
        kill -0 "$pid" 2>/dev/null || { cat stdout stderr; fail "it never came to '$2'"; }
        sleep 0.02
    done
    ended "$1" "in '$2'"
}

# sockets: libguestfs's directories, which it makes in /tmp for root whatever TMPDIR says, but for
# those of a libguestfs that is at work; while there is another one, an empty one may be its.
sockets()
{
    local dir empty=()

    if grep -qs /libguestfs.so /proc/[0-9]*/maps; then
        empty=(! -empty)
    fi
    find /tmp -maxdepth 1 -name 'libguestfs*' -user "$(id -u)" "${empty[@]}" | sort |
        while read -r dir; do grep -qF " $dir/" /proc/net/unix || echo "$dir"; done
}

# expect_clean_rebuild: after whatever was killed a build works and clears up.
expect_clean_rebuild()
{
    rm -rf bundle
    expect_status 0 "$KILN" build p.yaml -o bundle
    (cd bundle && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS does not hold"
    rm -rf bundle
    expect_nothing_left bundle
}

# signals COUNT SECONDS: COUNT of each signal, spread evenly over a build that takes SECONDS.
signals()
{
    local i signal before

    before=$(sockets)
    for signal in INT KILL; do
        for i in $(seq "$1"); do
            interrupted "$signal" "$(awk "BEGIN { print $2 * ($i - 0.5) / $1 }")"
        done
    done
    expect_clean_rebuild
    [ -z "$(comm -13 <(echo "$before") <(sockets))" ] || fail "left in /tmp: $(sockets)"
}
