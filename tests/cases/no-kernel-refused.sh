# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# A disk that is to boot and cannot is refused, with what is missing and what to do.
source "$TOP/tests/lib.sh"
boots()
{
    printf 'name: test\narchitecture: x86_64\nlayers: [{archive: %s}]\n' "$1"
    printf 'disk: {size: 1GiB, firmware: [%s]}\n' "$2"
}

make_layer tiny.tar
boots tiny.tar 'bios, uefi' >p.yaml
refused 1 p.yaml 'no kernel' hint 'firmware: []'

"$TOP/tests/lib/entry.py" kernel.tar dir:boot file:boot/vmlinuz-1
boots kernel.tar uefi >p.yaml
refused 1 p.yaml 'no GRUB for UEFI' hint
boots kernel.tar bios >p.yaml
refused 1 p.yaml 'no GRUB for BIOS' hint
