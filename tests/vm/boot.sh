# SPDX-License-Identifier: Apache-2.0
# timeout: 2400
# The demo image reaches a login prompt on the serial console: SeaBIOS, OVMF and OVMF with Secure
# Boot enforcing, from raw and from qcow2, written by engine native; from raw by engine guestfs. On a
# disk that was enlarged the root file system grows at the first boot.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64 mcopy mformat
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
expect_status 0 "$KILN" build "$TOP/profiles/demo.yaml" -o demo
cat stderr
[ "$(python3 -c 'import json; print(json.load(open("demo/manifest.json"))["engine"]["name"])')" = native ] ||
    fail "the demo is not made by engine native"
expect_status 0 "$KILN" build "$TOP/profiles/demo.yaml" -o guestfs --engine guestfs --formats raw
cat stderr
cp --sparse=always demo/disk.raw grown.raw
truncate -s 6G grown.raw
make_seed seed.img grown
(cd demo && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS does not hold"
before=$(stat -c '%Y %s' demo/disk.raw demo/disk.qcow2 guestfs/disk.raw)

jobs=(raw=grown.raw=bios)
for firmware in bios uefi secure; do
    jobs+=("qcow2=demo/disk.qcow2=$firmware" "raw=guestfs/disk.raw=$firmware")
    [ "$firmware" = bios ] || jobs+=("raw=demo/disk.raw=$firmware")
done
boot_all "${jobs[@]}" || fail "not all of them booted"
[ "$(stat -c '%Y %s' demo/disk.raw demo/disk.qcow2 guestfs/disk.raw)" = "$before" ] || fail "booting changed the disk"

# That Secure Boot enforces anything: with one byte of the loader's code changed it must not start,
# while without Secure Boot nobody looks at signatures.
cp --sparse=always demo/disk.raw broken.raw
offset=$(python3 - <<'X'
import json

disk = json.load(open("demo/manifest.json"))["disk"]
print(next(p["offset"] for p in disk["partitions"] if p["type"] == "esp"))
X
)
mcopy -i "broken.raw@@$offset" ::/EFI/BOOT/BOOTX64.EFI loader
python3 - <<'X'
data = bytearray(open("loader", "rb").read())
# The last bytes of the text that shim brings: covered by the signature, never executed.
at = data.rindex(b"UEFI SHIM")
data[at] ^= 1
open("loader", "wb").write(data)
X
mcopy -o -i "broken.raw@@$offset" loader ::/EFI/BOOT/BOOTX64.EFI
"${boot[@]}" --disk broken.raw --firmware secure --timeout 120 --refuse "$kernel" \
    --expect 'Access Denied|Security Violation' || fail "Secure Boot let a changed loader start"
"${boot[@]}" --disk broken.raw --firmware uefi --timeout 300 --expect "$kernel" ||
    fail "the changed loader does not start at all: the test above shows nothing"
