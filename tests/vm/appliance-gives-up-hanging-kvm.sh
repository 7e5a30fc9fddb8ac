#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# may-skip: it needs a /dev/kvm that can be opened
# A KVM that starts and stays silent is given up after its time.
. "$TOP/tests/lib/appliance.sh"
need_kvm_device
make_qemu 'sleep 987654'
with_qemu true || skip "qemu cannot be replaced here"

KILN_KVM_LIMIT=2 with_qemu "$KILN" build "$WORK/tiny.yaml" -o "$WORK/out" >"$WORK/log" 2>"$WORK/err"
STATUS=$?
check "it builds" [ "$STATUS" -eq 0 ]
check "the limit is said" said 'KVM does not work here (not up after 2 s): using emulation'
check "it is remembered" grep -q '^cause not up after 2 s$' "$MEMORY"
check "what hung is gone" not pgrep -f 'sleep 987654'
KILN_KVM_LIMIT=soon "$KILN" build "$WORK/tiny.yaml" -o "$WORK/out2" >"$WORK/log" 2>"$WORK/err"
STATUS=$?
check "a bad limit is a usage error" [ "$STATUS" -eq 2 ]
check "and says so" said "KILN_KVM_LIMIT: 'soon' is not a number of seconds"
finish
