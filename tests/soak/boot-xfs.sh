# SPDX-License-Identifier: Apache-2.0
# timeout: 2400
# The demo image with a root of xfs boots under all three firmwares.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
sed "s|\.\./|$TOP/|; s|filesystem: ext4|filesystem: xfs|" "$TOP/profiles/demo.yaml" >p.yaml
cat >>p.yaml <<X
  partitions:
    - {name: bios, type: bios-boot, size: 1MiB}
    - {name: esp, type: esp, filesystem: vfat, size: 64MiB, mount: /boot/efi}
    - {name: root, type: root, filesystem: xfs, size: rest, mount: /}
X
expect_status 0 "$KILN" build p.yaml -o bundle --formats raw
boot_all raw=bundle/disk.raw=bios raw=bundle/disk.raw=uefi raw=bundle/disk.raw=secure
