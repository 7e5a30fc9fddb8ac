# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# One disk in every format, read by the tools that own the formats: the same bytes, in files that are the
# same each time.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/same.sh"
need qemu-img bsdtar gzip taskset
mkdir tree
head -c 3M /dev/urandom >tree/random
seq 200000 >tree/text
pack tree tiny.tar
FORMATS='raw, qcow2, vhd, gcp, vmdk' make_profile p.yaml 'archive: tiny.tar'
expect_status 0 "$KILN" build p.yaml -o bundle
ls bundle >files
printf '%s\n' SHA256SUMS blocks.index disk.qcow2 disk.raw disk.tar.gz disk.vhd disk.vmdk files.index manifest.json |
    diff - files || fail "not the files of a bundle"
(cd bundle && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS does not hold"
expect_text bundle/SHA256SUMS disk.qcow2 disk.tar.gz disk.vmdk
expect_no_text bundle/SHA256SUMS disk.vhd disk.raw
expect_status 0 "$KILN" show bundle
expect_text stdout disk.qcow2 disk.raw disk.tar.gz disk.vhd disk.vmdk 'format        gcp        zlib ' \
    'format        vmdk       qemu-img version '

qemu-img check -q bundle/disk.qcow2 || fail "qemu-img check"
for format in qcow2 vmdk vpc; do
    qemu-img compare -q -f raw -F $format bundle/disk.raw "bundle/disk.${format/vpc/vhd}" ||
        fail "$format differs from raw"
done
gzip -t bundle/disk.tar.gz || fail "gzip -t"
tar -xSzf bundle/disk.tar.gz
cmp disk.raw bundle/disk.raw || fail "tar unpacks something else"
[ "$(bsdtar -tf bundle/disk.tar.gz)" = disk.raw ] || fail "bsdtar finds $(bsdtar -tf bundle/disk.tar.gz)"
[ "$(stat -c %b bundle/disk.vhd)" -le $(($(stat -c %b bundle/disk.raw) + 16)) ] || fail "disk.vhd is not sparse"

python3 - <<'X' || fail "disk.tar.gz, disk.vhd or the manifest is not what it must be"
import hashlib
import json
import struct
import tarfile
import zlib

size = 1 << 30
data = open("bundle/disk.tar.gz", "rb").read()
member = zlib.decompressobj(31)
tar = member.decompress(data)
assert member.eof and not member.unused_data, "more than one gzip member"
assert data[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff", data[:10]
assert tar[257:265] == b"ustar  \0" and tar[156:157] == b"S", tar[:512]
assert len(tar) % 10240 == 0 and len(tar) < 64 << 20, len(tar)
open("disk.tar", "wb").write(tar)
with tarfile.open("disk.tar") as archive:
    member, = archive.getmembers()
    assert (member.name, member.size, member.mtime, member.uid, member.gid, member.mode) == \
        ("disk.raw", size, 0, 0, 0, 0o644), member.get_info()

with open("bundle/disk.vhd", "rb") as file:
    assert file.seek(-512, 2) == size
    footer = file.read()
fields = struct.unpack(">8sIIQI4sI4sQQHBBII16sB427s", footer)
assert fields[0] == b"conectix" and fields[1:4] == (2, 0x10000, (1 << 64) - 1), fields
assert fields[4] == 1600000000 - 946684800, fields
assert fields[5] == b"qem2" and fields[7] == b"Wi2k", fields
assert fields[8:10] == (size, size) and fields[10:14] == (65535, 16, 255, 2), fields
assert fields[14] == ~sum(footer[:64] + footer[68:]) & 0xffffffff, "checksum"
assert any(fields[15]) and fields[16] == 0 and not any(fields[17]), fields

manifest = json.load(open("bundle/manifest.json", encoding="utf-8"))
formats = manifest["formats"]
assert formats["raw"] is None and formats["vhd"] is None, formats
assert formats["qcow2"] == formats["gcp"] and formats["gcp"].startswith("zlib "), formats
assert formats["vmdk"].startswith("qemu-img version "), formats
files = manifest["files"]
assert files["disk.vhd"] == {"size": size + 512, "footer_sha256": hashlib.sha256(footer).hexdigest()}, files
assert files["disk.raw"] == {"size": size}, files
assert "sha256" in files["disk.tar.gz"], files
X

# Again, on one processor: the same.
expect_status 0 taskset -c 0 "$KILN" build p.yaml -o again --no-cache
same_bundle bundle again 'again'

# Each alone is the same as beside the others.
for format in qcow2 vhd gcp vmdk; do
    expect_status 0 "$KILN" build p.yaml -o alone --formats $format
    file=disk.${format/gcp/tar.gz}
    [ "$(ls alone/disk.*)" = "$(printf '%s\n' "alone/$file" alone/disk.raw | sort)" ] || fail "$format: $(ls alone)"
    cmp <(tail -c 64M "bundle/$file") <(tail -c 64M "alone/$file") || fail "$format is another one alone"
    rm -r alone
done

expect_status 2 "$KILN" build p.yaml -o wrong --formats raw,tar.gz
expect_text stderr "unknown format 'tar.gz'" "did you mean 'gcp'?"
expect_status 2 "$KILN" plan p.yaml --formats vmkd
expect_text stderr "unknown format 'vmkd'" "did you mean 'vmdk'?"
mkdir bin
ln -s "$(PATH=$PATH:/usr/sbin command -v mke2fs)" bin
expect_status 3 env PATH="$PWD/bin" "$KILN" build p.yaml -o wrong
expect_text stderr "run 'qemu-img': No such file or directory" 'kiln doctor'
expect_nothing_left wrong
