# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# 'show' says what the manifest says: each member where a person looks for it.
source "$TOP/tests/lib.sh"
mkdir bundle
cat >bundle/manifest.json <<'X'
{"name": "web", "version": "1.4.0", "architecture": "x86_64", "seed": "the seed",
 "epoch": "2026-11-01T00:00:00Z", "disk_format": 1, "kiln": "0",
 "engine": {"name": "guestfs", "reason": "asked for", "detail": "libguestfs 1.2.3\nboot          forged"},
 "boot": "GRUB of the image, BIOS",
 "disk": {"digest": "sha256:abcd", "size": 1073741824, "partitions": [
  {"name": "root", "type": "root", "filesystem": "ext4", "mount": "/", "offset": 1048576,
   "size": 4194304}]},
 "layers": [{"name": "base.tar", "format": "tar", "sha256": "1234", "size": 2048}],
 "formats": {"gcp": "zlib 1.2\u001b", "raw": null},
 "files": {"disk.qcow2": {"size": 4096, "sha256": "5678"}}}
X
expect_status 0 "$KILN" show bundle
expect_text stdout 'image         web 1.4.0, x86_64' 'seed          the seed' \
    'epoch         2026-11-01T00:00:00Z' 'engine        guestfs (asked for; libguestfs 1.2.3\x0aboot' \
    'boot          GRUB of the image, BIOS' 'disk digest   sha256:abcd' \
    'base.tar sha256:1234' 'format        gcp        zlib 1.2\x1b' 'format        raw        -' 'disk.qcow2' 'at 1 MiB'
expect_no_text stdout ' (-)'
[ "$(wc -l <stdout)" -eq 11 ] || { cat -v stdout; fail "not eleven lines"; }
