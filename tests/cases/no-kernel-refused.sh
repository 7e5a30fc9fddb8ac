# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# A disk that is to boot and cannot is refused, with what is missing and what to do.
source "$TOP/tests/lib.sh"
make_layer tiny.tar
printf 'name: test\nlayers:\n  - archive: tiny.tar\ndisk: {size: 1GiB, firmware: [bios, uefi]}\n' >p.yaml
refused 1 p.yaml 'no kernel' hint 'firmware: []'

"$TOP/tests/lib/entry.py" kernel.tar dir:boot file:boot/vmlinuz-1
printf 'name: test\nlayers:\n  - archive: kernel.tar\ndisk: {size: 1GiB, firmware: [uefi]}\n' >p.yaml
refused 1 p.yaml 'no GRUB for UEFI' hint
printf 'name: test\nlayers:\n  - archive: kernel.tar\ndisk: {size: 1GiB, firmware: [bios]}\n' >p.yaml
refused 1 p.yaml 'no GRUB for BIOS' hint
