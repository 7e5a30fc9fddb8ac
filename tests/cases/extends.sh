# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# A profile that extends another gives the same disk as one in which all of it is written, from
# wherever it is built; its lock is beside it, and a change of what it extends is a mismatch.
source "$TOP/tests/lib.sh"
export SOURCE_DATE_EPOCH=1700000000
mkdir -p common/conf own
make_layer common/base.tar
echo "listen 80" >common/conf/web
make_profile common/base.yaml 'archive: base.tar' '{directory: conf, to: /etc/conf}'
sed -i '/^name:/d' common/base.yaml
cat >own/web.yaml <<'X'
name: test
extends: ../common/base.yaml
layers:
  - files: {/etc/made: {content: "by hand"}}
X
make_profile whole.yaml 'archive: common/base.tar' '{directory: common/conf, to: /etc/conf}' \
    'files: {/etc/made: {content: "by hand"}}'
expect_status 0 "$KILN" build whole.yaml -o whole
expect_status 0 "$KILN" build own/web.yaml -o merged
cmp whole/disk.raw merged/disk.raw || fail 'the disks differ'
expect_status 0 "$KILN" lock own/web.yaml
[ -f own/web.lock ] || fail 'no lock beside the profile'
[ "$(find . -name '*.lock' | wc -l)" -eq 1 ] || fail "locks: $(find . -name '*.lock')"
expect_text own/web.lock 'layer: "base.tar"' 'layer: "conf"' 'layer: "files"'
(cd own && expect_status 0 "$KILN" build web.yaml -o ../locked)
cmp whole/disk.raw locked/disk.raw || fail 'with the lock and from another directory it differs'
# What is wrong is said of the file that has it.
echo '  sise: 2GiB' >>common/base.yaml
refused 2 own/web.yaml 'own/../common/base.yaml:' "unknown key 'sise'"
sed -i '/sise/d; s/^  - archive.*/&\n  - files: {\/etc\/more: {content: a}}/' common/base.yaml
refused 4 own/web.yaml 'own/web.lock:' 'layer 2'
