# SPDX-License-Identifier: Apache-2.0
# timeout: 3600
# The steps of the examples in profiles/ give the same content when they run on another day; how long
# they take is told. web.yaml is in vm/web.
source "$TOP/tests/lib.sh"
need faketime
[ -e "$LAYERS/debian-12.tar.zst" ] || skip "no base layer: make base"
export KILN_STORE=$PWD/store

for name in minimal bastion bootstrap; do
    [ -e "$TOP/profiles/$name.yaml" ] || fail "no profiles/$name.yaml"
    start=$SECONDS
    expect_status 0 "$KILN" build "$TOP/profiles/$name.yaml" -o "$name" --formats raw,qcow2 --save-layers "$name.first"
    echo "$name: $((SECONDS - start)) s, $(stat -c %s "$name/disk.qcow2") bytes as qcow2"
    start=$SECONDS
    expect_status 0 "$KILN" build "$TOP/profiles/$name.yaml" -o "$name.warm"
    echo "$name: $((SECONDS - start)) s when its steps are found"
    expect_status 0 faketime '+400 days' "$KILN" build "$TOP/profiles/$name.yaml" -o "$name.later" --refresh-steps \
        --save-layers "$name.second"
    cat stderr
    for layer in "$name".first/*; do
        cmp "$layer" "$name.second/${layer#*/}" || fail "$name: a step gave other content on another day"
    done
    rm -rf "$name.warm" "$name.later"
done
