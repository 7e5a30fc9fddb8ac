# SPDX-License-Identifier: Apache-2.0
# timeout: 1500
# profiles/web.yaml, whose nginx comes from .deb files with their maintainer scripts and is enabled by
# a run step, answers over HTTP when it is booted. Its steps give the same content on another day.
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/boot.sh"
need qemu-system-x86_64 mcopy mformat faketime
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
[ -e "$TOP/out/debs/nginx" ] || skip "no packages: make debs"
export KILN_STORE=$PWD/store

expect_status 0 "$KILN" build -v "$TOP/profiles/web.yaml" -o web --save-layers first
cat stderr
[ "$(grep -c 'the appliance runs by' stderr)" = 1 ] || fail "the steps did not share one launch"
grep -q 'policy-rc.d denied execution of start' web/logs/*-packages.log || fail "no service was held back"

# A mirror of this image on another day, with another name for everything that a clock names.
expect_status 0 faketime '+40 days' "$KILN" build "$TOP/profiles/web.yaml" -o later --refresh-steps --save-layers second &
rebuild=$!
make_seed seed.img web
get_page web/disk.raw 80/ page --second seed.img || fail "nginx does not answer"
grep -q 'Baked by kiln' page || fail "another page: $(cat page)"
wait "$rebuild" || fail "no second build: $(cat stderr)"
for layer in first/*; do
    cmp "$layer" "second/${layer#*/}" || fail "a step gave other content on another day: $(cat stderr)"
done
cmp web/blocks.index later/blocks.index || fail "the disks differ"
