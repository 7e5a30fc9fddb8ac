# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# Ctrl-C and SIGKILL at several moments of a build: no qemu, no half a bundle, no temporary directory
# stays, and the next build works.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/signals.sh"
make_layer tiny.tar
make_profile p.yaml 'archive: tiny.tar'
start=$SECONDS
expect_status 0 "$KILN" build p.yaml -o bundle
whole=$((SECONDS - start + 1))
signals 4 "$whole"
interrupted TERM 3

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
