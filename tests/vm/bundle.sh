# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# What a bundle holds: the files, their digests, sparse raw, compressed qcow2 with the same bytes, the
# partition table; --force replaces it, and a second build makes the same manifest but for the disk.
source "$TOP/tests/lib.sh"
need qemu-img sgdisk

# bundle_is_whole ENGINE, in a directory of its own.
bundle_is_whole()
{
    mkdir "$1"
    cd "$1"
    make_layer tiny.tar
    ENGINE=$1 FORMATS='raw, qcow2' make_profile p.yaml 'archive: tiny.tar' \
        'files: {/etc/motd: {content: "made\n"}}'
    expect_status 0 "$KILN" build p.yaml -o bundle
    [ "$(cat stdout)" = bundle ] || fail "stdout: $(cat stdout)"
    ls -A bundle >files
    printf '%s\n' SHA256SUMS blocks.index disk.qcow2 disk.raw files.index manifest.json |
        diff - files || fail "not the files of a bundle"
    (cd bundle && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS does not hold"

    [ "$(stat -c %s bundle/disk.raw)" -eq $((1 << 30)) ] || fail "size of disk.raw"
    [ "$(stat -c %b bundle/disk.raw)" -lt $((256 << 11)) ] || fail "disk.raw is not sparse"
    qemu-img compare -q -f raw -F qcow2 bundle/disk.raw bundle/disk.qcow2 || fail "qcow2 differs from raw"
    qemu-img check -q bundle/disk.qcow2 || fail "qemu-img check"
    sgdisk -v bundle/disk.raw >table
    expect_text table 'No problems found'
    [ "$(od -An -tx1 -j446 -N12 bundle/disk.raw | tr -d ' \n')" = 00000200eeffffff01000000 ] ||
        fail "the protective MBR: $(od -An -tx1 -j446 -N64 bundle/disk.raw)"

    sed "s/ENGINE/$1/" <<'X' | python3 - || fail "blocks.index or the manifest is not what the disk is"
import hashlib
import json

lines = open("bundle/blocks.index", encoding="ascii").read().split("\n")
assert lines[0] == f"kiln-blocks 1 {512 << 10} {1 << 30}", lines[0]
digests = b""
with open("bundle/disk.raw", "rb") as disk:
    for line in lines[1:-1]:
        digest = hashlib.sha256(disk.read(512 << 10)).digest()
        assert digest.hex() == line, line
        digests += digest
    assert disk.read(1) == b""
manifest = json.load(open("bundle/manifest.json", encoding="utf-8"))
assert hashlib.sha256(digests).hexdigest() in manifest["disk"]["digest"], manifest["disk"]
assert manifest["disk_format"] == 1 and manifest["engine"]["name"] == "ENGINE", manifest
tar = hashlib.sha256(open("tiny.tar", "rb").read()).hexdigest()
assert manifest["layers"][0]["sha256"] == tar, manifest["layers"]
assert "disk.qcow2" in manifest["files"], manifest["files"]
X

    sum=$(printf 'made\n' | sha256sum | cut -d' ' -f1)
    grep -a 'etc/motd' bundle/files.index >line
    expect_text line "$sum"
    bsdtar -tf bundle/files.index >listed
    expect_text listed etc/motd usr/bin/hello

    expect_status 0 "$KILN" show bundle
    expect_text stdout root ext4 tiny.tar disk.qcow2
    cp bundle/manifest.json first
    expect_status 1 "$KILN" build p.yaml -o bundle
    cmp first bundle/manifest.json || fail "the old bundle was touched"
    # From a lock: where lines of the profile moved, and in spite of the variable.
    expect_status 0 "$KILN" lock p.yaml
    mv p.yaml elsewhere.yaml
    mv p.lock elsewhere.lock
    sed -i '1i # moved' elsewhere.yaml
    TZ=Asia/Tokyo SOURCE_DATE_EPOCH=1 expect_status 0 "$KILN" build --json --locked elsewhere.yaml \
        -o bundle --force
    python3 - <<'X' || fail "another manifest, or other identifiers"
import json

events = [json.loads(line) for line in open("stdout", encoding="ascii")]
assert events[-1]["event"] == "built" and events[-1]["bundle"] == "bundle", events[-1]
assert any(event["event"] == "phase" for event in events)
one, two = (json.load(open(name, encoding="utf-8")) for name in ("first", "bundle/manifest.json"))
for manifest in (one, two) if one["engine"]["name"] == "guestfs" else ():
    del manifest["disk"]["digest"]
    del manifest["files"]  # the appliance's clock is in the file system
assert one == two, (one, two)
X
    [ -z "$(compgen -G 'bundle.*')" ] || fail "the old bundle is still there"
    cd ..
}

bundle_is_whole native
bundle_is_whole guestfs
