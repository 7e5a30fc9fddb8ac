#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# may-skip: it needs a /dev/kvm that can be opened
# A KVM that aborts qemu costs one attempt; its cause is said, remembered and said again.
. "$TOP/tests/lib/appliance.sh"
need_kvm_device
make_qemu 'echo "qemu-system-x: error: failed to set MSR 0x10a to 0x69" >&2; kill -ABRT $$'
with_qemu true || skip "qemu cannot be replaced here"

build_with_qemu() {
    rm -rf "$WORK/out"
    with_qemu "$KILN" build "$WORK/tiny.yaml" -o "$WORK/out" >"$WORK/log" 2>"$WORK/err"
    STATUS=$?
}

build_with_qemu
check "it builds" [ "$STATUS" -eq 0 ]
check "the cause is said" said 'KVM does not work here (qemu: error: failed to set MSR 0x10a to 0x69): using emulation'
check "the cause is remembered" grep -q '^cause qemu: error: failed to set MSR' "$MEMORY"
build_with_qemu
check "it builds from memory" [ "$STATUS" -eq 0 ]
check "the memory is said" said 'using emulation: KVM does not work here (qemu: error: failed to set MSR'
check "KVM was not tried" not said 'which is slower'
echo rubbish >"$MEMORY"
build_with_qemu
check "a corrupt memory is ignored" said 'which is slower'
check "and replaced" grep -q '^cause qemu: error' "$MEMORY"
check "no machine is left" no_machines
finish
