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

# make_seed FILE NAME [USER-DATA-FILE]: a disk with instructions for cloud-init, which does nothing
# without (not even the network); for boot.py's --second.
make_seed()
{
    printf '#cloud-config\n' >seed.user-data
    truncate -s 1M "$1"
    mformat -i "$1" -v CIDATA ::
    printf 'instance-id: %s\n' "$2" | mcopy -i "$1" - ::meta-data
    mcopy -i "$1" "${3-seed.user-data}" ::user-data
}

# get_page DISK PORT/PATH FILE [BOOT.PY-OPTION...]: starts the raw disk DISK; FILE is what the machine
# answers over HTTP.
get_page()
{
    local disk=$1 page=$2 file=$3

    shift 3
    "${boot[@]}" --disk "$disk" --firmware bios --timeout 400 --expect "$login" \
        --get "$page" --body "$file" "$@"
}
