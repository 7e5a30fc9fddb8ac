# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# The compressions and formats that a layer may have are the same tree; the plan counts it.
source "$TOP/tests/lib.sh"
need zstd xz gzip bzip2 cpio
make_layer tiny.tar
gzip -nk tiny.tar
xz -k tiny.tar
bzip2 -k tiny.tar
zstd -q tiny.tar -o tiny.tar.zst
mkdir tree
tar -xf tiny.tar -C tree
(cd tree && find . | sort | cpio -o -H newc --quiet) >tiny.cpio
layers=(tiny.tar tiny.tar.gz tiny.tar.xz tiny.tar.bz2 tiny.tar.zst tiny.cpio)
if command -v lz4 >/dev/null; then
    lz4 -q tiny.tar tiny.tar.lz4
    layers+=(tiny.tar.lz4)
fi
for layer in "${layers[@]}"; do
    make_profile p.yaml "archive: $layer"
    expect_status 0 "$KILN" plan p.yaml
    grep content stdout >content
    [ -e first ] || cp content first
    cmp content first || fail "$layer gives another tree: $(cat content)"
done
# The last layer wins: a file over a directory removes what is below it.
make_profile p.yaml 'archive: tiny.tar' 'files: {/usr: {content: "a file"}}'
expect_status 0 "$KILN" plan p.yaml
grep content stdout >content
cmp -s content first && fail "a file over a directory changed nothing"
true
