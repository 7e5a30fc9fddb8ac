# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# An ordinary user builds the same image: owners and devices come from the layers, not from him.
source "$TOP/tests/lib.sh"
# Debian gives him no /sbin.
export PATH=/usr/local/bin:/usr/bin:/bin
debugfs()
{
    PATH=$PATH:/sbin command debugfs "$@"
}
prepare_nobody
"$TOP/tests/lib/entry.py" nobody/tiny.tar dir:dev char:dev/null file:hello
ENGINE=guestfs make_profile nobody/p.yaml 'archive: tiny.tar'
ENGINE=native make_profile nobody/native.yaml 'archive: tiny.tar'
# His appliance too: nothing of root's is used.
cache=$PWD/nobody/cache
LIBGUESTFS_CACHEDIR=$cache expect_status 0 as_nobody ./kiln build p.yaml -o bundle
(cd nobody/bundle && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS does not hold"
expect_status 0 as_nobody ./kiln build native.yaml -o native
if [ "$(id -u)" -eq 0 ]; then
    [ "$(stat -c %u nobody/bundle/disk.raw)" -eq 65534 ] || fail "it did not run as nobody"
fi
printf 'run\nmount-ro /dev/sda1 /\nlstatns /dev/null\n' | guest_read nobody/bundle/disk.raw raw >stat
expect_text stat 'st_uid: 0' 'st_rdev: 259' 'st_mode: 8612'
debugfs -R 'stat /dev/null' 'nobody/native/disk.raw?offset=1048576' >stat 2>/dev/null
expect_text stat 'User:     0' 'Device major/minor number: 01:03'

# A host whose kernel only root may read, like Ubuntu's: said, with what to do about it.
if [ "$(id -u)" -eq 0 ] && [ -n "$(ls /boot/vmlinuz-* 2>/dev/null)" ] &&
    unshare --mount true 2>/dev/null; then
    mkdir boot
    cp /boot/vmlinuz-* boot/
    chmod 600 boot/vmlinuz-*
    rm -rf nobody/cache/* nobody/cache/.guestfs* nobody/bundle
    export -f as_nobody need skip
    export LIBGUESTFS_CACHEDIR=$cache
    expect_status 3 unshare --mount bash -c 'mount --bind boot /boot
        as_nobody ./kiln build p.yaml -o bundle'
    expect_text stderr vmlinuz hint 'chmod'
    [ ! -e nobody/bundle ] || fail "a bundle of it"
    run unshare --mount bash -c 'mount --bind boot /boot; as_nobody ./kiln doctor'
    expect_text stdout vmlinuz
fi
