# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# Every engine writes what the layers say: six random stacks, the awkward tree, and a Debian that boots.
source "$TOP/tests/lib.sh"
need guestfish e2fsck fsck.fat sfdisk sgdisk debugfs
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer; 'make base' makes it"
export LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS-force_tcg}

# SEED says where to begin, to try again what failed.
# The same ones each time: the soak takes others.
seed=${SEED-7006}
echo "SEED=$seed"
python3 "$TOP/tests/lib/nasty.py" make nasty ext4
mkdir debian
cat >debian/profile.yaml <<X
name: debian
architecture: x86_64
epoch: 2030-01-01T00:00:00Z
layers:
  - archive: $LAYERS/debian-12.tar.zst
  - directory: $TOP/layers/demo
  - files:
      /etc/hostname: {content: "demo\n"}
      /etc/update-motd.d: {remove: true}
disk:
  size: 2GiB
  formats: [raw]
  firmware: [bios, uefi]
  partitions:
    - {name: bios, type: bios-boot, size: 1MiB}
    - {name: esp, type: esp, filesystem: vfat, size: 64MiB, mount: /boot/efi}
    - {name: root, type: root, filesystem: ext4, size: rest, mount: /}
X
# shellcheck disable=SC2046
python3 "$TOP/tests/lib/engines_agree.py" debian/profile.yaml nasty/profile.yaml \
    $(seq "$seed" $((seed + 5))) || fail "SEED=$seed"

# A comparison that cannot fail would show nothing: the disk of a stack, and a stack with one mode more.
python3 "$TOP/tests/lib/random_stack.py" "$seed" changed
ENGINES=${ENGINES:-native guestfs}
"$KILN" build -q --engine "${ENGINES%% *}" changed/profile.yaml -o bundle >/dev/null
sed -i 's|^disk:|  - files: {/etc: {directory: true, mode: "0123"}}\n&|' changed/profile.yaml
expect_status 1 python3 "$TOP/tests/lib/reference_fold.py" changed/profile.yaml bundle
expect_text stdout "root:etc: mode is '"
