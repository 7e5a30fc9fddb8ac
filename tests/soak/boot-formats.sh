# SPDX-License-Identifier: Apache-2.0
# timeout: 1800
# The demo image starts from the formats that are for other machines than QEMU's.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64 qemu-img
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
expect_status 0 "$KILN" build "$TOP/profiles/demo.yaml" -o demo --formats vhd,gcp,vmdk
tar -xSzf demo/disk.tar.gz
boot_all vpc=demo/disk.vhd=bios vmdk=demo/disk.vmdk=uefi raw=disk.raw=bios vpc=demo/disk.vhd=secure ||
    fail "not all of them booted"
