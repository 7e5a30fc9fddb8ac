# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# Ctrl-C and SIGKILL at several moments of a build: no qemu, no half a bundle, no temporary directory
# stays, and the next build works.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/signals.sh"
# Enough data for every phase to take a moment.
mkdir tree
head -c 40M /dev/urandom >tree/random
tar -C tree -cf tiny.tar .
ENGINE=guestfs FORMATS='raw, qcow2' make_profile p.yaml 'archive: tiny.tar'
before=$(sockets)

# What qemu would leave in shared directories if it were killed at the wrong moment lies in the
# unfinished bundle, which kiln removes.
started
while ! pgrep -f 'qemu-system.*bundle.partial' >/dev/null; do
    kill -0 "$pid" 2>/dev/null || { cat stderr; fail "it never came to qemu"; }
    sleep 0.02
done
for qemu in $(pgrep -f 'qemu-system.*bundle.partial'); do
    tr '\0' '\n' <"/proc/$qemu/environ" >environ 2>/dev/null || continue
    [ ! -s environ ] || grep -q "^TMPDIR=$PWD/bundle.partial-" environ ||
        { cat environ; fail "qemu's TMPDIR is not in the bundle"; }
done
ended INT "beside qemu"

for phase in 'reading layers' 'starting the appliance' 'writing the disk' 'writing disk.qcow2' \
    'computing digests'; do
    interrupted_in INT "$phase"
    interrupted_in KILL "$phase"
done
interrupted TERM 3
interrupted KILL 8

# A second Ctrl-C, at once.
rm -rf bundle
"$KILN" build p.yaml -o bundle >stdout 2>stderr &
pid=$!
sleep 2
kill -TERM "$pid"
kill -TERM "$pid" 2>/dev/null || true
status=0
wait "$pid" || status=$?
[ "$status" -ne 0 ] || fail "it took no notice"
expect_gone
expect_clean_rebuild
[ -z "$(comm -13 <(echo "$before") <(sockets))" ] || fail "left in /tmp: $(sockets)"
