# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# A bundle is never overwritten by accident, and what is no bundle not even with --force.
source "$TOP/tests/lib.sh"
make_layer tiny.tar
make_profile p.yaml 'archive: tiny.tar'
mkdir bundle
echo '{}' >bundle/manifest.json
expect_status 1 "$KILN" build p.yaml -o bundle
expect_text stderr "'bundle' exists"
mkdir data
echo precious >data/file
expect_status 1 "$KILN" build p.yaml -o data --force
expect_text stderr "'data' exists"
[ "$(cat data/file)" = precious ] || fail "data was touched"
echo precious >plain
expect_status 1 "$KILN" build p.yaml -o plain --force
expect_text stderr "'plain' exists"
[ "$(cat plain)" = precious ] || fail "plain was touched"
[ "$(cat bundle/manifest.json)" = '{}' ] || fail "bundle was touched"
ls -d ./*.partial-* 2>/dev/null && fail "the beginning of a bundle was left"
# Refused layers do not cost the old bundle either.
echo text >tiny.tar
expect_status 1 "$KILN" build p.yaml -o bundle --force
[ "$(cat bundle/manifest.json)" = '{}' ] || fail "a build that failed replaced the bundle"
