# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# read_tree BUNDLE DEVICE: its tree to read.tar, what holes save to stat.
read_tree()
{
    {
        printf 'run\nmount-ro %s /\n' "$2"
        sed 's/^/lstatns /' nasty/stats
        printf 'tar-out / read.tar xattrs:true acls:true\n'
    } | guest_read "$1/disk.raw" raw >stat || fail "guestfish"
}

# tree_survives FILESYSTEM: the nasty tree on one.
tree_survives()
{
    python3 "$TOP/tests/lib/nasty.py" make nasty "$1"
    expect_status 0 "$KILN" build nasty/profile.yaml -o bundle
    read_tree bundle /dev/sda1
    python3 "$TOP/tests/lib/nasty.py" compare nasty read.tar stat || fail "not what went in"
    # The index that comes with the disk says the same of what it can say.
    bsdtar -tf bundle/files.index >listed || fail "bsdtar does not read files.index"
    # A comparison that cannot fail would show nothing.
    sed -i '0,/"0644"/s//"0600"/' nasty/expected.json
    python3 "$TOP/tests/lib/nasty.py" compare nasty read.tar stat >/dev/null &&
        fail "the comparison sees no difference"
    case $1 in
    ext4) check_ext4 bundle/disk.raw ;;
    esac
}

check_ext4()
{
    # One partition: e2fsck finds it by its offset, which is 1 MiB.
    e2fsck -fn "$1?offset=1048576" >fsck 2>&1 || { cat fsck; fail "e2fsck"; }
}
