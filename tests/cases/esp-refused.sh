# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# What FAT cannot keep is refused by layer and path, not lost.
source "$TOP/tests/lib.sh"
entry=$TOP/tests/lib/entry.py

esp_profile()
{
    cat >p.yaml <<X
name: test
architecture: x86_64
layers:
  - archive: esp.tar
disk:
  size: 1GiB
  firmware: []
  formats: [raw]
  partitions:
    - {name: esp, type: esp, filesystem: vfat, size: 64MiB, mount: /boot/efi}
    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}
X
}

esp_profile
dirs=(dir:boot dir:boot/efi dir:boot/efi/EFI)
"$entry" esp.tar "${dirs[@]}" link:boot/efi/EFI/loader=../x
refused 1 p.yaml "layer 'esp.tar'" "'boot/efi/EFI/loader'" 'a symlink' "partition 'esp'"
"$entry" esp.tar "${dirs[@]}" fifo:boot/efi/EFI/pipe
refused 1 p.yaml "layer 'esp.tar'" "'boot/efi/EFI/pipe'" 'a special file'
"$entry" esp.tar "${dirs[@]}" file:boot/efi/EFI/a hard:boot/efi/EFI/b=boot/efi/EFI/a
refused 1 p.yaml "layer 'esp.tar'" 'a hard link'
mkdir -p tree/boot/efi/EFI
echo x >tree/boot/efi/EFI/mine
tar -c --owner=0 --group=33 --numeric-owner -f esp.tar -C tree .
refused 1 p.yaml "layer 'esp.tar'" 'an owner other than 0:0'
# What it can keep is not refused.
tar -c --owner=0 --group=0 --numeric-owner -f esp.tar -C tree .
expect_status 0 "$KILN" plan p.yaml
