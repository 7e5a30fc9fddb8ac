# SPDX-License-Identifier: Apache-2.0
# timeout: 2400
# The demo image reaches a login prompt on the serial console: SeaBIOS, OVMF and OVMF with Secure
# Boot enforcing, from raw and from qcow2.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64 mcopy
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
expect_status 0 "$KILN" build "$TOP/profiles/demo.yaml" -o demo
cat stderr
(cd demo && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS does not hold"
before=$(stat -c '%Y %s' demo/disk.raw demo/disk.qcow2)

jobs=()
for firmware in bios uefi secure; do
    jobs+=("raw=demo/disk.raw=$firmware" "qcow2=demo/disk.qcow2=$firmware")
done
boot_all "${jobs[@]}" || fail "not all of them booted"
[ "$(stat -c '%Y %s' demo/disk.raw demo/disk.qcow2)" = "$before" ] || fail "booting changed the disk"

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
