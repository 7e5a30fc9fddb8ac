# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests that start disks.

boot=("$TOP/tests/lib/boot.py")
kernel='Linux version 6'
login='\S+ login: '

# boot_all FORMAT=DISK=FIRMWARE...: each must reach a login prompt on the serial console; two at a
# time. All are started even when one fails; every console is kept until the test ends.
boot_all()
{
    local job failed=0 pids=()

    for job; do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
            wait -n || true
        done
        boot_one "$job" >"boot.${job//\//-}.out" 2>&1 &
        pids+=($!)
    done
    for job in "${pids[@]}"; do
        wait "$job" || failed=1
    done
    for job; do
        cat "boot.${job//\//-}.out"
    done
    return "$failed"
}

boot_one()
{
    local format=${1%%=*} rest=${1#*=}
    local disk=${rest%=*} firmware=${rest##*=} more=()

    # The kernel says by itself that it was started by a chain of signatures, and locks itself.
    [ "$firmware" != secure ] || more=(--expect 'secureboot: Secure boot enabled')
    # More than 1.3 of the 1.5 million blocks of 6 GiB.
    [ "$disk" != grown.raw ] ||
        more=(--second seed.img --expect 'EXT4-fs \(vda3\): resized filesystem to 1[345][0-9]{5}')
    "${boot[@]}" --disk "$disk" --format "$format" --firmware "$firmware" --timeout 400 \
        --expect "$kernel" --expect "$login" "${more[@]}"
}
