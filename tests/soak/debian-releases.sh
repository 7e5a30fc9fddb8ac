# SPDX-License-Identifier: Apache-2.0
# timeout: 3600
# Base layers of the other Debian releases, made anew (this needs a mirror, like 'make base'), boot
# under all three firmwares.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64 mmdebstrap
kernel='Linux version [56]'
jobs=()
for release in 11 13; do
    "$TOP/layers/debian-$release" "debian-$release.tar.zst" || fail "no base layer of Debian $release"
    printf 'name: test\narchitecture: x86_64\nlayers:\n  - archive: debian-%s.tar.zst\n' "$release" >p.yaml
    expect_status 0 "$KILN" build p.yaml -o "$release" --formats raw
    cat stderr
    for firmware in bios uefi secure; do
        jobs+=("raw=$release/disk.raw=$firmware")
    done
done
boot_all "${jobs[@]}"
