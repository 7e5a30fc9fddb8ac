# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# A KVM that does not come up costs one time limit, is told once with its cause, remembered, and the
# build works by emulation; what the user sets in LIBGUESTFS_* wins.
source "$TOP/tests/lib.sh"
make_layer tiny.tar
make_profile p.yaml 'archive: tiny.tar'
export XDG_CACHE_HOME=$PWD/cache
expect_status 0 "$KILN" build p.yaml -o one
cp stderr first
expect_status 0 "$KILN" build p.yaml -o two
# Where it fell back the first time says so in one line, the second says it no more or from memory.
if grep -qa KVM first; then
    [ "$(grep -ac KVM first)" -eq 1 ] || { cat first; fail "told more than once"; }
    [ -s cache/kiln/kvm ] || fail "not remembered in the cache directory"
    [ "$(grep -ac KVM stderr)" -le 1 ] || { cat stderr; fail "told more than once"; }
fi
rm -rf cache
LIBGUESTFS_BACKEND_SETTINGS=force_tcg expect_status 0 "$KILN" build p.yaml -o three
expect_no_text stderr KVM
[ ! -e cache/kiln/kvm ] || fail "remembers what was not tried"
LIBGUESTFS_HV=/nonexistent/qemu expect_status 3 "$KILN" build p.yaml -o four
expect_text stderr /nonexistent/qemu
expect_nothing_left four
