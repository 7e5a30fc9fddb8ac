# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# What the user sets in LIBGUESTFS_* wins over kiln's own choice between KVM and emulation: nothing is
# tried, told or remembered.
source "$TOP/tests/lib.sh"
make_layer tiny.tar
ENGINE=guestfs make_profile p.yaml 'archive: tiny.tar'
export XDG_CACHE_HOME=$PWD/cache
# Emulation works everywhere, so this must whatever KVM does here.
LIBGUESTFS_BACKEND_SETTINGS=force_tcg expect_status 0 "$KILN" build p.yaml -o one
expect_no_text stderr KVM
[ ! -e cache/kiln/kvm ] || fail "remembers what was not tried"
LIBGUESTFS_HV=/nonexistent/qemu expect_status 3 "$KILN" build p.yaml -o two
expect_text stderr /nonexistent/qemu
expect_nothing_left two
